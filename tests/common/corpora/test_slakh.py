"""Slakh2100: stems by metadata, instruments and groups, missing stems."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import yaml

from common.corpora import slakh, waveforms
from common.corpora.track import CorpusError

BAND = {
    "S00": (0, False, "Piano"),
    "S01": (33, False, "Bass"),
    "S02": (128, True, "Drums"),
    "S03": (5, False, "Piano"),
    "S04": (40, False, "Strings"),
    "S05": (27, False, "Guitar"),
}
SILENT = "S05"


def write_track(folder, band=None, suffix="flac", **files):
    band = band or BAND
    (folder / "stems").mkdir(parents=True)
    stems = {}
    for power, (name, (program, is_drum, inst_class)) in enumerate(band.items()):
        stems[name] = {
            "inst_class": inst_class,
            "is_drum": is_drum,
            "program_num": program,
            "audio_rendered": name != SILENT,
            "integrated_loudness": -20.5,
        }
        if name != SILENT:
            wave = np.full(80, 2.0**power / 64)
            soundfile.write(folder / "stems" / f"{name}.{suffix}", wave, 44100)
    text = yaml.safe_dump({"UUID": "x", "stems": stems, "overall_gain": 0.5})
    (folder / "metadata.yaml").write_text(text)
    soundfile.write(folder / f"mix.{suffix}", np.full(80, 31 / 64), 44100)


def level(sound):
    return 64 * waveforms.read(sound, 0)[0][0, 0]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "slakh2100_flac_redux"
    write_track(folder / "train" / "Track00001")
    write_track(folder / "train" / "Track00002", suffix="wav")
    write_track(folder / "train" / "Track00003", {"S00": (128, False, "Drums")})
    (folder / "validation").mkdir()
    return tmp_path


def test_every_rendered_stem_is_a_source(root, caplog):
    tracks = slakh.tracks(root, "train")
    assert [each.name for each in tracks] == ["Track00001", "Track00002", "Track00003"]
    levels = {name: level(sound) for name, sound in tracks[1].sources.items()}
    expected = ["piano::0", "bass::0", "drums::0", "piano::1", "strings::0"]
    assert levels == dict(zip(expected, [1, 2, 4, 8, 16], strict=True))
    assert tracks[1].mixture.name == "mix.wav"
    assert tracks[0].mixture.name == "mix.flac"
    assert "'train' has 3 tracks, the published set 1500 or 1289" in caplog.text


def test_a_missing_rendered_stem_raises_or_its_track_is_left_out(root, caplog):
    gone = root / "slakh2100_flac_redux/train/Track00001/stems/S03.flac"
    gone.unlink()
    message = (
        rf"Track00001 lists S03 as rendered but {gone} is absent "
        r"\(first of 1 of 3 tracks\)"
    )
    with pytest.raises(CorpusError, match=message):
        slakh.tracks(root, "train")
    assert len(slakh.tracks(root, "train", skip=True)) == 2
    assert "S03" in caplog.text
    assert "are left out" in caplog.text


def test_a_missing_mixture_is_counted(root):
    (root / "slakh2100_flac_redux/train/Track00002/mix.wav").unlink()
    with pytest.raises(CorpusError, match=r"1 of 3 tracks lack a file, first: .*mix"):
        slakh.tracks(root, "train")


def test_babyslakh_is_divided(tmp_path):
    for number in range(10):
        write_track(tmp_path / "babyslakh_16k" / f"Track{number:05d}", suffix="wav")
    parts = [
        {each.name for each in slakh.tracks(tmp_path, split)}
        for split in ("train", "valid", "test")
    ]
    assert [len(part) for part in parts] == [8, 1, 1]
    assert len(set.union(*parts)) == 10


@pytest.mark.parametrize(
    "text",
    ["stems: [1, 2", "UUID: x", "stems: 3", "!!python/object/apply:os.system [x]"],
)
def test_unreadable_metadata_raises_and_is_never_executed(root, text):
    path = root / "slakh2100_flac_redux/train/Track00002/metadata.yaml"
    path.write_text(text)
    with pytest.raises(CorpusError, match=rf"{path} is not the metadata of a track"):
        slakh.tracks(root, "train")


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("valid", "'valid' is empty: .*validation should hold .* holds nothing"),
        ("test", "test does not exist.*holds train, validation"),
        ("validation", "no split 'validation'"),
    ],
)
def test_an_absent_split_raises(root, split, sentence):
    with pytest.raises(CorpusError, match=sentence):
        slakh.tracks(root, split)
    (root / "empty").mkdir()
    unknown = "no split 'validation'"
    sentence = unknown if split == "validation" else f"the split '{split}' is empty"
    with pytest.raises(CorpusError, match=sentence):
        slakh.tracks(root / "empty", split)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ({"program_num": 7, "inst_class": "Piano"}, "piano"),
        ({"program_num": 8}, "chromatic percussion"),
        ({"program_num": 24}, "guitar"),
        ({"program_num": 31}, "guitar"),
        ({"program_num": 32}, "bass"),
        ({"program_num": 127}, "sound effects"),
        ({"program_num": 0, "is_drum": True}, "drums"),
        ({"inst_class": "Reed"}, "reed"),
    ],
)
def test_instruments_by_program(stem, name):
    assert slakh.instrument(stem) == name
