"""The download of published checkpoints, against a Hub on the loopback address (fake_hub.py).

huggingface_hub reads its environment when imported, so each download runs in a process of its own, as a command would:
what is tested is what a user sees, the folder on stdout or one line on stderr. The table of published checkpoints and
the real Hub are test_published.py's.
"""

import hashlib
import json
import os
import re
import signal
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pvt_numpy
from pvt_numpy.checkpoints import hub
from pvt_numpy.checkpoints.export import export_hf
from pvt_numpy.pictures.recipes import RECIPES
from tests.checkpoints import fake_hub
from tests.checkpoints.fake_hub import fail, fetch, run, start
from tests.checkpoints.models import SMALL_V2, make_model
from tests.processes import ROOT


def data(size=1000, seed=0):
    """Stand-in for weights; hub.py reads none of them."""
    return np.random.default_rng(seed).bytes(size)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


INDEX, WEIGHTS = "model.safetensors.index.json", data()
PICKLE = "pytorch_model.bin"
SMALL = {"config.json": b'{"model_type": "pvt"}', "preprocessor_config.json": b"{}", "model.safetensors": WEIGHTS}
BIG = SMALL | {"model.safetensors": data(30_000_000)}  # huggingface_hub writes, and resumes, by 10 MB
PIN = f"pin={sha256(WEIGHTS)}"


@pytest.fixture
def served():
    """A Hub with one checkpoint under two names: one that no table knows, and one whose hash is pinned."""
    with fake_hub.serve({"lecture/pvt": dict(SMALL), "Zetatech/pvt-tiny-224": dict(SMALL)}) as server:
        yield server


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "home"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".sha256"}


def assert_from_cache(folder, served, *arguments, **variables):
    served.requests.clear()
    assert fetch(served, *arguments, **variables) == folder
    assert served.requests == []


def assert_line(err, start, *words):
    """One line on stderr, which starts so and holds all `words`."""
    assert err.startswith(start)
    assert err.count("\n") == 1, err
    assert all(word in err for word in words), err


def weights_in(cache):
    """What in the cache could be taken for weights, whole or in part; content is named after its sha256 there."""
    paths = [path for path in cache.rglob("*") if ".no_exist" not in path.parts]
    return [p for p in paths if p.suffix in (".safetensors", ".incomplete") or re.fullmatch("[0-9a-f]{64}", p.name)]


def test_first_download_then_cache(served, cache):
    folder = fetch(served, cache, "lecture/pvt")
    assert contents(folder) == SMALL
    record = (folder / "model.safetensors.sha256").read_text()
    assert record == f"{sha256(SMALL['model.safetensors'])}  model.safetensors\n"
    asked = [request for request in served.requests if request.startswith("GET")]
    assert asked[-1] == "GET /lecture/pvt/model.safetensors"  # weights last, so with them the folder is complete

    assert_from_cache(folder, served, cache, "lecture/pvt")
    assert_from_cache(folder, served, cache, "lecture/pvt", "local")
    assert_from_cache(folder, served, cache, "lecture/pvt", HF_HUB_OFFLINE="1")


def test_published_name_and_its_repository_are_one_checkpoint(served, cache):
    out, err = run(served, cache, "pvt_tiny Zetatech/pvt-tiny-224", PIN)
    by_name, by_repository = out.splitlines()
    assert by_name == by_repository
    assert contents(Path(by_name)) == SMALL
    assert served.requests.count("GET /Zetatech/pvt-tiny-224/model.safetensors") == 1


def test_load_model_downloads(served, cache, tmp_path):
    """A generated checkpoint in Hugging Face's format goes through the Hub and comes out with equal logits."""
    model = make_model(replace(SMALL_V2, num_labels=3), labels=("cat", "dog", "owl"), preprocessing=RECIPES["hf"])
    export_hf(tmp_path / "hf", model)
    served.repositories["lecture/owls"] = contents(tmp_path / "hf")
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    code = """
import sys, numpy, pvt_numpy
model = pvt_numpy.load_model("lecture/owls")
logits = pvt_numpy.forward(numpy.load(sys.argv[1]), model.params, model.config).logits
print(*model.labels, *map(repr, logits[0].tolist()))
"""
    out, err = run(served, cache, tmp_path / "x.npy", code=code)
    assert err == ""
    logits = pvt_numpy.forward(x, model.params, model.config).logits[0].tolist()
    assert out.split() == ["cat", "dog", "owl", *map(repr, logits)]


def test_repository_without_preprocessing(served, cache):
    """timm's have none; that it is absent is remembered, so the second run asks nothing."""
    del served.repositories["lecture/pvt"]["preprocessor_config.json"]
    folder = fetch(served, cache, "lecture/pvt")
    assert sorted(contents(folder)) == ["config.json", "model.safetensors"]
    assert_from_cache(folder, served, cache, "lecture/pvt")


