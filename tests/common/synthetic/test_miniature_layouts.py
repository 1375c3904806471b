"""Every layout of the miniature, read by the module of the real corpus."""

from __future__ import annotations

import hashlib
import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from common import records
from common.corpora import (
    mir1k,
    mix_folders,
    remixpacks600,
    scaper_output,
    slakh,
    song_folders,
    speaker_mixtures,
    waveforms,
)
from common.synthetic import miniature, scenes

SHORT = {"seconds": 0.5}
WRITERS = {
    "wsj0_2mix": {"train": 2, "validation": 1, "test": 2},
    "wsj0_3mix": {"train": 2, "validation": 1, "test": 2},
    "wham": {"train": 2, "validation": 1, "test": 2},
    "mir1k": {**SHORT, "train": 4, "test": 2},
    "slakh": {**SHORT, "train": 2, "validation": 1, "test": 1},
    "remixpacks600": {**SHORT, "train": 2, "test": 1},
    "scaper": {**SHORT, "train": 2, "valid": 1, "test": 1},
    "mix_folders": {**SHORT, "train": 2, "valid": 1, "test": 1},
    "song_folders": {**SHORT, "train": 2, "valid": 1, "test": 1},
}
READERS = {
    "wsj0_2mix": speaker_mixtures.tracks,
    "wsj0_3mix": partial(speaker_mixtures.tracks, speakers=3),
    "wham": lambda root, split: speaker_mixtures.tracks(
        root, split, task="mix_both", noise=True
    ),
    "mir1k": mir1k.tracks,
    "slakh": slakh.tracks,
    "remixpacks600": remixpacks600.tracks,
    "scaper": scaper_output.tracks,
    "mix_folders": mix_folders.tracks,
    "song_folders": song_folders.tracks,
}
COUNTS = {
    "wsj0_2mix": (2, 1, 2),
    "wsj0_3mix": (2, 1, 2),
    "wham": (2, 1, 2),
    "mir1k": (6, 2, 4),
    "slakh": (2, 1, 1),
    "remixpacks600": (1, 1, 1),
    "scaper": (2, 1, 1),
    "mix_folders": (2, 1, 1),
    "song_folders": (2, 1, 1),
}


def write(layout: str, folder: Path, **more) -> Path:
    return miniature.WRITERS[layout](folder, **{**WRITERS[layout], **more})


def wave_of(sound) -> np.ndarray:
    return waveforms.read(sound, 0)[0]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layouts")
    return {layout: write(layout, folder / layout) for layout in WRITERS}


@pytest.mark.parametrize("layout", WRITERS)
def test_it_can_be_read_and_mixtures_are_exact_sums(corpora, layout):
    names = []
    for split, count in zip(("train", "valid", "test"), COUNTS[layout], strict=True):
        tracks = READERS[layout](corpora[layout], split)
        assert len(tracks) == count
        names += [f"{split} {each.name}" for each in tracks]
        for track in tracks:
            sources = [wave_of(each) for each in track.sources.values()]
            assert all(np.abs(each).max() > 0.003 for each in sources)
            if track.mixture is not None:
                total = np.sum(sources, axis=0, dtype=np.float64)
                np.testing.assert_array_equal(wave_of(track.mixture), total)
    assert len(set(names)) == sum(COUNTS[layout])


@pytest.mark.parametrize("layout", WRITERS)
def test_bytes_depend_on_the_seed(corpora, layout, tmp_path):
    assert digests(write(layout, tmp_path / "same")) == digests(corpora[layout])
    other = digests(write(layout, tmp_path / "other", seed=1))
    audible = {
        name: digest
        for name, digest in digests(corpora[layout]).items()
        if name.endswith((".wav", ".flac"))
    }
    assert audible
    assert not set(audible.values()) & set(other.values())


@pytest.mark.parametrize("layout", WRITERS)
def test_it_can_be_written_as_records(corpora, layout, tmp_path):
    tracks = READERS[layout](corpora[layout], "test")
    index = records.write(tracks, tmp_path / "records")
    first = tracks[0]
    read = records.excerpt(index, 0, 100, 500)
    for name, sound in first.sources.items():
        position = list(index.sources).index(name)
        expected = wave_of(sound)[:, 100:600]
        np.testing.assert_allclose(read["sources"][position], expected, atol=2e-5)


