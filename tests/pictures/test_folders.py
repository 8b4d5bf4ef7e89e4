"""Folders of pictures: which are found, in which order, and what stands for a class."""

import os
from contextlib import suppress

import pytest

from pvt_numpy.pictures.folders import class_folders, find_pictures


def test_find_pictures_is_ordered_and_does_not_follow_links(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("z.JPG", "b/a.png", "b/notes.txt"):
        (tmp_path / name).write_bytes(b"")
    with suppress(OSError):  # Windows without the right to make links
        (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert find_pictures(tmp_path) == [tmp_path / "b" / "a.png", tmp_path / "z.JPG"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_find_pictures_leaves_out_pipes_and_keeps_broken_links(tmp_path):
    """A pipe among the pictures of a folder must not keep a command waiting for ever."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    assert find_pictures(tmp_path) == [tmp_path / "gone.jpg"]


def test_a_folder_that_cannot_be_read_is_named_as_a_picture_would_be(tmp_path, monkeypatch):
    """Simulated, as the administrator can read every folder."""

    def walk(folder, onerror):
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "closed")))
        yield str(tmp_path), ["closed"], ["a.png"]

    (tmp_path / "a.png").touch()
    monkeypatch.setattr(os, "walk", walk)
    assert find_pictures(tmp_path) == [tmp_path / "a.png", tmp_path / "closed"]


def test_class_folders_are_in_order_and_hidden_ones_are_left_out(tmp_path):
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    (tmp_path / "loose.png").write_bytes(b"")
    assert list(class_folders(tmp_path).items()) == [(name, [tmp_path / name / "1.png"]) for name in ("a", "b")]
    with pytest.raises(FileNotFoundError, match="no such folder"):
        class_folders(tmp_path / "nowhere")
