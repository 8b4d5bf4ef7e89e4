"""Fair measurements: contenders take turns, so that a machine that slows down slows them all."""

import time
from statistics import median


def timed(work):
    """A function that does the work and returns how many milliseconds it took."""

    def once():
        started = time.perf_counter()
        work()
        return (time.perf_counter() - started) * 1e3

    return once


def take_turns(contenders, runs, warm_up, tick=lambda: None):
    """Name -> what each run gave, the first `warm_up` not counted.

    contenders  name -> a function that does the work once and returns what was measured
    tick        called after every run
    """
    measured = {name: [] for name in contenders}
    for _ in range(warm_up + runs):
        for name, work in contenders.items():
            measured[name].append(work())
            tick()
    return {name: results[warm_up:] for name, results in measured.items()}


def compared(times, peaks):
    """The part of a row that says how contenders did: medians of the times in milliseconds, ours (the first) over the
    others' turn by turn, and the largest memory in MB of those that `peaks` has."""
    ours, *others = times.values()
    row = {f"{name}_ms": median(values) for name, values in times.items()}
    for name, theirs in zip(list(times)[1:], others, strict=True):
        row[f"ratio_to_{name}"] = median(a / b for a, b in zip(ours, theirs, strict=True))
    return row | {f"{name}_peak_mb": peak for name, peak in peaks.items()}
