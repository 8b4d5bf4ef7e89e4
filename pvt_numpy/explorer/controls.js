/* The controls: pointer, keys and buttons change the state, and the next frame shows it. */
"use strict";

const photo = find("#photo canvas");
let drawn = false; // whether a frame is already on order
let announcing = 0;
let news = ""; // what else to say then
const frameTimes = []; // milliseconds of work in the last frames, for anyone who wants to measure

function request() {
  if (drawn) return;
  drawn = true;
  requestAnimationFrame(() => {
    drawn = false;
    const start = performance.now();
    showPhoto();
    showPinned();
    showSimilar();
    showMultiples();
    showArithmetic();
    frameTimes.push(performance.now() - start);
    if (frameTimes.length > 240) frameTimes.shift();
  });
  clearTimeout(announcing);
  announcing = setTimeout(announce, 400); // a screen reader hears where the query stops, not every step
}

function announce() {
  find("#live").textContent = `${news}${chosenName()}. ${find("#caption").textContent}`;
  news = "";
}

function choose(changes) {
  const other = changes.stage && changes.stage !== state.stage;
  Object.assign(state, { key: null }, changes);
  if (other) showStage();
  markChoice();
  request();
}

/* To stage i, to the last of its blocks; the head stays if the stage has it. */
function chooseStage(i) {
  const stage = page.stages[i];
  if (!stage || stage === state.stage) return;
  choose({
    stage, block: stage.blocks[stage.blocks.length - 1], head: Math.min(state.head, stage.heads - 1),
    place: { ...state.place, classToken: state.place.classToken && stage.classToken },
  });
}

/* What changes with the stage only. */
function showStage() {
  buildMultiples();
  for (const { button, block, head } of multiples) button.addEventListener("click", () => choose({ block, head }));
  showShapes();
  showFlow();
}

/* The neighbour `by` places away in a list, round and round. */
function turn(list, current, by) {
  return list[(list.indexOf(current) + by + list.length) % list.length];
}

function chooseHead(by) {
  const { stage } = state;
  const heads = [...(stage.heads > 1 ? [MEAN] : []), ...Array(stage.heads).keys()];
  choose({ head: turn(heads, state.head, by) });
}

function movePlace(place) {
  const moved = queryAt(state.stage, place) !== queryAt(state.stage, state.place);
  state.place = place;
  if (!moved) return;
  if (!state.pin) state.key = null;
  if (find("#class-button").getAttribute("aria-pressed") === "true") markChoice();
  request();
}

function placeUnder(event) {
  const box = photo.getBoundingClientRect();
  const inside = (value) => Math.min(0.9999, Math.max(0, value));
  return { x: inside((event.clientX - box.left) / box.width), y: inside((event.clientY - box.top) / box.height), classToken: false };
}

/* Arrow keys: to the neighbouring query, or with Shift as far as a key is wide. */
function step(rows, columns, far) {
  const { stage } = state;
  if (state.place.classToken) return;
  const i = queryAt(stage, state.place) - stage.classTokens;
  const width = stage.columns.length;
  const jump = (axis) => (far ? Math.max(1, Math.round(stage.keyCell[axis] / stage.cell[axis] / stage.stride)) : 1);
  const clamp = (value, length) => Math.min(length - 1, Math.max(0, value));
  const row = clamp(Math.floor(i / width) + rows * jump(0), stage.rows.length);
  const column = clamp((i % width) + columns * jump(1), width);
  movePlace(placeOf(stage, stage.classTokens + row * width + column));
}

function togglePin(place) {
  news = place ? "Pinned. " : state.pin ? "Unpinned. " : "";
  choose({ pin: place });
}

function toggleClassToken() {
  if (state.stage.classToken) choose({ place: { ...state.place, classToken: !state.place.classToken } });
}

