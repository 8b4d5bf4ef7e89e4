"""Someone else's arrays beside ours: the first that departs, and the known mistake that gives these very numbers.

The folder holds .npy files (float64, float32 or float16) or .raw ones (little-endian float64 or float32 alone, in our
layout), named as `dump.py` names them, for any part of the names. Axes in another order, maps for tokens, heads that
are merged and a batch axis that is missing are recognised, and said.
"""

import contextlib
import json
import math
import re
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..analysis.observe import place
from ..model import forward
from ..parameters import flatten
from ..system.checks import wrong
from ..system.cli import printable
from .comparison import TOLERANCES, differences
from .dump import FORMAT, MANIFEST, arrays_of, gradients_of, said_of
from .mistakes import MISTAKES, OF_A_MODEL, in_place

ROUNDING = TOLERANCES | {"float16": 2e-2}  # by the type of the numbers in a file
AT_ONCE = re.compile(r"stages\.\d+(\.\w+|\.blocks\.\d+(\.\w+)?)?")  # noted before what follows is computed
CLEARLY = 10  # by how much a mistake must be nearer than the right numbers


class Row(NamedTuple):
    """One array: the largest difference, the same over our largest number, what is still rounding for its type, and how
    it was read, in words."""

    name: str
    max_abs: float
    relative: float
    tolerance: float
    how: str

    @property
    def departs(self):
        return not self.relative <= self.tolerance


class Findings(NamedTuple):
    """rows      in the order of execution
    unknown   files that are named as no array is
    mistakes  (name, how many rows agree with it made), of those that give the numbers of the first row that departs
    """

    rows: list[Row]
    unknown: list[str]
    mistakes: list[tuple[str, int]]

    @property
    def first(self):
        return next((row for row in self.rows if row.departs), None)


def read_manifest(folder):
    """The manifest of a folder as a dict, {} if there is none. Raises ValueError if it is not one of `dump.py`."""
    path = Path(folder) / MANIFEST
    if not path.exists():
        return {}
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] == FORMAT:
            return manifest
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise wrong(path, "another text", "the manifest that validate --dump wrote, or none")


def examine(folder, config, params, pixels, dtype="float64"):
    """The `Findings` on a folder. dtype: what the other program computes in, if its files are of a wider type."""
    files = {}
    for path in sorted(Path(folder).iterdir()):
        if path.name != MANIFEST and files.setdefault(path.stem, path) != path:
            raise wrong(folder, f"{files[path.stem].name} and {path.name}", "one file an array")
    ours = arrays_of(config, params, pixels, any(name.startswith("gradients.") for name in files))
    known = [name for name in ours if name in files and files[name].suffix in (".npy", ".raw")]
    if not known:
        raise wrong(folder, "no array that is named as ours are", "files such as stages.0.patch_embed.npy; "
                    "validate --dump writes them all")  # fmt: skip
    theirs = {name: read_array(files.pop(name), ours[name].shape) for name in known}
    axes = {name: said_of(name, config, params)["axes"] for name in known}

    def row(name, expected):
        tolerance = max(ROUNDING[theirs[name].dtype.name], TOLERANCES[dtype])
        return nearest(name, theirs[name], expected, axes[name], tolerance)

    rows = [row(name, ours[name]) for name in known]
    found = Findings(rows, [path.name for path in files.values()], [])
    given = [*flatten(params), "pixel_values"]  # nothing that the model computes: no mistake of its can be in them
    if found.first and found.first.name not in given:
        computed = [name for name in known if name not in given]
        mistakes = mistakes_that_give(found.first, computed, row, config, params, pixels)
        found.mistakes.extend((name, count + len(known) - len(computed)) for name, count in mistakes)
    return found


