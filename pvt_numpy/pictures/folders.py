"""Which files of a folder are pictures, and a folder with one sub-folder per class, for measuring and for training.

By their suffix: every one of a format that Pillow decodes. What is passed over is counted, for one line to say so.
"""

import os
from collections import Counter
from functools import cache
from pathlib import Path

from PIL import Image

from ..system.files import check_not_dangling
from .decode import HEIC_TO_JPEG

NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow knows them and cannot; EPS is a program
KINDS_NAMED = 8  # of the files passed over; the rest are counted together


@cache
def picture_suffixes():
    """The suffixes, such as ".jpg", of all formats that the installed Pillow decodes."""
    suffixes = Image.registered_extensions()  # which makes Pillow load its formats
    decoded = {*Image.OPEN, "MPO"} - NOT_DECODED  # an MPO opens as a JPEG
    return {suffix for suffix, format in suffixes.items() if format in decoded}


def find_pictures(folder, passed=None):
    """The picture files below `folder`, by their suffix, in a fixed order; links to folders are not followed.

    Pipes and devices, on which reading could wait for ever, are no pictures; a link that leads nowhere and a folder
    that cannot be read are, to be named by whoever opens them. `passed`: a Counter, in which every file passed over is
    counted by its suffix.
    """
    passed = Counter() if passed is None else passed
    found, folders = [], [os.fspath(folder)]
    while folders:  # and no recursion: folders may lie deeper than Python's stack reaches
        top = folders.pop()
        try:
            entries = list(os.scandir(top))
        except OSError:
            found.append(top)
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif kind := _no_picture(entry):
                passed[kind] += 1
            else:
                found.append(entry.path)
    return sorted(map(Path, found))


def _no_picture(entry):
    """What to call a directory's entry (not a folder) that is no picture; None for a picture."""
    if entry.is_symlink():
        if os.path.isdir(entry.path):
            return "link to a folder"
        file = os.path.isfile(entry.path) or not os.path.exists(entry.path)
    else:
        file = entry.is_file(follow_symlinks=False)
    stem, suffix = os.path.splitext(entry.name)
    if not file:
        return "pipe or device"
    if entry.name.startswith("._"):
        return "._*"  # macOS keeps there what it knows about the file whose name follows
    return None if suffix.lower() in picture_suffixes() else suffix.lower() or (stem if stem[0] == "." else "no suffix")


def passed_over(folder, passed):
    """One sentence on the files of `folder` that a Counter `passed` holds, one or more.

    >>> passed_over("photos", Counter({".txt": 3, ".png beside the classes": 1}))
    'photos: 4 files are no pictures: 3 .txt, 1 .png beside the classes'
    """
    all_of_them, named = sum(passed.values()), passed.most_common(KINDS_NAMED)
    kinds = [f"{count:,} {kind}" for kind, count in named]
    if len(passed) > KINDS_NAMED:
        kinds.append(f"{all_of_them - sum(count for _, count in named):,} of other kinds")
    if passed.keys() & {".heic", ".heif", ".hif"}:
        kinds[-1] += f" (HEIC must become JPEG: {HEIC_TO_JPEG})"
    found = "1 file is no picture" if all_of_them == 1 else f"{all_of_them:,} files are no pictures"
    return f"{folder}: {found}: {', '.join(kinds)}"


def class_folders(folder, passed=None):
    """Class name -> picture files, of every sub-folder, in alphabetical order; hidden folders are no classes.

    `passed`: a Counter of what was passed over, in the classes and beside them.
    """
    passed = Counter() if passed is None else passed
    folder = Path(folder)
    check_not_dangling(folder)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder}: found no such folder; expected one with a sub-folder per class")
    names = []
    for entry in os.scandir(folder):
        if not os.path.isdir(entry.path):
            passed[_no_picture(entry) or f"{os.path.splitext(entry.name)[1].lower()} beside the classes"] += 1
        elif entry.name.startswith("."):
            passed["hidden folder"] += 1
        else:
            names.append(entry.name)
    return {name: find_pictures(folder / name, passed) for name in sorted(names)}