def test_shards(served, cache):
    shards = {f"model-0000{n}-of-00002.safetensors": data(seed=n) for n in (1, 2)}
    index = json.dumps({"weight_map": {"a": list(shards)[0], "b": list(shards)[1], "c": list(shards)[0]}}).encode()
    files = {"config.json": b"{}", INDEX: index, **shards}
    served.repositories |= {"lecture/sharded": files, "lecture/one-lost": files | {}, "lecture/bad": files | {}}
    del served.repositories["lecture/one-lost"]["model-00002-of-00002.safetensors"]
    served.repositories["lecture/bad"][INDEX] = b"[]"
    served.repositories["lecture/outside"] = files | {INDEX: b'{"weight_map": {"a": "../../a.safetensors"}}'}
    folder = fetch(served, cache, "lecture/sharded")
    assert contents(folder) == files
    assert_from_cache(folder, served, cache, "lecture/sharded")
    out, err = run(served, cache, "lecture/one-lost lecture/bad lecture/outside")
    lost, bad, outside = err.splitlines()
    assert lost.startswith("FileNotFoundError")
    assert f"found no model-00002-of-00002.safetensors; expected it, for its {INDEX} lists" in lost
    assert "index.json: found a JSON list; expected a JSON object" in bad
    assert "weight_map: found '../../a.safetensors'; expected the name of a file" in outside
    assert fail(served, cache, "lecture/one-lost", "local").startswith("FileNotFoundError")  # not taken for complete


def test_pickles(served, cache):
    """Of a repository without safetensors; hashed as safetensors are. Without PyTorch they are not even downloaded."""
    shards = {f"pytorch_model-0000{n}-of-00002.bin": data(seed=n) for n in (1, 2)}
    index = json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}).encode()
    served.repositories |= {
        "lecture/old": {"config.json": b"{}", PICKLE: WEIGHTS},
        "lecture/both": SMALL | {PICKLE: data(seed=1)},
        "lecture/parts": {"config.json": b"{}", f"{PICKLE}.index.json": index, **shards},
    }
    without = fail(served, cache, "lecture/old", "torch=")
    assert (
        "lecture/old: found none of model.safetensors, model.safetensors.index.json; expected one. A pytorch" in without
    )
    assert "needs PyTorch: pip install torch" in without
    assert not [request for request in served.requests if PICKLE in request]
    folder = fetch(served, cache, "lecture/old", "torch=yes")
    assert (folder / f"{PICKLE}.sha256").read_text() == f"{sha256(WEIGHTS)}  {PICKLE}\n"
    assert_from_cache(folder, served, cache, "lecture/old", "torch=yes")
    assert PICKLE not in contents(fetch(served, cache, "lecture/both", "torch=yes"))
    assert contents(fetch(served, cache, "lecture/parts", "torch=yes")).keys() >= shards.keys()
    served.damages = 1
    served.repositories["lecture/damaged"] = {"config.json": b"{}", PICKLE: data(seed=3)}
    assert_line(fail(served, cache, "lecture/damaged", "torch=yes"), "ValueError", "removed; the next run downloads")


def test_what_another_program_left_in_the_cache(served, cache):
    """Nobody asked for the files that it lacks. If no request is allowed, they are taken for absent."""
    folder = fetch(served, cache, "lecture/pvt")
    (folder / "model.safetensors").rename(folder / PICKLE)
    (folder / "preprocessor_config.json").unlink()
    served.requests.clear()
    assert fetch(served, cache, "lecture/pvt", "local", "torch=yes") == folder
    assert fetch(served, cache, "lecture/pvt", "torch=yes", HF_HUB_OFFLINE="1") == folder
    assert served.requests == []


def test_revisions_and_addresses(served, cache):
    """Every way to write a repository is the same checkpoint; another revision is another one, without the pin."""
    served.repositories |= {f"{name}@refs/pr/1": SMALL | {"model.safetensors": data(seed=1)}
                            for name in ("lecture/pvt", "Zetatech/pvt-tiny-224")}  # fmt: skip
    main, other = (fetch(served, cache, f"lecture/pvt{revision}") for revision in ("", "@refs/pr/1"))
    assert (contents(main), main.name) == (SMALL, fake_hub.COMMIT)
    assert (contents(other)["model.safetensors"], other.name) == (data(seed=1), fake_hub.OTHER_COMMIT)
    ways = (
        "lecture/pvt@main hf-hub:lecture/pvt hf_hub:lecture/pvt https://huggingface.co/lecture/pvt huggingface.co/"
        f"lecture/pvt/ https://hf.co/lecture/pvt/tree/main {served.url}/lecture/pvt/blob/main/model.safetensors?x=1"
    )
    others = (f"hf-hub:lecture/pvt@refs/pr/1 https://huggingface.co/lecture/pvt/tree/refs%2Fpr%2F1 "
              f"lecture/pvt@{fake_hub.OTHER_COMMIT}")  # fmt: skip
    served.requests.clear()
    out, err = run(served, cache, f"{ways} {others}")
    assert (out.split(), err) == ([str(main)] * 7 + [str(other)] * 3, "")
    assert served.requests == []
    assert fetch(served, cache, "pvt_tiny@refs/pr/1").name == fake_hub.OTHER_COMMIT
    wrong = fail(served, cache, "lecture/pvt@v9")
    assert_line(wrong, "FileNotFoundError: test: error: lecture/pvt@v9: found no revision 'v9' of lecture/pvt", "a tag")
    for address in ("https://huggingface.co/datasets/a/b", "https://example.org/pvt.pth",
                    "https://huggingface.co/a/b/blob/main/checkpoints/epoch_9.pth"):  # fmt: skip
        assert_line(fail(served, cache, address), f"ValueError: test: error: {address}: found the address of no model")


