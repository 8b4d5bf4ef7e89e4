"""The teacher's pack: questions whose answers are right, links that lead somewhere, minutes for every exercise."""

import math
import re
import shlex
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("jupytext")
from pvt_numpy import VARIANTS, init_params, load_model, parameter_shapes, preprocess, train
from pvt_numpy.config import stage_grids
from pvt_numpy.layers.attention import attend, attend_backward, attention
from pvt_numpy.layers.convolution import conv2d
from pvt_numpy.layers.depthwise import depthwise_conv2d
from pvt_numpy.layers.layernorm import layer_norm
from pvt_numpy.layers.patch_embed import patch_embed
from pvt_numpy.layers.softmax import softmax, softmax_backward
from pvt_numpy.model import forward
from pvt_numpy.reference.mistakes import made
from pvt_numpy.system.paths import SAMPLE_PICTURE
from pvt_numpy.training.shapes import draw_shapes
from tests.house.test_notebooks import FOLDER, NOTEBOOKS, build

import classroom  # isort: skip  (build.py has put its folder on the path)

PACK = FOLDER / "teaching"
TEXT = (PACK / "questions.md").read_text(encoding="utf-8")
QUESTIONS = re.split(r"^## (?=\d+\. )", TEXT, flags=re.MULTILINE)[1:]
RNG = np.random.default_rng(15)


def headings(name):
    """The anchors of a notebook's headings, as Jupyter makes them, or of a Markdown file's, as GitHub does."""
    path = FOLDER / name
    if path.suffix == ".ipynb":
        cells = build.unexecuted(FOLDER / "source" / f"{path.stem}.py").cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        return {title.strip().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)}
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def layer(out, width):
    return {"weight": RNG.normal(size=(out, width)), "bias": RNG.normal(size=out)}


def sra(tokens, heads=1, ratio=1, C=8):
    """Attention with random weights on tokens (1, N, C), a square grid of them."""
    side = math.isqrt(tokens.shape[1])
    reducing = {"sr": {"weight": RNG.normal(size=(C, C, ratio, ratio)), "bias": np.zeros(C)},
                "norm": {"weight": np.ones(C), "bias": np.zeros(C)}} if ratio > 1 else {}  # fmt: skip
    return attention(tokens, (side, side), layer(C, C), layer(2 * C, C), layer(C, C), **reducing, heads=heads,
                     ratio=ratio, eps=1e-6)  # fmt: skip


def keys(side, name="pvt_v2_b2"):
    H, W = stage_grids(VARIANTS[name], (side, side))[0]
    return H * W // VARIANTS[name].sr_ratios[0] ** 2


def shuffled_alike():
    arguments, tokens, order = (
        (layer(8, 8), layer(16, 8), layer(8, 8)),
        RNG.normal(size=(1, 49, 8)),
        RNG.permutation(49),
    )
    one, other = (attention(x, (7, 7), *arguments, heads=2, ratio=1, eps=1e-6)[0] for x in (tokens, tokens[:, order]))
    return np.allclose(one[:, order], other) and not np.allclose(one, other)


def zeros_tell():
    kernel, flat = RNG.normal(size=(5, 1, 3, 3)), np.ones((1, 9, 9, 5))
    with_zeros, inside = depthwise_conv2d(flat, kernel), depthwise_conv2d(flat, kernel)[:, 1:-1, 1:-1]
    return np.ptp(with_zeros, axis=(1, 2)).min() > 0.01 and np.ptp(inside, axis=(1, 2)).max() < 1e-12


def patches_are_a_product():
    picture, kernel = RNG.normal(size=(1, 8, 12, 3)), RNG.normal(size=(5, 3, 4, 4))
    rows = picture.reshape(2, 4, 3, 4, 3).transpose(0, 2, 1, 3, 4).reshape(6, 48)
    unit = {"weight": np.ones(5), "bias": np.zeros(5)}
    _, grid = patch_embed(picture, {"weight": kernel, "bias": np.zeros(5)}, unit, stride=4, eps=1e-6)
    product = rows @ kernel.transpose(2, 3, 1, 0).reshape(48, 5)
    return grid == (2, 3) and np.allclose(conv2d(picture, kernel, stride=4).reshape(6, 5), product)


def one_matrix_for_all_heads():
    config = VARIANTS["pvt_v2_b0"]
    one, eight = (parameter_shapes(replace(config, num_attention_heads=(h,) * 4)) for h in (1, 8))
    return one == eight


