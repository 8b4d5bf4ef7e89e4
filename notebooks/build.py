"""Makes the notebooks from their sources and runs them: `python notebooks/build.py [1 4 ...]`.

A notebook is written once, as `source/NAME.py`, in the format that jupytext calls py:percent and that editors know:
`# %%` starts a code cell, `# %% [markdown]` a text cell. This script turns it into `NAME.ipynb`, runs it in a fresh
kernel and keeps what it showed, so that the figures are there on a repository page. A code cell that starts with
`# %% tags=["varies"]` shows what no two runs have in common, timings for instance.

`test_notebooks.py` runs every notebook, and fails if `compare` finds that the outputs kept are not those of the code.
Needs jupytext, nbclient and ipykernel.
"""

import argparse
import base64
import io
import json
import os
import re
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "source"
sys.path.insert(0, str(HERE))  # its neighbours, which are imported if they are needed
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # BLAS on a busy machine: two that share a small product wait for each other
TIME_LIMIT = 300  # seconds for one cell; the notebooks themselves are made to take less than 90 on two cores
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
TOLERANCE = 2e-3  # relative, for numbers that were printed: rounding differs from processor to processor
ROUNDED = 2e-2  # for those in the description of a figure, which have three digits
# Figures are compared as so many blocks by the side, which may differ by so much of 255: closely if the same
# matplotlib drew both; another one sets words and panels some pixels elsewhere.
CLOSELY, ROUGHLY = (24, 24), (8, 40)
EPILOG = """examples:
  python notebooks/build.py            all of them, in a few minutes
  python notebooks/build.py 4          that one
  python notebooks/build.py --student my_class
                                       none; what a class gets into the folder my_class: classroom.py
  python notebooks/build.py --site site
                                       none; the static site into the folder site, from the notebooks as they are stored
  jupytext --to py:percent notebooks/04_what_the_heads_look_at.ipynb -o notebooks/source/04_what_the_heads_look_at.py
                                       the other way: what you changed in Jupyter becomes the source

A notebook is written in notebooks/source/NAME.py: `# %%` starts a code cell, `# %% [markdown]` a text cell, and
`# %% tags=["varies"]` a code cell whose output is another one in every run. The tests run every notebook and compare.

exit status: 0 written; 1 failed, said on stderr; 2 wrong usage"""


def unexecuted(source):
    """The notebook of a source file, without outputs."""
    import jupytext
    from classroom import mark_slides

    notebook = jupytext.read(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):  # by chance otherwise; equal sources shall make equal notebooks
        cell.id = f"cell-{number:02}"
    mark_slides(notebook)
    return notebook


def executed(notebook):
    """The same notebook, run from the top in a fresh kernel in this folder. Raises if a cell does."""
    from nbclient import NotebookClient

    notebook = notebook.copy()
    NotebookClient(notebook, timeout=TIME_LIMIT, kernel_name="python3", record_timing=False, coalesce_streams=True,
                   resources={"metadata": {"path": str(HERE)}}).execute(env=os.environ | ONE_THREAD)  # fmt: skip
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                         "language_info": {"name": "python", "file_extension": ".py"},
                         "drawn_by": f"matplotlib {version('matplotlib')}"}  # fmt: skip
    return notebook


def compare(kept, fresh):
    """Sentences about outputs of `kept` that are not those of `fresh`, a run of the same code; none: they belong."""
    wrong = []
    if [cell.source for cell in kept.cells] != [cell.source for cell in fresh.cells]:
        return ["the cells are not those of the source"]
    blocks, shade = CLOSELY if kept.metadata.get("drawn_by") == fresh.metadata.get("drawn_by") else ROUGHLY
    for old, new in zip(kept.cells, fresh.cells, strict=True):
        if old.cell_type != "code" or "varies" in old.metadata.get("tags", []):
            continue
        before, after = _shown(old), _shown(new)
        where = f"cell {old.id} ({old.source.strip().splitlines()[0][:60]})"
        if [kind for kind, _ in before] != [kind for kind, _ in after]:
            wrong.append(f"{where} shows {[kind for kind, _ in after]}, and {[kind for kind, _ in before]} was kept")
            continue
        for (kind, was), (_, now) in zip(before, after, strict=True):
            if kind == "picture":
                same = _same_picture(was, now, blocks, shade)
            else:
                same = _same_text(was, now, TOLERANCE if kind == "text" else ROUNDED)
            if not same:
                wrong.append(f"{where} shows another {kind}" + (f": {now[:200]!r}" if kind == "text" else ""))
    return wrong


