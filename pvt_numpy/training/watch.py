"""What goes wrong in a training says so early: with the step, the place in the model, and what to do."""

import math

import numpy as np

from ..analysis.observe import place
from ..layers.linear import linear
from ..model import forward
from ..parameters import unflatten
from ..system.checks import wrong

RECENT, HOPELESS = 20, 3  # steps; times the loss of guessing
LOST, LEARNT, GUESSES = 5, 0.9, (0.98, 1.1)  # epochs in a row; shares of the loss of guessing


def refuse_not_finite(state, inputs, grads):
    """For a loss or a gradient that is not finite: says where NaN or infinity was first, of this step's `inputs`."""
    found = f"NaN or infinity, first in {first_not_finite(inputs, state, grads)}"
    raise wrong(f"step {state.step + 1}", found, f"finite numbers: {advice(state)}")


def refuse_divergence(recent, state, inputs, classes):
    """Refuses losses of recent steps that rise far above what guessing costs."""
    if diverges(recent, classes):
        found = f"a loss of {recent[-1]:.3g} that rises, where guessing costs {math.log(classes):.3g}"
        found += f"; {largest_output(inputs, state)}"
        raise wrong(f"step {state.step}", found, f"a falling loss: {advice(state)}")


def refuse_guessing(state, classes):
    """Refuses a training that had learnt and only guesses now."""
    losses = [entry["train_loss"] for entry in state.history if "train_loss" in entry]
    if fell_to_guessing(losses, classes):
        found = f"the loss of guessing, {losses[-1]:.3g}, for {LOST} epochs, after {min(losses):.3g}"
        raise wrong(f"step {state.step}", found, f"a falling loss: {advice(state)}")


def diverges(recent, classes):
    """Whether the last losses, `RECENT` of them, cost several times what guessing does, and rise."""
    half = len(recent) // 2
    earlier, later = sum(list(recent)[:half]), sum(list(recent)[half:])
    return len(recent) == RECENT and earlier + later > RECENT * HOPELESS * math.log(classes) and later > earlier


def fell_to_guessing(losses, classes):
    """Whether the epochs' losses, once well below what guessing costs, are back at it: steps that were too long have
    undone what was learnt. Seen with nano in PyTorch, learning rate 0.002: it never learnt again in 95 epochs."""
    shares = [loss / math.log(classes) for loss in losses]
    lowest, highest = GUESSES
    return min(shares, default=1) < LEARNT and all(lowest < share < highest for share in shares[-LOST:])


def advice(state):
    """What to do about it."""
    now = f"now {state.settings.rate:g}; a third of it, say"
    return f"begin again with a lower --learning-rate ({now}) or a longer --warmup"


def look(inputs, state):
    """Everything that the model computes of these inputs, by name."""
    nested = unflatten(state.arrays["params"])
    if inputs.ndim == 2:  # features: the head alone learns
        return {"features": inputs, "logits": linear(inputs, **nested["head"])}
    trace = {}
    forward(inputs, nested, state.config, trace=trace)
    return {name: array for name, array in trace.items() if not name.endswith("grid")}


def largest_output(inputs, state):
    """Where the largest number of a forward pass is, in words."""
    sizes = {name: float(np.abs(array).max()) for name, array in look(inputs[:8], state).items()}
    name = max(sizes, key=sizes.get)
    where = f" ({place(name)})" if place(name) else ""
    return f"the largest number of its forward pass is {sizes[name]:.2g}, in the output of {name}{where}"


def first_not_finite(inputs, state, grads):
    """The first array with NaN or infinity, in words: of the parameters, of the way forward or of the way back."""
    with np.errstate(all="ignore"):
        trace = look(inputs, state)
    params, back = state.arrays["params"], {name: grads[name] for name in reversed(list(grads))}
    for what, arrays in (("the parameter", params), ("the output of", trace), ("the gradient of", back)):
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                return f"{what} {name}"
    return "the loss, or the length of the gradient"
