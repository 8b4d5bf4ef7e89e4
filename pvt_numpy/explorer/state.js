/* The state: all that the reader can choose. Everything is drawn from it, and the address after the # is made of it. */
"use strict";

const VIEWS = ["overview", "stage", "block", "attention", "formula"]; // from the outermost in

const state = {
  picture: 0, // which one, counted from 1; 0 before the first is shown
  view: "attention",
  stage: null, // one of page.stages
  block: null, // one of stage.blocks
  head: MEAN,
  wished: { block: 0, head: MEAN }, // chosen last, though a stage may have fewer
  place: { x: 0.5, y: 0.5, classToken: false }, // the query, kept when the stage changes
  pointed: false, // whether the reader has chosen a place yet
  pin: null, // a place, or null
  reverse: false,
  key: null, // the key in "one score"; null: the one read most
  plain: false, // the picture without anything over it
  dim: 0.6, // how far the greyed picture fades: 0 not at all, 1 into one grey
};

/* Whose numbers the picture and the arithmetic show: the formula stays with the pinned query, if there is one. */
const asking = () => (state.view === "formula" && state.pin ? state.pin : state.place);

/* The address of what is shown: people's numbers, counted from 1. */
function addressOf() {
  const { picture, view, stage, block, head, place, pin, reverse, key, plain } = state;
  const cell = (at) => (at ? `${at.row + 1},${at.column + 1}` : "class");
  const parts = {
    picture, view, stage: stage.index + 1, block: block.index + 1, head: head === MEAN ? "mean" : head + 1,
    query: cell(tokenOf(stage, queryAt(stage, place))),
    ...(pin && { pin: cell(tokenOf(stage, queryAt(stage, pin))) }),
    ...(reverse && { read: "by" }), ...(plain && { plain: "yes" }), ...(key !== null && { key: cell(keyOf(stage, key)) }),
  };
  return `#${Object.entries(parts).map(([name, value]) => `${name}=${value}`).join("&")}`;
}

/* What an address asks for on the current page: changes to the state, and the parts that this page does not have. */
function readAddress(hash) {
  const asked = new URLSearchParams(hash.slice(1));
  const unknown = [];
  const take = (name, find, otherwise) => {
    if (!asked.has(name)) return otherwise;
    const found = find(asked.get(name));
    if (found === undefined) unknown.push(`${name}=${asked.get(name)}`);
    return found === undefined ? otherwise : found;
  };
  const numbered = (list) => (text) => list[Number(text) - 1];
  const stage = take("stage", numbered(page.stages), state.stage);
  const block = take("block", (text) => stage.blocks.find(({ index }) => index === Number(text) - 1), sameBlock(stage));
  const head = take("head", (text) => (text === "mean" ? (stage.heads > 1 ? MEAN : 0) : numbered([...Array(stage.heads).keys()])(text)),
    sameHead(stage));
  const cellIn = ([rows, columns]) => (text) => {
    const [row, column] = text.split(",").map((word) => Number(word) - 1);
    if (text === "class" && stage.classToken) return { classToken: true };
    return [[row, rows], [column, columns]].every(([at, n]) => Number.isInteger(at) && at >= 0 && at < n) ? { row, column } : undefined;
  };
  const placeAt = (text) => {
    const cell = cellIn(stage.grid)(text);
    return cell && (cell.classToken ? { ...state.place, classToken: true }
      : { x: (cell.column + 0.5) * stage.cell[1], y: (cell.row + 0.5) * stage.cell[0], classToken: false });
  };
  const keyAtCell = (text) => {
    const cell = cellIn(stage.keyGrid)(text);
    return cell && (cell.classToken ? 0 : stage.classTokens + cell.row * stage.keyGrid[1] + cell.column);
  };
  const changes = {
    view: take("view", (text) => VIEWS.find((view) => view === text), state.view),
    stage, block, head, place: take("query", placeAt, state.place), pointed: state.pointed || asked.has("query"),
    pin: take("pin", placeAt, null), reverse: take("read", (text) => ({ by: true, from: false }[text]), false),
    key: take("key", keyAtCell, null), plain: take("plain", (text) => text === "yes", false),
  };
  for (const name of asked.keys()) {
    if (!["picture", ...Object.keys(changes), "query", "read"].includes(name)) unknown.push(name);
  }
  return { changes, unknown };
}

/* The block and the head of a stage that are nearest to those chosen last. */
function sameBlock(stage) {
  return stage.blocks.find(({ index }) => index === state.wished.block) || stage.blocks[stage.blocks.length - 1];
}

function sameHead(stage) {
  if (stage.heads === 1) return 0;
  return Math.min(state.wished.head, stage.heads - 1);
}
