"""Whole commands on broken models, broken pictures and folders with odd names, each in a process of its own.

What must hold: exit status 0, 1 or 2, every line on stderr begins with the command's name (or is argparse's usage),
one line for each thing that failed, no traceback. Nothing here needs missing rights, which an administrator never
lacks: what cannot be read is a link to nowhere, a link in a circle, or a folder named as a picture.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

from PIL import Image

from tests import processes
from tests.pictures.picture_cases import jpeg_claim

from .models import assembled, sound_models
from .picture_files import WHOLE

WEIGHTS = "model.safetensors"
ODD_NAMES = [
    "new\nline.png", "tab\tbell\a.png", "\x1b[31mred\x1b[2J.png", "-leading.png", "--json.png", "a b 'c\".png",
    "%s{0}.png", "$HOME`id`.png", "<b>&amp;.png", "\u202egnp.exe.png", "日本語 é.PNG", "n" * 240 + ".png", ".png",
    "..png", "*.png", "~.png", "-.png", "\\back.png", "C:drive.png", "nul.png",
]  # fmt: skip
NOT_TEXT = os.fsdecode(b"caf\xe9\xff.png")  # bytes that are no UTF-8, if the file system takes them


def run(command, *arguments, **options):
    """(exit status, lines on stdout, lines on stderr) of `python -m pvt_numpy.COMMAND`."""
    streams = {"encoding": None, "env": {"PYTHONIOENCODING": "utf-8"}, "timeout": 60}
    status, *texts = processes.command(command, *arguments, **streams, **options)
    out, err = (text.decode("utf-8", "backslashreplace") for text in texts)
    assert "Traceback" not in err, err[-2000:]
    assert status in (0, 1, 2), f"exit status {status}: {err[-500:]}"
    lines = err.splitlines()
    if status == 2:
        assert lines[0].startswith("usage: "), err
    else:
        assert all(line.startswith((f"{command}: error: ", f"{command}: note: ")) for line in lines), err[-2000:]
        failed = any(": error: " in line for line in lines)  # a note tells what was passed over
        assert (status == 1) == failed, f"exit status {status}, and on stderr: {err[-500:]}"
    steering = [c for c in out + err if not c.isprintable() and c not in "\r\n"]
    assert not steering, f"control characters {steering} on the terminal"
    return status, out.splitlines(), lines


def odd_folder(folder):
    """Pictures with every odd name that the file system takes, and links in circles among them; returns the names of
    the pictures."""
    made = []
    for name in [*ODD_NAMES, NOT_TEXT]:
        with contextlib.suppress(OSError, ValueError):  # a name that this file system does not take
            Image.new("RGB", (9, 7), "red").save(folder / name, "PNG")
            made.append(name)
    with contextlib.suppress(OSError):  # Windows without the right to make links
        (folder / "round").symlink_to(folder, target_is_directory=True)
        (folder / "there").symlink_to(folder / "back")
        (folder / "back").symlink_to(folder / "there")
    return made


def write_files(folder, contents):
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def broken_folder(folder):
    """Pictures that cannot be read, each in another way; returns their names."""
    jpeg, zipped = WHOLE["JPEG"], WHOLE["deflated TIFF"]
    contents = {
        "text.jpg": b"no picture", "empty.png": b"", "cut.jpg": jpeg[:300], "bomb.ppm": b"P6 60000 60000 255\n",
        "small bomb.jpg": jpeg_claim(jpeg, 9400, 9400), "noisy.tif": zipped[:256] + b"\xff" * 4 + zipped[260:],
    }  # fmt: skip
    write_files(folder, contents)
    made = list(contents)
    with contextlib.suppress(OSError):  # Windows without the right to make links
        for name, target in (("nowhere.png", "none.png"), ("circle.png", "circle.png")):
            (folder / name).symlink_to(folder / target)
            made.append(name)
    return made


def classify_odd_names(folder):
    """Every picture of the folder is classified, whatever it is called, also when named one by one."""
    model, folder = folder / WEIGHTS, folder / "odd"
    folder.mkdir()
    model.write_bytes(sound_models()[1].raw)
    names, options = odd_folder(folder), ["--json", "--model", model]
    status, out, err = run("classify", folder, *options)
    assert (status, [line for line in err if "files are no pictures" not in line]) == (0, [])
    found = sorted(Path(json.loads(line)["image"]).name for line in out)
    assert found == sorted(name for name in names if os.path.splitext(name)[1]), set(names) ^ set(found)
    status, out, err = run("classify", *options, *(folder / name for name in names))
    assert (status, len(out)) == (0, len(names))
    status, out, err = run("classify", folder, "--model", model)
    assert status == 0
    assert sum(line.startswith(str(folder)) for line in out) == len(found)
    dashes = [name for name in names if name.startswith("-")]
    status, out, err = run("classify", *options, "--", *dashes, cwd=folder)
    assert (status, len(out)) == (0, len(dashes))


def classify_broken_pictures(folder):
    """One line for each that cannot be read; the sound one among them is classified."""
    names = broken_folder(folder)
    (folder / "folder.jpg").mkdir()  # a folder named as a picture, found and given; it holds none
    sound = folder / "sound.png"
    Image.new("RGB", (9, 7), "red").save(sound)
    status, out, err = run("classify", folder, "--json")
    assert (status, len(out)) == (1, 1), out
    assert len(err) == len(names), err
    for name in names:
        assert sum(name in line for line in err) == 1, (name, err)
    given = [folder / name for name in (*names, "folder.jpg", "none.jpg", "n" * 5000, "d/" * 3000 + "x.jpg", "")]
    status, out, err = run("classify", "--json", *given[:-1], sound)
    assert (status, len(out), len(err)) == (1, 1, len(given) - 1), err
    status, out, err = run("classify", "-", given=WHOLE["JPEG"][:200])
    assert (status, len(err)) == (1, 1)
    assert "standard input" in err[0]


def broken_models(folder):
    """One line, whichever command reads it, for a model that is broken in any of many ways."""
    sound = next(one for one in sound_models() if one.kind == "hf-v2")
    photo = folder / "photo.png"
    Image.new("RGB", (40, 40), "red").save(photo)
    raw, text = sound.raw, {name: json.dumps(values).encode() for name, values in sound.beside.items()}
    huge = text["config"].replace(b'"image_size": 32', b'"image_size": 2147483647')
    nested = b"[" * 100_000
    claim = {"x": {"dtype": "F32", "shape": [250_000_000], "data_offsets": [0, 10**9]}}
    broken = {
        "cut": {WEIGHTS: raw[:-1]}, "claim": {WEIGHTS: assembled(json.dumps(claim).encode(), b"")},
        "twice": {"config.json": text["config"].replace(b"{", b'{"num_labels": 3, ', 1)},
        "nested": {"config.json": nested}, "digits": {"config.json": b'{"x": ' + b"9" * 10**5 + b"}"},
        "list": {"config.json": b"[]"}, "empty": {"config.json": b""}, "binary": {"config.json": bytes(range(256))},
        "labels": {"config.json": text["config"].replace(b'"2":', b'"3":')}, 
        # without a recipe beside it, the configuration's size is the picture's
        "huge": {"config.json": huge, "preprocessor_config.json": None},
        "size": {"preprocessor_config.json": b'{"size": {"height": 1000000, "width": 1000000}}'},
        "outside\nin": {f"{WEIGHTS}.index.json": b'{"weight_map": {"x": "../photo.png"}}', WEIGHTS: None},
        "\x1b[31mname": {"config.json": b"{}"}, "nothing": {WEIGHTS: None},
    }  # fmt: skip
    for name, damage in broken.items():
        place = folder / (name if sys.platform != "win32" else "".join(filter(str.isalnum, name)))
        place.mkdir()
        files = {WEIGHTS: raw} | {f"{key}.json": value for key, value in text.items()} | damage
        write_files(place, {file: content for file, content in files.items() if content is not None})
        status, out, err = run("classify", photo, "--model", place)
        assert status == 1, (name, out)
        assert len(err) == 1, err
    for command, arguments in (("convert", [folder / "cut"]), ("summary", [folder / "cut"]),
                               ("explore", [photo, "--model", folder / "nested"]),
                               ("classify", [photo, "--model", "n" * 5000]), ("classify", [photo, "--model", "a\nb"]),
                               ("plots", ["pyramid", photo, "--model", folder / "digits"])):  # fmt: skip
        status, out, err = run(command, *arguments, cwd=folder)
        assert (status, len(err)) == (1, 1), (command, err)


COMMANDS = (classify_odd_names, classify_broken_pictures, broken_models)
