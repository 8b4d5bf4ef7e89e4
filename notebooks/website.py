"""The project as a static site, for `python notebooks/build.py --site DIR`.

The home page is the README's first screen. From there, and from what lies in notebooks/, links are followed: a text, a
notebook or a source file that a page links becomes a page too, and a picture is copied. Notebooks are shown with the
outputs that they are stored with; the explorer's pages are made anew.

A page loads nothing from elsewhere and runs no script but the explorer's own: formulas become MathML, which browsers
draw by themselves, and every link is relative. Needs nbconvert, which comes with jupyter, and math-core.
"""

import os
import re
from collections import Counter
from html import escape, unescape
from pathlib import Path, PurePath
from urllib.parse import quote, unquote

import nbformat
from math_core import LatexError, LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import ExtractOutputPreprocessor
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound

from pvt_numpy import explore
from pvt_numpy.system.checks import wrong
from pvt_numpy.system.paths import SHIPPED_MODELS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
README, LESSONS, GLOSSARY = ROOT / "README.md", HERE / "README.md", HERE / "glossary.md"
FORMULAS = LatexToMathML(fancy_error=False)
BACK = '<p class="source"><a href="../index.html">pvt_numpy</a>'
PICTURES = (".jpg", ".png", ".svg")
POLICY = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header><nav aria-label="Site">{menu}</nav></header>
<main>
{body}
</main>
</body>
</html>
"""


def build(folder):
    """Writes the site into an empty folder."""
    explorers = []
    (folder / "explorer").mkdir()
    for picture in sorted(HERE.glob("*.jpg")):
        for name, model in SHIPPED_MODELS.items():
            explorers.append((f"{picture.name}, read by {name}", f"explorer/{picture.stem}-{name}.html"))
            html = explore(picture, model).html.replace('<p class="source">', f"{BACK} · ", 1)
            (folder / explorers[-1][1]).write_text(html, encoding="utf-8")
    notebooks = sorted(HERE.glob("*.ipynb"))
    linked = [README, LESSONS, *sorted(HERE.rglob("*.md")), *notebooks]  # grows while links are met
    home = PurePath("index.html")
    first_screen = README.read_text(encoding="utf-8").partition("\n## ")[0]
    body = markdown(first_screen, Renderer(README, home, linked))
    above, picture, below = re.split("(<p><img .*?</p>)", body, maxsplit=1)  # the explorer's, and under it the explorer
    body = above + picture + items("The explorer", explorers) + below
    body += items("Notebooks", [(first_heading(path), address(path)) for path in notebooks])
    write(folder, home, body + items("More", [("All of the README", address(README))]))
    for number, path in enumerate(linked):
        if path in linked[:number]:
            continue
        page = address(path)
        if path.suffix in PICTURES:
            (folder / page).parent.mkdir(parents=True, exist_ok=True)
            (folder / page).write_bytes(path.read_bytes())
        elif path.suffix == ".ipynb":
            write(folder, page, notebook(path, Renderer(path, page, linked), folder / page.parent))
        elif path.suffix == ".md":
            write(folder, page, markdown(path.read_text(encoding="utf-8"), Renderer(path, page, linked)))
        else:
            write(folder, page, source(path))


def address(path):
    """Where in the site a file of the project lies: notebooks/x.ipynb -> notebooks/x.html, a.py -> a.py.html. No name
    begins with a dot: what publishes sites leaves hidden folders out."""
    path = PurePath(*(part.lstrip(".") for part in path.relative_to(ROOT).parts))
    if path.suffix in PICTURES:
        return path
    return path.with_suffix(".html") if path.suffix in (".md", ".ipynb") else path.with_name(f"{path.name}.html")


def relative(page, start):
    """The link from one page of the site to another."""
    return quote(Path(os.path.relpath(page, PurePath(start).parent)).as_posix(), safe="/#")


def write(folder, page, body):
    """A page, in the site's dress. Its title is its first heading; what may be wider than the screen can be scrolled,
    with keys too."""
    menu = {"pvt_numpy": "index.html", "Notebooks": address(LESSONS), "Glossary": address(GLOSSARY),
            "Explorer": "index.html#the-explorer"}  # fmt: skip
    if not GLOSSARY.exists():
        del menu["Glossary"]
    body = body.replace("<pre>", '<pre tabindex="0">')
    formula = r"<math>(?:(?!</math>).)*</math>[.,;:)]+"
    body = re.sub(formula, r'<span class="whole">\g<0></span>', body)  # no line begins with a stop
    body = re.sub(r"<table.*?</table>", r'<div class="wide" tabindex="0">\g<0></div>', body, flags=re.DOTALL)
    parts = {"title": plain(re.search(r"<h1.*?>(.*?)</h1>", body, flags=re.DOTALL)[1]), "body": body,
             "policy": POLICY, "style": (HERE / "website.css").read_text(encoding="utf-8"),
             "menu": " ".join(f'<a href="{relative(to, page)}">{name}</a>' for name, to in menu.items())}  # fmt: skip
    (folder / page).parent.mkdir(parents=True, exist_ok=True)
    (folder / page).write_text(PAGE.format(**parts), encoding="utf-8")


def plain(html):
    """The words of a piece of HTML, as HTML."""
    return escape(unescape(re.sub(r"<.*?>", "", html)), quote=False)


def items(title, links):
    """A section of the home page: words and where they lead."""
    listed = "\n".join(f'<li><a href="{quote(str(page))}">{escape(words)}</a></li>' for words, page in links)
    return f'<h2 id="{anchor(title)}">{title}</h2>\n<ul>\n{listed}\n</ul>\n'


def anchor(heading, notebook=False):
    """A heading's name in links: as repository pages make it, or as Jupyter does.

    >>> anchor("What does R do, here?"), anchor("What does R do, here?", notebook=True)
    ('what-does-r-do-here', 'What-does-R-do,-here?')
    """
    if notebook:
        return heading.replace(" ", "-")
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def first_heading(path):
    """The title of a notebook."""
    return nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")


class Renderer(IPythonRenderer):
    """Markdown as HTML, as nbconvert reads it, with our headings, links and formulas.

    source  the file in which the text stands, from which its links lead
    page    where in the site it is shown
    linked  a list to which every file that the text links is added
    """

    def __init__(self, source, page, linked):
        super().__init__(escape=False)
        self.source, self.page, self.linked, self.anchors = source, page, linked, Counter()

    def heading(self, text, level, **_):
        name = anchor(unescape(plain(text)), self.source.suffix == ".ipynb")
        self.anchors[name] += 1
        if (times := self.anchors[name]) > 1:
            name += f"-{times - 1}"
        return f'<h{level} id="{escape(name)}">{text}</h{level}>\n'

    def link(self, text, url, title=None):
        if "://" in url:  # another's: said, but no link
            return text if text == url else f"{text} ({escape(url)})"
        to = self.to(url)
        return f'<a href="{to}">{text}</a>' if to else text

    def image(self, text, url, title=None):
        return f'<img src="{self.to(url)}" alt="{escape(text)}">'

    def to(self, url):
        """The same link within the site; None for a folder, which has no page."""
        path, hash_, place = url.partition("#")
        target = (self.source.parent / unquote(path)).resolve() if path else self.source
        if target.is_dir():
            return None
        if not target.is_file():
            raise wrong(self.source.relative_to(ROOT), f"a link to {url}", "one to a file that is there")
        self.linked.append(target)
        return relative(address(target), self.page) + hash_ + escape(place)

    def inline_math(self, body, block=False):
        try:
            return FORMULAS.convert_with_local_state(body, displaystyle=block)
        except LatexError as error:
            expected = f"LaTeX that math-core knows ({error})"
            raise wrong(self.source.relative_to(ROOT), f"the formula {body}", expected) from error

    def block_math(self, body):
        return f'<div class="wide" tabindex="0">{self.inline_math(body, block=True)}</div>'


def markdown(text, renderer):
    """HTML of a text."""
    return MarkdownWithMath(renderer=renderer).render(text)


def notebook(path, renderer, folder):
    """HTML of a notebook's cells and of what they show; the pictures go into a folder of its name."""
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True,
                            preprocessors=[ExtractOutputPreprocessor])  # fmt: skip
    exporter.register_filter("markdown2html", lambda text: markdown(text, renderer))
    exporter.register_filter("clean_html", lambda html: html)  # the notebooks are ours, and pages run no script
    names = {"unique_key": path.stem, "output_files_dir": path.stem}
    html, resources = exporter.from_filename(str(path), names)
    (folder / path.stem).mkdir(parents=True, exist_ok=True)
    for name, content in resources["outputs"].items():
        (folder / name).write_bytes(content)
    return html


def source(path):
    """HTML of a source file."""
    try:
        lexer = get_lexer_for_filename(path.name)
    except ClassNotFound:
        lexer = TextLexer()
    name = path.relative_to(ROOT).as_posix()
    return f"<h1><code>{name}</code></h1>\n{highlight(path.read_text(encoding='utf-8'), lexer, HtmlFormatter())}"
