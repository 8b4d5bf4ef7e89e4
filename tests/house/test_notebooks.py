"""Every notebook: its outputs belong to its code, it explains before it builds, and it runs from the top."""

import ast
import base64
import copy
import importlib.util
import io
import json
import os
import warnings
from pathlib import Path

import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
import nbformat
import numpy as np
from PIL import Image

import pvt_numpy.layers

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
_spec = importlib.util.spec_from_file_location("notebooks_build", FOLDER / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)
NOTEBOOKS = [path.stem for path in build.sources()]
LAYERS = {
    node.name
    for path in Path(pvt_numpy.layers.__file__).parent.glob("*.py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef)
}
MOST_BYTES = 1.5e6
MOST_SECONDS = 2 * 90  # of computing: 90 seconds on two cores, however busy the machine is


def kept(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_no_notebook_without_a_source_and_none_missing():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NOTEBOOKS)
    assert [name[:2] for name in NOTEBOOKS] == [f"{n:02}" for n in range(1, len(NOTEBOOKS) + 1)]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_is_its_source_executed_in_order(name):
    notebook, source = kept(name), build.unexecuted(FOLDER / "source" / f"{name}.py")
    nbformat.validate(notebook)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in source.cells
    ]
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert (FOLDER / f"{name}.ipynb").stat().st_size < MOST_BYTES


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_says_what_it_is_and_ends_in_a_check(name):
    notebook = kept(name)
    text = text_of(notebook)
    opening = notebook.cells[0].source
    assert opening.startswith("# ")
    for words in ("What you will do", "What you will learn", "What you need"):
        assert words in opening
    assert "## Exercises" in text
    assert text.count("<details>") == text.count("</details>") >= 2
    assert "TODO" not in text
    last = code_cells(notebook)[-1]
    assert "assert " in last.source
    assert "checks passed" in last.outputs[0].text


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_redefines_no_layer(name):
    for cell in code_cells(kept(name)):
        defined = {node.name for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.FunctionDef)}
        assert not defined & LAYERS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_picture_shows(name):
    """A Figure that is not the last expression of its cell would be lost, and its plain text says nothing."""
    for cell in code_cells(kept(name)):
        for output in cell.outputs:
            data = output.get("data", {})
            assert "text/plain" not in data or set(data) != {"text/plain"} or "<Figure" not in data["text/plain"]
    shown = sum("image/" in kind for cell in code_cells(kept(name)) for o in cell.outputs for kind in o.get("data", {}))
    assert shown >= 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_runs_and_its_outputs_belong_to_it(name, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = os.times()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fresh = build.executed(build.unexecuted(FOLDER / "source" / f"{name}.py"))
    after = os.times()
    assert build.compare(kept(name), fresh) == []
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < MOST_SECONDS  # Windows says 0


def example():
    """A notebook with texts and pictures in its outputs."""
    return kept(NOTEBOOKS[0])


def test_compare_accepts_the_same_and_other_last_digits():
    notebook = example()
    assert build.compare(notebook, copy.deepcopy(notebook)) == []
    assert build._same_text("0.123456 and 7", "0.123457 and 7")
    assert not build._same_text("0.12 and 7", "0.13 and 7")
    assert not build._same_text("a 1", "b 1")
    assert not build._same_text("1", "1 2")


def test_compare_finds_other_code_text_and_pictures():
    notebook = example()
    cells = code_cells(notebook)
    printed = next(n for n, cell in enumerate(cells) if cell.outputs and cell.outputs[0].output_type == "stream"
                   and "varies" not in cell.metadata.get("tags", []))  # fmt: skip
    other = copy.deepcopy(notebook)
    code_cells(other)[printed].outputs[0].text += "and more\n"
    assert "shows another text" in build.compare(notebook, other)[0]

    other = copy.deepcopy(notebook)
    code_cells(other)[printed].outputs = []
    assert "shows []" in build.compare(notebook, other)[0]

    other = copy.deepcopy(notebook)
    code_cells(other)[printed].source += "\nprint()"
    assert build.compare(notebook, other) == ["the cells are not those of the source"]

    pictures = [(cell, kind) for cell in code_cells(notebook) for o in cell.outputs for kind in o.get("data", {})
                if kind.startswith("image/")]  # fmt: skip
    other = copy.deepcopy(notebook)
    cell, kind = pictures[0]
    swapped = next(c for c in code_cells(other) if c.id == cell.id)
    foreign = next(o["data"][k] for c, k in pictures[1:] for o in c.outputs if k in o.get("data", {}))
    for output in swapped.outputs:
        if kind in output.get("data", {}):
            output["data"][kind] = foreign
    assert any("shows another picture" in sentence for sentence in build.compare(notebook, other))
    other.metadata["drawn_by"] = "matplotlib 3.8.0"
    assert any("shows another picture" in sentence for sentence in build.compare(notebook, other))


def test_another_matplotlib_may_move_a_picture_by_pixels():
    pixels = np.full((96, 96, 3), 255, np.uint8)
    pixels[40:60, 40:60] = 0
    first, moved, other = (as_png(p) for p in (pixels, np.roll(pixels, 1, axis=1), 255 - pixels))
    assert not build._same_picture(first, moved, *build.CLOSELY)
    assert build._same_picture(first, moved, *build.ROUGHLY)
    assert not build._same_picture(first, other, *build.ROUGHLY)


def as_png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def test_timings_are_not_compared():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", metadata={"tags": ["varies"]})])
    other = copy.deepcopy(notebook)
    other.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text="3 ms")]
    assert build.compare(notebook, other) == []


def test_cells_of_a_source():
    text = '"""Header."""\n# ruff: noqa\n# %% [markdown]\n# # Title\n#\n# text\n# %%\nx = 1\n\n# %% varies\nx\n'
    assert build.cells_of(text) == [
        ("markdown", [], "# Title\n\ntext"),
        ("code", [], "x = 1"),
        ("code", ["varies"], "x"),
    ]


def test_a_notebook_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """On a full disk the old one stays."""
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "executed", lambda notebook: notebook)
    monkeypatch.setattr("sys.argv", ["build.py", "01"])
    build.main()
    (path,) = tmp_path.iterdir()
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        build.main()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_equal_sources_make_equal_notebooks(tmp_path):
    source = tmp_path / "00_small.py"
    source.write_text('"""x"""\n# %% [markdown]\n# # T\n# %%\nprint(1)\n', encoding="utf-8")
    first, second = (json.dumps(build.unexecuted(source)) for _ in range(2))
    assert first == second
