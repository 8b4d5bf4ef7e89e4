"""The explorer in a real browser: what it shows is what the forward pass computed, by mouse, by finger and by keyboard.

Skipped if there is no Chromium with chromedriver and selenium; with PVT_REQUIRE_BROWSER=1 it fails there instead.
"""

from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy.explorer import page as page_module
from pvt_numpy.explorer.pack import pack
from pvt_numpy.explorer.page import explore
from tests.explorer import browser
from tests.explorer.browser import click, point, press, text
from tests.explorer.explorer_pages import cosines, data_of, kept_queries, model_of, stages_of, trace_of
from tests.processes import BALL

pytestmark = pytest.mark.browser


def shown_values(driver):
    """What the lit areas on the photo are made from, for the current query and choice."""
    return np.array(driver.execute_script("return Array.from(valuesAt(state.place, state.block, state.head))"))


def rows_of(driver, selector):
    return driver.find_elements("css selector", f"{selector} tr")


def table_of(driver):
    """The rows of the arithmetic table as texts: key, q·k, score, power, probability."""
    rows = rows_of(driver, "#contributions tbody")
    return [[cell.text for cell in row.find_elements("css selector", "td")[:5]] for row in rows]


def number(shown):
    return float(shown.replace("−", "-").replace("%", "").strip())


# Numbers


