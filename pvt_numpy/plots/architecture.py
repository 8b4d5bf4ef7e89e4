"""The whole model on one sheet: the picture, its stages, the answer."""

import math

import numpy as np

from ..analysis.rollout import cell_sizes
from ..config import variant_name
from ..parameters import parameter_shapes
from .diagram import LIGHT, arrow, box, count, sheet, write
from .figures import drawing
from .photo import frame
from .pyramid import pca_colours
from .style import GREY, STAGE_COLOURS, times
from .words import short, told

SIDE, WIDE = 1.35, 2.05  # inches: of the first map, and of a stage's column


@drawing
def architecture(trace, config, photo=None):
    """The picture, the stages with their maps to scale, and the answer; all shapes and counts from trace and config.

    trace  of `forward`, or of `analysis.cost.shapes`, which needs no weights
    photo  (H, W, 3): it and the maps are shown, like colours for like features (PCA). None: as empty sheets
    """
    from matplotlib.colors import to_rgb

    stages = range(config.num_encoder_blocks)
    maps = [trace[f"stages.{i}"] for i in stages]
    # by shapes, for those of `analysis.cost.shapes` are all that it has
    with_class_token = trace[f"stages.{stages[-1]}.tokens"].shape[1] > math.prod(maps[-1].shape[2:])
    shapes = parameter_shapes(config, class_token=with_class_token)
    (channels, H, W), v1 = trace["pixel_values"].shape[1:], config.model_type == "pvt"
    labels = trace["logits"].shape[-1] if "logits" in trace else 0
    name, total = variant_name(config) or config.model_type, sum(map(math.prod, shapes.values()))
    left, right = 2.0, 1.75
    title = f"{name}: {short(total)} parameters"
    figure, axes = sheet(left + WIDE * len(stages) + right, 4.6, title)
    floor, middle = 2.62, 1.12  # where the maps stand; of the boxes

    def panel(x, size, depth, colours, colour):
        """A map as a sheet that stands on the floor, and the sheets behind it: more for more channels."""
        h, w = (SIDE * n / max(H, W) for n in size)
        for k in range(depth, 0, -1):
            dx = 0.035 * k
            frame(axes, (floor + dx, x - w / 2 + dx, floor + h + dx, x + w / 2 + dx), colour, 0.8, fill=True,
                  facecolor="white", zorder=1)  # fmt: skip
        if colours is None:
            colours = np.ones((1, 1, 3)) * (1 - LIGHT) + LIGHT * np.array(to_rgb(colour))
        axes.imshow(colours, extent=(x - w / 2, x + w / 2, floor, floor + h), zorder=2)
        frame(axes, (floor, x - w / 2, floor + h, x + w / 2), colour, 1.4, zorder=3)

    x = left / 2
    panel(x, (H, W), 0, photo, GREY)
    write(axes, (x, floor - 0.3), f"picture\n{times(H, W)} × {channels}", left - 0.2, 10.5)
    said = [f"a picture of {times(H, W)} × {channels}"]
    for i, cell in zip(stages, cell_sizes(config), strict=True):
        x, colour = left + WIDE * (i + 0.5), STAGE_COLOURS[i % 4]
        C, h, w = maps[i].shape[1:]
        R, heads, patch = config.sr_ratios[i], config.num_attention_heads[i], config.patch_sizes[i]
        panel(x, (h * cell_of_first(config), w * cell_of_first(config)), round(math.log2(C)) - 2,
              None if photo is None else pca_colours(maps[i][0]), colour)  # fmt: skip
        write(
            axes, (x, floor - 0.3), f"{times(h, w)} tokens × {C}\neach of {times(cell, cell)} pixels", WIDE - 0.15, 10.5
        )
        keys = trace[f"stages.{i}.blocks.0.attn.probs"].shape[-1]
        kind = "linear SRA" if config.linear_attention else f"SRA, R = {R}" if R > 1 else "attention, R = 1"
        lines = [f"patches {times(patch, patch)}, step {config.strides[i]}", *["+ position table"] * v1,
                 f"{count(config.depths[i], 'block')} of", f"{kind}, {count(heads, 'head')}",
                 f"{keys} keys, MLP × {config.mlp_ratios[i]:g}"]  # fmt: skip
        size = sum(math.prod(shape) for key, shape in shapes.items() if key.startswith(f"stages.{i}."))
        stage_box(axes, (x, middle), f"stage {i + 1}", lines, f"{short(size)} parameters", colour)
        way = [(left / 2, middle), (left / 2, floor - 0.56)] if i == 0 else [(x - WIDE / 2 - 0.1, middle)]
        arrow(axes, *way[::-1], (x - WIDE / 2 + 0.1, middle))
        what = ", ".join(lines).replace(" of,", " of")
        said.append(f"stage {i + 1}: {what}; out come {times(h, w)} tokens × {C}; {short(size)} parameters")
    x = left + WIDE * len(stages) + right / 2
    last = f"{times(*maps[-1].shape[2:])} tokens"
    pooled = "class token" if with_class_token else f"the {last}" if v1 else f"mean of the\n{last}"
    answer = f"{pooled}\n{f'→ {labels:,} labels' if config.num_labels else '(no head)'}"
    arrow(axes, (x - right / 2 - 0.1, middle), (x - 0.72, middle))
    note = "maps to scale:\na token is as large\nin every stage"
    write(axes, (x - right / 2 + 0.1, floor + 0.3), note, 1.6, 9, GREY, ha="left")
    box(axes, (x, middle), (1.44, 0.75), "", answer, colour=GREY)
    return figure, told(title, *said, f"answer: {answer}")


def cell_of_first(config):
    """A token of the first stage, in pixels: the maps are drawn so large that it is as large as what it covers."""
    return cell_sizes(config)[0]


def stage_box(axes, at, name, lines, foot, colour):
    """What a stage does, line by line."""
    (x, y), high = at, 1.62
    box(axes, at, (WIDE - 0.2, high), "", "", colour=colour)
    write(axes, (x, y + high / 2 - 0.2), name, WIDE - 0.3, 12, colour, "bold")
    write(axes, (x, y - 0.02), "\n".join(lines), WIDE - 0.28, 10.5)
    write(axes, (x, y - high / 2 + 0.16), foot, WIDE - 0.3, 9, GREY)
