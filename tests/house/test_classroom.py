"""What a class gets: students' notebooks that give nothing away, in nbgrader's marks, and slides."""

import re

import numpy as np
import pytest

pytest.importorskip("jupytext")
import nbformat

from tests.house.test_notebooks import FOLDER, NOTEBOOKS, build

import classroom  # isort: skip  (build.py has put its folder on the path)


@pytest.fixture(params=NOTEBOOKS)
def name(request):
    return request.param


@pytest.fixture
def whole(name):
    return build.unexecuted(FOLDER / "source" / f"{name}.py")


@pytest.fixture
def student(whole, name):
    return classroom.for_students(whole, int(name[:2]))


def marks(notebook):
    return {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}


def test_every_exercise_has_a_cell_of_its_own_and_is_counted(whole):
    numbers = classroom.exercises(whole)
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(len(classroom.EXERCISE.findall(cell.source)) < 2 for cell in whole.cells)


def test_nothing_is_given_away(whole, student):
    nbformat.validate(student)
    text = "\n".join(cell.source for cell in student.cells)
    assert "Solution</summary>" not in text
    assert [cell for cell in student.cells if cell.cell_type == "code" and cell.outputs] == []
    given = re.findall(r"<summary>Hint</summary>", "\n".join(cell.source for cell in whole.cells))
    assert len(re.findall(r"<summary>Hint</summary>", text)) == len(given)


def test_nothing_else_is_lost(whole, student):
    kept = [cell.source for cell in student.cells]
    for cell in whole.cells:
        if "<details>" not in cell.source and "practice.check(" not in cell.source:
            assert cell.source.strip() in kept


def test_the_marks_are_what_nbgrader_asks_for(whole, student, name):
    """Its schema 3 and its rules: an id once only, points for what is graded, words graded by hand."""
    number, ids = int(name[:2]), [m.grade_id for m in (c.metadata.get("nbgrader") for c in student.cells) if m]
    assert len(ids) == len(set(ids))
    for n in classroom.exercises(whole):
        assert {f"exercise-{number}-{n}", f"answer-{number}-{n}"} <= set(ids)
    for cell in marks(student).values():
        mark = cell.metadata.nbgrader
        assert {"schema_version", "grade", "solution", "locked", "grade_id"} <= mark.keys()
        assert mark.schema_version == 3
        assert ("points" in mark) == mark.grade
        if cell.cell_type == "markdown":
            assert mark.grade == mark.solution != mark.locked
        elif mark.grade:
            assert mark.locked
            assert not mark.solution


EXAMPLE = """# %% [markdown]
# # T

# %%
import numpy as np
from pvt_numpy import practice

# %% [markdown]
# ## Exercises
#
# **1.** Write it.
#
# <details><summary>Hint</summary>
#
# exp
#
# </details>


# %% tags=["exercise"]
def mine(x):
    \"\"\"Shares.\"\"\"
    raise NotImplementedError


practice.check(mine, "softmax")

# %% [markdown]
# <details><summary>Solution</summary>
#
# secret
#
# </details>

# %% [markdown] tags=["predict"]
# **Predict first.** What?

# %% [markdown]
# **2.** Why?
#
# <details><summary>Solution</summary>
#
# secret
#
# </details>

# %% [markdown]
# ## The check

# %%
assert True
"""


@pytest.fixture
def example(tmp_path):
    (tmp_path / "03_small.py").write_text(EXAMPLE, encoding="utf-8")
    return build.unexecuted(tmp_path / "03_small.py")


def test_a_small_notebook_for_students(example):
    student = classroom.for_students(example, 3)
    cells = [(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source) for cell in student.cells]
    assert cells[2:] == [
        ("exercise-3-1", "## Exercises\n\n**1.** Write it.\n\n<details><summary>Hint</summary>\n\nexp\n\n</details>"),
        ("answer-3-1", 'def mine(x):\n    """Shares."""\n    ### BEGIN SOLUTION\n    raise NotImplementedError\n'
                       "    ### END SOLUTION"),
        ("check-3-1", 'verdict = practice.check(mine, "softmax")\nprint(verdict)\nassert verdict.right, verdict.text'),
        (None, "**Predict first.** What?"), (None, "*My prediction:*"), ("exercise-3-2", "**2.** Why?"),
        ("answer-3-2", "*Your answer:*"), (None, "## The check"), (None, "assert True")]  # fmt: skip


def test_the_check_of_a_student_says_right_and_wrong(example):
    """The locked cell runs as it stands: an answer that is right passes, an empty one does not."""
    cells = marks(classroom.for_students(example, 3))
    right = "def mine(x):\n    e = np.exp(x - x.max(-1, keepdims=True))\n    return e / e.sum(-1, keepdims=True)"
    for answer, passes in ((right, True), (cells["answer-3-1"].source, False)):
        names = {"np": np}
        exec(example.cells[1].source, names)
        exec(answer, names)
        if passes:
            exec(cells["check-3-1"].source, names)
        else:
            with pytest.raises(AssertionError, match="not written yet"):
                exec(cells["check-3-1"].source, names)


def test_slides_begin_at_headings(example):
    kinds = [cell.metadata["slideshow"]["slide_type"] for cell in example.cells]
    assert kinds == ["slide", "skip", "slide", "skip", "notes", "subslide", "subslide", "slide", "skip"]


def test_a_class_is_written_whole_and_never_over_answers(tmp_path, capsys):
    build.main(["1", "--student", str(tmp_path / "class")])
    found = sorted(path.name for path in (tmp_path / "class").iterdir())
    assert found == sorted([next(n for n in NOTEBOOKS if n.startswith("01")) + ".ipynb"]
                           + [path.name for kind in ("jpg", "csv") for path in FOLDER.glob(f"*.{kind}")])  # fmt: skip
    with pytest.raises(ValueError, match="found something there already; expected a new or an empty folder"):
        build.main(["1", "--student", str(tmp_path / "class")])


def test_readers_are_asked_before_they_are_told(whole, name):
    """At least two predictions a notebook, each before a cell that tells."""
    asked = [k for k, cell in enumerate(whole.cells) if "predict" in cell.metadata.get("tags", [])]
    assert len(asked) >= 2 or not 1 <= int(name[:2]) <= 7
    assert all(whole.cells[k].source.startswith("**Predict first.**") for k in asked)
    assert not any(whole.cells[k + 1].cell_type == "markdown" and k + 1 in asked for k in asked)
