"""Every figure in words: what is said is in the numbers that were drawn, and it goes wherever the figure goes."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure
from PIL import Image

from pvt_numpy import plots, pyramid
from pvt_numpy.analysis.rollout import head_statistics, pyramid_rollout
from pvt_numpy.plots.figures import drawing, for_notebook
from pvt_numpy.plots.words import described
from pvt_numpy.reference.comparison import Difference
from tests.plots.plot_cases import V1, V2, traced

PHOTO, TRACE, X, PARAMS = traced(V2)


def place(weights, shape):
    """ "row 2, column 1", of the largest of them, found with loops."""
    best = max((weights[y * shape[1] + x], -y, -x) for y in range(shape[0]) for x in range(shape[1]))
    return f"row {1 - best[1]}, column {1 - best[2]} ({best[0]:.3g})"


def of_attention():
    probs = TRACE["stages.2.blocks.0.attn.probs"][0, :, 2 * 6 + 3]  # 4 x 6 tokens, the middle one
    said = [f"Head {h + 1} reads most {place(probs[h], (2, 3))}" for h in range(5)]
    return plots.attention(PHOTO, TRACE, V2), [
        *said,
        "row 3, column 4 of 4 × 6 asks 2 × 3 keys",
        "each would have 0.167",
    ]


def of_stages():
    probs = TRACE["stages.3.blocks.1.attn.probs"][0, :, 1 * 3 + 1].mean(axis=0)
    return plots.attention_stages(PHOTO, TRACE, V2), [f"Stage 4, block 2, 6 × 6 scores: {place(probs, (2, 3))}"]


def of_the_class_token():
    photo, trace, _, _ = traced(V1)
    mean = trace["stages.3.blocks.1.attn.probs"][0, :, 0].mean(axis=0)
    said = f"Block 2, mean of 4 heads: itself {mean[0]:.3g}; most {place(mean[1:], (2, 3))}"
    return plots.class_attention(photo, trace, V1), [said, "each would have 0.143"]


def of_statistics():
    bits = [s.entropy for s in head_statistics(TRACE, V2) if s.stage == 2]
    return plots.statistics(TRACE, V2), [f"Stage 3, 5 heads: entropy from {min(bits):.3g} to {max(bits):.3g} bits"]


def of_rollout():
    last = pyramid_rollout(TRACE, V2)[3].ravel() * 6
    return plots.rollout(PHOTO, TRACE, V2), [f"Entering stage 4, 2 × 3: {place(last, (2, 3))}", "mean of all tokens"]


def of_the_pyramid():
    return plots.pyramid(PHOTO, pyramid(X, PARAMS, V2)), [
        "64 × 96 pixels × 3",
        "stage 2 8 × 12 tokens × 8",
        "2 × 3 tokens",
    ]


def of_positions():
    table = np.zeros((1, 6, 2))
    table[0, :, 0] = 1, 1, 1, -1, -1, -1  # two rows of three, each the opposite of the other
    return plots.positions(table, (2, 3), (1, 4)), [
        "one below -1 and the one beside it 1",
        "Resized, 1 × 4 positions × 2",
    ]


def of_curves():
    history = [{"epoch": n + 1, "train_loss": loss, "train_accuracy": 0.5} for n, loss in enumerate((3, 1, 2))]
    return plots.curves(history), ["Loss in training, augmented: 3 at 1, 2 at 3, lowest 1 at 2", "3 epochs"]


def of_an_overlay():
    maps = {"a map": np.array([[0.0, 2.0], [-5.0, 1.0]])}
    figure = plots.overlay(PHOTO, maps, label="the fall", signed=True)
    return figure, ["the fall", "A map, 2 × 2: highest row 1, column 2 (2), row 2, column 2 (1)", "lowest -5"]


CASES = {
    "attention": of_attention, "attention_stages": of_stages, "class_attention": of_the_class_token,
    "statistics": of_statistics, "rollout": of_rollout, "pyramid": of_the_pyramid, "positions": of_positions,
    "curves": of_curves, "overlay": of_an_overlay,
    "block": lambda: (plots.block(TRACE, V2, stage=1), ["sr 4 × 4, step 4 and norm", "2 tables of scores 96 × 6"]),
    "sra": lambda: (plots.sra(TRACE, V2, stage=1), ["A map of 8 × 12 tokens × 8", "2 × 3 = 6 keys"]),
    "versions": lambda: (plots.versions({"v1": (traced(V1)[1], V1), "v2": (TRACE, V2)}), ["v2 differs in patches"]),
    "architecture": lambda: (plots.architecture(TRACE, V2), ["64 × 96 × 3", "out come 2 × 3 tokens × 16"]),
    "patches": lambda: (plots.patches(PHOTO, {"v2": V2}), ["21 of 49 pixels", "7 × 7, 15 × 15, 31 × 31 and 63 × 63"]),
    "kernels": lambda: (plots.kernels(np.eye(3)[:, None, None, :] * [[[[1]]], [[[3]]], [[[2]]]]),
                        ["3 kernels of 1 × 3 pixels", "kernel 1 (up to 3), kernel 2 (up to 2)"]),
    "cost": lambda: (plots.cost(V2, sizes=(64, 128)), ["SRA", "at 64 pixels", "at 128 pixels"]),
    "difference": lambda: (plots.difference({"a": [Difference("stages.0.tokens", 1.0, 0.5, 2e-7)]}),
                           ["1 arrays", "largest 2e-07, at stages.0.tokens"]),
    "confusion": lambda: (plots.confusion(np.array([[3, 1], [2, 4]]), ["cat", "dog"], model="m"),
                          ["7 of 10 pictures right (70.0%)", "dog taken for cat (2) and cat taken for dog (1)"]),
    "mistakes": lambda: (plots.mistakes([PHOTO], ["cat,\ntaken for dog (90%)"]), ["Cat, taken for dog (90%)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in plots.__all__ if hasattr(getattr(plots, name), "__wrapped__")])
def test_a_figure_says_in_words_what_it_shows(name):
    figure, facts = CASES[name]()
    for fact in facts:
        assert fact in figure.alt
    assert len(figure.alt) < 1500
    assert "\n" not in figure.alt


def test_a_notebook_keeps_the_words_and_a_page_made_from_it_shows_them():
    """Under the name that nbconvert's classic template reads; its other templates leave it out."""
    nbconvert, nbformat = pytest.importorskip("nbconvert"), pytest.importorskip("nbformat")
    figure = plots.cost(V2, title='what "full" <attention> costs')
    data, about = for_notebook(figure)
    assert data["text/plain"] == about["image/png"]["alt"] == figure.alt
    data["image/png"] = "aGVsbG8="
    output = nbformat.v4.new_output("execute_result", data, metadata=about, execution_count=1)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("plots.cost(V2)", outputs=[output])])
    page, _ = nbconvert.HTMLExporter(template_name="classic").from_notebook_node(
        nbformat.from_dict(json.loads(json.dumps(notebook)))
    )
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append(dict(attributes).get("alt")) if tag == "img" else None
    parser.feed(page)
    assert found == [figure.alt]


def shown(path):
    with Image.open(path) as picture:
        return picture.info["Description"]


def test_a_file_keeps_the_words(tmp_path):
    figure = plots.cost(V2)
    for name in ("a.png", "a.svg", "a.pdf"):
        plots.save(figure, tmp_path / name)
    assert shown(tmp_path / "a.png") == figure.alt
    assert figure.alt in (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert b"/Subject" in (tmp_path / "a.pdf").read_bytes()


def test_a_figure_of_the_readers_own_is_described_from_what_it_holds():
    @drawing
    def mine():
        figure = Figure()
        figure.suptitle("two\npanels")
        left, right = figure.subplots(1, 2)
        left.plot([0, 1, 2], [4.0, 1.0, 2.0], label="loss")
        left.axhline(3)
        left.set(title="curve", xlabel="step", ylabel="nats")
        figure.colorbar(right.imshow([[0.0, 0.25]]))
        return figure

    expected = "Two panels. Curve, nats over step: loss: 4 at 0, 2 at 2, lowest 1 at 1. A map of 1 × 2, from 0 to 0.25."
    assert (mine().alt, described(Figure())) == (expected, "")
