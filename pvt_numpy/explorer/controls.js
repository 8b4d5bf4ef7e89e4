/* The controls: pointer, keys and buttons change the state, and the next frame shows it. */
"use strict";

const photo = find("#photo canvas");
let ordered = false; // whether a frame is already on order
let announcing = 0;
let news = ""; // what else to say then
const frameTimes = []; // milliseconds of work in the last frames, for anyone who wants to measure

/* What is drawn anew when the query moves, view by view; the picture in all of them. */
const MOVING = {
  overview: [showPyramid],
  stage: [showBlocks, showSimilar],
  block: [showLengths],
  attention: [showMultiples, showPinned],
  formula: [showArithmetic, showLengths],
};

function request() {
  if (ordered) return;
  ordered = true;
  requestAnimationFrame(() => {
    ordered = false;
    known.clear();
    const start = performance.now();
    showPhoto();
    MOVING[state.view].forEach((draw) => draw());
    frameTimes.push(performance.now() - start);
    if (frameTimes.length > 240) frameTimes.shift();
  });
  clearTimeout(announcing);
  announcing = setTimeout(settle, 400);
}

/* When the query rests: a screen reader hears where it is, not every step, and the address and the command follow. */
function settle() {
  find("#live").textContent = `${news}${chosenName()}. ${find("#caption").textContent}`;
  news = "";
  showCommand();
  if (location.protocol !== "about:") history.replaceState(null, "", addressOf()); // a notebook's frame has no address
}

/* Changes the state, and the page after it. A chosen block and head are kept in mind, unless a stage forces them. */
function choose(changes, forced = false) {
  const { stage, view } = state;
  if (changes.stage && changes.stage !== stage) state.key = null; // keys of another stage are others
  Object.assign(state, changes);
  if (!forced && "block" in changes) state.wished.block = state.block.index;
  if (!forced && "head" in changes) state.wished.head = state.head;
  if (state.stage !== stage) showStage();
  mark();
  if (state.view !== view) sizes.clear(); // what was hidden had none
  if (state.view === "overview" && (state.view !== view || state.stage !== stage)) showFlow();
  request();
}

/* The controls and words that a choice, but not a moving query, changes. */
function mark() {
  const { stage, place, pin, plain, reverse } = state;
  markMap();
  markMultiples();
  markNext();
  find("#forward").setAttribute("aria-pressed", !reverse);
  find("#reverse").setAttribute("aria-pressed", reverse);
  find("#pin-button").textContent = pin ? "Unpin" : "Pin";
  find("#plain").setAttribute("aria-pressed", plain);
  const having = page.stages.filter(({ classToken }) => classToken).map(({ index }) => index + 1);
  find("#class-button").hidden = !having.length;
  find("#class-button").setAttribute("aria-pressed", place.classToken && stage.classToken);
  grey(find("#class-button"), !stage.classToken && `Only stage ${having} has a class token.`);
  const outside = state.view === "overview" && "The overview shows no attention: go into a stage first.";
  for (const control of ["#forward", "#reverse", "#plain"]) grey(find(control), outside);
  if (find("#pinned").classList.toggle("empty", !pin) === false) sizes.delete(find("#pinned canvas"));
  say(find("#chosen"), bold(chosenName()));
  find("#chosen-code").textContent = blockCode();
  tell("");
}

/* To stage i; block and head stay as far as it has them. */
function chooseStage(i, more = {}) {
  const stage = page.stages[i];
  if (!stage) return;
  if (more.block) state.wished.block = more.block.index;
  choose({
    stage, block: sameBlock(stage), head: sameHead(stage),
    place: { ...state.place, classToken: state.place.classToken && stage.classToken }, ...more,
  }, true);
}

/* What changes with the stage only. */
function showStage() {
  buildMultiples(choose);
  buildBlocks((block) => choose({ block, view: "block" }));
  showShapes();
}

/* The neighbour `by` places away in a list, round and round. */
function turn(list, current, by) {
  return list[(list.indexOf(current) + by + list.length) % list.length];
}

