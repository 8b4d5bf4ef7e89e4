"""Where in a checkpoint the PVT is: under prefixes, beside a neck and a head, as raw weights and as their average.

A PVT is found by the names of its patch embeddings, whatever stands before them, and by attention in its first stage.
Names that no PVT has are company: they are left aside and counted, unless they lie within its own modules, where they
would change what it computes. If a training script keeps averaged weights (EMA) beside the raw ones, the average is
taken, as timm does. Left out: an average whose names lost their dots, or that is a list without names.
"""

import re
from collections import Counter
from dataclasses import replace
from os.path import commonprefix

from ..system.checks import one_of, wrong
from .identify import our_shapes
from .names import file_names, our_names, prefixes, recognise

AVERAGED = re.compile(r"(?:^|[._])(?:ema|swa|averaged?|shadow)(?:[._]|$)", re.IGNORECASE)
COUNTERS = ("total_ops", "total_params")  # buffers that a counter of operations (thop) leaves in every module
MOST = 20  # PVTs in one file, and groups in a message


def choose(source, name, weights=None, prefix=None):
    """(`source` with the names of its PVT alone, without what stands before them; notes on that for the origin).

    weights  "raw" or "ema", or None: the averaged ones if there are any
    prefix   some whole parts of what stands before the names, "student" or "student.backbone.", or None: there is one

    If there is no PVT at all, the source comes back as it is: what it holds is told by `identify`. Raises ValueError
    that starts with `name` if none or several are what was asked for.
    """
    one_of(None, "raw", "ema")("weights", weights)
    names = {full: full for full in source.shapes}
    if any("stages_" in full for full in names):  # timm's features_only
        names = {re.sub(r"(^|\.)stages_(\d+)\.", r"\1stages.\2.", full): full for full in names}
    places = prefixes(names)
    if len(places) > MOST:
        raise wrong(name, f"{len(places):,} PVTs", f"at most {MOST}")
    parts = {}
    for place in places:
        held = {n.removeprefix(place): full for n, full in names.items() if n.startswith(place)}
        parts |= {place: held} if _has_attention(held) else {}
    tables = {place: max(filter(place.startswith, source.tables), key=len, default="") for place in parts}
    averaged = {place: source.tables.get(table) for place, table in tables.items()}
    averaged = {place: bool(AVERAGED.search(place)) if told is None else told for place, told in averaged.items()}
    wanted = [place for place in parts if prefix is None or place == prefix or f".{prefix.strip('.')}." in f".{place}"]
    exact = [place for place in wanted if prefix is not None and place.strip(".") == prefix.strip(".")]
    pool = exact or wanted
    if weights is None and any(averaged[place] for place in pool):
        weights = "ema"
    if weights:
        pool = [place for place in pool if averaged[place] == (weights == "ema")]
    if len(pool) != 1:
        if not parts and prefix is None and weights is None:
            return source, {}
        raise _not_one(name, pool, averaged, weights, prefix)
    place = pool[0]
    kept = _of_the_pvt(parts[place], source.shapes)
    notes = {"chosen": source.chosen} if source.chosen else {}
    if averaged[place] or len(parts) > 1:
        kind = "averaged, " if averaged[place] else "raw, " if any(averaged.values()) else ""
        notes["weights"] = f"{kind}under {place.strip('.')}" if place else f"{kind}at the top"
    belonging = set(kept.values())
    aside = [n for n, full in names.items() if n.startswith(tables[place]) and full not in belonging]
    if aside:
        notes["left aside"] = _counted(aside, place)
    shapes = {n: source.shapes[full] for n, full in kept.items()}
    return replace(source, shapes=shapes, read=lambda n: source.read(kept[n])), notes


def without_class_row(source, expected, maker, bare):
    """`source`, whose last position table is read without the class token's row if the model has no class token.

    The authors' detectors keep that row, and never use it. `expected`: our name -> shape, in the model's order.
    """
    tables = [ours for ours in expected if ours.endswith("pos_embed")]
    if any(ours.endswith("cls_token") for ours in expected) or not tables:
        return source
    table, (_, rows, C) = file_names(tables[-1], maker, bare)[0], expected[tables[-1]]
    if source.shapes.get(table) != (1, rows + 1, C):
        return source

    def read(name):
        return source.read(name)[:, 1:] if name == table else source.read(name)

    return replace(source, shapes=source.shapes | {table: (1, rows, C)}, read=read)


def _has_attention(names):
    """Whether these names, without a prefix, are a PVT's and not those of another network that cuts patches."""
    maker = recognise(names)
    return maker is not None and any(
        ours.startswith("stages.0.blocks.") and ".attn.q." in ours for ours, _ in our_names(names, *maker).values()
    )


def _of_the_pvt(held, full_shapes):
    """The part of `held` (name -> name in the file) that belongs to the PVT."""
    maker = recognise(held)
    known = our_names(held, *maker)
    modules = {name.split(".")[0] for name in known}
    ours = our_shapes({name: full_shapes[full] for name, full in held.items()}, *maker)
    widths = [ours[n][:1] for n in sorted(ours) if n.endswith("patch_embed.proj.weight")]
    v1, tokenless = any("pos_embed" in n for n in ours), not any("cls_token" in n for n in ours)
    foreign = ("norm.",) if tokenless else ()  # v1's final norm is for the class token; v2 has one in each stage
    if (v1 and tokenless) or ("head.weight" in ours and ours["head.weight"][1:] not in widths[-1:]):
        foreign += ("head.",)  # of the larger model

    def belongs(name):
        if name in known:
            return not known[name][0].startswith(foreign)
        if not re.fullmatch(r"[\w.-]+", name):  # of no module at all: `checkpoint` refuses it
            return True
        return name.split(".")[0] in modules and name.split(".")[-1] not in COUNTERS

    return {name: full for name, full in held.items() if belongs(name)}


def _counted(names, place):
    """How many names were left aside, and of which modules beside the PVT's place."""

    def module(name):
        if (last := name.split(".")[-1]) in COUNTERS:
            return last
        return name[commonprefix([name, place]).rfind(".") + 1 :].split(".")[0]

    groups = Counter(map(module, names)).most_common()
    said = ", ".join(f"{group} {count}" for group, count in groups[:MOST])
    return f"{len(names)} other array{'s' * (len(names) > 1)} ({said}{', ...' * (len(groups) > MOST)})"


def _not_one(name, pool, averaged, weights, prefix):
    """The ValueError if not exactly one PVT is what was asked for."""

    def at(place):
        return f"under {place.strip('.')}" if place else "at the top"

    asked = {None: "", "raw": " of raw weights", "ema": " of averaged weights"}[weights]
    asked += "" if prefix is None else f" under {prefix!r}"
    if not pool:
        kinds = {True: ", averaged", False: ", raw" if weights else ""}
        there = (at(place) + kinds[average] for place, average in averaged.items())
        return wrong(name, f"no PVT{asked}", f"what is there: {' and '.join(there) or 'none at all'}")
    example = next(place for place in reversed(pool) if place).strip(".")
    found = f"{len(pool)} PVTs{asked}, {' and '.join(map(at, pool))}"
    return wrong(name, found, f"one; a prefix chooses, as --prefix {example}")
