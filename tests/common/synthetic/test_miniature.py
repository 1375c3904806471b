"""The miniature corpus: real layouts, exact sums, atomic writes, seeds."""

from __future__ import annotations

import hashlib
import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.corpora import fuss
from common.corpora.track import CorpusError
from common.synthetic import miniature, scenes

SMALL = {"seconds": 0.4, "train": 6, "validation": 2, "eval": 5}


def samples_of(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16", always_2d=True)[0].astype(np.int64)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def fuss_folder(tmp_path_factory):
    return miniature.write_fuss(tmp_path_factory.mktemp("mini") / "ssdata", **SMALL)


def test_fuss_reads_the_miniature_and_its_mixtures_are_exact_sums(fuss_folder):
    for split in fuss.SPLITS:
        tracks = fuss.tracks(fuss_folder.parent, split)
        assert len(tracks) == SMALL[split]
        for track in tracks:
            assert (track.sample_rate, track.samples) == (8000, 3200)
            sources = [samples_of(path) for path in track.sources.values()]
            mixture = samples_of(fuss_folder / split / f"{track.name}.wav")
            np.testing.assert_array_equal(mixture, sum(sources))
            assert mixture.any()
            assert np.abs(mixture).max() < 32767


def test_fuss_files_have_the_names_of_the_real_ones(fuss_folder):
    line = (fuss_folder / "train_example_list.txt").read_text().splitlines()[0]
    assert line.split("\t") == [
        "train/example00000.wav",
        "train/example00000_sources/background0_sound.wav",
        "train/example00000_sources/foreground0_sound.wav",
    ]
    info = soundfile.info(fuss_folder / "train/example00000.wav")
    assert (info.channels, info.subtype) == (1, "PCM_16")


def test_backgrounds_last_and_foregrounds_are_within_5_db():
    for index in range(20):
        rng = np.random.default_rng(index)
        background, *events = scenes.universal_mixture((3, 8000), 8000, rng)
        quiet = np.std(background[200:-200].reshape(-1, 400), axis=1)
        assert quiet.min() > 0.005 * np.std(background)
        for event in events:
            active = np.flatnonzero(event)
            assert 0.45 * 8000 < np.ptp(active) <= 8000
            level = np.std(event[active[0] : active[-1]]) / np.std(background)
            assert abs(20 * np.log10(level)) < 5.1


@pytest.mark.parametrize(
    ("max_sources", "split"), [(2, "train"), (3, "eval"), (1, "x")]
)
def test_numbers_of_sources_are_in_range(max_sources, split):
    counts = [
        scenes.num_sources(split, index, max_sources, np.random.default_rng(index))
        for index in range(400)
    ]
    # The longest line of a list fixes the number of sources, so it must be there.
    assert counts[0] == max(counts) == max_sources
    single = np.mean(np.equal(counts, 1))
    assert single == pytest.approx({2: 0.1, 3: 0.25, 1: 1.0}[max_sources], abs=0.05)
    if max_sources == 3:
        assert 0.1 < np.mean(np.equal(counts, 3)) < 0.3


def test_no_source_is_used_twice(fuss_folder):
    digests = [
        digest for name, digest in contents(fuss_folder).items() if "_sources" in name
    ]
    assert len(digests) == len(set(digests)) > 13


def test_bytes_depend_on_the_seed(fuss_folder, tmp_path):
    same = contents(miniature.write_fuss(tmp_path / "same", **SMALL))
    assert same == contents(fuss_folder)
    other = contents(miniature.write_fuss(tmp_path / "other", **SMALL, seed=1))
    sounds = [name for name in same if name.endswith(".wav") and name in other]
    assert len(sounds) > 20
    assert not any(same[name] == other[name] for name in sounds)


def test_a_finished_miniature_is_reused(tmp_path, monkeypatch):
    folder = miniature.write_fuss(tmp_path / "a", **SMALL)
    before = contents(folder)
    with monkeypatch.context() as patch:
        patch.setattr(scenes, "universal_mixture", None)
        assert miniature.write_fuss(folder, **SMALL) == folder
    assert contents(folder) == before
    miniature.write_fuss(folder, **{**SMALL, "train": 2})
    assert len(fuss.tracks(folder, "train")) == 2


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    real, calls = scenes.universal_mixture, []

    def fail_at_the_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError("No space left on device")
        return real(*arguments)

    monkeypatch.setattr(scenes, "universal_mixture", fail_at_the_third)
    with pytest.raises(OSError, match="No space left"):
        miniature.write_fuss(tmp_path / "mini", **SMALL)
    assert list(tmp_path.iterdir()) == []
    miniature.write_fuss(tmp_path / "mini", **SMALL)
    assert [each.name for each in tmp_path.iterdir()] == ["mini"]


def test_other_files_are_not_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="is not empty; choose another"):
        miniature.write_fuss(tmp_path, **SMALL)
    folder = miniature.write_fuss(tmp_path / "mini", **SMALL)
    for mine in (folder / "mine.txt", folder / "train" / "mine.txt"):
        mine.write_text("keep")
        with pytest.raises(FileExistsError, match="is not empty; choose another"):
            miniature.write_fuss(folder, **SMALL, seed=5)
        assert mine.read_text() == "keep"
        mine.rename(tmp_path / "mine.txt")
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match=r"mine\.txt is a file"):
        miniature.write_fuss(folder / "mine.txt", **SMALL)


