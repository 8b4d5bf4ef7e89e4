"""Arguments as transformers takes them: types by many names, a device, tensors, and what is not known here."""

import numpy as np

from ..system.checks import rule, wrong


def type_name(dtype):
    """The name of a type, NumPy's, PyTorch's or a text, or of a device: "float32", "cpu"."""
    return getattr(dtype, "__name__", None) or getattr(dtype, "name", None) or str(dtype).removeprefix("torch.")


ONE_DEVICE = "'cpu', the one device that NumPy has"
DEVICE = rule(lambda device: type_name(device) in ("None", "cpu"), ONE_DEVICE)
TARGET = rule(lambda name: name in ("cpu", "float32", "float64"), f"{ONE_DEVICE}, or 'float32' or 'float64'")


def float_types(*targets):
    """The types among what `.to(…)` was given, which may also name the device that there is."""
    names = [type_name(target) for target in targets if target is not None]
    for name in names:
        TARGET("to", name)
    return [name for name in names if name != "cpu"]


def as_array(name, value):
    """A PyTorch tensor as an array, and anything else as it is."""
    if not hasattr(value, "numpy"):
        return value
    try:
        return np.asarray(value)
    except (RuntimeError, TypeError) as error:
        found = f"a tensor that NumPy cannot read ({str(error).split('. ')[0]})"
        raise wrong(name, found, "one on the CPU, without gradient: x.detach().cpu().float()") from None


def as_tensor(array):
    """An array as a PyTorch tensor of the same memory; ImportError without PyTorch."""
    try:
        import torch
    except ImportError:
        way = "'np', or PyTorch: pip install torch (the extra [torch])"
        raise ImportError(f"return_tensors: found 'pt' where PyTorch is not installed; expected {way}") from None
    return torch.from_numpy(array)


def refuse_unknown(given, known):
    """TypeError for options of other names than those known."""
    if unknown := ", ".join(sorted(given.keys() - set(known))):
        raise TypeError(f"{unknown}: found an unknown option; expected {', '.join(known)}")


def without_autograd(one, name):
    """A `__getattr__` for what PyTorch's objects have and ours have not: the error says the way to go here."""
    way = "one of NumPy's or of this package, without devices and autograd: gradients come from loss_and_gradients"
    raise AttributeError(f"{type(one).__name__}.{name}: found no such attribute; expected {way}")
