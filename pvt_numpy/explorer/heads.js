/* The small maps: every block and head of the stage for the same query, all of a block on one scale. */
"use strict";

let multiples = []; // {button, canvas, block, head} of the current stage, made by buildMultiples
let scales = []; // {block, tick, high}: the scale of each block

const headsOf = (stage) => [...(stage.heads > 1 ? [MEAN] : []), ...Array(stage.heads).keys()];

function showMultiples() {
  for (const { block, tick, high } of scales) {
    showBlockMaps(block, multiples.filter((one) => one.block === block), (largest, even) => {
      tick.style.transform = `translateX(${(SCALE_WIDTH * Math.min(1, even / largest)).toFixed(1)}px)`;
      high.textContent = percent(largest);
    });
  }
}

const SCALE_WIDTH = 64; // pixels, as in style.css

/* Paints maps of one block; the largest share in any of its heads is the end of their scale. */
function showBlockMaps(block, maps, onScale = () => {}) {
  const { stage, reverse, place } = state;
  const { rows, columns } = cellsOf(stage, reverse);
  const largest = Math.max(...headsOf(stage).map((head) => maximum(valuesAt(place, block, head))));
  for (const { canvas, head } of maps) {
    pixelMap(canvas, shades(valuesAt(place, block, head).subarray(stage.classTokens), largest), rows, columns, RAMP_TABLE);
  }
  onScale(largest, 1 / stage.M);
}

function buildMultiples(onChoose) {
  const { stage } = state;
  const heads = headsOf(stage);
  const lines = Math.ceil(heads.length / 6);
  const columns = Math.ceil(heads.length / lines);
  const box = find("#multiples");
  box.style.gridTemplateColumns = `5.2rem repeat(${columns}, minmax(0, 120px))`;
  box.replaceChildren();
  multiples = [];
  scales = [];
  for (const block of stage.blocks) {
    const row = heads.map((head) => smallMap(block, head, onChoose));
    const tick = element("b");
    const high = element("small");
    scales.push({ block, tick, high });
    multiples.push(...row);
    box.append(element("div", { class: "row-name", style: `grid-row: span ${lines}` }, `block ${block.index + 1}`,
      element("i", {}, tick), high), ...row.map(({ button }) => button));
    // an unfinished last line is filled, so that the next block starts at the left
    for (let i = row.length; i < lines * columns; i++) box.append(element("span"));
  }
  find("#multiples-note").textContent = `All maps of a block share one scale, from nothing to the share beside it; the white mark on it is 1/${stage.M}, an even choice.`;
}

function smallMap(block, head, onChoose) {
  const canvas = element("canvas");
  const short = head === MEAN ? "mean" : `head ${head + 1}`;
  const button = element("button", { type: "button", "aria-label": `Block ${block.index + 1}, ${short}` }, canvas, short);
  button.addEventListener("click", () => onChoose({ block, head }));
  return { button, canvas, block, head };
}

/* Among the small maps one Tab stop is enough; arrow keys move from there. */
function onMultiplesKey(event) {
  const columns = headsOf(state.stage).length;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  const next = by && multiples[multiples.findIndex(({ button }) => button === document.activeElement) + by];
  if (!by) return;
  event.preventDefault();
  if (!next) return;
  choose({ block: next.block, head: next.head });
  next.button.focus();
}

function markMultiples() {
  for (const { button, block, head } of multiples) {
    const chosen = block === state.block && head === state.head;
    button.setAttribute("aria-pressed", chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
}
