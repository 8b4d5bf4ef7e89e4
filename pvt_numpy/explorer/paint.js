/* Painting: values become colours, small maps and lit squares over the picture. Knows nothing of state or text.

   A lit square is the greyed picture on its way to one fixed colour. How far a pixel goes depends on the share alone, and
   not on how bright the picture is there: each pixel's way ends REACH from where it starts, so

       painted = grey + share / largest · REACH · (LIT − grey) / |LIT − grey|                                        */
"use strict";

const INKS = { query: "#59e3ff", pin: "#ff8ac2", key: "#ffffff" };
const STAGE_INKS = ["#59e3ff", "#8be28b", "#ffd166", "#ff8ac2"]; // a chosen token's square in each stage
const LIT = [255, 160, 20];
const REACH = 165; // the colour LIT is at least this far from every grey
const FADED = 95; // the grey into which a dimmed picture fades
const DARK = [44, 46, 58]; // small maps: nothing is read here

/* The grey of a pixel of this brightness (0 to 255), dimmed. */
const dimmed = (light, dim) => light + dim * (FADED - light);

/* Where the way of a grey pixel ends. */
function litColour(grey) {
  const way = LIT.map((value) => value - grey);
  const length = Math.hypot(...way);
  return way.map((value) => grey + (REACH / length) * value);
}

/* Colours by brightness 0..1 as a table of 256, since they are looked up for every pixel. */
function tableOf(colour) {
  const table = new Uint8ClampedArray(4 * 256);
  for (let i = 0; i < 256; i++) table.set(colour(i / 255), 4 * i);
  return new Uint32Array(table.buffer);
}

const RAMP_TABLE = tableOf((t) => [...DARK.map((dark, channel) => dark + t * (LIT[channel] - dark)), 255]);
const STRIP_TABLE = tableOf((t) => [...(t < 0.5 ? [47, 128, 237] : [240, 120, 30]), 255 * Math.min(1, Math.abs(2.008 * t - 1))]);
const [UNDERLINE] = tableOf(() => [128, 128, 128, 255]);
const MASK_TABLE = tableOf((t) => [255, 255, 255, 255 * t]);

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

/* The places of the largest `count` values, the largest first. */
function largestOf(values, count) {
  const best = [];
  values.forEach((value, i) => {
    if (best.length === count && value <= values[best[count - 1]]) return;
    const at = best.findIndex((other) => value > values[other]);
    best.splice(at < 0 ? best.length : at, 0, i);
    best.length = Math.min(best.length, count);
  });
  return best;
}

function resized(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  return canvas;
}

/* A canvas of one pixel a value, which the browser enlarges. */
function pixelMap(canvas, brightness, rows, columns, table) {
  const context = resized(canvas, columns, rows).getContext("2d");
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[Math.round(255 * Math.min(1, brightness[i]))];
  context.putImageData(image, 0, 0);
  return canvas;
}

/* Asking for a size makes the browser lay out the page, and greying a picture takes time, so both are kept until the
   page is resized or shows something else. */
const sizes = new Map();
const grounds = new Map();

function forget() {
  sizes.clear();
  grounds.clear();
}

function sizeOf(canvas) {
  if (!sizes.has(canvas)) sizes.set(canvas, [canvas.clientWidth, canvas.clientHeight]);
  return sizes.get(canvas);
}

