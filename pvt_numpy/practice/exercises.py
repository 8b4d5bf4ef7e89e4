"""The exercises: which layers a learner writes, and the small inputs on which they are checked.

Names, signatures and texts come from `layers/` itself. The inputs are small and of all different sizes, so that a
wrong axis is a wrong shape: 3 pictures, a grid of 4 x 6, 10 channels, 2 heads, R = 2. They are in float64, read-only,
and drawn from the exercise's name: the same ones every time.
"""

import inspect
import zlib
from importlib import import_module
from typing import NamedTuple

import numpy as np

from ..parameters import flatten, unflatten

B, H, W, C, HEADS, R = 3, 4, 6, 10, 2, 2
N, HIDDEN, LABELS, NEW, PATCH = H * W, 14, 7, 8, 3
GRID = (H, W)


class Exercise(NamedTuple):
    """A layer to write, "linear.linear", and the calls it is checked with: (shapes, or the arrays; options).

    results  what comes back, with its axes in the letters of the legend
    """

    layer: str
    calls: tuple
    results: dict

    @property
    def name(self):
        return self.layer.partition(".")[2]

    @property
    def right(self):
        """The package's function, looked up anew: it may be replaced for a while."""
        module, name = self.layer.split(".")
        return getattr(import_module(f"pvt_numpy.layers.{module}"), name)

    @property
    def signature(self):
        """The layer's, but for `run`, which a learner need not know."""
        signature = inspect.signature(self.right)
        kept = [p for p in signature.parameters.values() if p.name != "run"]
        return signature.replace(parameters=kept)

    def inputs(self):
        """(arrays, options) of each call; a backward pass's begin with dy, shaped as the layer's first result."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        for shapes, options in self.calls:
            arrays = {}
            for name, shape in flatten(shapes).items():
                array = shape if isinstance(shape, np.ndarray) else rng.normal(size=shape) * (0.7 if arrays else 1.3)
                arrays[name] = array = array.copy()
                array.setflags(write=False)
            yield unflatten(arrays), options


def weights(*shape):
    return {"weight": shape, "bias": shape[:1]}


def backwards(exercise):
    """The same layer's backward pass: the same calls, behind a dy that is shaped as the layer's first result."""
    calls = []
    for (shapes, options), (arrays, _) in zip(exercise.calls, exercise.inputs(), strict=True):
        if not any(isinstance(shape, np.ndarray) for shape in shapes.values()):  # those are about overflow
            result = exercise.right(**arrays, **options)
            calls.append(({"dy": (result[0] if isinstance(result, tuple) else result).shape, **shapes}, options))
    one = exercise.name in ("gelu", "softmax")
    results = {"dx": "as x"} if one else {"dx": "as x", "grads": "as the parameters"}
    return Exercise(exercise.layer + "_backward", tuple(calls), results)


TOKENS = {"x": (B, N, C)}
LARGE = np.array([[1.0, 2.0, -4.0, 1.0], [0.0, 8.0, 3.0, -5.0]]) * 1e150 + 1e155  # their squares are no float64
STEEP = np.array([[1000.0, 999.0, -1000.0], [-2000.0, -2001.0, -1999.0]])
UNIT = {"weight": np.ones(4), "bias": np.zeros(4)}
PICTURE = {"x": (B, 9, 13, 5)}  # a tail that fills no patch
EVEN = {"x": (B, 8, 12, 5)}  # 'SAME' padding is uneven here
ATTENTION = {**TOKENS, "q": weights(C, C), "kv": weights(2 * C, C), "proj": weights(C, C)}
REDUCED = {"sr": weights(C, C, R, R), "norm": weights(C)}
MAPS = {"stride": PATCH, "eps": 1e-5}
Y_PROBS = {"y": "(B, N, C)", "probs": "(B, heads, N, M)"}
TOKENS_GRID = {"tokens": "(B, N, C')", "grid": "(H', W')"}

FORWARD = [
    Exercise("linear.linear", (({"x": (B, C), **weights(C, C)}, {}), ({**TOKENS, **weights(NEW, C)}, {}),
                               ({**TOKENS, "weight": (NEW, C)}, {})), {"y": "(..., C')"}),
    Exercise("layernorm.layer_norm",
             (({**TOKENS, **weights(C)}, {"eps": 1e-5}), ({**TOKENS, **weights(C)}, {"eps": 1e-6}),
              ({"x": LARGE, **UNIT}, {"eps": 1e-6})), {"y": "(..., C)"}),
    Exercise("activations.gelu", (({"x": (B, N, C)}, {}), ({"x": np.linspace(-9, 9, 37)}, {})), {"y": "as x"}),
    Exercise("softmax.softmax", (({"x": (B, HEADS, N, 6)}, {}), ({"x": STEEP}, {})), {"y": "(..., M)"}),
    Exercise("convolution.conv2d", (({**PICTURE, **weights(NEW, 5, PATCH, PATCH)}, {"stride": 2, "padding": 1}),
                                    ({**PICTURE, **weights(NEW, 5, 4, 4)}, {"stride": 4}),
                                    ({**PICTURE, "weight": (NEW, 5, 2, 2)}, {"stride": 1})), {"y": "(B, H', W', C')"}),
    Exercise("patch_embed.patch_embed",
             (({**PICTURE, "proj": weights(NEW, 5, PATCH, PATCH), "norm": weights(NEW)}, MAPS),), TOKENS_GRID),
    Exercise("patch_embed.overlapping_patch_embed",
             tuple(({**EVEN, "proj": weights(NEW, 5, k, k), "norm": weights(NEW)}, {"stride": stride, "eps": 1e-5})
                   for k, stride in ((7, 4), (3, 2))), TOKENS_GRID),
    Exercise("position.add_positions",
             (({**TOKENS, "pos_embed": (1, N, C)}, {"grid": GRID, "stored_grid": GRID}),
              ({**TOKENS, "pos_embed": (1, 1 + N, C), "cls_token": (1, 1, C)}, {"grid": GRID, "stored_grid": GRID}),
              ({**TOKENS, "pos_embed": (1, 1 + 15, C), "cls_token": (1, 1, C)}, {"grid": GRID, "stored_grid": (3, 5)}),
              ({**TOKENS, "pos_embed": (1, 70, C)}, {"grid": GRID, "stored_grid": (10, 7)})), {"tokens": "(B, N, C)"}),
    Exercise("attention.attention",
             (({**ATTENTION, **REDUCED}, {"grid": GRID, "heads": HEADS, "ratio": R, "eps": 1e-5}),
              ({**ATTENTION, "x": (B, N + 1, C)}, {"grid": GRID, "heads": HEADS, "ratio": 1, "eps": 1e-5})), Y_PROBS),
    Exercise("attention.linear_attention",
             (({**ATTENTION, "x": (B, 9 * 11, C), "sr": weights(C, C, 1, 1), "norm": weights(C)},
               {"grid": (9, 11), "heads": HEADS, "eps": 1e-5}),), Y_PROBS),
    Exercise("mlp.dwconv_mlp", tuple(
        ({**TOKENS, "fc1": weights(HIDDEN, C), "dwconv": {"weight": (HIDDEN, 1, 3, 3), "bias": (HIDDEN,)},
          "fc2": weights(C, HIDDEN)}, {"grid": GRID, **more}) for more in ({}, {"relu_first": True})),
             {"y": "(B, N, C)"}),
    Exercise("head.mean_pool_head", (({**TOKENS, **weights(LABELS, C)}, {}), (TOKENS, {})),
             {"logits": "(B, num_labels)", "the pooled features": "(B, C)"}),
]  # fmt: skip
BACKWARD = [backwards(exercise) for exercise in FORWARD]
EXERCISES = {exercise.name: exercise for exercise in FORWARD + BACKWARD}
