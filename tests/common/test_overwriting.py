"""Outputs that would replace an input."""

import os

import pytest

from common.overwriting import (
    OverwriteError,
    holds,
    refuse_overwriting,
    refuse_replacing_folder,
)


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "S\u00f6ng.wav"
    path.write_text("precious")
    return path


def spellings(sound):
    folder = sound.parent
    link, hard = folder / "link.wav", folder / "hard.wav"
    link.symlink_to(sound)
    os.link(sound, hard)
    (folder / "other").symlink_to(folder)
    return [
        sound,
        folder / "x" / ".." / sound.name,
        link,
        hard,
        folder / "other" / sound.name,
        folder / "s\u00f6ng.WAV",
        folder / "So\u0308ng.wav",  # the same letter in two characters
        os.path.relpath(sound),
    ]


def test_every_spelling_of_an_input_is_refused(sound):
    for spelling in spellings(sound):
        with pytest.raises(OverwriteError, match="would be replaced; choose another"):
            refuse_overwriting(["fine.wav", spelling], ["other.wav", sound])
    refuse_overwriting([sound.parent / "Song.wav", sound.parent], [sound])


def test_a_folder_that_holds_an_input_is_not_replaced(sound):
    folder = sound.parent
    (folder / "sub").mkdir()
    for output in (folder, folder.parent, folder / "sub" / ".."):
        with pytest.raises(OverwriteError, match="is or holds the input"):
            refuse_replacing_folder(output, [sound])
    refuse_replacing_folder(folder / "sub", [sound])
    assert holds(folder, folder)
    assert not holds(folder / "sub", folder)
