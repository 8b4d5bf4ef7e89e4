"""Two other forms of a notebook for a class: a student's, without solutions and outputs, and slides.

A student's notebook carries nbgrader's marks (its metadata, version 3): the text of an exercise is locked, the answer
is the student's, and its check, in a locked cell of its own, gives the points; what is answered in words is graded by
hand. It can be handed out as it is, or go into nbgrader's folder `source`, whose `generate_assignment` reads it.

Left out: hidden tests, for `practice.check` has no secrets: its answers stand in the package.
"""

import re

import nbformat

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
POINTS = 2  # of an exercise, whether a check or a person gives them
EXERCISE = re.compile(r"^\*\*(\d+)\.\*\*", re.MULTILINE)
DETAILS = r"<details><summary>{}</summary>.*?</details>\n*"
SOLUTION = re.compile(DETAILS.format("Solution"), re.DOTALL)
CHECK = re.compile(r"^practice\.check\(.*\)$", re.MULTILINE)
EMPTY = re.compile(r"^(\s*)raise NotImplementedError.*$", re.MULTILINE)


def exercises(notebook):
    """The numbers of a notebook's exercises, in order."""
    return [int(n) for cell in notebook.cells if cell.cell_type == "markdown" for n in EXERCISE.findall(cell.source)]


def for_students(notebook, number):
    """The same notebook (of this number) without solutions and outputs, in nbgrader's marks."""
    cells, asked = [], None
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cells += unanswered(asked, number)
            text = SOLUTION.sub("", cell.source).strip()
            asked = EXERCISE.search(text)
            if text:
                marks = marked("exercise", number, asked, locked=True) if asked else {}
                cells.append(nbformat.v4.new_markdown_cell(text, metadata=marks))
            if "predict" in cell.metadata.get("tags", []):
                cells.append(nbformat.v4.new_markdown_cell("*My prediction:*"))
        elif asked and (check := CHECK.search(cell.source)):
            cells += [
                nbformat.v4.new_code_cell(stub(cell.source[: check.start()].strip()),
                                          metadata=marked("answer", number, asked, solution=True)),
                nbformat.v4.new_code_cell(f"verdict = {check[0]}\nprint(verdict)\nassert verdict.right, verdict.text",
                                          metadata=marked("check", number, asked, locked=True, grade=True)),
            ]  # fmt: skip
            asked = None
        else:
            cells.append(nbformat.v4.new_code_cell(cell.source))
    cells += unanswered(asked, number)
    student = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    for place, cell in enumerate(cells):
        cell.id = f"cell-{place:02}"
    return student


def unanswered(asked, number):
    """A cell for words, if an exercise has been asked and none of its cells has been for the answer."""
    marks = marked("answer", number, asked, solution=True, grade=True) if asked else {}
    return [nbformat.v4.new_markdown_cell("*Your answer:*", metadata=marks)] * bool(asked)


def stub(source):
    """The empty answer between the lines that tell nbgrader what a solution is."""
    begin, end = "### BEGIN SOLUTION", "### END SOLUTION"
    if EMPTY.search(source):
        return EMPTY.sub(rf"\1{begin}\n\1raise NotImplementedError\n\1{end}", source)
    return f"{begin}\n{source}\n{end}"


def marked(what, number, asked, grade=False, solution=False, locked=False):
    """nbgrader's metadata of a cell."""
    marks = {"schema_version": 3, "grade_id": f"{what}-{number}-{asked[1]}", "grade": grade, "solution": solution,
             "locked": locked, "task": False}  # fmt: skip
    return {"nbgrader": marks | ({"points": POINTS} if grade else {})}


def mark_slides(notebook):
    """Sets, in place, which cells begin a slide of `jupyter nbconvert --to slides`: a heading begins one, and what
    follows goes down from it, code with what it shows apart from the text. Setting up, the empty answers and the last
    check are skipped; solutions are the speaker's notes."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in notebook.cells:
        kind = "subslide"
        if cell in (code[0], code[-1]) or CHECK.search(cell.source) and cell.cell_type == "code":
            kind = "skip"
        elif SOLUTION.match(cell.source):
            kind = "notes"
        elif re.match(r"##? ", cell.source):
            kind = "slide"
        cell.metadata["slideshow"] = {"slide_type": kind}
