"""Files, folders and standard input, each sound once under a name of its own."""

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common import audio
from common.separation.inputs import Part, excerpt, find, list_sounds, output_names
from common.separation.separator import SeparationError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = "a/x.wav", "a/b/x.MP3", "a/b/cover.jpg", "a/.hidden/x.wav", "c/x.wav"
    for path in (tmp_path / each for each in paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound")
    return tmp_path


def names_in(words, tree):
    inputs = find(words, tree / "out", tree)
    return {each.label: each.name for each in inputs.files}


def test_the_tree_of_a_folder_is_kept(tree):
    assert names_in(["a"], tree) == {"a/b/x.MP3": "b/x", "a/x.wav": "x"}
    assert [str(path) for path in find(["a"], tree, tree).left_out] == ["a/b/cover.jpg"]


def test_several_folders_keep_their_names_whatever_they_hold(tree):
    names = names_in(["a", "c"], tree)
    assert names == {"a/b/x.MP3": "a/b/x", "a/x.wav": "a/x", "c/x.wav": "c/x"}


def test_a_file_is_taken_once(tree):
    assert names_in(["a", "a/x.wav", "a/b/../x.wav", str(tree / "a")], tree) == {
        "a/b/x.MP3": "b/x",
        "a/x.wav": "x",
    }


def test_a_file_beside_a_folder_with_its_name(tree):
    assert names_in(["a/b", "c/x.wav"], tree) == {
        "a/b/x.MP3": "a/b/x",
        "c/x.wav": "c/x",
    }


def test_the_stems_in_a_folder_are_not_its_sounds(tree):
    sounds, _ = list_sounds(tree, tree / "c")
    assert [path.parent.name for path in sounds] == ["b", "a"]
    with pytest.raises(SeparationError, match="is the input and the --output"):
        list_sounds(tree, tree / "a" / "..")


def test_links_are_followed_once(tree):
    (tree / "a" / "b" / "loop").symlink_to(tree / "a")
    (tree / "c" / "linked").symlink_to(tree / "a" / "b")
    assert len(list_sounds(tree / "a", tree / "out")[0]) == 2
    names = [
        path.relative_to(tree).as_posix() for path in list_sounds(tree / "c", tree)[0]
    ]
    assert names == ["c/linked/loop/x.wav", "c/linked/x.MP3", "c/x.wav"]


def test_a_folder_that_cannot_be_read_is_named(tree):
    for folder in (tree, tree / "a"):
        folder.chmod(0o755)
    (tree / "a" / "b").chmod(0)
    user = os.geteuid()
    try:
        os.seteuid(user or 65534)  # root may read everything
        with pytest.raises(SeparationError, match=r"a/b cannot be read: Permission"):
            list_sounds(Path("a"), tree / "out")
    finally:
        os.seteuid(user)
        (tree / "a" / "b").chmod(0o755)


def test_files_that_differ_in_their_suffix_are_refused(tree):
    (tree / "a" / "x.flac").write_bytes(b"sound")
    with pytest.raises(SeparationError, match=r"a/x.flac and a/x.wav would both be"):
        names_in(["a"], tree)


def stdin(data, is_terminal=False):
    return SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: is_terminal)


def test_standard_input_becomes_a_file(tree, monkeypatch):
    monkeypatch.setattr(sys, "stdin", stdin(b"bytes of a sound"))
    (each,) = find(["-"], tree / "out", tree).files
    assert (each.name, each.label) == ("stdin", "-")
    assert each.path.read_bytes() == b"bytes of a sound"


@pytest.mark.parametrize(
    ("source", "words"),
    [(stdin(b""), "standard input is empty"), (stdin(b"a", True), "is a terminal")],
)
def test_standard_input_without_sound_is_reported_in_one_sentence(
    tree, monkeypatch, source, words
):
    monkeypatch.setattr(sys, "stdin", source)
    with pytest.raises(SeparationError, match=words):
        find(["-"], tree / "out", tree)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Part(0.005), (40, 60)),
        (Part(0.005, 9.0), (40, 60)),
        (Part(0.005, 0.001), (40, 8)),
        (Part(0.005, 1e-9), (40, 1)),
    ],
)
def test_a_part_ends_with_the_file_and_has_a_sample(tmp_path, part, expected):
    audio.write(tmp_path / "a.wav", np.zeros([1, 100], np.float32), 8000)
    actual = excerpt(tmp_path / "a.wav", part)
    assert (actual.start, actual.samples) == expected


def test_names_of_files_are_made_distinct(tree):
    names = output_names([tree / "a" / "x.wav", tree / "c" / "x.wav"])
    assert list(names.values()) == ["a/x", "c/x"]
