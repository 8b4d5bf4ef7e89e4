"""The numerical difference to PyTorch, layer by layer: live, or from the golden numbers that PyTorch left."""

import numpy as np

from ..config import config_from_dict
from ..model import forward
from ..reference.comparison import differences
from ..reference.golden import digests, read_golden, seeded_params, seeded_pixels
from .style import BLUE, GREEN, GREY, MARKERS, RED, WIDEST, new_figure, picture

FLOOR = 1e-18  # an exact zero is drawn here, for a logarithm has none


def live(load, pixel_values):
    """label -> rows of `compare.differences`, measured now; PyTorch in float64 is the truth for all three.

    load  a function of a dtype that returns (params, config): the same model in float32 and in float64
    """
    from ..reference.pytorch import hf_model, hf_trace

    params, config = load(np.float64)
    truth, _ = hf_trace(hf_model(params, config), pixel_values.astype(np.float64), config)
    truth = {name: value for name, value in truth.items() if name != "pixel_values" and not name.endswith(".grid")}
    lines = {}
    for dtype in (np.float64, np.float32):
        params, config = load(dtype)
        trace, x = {}, pixel_values.astype(dtype)
        forward(x, params, config, trace=trace)
        lines[f"NumPy, {np.dtype(dtype)}"] = differences(trace, truth)
    lines["PyTorch, float32"] = differences(hf_trace(hf_model(params, config), x, config)[0], truth)
    return lines


def from_golden(name, load=None):
    """The same without PyTorch, for a case of the golden numbers: differences of digests, a few numbers of each layer.

    load  as in `live`, for the case "shipped"; the others make their parameters from a seed
    """
    golden = read_golden(name)
    config, lines = config_from_dict(golden["config"]), {}
    for dtype in (np.float64, np.float32):
        params = load(dtype)[0] if load else seeded_params(config, golden["params"]["seed"], dtype)
        trace = {}
        forward(seeded_pixels(golden["pixels"]["shape"], golden["pixels"]["seed"], dtype), params, config, trace=trace)
        lines[f"NumPy, {np.dtype(dtype)}"] = differences(digests(trace, config), golden["numbers"])
    return lines


@picture
def difference(lines, *, title="difference to PyTorch, layer by layer"):
    """One line for each kind of arithmetic: the largest difference of a layer over its largest number.

    lines  label -> rows of `compare.differences`, all over the same names, in the order of the computation
    """
    lines = {label: {row.name: row.relative for row in rows} for label, rows in lines.items()}
    names = list(next(iter(lines.values())))
    figure = new_figure(WIDEST, 4.4, title)
    axes = figure.subplots()
    for (label, values), colour, marker in zip(lines.items(), (BLUE, RED, GREEN), MARKERS, strict=False):
        if list(values) != names:
            raise ValueError(f"{label!r} has other layers than the first; expected the same, in the same order")
        heights = np.maximum([values[name] for name in names], FLOOR)
        axes.semilogy(heights, marker=marker, markersize=4, linewidth=1, color=colour, label=label)
    starts = [k for k, name in enumerate(names) if k == 0 or name.split(".")[:2] != names[k - 1].split(".")[:2]]
    for start in starts:
        axes.axvline(start - 0.5, color="#DDDDDD", linewidth=0.8, zorder=0)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylabel="largest difference, relative")
    step = max(1, len(names) // 48)
    ticks = range(0, len(names), step)
    short = [names[k].replace("stages.", "").replace("blocks.", "") for k in ticks]
    axes.set_xticks(ticks, short, rotation=90, fontsize=8)
    axes.grid(axis="y", color="#EEEEEE")
    axes.tick_params(axis="x", color=GREY, length=2)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
