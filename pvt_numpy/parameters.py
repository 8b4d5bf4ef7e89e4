"""One table of shapes: which parameters a configuration has, and the nested dict that holds them.

`parameter_shapes` serves strict loading, initialisation, parameter counts and the summary. Inside a block the names are
those of the authors' code (`attn.q.weight`), but for `mlp.dwconv`, their `mlp.dwconv.dwconv`; the way there is ours,
`stages.0.blocks.0.attn.q.weight` for the authors' `block1.0.attn.q.weight`. `checkpoints/names.py` has every name in
every implementation.
"""

import numpy as np

from .config import smallest_side, stage_grids


def parameter_shapes(config, class_token=True):
    """Dotted name -> shape of every parameter, stage by stage.

    class_token=False: as detectors keep v1, without the class token, its row in the last table and the norm after it.

    >>> from pvt_numpy.config import VARIANTS
    >>> sum(int(np.prod(shape)) for shape in parameter_shapes(VARIANTS["pvt_v2_b0"]).values())
    3666760
    """
    v1 = config.model_type == "pvt"
    shapes, channels_in, last = {}, config.num_channels, config.num_encoder_blocks - 1
    for i, C in enumerate(config.hidden_sizes):
        stage, patch = f"stages.{i}", config.patch_sizes[i]
        shapes |= _layer(f"{stage}.patch_embed.proj", (C, channels_in, patch, patch))
        shapes |= _layer(f"{stage}.patch_embed.norm", (C,))
        if v1:
            H, W = stage_grids(config)[i]
            shapes[f"{stage}.pos_embed"] = (1, H * W + (class_token and i == last), C)
        if v1 and class_token and i == last:
            shapes[f"{stage}.cls_token"] = (1, 1, C)
        for j in range(config.depths[i]):
            shapes |= _block_shapes(f"{stage}.blocks.{j}", config, i)
        if not v1:
            shapes |= _layer(f"{stage}.norm", (C,))
        channels_in = C
    if v1 and class_token:
        shapes |= _layer("norm", (channels_in,))
    if config.num_labels:
        shapes |= _layer("head", (config.num_labels, channels_in))
    return shapes


def _layer(name, weight, bias=True):
    """A layer's matrix, kernel or scale, and its bias: one number for each channel it puts out."""
    return {f"{name}.weight": weight} | ({f"{name}.bias": weight[:1]} if bias else {})


def _block_shapes(block, config, i):
    """The parameters of one Transformer block of stage i, in the order of the authors' code."""
    C, R = config.hidden_sizes[i], 1 if config.linear_attention else config.sr_ratios[i]
    hidden = int(C * config.mlp_ratios[i])
    shapes = _layer(f"{block}.norm1", (C,))
    shapes |= _layer(f"{block}.attn.q", (C, C), config.qkv_bias)
    shapes |= _layer(f"{block}.attn.kv", (2 * C, C), config.qkv_bias)
    shapes |= _layer(f"{block}.attn.proj", (C, C))
    if config.linear_attention or R > 1:
        shapes |= _layer(f"{block}.attn.sr", (C, C, R, R)) | _layer(f"{block}.attn.norm", (C,))
    shapes |= _layer(f"{block}.norm2", (C,)) | _layer(f"{block}.mlp.fc1", (hidden, C))
    if config.model_type == "pvt_v2":
        shapes |= _layer(f"{block}.mlp.dwconv", (hidden, 1, 3, 3))
    return shapes | _layer(f"{block}.mlp.fc2", (C, hidden))


def check_fit(pixel_values, params, config):
    """Raises ValueError if the parameters have other numbers of blocks than the configuration, or are of the other
    version, or the pictures do not fit the two. (The head: `check_head`.)"""
    blocks, depths = [len(stage["blocks"]) for stage in params["stages"]], list(config.depths)
    if blocks != depths:
        raise ValueError(f"params: found {blocks} blocks in the stages; expected {depths}, as in config.depths")
    wanted, other = ("pos_embed", "norm") if config.model_type == "pvt" else ("norm", "pos_embed")
    for i, stage in enumerate(params["stages"]):
        if stage.get(wanted) is None or stage.get(other) is not None:
            found = f"{'no ' * (stage.get(wanted) is None)}{wanted}, {'no ' * (stage.get(other) is None)}{other}"
            expected = f"{wanted}, no {other}, as {config.model_type} has them"
            raise ValueError(f"params.stages.{i}: found {found}; expected {expected}")
    dtype, is_array = params["stages"][0]["patch_embed"]["proj"]["weight"].dtype, isinstance(pixel_values, np.ndarray)
    found = f"{pixel_values.dtype} {pixel_values.shape}" if is_array else type(pixel_values).__name__
    fits = is_array and pixel_values.dtype == dtype and pixel_values.ndim == 4 and 0 not in pixel_values.shape
    if not fits or pixel_values.shape[1] != config.num_channels:
        raise ValueError(f"pixel_values: found {found}; expected {dtype} (B, {config.num_channels}, H, W)")
    H, W = pixel_values.shape[2:]
    if min(H, W) < (least := smallest_side(config)):
        expected = f"at least {least} x {least}, of which every stage can make keys (--image-size)"
        raise ValueError(f"picture: found {H} x {W} pixels for the model; expected {expected}")


