/* The numbers: q and k out of the data block, and what the model makes of them.

   Axes, as everywhere in pvt_numpy: N queries, M keys, d channels of a head. A stage may keep only some of its
   queries (`rows` and `columns` say which); a query is then its index n among the kept ones, class token first. */
"use strict";

let page = null; // the facts and numbers of the picture that is shown, see `show` in controls.js
const MEAN = -1; // in place of a head: the mean over all heads

function decode(text, Type) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return new Type(bytes.buffer);
}

/* Rows of integers times one scale a row, as numbers. */
function restore(text, scaleText, bits, d) {
  const whole = decode(text, bits === 16 ? Int16Array : Int8Array);
  const scale = decode(scaleText, Float32Array);
  const values = new Float32Array(whole.length);
  for (let i = 0; i < values.length; i++) values[i] = whole[i] * scale[Math.floor(i / d)];
  return values;
}

/* Adds to a picture's data the sizes that follow from the others. q, k and features are decoded when first asked for. */
function prepare(data) {
  data.stages.forEach((stage, index) => {
    stage.index = index;
    stage.classTokens = stage.classToken ? 1 : 0;
    stage.d = stage.channels / stage.heads;
    stage.gridN = stage.rows.length * stage.columns.length;
    stage.N = stage.classTokens + stage.gridN; // queries on this page
    stage.allN = stage.classTokens + stage.grid[0] * stage.grid[1]; // queries in the model
    stage.M = stage.keys;
    stage.keyGrid = stage.pooled ? [stage.pooled, stage.pooled]
      : [Math.floor(stage.grid[0] / stage.ratio), Math.floor(stage.grid[1] / stage.ratio)];
    // a key's height and width as fractions of the picture; linear SRA's bins share the grid evenly
    stage.keyCell = [0, 1].map((axis) => stage.cell[axis] *
      (stage.pooled ? stage.grid[axis] / stage.pooled : stage.ratio));
  });
  return data;
}

/* q and k of a block, or its score table if q and k are not on this page. */
function vectors(stage, block) {
  if (!block.vectors) {
    block.vectors = stage.onlyScores ? { scores: restore(block.scores, block.scoresScale, stage.bits, stage.M) } : {
      q: restore(block.q, block.qScale, stage.bits, stage.d),
      k: restore(block.k, block.kScale, stage.bits, stage.d),
    };
  }
  return block.vectors;
}

/* The d numbers of query n (or of key m) in one head: a view, not a copy. */
function queryVector(stage, block, head, n) {
  const start = (head * stage.N + n) * stage.d;
  return vectors(stage, block).q.subarray(start, start + stage.d);
}

function keyVector(stage, block, head, m) {
  const start = (head * stage.M + m) * stage.d;
  return vectors(stage, block).k.subarray(start, start + stage.d);
}

function dot(a, aStart, b, bStart, length) {
  let sum = 0;
  for (let c = 0; c < length; c++) sum += a[aStart + c] * b[bStart + c];
  return sum;
}

/* q·k / √d of query n and key m. */
function scoreOf(stage, { q, k, scores }, head, n, m) {
  const { d, N, M } = stage;
  if (scores) return scores[(head * N + n) * M + m];
  return dot(q, (head * N + n) * d, k, (head * M + m) * d, d) / Math.sqrt(d);
}

/* The scores of query n and all M keys. */
function scoresOf(stage, block, head, n) {
  const numbers = vectors(stage, block);
  const scores = new Float64Array(stage.M);
  for (let m = 0; m < stage.M; m++) scores[m] = scoreOf(stage, numbers, head, n, m);
  return scores;
}

function logSumExp(scores) {
  let largest = -Infinity;
  for (const score of scores) largest = Math.max(largest, score);
  let sum = 0;
  for (const score of scores) sum += Math.exp(score - largest);
  return largest + Math.log(sum);
}

function softmax(scores) {
  const total = logSumExp(scores);
  return scores.map((score) => Math.exp(score - total));
}

/* How much query n reads from each of the M keys; they sum to 1. */
function attentionOf(stage, block, head, n) {
  if (head !== MEAN) return softmax(scoresOf(stage, block, head, n));
  return meanOverHeads(stage, stage.M, (one) => attentionOf(stage, block, one, n));
}

