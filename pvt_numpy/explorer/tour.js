/* The tour: at most eight steps for the first visit. Each shows a view, frames a part of it, and says one thing. */
"use strict";

const TOUR = [
  ["overview", "#photo", "A Pyramid Vision Transformer reads a picture in four stages. Point somewhere: your place is framed in each stage, and each square lies in its parent."],
  ["overview", "#pyramid", "The same picture in each stage: fewer, larger, richer tokens. A click on a stage goes in; Escape comes out."],
  ["stage", "#blocks", "A stage is a row of blocks. In each, every token reads from all keys; the maps show where yours reads."],
  ["block", "#flow", "A block adds to each token what attention read elsewhere, and what the MLP makes of it. The token itself goes on unharmed: the residual."],
  ["attention", "#photo", "This is attention: orange keys are read by the query framed in blue. White frames number the three read most. Click to pin a query, then point at another."],
  ["attention", "#multiples", "Every head reads in its own way. One scale for all maps of a block: an even head looks even."],
  ["formula", "#arithmetic", "The formula with its numbers: scores, softmax, values, the heads side by side, Wᴼ, the residual, the next block."],
  ["attention", "#seeing", "A caution: attention shows where was read, not what mattered. The address of this page follows the view: copy it to share exactly this."],
];
const SEEN = "pvt_numpy: tour seen";

let tourStep = -1; // -1: not under way
let before = null; // what had the keyboard

/* A browser may forbid a page to remember anything; then the tour is offered at each visit. */
function remembered() {
  try {
    return localStorage.getItem(SEEN);
  } catch {
    return null;
  }
}

function remember() {
  try {
    localStorage.setItem(SEEN, "yes");
  } catch {
    // see above
  }
}

/* The first visit is asked, unless its address already says what to show. */
function offerTour() {
  if (!remembered() && location.hash === "") openTour("New here? A tour of eight steps shows the way from the picture to the formula.", "Start", "Skip");
}

function openTour(text, onward, away) {
  find("#tour").hidden = false;
  find("#tour-text").textContent = text;
  find("#tour-next").textContent = onward;
  find("#tour-skip").textContent = away;
  find("#tour-back").hidden = tourStep < 1;
}

function goTour(step) {
  document.querySelectorAll(".toured").forEach((part) => part.classList.remove("toured"));
  if (tourStep < 0) before = document.activeElement;
  tourStep = step;
  if (step >= TOUR.length) return endTour();
  const [view, selector, text] = TOUR[step];
  choose({ view, plain: false, ...(view === "attention" && { reverse: false }) });
  const part = find(selector);
  part.classList.add("toured");
  part.scrollIntoView({ block: "nearest" });
  openTour(`${step + 1} of ${TOUR.length}. ${text}`, step + 1 < TOUR.length ? "Next" : "Done", "End the tour");
  find("#tour-next").focus({ preventScroll: true });
  return undefined;
}

function endTour() {
  document.querySelectorAll(".toured").forEach((part) => part.classList.remove("toured"));
  tourStep = -1;
  remember();
  find("#tour").hidden = true;
  if (before) before.focus({ preventScroll: true });
}

const touring = () => !find("#tour").hidden;

function listenToTour() {
  find("#tour-next").addEventListener("click", () => goTour(tourStep + 1));
  find("#tour-back").addEventListener("click", () => goTour(tourStep - 1));
  find("#tour-skip").addEventListener("click", endTour);
  find("#tour-start").addEventListener("click", () => goTour(0));
}
