"""Folders of pictures: which are found, in which order, what is said of the rest, and what stands for a class."""

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from pvt_numpy.pictures.decode import open_image
from pvt_numpy.pictures.folders import class_folders, find_pictures, passed_over, picture_suffixes

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX", "SGI", "JPEG2000",
           "AVIF", "DDS", "QOI", "ICNS")  # fmt: skip


def test_find_pictures_is_ordered_and_does_not_follow_links(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("z.JPG", "b/a.png", "b/notes.txt"):
        (tmp_path / name).write_bytes(b"")
    with suppress(OSError):  # Windows without the right to make links
        (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert find_pictures(tmp_path) == [tmp_path / "b" / "a.png", tmp_path / "z.JPG"]


def test_every_format_that_pillow_decodes_is_found_and_nothing_else(tmp_path):
    always = ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .bmp .dib .tif .tiff .webp .pnm .tga .qoi .jp2 .psd .ico"
    assert {*always.split()} <= picture_suffixes()
    assert not {".txt", ".heic", ".pdf", ".eps", ".mpg", ".h5", ".wmf", ""} & picture_suffixes()
    for suffix in picture_suffixes():
        (tmp_path / f"a{suffix.upper()}").touch()
    assert len(find_pictures(tmp_path)) == len(picture_suffixes())


@pytest.mark.parametrize("format", FORMATS)
def test_each_suffix_of_a_format_opens(tmp_path, format):
    for suffix in (suffix for suffix in picture_suffixes() if Image.EXTENSION[suffix] == format):
        path = tmp_path / f"a{suffix}"
        try:
            Image.new("RGB", (16, 16), "white").save(path, format)
        except (KeyError, OSError):
            pytest.skip(f"this Pillow does not write {format}")
        assert open_image(path).getpixel((8, 8)) == (255, 255, 255)


def test_what_is_passed_over_is_counted_by_its_suffix(tmp_path):
    names = ("a.txt", "b.TXT", "c/d.txt", "IMG_1.HEIC", "Thumbs.db", ".DS_Store", "README", "._a.jpg", "a.jpg")
    (tmp_path / "c").mkdir()
    for name in names:
        (tmp_path / name).touch()
    assert find_pictures(tmp_path, passed := Counter()) == [tmp_path / "a.jpg"]
    assert passed == {".txt": 3, ".heic": 1, ".db": 1, ".DS_Store": 1, "no suffix": 1, "._*": 1}
    said = passed_over(tmp_path, passed)
    assert said.startswith(f"{tmp_path}: 8 files are no pictures: 3 .txt, 1 ")
    assert "HEIC must become JPEG: sips -s format jpeg" in said
    assert passed_over("x", Counter({".txt": 1})) == "x: 1 file is no picture: 1 .txt"
    many = Counter({f".{n}": 2 for n in range(100)})
    assert passed_over("x", many).endswith("2 .7, 184 of other kinds")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_find_pictures_leaves_out_pipes_and_keeps_broken_links(tmp_path):
    """A pipe among the pictures of a folder must not keep a command waiting for ever."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "round.jpg").symlink_to("round.jpg")
    (tmp_path / "to_pipe.jpg").symlink_to("pipe.jpg")
    (tmp_path / "here.jpg").symlink_to(".")
    assert find_pictures(tmp_path, passed := Counter()) == [tmp_path / "gone.jpg", tmp_path / "round.jpg"]
    assert passed == {"pipe or device": 2, "link to a folder": 1}
    for name, target in (("gone", "nowhere"), ("round", "round.jpg")):
        with pytest.raises(FileNotFoundError, match=rf"{name}\.jpg: found a dangling link, to {target}; expected what"):
            open_image(tmp_path / f"{name}.jpg")


def test_a_folder_that_cannot_be_read_is_named_as_a_picture_would_be(tmp_path, monkeypatch):
    """Simulated, as the administrator can read every folder."""
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()

    def scandir(path, ours=os.scandir):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return ours(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert find_pictures(tmp_path) == [tmp_path / "closed", tmp_path / "open" / "a.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has shorter paths")
@pytest.mark.parametrize(("name", "deep"), [("d", 1200), ("e" * 200, 25)])
def test_folders_deeper_than_recursion_and_than_a_path_may_be_long(tmp_path, monkeypatch, name, deep):
    """The first is walked to its end; of the second, the folder at which the system refuses is named."""
    monkeypatch.chdir(tmp_path)
    for _ in range(deep):
        os.mkdir(name)
        os.chdir(name)
    Image.new("RGB", (8, 8)).save("a.png")
    (found,) = find_pictures(tmp_path)
    if name == "d":
        assert open_image(found).size == (8, 8)
    else:
        with pytest.raises(ValueError, match="found a file that cannot be read .*; expected a picture"):
            open_image(found)
    os.remove("a.png")
    for _ in range(deep):  # pytest's own clearing away recurses
        os.chdir("..")
        os.rmdir(name)


def test_class_folders_are_in_order_and_hidden_ones_are_left_out(tmp_path):
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    for name in ("loose.PNG", "notes.txt", "b/list.csv"):
        (tmp_path / name).write_bytes(b"")
    found = list(class_folders(tmp_path, passed := Counter()).items())
    assert found == [(name, [tmp_path / name / "1.png"]) for name in ("a", "b")]
    assert passed == {"hidden folder": 1, ".png beside the classes": 1, ".txt": 1, ".csv": 1}
    with pytest.raises(FileNotFoundError, match="no such folder"):
        class_folders(tmp_path / "nowhere")
