"""Groups of sources: sums, the rest, labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.corpora import grouping, waveforms
from common.corpora.track import CorpusError, Sum, Track


def track(name="a", mixture=Path("mix"), **values: float) -> Track:
    sources = {
        key.replace("_", "::"): np.full((1, 4), value, np.float32)
        for key, value in values.items()
    }
    return Track(name, 8000, 4, sources, mixture)


def levels(track: Track) -> dict[str, float]:
    return {
        name: float(waveforms.read(sound, 8000)[0][0, 0])
        for name, sound in track.sources.items()
    }


SONG = {"vocals": 1, "drums": 2, "bass": 4, "other": 8}
VOCALS = {"vocals": ["vocals"]}


def test_vocals_against_the_rest():
    (song,) = grouping.group([track(**SONG)], VOCALS, rest="accompaniment")
    assert levels(song) == {"vocals": 1, "accompaniment": 14}
    assert song.mixture == Path("mix")


def test_sources_outside_the_groups_leave_the_mixture():
    groups = {"rhythm": ["drums", "bass"], "voice": ["vocals"]}
    (song,) = grouping.group([track(**SONG)], groups)
    assert levels(song) == {"rhythm": 6, "voice": 1}
    assert song.mixture is None


def test_a_label_selects_all_its_sources_and_a_name_one():
    band = track(piano_0=1, piano_1=2, guitar_0=4, drums_0=8)
    (song,) = grouping.group([band], {"keys": ["piano"]}, rest="other")
    assert levels(song) == {"keys": 3, "other": 12}
    (song,) = grouping.group([band], {"second": ["piano::1"], "first": ["piano"]})
    assert levels(song) == {"second": 2, "first": 1}


def test_groups_of_groups_are_one_sum():
    (song,) = grouping.group([track(**SONG)], VOCALS, rest="accompaniment")
    (song,) = grouping.group([song], {"all": ["vocals", "accompaniment"]})
    assert isinstance(song.sources["all"], Sum)
    assert len(song.sources["all"].parts) == 4
    assert levels(song) == {"all": 15}


def test_tracks_that_lack_a_group_are_left_out(caplog):
    songs = [track("a", **SONG), track("b", drums=2), track("c", horn=1)]
    groups = {"vocals": ["vocals"], "drums": ["drums"]}
    (complete,) = grouping.group(songs, groups)
    assert complete.name == "a"
    assert "2 of 3 tracks lack one of vocals, drums and are left out" in caplog.text


def test_sources_are_in_the_order_of_the_groups():
    songs = [track(drums=1, vocals=2), track(vocals=2, drums=1)]
    groups = {"vocals": ["vocals"], "drums": ["drums"]}
    orders = [list(each.sources) for each in grouping.group(songs, groups)]
    assert orders == [["vocals", "drums"]] * 2


@pytest.mark.parametrize(
    ("groups", "options", "sentence"),
    [
        ({"x": ["piano"]}, {}, r"'x' \(piano\) is in none of 1 tracks.*bass, drums"),
        ({"x": ["bass"], "y": ["bass"]}, {}, "'bass' is in the groups 'x' and 'y'"),
        ({"x": ["bass"]}, {"rest": "x"}, "rest='x' is the name of a group"),
    ],
)
def test_wrong_groups_raise(groups, options, sentence):
    with pytest.raises(CorpusError, match=sentence):
        grouping.group([track(**SONG)], groups, **options)


def test_no_complete_track_raises():
    songs = [track(vocals=1), track(drums=1)]
    with pytest.raises(CorpusError, match="None of 2 tracks has all of v, d"):
        grouping.group(songs, {"v": ["vocals"], "d": ["drums"]})
