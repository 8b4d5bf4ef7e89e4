"""`python notebooks/measure_maps.py FOLDER`: do a model's maps agree with covering parts of the picture?

For the first pictures of every sub-folder, in turn, it measures how far the answer falls as a grey square covers one
place after the other (`pvt_numpy/analysis/occlusion.py`), correlates the maps of notebook 4 with that, and adds a line
to a table. What is in the table already is not measured again, so a run may be stopped and continued.
`maps_against_covering.csv` is what it gave for the shipped model and 20 photos of each of its ten classes.
"""

import argparse
import csv
import sys
import zlib
from itertools import chain, islice, zip_longest
from pathlib import Path

HERE = Path(__file__).resolve().parent
EPILOG = """examples:
  python notebooks/measure_maps.py photos/val -o mine.csv                    photos/val/golf ball/1.jpg and so on
  python notebooks/measure_maps.py photos/val -o mine.csv --model mine.safetensors --each 20

exit status: 0 measured; 1 failed, said on stderr; 2 wrong usage"""


def main(argv=None):
    """The script."""
    import numpy as np

    from pvt_numpy import load_model, preprocess
    from pvt_numpy.analysis.occlusion import agreement
    from pvt_numpy.pictures.folders import class_folders
    from pvt_numpy.system.checks import wrong
    from pvt_numpy.system.cli import printable, whole_number

    parser = argparse.ArgumentParser(
        prog="python notebooks/measure_maps.py", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures whether a model's maps agree with covering parts of the picture.", epilog=EPILOG,
    )  # fmt: skip
    parser.add_argument("folder", metavar="FOLDER", help="a sub-folder of pictures per class")
    parser.add_argument("-o", "--output", metavar="TABLE", type=Path, required=True,
                        help="the .csv to begin or to continue")  # fmt: skip
    parser.add_argument("--each", metavar="N", type=whole_number(1), default=20,
                        help="pictures of each sub-folder, the first by name (default %(default)s)")  # fmt: skip
    parser.add_argument("--model", metavar="SOURCE", help="another model than the one that ships")
    options = parser.parse_args(argv)

    model = load_model(options.model)
    turns = zip_longest(*class_folders(options.folder).values())
    pictures = [picture for picture in chain.from_iterable(islice(turns, options.each)) if picture]
    if not pictures:
        raise wrong(options.folder, "no pictures in sub-folders", "a sub-folder of pictures per class")
    begun = table(options.output) if options.output.exists() else []
    done = {row["picture"] for row in begun}
    for picture in pictures:
        name = f"{picture.parent.name}/{picture.name}"
        if name in done:
            continue
        pixels = preprocess(picture, **model.preprocessing)
        found = agreement(pixels, model.params, model.config, np.random.default_rng(zlib.crc32(name.encode())))
        row = {"picture": name} | {map: f"{value:.4f}" for map, value in found.items()}
        if begun and begun[0].keys() != row.keys():
            raise wrong(options.output, "a table with other columns", "one that this script has begun, of such a model")
        with open(options.output, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        print(printable(name), flush=True)


def table(path):
    """The rows of a table: name of a column -> text."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))  # the package is used from its checkout
    from pvt_numpy.system.cli import run

    run(main, "measure_maps")
