"""What attention costs as the picture grows: full, spatially reduced, and linear.

Counted as in the papers: multiply-adds of the linear layers, the reducing convolution and the two attention products.
Left out: softmax, norms and pooling, which are small; v1's class token, one more query and key in the last stage; and
everything outside the attention layers.
"""

from ..config import stage_grids
from ..layers.attention import POOLED
from .figures import drawing, new_figure
from .style import BLUE, GREEN, GREY, RED, WIDEST
from .words import short, told

KINDS = {"full": RED, "SRA": BLUE, "linear SRA": GREEN}
SIZES = tuple(range(128, 1025, 32))


def attention_cost(config, image_hw, kind):
    """Multiply-adds of all attention layers, and numbers in the largest score table, for a picture of (H, W) pixels.

    kind  "full" (every token is a key), "SRA" (the configuration's ratios) or "linear SRA" (7 x 7 keys)

    With N queries, M keys and C channels a layer takes N C C for the queries, 2 M C C for keys and values, N M C for
    the scores, N M C for mixing the values and N C C for the output. SRA's convolution takes M R R C C, about N C C;
    linear SRA's, on 49 pooled tokens, 49 C C.

    >>> from pvt_numpy.config import VARIANTS
    >>> [attention_cost(VARIANTS["pvt_v2_b0"], (224, 224), kind) for kind in ("full", "SRA")]
    [(1560423424, 9834496), (138460672, 153664)]
    """
    macs, largest = 0, 0
    for i, (H, W) in enumerate(stage_grids(config, image_hw)):
        N, C, R = H * W, config.hidden_sizes[i], config.sr_ratios[i]
        M = {"full": N, "SRA": (H // R) * (W // R), "linear SRA": POOLED * POOLED}[kind]
        reduction = {"full": 0, "SRA": M * R * R * C * C if R > 1 else 0, "linear SRA": M * C * C}[kind]
        macs += config.depths[i] * (2 * N * C * C + 2 * M * C * C + 2 * N * M * C + reduction)
        largest = max(largest, config.num_attention_heads[i] * N * M)
    return macs, largest


@drawing
def cost(config, sizes=SIZES, *, title=""):
    """Multiply-adds of all attention layers, and memory of the largest score table, over the side of the picture."""
    figure = new_figure(WIDEST, 4.3, title or "what attention costs as the picture grows")
    left, right = figure.subplots(1, 2)
    said = []
    for kind, colour in KINDS.items():
        counts = [attention_cost(config, (n, n), kind) for n in sizes]
        style = {"color": colour, "linewidth": 2.2, "linestyle": "--" if kind == "linear SRA" else "-", "label": kind}
        left.semilogy(sizes, [macs / 1e9 for macs, _ in counts], **style)
        right.semilogy(sizes, [4 * numbers / 2**20 for _, numbers in counts], **style)
        ends = [f"{short(macs)} multiply-adds and {short(4 * numbers / 2**20)} MiB at {n} pixels"
                for n, (macs, numbers) in zip((sizes[0], sizes[-1]), (counts[0], counts[-1]), strict=True)]  # fmt: skip
        said.append(f"{kind} {' and '.join(ends)}")
    for axes, label in ((left, "billion multiply-adds, all attention layers"), (right, "MiB, largest score table")):
        axes.set(xlabel="side of the picture in pixels", ylabel=label, xlim=(min(sizes), max(sizes)))
        axes.axvline(224, color=GREY, linewidth=0.8, linestyle=":", label="224 pixels")
        axes.grid(axis="y", color="#E6E6E6")
        axes.set_axisbelow(True)
        axes.legend(loc="lower right")
    return figure, told(title or "what attention costs as the picture grows", *said)
