/* The map of the page: from the picture over stage, block and attention in to the formula, and what each view shows. */
"use strict";

/* What the reader sees in each view, in two sentences, and what must not be read into it. */
const SEEING = {
  overview: () => [`The picture becomes small squares, the tokens, and ${page.stages.length} stages make them fewer and larger; the frames `
    + "show where the chosen place is in each. Click a stage to go in, and press Escape to come out again."],
  stage: ({ stage }) => [`This stage describes the picture by ${times(...stage.grid)} tokens, and in each of its blocks every token reads from `
    + `all ${stage.M} keys. Each map is what the chosen token reads in one block, mean of the heads: click one to go in.`],
  block: () => [`A block adds two things to each token: what its attention read in other places, and what its MLP makes of the token ${
    page.model.version === 1 ? "alone" : "and its neighbours"}. The bars compare the lengths of both with that of the token itself: click attention to go in.`],
  attention: ({ stage, reverse }) => [reverse
    ? "Orange: the queries that read the key framed in blue; numbered: the three that read it most. The small maps show all heads and blocks for this key."
    : `Orange: the keys, out of ${stage.M}, that the query framed in blue reads; numbered: the three read most. The small maps show all heads and blocks for this query.`,
    "where a token read is not what mattered for the answer."],
  formula: () => ["These are the numbers of one token in one head, from the product of a query and a key down to what the block hands on. "
    + "Each is the forward pass's own, to the precision that the end of this page states."],
};

const CRUMBS = {
  overview: () => ["Picture", "pixel_values"],
  stage: ({ stage }) => [`Stage ${stage.index + 1}`, `stages.${stage.index}`],
  block: ({ block }) => [`Block ${block.index + 1}`, `blocks.${block.index}`],
  attention: ({ head }) => [head === MEAN ? "Attention, mean" : `Attention, head ${head + 1}`,
    head === MEAN ? "attn.probs[0].mean(0)" : `attn.probs[0, ${head}]`],
  formula: () => ["Formula", "softmax(q kᵀ / √d) v"],
};

function buildMap(onView, onStage, onTurn) {
  find("#map").replaceChildren(...VIEWS.map((view) => {
    const button = element("button", { type: "button", "data-view": view }, element("span"), element("code"));
    button.addEventListener("click", () => onView(view));
    return element("li", { class: view }, button, stepsOf(view, onTurn));
  }));
  find("#stages").replaceChildren(...page.stages.map(({ index }) => {
    const button = element("button", { type: "button", "aria-label": `Stage ${index + 1}`, "aria-keyshortcuts": String(index + 1) }, String(index + 1));
    button.addEventListener("click", () => onStage(index));
    return button;
  }));
}

/* Under the crumb: the stages, or one back and one on. */
function stepsOf(view, onTurn) {
  if (view === "stage") return element("div", { id: "stages", class: "steps", role: "group", "aria-label": "Stage" });
  const what = { block: "block", attention: "head" }[view];
  if (!what) return element("div", { class: "steps" });
  return element("div", { class: "steps", role: "group", "aria-label": what }, ...[[-1, "‹", "previous"], [1, "›", "next"]].map(([by, sign, word]) => {
    const button = element("button", { type: "button", "aria-label": `${word} ${what}`, "data-turns": what }, sign);
    whenAllowed(button, () => onTurn[what](by));
    return button;
  }));
}

function markMap() {
  const { stage, view } = state;
  document.body.dataset.view = view;
  for (const button of document.querySelectorAll("#map > li > button")) {
    const [name, inCode] = CRUMBS[button.dataset.view](state);
    button.firstChild.textContent = name;
    button.lastChild.textContent = inCode;
    if (button.dataset.view === view) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
  }
  find("#stages").childNodes.forEach((button, i) => button.setAttribute("aria-pressed", i === stage.index));
  const only = { block: stage.blocks.length === 1, head: stage.heads === 1 };
  for (const button of document.querySelectorAll("[data-turns]")) {
    const what = button.dataset.turns;
    grey(button, only[what] && `Stage ${stage.index + 1} has only one ${what}${what === "block" && stage.depth > 1 ? " on this page" : ""}.`);
  }
  const [seen, caution] = SEEING[view](state);
  say(find("#seeing"), bold("What am I seeing? "), seen, ...(caution ? [element("em", {}, ` Caution: ${caution}`)] : []));
  for (const part of document.querySelectorAll("[data-views]")) part.hidden = !part.dataset.views.split(" ").includes(view);
}

/* The overview: the picture in as many squares as each stage has tokens, with the chosen one. */
let towers = []; // {canvas, small, label} for each stage

function buildPyramid(image, onChoose) {
  towers = [];
  find("#pyramid").replaceChildren(...page.stages.map((stage) => {
    const [rows, columns] = stage.grid;
    const small = resized(document.createElement("canvas"), columns, rows);
    const context = small.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, columns, rows);
    const canvas = element("canvas");
    const label = element("small");
    towers.push({ canvas, small, label });
    const button = element("button", { type: "button", style: `--stage: ${STAGE_INKS[stage.index % STAGE_INKS.length]}` },
      canvas, element("b", {}, `Stage ${stage.index + 1}`), times(rows, columns), label);
    button.addEventListener("click", () => onChoose(stage.index));
    return button;
  }));
}

function showPyramid() {
  page.stages.forEach((stage, i) => {
    const { canvas, small, label } = towers[i];
    const surface = fit(canvas);
    surface.context.imageSmoothingEnabled = false;
    surface.context.drawImage(small, 0, 0, surface.width, surface.height);
    const token = state.place.classToken ? null : tokenOf(stage, queryAt(stage, state.place));
    if (token) paintBox(surface, token, [1 / stage.grid[0], 1 / stage.grid[1]], STAGE_INKS[i % STAGE_INKS.length]);
    label.textContent = token ? `row ${token.row + 1}, column ${token.column + 1}` : "class token";
  });
}

/* The blocks of a stage: each one's attention, mean of the heads. */
let blockMaps = [];

function buildBlocks(onChoose) {
  blockMaps = state.stage.blocks.map((block) => smallMap(block, state.stage.heads > 1 ? MEAN : 0, () => onChoose(block)));
  for (const { button, block } of blockMaps) {
    button.setAttribute("aria-label", `Into block ${block.index + 1}`);
    button.lastChild.textContent = `block ${block.index + 1}`;
  }
  find("#blocks").replaceChildren(...blockMaps.map(({ button }) => button));
}

function showBlocks() {
  for (const map of blockMaps) showBlockMaps(map.block, [map]);
}