def test_concurrent_calls_write_it_once(tmp_path, monkeypatch):
    real, calls = scenes.universal_mixture, []

    def counted(*arguments):
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(scenes, "universal_mixture", counted)
    folder = tmp_path / "mini"
    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(miniature.write_fuss, folder, **SMALL) for _ in range(3)]
    assert [each.result() for each in writing] == [folder] * 3
    assert len(calls) == sum(SMALL[split] for split in fuss.SPLITS)
    assert [each.name for each in tmp_path.iterdir()] == ["mini"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seconds": 0.0}, r"seconds is 0\.0"),
        ({"seconds": math.inf}, r"seconds is inf; .* and finite"),
        ({"sample_rate": 1000}, "sample_rate is 1000; it must be 2000 or more"),
        ({"seed": -3}, "seed is -3"),
        ({"train": -1}, "train is -1"),
        ({"max_sources": 9}, "max_sources is 9"),
    ],
)
def test_impossible_numbers_raise(tmp_path, wrong, message):
    with pytest.raises(CorpusError, match=message):
        miniature.write_fuss(tmp_path / "mini", **{**SMALL, **wrong})


def test_musdb_layout(tmp_path):
    folder = miniature.write_musdb(tmp_path / "m", seconds=0.5, train=2, test=1)
    songs = sorted(path.parent for path in folder.rglob("mixture.wav"))
    assert [path.parent.name for path in songs] == ["test", "train", "train"]
    for song in songs:
        assert " - " in song.name
        info = soundfile.info(song / "mixture.wav")
        assert (info.samplerate, info.channels, info.frames) == (44100, 2, 22050)
        stems = [
            samples_of(song / f"{stem}.wav")
            for stem in ("vocals", "drums", "bass", "other")
        ]
        np.testing.assert_array_equal(samples_of(song / "mixture.wav"), sum(stems))
        for stem in stems:
            assert np.any(stem[:, 0] != stem[:, 1])


def test_wsj0_2mix_layout(tmp_path):
    folder = miniature.write_wsj0_2mix(tmp_path / "w", train=8, validation=3, test=4)
    speakers = {}
    for split, count in {"tr": 8, "cv": 3, "tt": 4}.items():
        song = folder / "2speakers" / "wav8k" / "min" / split
        names = sorted(path.name for path in (song / "mix").iterdir())
        assert len(names) == count
        speakers[split] = set()
        for name in names:
            mix, s1, s2 = (
                samples_of(song / part / name) for part in ("mix", "s1", "s2")
            )
            np.testing.assert_array_equal(mix, s1 + s2)
            assert 2 * 8000 <= len(mix) <= 5 * 8000
            one, up, two, down = re.fullmatch(
                r"(\w{8})_(-?[\d.]+)_(\w{8})_(-?[\d.]+)\.wav", name
            ).groups()
            assert float(up) == -float(down)
            assert one[:3] != two[:3]
            measured = 10 * np.log10(np.mean(s1**2) / np.mean(s2**2))
            assert measured == pytest.approx(2 * float(up), abs=0.01)
            speakers[split] |= {one[:3], two[:3]}
    assert not speakers["tt"] & (speakers["tr"] | speakers["cv"])
    assert speakers["cv"] <= {f"{i + 1:02d}{'abcd'[i % 4]}" for i in range(8)}


def test_the_command_writes_a_corpus_with_a_readme(tmp_path, capsys):
    folder = tmp_path / "märz 1"
    arguments = ["fuss", str(folder), "--seconds", "0.2", "--train", "1"]
    assert miniature.main([*arguments, "--validation", "1", "--eval", "1"]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert "synthetic sounds, made by code" in (folder / "README.txt").read_text()
    assert miniature.main([*arguments, "--seed", "-1"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "seed is -1" in error