const PHOTO_KEYS = {
  ArrowLeft: (event) => step(0, -1, event.shiftKey),
  ArrowRight: (event) => step(0, 1, event.shiftKey),
  ArrowUp: (event) => step(-1, 0, event.shiftKey),
  ArrowDown: (event) => step(1, 0, event.shiftKey),
  Enter: () => togglePin({ ...state.place }),
  " ": () => togglePin({ ...state.place }),
};

const PAGE_KEYS = {
  Escape: () => togglePin(null),
  b: (event) => choose({ block: turn(state.stage.blocks, state.block, event.shiftKey ? -1 : 1) }),
  h: (event) => chooseHead(event.shiftKey ? -1 : 1),
  m: () => choose({ head: state.stage.heads > 1 ? MEAN : state.head }),
  r: () => choose({ reverse: !state.reverse }),
  c: toggleClassToken,
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const action = (event.target === photo && PHOTO_KEYS[key]) || PAGE_KEYS[key];
  if (action) action(event);
  else if (/^[1-9]$/.test(key)) chooseStage(Number(key) - 1);
  else return;
  event.preventDefault();
}

/* Among the small maps one Tab stop is enough; arrow keys move from there. */
function onMultiplesKey(event) {
  const columns = state.stage.heads > 1 ? state.stage.heads + 1 : 1;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  const next = by && multiples[multiples.findIndex(({ button }) => button === document.activeElement) + by];
  if (!by) return;
  event.preventDefault();
  if (!next) return;
  choose({ block: next.block, head: next.head });
  next.button.focus();
}

/* A first view worth looking at: the block whose mean attention from the middle is least even. */
function sharpest(stage) {
  const peak = (block) => maximum(attentionOf(stage, block, MEAN, queryAt(stage, state.place)));
  return stage.blocks.reduce((best, block) => (peak(block) > peak(best) ? block : best));
}

function listen() {
  photo.addEventListener("pointermove", (event) => movePlace(placeUnder(event)));
  photo.addEventListener("pointerdown", (event) => movePlace(placeUnder(event)));
  photo.addEventListener("click", (event) => togglePin(placeUnder(event)));
  document.addEventListener("keydown", onKey);
  find("#multiples").addEventListener("keydown", onMultiplesKey);
  find("#forward").addEventListener("click", () => choose({ reverse: false }));
  find("#reverse").addEventListener("click", () => choose({ reverse: true }));
  find("#pin-button").addEventListener("click", () => togglePin(state.pin ? null : { ...state.place }));
  find("#class-button").addEventListener("click", toggleClassToken);
  new ResizeObserver(() => {
    sizes.clear();
    showFlow();
    request();
  }).observe(photo);
}

/* Puts a picture's data on the page; what the reader has chosen is kept as far as this picture has it. */
function show(data) {
  page = data;
  const { picture } = page;
  document.documentElement.style.setProperty("--ratio", picture.width / picture.height);
  document.querySelectorAll(".frame img").forEach((image) => { image.src = picture.src; });
  showFacts();
  showPredictions();
  showPrecision();
  const image = find("#photo img");
  return image.decode().catch(() => null).then(() => {
    sizes.clear();
    buildPyramid(image, chooseStage);
    const before = state.stage;
    const stage = page.stages[Math.min(before ? before.index : 1, page.stages.length - 1)];
    const block = before && stage.blocks.find(({ index }) => index === state.block.index);
    choose({ stage, block: block || sharpest(stage), head: Math.min(state.head, stage.heads - 1), pin: null });
  });
}

/* Shows picture number `number`, counted from 1. */
function choosePicture(number) {
  if (number === state.picture) return Promise.resolve();
  state.picture = number;
  return show(pictures[number - 1]);
}

const pictures = [].concat(JSON.parse(document.getElementById("data").textContent)).map(prepare);

function start() {
  photo.setAttribute("aria-label", "Picture: move with the arrow keys to choose a query token, Enter pins it");
  buildContributions((i) => { state.key = listedKeys[i]; request(); });
  choosePicture(1).then(() => {
    listen();
    document.body.dataset.ready = "yes";
  });
}

start();