def mistakes_that_give(first, names, row, config, params, pixels):
    """(name of a mistake, how many of `names` agree with it made) for each that gives the numbers of `first`, the
    first row that departs, and of every row before it; only those with which most agree.

    row  (name, array) -> the `Row` of the other program's array beside that one
    """
    upto = names[: names.index(first.name) + 1]
    backward = first.name.startswith("gradients.")
    noted = [name for name in upto[:-1] if AT_ONCE.fullmatch(name) and not backward]

    def agreeing(mistake, since, names, until=None):
        made = numbers_with(mistake, config, params, pixels, since, until, backward)
        rows = [row(name, made[name]) for name in names if name in made]
        return [row for row in rows if not row.departs]

    found = {}
    # made from the last place on that is right, for the other program may make it here alone; else everywhere
    for since in [*noted[-1:], None]:
        for mistake in [name for name in MISTAKES if (name in OF_A_MODEL) != backward]:
            agreed = agreeing(mistake, since, upto, None if backward else first.name)
            if len(agreed) == len(upto) and agreed[-1].relative * CLEARLY <= first.relative:
                found[mistake] = max(len(agreeing(mistake, start, names)) for start in {since, None})
        if max(found.values(), default=0) == len(names):
            break
    return [(mistake, count) for mistake, count in found.items() if count == max(found.values())]


class Seen(Exception):
    """Ends a forward pass that has gone far enough."""


class Until(dict):
    """A watcher that raises `Seen` when it has seen an array of that name."""

    def __init__(self, last):
        super().__init__()
        self.last = last

    def __setitem__(self, name, array):
        super().__setitem__(name, array)
        if name == self.last:
            raise Seen


def numbers_with(mistake, config, params, pixels, since, until, backward):
    """name -> array of our own pass with a mistake of the list in it, made from `since` on, and as far as `until`."""
    trace, (_, layer, mistaken) = Until(until), MISTAKES[mistake]

    def now_and_then(right, *args, **kwargs):
        made = since is None or since in trace
        return mistaken(right, *args, **kwargs) if made else right(*args, **kwargs)

    # it may end in shapes that do not fit: then what came before is all there is
    over = contextlib.suppress(Seen, ValueError, IndexError, ZeroDivisionError)
    with np.errstate(all="ignore"), over, in_place(**{layer: now_and_then}):
        logits = forward(pixels, params, config, trace=trace).logits
        if backward:
            return trace | gradients_of(config, params, pixels, logits)
    return trace


