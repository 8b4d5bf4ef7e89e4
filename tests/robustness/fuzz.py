"""`python tests/robustness/fuzz.py`: damaged models and pictures by the thousand; each must give a result or one line.

The cases and what must hold for them are in `fuzzing/`; `test_fuzz.py` runs a few hundred of the same.
"""

import argparse
import faulthandler
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each case is small
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hypothesis.errors import HypothesisException  # noqa: E402

from tests.robustness.fuzzing.commands import COMMANDS  # noqa: E402 - after the lines above
from tests.robustness.fuzzing.judge import Failed, peak_memory  # noqa: E402
from tests.robustness.fuzzing.kinds import KINDS, try_cases  # noqa: E402

EPILOG = """examples:
  python tests/robustness/fuzz.py                           20,000 cases of every kind, and whole commands; minutes
  python tests/robustness/fuzz.py --cases 1000 --seed 7            the same cases every time
  python tests/robustness/fuzz.py --kinds metadata "shard index"   only these

Every case must end in a right result or in one line that names the file, with nothing else on stderr, within seconds
and within little memory. One that does not is made as small as hypothesis can and printed, and its kind goes on; the
same --seed, --cases and --kinds bring it again.

exit status: 0 all cases held; 1 one did not; 2 wrong usage"""
AT_ONCE = 250  # cases that hypothesis keeps in mind together
HANGS = 120  # seconds after which a case shows where it stands, and the run ends


def main(argv=None):
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python tests/robustness/fuzz.py",
        description="Tries the package on damaged models and pictures by the thousand.",
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--cases", metavar="N", type=int, default=20_000, help="in all (default 20000)")
    parser.add_argument("--seed", metavar="N", type=int, default=int.from_bytes(os.urandom(3), "big"),
                        help="which cases (default: others every time; the first line says which)")  # fmt: skip
    parser.add_argument("--kinds", metavar="KIND", nargs="+", choices=KINDS, default=list(KINDS),
                        help=f"by default all: {', '.join(KINDS)}")  # fmt: skip
    options = parser.parse_args(argv)

    try:
        import torch  # before memory is limited
    except ImportError:
        torch = None
        options.kinds = [kind for kind in options.kinds if not KINDS[kind].torch]
        print("pickles are left out: PyTorch is not installed")
    limit_memory()
    print(f"--seed {options.seed}")
    shares = sum(KINDS[kind].share for kind in options.kinds)
    print(f"{'kind':<26}{'results':>9}{'refusals':>10}{'slowest':>10}{'largest':>10}{'in all':>9}")
    failed, total = 0, Counter()
    for kind in options.kinds:
        count = max(1, -(-int(options.cases * KINDS[kind].share * 1000) // int(shares * 1000)))
        # For all others it is as if PyTorch were not installed: pickles are refused, no memory goes into it.
        sys.modules["torch"] = torch if KINDS[kind].torch else None
        failed += run_kind(kind, count, options.seed, total)
    sys.modules["torch"] = None
    if set(options.kinds) >= {kind for kind in KINDS if not KINDS[kind].torch}:
        failed += not run_commands()
    print(f"{sum(total.values()):,} cases: {total[True]:,} results, {total[False]:,} refusals, {failed} failures")
    return 1 if failed else 0


def run_kind(kind, count, number, total):
    """Tries `count` cases of a kind, prints what failed and a line about them all. How many different ones failed."""
    from tqdm import tqdm

    verdicts, failures, start, terminal = (
        [],
        set(),
        time.time(),
        os.fdopen(os.dup(2), "w"),
    )  # the cases' own stderr is listened to
    with terminal, tqdm(total=count, desc=kind, unit=" cases", leave=False, file=terminal, disable=None) as bar:

        def begins():
            faulthandler.dump_traceback_later(HANGS, exit=True, file=terminal)

        def judged(verdict):
            verdicts.append(verdict)
            bar.update()

        for round in range(-(-count // AT_ONCE)):
            try:
                try_cases(kind, min(AT_ONCE, count - round * AT_ONCE), 1000 * number + round, begins, judged)
            except (Failed, HypothesisException) as failure:
                bar.clear()
                if str(failure) not in failures:
                    print(f"FAILED, {kind}: {failure}\n  again: fuzz.py --seed {number} --kinds {kind!r}", flush=True)
                failures.add(str(failure))
            finally:
                faulthandler.cancel_dump_traceback_later()
    ends = Counter(verdict.accepted for verdict in verdicts)
    slowest, largest = max([0, *(v.seconds for v in verdicts)]), max([0, *(v.grown for v in verdicts)])
    total.update(ends)
    print(f"{kind:<26}{ends[True]:>9,}{ends[False]:>10,}{slowest:>8.2f} s{largest >> 20:>6} MiB"
          f"{time.time() - start:>7.0f} s", flush=True)  # fmt: skip
    return len(failures)


def run_commands():
    """Runs the whole commands and prints a line about each. Whether all held."""
    held = True
    for command in COMMANDS:
        start = time.time()
        with tempfile.TemporaryDirectory() as folder:
            try:
                command(Path(folder))
            except AssertionError as wrong:
                print(f"FAILED, {command.__name__}: {str(wrong)[:2000]}")
                held = False
            else:
                print(f"{command.__name__.replace('_', ' '):<55}held{time.time() - start:>14.0f} s", flush=True)
    return held


def limit_memory(more=3 << 30):
    """Lets the process have at most `more` bytes beside what it has, if the operating system can (Linux): a file
    that makes it ask for more ends in MemoryError, which is a failure, and not in a machine without memory."""
    try:
        import resource

        has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (has + more, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, OSError):
        print("memory is not limited: this operating system has no /proc")
    if not peak_memory():
        print("memory is not measured: this operating system does not tell it")


if __name__ == "__main__":
    sys.exit(main())
