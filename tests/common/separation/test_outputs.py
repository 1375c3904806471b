"""Names of the stems: fields, and never a file outside of the output folder."""

from pathlib import Path

import pytest

from common.separation.outputs import (
    FIELDS,
    Form,
    check_pattern,
    output_path,
    outputs_of,
    report_path,
    stem_names,
)
from common.separation.separator import SeparationError, Separator

SEPARATOR = Separator(lambda x: x[:, None], ("vocals", "drums"), 8000)


def path(pattern, source="music/disc 1/song.mp3", name="disc 1/song", stem="vocals"):
    form = Form(pattern, name=name, model="umxhq")
    return output_path(Path(source), Path("out"), form, stem, ".wav").as_posix()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{name}/{source}", "out/disc 1/song/vocals.wav"),
        ("{parent}/{track}/{source}", "out/disc 1/song/vocals.wav"),
        ("{folders}-{track}.{ext}.{source}", "out/disc 1-song.mp3.vocals.wav"),
        ("{model}/{source}/{track}", "out/umxhq/vocals/song.wav"),
        ("{{{track}}}_{source}", "out/{song}_vocals.wav"),
    ],
)
def test_fields_stand_for_the_input(pattern, expected):
    check_pattern(pattern)
    assert path(pattern) == expected


def test_a_field_that_is_empty_leaves_no_folder():
    assert path("{folders}/{track}/{source}", name="song") == "out/song/vocals.wav"


def test_a_name_with_braces_and_dots_stays():
    assert path("{name}/{source}", name="a{b}.c") == "out/a{b}.c/vocals.wav"


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{title}/{source}", r"the unknown field \{title\}; expected \{name\}"),
        ("{}", r"the unknown field \{\}"),
        ("{source.__class__}", "unknown field"),
        ("{source!r}", "unknown field"),
        ("{source:>9}", "unknown field"),
        ("{source", "cannot be read"),
        ("/tmp/{source}", "leads out of the output folder"),
        ("../{source}", "leads out of the output folder"),
        ("{track}/../../{source}", "leads out of the output folder"),
        ("~/{source}", "leads out of the output folder"),
        (r"..\..\{source}", "leads out of the output folder"),
        ("C:/stems/{source}", "leads out of the output folder"),
    ],
)
def test_bad_patterns_are_reported_in_one_sentence(pattern, words):
    with pytest.raises(SeparationError, match=words):
        check_pattern(pattern)


def test_no_name_of_a_file_leads_out_of_the_output_folder():
    with pytest.raises(SeparationError, match="outside of the output folder"):
        path("{name}/{source}", source="...wav", name="..")
    with pytest.raises(SeparationError, match="outside of the output folder"):
        path("{ext}", source="song", name="song")


def test_all_fields_are_known_to_the_path():
    assert path("/".join(f"{{{field}}}" for field in FIELDS)).startswith("out/disc 1/")


def test_the_report_is_written_where_a_stem_would_be():
    song = Path("song.mp3")
    assert report_path(song, Path("o"), Form()) == Path("o/song/report.json")
    beside = report_path(song, Path("o"), Form("{name}_{source}"))
    assert beside == Path("o/song_report.json")


def test_two_stems_are_a_source_and_the_rest():
    form = Form(two_stems="drums")
    assert stem_names(SEPARATOR, None, form) == ["drums", "no_drums"]
    outputs = outputs_of(Path("a.wav"), SEPARATOR, Path("o"), "flac", form=form)
    assert outputs.stems["no_drums"] == Path("o/a/no_drums.flac")
    with pytest.raises(SeparationError, match="bass is not among the model's sources"):
        stem_names(SEPARATOR, None, Form(two_stems="bass"))
