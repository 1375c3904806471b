"""Sets made from recordings: disjoint splits, exact sums, levels, seeds."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.corpora import fuss, mixing
from common.corpora.recordings import divide, find_kinds
from common.corpora.track import CorpusError

COUNTS = {"train": 12, "validation": 3, "eval": 6}
RECIPE = mixing.MixingOptions(seconds=0.5)


def tone(path: Path, pitches_hz, seconds=1.0, rate=8000, channels=1, level=0.3) -> None:
    """Write tones one after the other, each as long as the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pitches = np.repeat(pitches_hz, round(seconds * rate / len(pitches_hz)))
    wave = level * np.sin(2 * np.pi * np.cumsum(pitches) / rate)
    soundfile.write(path, np.tile(wave[:, None], channels), rate)


def pitch_of(wave: np.ndarray, rate: int) -> float:
    """Frequency of the strongest line."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 8 * len(wave)))
    return np.argmax(spectrum) * rate / (8 * len(wave))


def samples_of(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16")[0].astype(np.int64)


@pytest.fixture
def sources(tmp_path):
    """Kind low: takes of 300..390 Hz. Kind high: long stereo files of 1000..1090 Hz."""
    for index in range(10):
        tone(tmp_path / "in/low" / f"{index}.wav", [300 + 10 * index], 0.3)
        name = tmp_path / "in/high/deep er" / f"é{index}.flac"
        tone(name, [1000 + 10 * index], 2.0, rate=16000, channels=2)
    return [tmp_path / "in/low", tmp_path / "in/high"]


def test_sources_have_exact_sums_levels_and_different_kinds(sources, tmp_path):
    done = mixing.make(sources, tmp_path / "out", COUNTS, RECIPE)
    assert sum(done[key] for key in done if key.startswith("train")) == 12
    used = {}
    for split, count in COUNTS.items():
        tracks = fuss.tracks(tmp_path / "out", split)
        assert len(tracks) == count
        used[split] = set()
        for track in tracks:
            assert (track.sample_rate, track.samples) == (8000, 4000)
            waves = [samples_of(path) for path in track.sources.values()]
            mixture = samples_of(tmp_path / "out" / split / f"{track.name}.wav")
            np.testing.assert_array_equal(mixture, sum(waves))
            pitches = [pitch_of(wave, 8000) for wave in waves]
            assert len({pitch > 700 for pitch in pitches}) == len(waves)
            if len(waves) == 2:
                active = np.flatnonzero(waves[1])
                event = waves[1][active[0] : active[-1] + 1]
                level = 20 * np.log10(np.std(event) / np.std(waves[0]))
                assert -5.5 < level < 5.5
                assert 0.45 * 4000 < len(event) <= 4000
            # All recordings of a foreground share one pitch.
            used[split] |= {round(pitch, -1) for pitch in pitches if pitch > 700}
    assert not used["train"] & (used["eval"] | used["validation"])
    assert not used["eval"] & used["validation"]
    assert len(used["train"]) > 2


def test_all_files_are_divided_among_the_splits(sources):
    kinds = find_kinds(sources)
    parts = divide(kinds, fuss.SPLITS, by_time=False, seed=3)
    for name, recordings in kinds.items():
        paths = [each.path for split in fuss.SPLITS for each in parts[split][name]]
        assert sorted(paths) == [each.path for each in recordings]
        assert [len(parts[split][name]) for split in fuss.SPLITS] == [7, 1, 2]


def test_few_recordings_are_cut_in_time(tmp_path):
    tone(tmp_path / "a.wav", [300] * 65 + [400] * 10 + [500] * 25, 4.0)
    tone(tmp_path / "b.wav", [1300] * 65 + [1400] * 10 + [1500] * 25, 4.0)
    files = [tmp_path / "a.wav", tmp_path / "b.wav"]
    recipe = mixing.MixingOptions(seconds=0.4, by_time=True)
    mixing.make(files, tmp_path / "out", COUNTS, recipe)
    expected = {"train": 300, "validation": 400, "eval": 500}
    for split, hertz in expected.items():
        for track in fuss.tracks(tmp_path / "out", split):
            for path in track.sources.values():
                assert pitch_of(samples_of(path), 8000) % 1000 == pytest.approx(
                    hertz, abs=9
                )


def test_bytes_depend_on_the_seed_and_not_on_the_threads(sources, tmp_path):
    def contents(name: str, seed: int, jobs: int) -> list[bytes]:
        recipe = mixing.MixingOptions(seconds=0.5, seed=seed)
        mixing.make(sources, tmp_path / name, COUNTS, recipe, jobs=jobs)
        files = sorted((tmp_path / name).rglob("*.*"))
        return [path.read_bytes() for path in files if path.is_file()]

    first = contents("a", 0, 1)
    assert contents("b", 0, 3) == first
    assert contents("c", 1, 1) != first


def test_silent_excerpts_are_skipped_and_counted(tmp_path):
    tone(tmp_path / "a/whole.wav", [300], 4.0)
    gap = np.zeros(64000)
    gap[:16000] = 0.2 * np.sin(np.arange(16000))
    soundfile.write(tmp_path / "gap.wav", gap, 8000)
    recipe = mixing.MixingOptions(seconds=0.5, single_share=0.0)
    done = mixing.make(
        [tmp_path / "a/whole.wav", tmp_path / "gap.wav"],
        tmp_path / "out",
        {"train": 10},
        recipe,
    )
    assert done["train 2"] == 10
    assert done[f"silent {tmp_path / 'gap.wav'}"] > 5
    for track in fuss.tracks(tmp_path / "out", "train"):
        for path in track.sources.values():
            assert np.std(samples_of(path)) > 100


def test_silent_recordings_raise_and_leave_nothing(tmp_path):
    tone(tmp_path / "a.wav", [300], 2.0)
    soundfile.write(tmp_path / "b.wav", np.zeros(16000), 8000)
    recipe = mixing.MixingOptions(seconds=0.5, single_share=0.0)
    files = [tmp_path / "a.wav", tmp_path / "b.wav"]
    with pytest.raises(CorpusError, match="No source is left for a foreground"):
        mixing.make(files, tmp_path / "out", {"train": 3}, recipe)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.wav", "b.wav"]


def test_loud_sources_are_scaled_together(tmp_path):
    for name, hertz in (("a", 300), ("b", 333)):
        path = tmp_path / name / "x.wav"
        tone(path, [hertz], 2.0)
        clicks, rate = soundfile.read(path)
        # One click makes the peak tower over the level.
        clicks *= 0.01
        clicks[::1000] = 0.9
        soundfile.write(path, clicks, rate)
    recipe = mixing.MixingOptions(seconds=0.5, single_share=0.0, snr_range=(20, 20))
    files = [tmp_path / "a", tmp_path / "b"]
    mixing.make(files, tmp_path / "out", {"train": 4}, recipe)
    for track in fuss.tracks(tmp_path / "out", "train"):
        waves = [samples_of(path) for path in track.sources.values()]
        mixture = samples_of(tmp_path / "out/train" / f"{track.name}.wav")
        np.testing.assert_array_equal(mixture, sum(waves))
        assert np.abs(mixture).max() <= round(0.98 * 32767) + 1


def test_an_offset_does_not_count_as_sound(tmp_path):
    tone(tmp_path / "a.wav", [300], 2.0)
    wave, rate = soundfile.read(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.wav", 0.1 * wave + 0.4, rate)
    recipe = mixing.MixingOptions(seconds=0.5, max_sources=1)
    mixing.make([tmp_path / "a.wav"], tmp_path / "o", {"train": 1}, recipe)
    for track in fuss.tracks(tmp_path / "o", "train"):
        wave = samples_of(track.sources["background"]) / 32768
        assert abs(np.mean(wave)) < 0.002
        assert 20 * np.log10(np.std(wave)) == pytest.approx(
            mixing.BACKGROUND_DB, abs=0.3
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_sources": 3}, "need as many kinds of sound; 2 given"),
        ({"seconds": 60.0}, "No source is left for a background of 60 s"),
        ({"seconds": 0.0}, r"seconds is 0\.0; it must be above 0"),
        ({"seconds": math.inf}, "seconds is inf; it must be above 0 and finite"),
        ({"snr_range": (5.0, -5.0)}, "the lower level comes first"),
        ({"seed": -1}, "seed is -1; it must be 0 or more"),
        ({"snr_range": (math.nan, 5.0)}, "snr_range is nan, 5;"),
        ({"single_share": 2.0}, "must lie between 0 and 1"),
    ],
)
def test_an_impossible_recipe_raises(sources, tmp_path, change, message):
    recipe = mixing.MixingOptions(**{"seconds": 0.5, **change})
    with pytest.raises(CorpusError, match=message):
        mixing.make(sources, tmp_path / "out", COUNTS, recipe)
    assert not (tmp_path / "out").exists()


def test_missing_empty_and_few_sources_raise(tmp_path):
    (tmp_path / "empty").mkdir()
    tone(tmp_path / "one.wav", [300])
    with pytest.raises(CorpusError, match="nowhere does not exist"):
        find_kinds([tmp_path / "nowhere"])
    with pytest.raises(CorpusError, match="empty holds no recording"):
        find_kinds([tmp_path / "empty"])
    with pytest.raises(CorpusError, match="is named twice"):
        find_kinds([tmp_path / "one.wav", tmp_path / "one.wav"])
    with pytest.raises(CorpusError, match=r"has 1 recording\(s\).*pass --by-time"):
        divide(find_kinds([tmp_path / "one.wav"]), fuss.SPLITS, by_time=False, seed=0)
    with pytest.raises(CorpusError, match="ask for some"):
        mixing.make([tmp_path / "one.wav"], tmp_path / "out", {"train": 0}, RECIPE)


def test_a_recording_of_two_sources_raises(sources, tmp_path):
    """Sources are divided apart, so it could be in two splits."""
    low = tmp_path / "in/low"
    with pytest.raises(CorpusError, match=r"low/0\.wav lies in .*low and in .*0\.wav;"):
        find_kinds([low, low / "0.wav"])
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/a.wav").symlink_to(low / "3.wav")
    with pytest.raises(CorpusError, match=r"a\.wav lies in .*low and in .*linked;"):
        find_kinds([*sources, tmp_path / "linked"])


def test_the_command_writes_a_set_and_prints_counts(sources, tmp_path, capsys):
    arguments = [*map(str, sources), "--output", str(tmp_path / "out")]
    arguments += [
        "--seconds",
        "0.5",
        "--train",
        "4",
        "--validation",
        "0",
        "--eval",
        "2",
    ]
    assert mixing.main(arguments) == 0
    out = capsys.readouterr().out
    assert "validation: left out" in out
    assert out.endswith(f"{tmp_path / 'out'}\n")
    assert mixing.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("python -m common.corpora.mixing: The folder")
    assert error.count("\n") == 1
    assert mixing.main([*arguments, "--overwrite", "--train", "5"]) == 0
    assert len(fuss.tracks(tmp_path / "out", "train")) == 5
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_the_command_runs_as_a_module(sources, tmp_path):
    command = [sys.executable, "-m", "common.corpora.mixing", *map(str, sources)]
    options = ["--output", str(tmp_path / "out"), "--seconds", "0.5", "--train", "2"]
    root = Path(mixing.__file__).parents[2]
    done = subprocess.run(
        [*command, *options], cwd=root, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "train: " in done.stdout
    assert len(fuss.tracks(tmp_path / "out", "train")) == 2


def test_overwrite_replaces_only_sets(sources, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="is not empty"):
        mixing.make(sources, tmp_path / "out", COUNTS, RECIPE, overwrite=True)
    assert (tmp_path / "out/thesis.txt").read_text() == "keep"


def test_sources_fade_for_5_ms_and_are_steady_between(tmp_path):
    tone(tmp_path / "a.wav", [300], 2.0)
    recipe = mixing.MixingOptions(seconds=0.5, max_sources=1)
    mixing.make([tmp_path / "a.wav"], tmp_path / "o", {"train": 1}, recipe)
    track = fuss.tracks(tmp_path / "o", "train")[0]
    wave = samples_of(track.sources["background"])
    steady = np.std(wave[len(wave) // 2 :][:800])
    assert np.abs(wave[:8]).max() < 0.2 * steady
    assert np.std(wave[80:880]) == pytest.approx(steady, rel=0.02)


def test_takes_of_one_or_two_channels_are_equally_loud_with_pauses_between(tmp_path):
    for channels in (1, 2):
        tone(tmp_path / f"in/{channels}.wav", [300], 0.15, channels=channels)
    (takes,) = find_kinds([tmp_path / "in"]).values()
    pauses = []
    for seed in range(4):
        random = np.random.default_rng(seed)
        sound, _ = mixing.draw_sound(takes, 4000, 8000, random, active_share=0.1)
        sounding = np.flatnonzero(sound)
        sound = sound[sounding[0] : sounding[-1] + 1]
        pauses.append(len(sound) - 2 * 1200)
        first, second = np.std(sound[200:1000]), np.std(sound[-1000:-200])
        assert first == pytest.approx(second, rel=0.02)
    assert -10 < min(pauses) <= max(pauses) <= 800
    assert max(pauses) > 100
