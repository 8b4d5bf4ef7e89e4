"""The mistakes of the forward pass, layer by layer."""

import math

import numpy as np

from ...layers.activations import gelu, gelu_new, normal_cdf, quick_gelu
from ...layers.attention import as_map
from ...layers.layernorm import layer_norm
from .making import in_place, inside, mistake, unchanged

# linear


@mistake("bias", "linear", "the bias is forgotten")
def no_bias(right, x, weight, bias=None):
    return right(x, weight)


@mistake("transposed", "linear", "the weight is not transposed")
def not_transposed(right, x, weight, bias=None):
    return right(x, weight.T, bias)


# layer_norm


@mistake("eps", "layer_norm", "epsilon is the other one of the pair, 1e-5 and 1e-6, as if a model had only one")
def the_other_eps(right, *arrays, eps, **weights):
    return right(*arrays, eps=1e-5 if eps == 1e-6 else 1e-6, **weights)


def _normalised(x, weight, bias, eps, mean=None, variance=None):
    mean = x.mean(axis=-1, keepdims=True) if mean is None else mean
    variance = np.square(x - mean).mean(axis=-1, keepdims=True) if variance is None else variance
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


@mistake("variance", "layer_norm", "the variance divides by C - 1, as a sample's does")
def variance_of_a_sample(right, x, weight, bias, *, eps):
    return _normalised(x, weight, bias, eps, variance=x.var(axis=-1, ddof=1, keepdims=True))


@mistake("one-pass", "layer_norm", "the variance is E[x²] - E[x]², the one-pass form, whose squares are too large")
def variance_in_one_pass(right, x, weight, bias, *, eps):
    with np.errstate(all="ignore"):
        variance = np.square(x).mean(axis=-1, keepdims=True) - np.square(x.mean(axis=-1, keepdims=True))
        return _normalised(x, weight, bias, eps, variance=variance)


@mistake("no-eps", "layer_norm", "epsilon is left out")
def no_eps(right, *arrays, eps, **weights):
    return right(*arrays, eps=0.0, **weights)


@mistake("eps-outside", "layer_norm", "epsilon is added to the standard deviation, outside of the root")
def eps_outside_the_root(right, x, weight, bias, *, eps):
    return (x - x.mean(axis=-1, keepdims=True)) / (x.std(axis=-1, keepdims=True) + eps) * weight + bias


@mistake("no-root", "layer_norm", "it is divided by the variance, without the root")
def without_the_root(right, x, weight, bias, *, eps):
    return (x - x.mean(axis=-1, keepdims=True)) / (x.var(axis=-1, keepdims=True) + eps) * weight + bias


@mistake("mean-kept", "layer_norm", "the mean is not taken off")
def mean_kept(right, x, weight, bias, *, eps):
    return x / np.sqrt(x.var(axis=-1, keepdims=True) + eps) * weight + bias


@mistake("norm-axis", "layer_norm", "mean and variance are taken over the tokens, not over the channels")
def over_the_tokens(right, x, weight, bias, *, eps):
    return (x - x.mean(axis=-2, keepdims=True)) / np.sqrt(x.var(axis=-2, keepdims=True) + eps) * weight + bias


@mistake("norm-all", "layer_norm", "mean and variance are taken over all numbers at once, not over each token's")
def over_everything(right, x, weight, bias, *, eps):
    return (x - x.mean()) / np.sqrt(x.var() + eps) * weight + bias


@mistake("no-scale", "layer_norm", "weight and bias of the norm are forgotten")
def no_scale(right, x, weight, bias, *, eps):
    return right(x, np.ones_like(weight), np.zeros_like(bias), eps=eps)


# gelu


@mistake("gelu", "gelu", "GELU is the tanh form, a framework's default, but the model was trained with the exact one")
def tanh_gelu(right, x):
    return gelu_new(x)


@mistake("quick-gelu", "gelu", "GELU is x sigmoid(1.702 x), the coarse form")
def coarse_gelu(right, x):
    return quick_gelu(x)


@mistake("erf", "gelu", "erf gets x, not x / sqrt(2)")
def erf_without_root(right, x):
    return x * normal_cdf(math.sqrt(2) * x)


@mistake("cdf", "gelu", "x is not multiplied: this is Φ(x) alone")
def cdf_alone(right, x):
    return normal_cdf(x)


@mistake("relu", "gelu", "the activation is ReLU")
def relu_for_gelu(right, x):
    return np.maximum(x, 0)


# softmax


@mistake("softmax-axis", "softmax", "the shares sum to 1 over the queries, the axis before the last, not over the keys")
def over_the_queries(right, x):
    return right(x.swapaxes(-1, -2)).swapaxes(-1, -2)


