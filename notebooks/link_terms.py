"""Links each word of the glossary where a notebook's source first uses it: `python notebooks/link_terms.py`.

Old links are taken out and set anew, so it may be run as often as you like. Words are looked for in running text and
tables, after the opening, and not in headings, formulas, code, quotations, other links, hints or solutions.
"""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ALSO = {"spatial-reduction attention": ["SRA"], "query": ["queries"]}
PROTECTED = re.compile(
    r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\[[^\]\n]*\]\([^)\n]*\)|\x22[^\x22\n]*\x22"
    r"|<details>.*?</details>|<[^>\n]*>|^# #[^\n]*$", re.DOTALL | re.MULTILINE)  # fmt: skip
LINK = re.compile(r"\[([^\]\n]*)\]\(glossary\.md#[^)\n]*\)")


def terms():
    """The glossary's words, in its order."""
    return re.findall(r"^### (.+)$", (HERE / "glossary.md").read_text(encoding="utf-8"), flags=re.MULTILINE)


def anchor(term):
    """Where a word stands in the glossary."""
    return term.lower().replace(" ", "-")


def linked(source, words):
    """A notebook's source with each of these words linked at its first use, and nowhere else."""
    forms = {form.lower(): word for word in words for form in [word, *ALSO.get(word, [])]}
    longest_first = sorted(forms, key=len, reverse=True)
    any_word = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, longest_first))})(?:s|es)?(?![\w-])", re.IGNORECASE)
    seen = set()

    def link(match):
        word = forms[match[1].lower()]
        if word in seen:
            return match[0]
        seen.add(word)
        return f"[{match[0]}](glossary.md#{anchor(word)})"

    cells = re.split(r"(?m)^(?=# %%)", source)
    for number, cell in enumerate(cells):
        if cell.startswith("# %% [markdown]") and number > 1:  # 0 is nothing, 1 the opening
            head, text = cell.split("\n", 1)
            text = LINK.sub(r"\1", text)
            parts, end = [], 0
            for kept in [*PROTECTED.finditer(text), None]:
                parts.append(any_word.sub(link, text[end : kept.start() if kept else None]))
                if kept:
                    parts.append(kept[0])
                    end = kept.end()
            cells[number] = head + "\n" + "".join(parts)
    return "".join(cells)


if __name__ == "__main__":
    for path in sorted((HERE / "source").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        path.write_text(linked(text, terms()), encoding="utf-8", newline="\n")
