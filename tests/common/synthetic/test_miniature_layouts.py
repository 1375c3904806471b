"""Every layout of the miniature, read back through the adapter of the real corpus."""

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
}
FOUND = {
    "wsj0_2mix": (2, 1, 2),
    "wsj0_3mix": (2, 1, 2),
    "wham": (2, 1, 2),
    "mir1k": (6, 2, 4),
    "slakh": (2, 1, 1),
    "remixpacks600": (1, 1, 1),
    "scaper": (2, 1, 1),
    "mix_folders": (2, 1, 1),
}


def write(kind: str, folder: Path, **more) -> Path:
    return miniature.WRITERS[kind](folder, **{**WRITERS[kind], **more})


def heard(sound) -> np.ndarray:
    return waveforms.read(sound, 0)[0]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    place = tmp_path_factory.mktemp("layouts")
    return {kind: write(kind, place / kind) for kind in WRITERS}


@pytest.mark.parametrize("kind", WRITERS)
def test_the_adapter_reads_it_and_mixtures_are_exact_sums(corpora, kind):
    names = []
    for split, count in zip(("train", "valid", "test"), FOUND[kind], strict=True):
        tracks = READERS[kind](corpora[kind], split)
        assert len(tracks) == count
        names += [f"{split} {each.name}" for each in tracks]
        for track in tracks:
            sources = [heard(each) for each in track.sources.values()]
            assert all(np.abs(each).max() > 0.003 for each in sources)
            if track.mixture is not None:
                total = np.sum(sources, axis=0, dtype=np.float64)
                np.testing.assert_array_equal(heard(track.mixture), total)
    assert len(set(names)) == sum(FOUND[kind])


@pytest.mark.parametrize("kind", WRITERS)
def test_the_seed_decides_every_byte(corpora, kind, tmp_path):
    assert digests(write(kind, tmp_path / "same")) == digests(corpora[kind])
    other = digests(write(kind, tmp_path / "other", seed=1))
    audible = {
        name: digest
        for name, digest in digests(corpora[kind]).items()
        if name.endswith((".wav", ".flac"))
    }
    assert audible
    assert not set(audible.values()) & set(other.values())


@pytest.mark.parametrize("kind", WRITERS)
def test_it_becomes_records(corpora, kind, tmp_path):
    tracks = READERS[kind](corpora[kind], "test")
    index = records.write(tracks, tmp_path / "records")
    first = tracks[0]
    read = records.excerpt(index, 0, 100, 500)
    for name, sound in first.sources.items():
        place = list(index.sources).index(name)
        expected = heard(sound)[:, 100:600]
        np.testing.assert_allclose(read["sources"][place], expected, atol=2e-5)


def test_no_sound_is_heard_in_two_splits(corpora):
    for kind, folder in corpora.items():
        seen: dict[str, str] = {}
        for split in ("train", "valid", "test"):
            for track in READERS[kind](folder, split):
                for sound in track.sources.values():
                    digest = hashlib.sha256(heard(sound).tobytes()).hexdigest()
                    assert seen.setdefault(digest, split) == split


def test_wham_has_every_mixture_and_new_speakers_in_the_test(corpora):
    place = corpora["wham"] / "wav8k/min"
    speakers = {}
    for split in ("tr", "tt"):
        speakers[split] = set()
        for mixed in (place / split / "mix_both").iterdir():
            waves = {
                kind: heard(place / split / kind / mixed.name)
                for kind in ("s1", "s2", "noise", "mix_clean", "mix_single")
            }
            clean, single = waves["mix_clean"], waves["mix_single"]
            np.testing.assert_array_equal(clean, waves["s1"] + waves["s2"])
            np.testing.assert_array_equal(single, waves["s1"] + waves["noise"])
            level = {kind: np.std(wave) for kind, wave in waves.items()}
            loudest = max(level["s1"], level["s2"])
            snr = 20 * np.log10(loudest / level["noise"])
            assert -6.1 < snr < 3.1
            speakers[split] |= set(re.findall(r"(\w{3})o\d{4}", mixed.name))
    assert speakers["tr"]
    assert not speakers["tr"] & speakers["tt"]


def test_singers_are_persons_and_train_apart(corpora):
    names = {
        split: {
            track.name.split("_")[0] for track in mir1k.tracks(corpora["mir1k"], split)
        }
        for split in ("train", "valid", "test")
    }
    assert names["train"] | names["valid"] == {"abjones", "amy"}
    assert names["test"] == {"bobon", "annar"}
    assert scenes.speaker(8) == scenes.speaker(8) != scenes.speaker(0)
    whole = mir1k.tracks(corpora["mir1k"], "test", units="songs")[0]
    clips = [
        track
        for track in mir1k.tracks(corpora["mir1k"], "test")
        if track.name.startswith(whole.name)
    ]
    joined = np.concatenate([heard(each.sources["vocals"]) for each in clips], axis=1)
    np.testing.assert_array_equal(joined, heard(whole.sources["vocals"]))


def test_slakh_has_instruments_and_one_that_was_not_rendered(corpora):
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


def test_the_older_layout_of_scaper_holds_the_same_sounds(corpora, tmp_path):
    old = write("scaper", tmp_path / "old", version=1.0)
    assert (old / "train/00000000_sources/foreground/0.wav").is_file()
    (first, second), (other, _) = (
        scaper_output.tracks(root, "train") for root in (corpora["scaper"], old)
    )
    assert first.name != second.name
    assert list(first.sources) == ["vocals::0", "drums::0", "bass::0", "other::0"]
    assert list(other.sources) == list(first.sources)
    for name, sound in first.sources.items():
        np.testing.assert_array_equal(heard(sound), heard(other.sources[name]))
    jams = json.loads((corpora["scaper"] / "train/00000000.jams").read_text())
    recorded = jams["annotations"][0]["sandbox"]["scaper"]
    assert recorded["soundscape_audio_path"].startswith("/made/elsewhere/")


@pytest.mark.parametrize("kind", ["slakh", "scaper", "mix_folders"])
def test_the_command_writes_it(kind, tmp_path, capsys):
    options = ["--seconds", "0.2", "--train", "1", "--test", "0"]
    assert miniature.main([kind, str(tmp_path / kind), *options]) == 0
    assert capsys.readouterr().out == f"{tmp_path / kind}\n"
    assert miniature.main([kind, str(tmp_path / kind), "--train", "-1"]) == 1
    assert "train is -1" in capsys.readouterr().err
