/* The arithmetic of one query and head: from q and k to a score, from the scores to shares that add up to 1. */
"use strict";

const LISTED = 10; // keys in the table; the others share one row

function showArithmetic() {
  const { stage, block } = state;
  const head = state.head === MEAN ? 0 : state.head; // a mean has shares but no scores
  const query = queryAt(stage, asking());
  const scores = scoresOf(stage, block, head, query);
  const shares = softmax(scores);
  const order = largestOf(shares, LISTED);
  const key = state.key !== null && state.key < stage.M ? state.key : order[0];
  const who = state.pin ? "The pinned query, " : state.pointed ? "The query under the pointer, " : "The query in the middle, ";
  say(find("#arithmetic-subject"), who, bold(tokenName(stage, query)), `, in stage ${stage.index + 1}, block ${block.index + 1}, head ${head + 1}`,
    state.head === MEAN ? " (a mean over heads has no scores of its own). " : ". ",
    state.pin ? "" : state.pointed ? "Pin one to hold it still." : "Point at the picture to choose another.");
  showProduct(head, query, key, scores[key]);
  showSoftmax(scores, shares, order, key);
  showOnward(head, query, shares, order);
}

/* q, k and their products as strips, their sum and the channels that weigh most. */
function showProduct(head, query, key, score) {
  const { stage, block } = state;
  find("#product-key").textContent = `with the key ${keyName(stage, key)}`;
  find(".strips").classList.toggle("absent", stage.onlyScores);
  if (stage.onlyScores) {
    say(find("#product-sum"), `q·k / √${stage.d} = `, bold(figure(score)));
    say(find("#product-channels"), "To keep the file small, this stage has its scores on this page, but not the q and k they come from.");
    return;
  }
  const q = queryVector(stage, block, head, query);
  const k = keyVector(stage, block, head, key);
  const products = q.map((value, c) => value * k[c]);
  const strips = [["q", q, "the query"], ["k", k, "the key"], ["product", products, "query times key, channel by channel"]];
  for (const [name, values, what] of strips) showStrip(name, values, maximum(values.map(Math.abs)), what);
  const weightiest = largestOf(products.map(Math.abs), 4);
  const sum = dot(q, 0, k, 0, stage.d);
  say(find("#product-sum"), `q·k = sum of ${stage.d} products = `, bold(figure(sum)), ";  score = ", `${figure(sum)} / √${stage.d} = `,
    bold(figure(score)));
  say(find("#product-channels"), "Weightiest channels: ", weightiest.map((c) =>
    `${c + 1}: ${figure(q[c], 2)} · ${figure(k[c], 2)} = ${figure(products[c], 2)}`).join(";  "), ".");
}

/* The rows of the table are made once, so that moving the query changes text and nothing else. */
function buildContributions(onChoose) {
  const rows = Array.from({ length: LISTED }, (_, i) => {
    const button = element("button", { type: "button" });
    button.addEventListener("click", () => onChoose(i));
    const bar = element("i");
    return element("tr", {}, element("td", {}, button), ...["q·k", "score", "e", "share"].map(() => element("td")),
      element("td", { class: "bar" }, bar));
  });
  find("#contributions tbody").replaceChildren(...rows);
  const foot = () => element("tr", {}, ...Array.from({ length: 6 }, () => element("td")));
  find("#contributions tfoot").replaceChildren(foot(), foot());
}

function showSoftmax(scores, shares, order, key) {
  const { stage } = state;
  const top = scores[order[0]];
  const powers = scores.map((score) => Math.exp(score - top));
  listedKeys = order;
  find("#contributions tbody").childNodes.forEach((row, i) => {
    const m = order[i];
    row.style.visibility = m === undefined ? "hidden" : "visible";
    if (m === undefined) return;
    const [name, product, score, power, share, bar] = row.childNodes;
    name.firstChild.textContent = `${DIGITS[i] || ""} ${keyName(stage, m)}`.trim();
    name.firstChild.setAttribute("aria-pressed", m === key);
    product.textContent = figure(scores[m] * Math.sqrt(stage.d));
    score.textContent = figure(scores[m]);
    power.textContent = figure(powers[m], 4);
    share.textContent = figure(shares[m], 5);
    bar.firstChild.style.transform = `scaleX(${shares[m] / shares[order[0]]})`;
  });
  const sumOf = (values, keys) => keys.reduce((sum, m) => sum + values[m], 0);
  const [others, total] = find("#contributions tfoot").childNodes;
  const all = [...shares.keys()];
  const rest = all.filter((m) => !order.includes(m));
  fillRow(others, [`the other ${rest.length}`, "", "", figure(sumOf(powers, rest), 4), figure(sumOf(shares, rest), 5)]);
  fillRow(total, [`all ${stage.M}`, "", "", figure(sumOf(powers, all), 4), figure(sumOf(shares, all), 5)]);
  showScoreMaps(scores, shares);
}

/* The keys in their places, before and after softmax. */
function showScoreMaps(scores, shares) {
  const { stage } = state;
  const [rows, columns] = stage.keyGrid;
  pixelMap(find("#score-map"), spanned(scores.subarray(stage.classTokens)), rows, columns, RAMP_TABLE);
  pixelMap(find("#share-map"), shades(shares.subarray(stage.classTokens), maximum(shares)), rows, columns, RAMP_TABLE);
  say(find("#score-note"), `${stage.M} scores, ${figure(minimum(scores), 2)} to ${figure(maximum(scores), 2)}`);
  say(find("#share-note"), `${stage.M} shares, ${percent(minimum(shares))} to ${percent(maximum(shares))}`);
}

function fillRow(row, texts) {
  texts.forEach((text, i) => { row.childNodes[i].textContent = text; });
}

let listedKeys = []; // the keys in the table, largest share first
