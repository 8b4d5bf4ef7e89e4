"""Every notebook: its outputs belong to its code, it explains before it builds, and it runs from the top."""

import base64
import importlib.util
import io
import os
import re
import warnings

import pytest

pytest.importorskip("jupytext")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
import jupytext
import nbformat
import numpy as np
from jupytext.config import load_jupytext_configuration_file
from PIL import Image

import pvt_numpy.layers
from pvt_numpy.practice.exercises import EXERCISES
from pvt_numpy.practice.questions import questions
from tests.processes import ROOT

FOLDER = ROOT / "notebooks"
_spec = importlib.util.spec_from_file_location("notebooks_build", FOLDER / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)
NOTEBOOKS = [path.stem for path in build.sources()]
SOURCES = [path.read_text(encoding="utf-8") for path in ROOT.glob("pvt_numpy/layers/*.py")]
LAYERS = {function for source in SOURCES for function in re.findall(r"^def (\w+)", source, flags=re.MULTILINE)}
MOST_BYTES = 1.5e6
MOST_SECONDS = 2 * 90  # of computing: 90 seconds on two cores, however busy the machine is


@pytest.fixture(params=NOTEBOOKS)
def name(request):
    return request.param


@pytest.fixture
def notebook(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_no_notebook_without_a_source_and_none_missing():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NOTEBOOKS)
    assert [name[:2] for name in NOTEBOOKS] == [f"{n:02}" for n in range(len(NOTEBOOKS))]


def test_the_readme_names_every_notebook(name, notebook):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
    (row,) = (line for line in text.splitlines() if line.startswith(f"| [{title}]({name}.ipynb) |"))
    (minutes,) = re.findall(r"About (\d+) minutes", notebook.cells[0].source)
    assert f"| {minutes} min |" in row


def test_the_notebook_is_its_source_executed_in_order(name, notebook):
    path = FOLDER / "source" / f"{name}.py"
    nbformat.validate(notebook)
    settings = load_jupytext_configuration_file(str(FOLDER / "jupytext.toml"))
    assert jupytext.writes(notebook, fmt="py:percent", config=settings) == path.read_text(encoding="utf-8")
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert (FOLDER / f"{name}.ipynb").stat().st_size < MOST_BYTES


def test_the_notebook_says_what_it_is_and_ends_in_a_check(notebook):
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    opening = notebook.cells[0].source
    assert opening.startswith("# ")
    for words in ("What you will do", "What you will learn", "What you need", "`stages.0` is stage 1"):
        assert words in opening
    assert text.count("<details>") == text.count("</details>") >= 2
    assert ("## Exercises" in text, "TODO" in text) == (True, False)
    last = code_cells(notebook)[-1]
    assert "assert " in last.source
    assert "checks passed" in last.outputs[0].text


def test_the_files_and_commands_that_the_notebook_speaks_of_exist(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    rooms = FOLDER, FOLDER.parent, FOLDER.parent / "pvt_numpy"
    for path in re.findall(r"[\w./-]*\w\.(?:py|ipynb|csv|safetensors|jpg)\b|\bpvt_numpy/[\w/]+", text):
        assert any((room / path).exists() for room in rooms), path
    for module in re.findall(r"python -m (\w[\w.]*)", text):
        assert importlib.util.find_spec(module), module


def test_the_notebook_redefines_no_layer(notebook):
    for cell in code_cells(notebook):
        assert not LAYERS & set(re.findall(r"^ *def (\w+)", cell.source, flags=re.MULTILINE))


def test_the_letters_of_the_formulas_are_in_the_legend(notebook):
    table = (FOLDER / "README.md").read_text(encoding="utf-8").split("## Letters", 1)[1].split("\n## ", 1)[0]
    legend = set(re.findall(r"`(\w)(?:\^\w)?`", table)) | set(re.findall(r"`\w\^(\w)`", table))
    layers = set(re.findall(r"(?:^| {2,})([A-Z])\b(?=[ ,])", pvt_numpy.layers.__doc__, flags=re.MULTILINE))
    assert {"B", "N", "M", "C", "R"} <= layers <= legend
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for formula in re.findall(r"\$\$?(.+?)\$\$?", text, flags=re.DOTALL):
        words = re.sub(r"\\(?:mathrm|text|mathbb)\s*\{[^}]*\}|\\[a-zA-Z]+", " ", formula)
        assert set(re.findall(r"(?<![A-Za-z])[A-Z](?![A-Za-z])", words)) <= legend, formula
    assert "R² =" not in text  # R is the ratio, and no share of a variance


def test_every_figure_shows(notebook):
    """A Figure that is not the last expression of its cell would be lost, and its plain text says nothing."""
    shown = [output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs]
    assert not [data for data in shown if set(data) == {"text/plain"} and "<Figure" in data["text/plain"]]
    assert [kind for data in shown for kind in data if "image/" in kind]


def solutions(notebook):
    """A code cell for each solution that has code: that code, and the check of the exercise that it answers."""
    cells, check = [], ""
    for cell in notebook.cells:
        if "exercise" in cell.metadata.get("tags", []):
            check = "\n".join(line for line in cell.source.splitlines() if line.startswith("practice.check("))
            assert check.count("practice.check(") == 1
        for text in re.findall(r"<summary>Solution</summary>(.*?)</details>", cell.source, flags=re.DOTALL):
            code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE))
            if code or check:
                cells.append(nbformat.v4.new_code_cell(f"{code}\n{check}"))
            check = ""
    assert check == ""
    return cells