def test_splits_share_no_sound(corpora):
    for layout, folder in corpora.items():
        seen: dict[str, str] = {}
        for split in ("train", "valid", "test"):
            for track in READERS[layout](folder, split):
                for sound in track.sources.values():
                    digest = hashlib.sha256(wave_of(sound).tobytes()).hexdigest()
                    assert seen.setdefault(digest, split) == split


def test_wham_has_every_mixture_and_new_speakers_in_the_test(corpora):
    folder = corpora["wham"] / "wav8k/min"
    speakers = {}
    for split in ("tr", "tt"):
        speakers[split] = set()
        for mixed in (folder / split / "mix_both").iterdir():
            waves = {
                part: wave_of(folder / split / part / mixed.name)
                for part in ("s1", "s2", "noise", "mix_clean", "mix_single")
            }
            clean, single = waves["mix_clean"], waves["mix_single"]
            np.testing.assert_array_equal(clean, waves["s1"] + waves["s2"])
            np.testing.assert_array_equal(single, waves["s1"] + waves["noise"])
            level = {part: np.std(wave) for part, wave in waves.items()}
            loudest = max(level["s1"], level["s2"])
            snr = 20 * np.log10(loudest / level["noise"])
            assert -6.1 < snr < 3.1
            speakers[split] |= set(re.findall(r"(\w{3})o\d{4}", mixed.name))
    assert speakers["tr"]
    assert not speakers["tr"] & speakers["tt"]


def test_singers_of_train_and_test_differ(corpora):
    names = {
        split: {
            track.name.split("_")[0] for track in mir1k.tracks(corpora["mir1k"], split)
        }
        for split in ("train", "valid", "test")
    }
    assert names["train"] | names["valid"] == {"abjones", "amy"}
    assert names["test"] == {"bobon", "annar"}
    assert scenes.speaker(8) == scenes.speaker(8) != scenes.speaker(0)
    whole = next((corpora["mir1k"] / "MIR-1K/UndividedWavfile").glob("bobon_*.wav"))
    clips = [
        track
        for track in mir1k.tracks(corpora["mir1k"], "test")
        if track.name.startswith(whole.stem)
    ]
    joined = np.concatenate([wave_of(each.sources["vocals"]) for each in clips], axis=1)
    np.testing.assert_array_equal(joined, wave_of(whole)[1:])


def test_slakh_has_instruments_and_a_stem_that_is_not_rendered(corpora):
    full, other = slakh.tracks(corpora["slakh"], "train")
    assert list(full.sources) == [
        "piano::0",
        "guitar::0",
        "bass::0",
        "drums::0",
        "ensemble::0",
        "guitar::1",
    ]
    assert len(other.sources) == 5
    assert "piano::0" in other.sources


def test_the_older_layout_of_scaper_has_the_same_sounds(corpora, tmp_path):
    old = write("scaper", tmp_path / "old", version=1.0)
    assert (old / "train/00000000_sources/foreground/0.wav").is_file()
    (first, second), (other, _) = (
        scaper_output.tracks(root, "train") for root in (corpora["scaper"], old)
    )
    assert first.name != second.name
    assert list(first.sources) == ["vocals::0", "drums::0", "bass::0", "other::0"]
    assert list(other.sources) == list(first.sources)
    for name, sound in first.sources.items():
        np.testing.assert_array_equal(wave_of(sound), wave_of(other.sources[name]))
    jams = json.loads((corpora["scaper"] / "train/00000000.jams").read_text())
    recorded = jams["annotations"][0]["sandbox"]["scaper"]
    assert recorded["soundscape_audio_path"].startswith("/made/elsewhere/")


@pytest.mark.parametrize("layout", ["slakh", "scaper", "mix_folders"])
def test_the_command_writes_it(layout, tmp_path, capsys):
    options = ["--seconds", "0.2", "--train", "1", "--test", "0"]
    assert miniature.main([layout, str(tmp_path / layout), *options]) == 0
    assert capsys.readouterr().out == f"{tmp_path / layout}\n"
    assert miniature.main([layout, str(tmp_path / layout), "--train", "-1"]) == 1
    assert "train is -1" in capsys.readouterr().err