def read_array(path, shape):
    """The numbers of a file; shape: that of a .raw file. Raises ValueError if it holds none."""
    if path.suffix == ".raw":
        data = path.read_bytes()
        if len(data) not in (4 * math.prod(shape), 8 * math.prod(shape)):
            raise wrong(path, f"{len(data)} bytes", f"{' x '.join(map(str, shape))} little-endian numbers of 4 or 8")
        return np.frombuffer(data, f"<f{len(data) // math.prod(shape)}").reshape(shape)
    try:
        with open(path, "rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, MemoryError, OverflowError) as error:
        raise wrong(path, str(error).partition("\n")[0] or "damage", "an array as numpy.save writes it") from None
    if array.dtype.name not in ROUNDING:
        raise wrong(path, f"numbers of type {array.dtype.name}", "float64, float32 or float16")
    if not array.size:
        raise wrong(path, f"no numbers, shape {array.shape}", f"the shape {shape}")
    return array


def nearest(name, array, expected, axes, tolerance):
    """The `Row` of someone else's array beside `expected`, read in the way in which it agrees, if in any."""
    rows = []
    for read, how in readings(array, expected.shape, axes):
        (found,) = differences({name: read.astype(expected.dtype)}, {name: expected})
        nan = f"{np.isnan(read).sum():,} of {read.size:,} numbers are NaN" * bool(np.isnan(read).any())
        row = Row(name, found.max_abs, found.relative, tolerance, "; ".join(filter(None, [nan, how])))
        if not row.departs:
            return row
        rows.append(row)
    shapes = f"shape {array.shape}; expected {expected.shape}, {' '.join(axes)}"
    return rows[0] if rows else Row(name, np.inf, np.inf, tolerance, shapes)


def readings(array, shape, axes):
    """(array of that shape, how it was read) for every way to read it so, as it is first.

    >>> [how for _, how in readings(np.zeros((8, 5, 4)), (1, 20, 8), ["B", "N", "C"])]
    ['without B, as C H W', 'without B, as C W H']
    >>> [how for _, how in readings(np.zeros((7, 3, 8, 6)), (6, 8, 7, 3), ["B", "C", "H", "W"])]
    ['as H W C B']
    """
    for read, without in [(array, "")] + [(array[None], "without B")] * (axes[0] == "B" and shape[0] == 1):
        for names, fits, folded in forms(shape, axes):
            for order in permutations(range(read.ndim)) if read.ndim == len(names) else ():
                if fits(read.transpose(order).shape):
                    theirs = [names[order.index(k)] for k in range(read.ndim)][bool(without) :]
                    as_ours = theirs == axes[bool(without) :]
                    how = ", ".join(filter(None, [without, "" if as_ours else f"as {' '.join(theirs)}"]))
                    yield folded(read.transpose(order)), how


def forms(shape, axes):
    """(axes, whether a shape of these fits, the function that makes ours) for each form that an array may have."""
    yield axes, lambda found: found == shape, lambda x: x
    if axes[1:2] in (["N"], ["M"]):  # tokens: as a map
        yield (["B", "H", "W", axes[2]], lambda found: (found[0], found[1] * found[2], found[3]) == shape,
               lambda x: x.reshape(shape))  # fmt: skip
    if axes == ["B", "C", "H", "W"]:  # a map: as tokens
        yield (["B", "N", "C"], lambda found: found == (shape[0], shape[2] * shape[3], shape[1]),
               lambda x: x.swapaxes(1, 2).reshape(shape))  # fmt: skip
    if axes[-1] == "d":  # a head's: with the heads merged
        yield (["B", axes[2], "C"], lambda found: found == (shape[0], shape[2], shape[1] * shape[3]),
               lambda x: x.reshape(shape[0], shape[2], shape[1], shape[3]).swapaxes(1, 2))  # fmt: skip


def as_dict(found, title):
    """The findings for a program."""
    rows = [row._asdict() | {"departs": row.departs} for row in found.rows]
    for row in rows:
        row |= {key: None for key in ("max_abs", "relative") if not math.isfinite(row[key])}
    first = found.first and found.first.name
    return {"model": title, "layers": rows, "unknown": found.unknown, "first_departure": first,
            "mistakes": [name for name, _ in found.mistakes]}  # fmt: skip


def report(found, title):
    """The findings for a reader: a line for each array, then the verdict."""
    rows, first = found.rows, found.first
    width = max(len(row.name) for row in rows)
    lines = [printable(title)]
    if found.unknown:
        some = ", ".join(map(printable, found.unknown[:5])) + ", ..." * (len(found.unknown) > 5)
        lines.append(f"{len(found.unknown)} files passed over, named as no array is: {some}")
    lines += ["", f"{'array':{width}}  {'max abs':>8}  relative  tolerance"]
    for row in rows:
        mark = "  <- first to depart" if row is first else "  departs" if row.departs else ""
        how = f"  ({row.how})" if row.how else ""
        lines.append(f"{row.name:{width}}  {row.max_abs:8.1e}  {row.relative:8.1e}  {row.tolerance:9.0e}{mark}{how}")
    if not first:
        return "\n".join([*lines, "", f"all {len(rows)} arrays agree"])
    where = f"{first.name} ({place(first.name)})" if place(first.name) else first.name
    lines += ["", f"first array that departs: {where}, by {first.relative:.1e}"]
    for name, count in found.mistakes:
        agree = f"all {len(rows)} arrays agree" if count == len(rows) else f"{count} of {len(rows)} arrays agree"
        lines.append(f"these are the numbers if {MISTAKES[name].text} (--break {name}): with that made here, {agree}")
    return "\n".join(lines if found.mistakes else [*lines, "no known mistake gives these numbers"])
