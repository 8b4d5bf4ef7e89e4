"""`python -m pvt_numpy.benchmark`: that it measures what it says; speed itself is no matter for a test."""

import contextlib
import json
import math
import os
import re
import signal
import struct
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pvt_numpy import VARIANTS, benchmark, parameter_shapes
from pvt_numpy.analysis.cost import summarise
from pvt_numpy.timing import contenders, programs, tables
from pvt_numpy.timing.processes import ask, run_once, running
from tests.processes import ROOT, command, start

FORWARD = ["measured", "model", "batch", "image_size", "threads", "runs", "gmacs", "pvt_numpy_ms", "products_ms",
           "ratio_to_products", "pvt_numpy_peak_mb"]  # fmt: skip
STEP = [key for key in FORWARD if key != "gmacs" and "products" not in key]
COLD_START = ["measured", "model", "picture", "label", "threads", "runs", "pvt_numpy_ms", "pvt_numpy_peak_mb"]
FOLDER = ["measured", "model", "photos", *COLD_START[3:]]
WITH_PYTORCH = {"pytorch_ms", "ratio_to_pytorch", "pytorch_peak_mb"}
CHILDREN = "/proc/{0}/task/{0}/children"
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals and tells no peak memory")


def rows_of(capsys, monkeypatch, *arguments):
    """The rows of one short run in JSON."""
    monkeypatch.setattr(benchmark, "REST", 0)
    assert benchmark.main([*arguments, "--threads", "1", "--runs", "1", "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_row_for_every_model_size_and_batch(capsys, monkeypatch):
    arguments = "--only forward --without-pytorch --models pvt_v2_b0 --image-sizes 32 64 --batch-sizes 2"
    for row, size in zip(rows_of(capsys, monkeypatch, *arguments.split()), (32, 64), strict=True):
        assert list(row) == FORWARD
        assert (row["model"], row["image_size"], row["batch"], row["runs"]) == ("pvt_v2_b0", size, 2, 1)
        assert row["gmacs"] == 2 * summarise(VARIANTS["pvt_v2_b0"], (size, size))["macs"] / 1e9
        assert min(row["pvt_numpy_ms"], row["products_ms"]) > 0
        assert sys.platform == "win32" or row["pvt_numpy_peak_mb"] > 20


@pytest.mark.torch
def test_pytorch_beside_it_and_v1_at_other_sizes_too(capsys, monkeypatch):
    """Hugging Face's v1 runs at the size it was made for only, so it is made for this one."""
    small = ["--models", "pvt_tiny", "--image-sizes", "64", "--batch-sizes", "1", "--photos", "3"]
    rows = rows_of(capsys, monkeypatch, *small)
    for row, keys in zip(rows, (FORWARD, STEP, FOLDER, COLD_START), strict=True):
        assert set(row) == {*keys, *WITH_PYTORCH}
        assert math.isfinite(row["pytorch_ms"])
        assert row["pytorch_ms"] > 0 or keys is FOLDER  # three photos more, beside a start of some seconds
        assert row.get("label", "golf ball") == "golf ball"


def test_the_issues_models_and_batches_are_the_default(monkeypatch, capsys):
    seen = []
    for name in ("measure", "folder", "cold_start"):
        monkeypatch.setattr(benchmark, name, lambda *case, name=name: seen.append((name, *case)) or {})
    assert benchmark.main(["--json", "--without-pytorch"]) == 0
    models = ("pvt_tiny", "pvt_small", "pvt_v2_b0", "pvt_v2_b2", "pvt_v2_b2_li")
    both = ["pvt_numpy", "products"]
    expected = [("measure", "forward", both, name, batch, 224, 10, None) for name in models for batch in (1, 8)]
    expected += [("measure", "training step", ["pvt_numpy"], "nano", 32, 64, 10, None),
                 ("folder", 100, 10, None, False), ("cold_start", 10, None, False)]  # fmt: skip
    assert [case[:-1] for case in seen] == expected


def test_the_readmes_commands_are_understood(monkeypatch, capsys):
    for name, kind in (("measure", None), ("folder", "folder"), ("cold_start", "cold start")):
        monkeypatch.setattr(benchmark, name, lambda *case, kind=kind: {"measured": kind or case[0]})
    monkeypatch.setattr(benchmark, "running", lambda *_: contextlib.nullcontext())
    text = (ROOT / "pvt_numpy" / "timing" / "README.md").read_text(encoding="utf-8")
    for given in re.findall(r"`python -m pvt_numpy\.benchmark([^`]*)`", text):
        assert benchmark.main([*given.replace("--markdown", "").split(), "--json"]) == 0
    rows = [json.loads(line)["measured"] for line in capsys.readouterr().out.splitlines()]
    assert set(rows) == {"forward", "training step", "folder", "cold start"}
    assert rows.count("forward") >= 10 + 10 + 8  # all of it, and the README's tables


@pytest.mark.parametrize("pytorch", [True, False])
def test_the_table_is_a_table(pytorch, capsys):
    row = {"measured": "forward", "model": "pvt_v2_b2_li", "image_size": 1024, "batch": 8, "gmacs": 1234.5,
           "pvt_numpy_ms": 12345.6, "products_ms": 2345.6, "ratio_to_products": 4.0,
           "pvt_numpy_peak_mb": 1234.5}  # fmt: skip
    row |= {"pytorch_ms": 23456.7, "ratio_to_pytorch": 0.5, "pytorch_peak_mb": 5678.9} if pytorch else {}
    for form in ("text", "markdown"):
        show = tables.printer(form)
        show(row)
        show(row)
        header, *lines = capsys.readouterr().out.splitlines()
        assert lines[-2:] == [lines[-1]] * 2
        assert len(lines[-1]) == len(header) <= 120 or form == "markdown"
        cells = lines[-1].replace("|", "").split()
        assert cells[:5] == ["pvt_v2_b2_li", "1024", "8", "1234.50", "12,345.6"]  # pixels, batch, GMACs, ours
        assert {"25%", "10.0"} <= set(cells)  # the products' share; milliseconds per GMAC


def test_the_extras_and_each_kind_have_columns_of_their_own(capsys):
    show = tables.printer("markdown")
    step = {"measured": "training step", "model": "nano", "batch": 32, "image_size": 64, "pvt_numpy_ms": 5.0}
    show(step)
    show(step | {"pytorch_ms": 4.0, "ratio_to_pytorch": 1.25, "pytorch_peak_mb": 8.0, "onnxruntime_ms": 2.0,
                 "ratio_to_onnxruntime": 2.5})  # fmt: skip
    first, _, row, _, second, rule, other = capsys.readouterr().out.splitlines()
    assert row == "| nano, 32 pictures of 64 x 64 | 5.0 ms | - | - | - | - |"
    assert second == first + " ONNX Runtime | ratio |"
    assert other == "| nano, 32 pictures of 64 x 64 | 5.0 ms | 4.0 ms | 1.25 | - | 8 MB | 2.0 ms | 2.50 |"
    assert rule.count("-") == 3 * other.count("| ") == 3 * 8


@pytest.mark.parametrize("name", ["pvt_tiny", "pvt_v2_b0", "pvt_v2_b2_li"])
def test_the_floor_is_every_product_of_the_model_and_nothing_else(name):
    batch, config = 3, VARIANTS[name]
    result = summarise(config, (96, 64))
    shapes = list(contenders.product_shapes(result["layers"], batch))
    depthwise = sum(row["macs"] for row in result["layers"] if row["name"].endswith(".dwconv"))
    assert bool(depthwise) == (config.model_type == "pvt_v2")
    assert sum(math.prod(left) * right[-1] for left, right in shapes) == batch * (result["macs"] - depthwise)

    weights = sorted((math.prod(shape[1:]), shape[0]) for layer, shape in parameter_shapes(config).items()
                     if len(shape) in (2, 4) and ".dwconv" not in layer)  # fmt: skip
    assert sorted(right for _, right in shapes if len(right) == 2) == weights
    attention = [pair for pair in shapes if len(pair[1]) == 4]
    # two products in each block, for every head of every picture: 24 x 16 tokens, and their 3 x 2 or 7 x 7 keys
    keys, d = 49 if config.linear_attention else 6, config.hidden_sizes[0]
    assert len(attention) == 2 * sum(config.depths)
    assert attention[:2] == [((batch, 1, 384, d), (batch, 1, d, keys)), ((batch, 1, 384, keys), (batch, 1, keys, d))]


def test_the_floor_multiplies_them_all(monkeypatch):
    work, multiplied = contenders._products("pvt_v2_b0", 2, 64), []
    matmul = np.matmul
    monkeypatch.setattr(np, "matmul", lambda a, b, out: multiplied.append((a.shape, b.shape)) or matmul(a, b, out=out))
    work()
    found = list(multiplied)  # for what is expected multiplies, too
    assert found == list(contenders.product_shapes(summarise(VARIANTS["pvt_v2_b0"], (64, 64))["layers"], 2))


def test_counting_keeps_no_numbers():
    """What `summarise` would hold with every intermediate of a picture of 224 x 224 is ten times as much."""
    tracemalloc.start()
    summarise(VARIANTS["pvt_v2_b0"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 25e6


def test_cold_start_names_the_ball(capsys, monkeypatch):
    (row,) = rows_of(capsys, monkeypatch, "--only", "cold-start", "--without-pytorch")
    assert (set(row), row["picture"], row["label"]) == (set(COLD_START), "notebooks/golf_ball.jpg", "golf ball")


def pretend(monkeypatch, ours, theirs):
    """Makes the race believe in these times, the first of each not to be counted, and this label of theirs."""
    turns = {"convert": iter([0, 0]), "pvt_numpy": iter(ours), "pytorch": iter(theirs[0])}
    label = {"pvt_numpy": "golf ball", "pytorch": theirs[1], "convert": ""}
    turns |= {(name, "one"): iter([1, 5, 5]) for name in label} | {(name, "many"): turns[name] for name in label}
    label |= {(name, where): label[name] for name in list(label) for where in ("one", "many")}
    monkeypatch.setattr(programs, "run_once", lambda name, *_: (next(turns[name]), 50.0, f"  {label[name]}  93.1%"))


def test_cold_start_ratio_is_turn_by_turn_without_the_first(monkeypatch):
    pretend(monkeypatch, [900, 10, 40, 20], ([1, 100, 100, 400], "golf ball"))
    ticks = []
    row = programs.cold_start(3, 2, True, lambda: ticks.append(1))
    assert (row["pvt_numpy_ms"], row["pytorch_ms"], row["ratio_to_pytorch"], len(ticks)) == (20, 100, 0.1, 8)


def test_the_time_of_a_folder_is_that_of_one_more_photo(monkeypatch):
    pretend(monkeypatch, [900, 25, 45], ([1, 105, 105], "golf ball"))
    ticks = []
    row = programs.folder(11, 2, 2, True, lambda: ticks.append(1))
    assert (row["pvt_numpy_ms"], row["pytorch_ms"], len(ticks)) == (3, 10, 12)  # (25 - 5) / 10 and (45 - 5) / 10
    assert (row["photos"], row["label"], set(row)) == (11, "golf ball", {*FOLDER, *WITH_PYTORCH})


def test_another_label_is_another_job(monkeypatch):
    pretend(monkeypatch, [1, 1], ([1, 1], "gas pump"))
    with pytest.raises(ValueError, match="two first labels.*golf ball.*gas pump"):
        programs.cold_start(1, 2, True, lambda: None)


@UNIX
def test_a_process_from_start_to_end():
    elapsed, peak, printed = run_once("job", ["-c", "x = b'1' * 300_000_000; print('dôné')"], 1)
    assert (printed, peak > 300, elapsed > 10) == ("dôné\n", True, True)


@pytest.mark.parametrize(("code", "said"), [("{}['nothing']", "KeyError: 'nothing'"), ("exit(3)", "exit status 3")])
def test_a_process_that_fails_is_one_line(code, said):
    with pytest.raises(ValueError, match=f"^job: found a process that failed \\({re.escape(said)}\\); expected"):
        run_once("job", ["-c", code], 1)


def test_a_contender_that_dies_is_reported():
    with pytest.raises(ValueError, match=r"^nobody: found a process that stopped \(KeyError: .*'nobody'\)\); expected"):
        benchmark.measure("forward", ["nobody"], "pvt_v2_b0", 1, 64, 1, 1, lambda: None)


@UNIX
def test_a_contender_that_is_killed_is_reported():
    with running("victim", ["-c", "import sys; sys.stdin.read()"], 1) as contender:
        contender.process.kill()
        with pytest.raises(ValueError, match=r"^victim: found a process that stopped \(ended by signal 9.*memory\)"):
            ask(contender, "run")


def test_whatever_happens_a_process_ends():
    with pytest.raises(KeyboardInterrupt), running("sleeper", ["-c", "import time; time.sleep(600)"], 1) as contender:
        raise KeyboardInterrupt
    assert contender.process.returncode is not None


@pytest.mark.skipif(not Path(CHILDREN.format(os.getpid())).exists(), reason="looks for the children in Linux's /proc")
def test_ctrl_c_leaves_nothing_behind():
    with start("-m", "pvt_numpy.benchmark", "--without-pytorch", "--runs", "100000") as process:
        children = Path(CHILDREN.format(process.pid))
        deadline = time.monotonic() + 60
        while len(started := children.read_text().split()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # until the command has them in hand, and not in the middle of starting one
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert (process.returncode, said) == (130, "benchmark: stopped\n")
    assert len(started) == 2
    assert not [pid for pid in started if Path("/proc", pid).exists()]


def test_a_progress_bar_on_a_terminal_and_no_part_of_the_table():
    fcntl, pty, termios = (pytest.importorskip(name, reason="POSIX only") for name in ("fcntl", "pty", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    arguments = "--only forward --without-pytorch --runs 1 --models pvt_v2_b0 --batch-sizes 1 --image-sizes 32"
    status, out, _ = command("benchmark", *arguments.split(), stderr=theirs)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "/6 " in shown  # two contenders, one run each and two before it that do not count
    header, row = out.splitlines()
    assert (status, header.startswith("model "), row.split()[0]) == (0, True, "pvt_v2_b0")
