/* What follows the probabilities: values, their sum, the heads side by side, W^O, the residual, and the next block. */
"use strict";

/* The numbers of one token in one block: of each head its sum of values, then what attention and the residual make of it.
   Names as in `attend` and `block` of the package. */
function follow(stage, block, n) {
  const { v, x, proj, bias } = following(stage, block);
  const { M, d, heads, channels: C } = stage;
  const merged = new Float64Array(C);
  for (let head = 0; head < heads; head++) {
    const probs = attentionOf(stage, block, head, n);
    for (let m = 0; m < M; m++) {
      for (let c = 0; c < d; c++) merged[head * d + c] += probs[m] * v[(head * M + m) * d + c];
    }
  }
  const before = x.subarray(n * C, (n + 1) * C);
  const y = Float64Array.from(bias, (b, c) => b + dot(proj, c * C, merged, 0, C));
  return { merged, y, x: before, residual1: y.map((value, c) => value + before[c]) };
}

/* v, the residual stream x and W^O of a block, decoded when first asked for. */
function following(stage, block) {
  block.following = block.following || {
    v: restore(block.v, block.vScale, stage.bits, stage.d),
    x: restore(block.x, block.xScale, stage.bits, stage.channels),
    proj: restore(block.proj, block.projScale, stage.bits, stage.channels),
    bias: decode(block.projBias, Float32Array),
  };
  return block.following;
}

/* The lengths of token n: of the residual stream that comes in, and of what attention and MLP add to it. */
function lengthsOf(stage, block, n) {
  block.sizes = block.sizes || restore(block.lengths, block.lengthsScale, 16, stage.N);
  return [0, 1, 2].map((row) => block.sizes[row * stage.N + n]);
}

const lengthOf = (values) => Math.sqrt(dot(values, 0, values, 0, values.length));

function showOnward(head, query, shares, order) {
  const { stage, block } = state;
  find("#onward").classList.toggle("absent", !stage.follows);
  find("#onward-note").textContent = stage.follows ? ""
    : "To keep the file small, the values, Wᴼ and the residual stream of this stage are not on this page; the lengths below are.";
  if (!stage.follows) return;
  const { d, heads, M } = stage;
  const numbers = follow(stage, block, query);
  const { v } = following(stage, block);
  const read = order.slice(0, NUMBERED);
  const valueOf = (m) => v.subarray((head * M + m) * d, (head * M + m + 1) * d);
  const sum = numbers.merged.subarray(head * d, (head + 1) * d);
  const largest = Math.max(...[...read.map(valueOf), sum].map((values) => maximum(values.map(Math.abs))));
  for (let i = 0; i < NUMBERED; i++) showStrip(`value-${i}`, i < read.length ? valueOf(read[i]) : sum.map(() => 0), largest,
    `the value of key ${i + 1}`);
  read.forEach((m, i) => { find(`#weight-${i}`).textContent = `${DIGITS[i]} ${figure(shares[m], 4)} ·`; });
  showStrip("sum", sum, largest, "the sum of all values, each times its share");
  const c = largestOf(sum.map(Math.abs), 1)[0];
  const parts = read.map((m) => shares[m] * valueOf(m)[c]);
  say(find("#sum-words"), `In channel ${c + 1}: `, ...read.map((m, i) => `${i ? " + " : ""}${figure(shares[m], 4)} · ${figure(valueOf(m)[c])}`),
    ` + ${figure(sum[c] - parts.reduce((a, b) => a + b, 0))} of the other ${M - read.length} keys = `, bold(figure(sum[c])));
  const { merged, y, x, residual1 } = numbers;
  showStrip("merged", merged, maximum(merged.map(Math.abs)), "the heads side by side", heads, head);
  const wide = maximum(y.map(Math.abs));
  showStrip("y", y, wide, "what attention puts out");
  const most = largestOf(y.map(Math.abs), 1)[0];
  say(find("#y-words"), `In channel ${most + 1}: the sum of ${stage.channels} products of row ${most + 1} of W`, element("sup", {}, "O"),
    ` with the heads, plus the bias ${figure(following(stage, block).bias[most])}, = `, bold(figure(y[most])));
  const widest = Math.max(...[x, y, residual1].map((values) => maximum(values.map(Math.abs))));
  showStrip("x", x, widest, "the residual stream before");
  showStrip("added", y, widest, "what attention adds");
  showStrip("residual1", residual1, widest, "the residual stream after attention");
  say(find("#residual-words"), `In channel ${most + 1}: ${figure(x[most])} + ${figure(y[most])} = `, bold(figure(residual1[most])),
    ". Lengths: ", figure(lengthOf(x)), " and ", figure(lengthOf(y)), " make ", bold(figure(lengthOf(residual1))), ".");
}

function showStrip(name, values, largest, what, parts = 1, marked = -1) {
  const canvas = find(`#strip-${name}`);
  paintStrip(canvas, values, largest, parts, marked);
  canvas.setAttribute("aria-label", `${values.length} numbers of ${what}, from ${figure(minimum(values))} to ${figure(maximum(values))}`);
}

/* The lengths at every block on this page, in every stage: the chosen place's own token. */
let lengthRows = []; // {stage, block, row}

function buildLengths(onChoose) {
  lengthRows = page.stages.flatMap((stage) => stage.blocks.map((block) => {
    const button = element("button", { type: "button" }, `stage ${stage.index + 1}, block ${block.index + 1}`);
    button.addEventListener("click", () => onChoose(stage, block));
    const bars = ["x", "attention", "mlp"].map((name) => element("i", { class: name }));
    const row = element("tr", {}, element("td", {}, button), element("td"), element("td"), element("td"), element("td", { class: "bar" }, ...bars));
    return { stage, block, row, bars };
  }));
  find("#lengths tbody").replaceChildren(...lengthRows.map(({ row }) => row));
}

function showLengths() {
  const place = asking();
  const all = lengthRows.map(({ stage, block }) => lengthsOf(stage, block, queryAt(stage, place)));
  lengthRows.forEach(({ stage, block, row, bars }, i) => {
    const widest = Math.max(...all.filter((_, other) => lengthRows[other].stage === stage).flat());
    all[i].forEach((length, part) => {
      row.childNodes[part + 1].textContent = figure(length, 2);
      bars[part].style.transform = `scaleX(${length / (widest || 1)})`;
    });
    row.classList.toggle("here", block === state.block);
  });
  const [x, attention, mlp] = lengthsOf(state.stage, state.block, queryAt(state.stage, place));
  for (const [name, length] of Object.entries({ x, attention, mlp })) {
    find(`#flow-${name}`).textContent = figure(length, 2);
    find(`#flow-${name}-bar`).style.transform = `scaleX(${length / Math.max(x, attention, mlp)})`;
  }
}

/* Where the numbers go next: the next block on this page, or the next stage, or the head. */
function nextBlock() {
  const at = lengthRows.findIndex(({ block }) => block === state.block);
  return lengthRows[at + 1];
}

function markNext() {
  const next = nextBlock();
  const { stage } = state;
  const button = find("#next-block");
  button.textContent = !next ? "Back to the picture: the answer" : next.stage === stage ? `On to block ${next.block.index + 1}`
    : `On to stage ${next.stage.index + 1}, block ${next.block.index + 1}`;
  say(find("#next-words"), !next ? (page.predictions.length ? "This was the last block: what it hands on becomes the answer." : "This was the last block.")
    : next.stage === stage ? "The MLP adds its part, and the next block reads the sum." :
      "The MLP adds its part. Then neighbouring tokens are merged into wider ones: the query goes on in its parent square.");
}
