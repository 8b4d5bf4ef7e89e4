"""The READMEs are promises: every block in them runs and prints what it shows."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pvt_numpy
from pvt_numpy import VARIANTS, validate
from pvt_numpy.__main__ import commands as listed_commands
from pvt_numpy.analysis.cost import summarise
from pvt_numpy.checkpoints.export import export_hf, renamed
from pvt_numpy.checkpoints.published import OFFICIAL_TOP1
from pvt_numpy.classify import classify
from pvt_numpy.config import stage_grids
from tests.house.readme_blocks import README, READMES, blocks, commands
from tests.processes import COMMANDS, ROOT, run

CHECKER = doctest.OutputChecker()
SETTINGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MOST_WORDS = 1400
NANO = ROOT / "weights" / "pvt_v1_nano_imagenette.safetensors"


def run_command(command):
    """What a shell prints for `command` in the project's folder, with this Python first on the path."""
    scripts = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": scripts + os.pathsep + os.environ["PATH"], "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, timeout=300)
    expected = 1 if "--break" in command or "someones" in command else 0  # what is wrong on purpose does not validate
    assert done.returncode == expected, done.stderr.decode()
    return done.stdout.decode()


CONSOLE = [pair for file in READMES for block in blocks("console", file) for pair in commands(block)]


@pytest.mark.parametrize(("command", "expected"), CONSOLE, ids=[command for command, _ in CONSOLE])
def test_console_blocks(command, expected):
    found = run_command(command)
    assert CHECKER.check_output(expected, found, SETTINGS), f"$ {command}\nREADME:\n{expected}\nfound:\n{found}"


@pytest.mark.parametrize("block", [block for file in READMES for block in blocks("python", file)])
def test_python_blocks_run_from_any_folder(block, tmp_path):
    status, out, err = run("-c", block, cwd=tmp_path)
    shown = [line.split("# ", 1)[1] for line in block.splitlines() if line.startswith("print(") and "# " in line]
    assert shown
    assert (status, out.splitlines()) == (0, shown), err


@pytest.mark.parametrize("file", READMES, ids=lambda file: str(file.relative_to(ROOT)))
def test_there_is_no_other_kind_of_block(file):
    fences = re.findall(r"^```(.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(fences) <= ({"sh", "console", "python"} if file == README else {"console", "python"})


def test_the_integration_runs_the_set_up():
    integration = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for n in range(len(blocks("sh"))):
        assert f"readme_block {n}\n" in integration


def table(heading, file=README):
    """The rows of the first table below a heading, as lists of cells, without the line of titles."""
    section = file.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_of_variants():
    expected = []
    for name, config in VARIANTS.items():
        depths, counted = ", ".join(map(str, config.depths)), summarise(config)
        numbers = [f"{counted['parameters']:,}", f"{counted['macs'] / 1e9:.3f}", str(OFFICIAL_TOP1[name])]
        expected.append([name, depths, *numbers])
    assert table("Variants") == expected


def test_the_list_of_commands_has_them_all():
    assert list(listed_commands()) == COMMANDS


def rows_from_transformers(folder):
    """The code on both sides of each row of the table for transformers' users, and the names that both of them use."""
    path = str(pvt_numpy.SAMPLE_PICTURE)
    for row, (theirs, ours, _) in enumerate(table("From transformers to here")):
        model = pvt_numpy.load_model(None if "V2" in theirs else NANO)
        export_hf(folder / f"{row}", model)
        x = pvt_numpy.preprocess(path, **model.preprocessing)
        names = {"folder": folder / f"{row}", "path": path, "model": model, "x": x, "y": np.array([3])}
        public = {name: getattr(pvt_numpy, name) for name in pvt_numpy.__all__}
        yield theirs.strip("`"), ours.strip("`"), public | names | {"classify": classify}


def numbers(result):
    """Of a result of either column, in either library: arrays, maps, scores, or a model's parameters."""
    if hasattr(result, "state_dict"):
        result = {name: np.asarray(array) for name, array in result.state_dict().items()}
    elif hasattr(result, "params"):
        result = renamed(result.params, "hf-v1" if result.config.model_type == "pvt" else "hf-v2")
    parts = [result[name] for name in sorted(result)] if isinstance(result, dict) else result
    parts = parts if isinstance(parts, list | tuple) else [parts]
    if isinstance(parts[0], dict):
        parts = [row.get("score", row.get("probability")) for row in parts]
    return np.concatenate([np.ravel(part) for part in parts])


def test_both_columns_for_transformers_users_run_here(tmp_path):
    for theirs, ours, names in rows_from_transformers(tmp_path):
        with Image.open(names["path"]) as names["picture"]:
            left = numbers(eval(theirs.replace('"pt"', '"np"'), dict(names)))
        np.testing.assert_allclose(numbers(eval(ours, names)), left, atol=1e-6, err_msg=theirs)


@pytest.mark.torch
def test_what_transformers_users_find_here_is_what_they_had(tmp_path):
    import torch
    import transformers

    for theirs, ours, names in rows_from_transformers(tmp_path):
        found = numbers(eval(ours, dict(names)))
        names |= {name: getattr(transformers, name) for name in re.findall(r"Pvt\w+|pipeline", theirs)}
        names["PvtImageProcessor"] = transformers.PvtImageProcessorPil  # what that name means without torchvision
        names |= {name: torch.from_numpy(names[name]) for name in "xy"}
        with torch.no_grad(), Image.open(names["path"]) as names["picture"]:
            np.testing.assert_allclose(found, numbers(eval(theirs, names)), atol=1e-5, err_msg=theirs)


@pytest.mark.torch
def test_the_proof_is_what_the_command_writes(monkeypatch, capsys):
    """For the first variant of each generation and the model that ships; the last digits are the machine's."""
    expected = table("1. The proof", ROOT / "pvt_numpy" / "reference" / "README.md")
    assert [row[0] for row in expected] == [*VARIANTS, "the model that ships"]
    monkeypatch.setattr(validate, "VARIANTS", {name: VARIANTS[name] for name in ("pvt_tiny", "pvt_v2_b0")})
    assert validate.main(["--variants"]) == 0
    for line in capsys.readouterr().out.strip().splitlines()[-3:]:
        name, layers, *differences, same_top = line.strip("| ").split(" | ")
        (shown,) = (row for row in expected if row[0] == name)
        assert [layers, same_top] == [shown[1], shown[-1]]
        np.testing.assert_array_less(np.array(differences, float), 10 * np.array(shown[2:-1], float))


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").split()) <= MOST_WORDS


def test_no_figure_is_left_to_be_filled_in():
    assert not [file for file in READMES if "FIGURE" in file.read_text(encoding="utf-8")]


@pytest.mark.parametrize("file", [*READMES, *ROOT.glob(".github/*.md")], ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file):
    text = file.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text) + re.findall(r'src="(?!https?:)([^"]+)"', text):
        assert (file.parent / target).exists(), target
    headings = [heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)]
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(headings)


def test_the_words_for_the_architecture_are_its_numbers():
    config = VARIANTS["pvt_v2_b0"]

    def row(numbers):
        *first, last = map(str, numbers)
        return f"{', '.join(first)} and {last}"

    sides = row(H for H, _ in stage_grids(config, (224, 224)))
    said = f"![PVT v2 b0: {sides} tokens a side, with {row(config.hidden_sizes)} channels](notebooks/architecture.png)"
    assert said in README.read_text(encoding="utf-8")
