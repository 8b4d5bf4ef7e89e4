"""The static site: it is all there, every link leads somewhere in it, and nothing is asked of any network."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

pytest.importorskip("math_core")
pytest.importorskip("nbconvert")

from pvt_numpy.system.paths import SHIPPED_MODELS
from tests.explorer import browser
from tests.processes import ROOT, run

BUILD = ROOT / "notebooks" / "build.py"
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
NOTEBOOK = "notebooks/02_patches_and_overlapping_patches.html"
EXPLORERS = [f"explorer/golf_ball-{name}.html" for name in SHIPPED_MODELS]
SCREENS = [{"width": 1280, "height": 900, "dark": False}, {"width": 390, "height": 844, "dark": True}]
MOST_BYTES = 30e6


def built(folder, *arguments):
    quiet = {"PYTHONWARNINGS": None}  # what nbconvert's own packages have to say is not ours to fail on
    return run(BUILD, "--site", folder, *arguments, env=quiet)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built once."""
    folder = tmp_path_factory.mktemp("site") / "pages"
    status, out, err = built(folder)
    assert (status, err) == (0, "")
    assert f"{folder}: " in out
    return folder


class Page(HTMLParser):
    """What of a page is tested: its addresses, names, tags with their attributes, and its text without code."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(re.sub(r"(<pre.*?>).*?</pre>", r"\1</pre>", path.read_text(encoding="utf-8"), flags=re.DOTALL))
        self.addresses = [tag[kind] for tag in self.tags for kind in ("href", "src") if kind in tag]
        self.names = {tag["id"] for tag in self.tags if "id" in tag}

    def handle_starttag(self, tag, attrs):
        self.tags.append({"tag": tag, **dict(attrs)})

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [one for one in self.tags if one["tag"] == tag]


def test_every_link_is_relative_and_leads_to_a_page_and_place_of_the_site(site):
    pages = {path: Page(path) for path in site.rglob("*.html")}
    led_to = {site / "index.html"}
    for path, page in pages.items():
        for address in page.addresses:
            if address.startswith("data:"):
                continue
            parts = urlsplit(address)
            outside = parts.scheme or parts.netloc or parts.path.startswith("/")
            assert not outside, f"{path}: {address}"
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path}: {address}"
            assert not parts.fragment or unquote(parts.fragment) in pages[target].names, f"{path}: {address}"
            led_to.add(target)
    assert led_to == {path for path in site.rglob("*") if path.is_file()}  # and nothing lies there that none leads to


def test_the_site_is_small_and_has_what_it_should(site):
    files = [path.relative_to(site) for path in site.rglob("*") if path.is_file()]
    assert sum((site / path).stat().st_size for path in files) < MOST_BYTES
    assert not [path for path in files if any(part.startswith(".") for part in path.parts)]  # would not be published
    wanted = ["index.html", "README.html", "notebooks/README.html", "pvt_numpy/layers/attention.py.html", *EXPLORERS]
    wanted += [f"notebooks/{path.stem}.html" for path in NOTEBOOKS]
    wanted += [path.relative_to(ROOT).with_suffix(".html") for path in ROOT.glob("notebooks/*.md")]
    assert set(map(Path, wanted)) <= set(files)
    assert all("../index.html" in Page(site / explorer).addresses for explorer in EXPLORERS)
    home = Page(site / "index.html")
    first_screen, rest = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Start\n")
    for word in re.findall(r"\w{4,}", re.sub(r"```.*?```|\(.*?\)|!\[.*?\]", "", first_screen, flags=re.DOTALL)):
        assert word in home.text
    assert "The line above ends with" in rest
    assert "The line above ends with" not in home.text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_s_page_has_its_text_its_formulas_and_its_pictures(site, path):
    page, notebook = Page(site / f"notebooks/{path.stem}.html"), nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    plain = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert len(page.all("math")) == len(re.findall(r"\$\$.+?\$\$|\$[^$\n]+?\$", plain, flags=re.DOTALL))
    assert "$" not in page.text
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    about = [output.get("metadata", {}).get(kind, {}) for output in shown for kind in output.get("data", {})
             if kind.startswith("image/")]  # fmt: skip
    none = "No description has been provided for this image"  # as nbconvert says
    assert [picture["alt"] for picture in page.all("img")] == [one.get("alt", none) for one in about]


def test_a_link_and_a_formula_that_lead_nowhere_are_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BUILD.parent)
    import website

    renderer = website.Renderer(ROOT / "README.md", Path("README.html"), [])
    with pytest.raises(ValueError, match=r"README.md: found a link to away.md; expected one to a file that is there"):
        website.markdown("[gone](away.md)", renderer)
    with pytest.raises(ValueError, match=r"README.md: found the formula \\nonsense; expected LaTeX"):
        website.markdown(r"so $\nonsense$", renderer)
    assert website.markdown("[paper](https://example.org/a)", renderer) == "<p>paper (https://example.org/a)</p>\n"
    twice = website.markdown("# A `b`, c\n# A b c", renderer)
    assert ('id="a-b-c"' in twice, 'id="a-b-c-1"' in twice) == (True, True)


def test_a_folder_with_something_in_it_and_two_wishes_at_once_are_refused(tmp_path):
    (tmp_path / "kept").write_text("mine")
    status, _, err = built(tmp_path)
    assert (status, err) == (1, f"build: error: {tmp_path}: found something there already; "
                                "expected a new or an empty folder\n")  # fmt: skip
    status, _, err = built(tmp_path / "new", "4")
    assert status == 2
    assert err.endswith("build.py: error: --site: found a notebook's number too; expected one or the other\n")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


# In a browser


@pytest.mark.browser
def test_every_page_loads_fits_the_screen_and_asks_for_nothing_else(site, chrome):
    for path in sorted(site.rglob("*.html")):
        chrome.get_log("browser"), chrome.get_log("performance")
        browser.screen(chrome, **SCREENS[0])
        chrome.get(path.as_uri())
        for size in SCREENS:
            browser.screen(chrome, **size)
            assert chrome.execute_script("return document.documentElement.scrollWidth") <= size["width"], path
        assert browser.complaints(chrome) == [], path
        assert all(address.startswith(site.as_uri()) for address in browser.requested(chrome)), path
        pictures = "return [...document.images].every((i) => i.complete && i.naturalWidth > 0)"
        assert chrome.execute_script(pictures), path


@pytest.mark.browser
@pytest.mark.parametrize("size", SCREENS, ids=["light", "phone, dark"])
def test_axe_finds_nothing(site, chrome, axe, size):
    """Of one page of each kind. In a notebook the thousand coloured words are made one text: a source file has them."""
    browser.screen(chrome, **size)
    for page in ("index.html", "notebooks/README.html", "pvt_numpy/layers/softmax.py.html", NOTEBOOK):
        chrome.get((site / page).as_uri())
        if page == NOTEBOOK:
            chrome.execute_script("document.querySelectorAll('.highlight pre').forEach((e) => e.append(e.textContent))")
            chrome.execute_script("document.querySelectorAll('.highlight span').forEach((e) => e.remove())")
        assert axe(chrome) == [], page


@pytest.mark.browser
def test_axe_can_find_something(site, chrome, axe):
    browser.screen(chrome, **SCREENS[0])
    chrome.get((site / "index.html").as_uri())
    chrome.execute_script(
        "document.images[0].removeAttribute('alt'); document.querySelector('main a').style.color = '#bbb'"
    )
    assert {line.split(":")[0] for line in axe(chrome)} == {"image-alt", "color-contrast"}
