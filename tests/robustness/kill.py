"""`python tests/robustness/kill.py`: kills the commands while they write and looks at what they leave.

Each trial starts the real command, ends it with SIGKILL (as kill -9 does), SIGINT (as Ctrl-C does) or SIGTERM (as a
system that shuts down), in a third of the trials sent twice, and checks:

- At the target stands byte for byte the old file or the new one, or nothing if nothing stood; never a half.
- After Ctrl-C the exit status is 130, after SIGTERM 143; stderr holds one line at most, and no temporary file is left.
- The same command, run again, ends with the new file as if nothing had happened, and takes leftovers away. In a third
  of the trials it is first killed once more.

Half of the moments are spread over the whole run, half around the moments at which a temporary file is there; how long
both last is measured first. The checkpoint of a training holds times, so there "the old file" means one that was
written earlier in the run: it must load, and the training must go on from it to the model of an undisturbed run.

Left out: Windows, where none of them can be sent, a machine that loses power, and Python's own start, which ends in
Python's own way: such a moment is counted as early.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from pvt_numpy.checkpoints.checkpoint import load_model  # noqa: E402
from pvt_numpy.checkpoints.export import export_hf  # noqa: E402
from pvt_numpy.train import STOPPING  # noqa: E402
from pvt_numpy.training.state import read_state  # noqa: E402
from tests import processes  # noqa: E402
from tests.checkpoints import fake_hub  # noqa: E402

BALL, SHIPPED = ROOT / "notebooks" / "golf_ball.jpg", ROOT / "weights" / "pvt_v2_b0_imagenette.safetensors"
OLD = b"what stood there before"
STATUS = {"SIGKILL": -9, "SIGINT": 130, "SIGTERM": 143}  # the signals, and to what exit status they lead
COLUMNS = ("kills", "old", "new", "nothing", "half", "early", "twice", "leftover")
# of the package, what Python reads before signals are answered
FIRST = {"__init__.py", "system/__init__.py", "system/stopping.py"}
# what writes one thing -> (arguments after `python -m pvt_numpy.`, with OUT for what it writes; OUT's suffix)
WRITERS = {
    "convert": (["convert", SHIPPED, "-o", "OUT"], ".safetensors"),
    "convert --to hf": (["convert", SHIPPED, "--to", "hf", "-o", "OUT"], ""),
    "explore": (["explore", BALL, "--image-size", 64, "-o", "OUT"], ".html"),
    "plots": (["plots", "cost", "-o", "OUT"], ".png"),
}
TRAIN = ["train", "shapes", "--image-size", 16, "--drawn", 32, "--batch-size", 16, "--epochs", 2, "--measure-every", 9,
         "-o", "OUT"]  # fmt: skip


@dataclass
class Work:
    """A command that writes. Every trial has a folder of its own, in which the command runs.

    command  its arguments after `python -m pvt_numpy.`
    output   the file or folder that it writes
    old      whether the output may be there before
    """

    command: tuple
    output: str
    old: bool = True
    temporary, clears_away = ".*.tmp", True

    @property
    def name(self):
        """What messages start with."""
        return self.command[0]

    def start(self, folder, *command):
        """The command, begun in `folder`, perhaps with other arguments."""
        arguments = ("-m", f"pvt_numpy.{self.name}", *(command or self.command[1:]))
        return processes.start(*arguments, cwd=folder, env=self.environment(folder))

    def environment(self, folder):
        """As users have it: stopped between opening a file and its `with`, Python may warn that it closes the file."""
        return {"PYTHONWARNINGS": None}

    def prepare(self, folder, old):
        if old:
            (folder / self.output).write_bytes(OLD)

    def learn(self, folder):
        """Remembers what an undisturbed run has left in `folder`."""
        self.new = tree(folder / self.output)

    def state(self, folder, old):
        """What stands at the output: "old", "new", "nothing" or "half"."""
        found = tree(folder / self.output)
        if found == self.new:
            return "new"
        if found is None:
            return "half" if old else "nothing"  # an old file must not vanish
        return "old" if old and found == OLD else "half"

    def temporaries(self, folder):
        """The temporary files and folders that are there at the moment."""
        return list(folder.glob(self.temporary))

    def again(self, folder):
        """The arguments with which the command is run once more, or None if it would refuse."""
        return None if isinstance(self.new, dict) and self.state(folder, False) == "new" else self.command[1:]

    def expect_new(self, folder, process):
        out, err = process.communicate(timeout=300)
        faults = [f"run again: status {process.returncode}, {err!r}"] if process.returncode or err else []
        if self.state(folder, False) != "new":
            faults.append("run again: it did not write the new file")
        return faults + [f"run again: {path.name} is still there" for path in self.temporaries(folder)]


class Download(Work):
    """A checkpoint of a Hub on the loopback address; the output is huggingface_hub's cache folder."""

    temporary, clears_away = "cache/hub/*/blobs/*.incomplete", False  # huggingface_hub's

    def environment(self, folder):
        return super().environment(folder) | fake_hub.environment(self.hub.url, folder / "cache")

    def state(self, folder, old):
        weights = [path.read_bytes() for path in folder.rglob("*.safetensors") if ".no_exist" not in path.parts]
        return "half" if set(weights) - {self.weights} else "new" if weights else "nothing"

    def learn(self, folder):
        """The cache holds more than weights, but nothing else of size."""
        self.new = self.weights

    def expect_new(self, folder, process):
        """huggingface_hub starts a killed download anew and leaves the first one's pieces."""
        return [fault for fault in super().expect_new(folder, process) if "still there" not in fault]


