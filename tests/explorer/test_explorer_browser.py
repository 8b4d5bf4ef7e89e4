"""The explorer in a real browser: what it shows is what the forward pass computed, by mouse, by finger and by keyboard.

Skipped if there is no Chromium with chromedriver and selenium; with PVT_REQUIRE_BROWSER=1 it fails there instead.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pvt_numpy.explorer import page as page_module
from pvt_numpy.explorer.pack import pack
from pvt_numpy.explorer.page import explore
from tests.explorer import browser
from tests.explorer.browser import FIRST, click, enter, point, press, text
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
    driver = view(address=f"view=attention&{FIRST}")
    point(driver, 0.47, 0.47, press_too=True)
    press(driver, "3b")
    enter(driver, "formula")
    assert text(driver, "#chosen") == "Stage 3 · block 2 · head 1"
    attn = "stages.2.blocks.1.attn"  # of row 7, column 7
    probs, scores = (trace_of("shipped")[f"{attn}.{name}"][0, 0, 6 * 14 + 6] for name in ("probs", "scores"))
    rows = table_of(driver)
    order = np.argsort(-probs)
    named = [f"row {m // 7 + 1}, column {m % 7 + 1}" for m in order[: len(rows)]]
    assert [row[0] for row in rows] == [
        f"{mark} {name}".strip() for mark, name in zip("①②③       ", named, strict=True)
    ]
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
    driver = view(address=f"view=attention&{FIRST}")
    point(driver, 0.5, 0.5, press_too=True)
    enter(driver, "formula")
    click(driver, "#contributions tbody tr:nth-child(4) button")
    assert "k" in driver.execute_script(
        "const seen = [], f = paintBox; paintBox = (...a) => seen.push(a[4]); showPhoto(); paintBox = f; return seen"
    )
    row = table_of(driver)[3]
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
    assert text(driver, ".source") == "golf_ball.jpg · pvt_v2_b0_imagenette · answer: golf ball 91.9 %"
    enter(driver, "stage")
    press(driver, "1")
    assert "3136 × 49 instead of 3136 × 3136, 64 times fewer" in text(driver, "#shape-words")
    assert "Q, queries 1 × 3136 × 32" in text(driver, "#shapes")
    enter(driver, "overview")
    assert len([row for row in rows_of(driver, "#predictions tbody") if row.text]) == 5
    facts = text(driver, "#facts")
    assert all(words in facts for words in ("squashed to 224 × 224 (bicubic)", "3,412,330", "licence"))
    stated = [number(row.text.split()[3]) for row in rows_of(driver, "#errors tbody")]
    assert stated == [float(f"{stage['errors']['probability']:.1e}") for stage in stages_of("shipped")]


def test_the_mouse_moves_the_query_and_a_click_pins_it(view):
    driver = view()
    point(driver, 0.1, 0.2)
    assert text(driver, "#caption").startswith("Query row 6, column 3 reads most from ① the key")
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
    enter(driver, "formula")
    assert "The pinned query, row 6, column 3" in text(driver, "#arithmetic-subject")
    click(driver, "#pin-button")
    enter(driver, "attention")
    assert text(driver, "#pinned-caption").startswith("Click the picture")
    enter(driver, "formula")
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

    driver = view(address=f"view=attention&{FIRST}")
    point(driver, 0.51, 0.51)
    for keys, place in (([Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.ARROW_UP], "row 13, column 14"),
                        ([Keys.SHIFT + Keys.ARROW_RIGHT + Keys.NULL], "row 13, column 18"),
                        ([Keys.ARROW_DOWN] * 40, "row 28, column 18")):  # fmt: skip
        press(driver, *keys, on="#photo-canvas")
        assert text(driver, "#caption").startswith(f"Query {place}")
    press(driver, Keys.ENTER, on="#photo-canvas")
    assert text(driver, "#pinned-caption").startswith("Query row 28, column 18")
    browser.wait(lambda: text(driver, "#live").startswith("Pinned. Stage 2"))
    press(driver, Keys.ENTER, on="#photo-canvas")
    assert text(driver, "#pinned-caption").startswith("Click the picture")
    # what was chosen comes back if a stage on the way had less of it
    for keys, expected in [("4", "Stage 4 · block 1 · head 1"), ("hh", "Stage 4 · block 1 · head 3"),
                           ("H", "Stage 4 · block 1 · head 2"), ("b", "Stage 4 · block 2 · head 2"),
                           ("m", "Stage 4 · block 2 · mean of 8 heads"), ("1", "Stage 1 · block 2 · its only head"),
                           ("3", "Stage 3 · block 2 · mean of 5 heads"), ("4H", "Stage 4 · block 2 · head 8"),
                           ("2", "Stage 2 · block 2 · head 2"), ("4", "Stage 4 · block 2 · head 8"),
                           ("1", "Stage 1 · block 2 · its only head"),
                           ("9", "Stage 1 · block 2 · its only head")]:  # fmt: skip
        press(driver, keys)
        assert text(driver, "#chosen") == expected
    press(driver, "m")
    assert text(driver, "#told") == "Stage 1 has only one head: there is no mean."
    press(driver, "r")
    assert text(driver, "#caption").startswith("The key row 7, column 5 is read most by")
    press(driver, "r")
    assert text(driver, "#caption").startswith("Query row 5")
    browser.wait(lambda: "Stage 1 · block 2 · its only head. Query row 5" in text(driver, "#live"))


def test_buttons_choose_stage_block_head_and_direction(view):
    driver = view(address=f"view=attention&{FIRST}")
    click(driver, "#stages button:nth-child(3)")
    assert text(driver, ".chosen") == "Stage 3 · block 1 · head 1 stages.2.blocks.0"
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
    assert f"by ① the query row {row + 1}, column {column + 1}" in text(driver, "#caption")
    click(driver, "#forward")
    assert len(shown_values(driver)) == 49


def test_small_pictures_are_one_tab_stop_with_arrow_keys(view):
    from selenium.webdriver import Keys

    driver = view(address=f"view=attention&{FIRST}")
    press(driver, "3bm")
    stops = driver.find_elements("css selector", "#multiples button[tabindex='0']")
    assert [one.get_attribute("aria-label") for one in stops] == ["Block 2, mean"]
    stops[0].send_keys(Keys.ARROW_RIGHT)
    driver.switch_to.active_element.send_keys(Keys.ARROW_UP)
    browser.settle(driver)
    assert driver.switch_to.active_element.get_attribute("aria-label") == "Block 1, head 1"
    assert text(driver, "#chosen") == "Stage 3 · block 1 · head 1"


# the pixels of a canvas, by way of a copy made for reading
PIXELS = """const pixels = (canvas) => {
    const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height).data;
  };"""
# how far each square is from the greyed picture, and the picture's last corner
DISTANCES = f"""{PIXELS}
  const {{ rows, columns, cell }} = cellsOf(state.stage, state.reverse), {{ width, height }} = photo;
  const [shown, grey] = [pixels(photo), pixels(grounds.get(photo).grey)];
  const distance = (top, bottom, left, right) => {{
    const far = [];
    for (let y = Math.floor(top * height); y < bottom * height; y++) {{
      for (let x = Math.floor(left * width); x < right * width; x++) {{
        far.push(Math.hypot(...[0, 1, 2].map((c) => shown[4 * (y * width + x) + c] - grey[4 * (y * width + x) + c])));
      }}
    }}
    return far.reduce((a, b) => a + b) / far.length;
  }};
  const squares = Array.from({{ length: rows * columns }}, (_, m) => {{
    const [y, x] = [Math.floor(m / columns), m % columns];
    return distance(...[y + 0.2, y + 0.3].map((v) => v * cell[0]), ...[x + 0.2, x + 0.3].map((v) => v * cell[1]));
  }});
  return [distance(0.99, 0.998, 0.99, 0.998), ...squares];"""


def noisy_picture(seed):
    """Squares of black, white and colours, as unlike each other as can be."""
    squares = np.random.default_rng(seed).integers(0, 2, (9, 12, 3), np.uint8) * 255
    return Image.fromarray(squares.repeat(32, axis=0).repeat(32, axis=1))


@pytest.mark.parametrize(("picture", "kind", "stages"), [
    (BALL, "shipped", "1234"), (BALL, "v1", "123"), (BALL, "linear", "12"), (BALL, "v2", "1"),
    *((BALL.with_name(f"{name}.jpg"), "shipped", "23") for name in ("church", "gas_pump", "parachute")),
    (noisy_picture(0), "shipped", "234"), (noisy_picture(1), "v2", "12")])  # fmt: skip
def test_the_squares_are_lit_in_the_order_of_the_probabilities(view, picture, kind, stages):
    driver = view(explore(picture, model_of(kind), name="any"))
    driver.execute_script("paintBox = paintGrid = () => {}")  # frames and lines are no part of the squares' colour
    for stage in stages:
        press(driver, stage)
        for x, y in ((0.3, 0.3), (0.8, 0.55)):
            driver.execute_script("movePlace({x: arguments[0], y: arguments[1], classToken: false})", x, y)
            browser.settle(driver)
            values = shown_values(driver)
            corner, *lit = driver.execute_script(DISTANCES)
            values, lit = values[-len(lit) :] / values.max(), np.array(lit)  # a class token's key has no square
            # in proportion, by the way to the fixed colour, to the rounding of colours in 8 bits
            np.testing.assert_allclose(lit, 165 * values, atol=2.5)
            order = np.argsort(values)
            clear = np.diff(values[order]) > 5 / 165  # what is closer rounding may swap
            assert np.all(np.diff(lit[order])[clear] > 0)
            if kind == "v2" and stage == "1":  # 23 x 18 tokens make 5 x 4 keys: the last rows and columns are in none
                assert corner < 1


def test_the_plain_picture_the_dimming_and_the_scale_of_colours_that_occur(view):
    driver = view()
    spread = f"""{PIXELS} const reds = pixels(photo).filter((_, i) => i % 4 === 0).slice(0, 9000);
    return Math.max(...reds) - Math.min(...reds)"""
    before = driver.execute_script(spread)
    driver.execute_script("const dim = find('#dim'); dim.value = 1; dim.dispatchEvent(new Event('input'))")
    browser.settle(driver)
    assert driver.execute_script(spread) < before / 2
    click(driver, "#plain")
    assert not driver.execute_script(f"{PIXELS} return Math.max(...pixels(photo).slice(0, 90000))")  # the picture alone
    click(driver, "#plain")
    driver.execute_script("dimTo(0.5)")
    browser.settle(driver)
    # every colour in the squares occurs in the scale
    far = driver.execute_script(
        PIXELS
        + """const colours = (d) => Array.from({ length: d.length / 4 }, (_, i) => d.subarray(4 * i, 4 * i + 3));
        const scale = colours(pixels(find("#legend-bar"))), all = colours(pixels(photo));
        const { rows, columns, cell } = cellsOf(state.stage, false);
        return Array.from({ length: rows * columns }, (_, m) => {
          const [y, x] = [(Math.floor(m / columns) + 0.66) * cell[0], (m % columns + 0.66) * cell[1]];
          const at = all[Math.floor(y * photo.height) * photo.width + Math.floor(x * photo.width)];
          return Math.min(...scale.map((c) => Math.hypot(c[0] - at[0], c[1] - at[1], c[2] - at[2])));
        })""")  # fmt: skip
    assert max(far) < 8  # between two of the scale's greys


@pytest.mark.parametrize("kind", ["v1", "shipped"])
def test_the_three_read_most_are_named_and_numbered(view, kind):
    driver = view(kind)
    for keys in ("2", "r", "3r"):
        press(driver, keys)
        values = shown_values(driver)
        stage, reverse = driver.execute_script("return [state.stage.index, state.reverse]")
        columns = driver.execute_script("return state.reverse ? state.stage.grid[1] : state.stage.keyGrid[1]")
        class_tokens = int(kind == "v1" and stage == 2)
        caption, place = text(driver, "#caption"), 0
        for n in np.argsort(-values, kind="stable")[:3]:
            row, column = divmod(n - class_tokens, columns)
            name = "class token" if n < class_tokens else f"row {row + 1}, column {column + 1}"
            share = 100 * values[n]  # as the page writes it: two decimals below 9.95 %, else one
            place = caption.index(f"{name}: {share:.{2 if share < 9.95 else 1}f}"[:-1], place)
        assert reverse == ("is read most by" in caption)


def test_small_maps_share_one_scale_in_a_block_and_show_an_even_choice_on_it(view):
    driver = view(address="view=attention&stage=4&query=3,3")
    probs = [trace_of("shipped")[f"stages.3.blocks.{j}.attn.probs"][0, :, 2 * 7 + 2] for j in (0, 1)]
    darkest, brightest, maps = driver.execute_script(
        PIXELS
        + """const reds = ({ canvas }) => Array.from(pixels(canvas).filter((_, i) => i % 4 === 0));
        return [DARK[0], LIT[0], multiples.map(reds)]""")  # fmt: skip
    for j, heads in enumerate(probs):
        expected = np.concatenate([heads.mean(0, keepdims=True), heads]) / heads.max()
        shown = (np.array(maps[9 * j : 9 * j + 9], float) - darkest) / (brightest - darkest)
        np.testing.assert_allclose(shown, expected, atol=0.006)
        name = driver.find_elements("css selector", ".row-name")[j]
        assert name.text.split("\n")[1] == f"{100 * heads.max():.1f} %"
        tick, bar = (name.find_element("css selector", tag).rect for tag in ("b", "i"))
        assert abs((tick["x"] - bar["x"]) / 64 - 1 / 49 / heads.max()) < 0.02


# Views, and the way between them


def test_the_views_lead_in_by_clicks_and_out_by_escape(view):
    from selenium.webdriver import Keys

    driver = view(address=f"view=overview&{FIRST}")
    assert current(driver) == "overview"
    way = {"stage": "#pyramid button:nth-child(3)", "block": "#blocks button:nth-child(2)",
           "attention": "#flow [data-goes]", "formula": "#multiples-note + p [data-goes]"}  # fmt: skip
    for name, selector in way.items():
        click(driver, selector)
        assert current(driver) == name
        seeing = text(driver, "#seeing").removeprefix("What am I seeing? ").split(" Caution: ")
        assert len(re.findall(r"[.](?: |$)", seeing[0])) == 2  # two sentences
        assert (len(seeing) == 2) == (name == "attention")
    assert text(driver, "#chosen") == "Stage 3 · block 2 · head 1"
    for name in ("attention", "block", "stage", "overview", "overview"):
        press(driver, Keys.ESCAPE)
        assert current(driver) == name
    for name in ("stage", "block", "attention", "formula", "formula"):
        press(driver, "i")
        assert current(driver) == name


def current(driver):
    return driver.find_element("css selector", "#map [aria-current]").get_attribute("data-view")


@pytest.mark.parametrize("kind", ["shipped", "v1"])
def test_the_token_is_followed_through_the_stages(view, kind):
    driver = view(kind, address="view=overview")
    point(driver, 0.71, 0.42)
    for i, label in enumerate(driver.find_elements("css selector", "#pyramid small")):
        cell = stages_of(kind)[i]["cell"]
        place = f"row {int(0.42 / cell[0]) + 1}, column {int(0.71 / cell[1]) + 1}"
        assert label.text == place
        assert f"in stage {i + 1} {place}" in text(driver, "#caption")
    click(driver, "#reverse")
    assert text(driver, "#told") == "The overview shows no attention: go into a stage first."


def test_stages_blocks_and_heads_count_from_1_and_code_from_0(view):
    driver = view(address="view=formula&stage=4&block=2&head=8")
    crumbs = [one.text.split("\n") for one in driver.find_elements("css selector", "#map > li > button")]
    assert crumbs[1:4] == [["Stage 4", "stages.3"], ["Block 2", "blocks.1"], ["Attention, head 8", "attn.probs[0, 7]"]]
    assert text(driver, ".chosen") == "Stage 4 · block 2 · head 8 stages.3.blocks.1"


@pytest.mark.parametrize("kind", ["v1", "v2", "linear", "shipped"])
def test_values_heads_residual_and_lengths_are_the_forward_pass_s(view, kind):
    driver, trace = view(kind, address="view=formula"), trace_of(kind)
    for i, stage in enumerate(stages_of(kind)):
        within = stage["errors"]
        for block in stage["blocks"]:
            j = block["index"]
            name, before = f"stages.{i}.blocks.{j}", f"stages.{i}.blocks.{j - 1}" if j else f"stages.{i}.tokens"
            x, y, mlp, after = (trace[what][0] for what in (before, f"{name}.attn", f"{name}.mlp", f"{name}.residual1"))
            probs, v = (trace[f"{name}.attn.{what}"][0].astype(float) for what in ("probs", "v"))
            for n in (0, len(x) // 3, len(x) - 1):
                shown = driver.execute_script(
                    """const [i, j, n] = arguments, stage = page.stages[i], block = stage.blocks[j];
                    const { merged, y, x, residual1 } = follow(stage, block, n);
                    return [merged, y, x, residual1, lengthsOf(stage, block, n)].map((values) => Array.from(values))""",
                    i, j, n)  # fmt: skip
                lengths = [np.linalg.norm(part[n].astype(float)) for part in (x, y, mlp)]
                exact = (
                    np.concatenate([p @ values for p, values in zip(probs[:, n], v, strict=True)]),
                    y[n],
                    x[n],
                    after[n],
                )
                limits = [
                    within["head"],
                    within["attention"],
                    within["residual"],
                    within["attention"] + within["residual"],
                ]
                for values, true, limit in zip(shown, (*exact, lengths), [*limits, within["length"]], strict=True):
                    assert np.abs(np.array(values) - true).max() <= limit + 1e-5


def test_the_way_to_the_next_block_is_written_with_the_model_s_numbers(view):
    driver = view(address="view=formula&stage=2&block=1&head=2&query=14,9")
    n, attn = 13 * 28 + 8, "stages.1.blocks.0.attn"
    trace = trace_of("shipped")
    probs, v = trace[f"{attn}.probs"][0, 1, n].astype(float), trace[f"{attn}.v"][0, 1].astype(float)
    y, x = trace[attn][0, n], trace["stages.1.tokens"][0, n]
    top = np.argsort(-probs)[:3]
    for rank, m in enumerate(top):
        assert text(driver, f"#weight-{rank}") == f"{'①②③'[rank]} {probs[m]:.4f} ·"
    read = probs @ v
    c = int(np.argmax(np.abs(read)))
    words = text(driver, "#sum-words")
    assert words.startswith(f"In channel {c + 1}: ")
    products = words.split(": ")[1].split(" of the other 46 keys = ")
    assert number(products[1]) == pytest.approx(read[c], abs=6e-4)
    terms = [part.strip() for part in products[0].split(" + ")]
    assert [number(factor) for term in terms[:3] for factor in term.split(" · ")] == pytest.approx(
        [value for m in top for value in (probs[m], v[m, c])], abs=6e-4)  # fmt: skip
    assert number(terms[3]) == pytest.approx(read[c] - (probs[top] * v[top, c]).sum(), abs=6e-4)
    c = int(np.argmax(np.abs(y)))
    assert text(driver, "#y-words").startswith(f"In channel {c + 1}: the sum of 64 products")
    assert number(text(driver, "#y-words").split("= ")[1].rstrip(".")) == pytest.approx(y[c], abs=6e-4)
    words = text(driver, "#residual-words")
    assert words.startswith(f"In channel {c + 1}: ")
    assert number(words.split(" = ")[1].split(". Lengths")[0]) == pytest.approx(x[c] + y[c], abs=6e-4)
    assert number(words.split(" make ")[1].rstrip(".")) == pytest.approx(np.linalg.norm(x + y), abs=2e-3)
    row = rows_of(driver, "#lengths tbody")[2].text.replace("stage 2, block 1", "").split()
    mlp = trace["stages.1.blocks.0.mlp"][0, n]
    assert [number(word) for word in row] == pytest.approx([np.linalg.norm(part) for part in (x, y, mlp)], abs=6e-3)
    for chosen in (
        "Stage 2 · block 2",
        "Stage 3 · block 1",
        "Stage 3 · block 2",
        "Stage 4 · block 1",
        "Stage 4 · block 2",
    ):
        click(driver, "#next-block")
        assert text(driver, "#chosen").startswith(chosen)
    click(driver, "#next-block")
    assert current(driver) == "overview"


def test_before_there_is_a_pointer_nothing_is_under_it(view):
    driver = view(address=f"view=formula&{FIRST}")
    assert text(driver, "#arithmetic-subject").startswith("The query in the middle, row 14, column 14, in stage 2")
    chosen = text(driver, "#chosen")
    assert chosen.endswith("head 1")
    assert f"in stage 2, block {chosen.split()[4]}, head 1." in text(driver, "#arithmetic-subject")
    point(driver, 0.2, 0.2)
    assert text(driver, "#arithmetic-subject").startswith("The query under the pointer, row 6, column 6")


def test_the_class_token_asks_and_is_no_part_of_the_picture(view):
    driver = view("v1")
    click(driver, "#class-button")  # a control that cannot be used says why
    assert text(driver, "#told") == "Only stage 3 has a class token."
    press(driver, "3bm")
    click(driver, "#class-button")
    assert text(driver, "#caption").startswith("The class token reads most from")
    values = shown_values(driver)
    exact = trace_of("v1")["stages.2.blocks.1.attn.probs"][0, :, 0].mean(0)
    assert np.abs(values - exact).max() < 1e-4
    assert len(values) == 5 * 4 + 1
    # at last to a stage without a class token, where the place on the photo counts again
    for keys, caption in (("r", "The class token is read most by "), ("rc", "Query row"), ("c2", "Query row")):
        press(driver, keys)
        assert text(driver, "#caption").startswith(caption)
    enter(driver, "overview")
    assert "It keeps" in text(driver, "#class-caption")


def test_rollout_is_shown_for_every_model(view):
    driver = view("v2", address="view=overview")
    assert "Pyramid rollout" in text(driver, "#rollout-caption")
    assert "over 200 photos its correlation" in text(driver, "#rollout-caption")
    assert not any(driver.find_element("id", name).is_displayed() for name in ("class-button", "class-token"))


def lacking(monkeypatch, kind, budget):
    """The page of a small model with so little room, and its stages."""
    monkeypatch.setattr(page_module, "pack", lambda trace, model: pack(trace, model, budget))
    page = explore(BALL, model_of(kind))
    return page, data_of(page.html)["stages"]


def test_a_page_that_lacks_something_says_so_and_stays_true(view, monkeypatch):
    page, stages = lacking(monkeypatch, "v2", 9_000)
    driver, trace = view(page), trace_of("v2")
    assert any(stage["stride"] > 1 for stage in stages)
    press(driver, "m")
    for i, stage in enumerate(stages):
        enter(driver, "stage")
        press(driver, str(i + 1))
        note = text(driver, "#shapes-note")
        assert ("row and column of queries can be chosen" in note) == (stage["stride"] > 1)
        assert (f"of the {stage['depth']} blocks are on this page" in note) == (len(stage["blocks"]) < stage["depth"])
        point(driver, 0.62, 0.41)
        n = driver.execute_script("return queryAt(state.stage, state.place)")
        query = kept_queries(stage)[n]
        row, column = divmod(query, stage["grid"][1])
        assert text(driver, "#caption").startswith(f"Query row {row + 1}, column {column + 1} ")
        shown = driver.execute_script("return state.block.index")
        exact = trace[f"stages.{i}.blocks.{shown}.attn.probs"][0][:, query].mean(0)
        assert np.abs(shown_values(driver) - exact).max() <= stage["errors"]["probability"] + 1e-6


def test_a_stage_with_scores_only_says_so(view, monkeypatch):
    page, stages = lacking(monkeypatch, "v1", 26_000)
    first = [stage["onlyScores"] for stage in stages].index(True)
    driver = view(page, address=f"view=formula&stage={first + 1}")
    assert "has its scores on this page, but not the q and k" in text(driver, "#product-channels")
    assert "values, Wᴼ and the residual stream of this stage are not on this page" in text(driver, "#onward-note")
    assert not driver.find_element("id", "onward").is_displayed()
    assert "8, scores" in text(driver, "#errors")
    point(driver, 0.5, 0.5, press_too=True)
    assert number(rows_of(driver, "#contributions tfoot")[1].text.split()[-1]) == 1


def test_a_regression_s_answer_is_its_value(view):
    model = model_of("v2")
    driver = view(
        explore(BALL, replace(model, config=replace(model.config, problem_type="regression"))), address="view=overview"
    )
    best = data_of(driver.page_source)["predictions"][0]
    assert best["value"] == best["logit"]
    first = rows_of(driver, "#predictions tbody")[0].text
    assert text(driver, "#predictions thead").split()[-1].lower() == "value"
    assert first.count(f"{abs(best['value']):.3f}") == 2
    assert "%" not in first + text(driver, "#model")
