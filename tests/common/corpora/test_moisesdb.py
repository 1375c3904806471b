"""MoisesDB: stems of unequal files, listed twice, or without vocals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from common.corpora import moisesdb, waveforms
from common.corpora.track import CorpusError, Sum
from common.synthetic import miniature

SEVERAL = [("bass", [(4, 80)]), ("vocals", [(1, 90), (2, 60)]), ("vocals", [(8, 100)])]
INSTRUMENTAL = [("piano", [(1, 50)]), ("drums", [(2, 70)])]


def write_song(folder, stems, artist="A", bleeding=(), rate=44100):
    listed = []
    for stem, files in stems:
        tracks = []
        for power, samples in files:
            name = f"{stem}-{power}"
            (folder / stem).mkdir(parents=True, exist_ok=True)
            wave = np.full((samples, 1 + power % 2), power / 64)
            soundfile.write(folder / stem / f"{name}.wav", wave, rate)
            about = {"id": name, "trackType": "x", "extension": "wav"}
            tracks.append({**about, "has_bleed": power in bleeding})
        listed.append({"stemName": stem, "tracks": tracks})
    content = {"artist": artist, "song": "S", "genre": "g", "stems": listed}
    (folder / "data.json").write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "moisesdb_v0.1"
    write_song(folder / "one", SEVERAL, bleeding=(2, 4))
    write_song(folder / "two", INSTRUMENTAL, "B")
    (folder / "not a song").mkdir()
    return tmp_path


def test_a_stem_is_the_sum_of_its_files_as_long_as_the_longest(root, caplog):
    one, two = moisesdb.songs(root)
    assert [one.track.name, two.track.name] == ["one", "two"]
    # One of the microphones of a stem is enough.
    assert (one.artist, one.bleeding) == ("A", {"vocals", "bass"})
    assert list(one.track.sources) == ["vocals", "bass"]
    assert one.track.samples == 100
    vocals, rate = waveforms.read(one.track.sources["vocals"], 0)
    assert rate == 44100
    steps = np.repeat([11, 9, 8], [60, 30, 10]) / 64
    np.testing.assert_array_equal(vocals, [steps, steps])
    assert one.track.mixture is None
    assert list(two.track.sources) == ["piano", "drums"]
    assert two.track.samples == 70
    assert "has 2 tracks, the published set 240" in caplog.text


def test_the_root_may_be_the_folder_of_songs(root):
    names = [each.name for each in moisesdb.tracks(root / "moisesdb_v0.1")]
    assert names == ["one", "two"]


def test_all_songs_of_an_artist_are_in_one_split(tmp_path):
    for number in range(12):
        artist = f"artist {number % 4}"
        write_song(tmp_path / f"song{number:02d}", INSTRUMENTAL, artist)
    seen = {}
    for split in ("train", "valid", "test"):
        for track in moisesdb.tracks(tmp_path, split):
            seen[track.name] = split
    assert len(seen) == len(moisesdb.tracks(tmp_path)) == 12
    for number in range(4):
        assert len({seen[f"song{n:02d}"] for n in range(number, 12, 4)}) == 1
    assert sorted(seen.values()).count("train") == 6


@pytest.mark.parametrize("split", ["validation", "Dev"])
def test_another_split_raises(root, split):
    with pytest.raises(CorpusError, match=f"MoisesDB: no split '{split}'; it has all,"):
        moisesdb.tracks(root, split)


def test_a_missing_corpus_raises(tmp_path):
    with pytest.raises(CorpusError, match=r"nowhere does not exist; it should hold"):
        moisesdb.tracks(tmp_path / "nowhere")
    (tmp_path / "musdb18").mkdir()
    with pytest.raises(
        CorpusError, match=r"moisesdb_v0.1/<song>/data.json and holds m"
    ):
        moisesdb.tracks(tmp_path)


def test_a_song_without_a_file_raises_or_is_left_out(root, caplog):
    lost = root / "moisesdb_v0.1/one/bass/bass-4.wav"
    lost.unlink()
    with pytest.raises(CorpusError, match=rf"1 of 2 tracks lack a file, first: {lost}"):
        moisesdb.tracks(root)
    assert [each.name for each in moisesdb.tracks(root, skip=True)] == ["two"]
    assert "are left out" in caplog.text


def test_files_of_several_rates_raise_or_are_left_out(root):
    other = root / "moisesdb_v0.1/one/bass/bass-4.wav"
    soundfile.write(other, np.zeros(10), 48000)
    with pytest.raises(CorpusError, match=rf"44100 Hz and {other} 48000 Hz; resample"):
        moisesdb.tracks(root)
    assert [each.name for each in moisesdb.tracks(root, skip=True)] == ["two"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"stems": [{"tracks": []}]}',
        '{"stems": [{"stemName": "bass", "tracks": [{"id": "x"}]}]}',
        '{"stems": [{"stemName": "../two", "tracks": []}]}',
        '{"stems": [{"stemName": "b", "tracks": [{"id": "../x", "extension": "w"}]}]}',
    ],
)
def test_a_wrong_description_raises(root, text):
    path = root / "moisesdb_v0.1/two/data.json"
    path.write_text(text)
    with pytest.raises(CorpusError, match=rf"{path} is not the description of a song"):
        moisesdb.tracks(root)


def test_a_song_without_files_raises(root):
    path = root / "moisesdb_v0.1/two/data.json"
    path.write_text('{"stems": [{"stemName": "bass", "tracks": []}]}')
    with pytest.raises(CorpusError, match=rf"{path} lists no file in any stem"):
        moisesdb.tracks(root)


def test_the_miniature_has_the_peculiarities_of_the_corpus(tmp_path):
    root = tmp_path / "mini"
    miniature.write_moisesdb(root, sample_rate=8000, seconds=0.5, songs=5)
    songs = moisesdb.songs(root)
    assert len(songs) == len({song.artist for song in songs}) == 5
    with_voice = [song for song in songs if "vocals" in song.track.sources]
    assert len(with_voice) == 4
    assert sum("bass" in song.bleeding for song in songs) == 2
    for song in songs:
        assert song.track.samples == 4000
        waves = [waveforms.read(each, 0)[0] for each in song.track.sources.values()]
        assert all(np.abs(wave).max() > 0.003 for wave in waves)
        assert np.abs(np.sum(waves, axis=0)).max() < 1.0
    vocals = with_voice[0].track.sources["vocals"]
    assert isinstance(vocals, Sum)
    shapes = [waveforms.read(part, 0)[0].shape for part in vocals.parts]
    assert shapes == [(2, 4000), (1, 3000)]
    assert isinstance(with_voice[0].track.sources["other"], Sum)