class Training(Work):
    """A training of a few steps; it writes checkpoint, log, model and curve, the first two after every epoch."""

    temporary = "out/.*.tmp"

    def learn(self, folder):
        self.model, self.curve = ((folder / "out" / name).read_bytes() for name in ("model.safetensors", "curve.png"))
        self.steps = read_state(folder / "out" / "checkpoint.safetensors").step

    def state(self, folder, old):
        out = folder / "out"
        model, curve, log = (tree(out / name) for name in ("model.safetensors", "curve.png", "log.csv"))
        whole = model in (None, self.model) and curve in (None, self.curve)
        whole &= all(line.count(b",") == 7 for line in (log or b"").splitlines())
        try:
            steps = read_state(out / "checkpoint.safetensors").step
        except FileNotFoundError:
            return "nothing" if whole else "half"
        except ValueError:
            return "half"
        return "half" if not whole else "new" if steps == self.steps and model else "old"

    def again(self, folder):
        """With --resume, if there is something to go on from."""
        return self.command[1:] if self.state(folder, False) == "nothing" else ("--resume", "out")


def tree(path):
    """The bytes of a file, those of everything in a folder, or None."""
    if path.is_dir():
        return {entry.name: entry.read_bytes() for entry in path.iterdir()}
    return path.read_bytes() if path.exists() else None


def writer(command, suffix, kind=Work):
    """The Work of a row of WRITERS; a folder is never written over."""
    output = f"out{suffix}"
    return kind(tuple(output if word == "OUT" else word for word in command), output, old=bool(suffix))


@contextlib.contextmanager
def works(seconds=0.3):
    """Everything that writes, by what it is called in the table, with a Hub that takes so long to send its weights."""
    with tempfile.TemporaryDirectory() as folder:
        export_hf(Path(folder) / "hf", load_model())
        files = tree(Path(folder) / "hf")
    with fake_hub.serve({"lecture/pvt": files}) as hub:
        hub.seconds = seconds
        download = Download(("classify", BALL, "--model", "lecture/pvt"), "cache", old=False)
        download.hub, download.weights = hub, files["model.safetensors"]
        yield {
            "download": download,
            "train, then --resume": writer(TRAIN, "", Training),
            **{name: writer(*how) for name, how in WRITERS.items()},
        }


class Span(NamedTuple):
    """How long an undisturbed run takes, and when and how long its temporary files are there, in seconds."""

    total: float
    writing: list


def watched(work, folder, process):
    """Looks again and again, until the process ends; gives (seconds, whether temporary files are there, and are new)
    each time."""
    begun, seen = time.perf_counter(), []
    while process.poll() is None:
        now, before, seen = time.perf_counter(), seen, work.temporaries(folder)
        yield now - begun, bool(seen), bool(seen and not before)
        time.sleep(0.0005)


def measure(work):
    """Runs the work undisturbed, which shows it the new file, and returns its Span."""
    with tempfile.TemporaryDirectory() as name:
        folder, begun, writing = Path(name), time.perf_counter(), []
        work.prepare(folder, False)
        process = work.start(folder)
        for now, there, new in watched(work, folder, process):
            if new:
                writing.append([now, 0.0])
            elif there:
                writing[-1][1] = now - writing[-1][0]
        total = time.perf_counter() - begun
        out, err = process.communicate()
        assert (process.returncode, err) == (0, ""), err
        work.learn(folder)
        assert work.state(folder, False) == "new", "undisturbed, it did not write the new file"
        assert work.temporaries(folder) == []
    return Span(total, writing)


def wait(work, folder, process, span, rng, sooner):
    """Waits for a random moment of the run: anywhere, or around one of the temporary files, if any was seen."""
    if not span.writing or rng.random() < 0.5:
        time.sleep(sooner * rng.uniform(0, span.total))
        return
    number = rng.integers(len(span.writing))
    for _, _, new in watched(work, folder, process):
        if new and number == 0:
            break
        number -= new
    time.sleep(sooner * rng.uniform(0, 1.2) * max(0.002, span.writing[-1 - number][1]))


