"""Fair measurements: contenders take turns, so that a machine that slows down slows them all."""

import time


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
