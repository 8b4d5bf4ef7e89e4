"""The feed-forward half of a block: channels are widened, bent by an activation and narrowed again.

Source: PVT v1 uses the Transformer's own; PVT v2, the section on convolutional feed-forward, puts a depthwise 3 x 3
convolution in front of the activation: FC, depthwise convolution, GELU, FC.
"""

from .activations import ACTIVATION_BACKWARDS, ACTIVATIONS, relu, relu_backward
from .depthwise import depthwise_conv2d, depthwise_conv2d_backward
from .dropout import dropout, dropout_factor, times
from .linear import linear, linear_backward
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


def mlp_backward(dy, x, fc1, fc2, *, act="gelu", dropout_rate=0.0, rng=None):
    """The gradient dy (B, N, C) of the output, carried back through fc2, the activation and fc1 in turn.

    Returns dx (B, N, C) and {"fc1": …, "fc2": …}, shaped as the parameters.
    """
    wide = linear(x, **fc1)
    dwide, dfc2 = _bend_and_narrow_backward(dy, wide, fc2, act, dropout_rate, rng)
    dx, dfc1 = linear_backward(dwide, x, **fc1)
    return dx, {"fc1": dfc1, "fc2": dfc2}


def dwconv_mlp_backward(dy, x, grid, fc1, dwconv, fc2, *, act="gelu", relu_first=False, dropout_rate=0.0, rng=None):
    """As `mlp_backward`, with the depthwise convolution between the activation and fc1.

    Returns dx (B, N, C) and {"fc1": …, "dwconv": …, "fc2": …}.
    """
    wide = linear(x, **fc1)
    bent = (relu(wide) if relu_first else wide).reshape(len(x), *grid, -1)
    local = depthwise_conv2d(bent, **dwconv)
    dlocal, dfc2 = _bend_and_narrow_backward(dy, local.reshape(wide.shape), fc2, act, dropout_rate, rng)
    dwide, ddwconv = depthwise_conv2d_backward(dlocal.reshape(local.shape), bent, **dwconv)
    dwide = dwide.reshape(wide.shape)
    dx, dfc1 = linear_backward(relu_backward(dwide, wide) if relu_first else dwide, x, **fc1)
    return dx, {"fc1": dfc1, "dwconv": ddwconv, "fc2": dfc2}


def _bend_and_narrow_backward(dy, x, fc2, act, dropout_rate, rng):
    """The half both MLPs share: dropout(fc2(dropout(act(x)))). The two masks are drawn in the forward's order."""
    active = ACTIVATIONS[act](x)
    inner = dropout_factor(active, dropout_rate, rng)
    outer = dropout_factor(dy, dropout_rate, rng)
    dactive, dfc2 = linear_backward(times(dy, outer), times(active, inner), **fc2)
    return ACTIVATION_BACKWARDS[act](times(dactive, inner), x), dfc2