/* The reverse: how much each of the N queries on this page reads from key m. Every query's denominator has all M
   keys in it, so these are worked out once for each head and kept. */
function readersOf(stage, block, head, m) {
  if (head === MEAN) return meanOverHeads(stage, stage.N, (one) => readersOf(stage, block, one, m));
  const numbers = vectors(stage, block);
  const totals = denominators(stage, block, head);
  const readers = new Float64Array(stage.N);
  for (let n = 0; n < stage.N; n++) readers[n] = Math.exp(scoreOf(stage, numbers, head, n, m) - totals[n]);
  return readers;
}

function denominators(stage, block, head) {
  block.totals = block.totals || [];
  if (!block.totals[head]) {
    const totals = new Float64Array(stage.N);
    for (let n = 0; n < stage.N; n++) totals[n] = logSumExp(scoresOf(stage, block, head, n));
    block.totals[head] = totals;
  }
  return block.totals[head];
}

function meanOverHeads(stage, length, ofHead) {
  const mean = new Float64Array(length);
  for (let head = 0; head < stage.heads; head++) {
    const values = ofHead(head);
    for (let i = 0; i < length; i++) mean[i] += values[i] / stage.heads;
  }
  return mean;
}

/* Cosine of the angle between the features of token n and of every token kept, as the stage hands them on. The class
   token has no place in that map: null. */
function cosinesOf(stage, n) {
  const chosen = n - stage.classTokens;
  if (chosen < 0) return null;
  const units = unitFeatures(stage);
  const C = stage.channels;
  const cosines = new Float64Array(stage.gridN);
  for (let i = 0; i < stage.gridN; i++) cosines[i] = dot(units, chosen * C, units, i * C, C);
  return cosines;
}

/* Each token's features, scaled to length 1. */
function unitFeatures(stage) {
  if (!stage.units) {
    const C = stage.channels;
    const whole = decode(stage.features, Int8Array);
    stage.units = Float32Array.from(whole);
    for (let i = 0; i < whole.length; i += C) {
      const length = Math.sqrt(dot(whole, i, whole, i, C)) || 1;
      for (let c = i; c < i + C; c++) stage.units[c] /= length;
    }
  }
  return stage.units;
}

/* A place on the picture is {x, y} in fractions of it, so that it survives a change of stage; or the class token. */
function queryAt(stage, place) {
  if (place.classToken && stage.classToken) return 0;
  const row = nearest(stage.rows, place.y / stage.cell[0] - 0.5);
  const column = nearest(stage.columns, place.x / stage.cell[1] - 0.5);
  return stage.classTokens + row * stage.columns.length + column;
}

function nearest(kept, position) {
  let best = 0;
  kept.forEach((one, i) => {
    if (Math.abs(one - position) < Math.abs(kept[best] - position)) best = i;
  });
  return best;
}

/* Row and column of query n in the model's grid, or null for the class token. */
function tokenOf(stage, n) {
  const i = n - stage.classTokens;
  if (i < 0) return null;
  return { row: stage.rows[Math.floor(i / stage.columns.length)], column: stage.columns[i % stage.columns.length] };
}

/* The middle of query n's token. */
function placeOf(stage, n) {
  const token = tokenOf(stage, n);
  if (!token) return { x: 0.5, y: 0.5, classToken: true };
  return { x: (token.column + 0.5) * stage.cell[1], y: (token.row + 0.5) * stage.cell[0], classToken: false };
}

/* The key that the token at this place became a part of; at an edge that fills no square, the nearest key. */
function keyAt(stage, place) {
  if (place.classToken && stage.classToken) return 0;
  const at = [place.y, place.x].map((fraction, axis) =>
    Math.min(stage.keyGrid[axis] - 1, Math.max(0, Math.floor(fraction / stage.keyCell[axis]))));
  return stage.classTokens + at[0] * stage.keyGrid[1] + at[1];
}

/* Row and column of key m among the keys, or null for the class token. */
function keyOf(stage, m) {
  const i = m - stage.classTokens;
  return i < 0 ? null : { row: Math.floor(i / stage.keyGrid[1]), column: i % stage.keyGrid[1] };
}