@mistake("softmax-first", "softmax", "the shares sum to 1 over the first axis")
def over_the_first_axis(right, x):
    return np.moveaxis(right(np.moveaxis(x, 0, -1)), -1, 0)


@mistake("softmax-all", "softmax", "all shares together sum to 1, not those of each row")
def over_all(right, x):
    return right(x.reshape(1, -1)).reshape(x.shape)


@mistake("overflow", "softmax", "the largest score is not taken off first, and exp overflows")
def no_largest_taken_off(right, x):
    with np.errstate(all="ignore"):
        return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


# conv2d


@mistake("flipped", "conv2d", "the kernels are flipped, as in mathematics' convolution; PyTorch's is not")
def flipped_kernels(right, x, weight, *rest, **options):
    return right(x, weight[:, :, ::-1, ::-1], *rest, **options)


@mistake("kernel-transposed", "conv2d", "rows and columns of the kernels are exchanged")
def transposed_kernels(right, x, weight, *rest, **options):
    return right(x, weight.swapaxes(-1, -2), *rest, **options)


@mistake(
    "kernel-layout",
    "conv2d",
    "the kernels are read as (C', k, k, C), not (C', C, k, k)",
)
def kernel_layout(right, x, weight, *rest, **options):
    new, C, k, _ = weight.shape
    return right(x, weight.reshape(new, k, k, C).transpose(0, 3, 1, 2), *rest, **options)


@mistake("kernel-last", "conv2d", "the kernels are read as (k, k, C, C'), TensorFlow's and JAX's layout")
def kernel_channels_last(right, x, weight, *rest, **options):
    new, C, k, _ = weight.shape
    return right(x, weight.reshape(k, k, C, new).transpose(3, 2, 0, 1), *rest, **options)


@mistake("no-padding", "conv2d", "the zeros around the map are forgotten")
def no_padding(right, x, weight, *rest, padding=0, **options):
    return right(x, weight, *rest, **options)


