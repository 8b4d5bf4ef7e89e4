"""What was measured, for people and for programs: a line of text, a row of Markdown, or JSON."""

import json

EXTRA_NAMES = {"onnxruntime": "ONNX Runtime", "compiled": "torch.compile"}


def ms(key):
    return lambda row: f"{row[key]:,.1f} ms" if key in row else "-"


def mb(key):
    return lambda row: f"{row[key]:,.0f} MB" if key in row else "-"


def ratio(key):
    return lambda row: f"{row[key]:.2f}" if key in row else "-"


TIMES = [("ours", 11, ms("pvt_numpy_ms")), ("PyTorch", 11, ms("pytorch_ms")), ("ratio", 5, ratio("ratio_to_pytorch"))]
MEMORY = [("our memory", 10, mb("pvt_numpy_peak_mb")), ("PyTorch's", 9, mb("pytorch_peak_mb"))]
COLUMNS = {  # measurement -> title, width, what stands there
    "forward": [
        ("model", 12, lambda row: row["model"]),
        ("pixels", 6, lambda row: str(row["image_size"])),
        ("batch", 5, lambda row: str(row["batch"])),
        ("GMACs", 7, lambda row: f"{row['gmacs']:.2f}"),
        *TIMES,
        ("products", 11, ms("products_ms")),
        ("share", 5, lambda row: f"{1 / row['ratio_to_products']:.0%}"),
        ("ms/GMAC", 7, lambda row: f"{row['pvt_numpy_ms'] / row['gmacs']:.1f}"),
        *MEMORY,
    ],
    "training step": [("a training step", 44, lambda row: f"{row['model']}, {row['batch']} pictures of "
                       f"{row['image_size']} x {row['image_size']}"), *TIMES, *MEMORY],
    "folder": [("a folder, from files to labels", 44, lambda row: f"each of {row['photos']} photos"), *TIMES, *MEMORY],
    "cold start": [("from the shell prompt to the labels", 44, lambda row: f"{row['picture']}: {row['label']}"),
                   *TIMES, *MEMORY],
}  # fmt: skip


def printer(form):
    """A function that prints rows in this form, "text", "markdown" or "json", a header above each kind's first."""
    before = []

    def show(row):
        if form == "json":
            print(json.dumps(row), flush=True)
            return
        columns = COLUMNS[row["measured"]] + [column for name in EXTRA_NAMES for column in extra(name, row)]
        titles = [title for title, *_ in columns]
        line = as_markdown if form == "markdown" else as_line
        if before[-1:] != [titles]:
            print(*[""] * bool(before), line(columns, titles), sep="\n")
            if form == "markdown":
                print("|" + "---|" * len(titles))
            before.append(titles)
        print(line(columns, [text(row) for *_, text in columns]), flush=True)

    return show


def extra(name, row):
    """The columns of a contender that only `--extras` has."""
    if f"{name}_ms" not in row:
        return []
    return [(EXTRA_NAMES[name], 13, ms(f"{name}_ms")), ("ratio", 5, ratio(f"ratio_to_{name}"))]


def as_line(columns, texts):
    """The first to the left, the others to the right.

    >>> as_line([("model", 8, None), ("ms", 4, None)], ["pvt_tiny", "71"])
    'pvt_tiny   71'
    """
    widths = [max(width, len(title)) for title, width, _ in columns]
    cells = [text.rjust(width) for text, width in zip(texts, widths, strict=True)]
    return " ".join([texts[0].ljust(widths[0]), *cells[1:]])


def as_markdown(columns, texts):
    return "| " + " | ".join(texts) + " |"
