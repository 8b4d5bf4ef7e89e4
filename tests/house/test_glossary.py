"""The glossary and the table of concepts: every link leads somewhere, every word is linked where it is first used."""

import ast
import importlib.util
import re

import pytest

from tests.processes import ROOT

FOLDER = ROOT / "notebooks"
_spec = importlib.util.spec_from_file_location("link_terms", FOLDER / "link_terms.py")
link_terms = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(link_terms)
GLOSSARY = (FOLDER / "glossary.md").read_text(encoding="utf-8")
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("source/*.py"))}
TERMS = link_terms.terms()
LINK = r"\[([^\]]+)\]\(([^)#]+)#?([^)]*)\)"
CONCEPTS = [
    line.strip("| ").split(" | ") for line in README.split("## Twelve concepts")[1].split("\n\n")[2].splitlines()
]
CONCEPTS = CONCEPTS[2:]


def entry(term):
    """What the glossary says of a word."""
    return GLOSSARY.split(f"### {term}\n\n")[1].split("\n\n### ")[0].strip()


def is_defined(name, file):
    """Whether a Python file defines this name, and documents it if it is a function."""
    tree = ast.parse((FOLDER / file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name.rpartition(".")[2]:
            return bool(ast.get_docstring(node))
        if isinstance(node, ast.Assign) and name in [getattr(target, "id", None) for target in node.targets]:
            return True
    return False


def is_a_section(text, file, place):
    """Whether "3 · The bill" is a heading of that notebook, and the anchor is Jupyter's."""
    number, title = text.split(" · ", 1)
    headings = re.findall(r"^# ##+ (.+)$", SOURCES[file.removesuffix(".ipynb")], flags=re.MULTILINE)
    return file.startswith(f"{int(number):02}_") and title in headings and place == title.replace(" ", "-")


@pytest.mark.parametrize("term", TERMS)
def test_a_word_is_explained_in_two_sentences_with_its_function_and_section(term):
    text, where = entry(term).split("\n\n")
    assert 30 < len(text) < 240
    (function, file, _), (section, notebook, place) = re.findall(LINK, where)
    assert is_defined(function.strip("`"), file)
    assert is_a_section(section, notebook, place)


def test_the_glossary_is_in_order_and_linked_from_the_readme():
    assert sorted(TERMS, key=str.lower) == TERMS
    assert len(set(TERMS)) == len(TERMS) >= 40
    assert "(glossary.md)" in README


@pytest.mark.parametrize("name", SOURCES)
def test_words_are_linked_where_a_notebook_first_uses_them(name):
    """`python notebooks/link_terms.py` mends what fails here."""
    assert link_terms.linked(SOURCES[name], TERMS) == SOURCES[name]


def test_links_lead_to_words_and_most_words_are_linked():
    places = {place for text in SOURCES.values() for place in re.findall(r"\(glossary\.md#([^)]+)\)", text)}
    assert places <= {link_terms.anchor(term) for term in TERMS}
    assert len(places) >= 40


WORDS = ["map", "patch", "patch embedding"]


@pytest.mark.parametrize(("text", "expected"), [
    ("A map, two maps.", "A [map](glossary.md#map), two maps."),
    ("Patches: a patch", "[Patches](glossary.md#patch): a patch"),
    ("a patch embedding, a patch", "a [patch embedding](glossary.md#patch-embedding), a [patch](glossary.md#patch)"),
    ("`map` $map$ [map](a.md) “mapped” self-map", "`map` $map$ [map](a.md) “mapped” self-map"),
    ("## A map\n#\n# **Map**", "## A map\n#\n# **[Map](glossary.md#map)**"),
    ("<details>a map</details> map", "<details>a map</details> [map](glossary.md#map)"),
    ("[wrong](glossary.md#map) map", "wrong [map](glossary.md#map)")])  # fmt: skip
def test_linked(text, expected):
    opening = "# %% [markdown]\n# a map in the opening\n\n# %%\nmap = 1  # a map\n\n# %% [markdown]\n# "
    assert link_terms.linked(opening + text, WORDS) == opening + expected


@pytest.mark.parametrize("row", CONCEPTS, ids=lambda row: row[0])
def test_all_six_cells_of_a_concept_lead_somewhere(row):
    concept, functions, source, section, picture, exercises = row
    for function, file, _ in re.findall(LINK, functions):
        assert is_defined(function.strip("`"), file)
        says = " ".join(ast.get_docstring(ast.parse((FOLDER / file).read_text(encoding="utf-8"))).split())
        assert "Source: " in says
        assert source in says
    for cell in (section, picture):
        ((text, file, place),) = re.findall(LINK, cell)
        assert is_a_section(text, file, place)
    assert draws(*re.findall(LINK, picture)[0][:2])
    for asked, file, place in re.findall(LINK, exercises):
        number = asked.split(".")[1]
        text = SOURCES[file.removesuffix(".ipynb")].split(f"\n# **{number}.** ")[1].split("\n# **")[0]
        assert "practice.check(" in text
        assert place == "Exercises"


def draws(section, file):
    """Whether a code cell of that section ends in a figure."""
    title = section.split(" · ", 1)[1]
    text = re.split(r"\n# ##+ .+\n", SOURCES[file.removesuffix(".ipynb")].split(f" {title}\n", 1)[1])[0]
    figures = re.findall(r"@drawing\ndef (\w+)", "".join(SOURCES.values()))
    return re.search(rf"^(?:plots\.\w+|{'|'.join(figures)})\(", text, flags=re.MULTILINE) is not None


def test_the_table_holds_twelve_concepts_and_no_empty_cell():
    assert len(CONCEPTS) == 12
    assert all(len(row) == 6 and all(row) for row in CONCEPTS)
