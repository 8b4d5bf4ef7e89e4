"""Patches: which pixels a token is made from, without and with overlap, and the kernels that read them."""

import numpy as np

from .figures import drawing, new_figure
from .photo import cells_of, frame, middle, show_photo, token_at
from .style import BLUE, GREY, ORANGE, STAGE_COLOURS, WIDEST, bare, times
from .words import listed, short, told

AROUND = 12  # pixels shown on every side of a patch


def seen_pixels(config, stage, token):
    """The pixels a token (row, column) is made from by the patch embeddings alone: (top, left, bottom, right).

    The last two are past the end. v2's padding reaches outside the picture, so numbers can be negative or too large.

    >>> from pvt_numpy.config import VARIANTS
    >>> seen_pixels(VARIANTS["pvt_tiny"], 0, (1, 2)), seen_pixels(VARIANTS["pvt_v2_b0"], 0, (1, 2))
    ((4, 8, 8, 12), (1, 5, 8, 12))
    """
    first, last = list(token), list(token)
    for i in range(stage, -1, -1):
        patch, stride = config.patch_sizes[i], config.strides[i]
        padding = patch // 2 if config.model_type == "pvt_v2" else 0
        first = [at * stride - padding for at in first]
        last = [at * stride - padding + patch - 1 for at in last]
    return first[0], first[1], last[0] + 1, last[1] + 1


def contrast(photo):
    """The pixel (y, x) whose surroundings, as `patches` shows them, differ the most from each other in brightness."""
    side, light = 2 * AROUND, photo.mean(axis=-1)
    if min(light.shape) <= side:
        return middle(photo)
    windows = np.lib.stride_tricks.sliding_window_view(light, (side, side))[::4, ::4]
    y, x = np.unravel_index(windows.std(axis=(2, 3)).argmax(), windows.shape[:2])
    return int(4 * y + AROUND), int(4 * x + AROUND)


@drawing
def patches(photo, configs, *, pixel=None):
    """For each configuration: one token's patch and its right neighbour's close up, and what a token sees by stage.
    (In the last column the left neighbour's.)

    White dots are the middles of all patches.

    photo    (H, W, 3), see `photo_of`
    configs  label -> configuration
    pixel    (y, x): the token there. None: where light and dark differ the most
    """
    pixel = contrast(photo) if pixel is None else middle(photo, pixel)
    H, W = photo.shape[:2]
    figure = new_figure(WIDEST / 2 * len(configs), 3.7)
    panels = figure.subplots(1, 2 * len(configs))
    said = []
    for (label, config), near, far in zip(configs.items(), panels[::2], panels[1::2], strict=True):
        patch, stride = config.patch_sizes[0], config.strides[0]
        row, column = token_over(config, 0, pixel, (H, W))
        _, right = token_over(config, 0, (pixel[0], pixel[1] + stride), (H, W))
        beside = right if right > column else column - 1
        show_photo(near, photo).set_interpolation("nearest")
        for at, colour in (((row, beside), ORANGE), ((row, column), BLUE)):
            frame(near, seen_pixels(config, 0, at), colour, linewidth=3)
        top, left, bottom, right = seen_pixels(config, 0, (row, column))
        y, x = np.mgrid[top % stride - stride : H + stride : stride, left % stride - stride : W + stride : stride]
        near.scatter(x + patch / 2, y + patch / 2, s=9, color="white", edgecolor=GREY, linewidth=0.5)
        near.set(xlim=(left - AROUND, right + AROUND), ylim=(bottom + AROUND, top - AROUND))
        near.set_title(f"{label}: patches of {times(patch, patch)}, step {stride},\n"
                       f"neighbours share {patch * max(0, patch - stride)} of {patch * patch} pixels")  # fmt: skip
        show_photo(far, photo, grey=True)
        sides = []
        for i in range(config.num_encoder_blocks):
            box = seen_pixels(config, i, token_over(config, i, pixel, (H, W)))
            sides.append(times(box[2] - box[0], box[3] - box[1]))
            frame(far, box, STAGE_COLOURS[i % 4], label=f"stage {i + 1}: {sides[i]}")
        far.set(xlim=(0, W), ylim=(H, 0), title=f"{label}: what a token is made from\n(patch embeddings alone)")
        far.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, fontsize=9, handlelength=1, columnspacing=1)
        said.append(f"{' '.join(near.get_title().split())}; a token of each stage is made from {listed(sides)} pixels")
    return figure, told(f"the patches around pixel {pixel[0]},{pixel[1]} of the picture, close up", *said)


def token_over(config, stage, pixel, size):
    """The token of a stage whose cell holds the pixel of a picture (H, W); v1 leaves out the cells that are cut off."""
    cell = cells_of(config, stage)
    return token_at(pixel, [max(1, n // cell) if config.model_type == "pvt" else -(-n // cell) for n in size], cell)


@drawing
def kernels(weight):
    """The first patch embedding's kernels (C, 3 or 1, k, k), one small picture for each channel they make.

    Mid-grey is 0, and each kernel's largest number is full scale.
    """
    if weight.shape[1] not in (1, 3):
        expected = "3, red, green and blue, or 1, grey"
        raise ValueError(f"weight: found kernels of {weight.shape[1]} channels; expected {expected}")
    images = np.moveaxis(weight, 1, -1)
    largest = np.abs(images).max(axis=(1, 2, 3), keepdims=True)
    images = 0.5 + 0.5 * images / np.where(largest > 0, largest, 1)
    columns = 8 if len(images) <= 32 else 16
    rows = -(-len(images) // columns)
    figure = new_figure(0.62 * columns + 0.6, 0.78 * rows + 0.9)
    figure.suptitle(f"{times(*weight.shape)}: {len(images)} kernels of {times(*weight.shape[2:])} pixels\n"
                    "grey 0, brighter positive, darker negative", fontsize=11)  # fmt: skip
    for c, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        bare(axes)
        if c < len(images):
            axes.imshow(images[c], cmap="gray", vmin=0, vmax=1)  # which colours do not heed
            axes.set_title(str(c), fontsize=8, color=GREY, pad=2)
    strong = np.argsort(-np.abs(weight).max(axis=(1, 2, 3)), kind="stable")[:3]
    numbers = listed(f"kernel {c} (up to {short(np.abs(weight[c]).max())})" for c in strong)
    return figure, told(figure.get_suptitle().replace("\n", "; "), f"strongest: {numbers}")