const turnBlock = (by) => choose({ block: turn(state.stage.blocks, state.block, by) });
const turnHead = (by) => choose({ head: turn(headsOf(state.stage), state.head, by) });

function movePlace(place) {
  const moved = queryAt(state.stage, place) !== queryAt(state.stage, state.place);
  const first = !state.pointed;
  const wasClass = state.place.classToken;
  Object.assign(state, { place, pointed: true });
  if (!moved && !first) return;
  if (!state.pin) state.key = null;
  if (wasClass) mark();
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

/* Pins the query at this place, or takes the pin out: asked for twice, or without a place. */
function pin(place) {
  const { stage } = state;
  const again = place && state.pin && queryAt(stage, place) === queryAt(stage, state.pin);
  news = place && !again ? "Pinned. " : state.pin ? "Unpinned. " : "";
  choose({ pin: again ? null : place });
}

function toggleClassToken() {
  const { stage, place } = state;
  if (!stage.classToken) tell(find("#class-button").title || "This model has no class token.");
  else choose({ place: { ...place, classToken: !place.classToken } });
}

function chooseMean() {
  if (state.stage.heads > 1) choose({ head: MEAN });
  else tell(`Stage ${state.stage.index + 1} has only one head: there is no mean.`);
}

/* One view further in or out; Escape also ends the tour first. */
function goDeeper(by) {
  if (by < 0 && touring()) endTour();
  else choose({ view: VIEWS[Math.min(VIEWS.length - 1, Math.max(0, VIEWS.indexOf(state.view) + by))] });
}

const PHOTO_KEYS = {
  ArrowLeft: (event) => step(0, -1, event.shiftKey),
  ArrowRight: (event) => step(0, 1, event.shiftKey),
  ArrowUp: (event) => step(-1, 0, event.shiftKey),
  ArrowDown: (event) => step(1, 0, event.shiftKey),
  Enter: () => pin({ ...state.place }),
  " ": () => pin({ ...state.place }),
};

const PAGE_KEYS = {
  Escape: () => goDeeper(-1),
  i: () => goDeeper(1),
  b: (event) => turnBlock(event.shiftKey ? -1 : 1),
  h: (event) => turnHead(event.shiftKey ? -1 : 1),
  m: chooseMean,
  r: () => choose({ reverse: !state.reverse }),
  c: toggleClassToken,
  p: () => choose({ plain: !state.plain }),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own
  if (event.target.matches("input, select") && event.key !== "Escape") return; // a control's own
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const action = (event.target === photo && PHOTO_KEYS[key]) || PAGE_KEYS[key];
  if (action) action(event);
  else if (/^[1-9]$/.test(key)) chooseStage(Number(key) - 1);
  else return;
  event.preventDefault();
}

/* A first view worth looking at: of a stage's blocks and heads that with the largest share for the query. */
function sharpest(stage) {
  const all = stage.blocks.flatMap((block) => [...Array(stage.heads).keys()].map((head) => ({ block, head })));
  const peak = ({ block, head }) => maximum(attentionOf(stage, block, head, queryAt(stage, state.place)));
  return all.reduce((best, one) => (peak(one) > peak(best) ? one : best));
}

function listen() {
  photo.addEventListener("pointermove", (event) => movePlace(placeUnder(event)));
  photo.addEventListener("pointerdown", (event) => movePlace(placeUnder(event)));
  photo.addEventListener("click", (event) => pin(placeUnder(event)));
  document.addEventListener("keydown", onKey);
  find("#multiples").addEventListener("keydown", onMultiplesKey);
  whenAllowed(find("#forward"), () => choose({ reverse: false }));
  whenAllowed(find("#reverse"), () => choose({ reverse: true }));
  find("#pin-button").addEventListener("click", () => pin(state.pin ? null : { ...state.place }));
  whenAllowed(find("#class-button"), toggleClassToken);
  whenAllowed(find("#plain"), () => choose({ plain: !state.plain }));
  find("#dim").addEventListener("input", (event) => dimTo(Number(event.target.value)));
  find("#save").addEventListener("click", savePicture);
  find("#line").addEventListener("focus", (event) => event.target.select());
  document.querySelectorAll("[data-goes]").forEach((button) => button.addEventListener("click", () => choose({ view: button.dataset.goes })));
  find("#next-block").addEventListener("click", goOn);
  addEventListener("hashchange", () => followAddress());
  listenToTour();
  new ResizeObserver(() => {
    forget();
    if (state.view === "overview") showFlow();
    request();
  }).observe(photo);
}

function goOn() {
  const next = nextBlock();
  if (!next) choose({ view: "overview" });
  else if (next.stage === state.stage) choose({ block: next.block });
  else chooseStage(next.stage.index, { block: next.block });
}

function dimTo(dim) {
  state.dim = dim;
  grounds.clear();
  paintLegend(find("#legend-bar"), dim);
  if (state.view === "overview") showFlow();
  request();
}

/* Puts a picture's data on the page; what the reader has chosen is kept as far as this picture has it. */
function show(data) {
  page = data;
  const { width, height, src } = page.picture;
  document.documentElement.style.setProperty("--ratio", width / height);
  find("#photo").classList.toggle("tall", width / height < 0.8);
  document.querySelectorAll(".frame img").forEach((image) => { image.src = src; });
  showFacts();
  showPredictions();
  showPrecision();
  buildMap((view) => choose({ view }), chooseStage, { block: turnBlock, head: turnHead });
  buildLengths((stage, block) => chooseStage(stage.index, { block }));
  return picture().decode().catch(() => null).then(() => {
    forget();
    buildPyramid(picture(), (i) => chooseStage(i, { view: "stage" }));
    const before = state.stage;
    const stage = page.stages[Math.min(before ? before.index : 1, page.stages.length - 1)];
    if (before) return chooseStage(stage.index, { pin: null });
    return choose({ stage, ...sharpest(stage) });
  });
}

/* Shows picture number `number`, counted from 1. */
function choosePicture(number) {
  if (number === state.picture) return Promise.resolve();
  state.picture = number;
  find("#pictures").value = number;
  return show(pictures[number - 1]);
}

/* Shows what the address asks for; what this page does not have is named and left as it is. */
function followAddress() {
  const asked = new URLSearchParams(location.hash.slice(1)).get("picture");
  const known = asked === null || pictures[Number(asked) - 1];
  return choosePicture(known && asked !== null ? Number(asked) : state.picture || 1).then(() => {
    const { changes, unknown } = readAddress(location.hash);
    choose(changes);
    if (!known) unknown.unshift(`picture=${asked}`);
    if (unknown.length) tell(`This page does not have ${unknown.join(", ")}, which its address asks for.`);
  });
}

/* The list of the page's pictures, if there are several, with the model's name if there are several of these. */
function buildChooser() {
  const names = new Set(pictures.map(({ model }) => model.name));
  find("#chooser").hidden = pictures.length === 1;
  find("#pictures").replaceChildren(...pictures.map(({ file, model }, i) =>
    element("option", { value: i + 1 }, `${i + 1} · ${file}${names.size > 1 ? `, read by ${model.name}` : ""}`)));
  find("#pictures").addEventListener("change", (event) => choosePicture(Number(event.target.value)));
}

const pictures = [].concat(JSON.parse(document.getElementById("data").textContent)).map(prepare);

function start() {
  photo.setAttribute("aria-label", "Picture: move with the arrow keys to choose a query token, Enter pins it");
  paintLegend(find("#legend-bar"), state.dim);
  if (matchMedia("(max-width: 700px)").matches) find("#keys-help").open = false;
  buildChooser();
  buildContributions((i) => { state.key = listedKeys[i]; request(); });
  followAddress().then(() => {
    listen();
    offerTour();
    document.body.dataset.ready = "yes";
  });
}

start();
