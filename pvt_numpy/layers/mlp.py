"""The feed-forward half of a block: channels are widened, go through an activation and are narrowed again.

Source: PVT v1 uses the Transformer's own; PVT v2, the section on convolutional feed-forward, puts a depthwise 3 x 3
convolution in front of the activation: FC, depthwise convolution, GELU, FC.
"""

from .activations import ACTIVATION_BACKWARDS, ACTIVATIONS, relu, relu_backward
from .depthwise import depthwise_conv2d, depthwise_conv2d_backward
from .linear import linear, linear_backward
from .run import QUIET


def mlp(x, fc1, fc2, *, act="gelu", run=QUIET):
    """v1: each token by itself, fc2(act(fc1(x))).

    x    (B, N, C)
    fc1  weight (hidden, C), bias (hidden,)
    fc2  weight (C, hidden), bias (C,)
    act  one of Hugging Face's names, see `ACTIVATIONS`

    Returns (B, N, C).
    """
    wide = linear(x, **fc1)
    active = ACTIVATIONS[act](wide)
    run.note(fc1=wide, act=active)
    y = linear(run.dropout(active, run.hidden_rate, "act"), **fc2)
    return run.dropout(y, run.hidden_rate, "y")


def dwconv_mlp(x, grid, fc1, dwconv, fc2, *, act="gelu", relu_first=False, run=QUIET):
    """v2: between the two layers each token also looks at its eight neighbours, channel by channel.

    x           (B, N, C), N = H * W
    grid        (H, W)
    fc1, fc2    as in `mlp`
    dwconv      weight (hidden, 1, 3, 3), bias (hidden,)
    relu_first  True in the linear variant (b2_li): ReLU in front of the convolution

    Returns (B, N, C).
    """
    wide = linear(x, **fc1)
    seen = relu(wide) if relu_first else wide
    mixed = depthwise_conv2d(seen.reshape(len(x), *grid, -1), **dwconv).reshape(wide.shape)
    active = ACTIVATIONS[act](mixed)
    run.note(fc1=wide, dwconv=mixed, act=active)
    y = linear(run.dropout(active, run.hidden_rate, "act"), **fc2)
    return run.dropout(y, run.hidden_rate, "y")


def mlp_backward(dy, x, fc1, fc2, *, act="gelu", run=QUIET):
    """The gradient dy (B, N, C) of the output, carried back through fc2, the activation and fc1 in turn.

    Returns dx (B, N, C) and {"fc1": …, "fc2": …}, shaped as the parameters.
    """
    dwide, dfc2 = _active_half_backward(dy, linear(x, **fc1), fc2, act, run)
    dx, dfc1 = linear_backward(dwide, x, **fc1)
    return dx, {"fc1": dfc1, "fc2": dfc2}


def dwconv_mlp_backward(dy, x, grid, fc1, dwconv, fc2, *, act="gelu", relu_first=False, run=QUIET):
    """As `mlp_backward`, with the depthwise convolution between the activation and fc1.

    Returns dx (B, N, C) and {"fc1": …, "dwconv": …, "fc2": …}.
    """
    wide = linear(x, **fc1)
    seen = (relu(wide) if relu_first else wide).reshape(len(x), *grid, -1)
    mixed = depthwise_conv2d(seen, **dwconv)
    dmixed, dfc2 = _active_half_backward(dy, mixed.reshape(wide.shape), fc2, act, run)
    dseen, ddwconv = depthwise_conv2d_backward(dmixed.reshape(mixed.shape), seen, **dwconv)
    dwide = dseen.reshape(wide.shape)
    dx, dfc1 = linear_backward(relu_backward(dwide, wide) if relu_first else dwide, x, **fc1)
    return dx, {"fc1": dfc1, "dwconv": ddwconv, "fc2": dfc2}


def _active_half_backward(dy, wide, fc2, act, run):
    """The half that both share, fc2(act(wide)) with dropout after each: dwide (B, N, hidden) and the grads of fc2."""
    kept = run.dropout(ACTIVATIONS[act](wide), run.hidden_rate, "act")
    dkept, dfc2 = linear_backward(run.dropout(dy, run.hidden_rate, "y"), kept, **fc2)
    return ACTIVATION_BACKWARDS[act](run.dropout(dkept, run.hidden_rate, "act"), wide), dfc2
