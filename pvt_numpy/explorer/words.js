/* Words and elements: text goes into the page only as text, numbers are written one way. */
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
  return value !== 0 && Math.abs(value) < 0.5 * 10 ** -digits ? signed(value.toExponential(1)) : signed(value.toFixed(digits));
}

function signed(text) {
  return text.replaceAll("-", "−");
}

/* 2nd, 3rd, 4th. */
const ordinal = (n) => `${n}${["th", "st", "nd", "rd"][n] || "th"}`;

function cellName(cell) {
  return cell ? `row ${cell.row + 1}, column ${cell.column + 1}` : "class token";
}

const tokenName = (stage, n) => cellName(tokenOf(stage, n));
const keyName = (stage, m) => cellName(keyOf(stage, m));

function chosenName() {
  const { stage, block, head } = state;
  return `Stage ${stage.index + 1} · block ${block.index + 1} · ${headName(stage, head)}`;
}

function headName(stage, head) {
  return stage.heads === 1 ? "its only head" : head === MEAN ? `mean of ${stage.heads} heads` : `head ${head + 1}`;
}

/* The name of the chosen block in a trace, which is code and counts from 0. */
const blockCode = () => `stages.${state.stage.index}.blocks.${state.block.index}`;

/* Says something once, beside the controls: why a control is grey, or what could not be done. */
function tell(text) {
  find("#told").textContent = text;
}

/* Greys a control if there is a reason why it can not be used now; asked for all the same, it tells the reason. */
function grey(button, why) {
  button.setAttribute("aria-disabled", Boolean(why));
  button.title = why || "";
}

function whenAllowed(button, action) {
  button.addEventListener("click", () => (button.title && button.getAttribute("aria-disabled") === "true" ? tell(button.title) : action()));
}
