/* Painting: values become colours, small maps and the lit areas over the picture. Knows nothing of state or text. */
"use strict";

const INKS = { query: "#59e3ff", pin: "#ff8ac2", key: "#ffffff" };
const VEIL = [9, 12, 26]; // over the parts of the picture that get nothing
const VEIL_ALPHA = 0.84;
const GLOW = [255, 196, 77]; // a hint of it over the parts that get most
const GLOW_ALPHA = 0.1;

/* From dark to light in even steps of brightness, so that it also reads in grey. */
const RAMP = [[13, 14, 34], [58, 30, 98], [122, 38, 108], [188, 57, 90], [237, 105, 66], [251, 170, 70], [252, 241, 190]];

/* Brightness 0..1 as a colour [r, g, b, alpha 0..255], for small maps and for the veil over the picture, which is
   dark, and opens as the brightness grows. Both as tables of 256, since they are looked up for every pixel. */
function rampColour(t) {
  const at = t * (RAMP.length - 1);
  const low = Math.min(Math.floor(at), RAMP.length - 2);
  return [...RAMP[low].map((value, channel) => value + (at - low) * (RAMP[low + 1][channel] - value)), 255];
}

function veilColour(t) {
  const mix = (from, to) => from + (to - from) * t;
  return [...VEIL.map((dark, channel) => mix(dark, GLOW[channel])), 255 * mix(VEIL_ALPHA, GLOW_ALPHA)];
}

function tableOf(colour) {
  const table = new Uint8ClampedArray(4 * 256);
  for (let i = 0; i < 256; i++) table.set(colour(i / 255), 4 * i);
  return new Uint32Array(table.buffer);
}

const RAMP_TABLE = tableOf(rampColour);
const VEIL_TABLE = tableOf(veilColour);

/* Values as brightness 0..1, in proportion to the largest. */
function shades(values, largest = maximum(values)) {
  return values.map((value) => value / (largest || 1));
}

/* Values of either sign as brightness: 0 for the smallest, 1 for the largest. */
function spanned(values) {
  const [low, high] = [minimum(values), maximum(values)];
  return values.map((value) => (value - low) / (high - low || 1));
}

/* Cosines as brightness: from the smallest in the map to 1. */
function cosineShades(cosines) {
  const low = Math.min(minimum(cosines), 0.999);
  return cosines.map((value) => ((value - low) / (1 - low)) ** 2);
}

function maximum(values) {
  return values.reduce((a, b) => Math.max(a, b), -Infinity);
}

function minimum(values) {
  return values.reduce((a, b) => Math.min(a, b), Infinity);
}

/* A canvas of one pixel a value, which the browser enlarges. */
function pixelMap(canvas, brightness, rows, columns, table) {
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns;
    canvas.height = rows;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[Math.round(255 * brightness[i])];
  context.putImageData(image, 0, 0);
  return canvas;
}

/* Asking for a size makes the browser lay out the page, so sizes are kept until the page is resized. */
const sizes = new Map();

function sizeOf(canvas) {
  if (!sizes.has(canvas)) sizes.set(canvas, [canvas.clientWidth, canvas.clientHeight]);
  return sizes.get(canvas);
}

/* Fits a canvas to its place on the screen; returns its context in units of CSS pixels, and the size. */
function fit(canvas) {
  const [width, height] = sizeOf(canvas);
  const density = window.devicePixelRatio || 1;
  const [deviceWidth, deviceHeight] = [Math.round(width * density), Math.round(height * density)];
  if (canvas.width !== deviceWidth || canvas.height !== deviceHeight) {
    canvas.width = deviceWidth;
    canvas.height = deviceHeight;
  }
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

const scratch = document.createElement("canvas");

/* Brightness of `rows` x `columns` cells, each `cell` [height, width] of the picture, as a veil over it; what
   the cells do not reach stays dark. */
function paintVeil({ context, width, height }, brightness, rows, columns, cell) {
  const [areaHeight, areaWidth] = [rows * cell[0] * height, columns * cell[1] * width];
  context.fillStyle = `rgba(${VEIL}, ${VEIL_ALPHA})`;
  context.fillRect(0, 0, width, height);
  context.clearRect(0, 0, areaWidth, areaHeight);
  context.imageSmoothingEnabled = false;
  context.drawImage(pixelMap(scratch, brightness, rows, columns, VEIL_TABLE), 0, 0, areaWidth, areaHeight);
}

/* Lines of a grid of `rows` x `columns` cells; none if they would lie closer than 5 pixels. */
function paintGrid({ context, width, height }, rows, columns, cell, alpha) {
  const [stepY, stepX] = [cell[0] * height, cell[1] * width];
  if (Math.min(stepY, stepX) < 5) return;
  context.beginPath();
  for (let row = 1; row <= rows; row++) line(context, 0, row * stepY, columns * stepX, row * stepY);
  for (let column = 1; column <= columns; column++) line(context, column * stepX, 0, column * stepX, rows * stepY);
  context.strokeStyle = `rgba(255, 255, 255, ${alpha})`;
  context.lineWidth = 1;
  context.stroke();
}

function line(context, x0, y0, x1, y1) {
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
}

/* A box around one cell, readable on any picture: a dark rim outside, the ink inside. Small cells get a larger box. */
function paintBox({ context, width, height }, row, column, cell, ink) {
  let [x, y, w, h] = [column * cell[1] * width, row * cell[0] * height, cell[1] * width, cell[0] * height];
  const least = width < 300 ? 8 : 12;
  if (Math.min(w, h) < least) {
    const grow = (least - Math.min(w, h)) / 2;
    [x, y, w, h] = [x - grow, y - grow, w + 2 * grow, h + 2 * grow];
  }
  const thick = width < 300 ? 1.5 : 2.5;
  for (const [style, lineWidth] of [["rgba(0, 0, 0, 0.75)", 2 * thick], [ink, thick]]) {
    context.strokeStyle = style;
    context.lineWidth = lineWidth;
    context.strokeRect(x, y, w, h);
  }
}

/* d numbers as a strip: blue below zero, orange above; the closer to zero, the more of the page shows through. */
function paintStrip(canvas, values, largest) {
  const { context, width, height } = fit(canvas);
  const step = width / values.length;
  values.forEach((value, c) => {
    const alpha = Math.min(1, Math.abs(value) / (largest || 1));
    context.fillStyle = value < 0 ? `rgba(47, 128, 237, ${alpha})` : `rgba(240, 120, 30, ${alpha})`;
    context.fillRect(c * step, 0, Math.max(1, step - 1), height);
  });
}