def test_connection_cut_is_resumed(served, cache):
    served.repositories["lecture/pvt"] = BIG
    served.cuts = 1
    out, err = run(served, cache, "lecture/pvt")
    assert contents(Path(out.strip())) == BIG
    assert "Trying to resume" in err
    ranges = [request for request in served.requests if "bytes=" in request]
    assert len(ranges) == 1
    assert int(re.search(r"bytes=(\d+)-", ranges[0])[1]) >= 10_000_000  # only the rest was asked for


def test_silence_in_the_middle_is_ended_and_resumed(served, cache):
    served.stalls = 1
    out, err = run(served, cache, "lecture/pvt", HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert contents(Path(out.strip())) == SMALL


def test_connection_that_stays_broken(served, cache):
    """Given up after the sixth attempt, with nothing left behind; the next try starts afresh."""
    served.cuts = 6
    out, err = run(served, cache, "lecture/pvt")
    assert out == ""
    assert err.splitlines()[-1].startswith("ConnectionError: test: error: lecture/pvt: found no way to download it: ")
    assert served.cuts == 0
    assert weights_in(cache) == []
    assert contents(fetch(served, cache, "lecture/pvt")) == SMALL


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_stopped_in_the_middle(served, cache):
    """Ctrl-C leaves nothing that a later run could take for weights."""
    served.stalls = 1
    with start(served, cache, "lecture/pvt") as process:
        assert served.stalled.wait(15)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert weights_in(cache) == []
    assert contents(fetch(served, cache, "lecture/pvt")) == SMALL


def test_server_that_states_another_hash_is_refused_before_the_download(served, cache):
    err = fail(served, cache, "pvt_tiny")
    assert_line(err, "ValueError", sha256(WEIGHTS), hub.PUBLISHED["pvt_tiny"].sha256)
    assert served.requests == ["HEAD /Zetatech/pvt-tiny-224/resolve/main/model.safetensors"]
    del served.repositories["Zetatech/pvt-tiny-224"]["model.safetensors"]
    gone = "model.safetensors of Zetatech/pvt-tiny-224: found no such file any more; expected sha256"
    assert gone in fail(served, cache, "pvt_tiny")


@pytest.mark.parametrize(("source", "stated"), [
    ("pvt_tiny", "right"), ("pvt_tiny", "none"), ("lecture/pvt", "right"),
])  # fmt: skip
def test_damage_on_the_way(served, cache, source, stated):
    """One bit flipped, the size as expected: found, refused, removed; the next run repairs it."""
    served.damages = 1
    if stated == "none":
        served.stated["model.safetensors"] = None
    out, err = run(served, cache, f"{source} {source}", PIN)
    assert_line(err, "ValueError", sha256(WEIGHTS), sha256(WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1])))
    assert contents(Path(out.strip())) == SMALL


def test_damage_in_the_cache(served, cache):
    folder = fetch(served, cache, "lecture/pvt")
    weights, record = folder / "model.safetensors", folder / "model.safetensors.sha256"
    damaged = WEIGHTS[:-1] + b"?"

    weights.write_bytes(damaged)
    os.utime(weights, (1, 1))  # older than the record: a cached run does not read the file again
    assert fetch(served, cache, "lecture/pvt") == folder
    if weights.is_symlink():  # without links nothing but a pin tells what the content should be
        os.utime(weights, None)
        os.utime(record, (1, 1))  # changed since the record was written
        out, err = run(served, cache, "lecture/pvt lecture/pvt")
        assert_line(err, "ValueError", "removed; the next run downloads it anew")
        assert contents(Path(out.strip())) == SMALL


def test_cache_filled_by_another_program_is_hashed_once(served, cache):
    record = fetch(served, cache, "pvt_tiny", PIN) / "model.safetensors.sha256"
    record.unlink()
    fetch(served, cache, "pvt_tiny", PIN, "local")
    assert record.is_file()


