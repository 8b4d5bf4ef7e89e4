"""One Transformer block, its layers as boxes; and the versions of PVT side by side."""

import math

from ..config import variant_name
from ..layers.attention import POOLED
from ..parameters import parameter_shapes
from .diagram import arrow, box, count, plus, shape_of, sheet, write
from .figures import drawing
from .photo import checked
from .style import BLUE, GREEN, GREY, ORANGE, WIDEST, times
from .words import listed, told

TALL = 0.56  # inches, of a box with two lines
NORM, ALONE, MIX = GREY, GREEN, BLUE
COLOURS = {MIX: "moves numbers between tokens", ALONE: "each token by itself", NORM: "norm"}


def reduction(config, stage):
    """How keys are made of tokens: (layer, what it does, its colour) for each step, none if R = 1."""
    R = config.sr_ratios[stage]
    if config.linear_attention:
        return [("mean", f"{times(POOLED, POOLED)} bins", MIX), ("sr", "1 × 1", ALONE), ("norm", "", NORM),
                ("GELU", "", ALONE)]  # fmt: skip
    return [("sr", f"{times(R, R)}, step {R}", MIX), ("norm", "", NORM)] if R > 1 else []


def feed_forward(config):
    """The MLP's layers in order."""
    local = ["ReLU"] * config.linear_attention + ["dwconv"] * (config.model_type == "pvt_v2")
    return ["fc1", *local, config.hidden_act.upper(), "fc2"]


@drawing
def block(trace, config, *, stage=0):
    """One block of a stage as boxes: attention above, the MLP below, and in grey the shape of what comes out of each.

    trace  of `forward`, or of `analysis.cost.shapes`, which needs no weights
    """
    stage = checked("stage", stage, config.num_encoder_blocks)
    name, parameters = f"stages.{stage}.blocks.0", parameter_shapes(config)
    x, inside = shape_of(trace, f"{name}.norm1"), shape_of(trace, f"{name}.mlp.fc1")
    heads, N, M = trace[f"{name}.attn.probs"].shape[1:]
    C, d = (trace[f"{name}.{what}"].shape[-1] for what in ("norm1", "attn.q"))

    def widths(layer):
        out, into = parameters[f"{name}.{layer}.weight"][:2]
        return f"{into} → {out}"

    model, depth = variant_name(config) or config.model_type, config.depths[stage]
    one = f"one of its {depth} blocks" if depth > 1 else "its only block"
    title = f"{model}, stage {stage + 1}: {one}"
    figure, axes = sheet(WIDEST, 5.0, title)
    main, queries, keys, low = 3.5, 3.95, 3.0, 0.85  # the heights of the lanes
    write(axes, (0.4, main + 0.16), x, 0.7, 8.5, GREY)
    arrow(axes, (0.05, main), (1.0, main))
    box(axes, (1.45, main), (0.9, TALL), "norm1", below=x, colour=NORM)
    arrow(axes, (1.9, main), (2.1, main), (2.1, queries), (5.1, queries))
    box(axes, (5.6, queries), (1.0, TALL), "q", widths("attn.q"), x, ALONE)
    steps, at = reduction(config, stage), 2.1
    arrow(axes, (at, main), (at, keys), head=False)
    shares = [1.3 if text else 1 for _, text, _ in steps]
    for (layer, text, colour), share in zip(steps, shares, strict=True):
        wide = (2.84 - 0.16 * len(steps)) * share / sum(shares)
        arrow(axes, (at, keys), (at + 0.16, keys))
        box(axes, (at + 0.16 + wide / 2, keys), (wide, TALL), layer, text, times(M, C), colour)
        at += 0.16 + wide
    arrow(axes, (at, keys), (5.1, keys))
    if not steps:
        write(axes, (3.6, keys - 0.17), "R = 1: every token is a key", 2.6, 9, GREY)
    box(axes, (5.6, keys), (1.0, TALL), "kv", widths("attn.kv"), times(M, 2 * C), ALONE)
    for lane in (queries, keys):
        arrow(axes, (6.1, lane), (6.42, lane))
    box(axes, (7.1, (queries + keys) / 2), (1.36, 1.51), "softmax(q kᵀ / √d)", f"{count(heads, 'head')}, d = {d}",
        times(*[heads] * (heads > 1), N, M), MIX)  # fmt: skip
    arrow(axes, (7.78, main), (8.06, main))
    box(axes, (8.4, main), (0.68, TALL), "· v", below=x, colour=MIX)
    arrow(axes, (8.74, main), (9.06, main))
    box(axes, (9.5, main), (0.88, TALL), "proj", widths("attn.proj"), x, ALONE)
    arrow(axes, (9.94, main), (10.3, main))

    box(axes, (1.45, low), (0.9, TALL), "norm2", below=x, colour=NORM)
    layers, at = feed_forward(config), 1.9
    gap = 0.32
    wide = min(1.3, (8.4 - gap) / len(layers) - gap)
    gap = (8.4 - wide * len(layers)) / (len(layers) + 1)
    for layer in layers:
        text = "3 × 3, depthwise" if layer == "dwconv" else widths(f"mlp.{layer}") if layer in ("fc1", "fc2") else ""
        arrow(axes, (at, low), (at + gap, low))
        at += gap + wide
        box(axes, (at - wide / 2, low), (wide, TALL), layer, text, x if layer == "fc2" else inside,
            MIX if layer == "dwconv" else ALONE)  # fmt: skip
    arrow(axes, (at, low), (10.3, low))

    for lane, top in ((main, queries + 0.62), (low, low + 0.68)):
        radius = plus(axes, (10.43, lane))
        arrow(axes, (0.83, lane), (0.83, top), (10.43, top), (10.43, lane + radius))
        write(axes, (5.6, top + 0.14), "kept as it was; the branch is added to it", 4.5, 9, GREY)
    arrow(axes, (10.56, main), (10.85, main), (10.85, 2.1), (0.15, 2.1), (0.15, low), (1.0, low))
    write(axes, (10.45, 2.26), x, 0.75, 8.5, GREY)
    arrow(axes, (10.56, low), (10.98, low))
    for k, (colour, words) in enumerate(COLOURS.items()):
        write(axes, (1.0 + 3.1 * k, 0.08), f"■ {words}", 3.0, 9, colour, ha="left")
    made = f"keys by {listed(' '.join([a, b]).strip() for a, b, _ in steps)}" if steps else "every token is a key"
    size = sum(math.prod(shape) for key, shape in parameters.items() if key.startswith(f"{name}."))
    said = [f"tokens {x}, norm1; queries {x}; {made}, {times(M, C)}; {count(heads, 'table')} of scores {times(N, M)}; "
            "proj; added to the tokens",
            f"norm2; {', '.join(layers)}, {inside} inside; added to the tokens"]  # fmt: skip
    return figure, told(title, *said, f"{size:,} parameters")