def killed(work, sent, span, rng, folder, prepare):
    """A process that was sent the signal once or twice at a random moment: (it, how often, stdout, stderr). One that
    had ended before is started anew, and meets the signal sooner."""
    for late in range(100):
        prepare()
        process = work.start(folder)
        wait(work, folder, process, span, rng, 0.9**late)
        if process.poll() is None:
            process.send_signal(getattr(signal, sent))
            if twice := rng.random() < 1 / 3:
                time.sleep(rng.uniform(0, 0.05))
                process.send_signal(getattr(signal, sent))
            return process, 1 + twice, *process.communicate(timeout=300)
        process.communicate()
    raise AssertionError(f"{work.name}: found a hundred runs that ended too soon; expected one to kill")


def trial(work, sent, span, rng):
    """One kill. Returns the words of COLUMNS that apply, and the faults as sentences."""
    old = work.old and rng.random() < 0.7
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "work")

        def prepare():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            work.prepare(folder, old)

        process, times, out, err = killed(work, sent, span, rng, folder, prepare)
        state, left = work.state(folder, old), work.temporaries(folder)
        words = [state] + ["leftover"] * len(left) + ["twice"] * (times == 2)
        faults = ["half"] * (state == "half")
        if sent != "SIGKILL":
            if before_the_command(process, err):
                words.append("early")
            else:
                faults += stopped_badly(work, process, sent, state, out, err)
            if left and work.clears_away:
                faults.append(f"{left[0].name} is left")
        if (arguments := work.again(folder)) is not None:
            if rng.random() < 1 / 3:
                second = work.start(folder, *arguments)
                wait(work, folder, second, span, rng, 1)
                second.kill()
                second.communicate()
                faults += ["half after a second kill"] * (work.state(folder, old) == "half")
                arguments = work.again(folder)
            if arguments is not None:
                faults += work.expect_new(folder, work.start(folder, *arguments))
        return words, faults


def before_the_command(process, err):
    """Whether the signal met Python in its own start, or in the package's first lines."""
    ours = set(re.findall(r"pvt_numpy/(.+?)\"", err))
    unanswered = process.returncode in (-signal.SIGINT, -signal.SIGTERM) or "KeyboardInterrupt" in err
    return unanswered and ours <= FIRST


def stopped_badly(work, process, sent, state, out, err):
    """What is wrong with the end that the signal has brought about."""
    waits = f"{STOPPING}\n" if err.startswith(STOPPING) else ""
    said = err.removeprefix(waits)
    if process.returncode == 0 and state == "new" and not said:
        return []  # the work was done
    if waits and process.returncode == 130 and "saved; go on with" in out and not said:
        return []
    if process.returncode == STATUS[sent] and said == (f"{work.name}: stopped\n" if sent == "SIGINT" else ""):
        return []
    return [f"status {process.returncode}, {err!r}"]


def kill(times, seed, chosen=None, progress=lambda items: items):
    """So many trials, spread evenly over works and signals; (work, signal) -> Counter of words, and all faults."""
    rng, counts, faults = np.random.default_rng(seed), {}, []
    with works() as every:
        plan = [(name, sent) for name in chosen or every for sent in STATUS]
        spans = {name: measure(every[name]) for name in dict.fromkeys(name for name, _ in plan)}
        for number in progress(range(times)):
            name, sent = plan[number % len(plan)]
            words, wrong = trial(every[name], sent, spans[name], rng)
            counts.setdefault((name, sent), Counter()).update([*words, "kills"])
            faults += [f"{name}, {sent}, kill {number}: {fault}" for fault in wrong]
    return counts, faults


def table(counts):
    """The counts for people."""
    total = {("all", ""): sum(counts.values(), Counter())}
    rows = {("work", "signal"): {column: column for column in COLUMNS}} | dict(sorted(counts.items())) | total
    return "\n".join(f"{name:22}{sent:9}" + "".join(f"{count[column]:>10}" for column in COLUMNS)
                     for (name, sent), count in rows.items())  # fmt: skip


def main():
    """The command. Returns its exit status."""
    from tqdm import tqdm

    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n\n".join(__doc__.split("\n\n")[1:]) + """
columns: what stood there afterwards, old, new, nothing or half; early: the signal met Python's own start; twice: it was
sent twice; leftover: temporary files. Exit status: 0 no fault; 1 at least one, named below the table.""",
    )  # fmt: skip
    parser.add_argument("--times", metavar="N", type=int, default=200, help="how many kills (default %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=random.randrange(2**32),
                        help="of the moments (default: another one every time)")  # fmt: skip
    parser.add_argument("--work", metavar="NAME", action="append",
                        help="only this one, called as in the table; repeatable")  # fmt: skip
    options = parser.parse_args()
    if os.name == "nt":
        parser.error("Windows can send neither signal to a process of its own choice")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not ignored, as by a job in the background
    print(f"--seed {options.seed}", flush=True)
    counts, faults = kill(options.times, options.seed, options.work, lambda items: tqdm(items, unit=" kills"))
    print(table(counts))
    print(*faults or ["no fault"], sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