@pytest.mark.parametrize("kind", ["v1", "v2", "linear", "shipped"])
def test_every_number_is_the_forward_pass_s_within_the_stated_error(view, kind):
    driver, trace = view(kind), trace_of(kind)
    for i, stage in enumerate(stages_of(kind)):
        queries, within = kept_queries(stage), stage["errors"]
        for j, block in enumerate(stage["blocks"]):
            name = f"stages.{i}.blocks.{block['index']}.attn"
            probs, scores = trace[f"{name}.probs"][0], trace[f"{name}.scores"][0]
            for n in (0, len(queries) // 3, len(queries) - 1):
                *shown, channels = driver.execute_script(
                    """const [i, j, n] = arguments, stage = page.stages[i], block = stage.blocks[j];
                    const heads = [...Array(stage.heads).keys()];
                    return [heads.map((h) => Array.from(scoresOf(stage, block, h, n))),
                            heads.map((h) => Array.from(attentionOf(stage, block, h, n))),
                            Array.from(attentionOf(stage, block, MEAN, n)), stage.d]""", i, j, n)  # fmt: skip
                assert channels == stage["channels"] // stage["heads"]
                exact = scores[:, queries[n]], probs[:, queries[n]], probs[:, queries[n]].mean(0)
                score, probability, mean = (np.abs(np.array(a) - b).max() for a, b in zip(shown, exact, strict=True))
                assert score <= within["score"] + 2e-5
                assert max(probability, mean) <= within["probability"] + 1e-6


@pytest.mark.parametrize("kind", ["v1", "linear", "shipped"])
def test_the_reverse_view_is_a_column_of_the_forward_pass_s_table(view, kind):
    driver = view(kind)
    for i, stage in enumerate(stages_of(kind)):
        probs = trace_of(kind)[f"stages.{i}.blocks.0.attn.probs"][0]
        for m in (0, stage["keys"] // 2, stage["keys"] - 1):
            for head in (0, stage["heads"] - 1, -1):
                shown = driver.execute_script(
                    """const [i, head, m] = arguments, stage = page.stages[i];
                    return Array.from(readersOf(stage, stage.blocks[0], head, m))""", i, head, m)  # fmt: skip
                exact = probs[:, :, m].mean(0) if head == -1 else probs[head, :, m]
                assert np.abs(np.array(shown) - exact).max() <= stage["errors"]["probability"] + 1e-6


@pytest.mark.parametrize("kind", ["v1", "shipped"])
def test_similarity_is_the_cosine_of_the_map(view, kind):
    driver = view(kind)
    for i, stage in enumerate(stages_of(kind)):
        features = trace_of(kind)[f"stages.{i}"][0].reshape(stage["channels"], -1).T.astype(np.float64)
        n = len(features) // 2
        cosines_of = "const s = page.stages[arguments[0]];return Array.from(cosinesOf(s, s.classTokens + arguments[1]))"
        shown = driver.execute_script(cosines_of, i, n)
        assert np.abs(np.array(shown) - cosines(features[n : n + 1], features)[0]).max() < 0.02
        assert np.argmax(shown) == n


def test_the_table_adds_up_and_shows_the_model_s_numbers(view):
    driver = view()
    point(driver, 0.47, 0.47, press_too=True)
    press(driver, "3h")  # from the mean to head 1
    assert text(driver, "#chosen") == "Stage 3 · block 2 · head 1"
    attn = "stages.2.blocks.1.attn"  # of row 7, column 7
    probs, scores = (trace_of("shipped")[f"{attn}.{name}"][0, 0, 6 * 14 + 6] for name in ("probs", "scores"))
    rows = table_of(driver)
    order = np.argsort(-probs)
    assert [row[0] for row in rows] == [f"row {m // 7 + 1}, column {m % 7 + 1}" for m in order[: len(rows)]]
    error = stages_of("shipped")[2]["errors"]
    for (_, product, score, power, share), m in zip(rows, order[: len(rows)], strict=True):
        assert abs(number(share) - probs[m]) <= error["probability"] + 0.6e-5
        assert abs(number(score) - scores[m]) <= error["score"] + 0.6e-3
        assert abs(number(product) - scores[m] * 32**0.5) <= 6 * error["score"] + 0.6e-3
        assert abs(number(power) - np.exp(scores[m] - scores.max())) <= 2 * error["score"] + 0.6e-4
    rest, total = (row.text.split() for row in rows_of(driver, "#contributions tfoot"))
    assert number(total[-1]) == 1
    assert abs(number(rest[-1]) - np.sort(probs)[: -len(rows)].sum()) < 2e-4
    assert f"sum of 32 products = {rows[0][1]}" in text(driver, "#product-sum")


def test_a_key_chosen_in_the_table_shows_its_product(view):
    driver = view()
    point(driver, 0.5, 0.5, press_too=True)
    click(driver, "#contributions tbody tr:nth-child(3) button")
    row = table_of(driver)[2]
    assert text(driver, "#product-key") == f"with the key {row[0]}"
    assert row[1] in text(driver, "#product-sum")
    key = driver.execute_script("return Array.from(keyVector(state.stage, state.block, 0, state.key))")
    r, c = (int(word.strip(",")) - 1 for word in row[0].split()[1::2])
    exact = trace_of("shipped")["stages.1.blocks.0.attn.k"][0, 0, r * 7 + c]
    np.testing.assert_allclose(key, exact, atol=1e-3)


# Moving about


def test_it_loads_with_names_answer_and_shapes(view):
    driver = view()
    assert driver.title == "golf_ball.jpg · what does a pixel attend to?"
    assert text(driver, ".source") == "golf_ball.jpg · pvt_v2_b0_imagenette · answer: golf ball 93.1 %"
    press(driver, "1")
    assert "3136 × 49 instead of 3136 × 3136, 64 times fewer" in text(driver, "#shape-words")
    assert "Q, queries 1 × 3136 × 32" in text(driver, "#shapes")
    assert len(rows_of(driver, "#predictions tbody")) == 5
    facts = text(driver, "#facts")
    assert all(words in facts for words in ("squashed to 224 × 224 (bicubic)", "3,412,330", "licence"))
    stated = [number(row.text.split()[3]) for row in rows_of(driver, "#errors tbody")]
    assert stated == [float(f"{stage['errors']['probability']:.1e}") for stage in stages_of("shipped")]


def test_the_mouse_moves_the_query_and_a_click_pins_it(view):
    driver = view()
    point(driver, 0.1, 0.2)
    assert text(driver, "#caption").startswith("Query row 6, column 3 reads most from")
    values, high = shown_values(driver), text(driver, "#legend-high")
    row, column = divmod(int(np.argmax(values)), 7)
    assert all(words in text(driver, "#caption") for words in (f"row {row + 1}, column {column + 1}", high))
    assert abs(number(high) / 100 - values.max()) < 6e-4
    assert text(driver, "#pinned-caption").startswith("Click the picture")
    point(driver, 0.1, 0.2, press_too=True)
    kept = text(driver, "#pinned-caption")
    assert kept.startswith("Query row 6, column 3 reads most")
    point(driver, 0.6, 0.7)
    assert text(driver, "#pinned-caption") == kept
    assert text(driver, "#caption").startswith("Query row 20, column 17")
    assert "The pinned query, row 6, column 3" in text(driver, "#arithmetic-subject")
    click(driver, "#pin-button")
    assert text(driver, "#pinned-caption").startswith("Click the picture")
    assert "under the pointer, row 20, column 17" in text(driver, "#arithmetic-subject")


def test_a_finger_moves_the_query(view):
    driver = view(width=390)
    box = driver.execute_script("const b = photo.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]")

    def touch(kind, x, y):
        points = [] if kind == "touchEnd" else [{"x": box[0] + x * box[2], "y": box[1] + y * box[3]}]
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        touch("touchStart", 0.2, 0.2)
        touch("touchMove", 0.52, 0.81)
        touch("touchEnd", 0.52, 0.81)
        browser.settle(driver)
    finally:
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    assert text(driver, "#caption").startswith("Query row 23, column 15")
    assert driver.execute_script("return scrollY") == 0  # the drag chose, it did not scroll


def test_the_keyboard_does_everything(view):
    from selenium.webdriver import Keys

    driver = view()
    point(driver, 0.51, 0.51)
    for keys, place in (([Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.ARROW_UP], "row 13, column 14"),
                        ([Keys.SHIFT + Keys.ARROW_RIGHT + Keys.NULL], "row 13, column 18"),
                        ([Keys.ARROW_DOWN] * 40, "row 28, column 18")):  # fmt: skip
        press(driver, *keys, on="#photo-canvas")
        assert text(driver, "#caption").startswith(f"Query {place}")
    press(driver, Keys.ENTER, on="#photo-canvas")
    assert text(driver, "#pinned-caption").startswith("Query row 28, column 18")
    browser.wait(lambda: text(driver, "#live").startswith("Pinned. Stage 2"))
    press(driver, Keys.ESCAPE)
    assert text(driver, "#pinned-caption").startswith("Click the picture")
    for keys, expected in [("4", "Stage 4 · block 2 · mean of 8 heads"), ("h", "Stage 4 · block 2 · head 1"),
                           ("hh", "Stage 4 · block 2 · head 3"), ("H", "Stage 4 · block 2 · head 2"),
                           ("b", "Stage 4 · block 1 · head 2"), ("m", "Stage 4 · block 1 · mean of 8 heads"),
                           ("H", "Stage 4 · block 1 · head 8"), ("2", "Stage 2 · block 2 · head 2"),
                           ("1", "Stage 1 · block 2 · its only head"),
                           ("9", "Stage 1 · block 2 · its only head")]:  # fmt: skip
        press(driver, keys)
        assert text(driver, "#chosen") == expected
    press(driver, "r")
    assert text(driver, "#caption").startswith("The key row 7, column 5 is read most by")
    press(driver, "r")
    assert text(driver, "#caption").startswith("Query row 5")
    browser.wait(lambda: "Stage 1 · block 2 · its only head. Query row 5" in text(driver, "#live"))


def test_buttons_choose_stage_block_head_and_direction(view):
    driver = view()
    click(driver, "#pyramid button:nth-child(3)")
    assert text(driver, "#chosen") == "Stage 3 · block 2 · mean of 5 heads"
    click(driver, "#multiples button[aria-label='Block 1, head 4']")
    assert text(driver, "#chosen") == "Stage 3 · block 1 · head 4"
    pressed = driver.find_elements("css selector", "[aria-pressed='true']")
    names = [one.get_attribute("aria-label") or one.text.split("\n")[0] for one in pressed]
    assert set(names) >= {"reads from", "Stage 3", "Block 1, head 4"}
    click(driver, "#reverse")
    key = driver.execute_script("return keyAt(state.stage, state.place)")
    values, exact = shown_values(driver), trace_of("shipped")["stages.2.blocks.0.attn.probs"][0, 3, :, key]
    assert values.shape == exact.shape == (196,)
    assert np.abs(values - exact).max() <= stages_of("shipped")[2]["errors"]["probability"] + 1e-6
    row, column = divmod(int(np.argmax(exact)), 14)
    assert f"by the query row {row + 1}, column {column + 1}" in text(driver, "#caption")
    click(driver, "#forward")
    assert len(shown_values(driver)) == 49


def test_small_pictures_are_one_tab_stop_with_arrow_keys(view):
    from selenium.webdriver import Keys

    driver = view()
    press(driver, "3")
    stops = driver.find_elements("css selector", "#multiples button[tabindex='0']")
    assert [one.get_attribute("aria-label") for one in stops] == ["Block 2, mean"]
    stops[0].send_keys(Keys.ARROW_RIGHT)
    driver.switch_to.active_element.send_keys(Keys.ARROW_UP)
    browser.settle(driver)
    assert driver.switch_to.active_element.get_attribute("aria-label") == "Block 1, head 1"
    assert text(driver, "#chosen") == "Stage 3 · block 1 · head 1"


@pytest.mark.parametrize(("kind", "stage", "columns"), [
    ("shipped", "3", 7), ("v2", "1", 4), ("linear", "2", 7), ("v1", "3", 4)])  # fmt: skip
def test_the_photo_is_lit_where_the_query_reads(view, kind, stage, columns):
    driver = view(kind)
    press(driver, stage)
    point(driver, 0.3, 0.3)
    values = shown_values(driver)
    values = values[1:] if kind == "v1" else values  # the class token's key has no place on the photo
    best = int(np.argmax(values))
    assert f"the key row {best // columns + 1}, column {best % columns + 1}:" in text(driver, "#caption")
    # alpha of the veil in every key's square, away from lines and boxes, and in the last corner of the photo
    *veil, corner = driver.execute_script(
        """const { keyGrid: [rows, columns], keyCell } = state.stage, { width, height } = photo;
        const { data } = photo.getContext("2d").getImageData(0, 0, width, height);
        const alpha = (x, y) => data[4 * (Math.floor(y) * width + Math.floor(x)) + 3];
        const keys = Array.from({ length: rows * columns }, (_, m) =>
          alpha((m % columns + 0.72) * keyCell[1] * width, (Math.floor(m / columns) + 0.28) * keyCell[0] * height));
        return [...keys, alpha(width - 2, height - 2)]""")  # fmt: skip
    assert np.argmin(veil) == best
    assert min(veil) < 90
    assert np.corrcoef(veil, values)[0, 1] < -0.99  # in proportion: twice the share, twice as far from the veil
    if kind == "v2":  # 23 x 18 tokens make 5 x 4 keys of 4 x 4: the last rows and columns are in none
        assert corner > 205


def test_the_class_token_asks_and_is_no_part_of_the_picture(view):
    driver = view("v1")
    assert not driver.find_element("id", "class-button").is_enabled()
    press(driver, "3")
    click(driver, "#class-button")
    assert text(driver, "#caption").startswith("The class token reads most from")
    values = shown_values(driver)
    exact = trace_of("v1")["stages.2.blocks.1.attn.probs"][0, :, 0].mean(0)
    assert np.abs(values - exact).max() < 1e-4
    assert len(values) == 5 * 4 + 1
    assert driver.find_element("id", "class-token").is_displayed()
    assert "It keeps" in text(driver, "#class-caption")
    # at last to a stage without a class token, where the place on the photo counts again
    for keys, caption in (("r", "The class token is read most by "), ("rc", "Query row"), ("c2", "Query row")):
        press(driver, keys)
        assert text(driver, "#caption").startswith(caption)


def test_rollout_is_shown_for_every_model(view):
    driver = view("v2")
    assert "Pyramid rollout" in text(driver, "#rollout-caption")
    assert not any(driver.find_element("id", name).is_displayed() for name in ("class-button", "class-token"))


def lacking(monkeypatch, kind, budget):
    """The page of a small model with so little room, and its stages."""
    monkeypatch.setattr(page_module, "pack", lambda trace, config: pack(trace, config, budget))
    page = explore(BALL, model_of(kind))
    return page, data_of(page.html)["stages"]


def test_a_page_that_lacks_something_says_so_and_stays_true(view, monkeypatch):
    page, stages = lacking(monkeypatch, "v2", 9_000)
    driver, trace = view(page), trace_of("v2")
    assert any(stage["stride"] > 1 for stage in stages)
    for i, stage in enumerate(stages):
        press(driver, str(i + 1))
        note = text(driver, "#shapes-note")
        assert ("row and column of queries can be chosen" in note) == (stage["stride"] > 1)
        assert (f"of the {stage['depth']} blocks are on this page" in note) == (len(stage["blocks"]) < stage["depth"])
        point(driver, 0.62, 0.41)
        n = driver.execute_script("return queryAt(state.stage, state.place)")
        query = kept_queries(stage)[n]
        row, column = divmod(query, stage["grid"][1])
        assert text(driver, "#caption").startswith(f"Query row {row + 1}, column {column + 1} ")
        last = stage["blocks"][-1]["index"]
        exact = trace[f"stages.{i}.blocks.{last}.attn.probs"][0][:, query].mean(0)
        assert np.abs(shown_values(driver) - exact).max() <= stage["errors"]["probability"] + 1e-6


def test_a_stage_with_scores_only_says_so(view, monkeypatch):
    page, stages = lacking(monkeypatch, "v1", 26_000)
    first = [stage["onlyScores"] for stage in stages].index(True)
    driver = view(page)
    press(driver, str(first + 1))
    assert "has its scores on this page, but not the q and k" in text(driver, "#product-channels")
    assert "8, scores" in text(driver, "#errors")
    point(driver, 0.5, 0.5, press_too=True)
    assert number(rows_of(driver, "#contributions tfoot")[1].text.split()[-1]) == 1


def test_a_regression_s_answer_is_its_value(view):
    model = model_of("v2")
    driver = view(explore(BALL, replace(model, config=replace(model.config, problem_type="regression"))))
    best = data_of(driver.page_source)["predictions"][0]
    assert best["value"] == best["logit"]
    first = rows_of(driver, "#predictions tbody")[0].text
    assert text(driver, "#predictions thead").split()[-1].lower() == "value"
    assert first.count(f"{abs(best['value']):.3f}") == 2
    assert "%" not in first + text(driver, "#model")
