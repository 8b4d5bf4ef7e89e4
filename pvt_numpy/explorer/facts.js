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
  if (rows.length && "value" in page.predictions[0]) find("#predictions thead th:last-child").textContent = "value";
  find("#predictions tbody").replaceChildren(...rows);
  find("#predictions").hidden = !rows.length;
  find("#predictions-note").textContent = rows.length
    ? "The largest logits. Exact numbers of the forward pass, not computed on this page."
    : "This model has no classifier: it ends in features.";
}

/* Which stages lack something, and how far rounding moves the numbers, measured when the page was made. */
function showPrecision() {
  find("#precision").textContent = "q and k are stored rounded, to the bits per number in this table, and this page computes "
    + "scores and probabilities from them (if it says “scores”, these are stored). Beside it, the largest differences from the forward pass in the model's own "
    + "precision, over all queries, keys, heads and blocks on the page. Features have 8 bits.";
  const header = ["stage", "bits", "score ±", "probability ±", "cosine ±"];
  const rows = page.stages.map(({ bits, onlyScores, errors }, i) =>
    [i + 1, `${bits}${onlyScores ? ", scores" : ""}`, ...[errors.score, errors.probability, errors.cosine].map((error) => error.toExponential(1))]);
  find("#errors").replaceChildren(
    element("thead", {}, element("tr", {}, ...header.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, String(cell)))))));
}

/* The picture at each stage's own resolution, all to one scale: a button each. */
function buildPyramid(image, onChoose) {
  const largest = Math.max(...page.stages[0].grid);
  find("#pyramid").replaceChildren(...page.stages.map((stage) => {
    const [rows, columns] = stage.grid;
    const canvas = element("canvas", { width: columns, height: rows });
    canvas.style.width = `${(100 * columns) / largest}%`;
    canvas.style.aspectRatio = page.picture.width / page.picture.height;
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, columns, rows);
    const label = element("span", {}, element("b", {}, `Stage ${stage.index + 1}`), element("br"),
      element("small", {}, times(rows, columns)));
    const button = element("button", { type: "button", "aria-keyshortcuts": String(stage.index + 1) },
      element("span", { class: "tower" }, canvas), label);
    button.addEventListener("click", () => onChoose(stage.index));
    return button;
  }));
}

/* Rollout to the tokens of the chosen stage, and what the class token of the last block reads from. */
function showFlow() {
  const { stage } = state;
  const { grid: [rows, columns], bytes, largest } = page.rollout[stage.index];
  const shares = Float64Array.from(decode(bytes, Uint8Array), (value) => (value / 255) * largest);
  paintVeil(fit(find("#rollout canvas")), shades(shares), rows, columns, [stage.cell[0], stage.cell[1]]);
  say(find("#rollout-caption"), bold("Pyramid rollout. "), `The attention of all blocks back to the tokens of stage ${stage.index + 1}, `,
    "each block counted half as attention, half as staying put. A rough guide: values and feed-forward layers are left out. ",
    `Largest share: ${percent(largest)}.`);
  showClassToken();
}

function showClassToken() {
  const last = page.stages[page.stages.length - 1];
  find("#class-token").hidden = !last.classToken;
  find(".pair").classList.toggle("single", !last.classToken);
  if (!last.classToken) return;
  const shares = attentionOf(last, last.blocks[last.blocks.length - 1], MEAN, 0);
  paintVeil(fit(find("#class-token canvas")), shades(shares.subarray(1)), ...last.keyGrid, last.keyCell);
  say(find("#class-caption"), bold("Class token. "), "What the token that becomes the answer reads from in the last block, mean of ",
    `the heads. It keeps ${percent(shares[0])} for itself.`);
}