/* Fits a canvas to its place on the screen; returns its context in units of CSS pixels, and the size. */
function fit(canvas) {
  const [width, height] = sizeOf(canvas);
  const density = window.devicePixelRatio || 1;
  resized(canvas, Math.round(width * density), Math.round(height * density));
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/* The greyed picture and the same fully lit, in the size of a canvas. */
function groundOf(canvas, image, dim) {
  if (!grounds.has(canvas)) {
    const { width, height } = canvas;
    const [grey, lit] = [0, 1].map(() => resized(document.createElement("canvas"), width, height));
    const context = grey.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height);
    const litPixels = context.createImageData(width, height);
    const colours = Array.from({ length: 256 }, (_, light) => litColour(Math.round(dimmed(light, dim))));
    for (let i = 0; i < pixels.data.length; i += 4) {
      const light = Math.round(0.299 * pixels.data[i] + 0.587 * pixels.data[i + 1] + 0.114 * pixels.data[i + 2]);
      pixels.data.fill(dimmed(light, dim), i, i + 3);
      litPixels.data.set(colours[light], i);
      litPixels.data[i + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
    lit.getContext("2d").putImageData(litPixels, 0, 0);
    grounds.set(canvas, { grey, lit });
  }
  return grounds.get(canvas);
}

const scratch = document.createElement("canvas");

/* The greyed picture, lit by the brightness of `rows` x `columns` cells, each `cell` [height, width] of the picture: the
   brightness is painted as opacity, the lit picture into it, and the grey one behind. */
function paintLit({ context, width, height }, ground, brightness, rows, columns, cell) {
  context.imageSmoothingEnabled = false;
  context.globalCompositeOperation = "copy";
  context.drawImage(pixelMap(scratch, brightness, rows, columns, MASK_TABLE), 0, 0, columns * cell[1] * width, rows * cell[0] * height);
  context.globalCompositeOperation = "source-in";
  context.drawImage(ground.lit, 0, 0, width, height);
  context.globalCompositeOperation = "destination-over";
  context.drawImage(ground.grey, 0, 0, width, height);
  context.globalCompositeOperation = "source-over";
}

/* All colours that occur: left nothing, right the largest share; top the picture's white, bottom its black. */
function paintLegend(canvas, dim) {
  const [rows, columns] = [17, 128];
  const context = resized(canvas, columns, rows).getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let row = 0; row < rows; row++) {
    const grey = dimmed(255 * (1 - row / (rows - 1)), dim);
    const end = litColour(grey);
    for (let column = 0; column < columns; column++) {
      const t = column / (columns - 1);
      image.data.set([...end.map((value) => grey + t * (value - grey)), 255], 4 * (row * columns + column));
    }
  }
  context.putImageData(image, 0, 0);
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

/* A box around one cell, readable on any picture: a dark rim outside, the ink inside. Small cells get a larger box.
   With a label, a number on a dark ground in the corner. */
function paintBox({ context, width, height }, { row, column }, cell, ink, label = "") {
  let [x, y, w, h] = [column * cell[1] * width, row * cell[0] * height, cell[1] * width, cell[0] * height];
  const small = width * height < 60000;
  const least = small ? 8 : 12;
  if (Math.min(w, h) < least) {
    const grow = (least - Math.min(w, h)) / 2;
    [x, y, w, h] = [x - grow, y - grow, w + 2 * grow, h + 2 * grow];
  }
  const thick = small ? 1.5 : 2.5;
  for (const [style, lineWidth] of [["rgba(0, 0, 0, 0.75)", 2 * thick], [ink, thick]]) {
    context.strokeStyle = style;
    context.lineWidth = lineWidth;
    context.strokeRect(x, y, w, h);
  }
  if (!label) return;
  const side = small ? 11 : 17;
  const outside = Math.min(w, h) < 1.6 * side; // a small cell would vanish under its label
  const left = outside ? Math.max(0, x - side) : x + thick / 2;
  const top = outside ? Math.max(0, y - side) : y + thick / 2;
  context.fillStyle = "rgba(0, 0, 0, 0.8)";
  context.fillRect(left, top, side, side);
  context.fillStyle = ink;
  context.font = `bold ${side - 4}px sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(label, left + side / 2, top + side / 2 + 0.5);
}

/* Numbers as a strip: blue below zero, orange above; the closer to zero, the more of the page shows through. Below
   them, if they are of several parts, one of these is underlined. */
function paintStrip(canvas, values, largest, parts = 1, marked = 0) {
  const context = resized(canvas, values.length, 8).getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  values.forEach((value, c) => { pixels[c] = STRIP_TABLE[Math.round(127 + (127 * value) / (largest || 1))]; });
  for (let row = 1; row < canvas.height; row++) pixels.copyWithin(row * canvas.width, 0, canvas.width);
  const part = canvas.width / parts;
  if (parts > 1) pixels.fill(UNDERLINE, pixels.length - canvas.width + marked * part, pixels.length - canvas.width + (marked + 1) * part);
  context.putImageData(image, 0, 0);
}