def _shown(cell):
    """What a cell shows, as ("text", words) and ("picture", base64) in order; warnings on stderr are left out."""
    shown = []
    for output in cell.outputs:
        if output.output_type == "stream":
            if output.name == "stdout":
                if shown and shown[-1][0] == "text":
                    shown[-1] = ("text", shown[-1][1] + output.text)  # a kernel may send one print in two parts
                else:
                    shown.append(("text", output.text))
        else:
            data = output.get("data", {})
            picture = data.get("image/png") or data.get("image/jpeg")
            text = data.get("text/html") or data.get("text/plain", "")
            shown += [("picture", picture)] if picture else []
            if not picture:
                shown.append(("text", text))
            elif text:
                shown.append(("description", text))  # what the picture shows, in words; its numbers are rounded
    return shown


def alternatives(notebook):
    """The alternative text of every picture that a notebook shows, "" for one that has none."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.get("metadata", {}).get(kind, {}).get("alt", "")
            for output in outputs for kind in output.get("data", {}) if kind.startswith("image/")]  # fmt: skip


def _same_text(was, now, tolerance):
    """Equal but for the last digits of numbers."""
    if NUMBER.sub("#", was) != NUMBER.sub("#", now):
        return False
    pairs = zip(map(float, NUMBER.findall(was)), map(float, NUMBER.findall(now)), strict=True)
    return all(abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-3) for a, b in pairs)


def _same_picture(was, now, blocks, shade):
    import numpy as np
    from PIL import Image

    pictures = (Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB") for data in (was, now))
    first, second = (np.asarray(picture.resize((blocks, blocks), Image.Resampling.BOX), int) for picture in pictures)
    return np.abs(first - second).max() <= shade


def sources():
    """The source files in order."""
    return sorted(SOURCES.glob("*.py"))


def write_class(folder, chosen):
    """The students' notebooks and the files that they open, whole or not at all."""
    import nbformat
    from classroom import for_students

    from pvt_numpy.system.files import atomic_folder

    with atomic_folder(folder) as temporary:
        for source in chosen:
            nbformat.write(for_students(unexecuted(source), int(source.stem[:2])), temporary / f"{source.stem}.ipynb")
        for file in [*HERE.glob("*.jpg"), *HERE.glob("*.csv")]:
            shutil.copy(file, temporary)


def write_site(folder):
    """The static site, whole or not at all: website.py."""
    from pvt_numpy.system.cli import printable
    from pvt_numpy.system.files import atomic_folder

    with atomic_folder(folder) as temporary:
        import website

        website.build(temporary)
    files = [path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()]
    print(f"{printable(folder)}: {len(files)} files, {sum(files) / 1e6:.1f} MB; open index.html in a browser")


def main(argv=None):
    """The script. A notebook is replaced whole or not at all."""
    from pvt_numpy.system.cli import whole_number
    from pvt_numpy.system.files import atomic_file

    parser = argparse.ArgumentParser(
        prog="python notebooks/build.py", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Makes the notebooks from their sources in notebooks/source and runs them.", epilog=EPILOG,
    )  # fmt: skip
    parser.add_argument("numbers", nargs="*", type=whole_number(0, len(sources()) - 1), metavar="NUMBER",
                        help=f"which notebooks, from 0 to {len(sources()) - 1} (default: all)")  # fmt: skip
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--student", nargs="?", const="student", metavar="DIR",
                         help="instead, write what students get, without solutions and outputs, into this new or empty "
                              "folder (default: student)")  # fmt: skip
    instead.add_argument("--site", metavar="DIR", help="instead, write the static site into this new or empty folder")
    options = parser.parse_args(argv)
    if options.site is not None:
        if options.numbers:
            parser.error("--site: found a notebook's number too; expected one or the other")
        return write_site(options.site)
    chosen = [sources()[number] for number in options.numbers or range(len(sources()))]
    if options.student is not None:
        return write_class(options.student, chosen)
    for source in chosen:
        start = time.perf_counter()
        notebook = executed(unexecuted(source))
        target = HERE / f"{source.stem}.ipynb"
        text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        with atomic_file(target) as file:
            file.write(text.encode("utf-8"))
        print(f"{target.name}: {time.perf_counter() - start:.0f} s, {target.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))  # the package is used from its checkout
    from pvt_numpy.system.cli import run

    run(main, "build")
