"""Which files of a folder are pictures, and a folder with one sub-folder per class, for measuring and for training."""

import os
from pathlib import Path

from ..system.files import check_not_dangling

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}


def find_pictures(folder):
    """The picture files below `folder`, by their suffix, in a fixed order; links to folders are not followed.

    Pipes and devices, on which reading could wait for ever, are no pictures; a link that leads nowhere and a folder
    that cannot be read are, to be named by whoever opens them.
    """
    closed = []
    walk = os.walk(folder, onerror=lambda error: closed.append(Path(error.filename)))
    found = [Path(top, name) for top, _, names in walk for name in names]
    found = [path for path in found if path.suffix.lower() in PICTURE_SUFFIXES]
    return sorted(closed + [path for path in found if path.is_file() or path.is_symlink() and not path.exists()])


def class_folders(folder):
    """Class name -> picture files, of every sub-folder, in alphabetical order; hidden folders are no classes."""
    folder = Path(folder)
    check_not_dangling(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: found no such folder; expected one with a sub-folder per class")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {name: find_pictures(folder / name) for name in names}