def only_its_own_token():
    x, w, b = RNG.normal(size=(2, 5, 6)), RNG.normal(size=6), RNG.normal(size=6)
    other = x.copy()
    other[0, 1:], other[1] = 7, -7
    return np.array_equal(layer_norm(x, w, b, eps=1e-6)[0, 0], layer_norm(other, w, b, eps=1e-6)[0, 0])


def sure_heads_hardly_learn():
    dy, sure, unsure = RNG.normal(size=(1, 6)), 30.0 * np.eye(6)[:1], np.zeros((1, 6))
    return np.abs(softmax_backward(dy, sure)).max() < 1e-10 < 0.01 < np.abs(softmax_backward(dy, unsure)).max()


def two_gradients_are_added():
    weights, x, dy = (layer(4, 4), layer(8, 4), layer(4, 4)), RNG.normal(size=(1, 5, 4)), RNG.normal(size=(1, 5, 4))
    direct, reduced, _ = attend_backward(dy, x, x, *weights, 2)
    u = RNG.normal(size=x.shape)
    up, down = (attend(x + h * u, x + h * u, *weights, 2)[0] for h in (1e-6, -1e-6))
    slope = ((up - down) * dy).sum() / 2e-6
    wrongs = [direct, reduced, (direct + reduced) / 2, direct * reduced]
    near = [math.isclose((g * u).sum(), slope, rel_tol=1e-5) for g in (direct + reduced, *wrongs)]
    return near == [True, False, False, False, False]


def any_size_with_the_same_weights():
    config = VARIANTS["pvt_v2_b0"]
    larger, v1 = replace(config, image_size=320), VARIANTS["pvt_tiny"]
    small = replace(config, hidden_sizes=(5, 10, 15, 20), num_attention_heads=(1, 1, 1, 1), num_labels=3)
    params = init_params(small, np.random.default_rng(0))
    runs = forward(RNG.normal(size=(1, 3, 96, 160)).astype(np.float32), params, small).logits.shape == (1, 3)
    others = parameter_shapes(replace(v1, image_size=320)) != parameter_shapes(v1)
    return runs and others and parameter_shapes(larger) == parameter_shapes(config) and keys(320, "pvt_v2_b0") == 100


def the_same_five():
    model = load_model()
    pixels = preprocess(SAMPLE_PICTURE, **model.preprocessing)
    right = forward(pixels, model.params, model.config).logits
    with made("gelu"):
        wrong = forward(pixels, model.params, model.config).logits
    five = [np.argsort(-logits[0])[:5].tolist() for logits in (right, wrong)]
    return five[0] == five[1] and np.abs(right - wrong).max() > 1e-5


def shares_sum_to_one_anyway():
    scores = 100 * RNG.normal(size=(3, 7))
    spreads = [(RNG.normal(size=(2, 4000, d)).prod(axis=0)).sum(axis=-1).std() / math.sqrt(d) for d in (4, 64)]
    return np.allclose(softmax(scores).sum(axis=-1), 1) and np.allclose(spreads, 1, atol=0.1)


ANSWERS = {  # question -> the right letter, and what shows it
    1: ("B", lambda: [a.shape for a in sra(RNG.normal(size=(1, 64, 8)), 2, 4)] == [(1, 64, 8), (1, 2, 64, 4)]),
    2: ("B", lambda: keys(448) == 196 and keys(224) == 49),
    3: ("C", shares_sum_to_one_anyway),
    4: ("B", shuffled_alike),
    5: ("C", zeros_tell),
    6: ("A", patches_are_a_product),
    7: ("D", lambda: 56**2 * keys(224) * 16 == 112**2 * keys(448)),
    8: ("A", one_matrix_for_all_heads),
    9: ("B", lambda: [n for n in parameter_shapes(VARIANTS["pvt_tiny"]) if "cls" in n] == ["stages.3.cls_token"]
        and parameter_shapes(VARIANTS["pvt_tiny"])["stages.3.pos_embed"] == (1, 50, 512)),
    10: ("D", only_its_own_token),
    11: ("D", None),
    12: ("C", sure_heads_hardly_learn),
    13: ("C", two_gradients_are_added),
    14: ("A", any_size_with_the_same_weights),
    15: ("D", the_same_five),
}  # fmt: skip


