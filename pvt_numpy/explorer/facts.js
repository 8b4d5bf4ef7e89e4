/* What does not change while the reader moves about: names, the answer, rollout, the pyramid, precision. */
"use strict";

function showFacts() {
  const { model } = page;
  const [best] = page.predictions;
  say(find("#file"), bold(page.file));
  say(find("#model"), model.name, ...(best ? [" · answer: ", bold(best.label),
    ` ${answerOf(best)}`] : []));
  const [H, W] = page.input;
  const facts = {
    model: model.name, variant: `${model.variant} (PVT v${model.version})`,
    parameters: model.parameters.toLocaleString("en"), ...model.origin,
    picture: `${model.preprocessing}; the model reads ${times(W, H)} pixels`,
  };
  if (page.picture.squashed) facts.shown = "in the picture's own proportions; the model saw it squashed, so tokens are no squares here";
  if (model.version === 2) facts.tokens = "v2's patches overlap; a token is drawn as the square around which it looks";
  find("#facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) =>
    [element("dt", {}, name), element("dd", {}, value)]));
}

/* A prediction's probability or, in a regression, its value. */
function answerOf({ probability, value }) {
  return value === undefined ? percent(probability) : signed(value.toFixed(3));
}

function showPredictions() {
  const rows = page.predictions.map((prediction) => {
    const bar = element("i");
    bar.style.transform = `scaleX(${prediction.probability || 0})`;
    return element("tr", {}, element("td", {}, prediction.label), element("td", {}, signed(prediction.logit.toFixed(3))),
      element("td", {}, answerOf(prediction)), element("td", { class: "bar" }, bar));
  });
  const values = rows.length && "value" in page.predictions[0];
  find("#predictions thead th:last-child").textContent = values ? "value" : "probability";
  find("#predictions tbody").replaceChildren(...rows);
  find("#predictions").hidden = !rows.length;
  find("#predictions-note").textContent = rows.length
    ? "The largest logits. Exact numbers of the forward pass, not computed on this page."
    : "This model has no classifier: it ends in features.";
}

/* Which stages lack something, and how far rounding moves the numbers, measured when the page was made. */
const ERRORS = { score: "score", probability: "p", head: "Σ p·v", attention: "attention", residual: "residual", length: "length", cosine: "cosine" };

function showPrecision() {
  find("#precision").textContent = "q, k, v, Wᴼ and the residual stream are stored rounded, to the bits per number in this table, and this page computes "
    + "the rest from them (if it says “scores”, these are stored). Beside it, the largest differences from the forward pass in the model's own "
    + "precision, over all queries, keys, heads and blocks on the page. Features have 8 bits, lengths 16.";
  const header = ["stage", "bits", ...Object.values(ERRORS)];
  const rows = page.stages.map(({ bits, onlyScores, errors }, i) => [i + 1, `${bits}${onlyScores ? ", scores" : ""}`,
    ...Object.keys(ERRORS).map((name) => (name in errors ? errors[name].toExponential(1) : "–"))]);
  find("#errors").replaceChildren(
    element("thead", {}, element("tr", {}, ...header.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, String(cell)))))));
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
  say(find("#shapes-note"), `Heads × rows × columns, in each of the ${stage.depth} blocks of stage ${stage.index + 1}, `, code(`stages.${stage.index}`),
    `: ${heads} ${heads > 1 ? "heads" : "head"} of ${d} channels. `, ...keptOf(stage));
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

/* What was measured, in notebook 4: rollout beside an experiment that covers parts of the picture. */
const MEASURED = "It shows where attention leads, not what the answer depends on: over 200 photos its correlation with what covering parts "
  + "of the picture does was .08 to .10 in the mean, and mere nearness to the middle had .17. Values and MLPs, which it leaves out, decide too.";

/* Rollout to the tokens of the chosen stage, and what the class token of the last block reads from. */
function showFlow() {
  const { stage } = state;
  const { grid: [rows, columns], bytes, largest } = page.rollout[stage.index];
  const shares = Float64Array.from(decode(bytes, Uint8Array), (value) => (value / 255) * largest);
  light(find("#rollout canvas"), shades(shares), { rows, columns, cell: stage.cell });
  say(find("#rollout-caption"), bold("Pyramid rollout. "), `The attention of all blocks back to the tokens of stage ${stage.index + 1}, `,
    `each block counted half as attention, half as staying put. Largest share: ${percent(largest)}. `, element("em", {}, MEASURED));
  showClassToken();
}

function showClassToken() {
  const last = page.stages[page.stages.length - 1];
  find("#class-token").hidden = !last.classToken;
  find(".pair").classList.toggle("single", !last.classToken);
  if (!last.classToken) return;
  const shares = attentionOf(last, last.blocks[last.blocks.length - 1], MEAN, 0);
  light(find("#class-token canvas"), shades(shares.subarray(1)), cellsOf(last, false));
  say(find("#class-caption"), bold("Class token. "), "What the token that becomes the answer reads from in the last block, mean of ",
    `the heads. It keeps ${percent(shares[0])} for itself.`);
}
