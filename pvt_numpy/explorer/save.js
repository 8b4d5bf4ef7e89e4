/* Taking the view along: as a PNG, and as the line of Python that draws it. */
"use strict";

/* A word of a command line, quoted for the shell if need be. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
}

/* The command that draws this view, or why there is none. */
function commandOf() {
  const { stage, block, head, place, reverse, view } = state;
  const token = tokenOf(stage, queryAt(stage, place));
  const start = ["python -m pvt_numpy.plots"];
  const file = quoted(page.file.startsWith("-") ? `./${page.file}` : page.file);
  const options = page.model.options.map(quoted);
  if (view === "overview") return { line: [...start, "pyramid", file, ...options].join(" ") };
  if (reverse) return { why: "No figure of the package draws who reads from a key." };
  if (!token) return { line: [...start, "class-token", file, ...options].join(" ") };
  const pixel = [token.row, token.column].map((at, axis) => Math.floor((at + 0.5) * stage.cell[axis] * page.input[axis]));
  return {
    line: [...start, "attention", file, ...options, `--stage ${stage.index + 1} --block ${block.index + 1}`,
      ...(head === MEAN ? [] : [`--head ${head + 1}`]), `--query ${pixel}`].join(" "),
  };
}

function showCommand() {
  const { line, why } = commandOf();
  find("#line").value = line || why;
}

/* The picture as it is painted now, its scale and its words below, at the size in which it is painted. */
function drawn() {
  const painted = find("#photo-canvas");
  const unit = painted.width / sizeOf(painted)[0];
  const lines = [`${page.file}, ${page.model.name}`, chosenName(), ...wrapped(find("#caption").textContent, painted.width / unit / 7)];
  const canvas = resized(document.createElement("canvas"), painted.width, painted.height + Math.round((34 + 20 * lines.length) * unit));
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture(), 0, 0, painted.width, painted.height);
  context.drawImage(painted, 0, 0);
  context.setTransform(unit, 0, 0, unit, 0, painted.height);
  const width = painted.width / unit;
  context.drawImage(find("#legend-bar"), 48, 8, width - 116, 10);
  context.fillStyle = "#1b1d28";
  context.font = "13px sans-serif";
  context.fillText("0 %", 8, 18);
  context.fillText(find("#legend-high").textContent, width - 62, 18);
  lines.forEach((text, i) => context.fillText(text, 8, 44 + 20 * i));
  return canvas;
}

function wrapped(text, letters) {
  return text.split(" ").reduce((lines, word) => {
    const last = lines[lines.length - 1];
    if (last !== undefined && last.length + word.length < letters) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
    return lines;
  }, []);
}

function savePicture() {
  const { stage, block, head } = state;
  const name = `${page.file.replace(/\.\w+$/, "")}-stage${stage.index + 1}-block${block.index + 1}-${head === MEAN ? "mean" : `head${head + 1}`}.png`;
  drawn().toBlob((blob) => {
    const link = element("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    URL.revokeObjectURL(link.href);
    tell(`Saved as ${name}.`);
  });
}
