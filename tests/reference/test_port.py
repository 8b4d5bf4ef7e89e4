"""`validate --dump` and `--against`: every number as files, and someone else's beside ours."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy import validate
from pvt_numpy.checkpoints.checkpoint import load_model
from pvt_numpy.model import forward
from pvt_numpy.parameters import flatten, parameter_shapes, unflatten
from pvt_numpy.pictures.recipes import at_size
from pvt_numpy.reference import against, tables
from pvt_numpy.reference.dump import LEGEND, arrays_of, write_dump
from pvt_numpy.reference.golden import seeded_params
from pvt_numpy.reference.mistakes import MISTAKES, OF_A_MODEL, made
from pvt_numpy.reference.steps import step_of
from pvt_numpy.reference.toys import TOYS, toy
from tests import processes
from tests.processes import ROOT

REFERENCE = ROOT / "pvt_numpy" / "reference"
DUMPS = REFERENCE / "toy_dumps"
Q, PROBS = "stages.0.blocks.0.attn.q", "stages.0.blocks.0.attn.probs"


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def ours(name, dtype=np.float64):
    return arrays_of(*toy(name, dtype))


def examined(tmp_path, arrays, name="v2", dtype="float64"):
    """The findings on these arrays, written by someone else."""
    folder = tmp_path / "theirs"
    folder.mkdir(exist_ok=True)
    for one, array in arrays.items():
        np.save(folder / f"{one}.npy", array)
    return against.examine(folder, *toy(name, np.float64), dtype)


def refused(tmp_path, name, content, text):
    """A file of that name and content is an error that matches `text`."""
    folder = tmp_path / "refused"
    folder.mkdir()
    (folder / name).write_bytes(content) if isinstance(content, bytes) else np.save(folder / name, content)
    with pytest.raises(ValueError, match=text):
        against.examine(folder, *toy("v2", np.float64))


def someones_port():
    """What toy_dumps/someones_v2 holds: float32, channels first, no batch, heads merged, uneven padding."""
    config, params, pixels = toy("v2", np.float32)
    trace = {}
    with made("same-padding"):
        forward(pixels, params, config, trace=trace)
    yield "pixel_values", trace["pixel_values"][0]
    for name in ("stages.0.patch_embed", "stages.0.blocks.0.mlp"):
        yield name, trace[name][0].T.reshape(-1, 10, 5)
    yield Q, trace[Q][0].transpose(1, 0, 2).reshape(50, -1)
    yield "logits", trace["logits"][0]


# the dump


@pytest.mark.parametrize("name", TOYS)
def test_the_kept_dumps_are_what_the_command_writes(name, tmp_path):
    folder = tmp_path / name
    assert validate.main(["--dump", str(folder), "--toy", name]) == 0
    kept, new = manifest_of(DUMPS / name), manifest_of(folder)
    for one, other in zip(kept["arrays"], new["arrays"], strict=True):
        for end in ("min", "max"):  # the last digits are the machine's
            assert one.pop(end) == pytest.approx(other.pop(end), rel=1e-10, abs=1e-10)
    assert kept == new
    assert {path.name for path in folder.iterdir()} == {path.name for path in (DUMPS / name).iterdir()}
    for entry in kept["arrays"]:
        found, expected = np.load(folder / entry["file"]), np.load(DUMPS / name / entry["file"])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_the_kept_port_is_someones():
    port = dict(someones_port())
    assert {path.stem for path in (DUMPS / "someones_v2").iterdir()} == set(port)
    for name, array in port.items():
        np.testing.assert_allclose(np.load(DUMPS / "someones_v2" / f"{name}.npy"), array, atol=1e-5)


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_is_small_and_has_what_its_generation_has(name):
    config = TOYS[name]
    assert 8 * sum(np.prod(shape) for shape in parameter_shapes(config).values()) < 100_000
    assert config.embed_eps != config.layer_norm_eps


@pytest.mark.parametrize("name", TOYS)
def test_the_manifest_says_what_each_array_is_made_of(name, tmp_path):
    config, params, pixels = toy(name, np.float64)
    count = write_dump(tmp_path, config, params, pixels, {}, gradients=True)
    entries = manifest_of(tmp_path)["arrays"]
    before = {}
    assert count == len(entries)
    for entry in entries:
        array = np.load(tmp_path / entry["file"])
        assert (list(array.shape), array.dtype.str) == (entry["shape"], entry["dtype"])
        assert (array.min(), array.max()) == (entry["min"], entry["max"])
        assert len(entry["axes"]) == array.ndim
        assert set(entry["axes"]) <= LEGEND.keys()
        assert set(entry.get("inputs", [])) | set(entry.get("parameters", [])) <= before.keys()
        before[entry["name"]] = entry
    used = {one for entry in entries for one in entry.get("inputs", []) + entry.get("parameters", [])}
    computed = {name for name, entry in before.items() if entry["kind"] != "gradient"}
    assert computed - used == {"logits"} | ({"stages.1"})  # every parameter is used, and every array but the last ones


@pytest.mark.parametrize("name", TOYS)
def test_an_axis_has_one_length_in_a_stage(name):
    config, lengths = TOYS[name], {}
    for one, array in ours(name).items():
        if one in flatten(toy(name, np.float64)[1]):
            continue
        stage = re.match(r"stages\.\d", one)
        for letter, length in zip(step_of(one, config).axes, array.shape, strict=True):
            if not (letter == "N" and one.endswith("patch_embed")):  # v1's class token comes after it
                lengths.setdefault((stage and stage[0], letter, one == "pixel_values"), set()).add(length)
    assert all(len(found) == 1 for found in lengths.values()), lengths


@pytest.mark.parametrize("name", TOYS)
def test_what_a_step_is_made_of_is_what_it_depends_on(name):
    """A parameter that is changed changes the arrays that are said to be made from it, and none before them."""
    config, params, pixels = toy(name, np.float64)
    right = ours(name)
    steps = {one: step_of(one, config) for one in right if one not in flatten(params)}
    for parameter in ("stages.1.blocks.0.attn.kv.weight", "stages.0.patch_embed.norm.bias", "head.weight"):
        changed = flatten(params) | {parameter: flatten(params)[parameter] + 0.5}
        found = arrays_of(config, unflatten(changed), pixels)
        departs = [one for one in steps if not np.array_equal(found[one], right[one])]
        first = {
            one for one, step in steps.items() if any(parameter.startswith(given + ".") for given in step.parameters)
        }
        assert departs[0] in first
        assert first <= set(departs)


@pytest.mark.parametrize("name", TOYS)
def test_where_it_stands_is_there(name):
    for one in forward_names(name):
        file, function = step_of(one, TOYS[name]).where.split(": ")
        text = (ROOT / "pvt_numpy" / file).read_text(encoding="utf-8")
        assert re.search(rf"^(def {function}\(|{function} = )", text, flags=re.MULTILINE), one


def forward_names(name):
    return [one for one in ours(name) if one not in flatten(toy(name, np.float64)[1])]


def test_raw_files_are_the_same_numbers_without_a_header(tmp_path):
    for kind in ("npy", "raw"):
        options = ["--toy", "v1", "--dtype", "float32", "--gradients", *["--raw"] * (kind == "raw")]
        assert validate.main(["--dump", str(tmp_path / kind), *options]) == 0
    entries = manifest_of(tmp_path / "raw")["arrays"]
    assert {entry["kind"] for entry in entries} == {"parameter", "intermediate", "gradient"}
    for entry in entries:
        raw = np.fromfile(tmp_path / "raw" / entry["file"], "<f4").reshape(entry["shape"])
        np.testing.assert_array_equal(raw, np.load(tmp_path / "npy" / f"{entry['name']}.npy"))


def test_a_model_and_its_picture_are_named(tmp_path, capsys):
    assert validate.main(["--dump", str(tmp_path / "shipped"), "--dtype", "float32"]) == 0
    manifest = manifest_of(tmp_path / "shipped")
    assert "pvt_v2_b0" in manifest["model"]
    assert "golf_ball.jpg" in manifest["model"]
    assert len(manifest["params_sha256"]) == 64
    logits = np.load(tmp_path / "shipped" / "logits.npy")
    assert load_model().labels[logits.argmax()] == "golf ball"
    with pytest.raises(ValueError, match="found the manifest of another model than the toy v1"):
        validate.main(["--against", str(tmp_path / "shipped"), "--toy", "v1"])
    assert validate.main(["--against", str(tmp_path / "shipped"), "--dtype", "float32"]) == 0


# the comparison


@pytest.mark.parametrize("name", TOYS)
def test_a_dump_agrees_with_itself(name, capsys):
    assert validate.main(["--against", str(DUMPS / name)]) == 0  # the manifest says which toy
    assert re.search(r"\nall \d+ arrays agree\n$", capsys.readouterr().out)


def test_all_toys_at_once(tmp_path, capsys):
    assert validate.main(["--against", str(DUMPS), "--toy"]) == 0
    assert validate.main(["--dump", str(tmp_path / "kv"), "--toy", "all", "--break", "kv"]) == 0
    assert {path.name for path in (tmp_path / "kv").iterdir()} == set(TOYS)
    assert validate.main(["--against", str(tmp_path / "kv" / "v1")]) == 1


def test_any_layout_is_recognised_and_said(tmp_path):
    right, block, weight = ours("v2"), "stages.1.blocks.0", "stages.0.patch_embed.proj.weight"
    norm1, tokens, keys = right[f"{block}.norm1"], right["stages.0.tokens"], right[f"{block}.attn.k"]
    theirs = {  # name: the array, and what is said of it
        weight: (right[weight].transpose(2, 3, 1, 0), "as k k C C'"),
        "stages.0.tokens": (tokens[0].T.reshape(6, 10, 5), "without B, as C H W"),
        PROBS: (right[PROBS][0], "without B"),
        "stages.0": (right["stages.0"].transpose(0, 2, 3, 1), "as B H W C"),
        f"{block}.norm1": (norm1.reshape(1, 5, 3, 8).astype(np.float32), "as B H W C"),
        f"{block}.attn.k": (keys.transpose(0, 2, 1, 3).reshape(1, 15, 8), "as B M C"),
        f"{block}.attn.scores": (right[f"{block}.attn.scores"], ""),
        "stages.1": (right["stages.1"].reshape(8, 15).T, "without B, as N C"),
        "logits": (right["logits"][0], "without B"),
    }
    found = examined(tmp_path, {name: array for name, (array, _) in theirs.items()})
    assert found.first is None
    assert {row.name: row.how for row in found.rows} == {name: said for name, (_, said) in theirs.items()}


@pytest.mark.parametrize(("dtype", "factor"), [(np.float64, 1e-9), (np.float32, 3e-4), (np.float16, 5e-2)])
def test_what_is_rounding_depends_on_the_type(dtype, factor, tmp_path):
    probs = ours("v2")[PROBS].astype(dtype)
    assert examined(tmp_path, {PROBS: probs}).first is None
    assert examined(tmp_path, {PROBS: (probs * (1 + factor)).astype(dtype)}).first.name == PROBS


def test_a_program_in_float32_that_writes_float64_says_so(tmp_path):
    theirs = {PROBS: ours("v2")[PROBS] * (1 + 1e-6)}
    assert examined(tmp_path, theirs).first.name == PROBS
    assert examined(tmp_path, theirs, dtype="float32").first is None


def test_unknown_names_are_counted_and_named(tmp_path, capsys):
    for name in ("stages.0.tokens", "stages.0.token", "mine"):
        np.save(tmp_path / f"{name}.npy", ours("v2")["stages.0.tokens"])
    (tmp_path / "notes.txt").write_text("mine")
    assert validate.main(["--against", str(tmp_path), "--toy", "v2"]) == 0
    out = capsys.readouterr().out
    assert "3 files passed over, named as no array is: mine.npy, notes.txt, stages.0.token.npy\n" in out


def test_nan_departs_and_is_counted(tmp_path):
    probs = ours("v2")[PROBS].copy()
    probs[0, 0, :2] = np.nan
    found = examined(tmp_path, {PROBS: probs})
    assert found.first.how == "20 of 500 numbers are NaN"
    assert "20 of 500 numbers are NaN" in against.report(found, "")
    assert json.loads(json.dumps(against.as_dict(found, ""), allow_nan=False))["layers"][0]["relative"] is None


def test_another_shape_departs_and_the_shapes_are_said(tmp_path):
    found = examined(tmp_path, {PROBS: ours("v2")[PROBS][:, :, 1:]})
    assert found.first.how == "shape (1, 1, 49, 10); expected (1, 1, 50, 10), B heads N M"


@pytest.mark.parametrize(("name", "content", "text"), [
    ("logits.npy", np.array([[1, 2, 3, 4, 5]]), "logits.npy: found numbers of type int64; expected float64, "),
    ("logits.npy", np.zeros((1, 5), complex), "logits.npy: found numbers of type complex128"),
    ("logits.npy", np.zeros((1, 0)), r"logits.npy: found no numbers, shape \(1, 0\)"),
    ("logits.npy", np.array([[None]]), "logits.npy: found Object arrays cannot be loaded"),
    ("logits.npy", b"", "logits.npy: found .*; expected an array as numpy.save writes it"),
    ("logits.npy", b"PK\x03\x04 no archive is read", "logits.npy: found .*; expected an array"),
    ("logits.raw", b"1234567", "logits.raw: found 7 bytes; expected 1 x 5 little-endian numbers of 4 or 8"),
    ("mine.npy", np.zeros(3), "found no array that is named as ours are; expected files such as stages.0"),
    ("manifest.json", b"[]", "found no array that is named"),
])  # fmt: skip
def test_what_holds_no_numbers_is_refused_in_a_line(name, content, text, tmp_path):
    refused(tmp_path, name, content, text)


def test_two_files_for_one_array_are_refused(tmp_path):
    np.save(tmp_path / "logits.npy", ours("v2")["logits"])
    (tmp_path / "logits.raw").write_bytes(ours("v2")["logits"].tobytes())
    with pytest.raises(ValueError, match="found logits.npy and logits.raw; expected one file an array"):
        against.examine(tmp_path, *toy("v2", np.float64))


@pytest.mark.parametrize("text", ["[]", "{", "{}", '{"format": "another"}', "[" * 100_000])
def test_a_manifest_of_something_else_is_refused(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match="manifest.json: found another text; expected the manifest that"):
        against.read_manifest(tmp_path)


@pytest.mark.parametrize("arguments", [
    ["--toy", "v1"], ["--raw"], ["--gradients", "--against", "x"], ["--dump", "x", "--against", "y"],
    ["--dump", "x", "--golden"], ["--dump", "x", "--variants"], ["--against", "x", "--break", "kv"],
    ["--dump", "x", "--json"], ["--dump", "x", "--toy", "v1", "--image", "y"],
    ["--dump", "x", "--toy", "v3"]])  # fmt: skip
def test_what_does_not_go_together_is_wrong_usage(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        validate.main(arguments)
    assert (error.value.code, list(tmp_path.iterdir())) == (2, [])


def test_a_folder_that_is_there_is_not_written_into(tmp_path):
    (tmp_path / "mine").write_text("mine")
    status, _, err = processes.command("validate", "--dump", tmp_path, "--toy", "v1")
    assert (status, [path.name for path in tmp_path.iterdir()]) == (1, ["mine"])
    assert err.count("\n") == 1
    assert "found something there already; expected a new or an empty folder" in err


# the mistakes

PORTERS = {  # the toy in which they show: what porters do, by its name in the one list
    "v1": "antialias columns pos kernel-layout",
    "v2": "same-padding gelu kernel-last grid eps kv",
    "v2_linear": "even-bins floor-bins no-relu",
}


@pytest.mark.parametrize(("name", "mistake"), [(name, one) for name in PORTERS for one in PORTERS[name].split()])
def test_a_mistake_is_named_by_its_numbers(name, mistake, tmp_path):
    assert mistake in OF_A_MODEL
    with made(mistake):
        theirs = ours(name)
    found = examined(tmp_path, theirs, name)
    assert found.mistakes == [(mistake, len(found.rows))]


def test_a_part_of_the_arrays_is_enough(tmp_path):
    with made("kv"):
        theirs = ours("v1")
    found = examined(
        tmp_path, {name: theirs[name] for name in ("stages.0.tokens", "stages.0.blocks.0", "logits")}, "v1"
    )
    assert (found.first.name, found.mistakes) == ("stages.0.blocks.0", [("kv", 3)])


def test_a_mistake_in_one_place_alone_is_named(tmp_path):
    """tanh GELU in the second stage; what follows is made from it."""
    config, params, pixels = toy("v2", np.float64)
    theirs = against.numbers_with("gelu", config, params, pixels, "stages.1.blocks.0.norm2", None, False)
    found = examined(tmp_path, {name: array for name, array in theirs.items() if not name.endswith("grid")})
    assert (found.first.name, found.mistakes) == ("stages.1.blocks.0.mlp.act", [("gelu", len(found.rows))])


def test_the_pair_of_epsilons_as_one_is_named(tmp_path):
    config, params, pixels = toy("v2", np.float64)
    for eps in (1e-6, 1e-5):
        one = replace(config, layer_norm_eps=eps, patch_norm_eps=None)
        found = examined(tmp_path, arrays_of(one, params, pixels))
        assert [name for name, _ in found.mistakes] == ["eps"]


def test_one_pass_variance_is_named_where_it_shows(tmp_path, monkeypatch):
    """With a mean that is large beside the deviation, in float32: elsewhere it is rounding."""
    config, params, pixels = toy("v2", np.float32)
    params["stages"][0]["patch_embed"]["proj"]["bias"] += np.float32(100)
    with made("one-pass"):
        theirs = arrays_of(config, params, pixels)
    for name in ("stages.0.patch_embed", "stages.0.tokens"):
        np.save(tmp_path / f"{name}.npy", theirs[name])
    found = against.examine(tmp_path, config, params, pixels, "float32")
    assert [name for name, _ in found.mistakes] == ["one-pass"]


def test_all_that_give_the_same_numbers_are_named(tmp_path):
    """With two heads of two channels sqrt(C) / sqrt(d) is sqrt(d): two mistakes have the same scores."""
    config = replace(TOYS["v2"], hidden_sizes=(6, 4))
    case = config, seeded_params(config, 0), toy("v2", np.float64)[2]
    with made("sqrt-C"):
        theirs = arrays_of(*case)
    for name in ("stages.1.blocks.0.norm1", "stages.1.blocks.0.attn.scores", "logits"):
        np.save(tmp_path / f"{name}.npy", theirs[name])
    assert against.examine(tmp_path, *case).mistakes == [("sqrt-C", 3), ("d", 3)]


def test_numbers_of_no_known_mistake_are_said_so(tmp_path, capsys):
    np.save(tmp_path / "logits.npy", ours("v2")["logits"] + 1)
    assert validate.main(["--against", str(tmp_path), "--toy", "v2"]) == 1
    assert capsys.readouterr().out.endswith("\nno known mistake gives these numbers\n")


def test_another_picture_or_another_parameter_is_no_mistake_of_the_model(tmp_path):
    right = ours("v2")
    for name in ("pixel_values", "stages.0.norm.weight"):
        found = examined(tmp_path, right | {name: right[name] * 1.1})
        assert (found.first.name, found.mistakes) == (name, [])
        np.save(tmp_path / "theirs" / f"{name}.npy", right[name])


@pytest.mark.parametrize("mistake", ["bias-mean", "one-path"])
def test_a_mistake_in_the_backward_pass_is_named(mistake, tmp_path):
    assert mistake in MISTAKES.keys() - set(OF_A_MODEL)
    with made(mistake):
        theirs = arrays_of(*toy("v2", np.float64), gradients=True)
    found = examined(tmp_path, theirs)
    assert found.first.name.startswith("gradients.")
    assert [name for name, _ in found.mistakes] == [mistake]


def test_a_dump_with_a_mistake_says_so_and_is_told(tmp_path, capsys):
    folder = tmp_path / "kv"
    assert validate.main(["--dump", str(folder), "--toy", "v1", "--break", "kv"]) == 0
    assert manifest_of(folder)["mistake"] == "kv"
    assert validate.main(["--against", str(folder), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (answer["first_departure"], answer["mistakes"]) == ("stages.0.blocks.0.attn.k", ["kv"])


# the page


@pytest.mark.parametrize("name", tables.SHOWN)
def test_the_operations_on_the_page_are_the_models(name):
    page = (REFERENCE / "PORTING.md").read_text(encoding="utf-8")
    assert f"### {name}\n\n{tables.operations(name)}\n" in page


def test_the_numbers_on_the_page_have_a_command(tmp_path, monkeypatch):
    model = load_model()
    small = replace(model, preprocessing=at_size(model.preprocessing, (64, 64)))
    monkeypatch.setattr(tables, "load_model", lambda: small)
    shutil.copy(processes.BALL, tmp_path / "ball.jpg")
    ranges, errors = tables.numbers(tmp_path, 1)
    page = (REFERENCE / "PORTING.md").read_text(encoding="utf-8")
    for text in (ranges, errors):
        for line in text.splitlines():
            title = line.split(" | ")[0] if text is ranges else " | ".join(line.split(" | ")[:2])
            assert f"\n{title} | " in page
    with pytest.raises(ValueError, match="found 1 pictures; expected at least 2"):
        list(tables.numbers(tmp_path, 2))


def test_every_trap_on_the_page_is_a_known_mistake():
    page = (REFERENCE / "PORTING.md").read_text(encoding="utf-8")
    traps = page.split("\n## 3", 1)[1].split("\n## ", 1)[0]
    named = re.findall(r"`([\w-]+)` \|$", traps, flags=re.MULTILINE)
    assert len(named) > 10
    assert set(named) <= set(OF_A_MODEL)


def test_rounding_is_what_it_is_called():
    x = np.array([[1.0, -127.0], [0.1, 0.0]], np.float32)
    np.testing.assert_array_equal(tables.rounded(x, "int8"), [[1, -127], [0, 0]])
    np.testing.assert_allclose(tables.rounded(x, "int8", 0), x, atol=1e-6)
    assert tables.rounded(np.float32([1 / 3, 70000.0]), "float16").tolist() == [np.float16(1 / 3), np.inf]