def _rows(trace, config, stage):
    """What a version does: part -> text, in order."""
    name, shapes = f"stages.{stage}.blocks.0", parameter_shapes(config)
    heads, N, M = trace[f"{name}.attn.probs"].shape[1:]
    patch, stride = config.patch_sizes[stage], config.strides[stage]
    v1, pooled = config.model_type == "pvt", "class token" if config.model_type == "pvt" else "mean of the tokens"
    overlap = "that overlap" if patch > stride else "side by side"
    made = ", ".join(f"{layer} {text}".strip() for layer, text, _ in reduction(config, stage))
    inner = trace[f"{name}.mlp.fc1"].shape[-1]
    places = "none:\ndwconv's padding tells"
    if v1:
        places = f"learned table\n{times(*shapes[f'stages.{stage}.pos_embed'][1:])}"
    return {
        "patches": f"{times(patch, patch)}, step {stride},\n{overlap}",
        "places": places,
        "tokens": shape_of(trace, f"{name}.norm1"),
        "keys": made or "R = 1: all tokens",
        "scores": f"{count(heads, 'head')}, {times(N, M)}",
        "MLP": f"{', '.join(feed_forward(config))}\n{inner} wide",
        "stage ends in": "none" if v1 else "norm",
        "answer": ", ".join(["norm"] * v1 + [pooled] + ["head"] * (config.num_labels > 0)),
        "parameters": f"{sum(map(math.prod, shapes.values())):,} in all",
    }


@drawing
def versions(models, *, stage=0):
    """Versions of PVT side by side, one stage of each from above to below; orange is what differs from the left.

    models  label -> (trace, configuration); the trace as in `block`
    """
    columns = {label: _rows(trace, config, checked("stage", stage, config.num_encoder_blocks))
               for label, (trace, config) in models.items()}  # fmt: skip
    parts, first, wide, high = list(next(iter(columns.values()))), 1.35, 3.0, 0.52
    step = high + 0.24
    title = f"the versions of PVT, stage {stage + 1}"
    figure, axes = sheet(first + (wide + 0.25) * len(columns), step * len(parts) + 0.75, title)
    top = step * len(parts) + 0.05
    said, left = [], None
    for k, (label, rows) in enumerate(columns.items()):
        x = first + (wide + 0.25) * k + wide / 2
        write(axes, (x, top + 0.42), label, wide, 12, weight="bold")
        changed = []
        for n, part in enumerate(parts):
            y = top - step * n - 0.1
            other = left is not None and left[part] != rows[part]
            changed += [f"{part} {rows[part]}"] * other
            box(axes, (x, y), (wide, high), "", rows[part], colour=ORANGE if other else GREY,
                dashed=rows[part].startswith("none"))  # fmt: skip
            if 0 < n < len(parts) - 1:
                arrow(axes, (x, y + high / 2 + 0.24), (x, y + high / 2))
            if not k:
                write(axes, (first - 0.15, y), part, first - 0.2, 10, GREY, ha="right")
        text = "; ".join(changed if left else [f"{part} {text}" for part, text in rows.items()]) or "nothing"
        said.append(f"{label} differs in {text}" if left else f"{label}: {text}")
        left = rows
    write(axes, (first, 0.08), "■ differs from the column to its left", 4, 9, ORANGE, ha="left")
    return figure, told(title, *said)