@mistake("same-padding", "conv2d", "the padding is 'SAME', uneven: less in front than behind (TensorFlow, JAX)")
def same_padding(right, x, weight, bias=None, *, stride, padding=0):
    spare = [max(0, (-(-n // stride) - 1) * stride + weight.shape[-1] - n) * (padding > 0) for n in x.shape[1:3]]
    return right(np.pad(x, ((0, 0), *((n // 2, n - n // 2) for n in spare), (0, 0))), weight, bias, stride=stride)


@mistake("no-stride", "conv2d", "the step from one window to the next is 1, not the stride")
def no_stride(right, *arrays, stride, **options):
    return right(*arrays, stride=1, **options)


# patch_embed, overlapping_patch_embed


@mistake("columns", "patch_embed", "the tokens are counted column by column, not row by row")
def column_by_column(right, x, *rest, **options):
    y, grid = right(x, *rest, **options)
    return as_map(y, grid).swapaxes(1, 2).reshape(y.shape), grid


@mistake("grid", "patch_embed", "the grid is given as columns, rows: (W, H) for (H, W)")
def grid_turned(right, *args, **options):
    y, grid = right(*args, **options)
    return y, grid[::-1]


mistake("no-embed-norm", "patch_embed", "the norm after the convolution is forgotten")(inside(layer_norm=unchanged))


# add_positions


@mistake("pos", "add_positions", "the position table is read column by column")
def positions_by_columns(right, x, grid, pos_embed, cls_token=None, *, stored_grid):
    (H, W), C = stored_grid, pos_embed.shape[-1]
    first, rows = np.split(pos_embed, [pos_embed.shape[1] - H * W], axis=1)  # the class token's row, if there is one
    turned = rows.reshape(W, H, C).swapaxes(0, 1).reshape(rows.shape)
    return right(x, grid, np.concatenate([first, turned], axis=1), cls_token, stored_grid=stored_grid)


@mistake("class-last", "add_positions", "the class token is put last, not first")
def class_token_last(right, x, grid, pos_embed, cls_token=None, *, stored_grid):
    y = right(x, grid, pos_embed, cls_token, stored_grid=stored_grid)
    return y if cls_token is None else np.roll(y, -1, axis=1)


@mistake("class-no-position", "add_positions", "the class token gets no position")
def class_token_without_position(right, x, grid, pos_embed, cls_token=None, *, stored_grid):
    y = right(x, grid, pos_embed, cls_token, stored_grid=stored_grid).copy()
    if cls_token is not None:
        y[:, :1] = cls_token
    return y


@mistake("corners", "bilinear_matrix", "the table is resized with aligned corners, not with equal cells")
def aligned_corners(right, n, m):
    places = np.linspace(0, n - 1, m)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(n)))


@mistake("nearest", "bilinear_matrix", "the table is resized to the nearest row, not bilinearly")
def nearest(right, n, m):
    return (np.arange(m)[:, None] * n // m == np.arange(n)).astype(float)


@mistake("antialias", "bilinear_matrix", "a table is shrunk with antialiasing, which PyTorch does only on request")
def antialiased(right, n, m):
    if m >= n:
        return right(n, m)
    near = np.maximum(0, 1 - np.abs((np.arange(m)[:, None] + 0.5) * n / m - 0.5 - np.arange(n)) * m / n)
    return near / near.sum(axis=1, keepdims=True)


# attention, linear_attention


def _scaled_queries(factor):
    """A wrong `attend` whose scores are `factor(C, heads)` times the right ones."""

    def wrong(right, x, reduced, q, kv, proj, heads, *run):
        times = factor(x.shape[-1], heads)
        return right(x, reduced, {name: array * times for name, array in q.items()}, kv, proj, heads, *run)

    return wrong


for _name, _text, _factor in (
    ("sqrt-C", "the scores are divided by sqrt(C), not by sqrt(d) of a head", lambda C, heads: heads**-0.5),
    ("no-sqrt", "the scores are not divided by sqrt(d)", lambda C, heads: (C / heads) ** 0.5),
    ("d", "the scores are divided by d, without the root", lambda C, heads: (C / heads) ** -0.5),
    ("sqrt-twice", "the scores are multiplied by sqrt(d), not divided", lambda C, heads: C / heads),
):
    mistake(_name, "attend", _text)(_scaled_queries(_factor))


@mistake("kv", "attend", "the joint matrix of keys and values is read values first")
def values_before_keys(right, x, reduced, q, kv, *rest):
    return right(x, reduced, q, {name: np.roll(array, len(array) // 2, axis=0) for name, array in kv.items()}, *rest)


@mistake("no-proj", "attend", "the last matrix, proj, which mixes the heads, is forgotten")
def no_projection(right, x, reduced, q, kv, proj, *rest):
    return right(x, reduced, q, kv, {"weight": np.eye(x.shape[-1], dtype=x.dtype)}, *rest)


@mistake("one-head", "attend", "there is one head over all channels")
def one_head(right, x, reduced, q, kv, proj, heads, *run):
    y, probs = right(x, reduced, q, kv, proj, 1, *run)
    return y, np.repeat(probs, heads, axis=1)


@mistake("q-transposed", "attend", "the queries' weight is not transposed")
def queries_not_transposed(right, x, reduced, q, *rest):
    return right(x, reduced, q | {"weight": q["weight"].T}, *rest)


@mistake("proj-transposed", "attend", "the weight of proj is not transposed")
def projection_not_transposed(right, x, reduced, q, kv, proj, *rest):
    return right(x, reduced, q, kv, proj | {"weight": proj["weight"].T}, *rest)


@mistake("keys-for-values", "attend", "the keys are mixed, where the values should be")
def keys_for_values(right, x, reduced, q, kv, *rest):
    return right(x, reduced, q, {name: np.tile(np.split(array, 2)[0], (2,) + (1,) * (array.ndim - 1))
                                 for name, array in kv.items()}, *rest)  # fmt: skip


@mistake("interleaved", "split_heads", "a head gets every heads-th channel, not d neighbouring ones")
def heads_interleaved(right, x, heads):
    return x.reshape(*x.shape[:2], -1, heads).transpose(0, 3, 1, 2)


@mistake("no-transpose", "split_heads", "the numbers are only reshaped into heads: the transposition is missing")
def heads_reshaped(right, x, heads):
    return x.reshape(len(x), heads, x.shape[1], -1)


@mistake("merge", "merge_heads", "the heads are merged by a reshape alone, without being transposed back")
def merged_by_reshape(right, x):
    return x.reshape(len(x), x.shape[2], -1)


def norm_first(right, x, grid, *rest, norm=None, eps, ratio, **options):
    if ratio == 1:
        return right(x, grid, *rest, norm=norm, eps=eps, ratio=ratio, **options)

    def conv2d(right, x, *rest, **options):
        return right(layer_norm(x, **norm, eps=eps), *rest, **options)

    with in_place(layer_norm=unchanged, conv2d=conv2d):
        return right(x, grid, *rest, norm=norm, eps=eps, ratio=ratio, **options)


def mean_of_squares(right, x, weight, bias=None, *, stride):
    B, H, W, C = x.shape
    x = x[:, : H // stride * stride, : W // stride * stride]
    return x.reshape(B, H // stride, stride, W // stride, stride, C).mean(axis=(2, 4))


def laid_out_turned(right, x, grid):
    return right(x, grid[::-1])


for _name, _layer, _text, _wrong in (
    ("no-sr-norm", "attention", "the norm after the reducing convolution is forgotten", inside(layer_norm=unchanged)),
    ("norm-first", "attention", "the norm stands before the reducing convolution, not after it", norm_first),
    ("mean-squares", "attention", "each R x R square is averaged, not convolved", inside(conv2d=mean_of_squares)),
    ("sr-grid", "attention", "the tokens are laid out as W x H, not H x W, before they are reduced",
     inside(as_map=laid_out_turned)),
    ("no-gelu", "linear_attention", "GELU after the norm of the pooled map is forgotten", inside(gelu=unchanged)),
    ("gelu-first", "linear_attention", "GELU stands before the norm of the pooled map, not after it",
     inside(gelu=unchanged, layer_norm=lambda right, x, *rest, **options: right(gelu(x), *rest, **options))),
    ("no-pool-norm", "linear_attention", "the norm of the pooled map is forgotten", inside(layer_norm=unchanged)),
):  # fmt: skip
    mistake(_name, _layer, _text)(_wrong)


@mistake("samples", "pooling_matrix", "the map is sampled, not averaged over bins")
def samples(right, n, m):
    return (np.arange(m)[:, None] * n // m == np.arange(n)).astype(float)


@mistake("even-bins", "pooling_matrix", "all bins have one size and one step, n // 7, as average pooling has them")
def even_bins(right, n, m):
    step = n // m
    behind = np.arange(n) - np.arange(m)[:, None] * step  # how far behind the bin's first
    inside = (behind >= 0) & (behind < n - (m - 1) * step)
    return inside / inside.sum(axis=1, keepdims=True)


@mistake("floor-bins", "pooling_matrix", "the bins do not overlap: each ends where the next one begins")
def bins_that_do_not_overlap(right, n, m):
    i, k = np.arange(m)[:, None], np.arange(n)
    inside = (i * n // m <= k) & (k < np.maximum((i + 1) * n // m, i * n // m + 1))
    return inside / inside.sum(axis=1, keepdims=True)


# dwconv_mlp


@mistake("dw-flipped", "depthwise_conv2d", "the depthwise kernels are flipped")
def depthwise_flipped(right, x, weight, bias=None):
    return right(x, weight[:, :, ::-1, ::-1], bias)


@mistake("dw-transposed", "depthwise_conv2d", "rows and columns of the depthwise kernels are exchanged")
def depthwise_transposed(right, x, weight, bias=None):
    return right(x, weight.swapaxes(-1, -2), bias)


@mistake("dw-edges", "depthwise_conv2d", "the map's edge is repeated around it, not surrounded by zeros")
def repeated_edges(right, x, weight, bias=None):
    return right(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge"), weight, bias)[:, 1:-1, 1:-1]


@mistake("dw-bias", "depthwise_conv2d", "the bias of the depthwise convolution is forgotten")
def depthwise_without_bias(right, x, weight, bias=None):
    return right(x, weight)


@mistake("no-dwconv", "depthwise_conv2d", "the depthwise convolution is left out")
def no_depthwise(right, x, weight, bias=None):
    return x


@mistake("mlp-grid", "dwconv_mlp", "the tokens are laid out as W x H, not H x W, before the depthwise convolution")
def mlp_grid_turned(right, x, *, grid, **rest):
    return right(x, grid=grid[::-1], **rest)


@mistake("no-relu", "relu", "the ReLU in front of the depthwise convolution (linear variant) is forgotten")
def no_relu(right, x):
    return x


# heads


@mistake("class-token", "class_token_head", "the last token is read as the class token, not the first")
def last_token(right, x, *head, **weights):
    return right(x[:, ::-1], *head, **weights)


@mistake("first-token", "mean_pool_head", "the first token is read, not the mean of all")
def first_token(right, x, *head, **weights):
    return right(x[:, :1], *head, **weights)


@mistake("sum", "mean_pool_head", "the tokens are summed, not averaged")
def summed(right, x, *head, **weights):
    return right(x * x.shape[1], *head, **weights)


@mistake("largest", "mean_pool_head", "each channel's largest number is taken, not its mean")
def largest(right, x, *head, **weights):
    return right(x.max(axis=1, keepdims=True), *head, **weights)