@pytest.mark.skipif(os.name == "nt", reason="needs links in the cache")
def test_other_upload_in_the_cache_is_refused_and_kept(served, cache):
    """A repository may change; the file is then sound but not the published one, and others may be using it."""
    folder = fetch(served, cache, "pvt_tiny", PIN)
    err = fail(served, cache, "pvt_tiny", "pin=" + "0" * 64)
    assert_line(err, "", "left in the cache", "0" * 64)
    assert contents(folder) == SMALL


def test_refusals(served, cache):
    """What a server may answer instead of a checkpoint; each is one line that names the way out."""
    keras, gated = {"config.json": b"{}", "tf_model.h5": b""}, f"{served.url}/lecture/gated is gated"
    expected = {  # what it holds, or how it refuses: the error and what is said of it
        "lecture/none": ((404, "RepoNotFound"), "FileNotFoundError", "no repository lecture/none", "(pvt_tiny, pvt"),
        "lecture/private": ((401, "RepoNotFound"), "FileNotFoundError", "private", "HF_TOKEN"),
        "lecture/token": ((401, None), "PermissionError", "401", "HF_TOKEN"),
        "lecture/gated": ((403, "GatedRepo"), "PermissionError", gated, "HF_TOKEN"),
        "lecture/forbidden": ((403, None), "PermissionError", "403", "HF_TOKEN"),
        "lecture/down": ((503, None), "ConnectionError", "answered 503", "name no model: the one that ships"),
        "lecture/empty": ({}, "FileNotFoundError", "found no config.json; expected"),
        "lecture/keras": (
            keras,
            "FileNotFoundError",
            "found none of model.safetensors",
            "/lecture/keras/tree/main shows",
        ),
        "a--b/c": ({}, "HFValidationError", "a--b/c"),
    }
    for name, (answer, *_) in expected.items():
        (served.repositories if isinstance(answer, dict) else served.refusals)[name] = answer
    out, err = run(served, cache, " ".join(expected))
    assert out == ""
    for line, (_, error, *words) in zip(err.splitlines(keepends=True), expected.values(), strict=True):
        assert_line(line, f"{error}: test: error: ", *words)
    assert weights_in(cache) == []


@pytest.mark.parametrize(("fault", "error", "reason"), [
    ("closed port", "ConnectionError", "URL could not be reached ("),
    ("mute", "TimeoutError", "URL did not answer in time"),
    ("not_a_hub", "ConnectionError", "what answers at URL is not a Hugging Face"),
])  # fmt: skip
def test_no_hub_within_reach(served, cache, fault, error, reason):
    url = served.url
    if fault == "closed port":
        with fake_hub.serve({}) as gone:
            url = gone.url
    else:
        setattr(served, fault, True)
    said = f"{error}: test: error: pvt_tiny: found no way to download it: {reason}"
    assert_line(
        fail(url, cache, "pvt_tiny"), said.replace("URL", url),
        f"from {url}/Zetatech/pvt-tiny-224/tree/main in a folder and load that folder",
        "name no model: the one that ships needs no download",
    )  # fmt: skip


def test_requests_forbidden(served, cache):
    cannot = "test: error: pvt_tiny: found no way to download it: "
    offline = fail(served, cache, "pvt_tiny", HF_HUB_OFFLINE="1")
    assert offline.startswith(f"ConnectionError: {cannot}HF_HUB_OFFLINE is set")
    local = fail(served, cache, "pvt_tiny", "local")
    assert local.startswith(f"FileNotFoundError: {cannot}it is not in the cache folder {cache}")
    assert served.requests == []


def test_disk_without_room(served, cache):
    """A limit on the size of files stands for a full disk; a file where the folder should be for a read-only one."""
    pytest.importorskip("resource", reason="POSIX only")
    served.repositories["lecture/pvt"] = BIG
    full = fail(served, cache, "lecture/pvt", "limit=1000000")
    said = f"OSError: test: error: lecture/pvt: found no place for it in the cache folder {cache}"
    assert_line(full, said, "HF_HOME")
    assert weights_in(cache) == []
    assert contents(fetch(served, cache, "lecture/pvt")) == BIG
    assert "lecture/pvt: found no place for it" in fail(served, ROOT / "pyproject.toml", "lecture/pvt")


def test_progress_bar_on_a_terminal(served, cache):
    fcntl, pty, termios = (pytest.importorskip(name, reason="POSIX only") for name in ("fcntl", "pty", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    process = start(served, cache, "lecture/pvt", stderr=theirs)
    os.close(theirs)
    process.communicate(timeout=60)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "model.safetensors" in shown
    assert "100%" in shown


def test_without_huggingface_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(OSError, match="pvt_tiny: found no way to download it: that needs the package huggingface_hub"):
        hub.download("pvt_tiny")
