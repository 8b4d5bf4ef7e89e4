/* The views: each function shows one part of the page for the current state. Text only ever goes in as text. */
"use strict";

const find = (selector) => document.querySelector(selector);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/* A sentence of ours, parts of it bold or code; everything, labels included, is inserted as text. */
function say(target, ...parts) {
  target.replaceChildren(...parts);
}

const bold = (text) => element("b", {}, text);
const code = (text) => element("code", {}, text);
const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 2 : 1)}\u00a0%`;
const times = (...sizes) => sizes.join("\u00a0×\u00a0");

/* Plain digits; 1.2e-7 for what would otherwise show as 0. */
function figure(value, digits = 3) {
  return value !== 0 && Math.abs(value) < 0.5 * 10 ** -digits ? value.toExponential(1) : signed(value.toFixed(digits));
}

function signed(text) {
  return text.replace("-", "−");
}

function tokenName(stage, n) {
  const token = tokenOf(stage, n);
  return token ? `row ${token.row + 1}, column ${token.column + 1}` : "class token";
}

function keyName(stage, m) {
  const key = keyOf(stage, m);
  return key ? `row ${key.row + 1}, column ${key.column + 1}` : "class token";
}

/* 2nd, 3rd, 4th. */
const ordinal = (n) => `${n}${["th", "st", "nd", "rd"][n] || "th"}`;

function chosenName() {
  const { stage, block, head } = state;
  const whole = stage.heads === 1 ? "its only head" : head === MEAN ? `mean of ${stage.heads} heads` : `head ${head + 1}`;
  return `Stage ${stage.index + 1} · block ${block.index + 1} · ${whole}`;
}

/* What a place shows in a block and head: values over the keys, or in reverse over the queries. */
function valuesAt(place, block, head) {
  const { stage, reverse } = state;
  return reverse ? readersOf(stage, block, head, keyAt(stage, place))
    : attentionOf(stage, block, head, queryAt(stage, place));
}

/* The same as cells on the picture: the class token, which has no place there, is left out. */
function cellsOf(stage, reverse) {
  if (!reverse) return { rows: stage.keyGrid[0], columns: stage.keyGrid[1], cell: stage.keyCell };
  const [rows, columns] = [stage.rows.length, stage.columns.length];
  return { rows, columns, cell: [stage.grid[0] * stage.cell[0] / rows, stage.grid[1] * stage.cell[1] / columns] };
}

function paintPlace(surface, place, ink) {
  const { stage, reverse } = state;
  if (place.classToken && stage.classToken) return;
  const token = reverse ? keyOf(stage, keyAt(stage, place)) : tokenOf(stage, queryAt(stage, place));
  paintBox(surface, token.row, token.column, reverse ? stage.keyCell : stage.cell, ink);
}

/* One picture with its veil, the grids and the marked places; in white the key picked in the arithmetic. Returns the values it shows. */
function showAttention(canvas, place, marks) {
  const { stage, block, head, reverse } = state;
  const surface = fit(canvas);
  const values = valuesAt(place, block, head);
  const { rows, columns, cell } = cellsOf(stage, reverse);
  paintVeil(surface, shades(values.subarray(stage.classTokens), maximum(values)), rows, columns, cell);
  if (canvas.id === "photo-canvas") paintGrid(surface, ...stage.grid, stage.cell, 0.09);
  paintGrid(surface, ...stage.keyGrid, stage.keyCell, 0.22);
  for (const [where, ink] of marks) paintPlace(surface, where, ink);
  const key = place === (state.pin || state.place) && !reverse && state.key !== null && keyOf(stage, state.key);
  if (key) paintBox(surface, key.row, key.column, stage.keyCell, INKS.key);
  return values;
}

function showPhoto() {
  const marks = [[state.place, INKS.query]];
  if (state.pin) marks.unshift([state.pin, INKS.pin]);
  const values = showAttention(find("#photo-canvas"), state.place, marks);
  find("#legend-high").textContent = percent(maximum(values));
  const { short, more } = captionOf(state.place, values);
  say(find("#caption"), ...short, ...more);
}

function showPinned() {
  const canvas = find("#pinned canvas");
  if (!state.pin) {
    fit(canvas);
    say(find("#pinned-caption"), "Click the picture, or press Enter on it, to keep a query here and compare it with others.");
    return;
  }
  const values = showAttention(canvas, state.pin, [[state.pin, INKS.pin]]);
  say(find("#pinned-caption"), ...captionOf(state.pin, values).short);
}

/* A sentence on what a place reads from, or is read by, and the comparison with an even choice. */
function captionOf(place, values) {
  return state.reverse ? readersInWords(place, values) : attentionInWords(place, values);
}

function attentionInWords(place, values) {
  const { stage } = state;
  const query = queryAt(stage, place);
  const effective = Math.exp(values.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0));
  return {
    short: [query < stage.classTokens ? "The class token" : `Query ${tokenName(stage, query)}`, " reads most from ",
      ...keyInWords(stage, values.indexOf(maximum(values))), ": ", bold(percent(maximum(values))), "."],
    more: [` If all ${stage.M} keys were alike, each would get ${percent(1 / stage.M)}. It spreads as widely as an even `,
      "choice among ", bold(effective.toFixed(1)), " keys."],
  };
}

function readersInWords(place, values) {
  const { stage } = state;
  const reader = values.indexOf(maximum(values));
  const average = values.reduce((a, b) => a + b, 0) / stage.N;
  const [article, key] = keyInWords(stage, keyAt(stage, place));
  return {
    short: [article.replace("the", "The"), key, " is read most by ", reader < stage.classTokens ? "" : "the query ",
      bold(reader < stage.classTokens ? "the class token" : tokenName(stage, reader)), ": ", bold(percent(values[reader])), "."],
    more: [" On average, queries read ", bold(percent(average)), ` from it; if all keys were alike, it would be ${percent(1 / stage.M)}.`],
  };
}

function keyInWords(stage, m) {
  return m < stage.classTokens ? ["the ", bold("class token")] : ["the key ", bold(keyName(stage, m))];
}

function showSimilar() {
  const { stage, place } = state;
  const surface = fit(find("#similar canvas"));
  const cosines = cosinesOf(stage, queryAt(stage, place));
  if (!cosines) {
    say(find("#similar-caption"), "The class token has no place in the map that this stage hands on.");
    return;
  }
  const { rows, columns, cell } = cellsOf(stage, true);
  paintVeil(surface, cosineShades(cosines), rows, columns, cell);
  const token = tokenOf(stage, queryAt(stage, place));
  paintBox(surface, token.row, token.column, stage.cell, INKS.query);
  say(find("#similar-caption"), "Lit: tokens whose features, as stage ", bold(String(stage.index + 1)),
    " hands them on, point the same way. Cosine from ", bold(signed(minimum(cosines).toFixed(2))), " (dark) to 1.");
}

/* All blocks and heads for the current place. */
function showMultiples() {
  const { stage, reverse } = state;
  const { rows, columns } = cellsOf(stage, reverse);
  for (const { canvas, block, head } of multiples) {
    const values = valuesAt(state.place, block, head);
    pixelMap(canvas, shades(values.subarray(stage.classTokens)), rows, columns, RAMP_TABLE);
  }
}

let multiples = []; // {button, canvas, block, head} of the current stage, made by buildMultiples

function buildMultiples() {
  const { stage } = state;
  const heads = [...(stage.heads > 1 ? [MEAN] : []), ...Array(stage.heads).keys()];
  const lines = Math.ceil(heads.length / 6);
  const columns = Math.ceil(heads.length / lines);
  const box = find("#multiples");
  box.style.gridTemplateColumns = `3.4rem repeat(${columns}, minmax(0, 92px))`;
  box.replaceChildren();
  multiples = [];
  for (const block of stage.blocks) {
    const row = heads.map((head) => smallMultiple(block, head));
    multiples.push(...row);
    box.append(element("span", { class: "row-name", style: `grid-row: span ${lines}` }, `block ${block.index + 1}`),
      ...row.map(({ button }) => button));
    // an unfinished last line is filled, so that the next block starts at the left
    for (let i = row.length; i < lines * columns; i++) box.append(element("span"));
  }
}

function smallMultiple(block, head) {
  const canvas = element("canvas");
  const short = head === MEAN ? "mean" : `head ${head + 1}`;
  const button = element("button", { type: "button", "aria-label": `Block ${block.index + 1}, ${short}` }, canvas, short);
  return { button, canvas, block, head };
}

/* Scrolls the box of small maps, and nothing else, so that this one can be seen. */
function reveal(button) {
  const box = find("#multiples");
  const top = button.offsetTop - box.offsetTop;
  const hidden = top - 4 < box.scrollTop || top + 4 + button.offsetHeight > box.scrollTop + box.clientHeight;
  if (hidden) box.scrollTop = top - (box.clientHeight - button.offsetHeight) / 2;
}

function markChoice() {
  for (const { button, block, head } of multiples) {
    const chosen = block === state.block && (head === state.head || state.stage.heads === 1);
    button.setAttribute("aria-pressed", chosen);
    button.tabIndex = chosen ? 0 : -1;
    if (chosen) reveal(button);
  }
  find("#pyramid").childNodes.forEach((button, i) => button.setAttribute("aria-pressed", i === state.stage.index));
  find("#forward").setAttribute("aria-pressed", !state.reverse);
  find("#reverse").setAttribute("aria-pressed", state.reverse);
  find("#pin-button").textContent = state.pin ? "Unpin" : "Pin";
  find("#class-button").hidden = !page.stages.some((stage) => stage.classToken);
  find("#class-button").disabled = !state.stage.classToken;
  find("#class-button").setAttribute("aria-pressed", state.place.classToken);
  find("#chosen").textContent = chosenName();
}

/* The stage in words and in a table of shapes. */
function showShapes() {
  const { stage } = state;
  const { allN: N, M, heads, d } = stage;
  const fewer = N / M;
  const key = stage.pooled ? `Each key is the mean of one bin of a ${times(stage.pooled, stage.pooled)} pool.`
    : stage.ratio > 1 ? `Each key stands for ${times(stage.ratio, stage.ratio)} tokens.` : "Each token is a key.";
  say(find("#shape-words"), bold(`${times(...stage.grid)} tokens of ${stage.channels} channels. `), "Scores: ",
    bold(times(N, M)), fewer > 1 ? ` instead of ${times(N, N)}, ${Number(fewer.toFixed(1))} times fewer. ` : ": few enough as they are. ", key);
  const rows = [["Q, queries", times(heads, N, d)], ["K, keys", times(heads, M, d)], ["V, values", times(heads, M, d)],
    ["scores, and probabilities", times(heads, N, M)], ["scores without reduction", times(heads, N, N)]];
  find("#shapes tbody").replaceChildren(...rows.map(([name, shape]) =>
    element("tr", {}, element("td", {}, name), element("td", {}, shape))));
  find("#reduction i").style.width = `${100 * Math.min(1, M / N)}%`;
  find("#reduction").setAttribute("aria-label", `The score table drawn to scale: ${times(N, M)} inside ${times(N, N)}`);
  say(find("#shapes-note"), `Heads × rows × columns, in each of the ${stage.depth} blocks of stage ${stage.index + 1}: `,
    `${heads} ${heads > 1 ? "heads" : "head"} of ${d} channels. In the code this stage is `, code(`stages.${stage.index}`), ". ",
    ...keptOf(stage));
}

/* What of the stage is not on this page. */
function keptOf(stage) {
  const notes = [];
  if (stage.stride > 1) {
    notes.push(`To keep the file small, only every ${ordinal(stage.stride)} row and column of queries can be chosen `,
      `(${stage.rows.length} × ${stage.columns.length} of ${times(...stage.grid)}); keys are complete. `);
  }
  if (stage.blocks.length < stage.depth) {
    notes.push(`To keep the file small, ${stage.blocks.length} of the ${stage.depth} blocks are on this page. `);
  }
  return notes.map(bold);
}