def check_labels(labels, config):
    """Raises ValueError if there are labels, but no head whose logits they could be for."""
    if labels is not None and not config.num_labels:
        raise ValueError("labels: found some for a model without a head (num_labels 0); expected none")


def check_head(params, config):
    """Raises ValueError if the head has not one row for each label, or is there for none."""
    rows = len(params["head"]["weight"]) if params.get("head") else 0
    if rows != config.num_labels:
        raise ValueError(f"params.head: found {rows} rows; expected num_labels = {config.num_labels}")


def has_class_token(params, config):
    """Whether v1's class token is there, and the norm after it; v2 needs none, and has it so to speak."""
    return config.model_type != "pvt" or ("norm" in params and "cls_token" in params["stages"][-1])


def check_class_token(params, config):
    """Raises ValueError if v1's class token is missing, or the norm after it: there is nothing to classify by."""
    if not has_class_token(params, config):
        found = "no class token with its norm, as in a detector's backbone"
        raise ValueError(f"params: found {found}; expected a classifier's, or `pyramid`, which needs neither")


def unflatten(flat):
    """Dotted names -> nested dicts; numbered levels become lists.

    >>> unflatten({"stages.0.norm.weight": 1, "stages.1.norm.weight": 2})
    {'stages': [{'norm': {'weight': 1}}, {'norm': {'weight': 2}}]}
    """
    tree = {}
    for name, value in flat.items():
        *path, leaf = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value

    def lists(node):
        if not isinstance(node, dict):
            return node
        children = {key: lists(child) for key, child in node.items()}
        return [children[str(n)] for n in range(len(children))] if "0" in children else children

    return lists(tree)


def flatten(params, prefix=""):
    """Nested dicts and lists -> dotted names; the inverse of `unflatten`."""
    if not isinstance(params, (dict, list)):
        return {prefix[:-1]: params}
    items = params.items() if isinstance(params, dict) else enumerate(params)
    return {name: leaf for key, child in items for name, leaf in flatten(child, f"{prefix}{key}.").items()}


def init_params(config, rng, dtype=np.float32):
    """Fresh parameters for training, spread as Hugging Face's: normal weights, zero biases, unit norms.

    Weights, position tables and the class token are drawn with standard deviation `initializer_range`, v2's
    convolutions with sqrt(2 / fan_out). What lies further than two deviations from 0 is drawn again, which leaves 0.88
    of the deviation; Hugging Face cuts at the number 2, a hundred deviations away, and v2's convolutions nowhere.
    Deterministic for a given `rng`.
    """
    flat = {}
    for name, shape in parameter_shapes(config).items():
        if name.endswith("bias"):
            value = np.zeros(shape)
        elif name.endswith("weight") and len(shape) == 1:
            value = np.ones(shape)
        else:
            std = config.initializer_range
            if config.model_type == "pvt_v2" and len(shape) == 4:
                fan_out = shape[2] * shape[3] * (1 if "dwconv" in name else shape[0])
                std = (2 / fan_out) ** 0.5
            value = rng.standard_normal(shape)
            while (far := np.abs(value) > 2).any():
                value[far] = rng.standard_normal(int(far.sum()))
            value *= std
        flat[name] = channels_last(value.astype(dtype))
    return unflatten(flat)


def channels_last(weight):
    """A convolution's weight with PyTorch's shape (C', C, k, k) over channels-last memory; any other as it is.

    The matrix (C', k*k*C) that `conv2d` multiplies with is then a free view of it.
    """
    return np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if weight.ndim == 4 else weight