def test_there_are_fifteen_questions():
    assert [int(question.partition(".")[0]) for question in QUESTIONS] == list(ANSWERS) == list(range(1, 16))
    letters = [letter for letter, _ in ANSWERS.values()]
    assert max(map(letters.count, "ABCD")) <= 5  # who always votes for one letter does not do well


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.splitlines()[0])
def test_a_question_names_the_misconception_behind_each_wrong_answer(question):
    (right,) = re.findall(r"^\*\*([A-D])\.\*\*", question, flags=re.MULTILINE)
    assert right == ANSWERS[int(question.partition(".")[0])][0]
    offered = re.findall(r"^- \*\*([A-D])\*\* ", question, flags=re.MULTILINE)
    explained = re.findall(r"^- ([A-D]) ", question, flags=re.MULTILINE)
    assert offered == list("ABCD")
    assert explained == [letter for letter in offered if letter != right]
    assert len(re.findall(r"\]\(\.\./\d\d_\w+\.ipynb#", question)) == 1


@pytest.mark.parametrize("number", [n for n, (_, shown) in ANSWERS.items() if shown])
def test_the_answer_is_right(number):
    assert ANSWERS[number][1]()


@pytest.mark.parametrize("file", sorted(PACK.glob("*.md")), ids=lambda file: file.name)
def test_links_lead_to_sections_that_exist(file):
    text = file.read_text(encoding="utf-8")
    for path, anchor in re.findall(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)", text):
        assert (file.parent / path).exists(), path
        if anchor:
            assert anchor in headings((file.parent / path).resolve().relative_to(FOLDER))


def test_the_minutes_cover_every_exercise():
    found = re.findall(r"^\| (\d)\.(\d+) \| .* \| (\d+) \|$", (PACK / "exercises.md").read_text(encoding="utf-8"),
                       flags=re.MULTILINE)  # fmt: skip
    there = [(int(name[:2]), n) for name in NOTEBOOKS
             for n in classroom.exercises(build.unexecuted(FOLDER / "source" / f"{name}.py"))]  # fmt: skip
    assert [(int(notebook), int(n)) for notebook, n, _ in found] == there
    assert all(2 <= int(minutes) <= 45 for *_, minutes in found)


def test_the_plan_is_ninety_minutes_without_a_gap():
    spans = re.findall(r"^\| (\d+)–(\d+) \|", (PACK / "plan.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    ends = [0, *(int(end) for _, end in spans)]
    assert [int(start) for start, _ in spans] == ends[:-1]
    assert ends[-1] == 90


def test_the_lab_fits_its_minutes():
    text = (PACK / "lab.md").read_text(encoding="utf-8")
    parts = [int(n) for n in re.findall(r"^### .*\((\d+) min\)$", text, flags=re.MULTILINE)]
    assert sum(parts) == int(re.search(r"(\d+) minutes", text)[1]) == 28
    assert "| 50–78 | Lab" in (PACK / "plan.md").read_text(encoding="utf-8")


def test_the_commands_of_the_assignment_run_as_typed(tmp_path, monkeypatch, capsys):
    """In order, with a few drawn shapes in place of photos; the one that trains all of the network is only read."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8").split("## An assignment", 1)[1].split("\n## ", 1)[0]
    lines = [shlex.split(line)[2:] for line in re.findall(r"^ {7}(python -m pvt_numpy\..*)$", text, flags=re.MULTILINE)]
    assert [line[0].removeprefix("pvt_numpy.") for line in lines] == ["train", "classify", "explore", "train"]
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    for kind, name in enumerate(("mug", "key", "plant")):
        for folder in ("my_photos", "my_new_photos"):
            (tmp_path / folder / name).mkdir(parents=True)
            for n in range(4):
                picture = Image.fromarray(draw_shapes([kind], 64, rng)[0])
                picture.save(tmp_path / folder / name / f"{n}.png")
    for n in (1, 2):
        picture.save(tmp_path / f"new_{n}.jpg")
    for command, *arguments in lines[:-1]:
        assert not import_module(command).main(arguments)
    assert {"model.safetensors", "curve.png", "confusion.png"} <= {
        p.name for p in (tmp_path / "runs" / "mine").iterdir()
    }
    assert (tmp_path / "new_1.html").stat().st_size > 10_000
    assert "right " in capsys.readouterr().out
    assert train.make_parser().parse_args(lines[-1][1:]).output == "runs/all"
