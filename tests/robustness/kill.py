"""`python tests/robustness/kill.py`: kills the commands while they write and looks at what they leave.

Each trial starts the real command, ends it with SIGKILL (as kill -9 does) or SIGINT (as Ctrl-C does), and checks:

- At the target stands byte for byte the old file or the new one, or nothing if nothing stood; never a half.
- After Ctrl-C the exit status is 130, stderr holds one line, and no temporary file is left.
- The same command, run again, ends with the new file as if nothing had happened, and takes leftovers away.

Half of the moments are spread over the whole run, half around the moments at which a temporary file is there; how long
both last is measured first. The checkpoint of a training holds times, so there "the old file" means one that was
written earlier in the run: it must load, and the training must go on from it to the model of an undisturbed run.

Left out: Windows, where neither signal can be sent, and a machine that loses power.
"""

import argparse
import contextlib
import os
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
from pvt_numpy.training.state import read_state  # noqa: E402
from tests import processes  # noqa: E402
from tests.checkpoints import fake_hub  # noqa: E402

BALL, SHIPPED = ROOT / "notebooks" / "golf_ball.jpg", ROOT / "weights" / "pvt_v2_b0_imagenette.safetensors"
OLD = b"what stood there before"
SIGNALS = ("SIGKILL", "SIGINT")
COLUMNS = ("kills", "old", "new", "nothing", "half", "early", "leftover")
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
    temporary = ".*.tmp"

    @property
    def name(self):
        """What messages start with."""
        return self.command[0]

    def start(self, folder, *command):
        """The command, begun in `folder`."""
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

    def again(self, folder, state):
        """What goes wrong when the command is run once more, as a list of sentences."""
        if state == "new" and isinstance(self.new, dict):
            return []  # a folder is never written over
        return self.expect_new(folder, self.start(folder))

    def expect_new(self, folder, process):
        out, err = process.communicate(timeout=300)
        faults = [f"run again: status {process.returncode}, {err!r}"] if process.returncode or err else []
        if self.state(folder, False) != "new":
            faults.append("run again: it did not write the new file")
        return faults + [f"run again: {path.name} is still there" for path in self.temporaries(folder)]


class Download(Work):
    """A checkpoint of a Hub on the loopback address; the output is huggingface_hub's cache folder."""

    temporary = "cache/hub/*/blobs/*.incomplete"

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

    def again(self, folder, state):
        """With --resume, if there is something to go on from."""
        resume = () if state == "nothing" else ("--resume", "out")
        return self.expect_new(folder, self.start(folder, *resume))


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
        assert writing, "undisturbed, no temporary file was seen"
    return Span(total, writing)


def wait(work, folder, process, span, rng):
    """Waits for a random moment of the run: anywhere, or around one of the temporary files."""
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0, span.total))
        return
    number = rng.integers(len(span.writing))
    for _, _, new in watched(work, folder, process):
        if new and number == 0:
            break
        number -= new
    time.sleep(rng.uniform(0, 1.2) * max(0.002, span.writing[-1 - number][1]))


def trial(work, sent, span, rng):
    """One kill. Returns the words of COLUMNS that apply, and the faults as sentences."""
    while True:
        old = work.old and rng.random() < 0.7
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            work.prepare(folder, old)
            process = work.start(folder)
            wait(work, folder, process, span, rng)
            if process.poll() is not None:  # too late, it had finished
                process.communicate()
                continue
            process.send_signal(getattr(signal, sent))
            out, err = process.communicate(timeout=300)
            state, left = work.state(folder, old), work.temporaries(folder)
            words, faults = [state] + ["leftover"] * len(left), ["half"] * (state == "half")
            if sent == "SIGINT" and state != "new" and before_the_command(process, err):
                words.append("early")
            elif sent == "SIGINT":
                faults += stopped_badly(work, process, state, out, err)
            if sent == "SIGINT" and left:
                faults.append(f"{left[0].name} is left")
            return words, faults + work.again(folder, state)


def before_the_command(process, err):
    """Whether Ctrl-C met Python while it was still starting or importing, where it ends in Python's own way."""
    before_run = err.endswith("KeyboardInterrupt\n") and ", in run\n" not in err
    return before_run or (process.returncode == -signal.SIGINT and not err)


def stopped_badly(work, process, state, out, err):
    """What is wrong with the end that Ctrl-C has brought about."""
    if process.returncode in (0, -signal.SIGINT) and state == "new" and not err:
        return []  # the work was done; at the very end Python itself leaves without a word
    saved = work.name == "train" and "saved; go on with" in out
    # A shell calls both 130; Python ends by the signal itself if Ctrl-C met it inside an exec() of some import.
    if process.returncode in (130, -signal.SIGINT) and err == ("" if saved else f"{work.name}: stopped\n"):
        return []
    return [f"status {process.returncode}, {err!r}"]


def kill(times, seed, chosen=None, progress=lambda items: items):
    """So many trials, spread evenly over works and signals; (work, signal) -> Counter of words, and all faults."""
    rng, counts, faults = np.random.default_rng(seed), {}, []
    with works() as every:
        plan = [(name, sent) for name in chosen or every for sent in SIGNALS]
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
columns: what stood there afterwards, old, new, nothing or half; early: Ctrl-C met Python still importing, which shows
a traceback; leftover: temporary files. Exit status: 0 no fault; 1 at least one, named below the table.""",
    )  # fmt: skip
    parser.add_argument("--times", metavar="N", type=int, default=200, help="how many kills (default %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the moments (default %(default)s)")
    parser.add_argument("--work", metavar="NAME", action="append",
                        help="only this one, called as in the table; repeatable")  # fmt: skip
    options = parser.parse_args()
    if os.name == "nt":
        parser.error("Windows can send neither signal to a process of its own choice")
    counts, faults = kill(options.times, options.seed, options.work, lambda items: tqdm(items, unit=" kills"))
    print(table(counts))
    print(*faults or ["no fault"], sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
