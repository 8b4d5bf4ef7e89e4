/* The picture, lit where the query reads; its scale and its sentence; the same for the pinned query. */
"use strict";

const NUMBERED = 3; // so many of the keys read most are outlined and numbered
const DIGITS = ["①", "②", "③"];

/* What a place shows in a block and head: values over the keys, or in reverse over the queries. Several parts of the
   page show the same in one frame, so it is kept that long. */
const known = new Map();

function valuesAt(place, block, head) {
  const { stage, reverse } = state;
  const at = reverse ? keyAt(stage, place) : queryAt(stage, place);
  const name = `${block.index} ${head} ${at}`;
  if (!known.has(name)) {
    known.set(name, head === MEAN ? meanOverHeads(stage, reverse ? stage.N : stage.M, (one) => valuesAt(place, block, one))
      : (reverse ? readersOf : attentionOf)(stage, block, head, at));
  }
  return known.get(name);
}

/* The same as cells on the picture: the class token, which has no place there, is left out. */
function cellsOf(stage, reverse) {
  if (!reverse) return { rows: stage.keyGrid[0], columns: stage.keyGrid[1], cell: stage.keyCell };
  const [rows, columns] = [stage.rows.length, stage.columns.length];
  return { rows, columns, cell: [stage.grid[0] * stage.cell[0] / rows, stage.grid[1] * stage.cell[1] / columns] };
}

/* What a value's place is called, and where it lies (null for the class token). */
const partOf = (stage, i) => (state.reverse ? tokenOf(stage, i) : keyOf(stage, i));

const picture = () => find("#photo img");

/* The greyed picture on a canvas, lit by values over cells. */
function light(canvas, brightness, { rows, columns, cell }) {
  const surface = fit(canvas);
  paintLit(surface, groundOf(canvas, picture(), state.dim), brightness, rows, columns, cell);
  return surface;
}

function paintPlace(surface, place, ink) {
  const { stage, reverse } = state;
  if (place.classToken && stage.classToken) return;
  const token = reverse ? keyOf(stage, keyAt(stage, place)) : tokenOf(stage, queryAt(stage, place));
  paintBox(surface, token, reverse ? stage.keyCell : stage.cell, ink);
}

/* One picture with its lit squares, the grids and the marked places. Returns the values it shows. */
function showAttention(canvas, place, marks) {
  const { stage, block, head, reverse } = state;
  const values = valuesAt(place, block, head);
  const surface = light(canvas, shades(values.subarray(stage.classTokens), maximum(values)), cellsOf(stage, reverse));
  if (canvas.id === "photo-canvas") paintGrid(surface, ...stage.grid, stage.cell, 0.07);
  paintGrid(surface, ...stage.keyGrid, stage.keyCell, 0.2);
  largestOf(values, NUMBERED).forEach((i, rank) => {
    const part = partOf(stage, i);
    if (part) paintBox(surface, part, reverse ? stage.cell : stage.keyCell, INKS.key, String(rank + 1));
  });
  const picked = state.view === "formula" && !reverse && state.key !== null && keyOf(stage, state.key);
  if (picked) paintBox(surface, picked, stage.keyCell, INKS.key, "k"); // the key of "one score"
  for (const [where, ink] of marks) paintPlace(surface, where, ink);
  return values;
}

function showPhoto() {
  const canvas = find("#photo-canvas");
  const values = valuesAt(asking(), state.block, state.head);
  if (state.plain) fit(canvas);
  else if (state.view === "overview") showPath(fit(canvas));
  else showAttention(canvas, asking(), [...(state.pin ? [[state.pin, INKS.pin]] : []), [state.place, INKS.query]]);
  showScale(values);
  say(find("#caption"), ...(state.view === "overview" ? pathInWords() : [...captionOf(asking(), values), ...spreadOf(values)]));
}

/* The chosen token's square in every stage: each lies in that of the next stage, its parent. */
function showPath(surface) {
  if (state.place.classToken) return;
  for (const stage of [...page.stages].reverse()) {
    paintBox(surface, tokenOf(stage, queryAt(stage, state.place)), stage.cell, STAGE_INKS[stage.index % STAGE_INKS.length]);
  }
}

function pathInWords() {
  if (state.place.classToken) return ["The class token has no place on the picture."];
  const squares = page.stages.flatMap((stage, i) => [i ? ", in stage " : "in stage ", `${stage.index + 1} `, bold(tokenName(stage, queryAt(stage, state.place)))]);
  return ["The token at this place: ", ...squares, ". Each lies in the next, its parent, which was made from it and its neighbours."];
}

function showScale(values) {
  const { stage } = state;
  const largest = maximum(values);
  find("#legend-high").textContent = percent(largest);
  find("#legend-even").style.left = `${Math.min(100, 100 / stage.M / largest)}%`;
  find("#legend-even").textContent = `1/${stage.M}`;
  find(".legend").classList.toggle("off", state.plain || state.view === "overview");
}

function showPinned() {
  const canvas = find("#pinned canvas");
  if (!state.pin) {
    say(find("#pinned-caption"), "Click the picture, or press Enter on it, to keep a query here and compare it with others.");
    return;
  }
  const values = showAttention(canvas, state.pin, [[state.pin, INKS.pin]]);
  say(find("#pinned-caption"), ...captionOf(state.pin, values));
}

/* A sentence on what a place reads from, or is read by: the numbered ones. */
function captionOf(place, values) {
  const { stage, reverse } = state;
  const ranked = largestOf(values, NUMBERED).flatMap((i, rank) => {
    const part = partOf(stage, i);
    const kind = part ? (reverse ? "the query " : "the key ") : "the ";
    return [rank ? (rank === 1 ? ", then " : " and ") : "", `${part ? `${DIGITS[rank]}\u00a0` : ""}${rank ? "" : kind}`, bold(cellName(part)),
      ": ", bold(percent(values[i]))];
  });
  if (!reverse) {
    const query = tokenOf(stage, queryAt(stage, place));
    return [query ? `Query ${cellName(query)}` : "The class token", " reads most from ", ...ranked, "."];
  }
  const key = keyOf(stage, keyAt(stage, place));
  return [key ? "The key " : "The ", bold(cellName(key)), " is read most by ", ...ranked, "."];
}

/* How that compares with an even choice. */
function spreadOf(values) {
  const { stage, reverse } = state;
  const even = percent(1 / stage.M);
  if (reverse) {
    const average = values.reduce((a, b) => a + b, 0) / stage.N;
    return [" On average, queries read ", bold(percent(average)), ` from it; if all keys were alike, it would be ${even}.`];
  }
  const effective = Math.exp(values.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0));
  return [` If all ${stage.M} keys were alike, each would get ${even}. It spreads as widely as an even choice among `,
    bold(effective.toFixed(1)), " keys."];
}

function showSimilar() {
  const { stage, place } = state;
  const canvas = find("#similar canvas");
  const cosines = cosinesOf(stage, queryAt(stage, place));
  if (!cosines) {
    fit(canvas);
    say(find("#similar-caption"), "The class token has no place in the map that this stage hands on.");
    return;
  }
  const surface = light(canvas, cosineShades(cosines), cellsOf(stage, true));
  paintBox(surface, tokenOf(stage, queryAt(stage, place)), stage.cell, INKS.query);
  say(find("#similar-caption"), "Orange: tokens whose features, as stage ", bold(String(stage.index + 1)),
    " hands them on, point the same way as the query's. Cosine from ", bold(signed(minimum(cosines).toFixed(2))), " (grey) to 1.");
}
