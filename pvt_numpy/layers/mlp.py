"""The feed-forward half of a block: channels are widened, bent by an activation and narrowed again.

Source: PVT v1 uses the Transformer's own; PVT v2, the section on convolutional feed-forward, puts a depthwise 3 x 3
convolution in front of the activation: FC, depthwise convolution, GELU, FC.
"""

from .activations import ACTIVATIONS, relu
from .depthwise import depthwise_conv2d
from .dropout import dropout
from .linear import linear
from .trace import record


def mlp(x, fc1, fc2, *, act="gelu", dropout_rate=0.0, rng=None, trace=None, name="mlp"):
    """v1: each token by itself.

    x    (B, N, C)
    fc1  weight (hidden, C), bias (hidden,)
    fc2  weight (C, hidden), bias (C,)
    act  one of Hugging Face's names, see `ACTIVATIONS`

    Returns (B, N, C).
    """
    wide = linear(x, **fc1)
    active = ACTIVATIONS[act](wide)
    record(trace, name, fc1=wide, act=active)
    return dropout(linear(dropout(active, dropout_rate, rng), **fc2), dropout_rate, rng)


def dwconv_mlp(x, grid, fc1, dwconv, fc2, *, act="gelu", relu_first=False,
               dropout_rate=0.0, rng=None, trace=None, name="mlp"):  # fmt: skip
    """v2: between the two layers each token also looks at its eight neighbours, channel by channel.

    x           (B, N, C), N = H * W
    grid        (H, W)
    fc1, fc2    as in `mlp`
    dwconv      weight (hidden, 1, 3, 3), bias (hidden,)
    relu_first  True in the linear variant (b2_li): ReLU in front of the convolution

    Returns (B, N, C).
    """
    wide = linear(x, **fc1)
    bent = relu(wide) if relu_first else wide
    local = depthwise_conv2d(bent.reshape(len(x), *grid, -1), **dwconv).reshape(wide.shape)
    active = ACTIVATIONS[act](local)
    record(trace, name, fc1=wide, dwconv=local, act=active)
    return dropout(linear(dropout(active, dropout_rate, rng), **fc2), dropout_rate, rng)