def test_every_exercise_with_a_cell_is_checked_by_its_own_number(name, notebook):
    text = "\n".join(cell.source for cell in notebook.cells)
    number = None
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.match(r"\*\*(\d+)\.\*\*", cell.source)):
            number = found[1]
        if "exercise" in cell.metadata.get("tags", []):
            (asked,) = re.findall(r'practice\.check\(\w+, "(.+?)"\)', cell.source)
            assert asked in EXERCISES or asked == f"{int(name[:2])}.{number}"
    of_this = {asked for asked in questions() if asked.startswith(f"{int(name[:2])}.")}
    assert of_this == {asked for asked in of_this if f'"{asked}"' in text}


def test_every_figure_is_described_in_words(notebook):
    """For those who can not see it, made by `plots` from what it shows."""
    assert [words for words in build.alternatives(notebook) if len(words) < 40] == []


@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs_with_its_solutions_and_its_outputs_belong_to_it(name, notebook, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = os.times()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fresh = build.unexecuted(FOLDER / "source" / f"{name}.py")
        solved = solutions(fresh)
        fresh.cells += solved  # behind the last cell, so that no output is another's
        fresh = build.executed(fresh)
    after = os.times()
    last = len(fresh.cells) - len(solved)
    for cell in fresh.cells[last:]:
        if "practice.check(" in cell.source:
            assert cell.outputs[-1]["data"]["text/plain"].endswith(": right"), cell.source
    fresh.cells = fresh.cells[:last]
    assert build.compare(notebook, fresh) == []
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < MOST_SECONDS  # Windows says 0


SQUARE = np.full((96, 96, 3), 255, np.uint8)
SQUARE[40:60, 40:60] = 0
MOVED = np.roll(SQUARE, 1, axis=1)


def one_cell(source="x", text="0.123456 and 7", pixels=SQUARE, tags=(), drawn_by="matplotlib 3.10.0", shown=2):
    """A notebook of one cell, which shows a text and a figure."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    picture = {"image/png": base64.b64encode(buffer.getvalue()).decode()}
    outputs = [nbformat.v4.new_output("stream", text=text), nbformat.v4.new_output("display_data", picture)]
    cell = nbformat.v4.new_code_cell(source, outputs=outputs[:shown], metadata={"tags": list(tags)})
    return nbformat.v4.new_notebook(cells=[cell], metadata={"drawn_by": drawn_by})


@pytest.mark.parametrize(("change", "found"), [
    ({}, []),
    ({"text": "0.123457 and 7"}, []),  # rounding differs from processor to processor
    *(({"text": text}, ["another text"]) for text in ("0.13 and 7", "0.123456 or 7", "0.123456 and 7 8")),
    ({"source": "y"}, ["the cells are not those of the source"]),
    ({"pixels": MOVED}, ["another picture"]),
    ({"pixels": MOVED, "drawn_by": "matplotlib 3.8.0"}, []),  # which may move a picture by pixels
    ({"pixels": 255 - SQUARE}, ["another picture"]),
    ({"pixels": 255 - SQUARE, "drawn_by": "matplotlib 3.8.0"}, ["another picture"]),
    ({"text": "b", "pixels": MOVED}, ["another text", "another picture"]),
    ({"shown": 1}, ["shows ['text'], and ['text', 'picture'] was kept"]),
    ({"text": "3 ms", "shown": 1, "tags": ["varies"]}, [])])  # fmt: skip
def test_compare(change, found):
    sentences = build.compare(one_cell(tags=change.get("tags", ())), one_cell(**change))
    assert all(words in sentence for words, sentence in zip(found, sentences, strict=True))


def test_a_source_is_read_as_cells(tmp_path):
    """The same cells every time, names and all."""
    source = tmp_path / "00_small.py"
    source.write_text('# %% [markdown]\n# # T\n#\n# text\n\n# %%\nx = 1\n\n# %% tags=["varies"]\nx\n', encoding="utf-8")
    first, second = build.unexecuted(source), build.unexecuted(source)
    assert first == second
    found = [(cell.cell_type, cell.metadata.get("tags", []), cell.source) for cell in first.cells]
    assert found == [("markdown", [], "# T\n\ntext"), ("code", [], "x = 1"), ("code", ["varies"], "x")]


def test_a_notebook_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """On a full disk the old one stays."""
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "executed", lambda notebook: notebook)
    build.main(["01"])
    (path,) = tmp_path.iterdir()
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        build.main(["1"])
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
