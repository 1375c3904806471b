"""The check of sums finds what is wrong with a set, and corrects it."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from common.corpora import fuss
from mixit.augment import __main__ as augment

SAMPLES = 800


@pytest.fixture
def root(tmp_path):
    """Two training examples and one of validation, of two sources each."""
    root = tmp_path / "ssdata"
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("validation", 1)):
        sources = 0.1 * rng.standard_normal((count, 2, SAMPLES))
        lines = [
            fuss.write_example(root, split, index, each, 8000)
            for index, each in enumerate(sources)
        ]
        fuss.write_list(root, split, lines)
    return root


def check(root, *more):
    options = ["--check", str(root), "--seconds", "0.1", "--sample-rate", "8000"]
    return augment.main([*options, *more])


def ints(path):
    return soundfile.read(path, dtype="int16")[0].astype(np.int64)


def source(root, name="foreground0"):
    return root / "train/example00001_sources" / f"{name}_sound.wav"


MIXTURE = "train/example00001.wav"


def change(path, changed, rate=8000, subtype="PCM_16"):
    soundfile.write(path, changed(ints(path)).astype(np.int16), rate, subtype)


def test_a_right_set_passes_from_its_parent_too(root, capsys):
    assert check(root) == check(root.parent) == 0
    assert "3 examples checked, 0 wrong" in capsys.readouterr().out


@pytest.mark.parametrize(("step", "code"), [(0, 0), (1, 1), (300, 1)])
def test_a_changed_sample_is_found_and_corrected(root, step, code, capsys):
    expected = ints(root / MIXTURE)
    at = int(np.argmin(np.abs(expected)))

    def changed(wave):
        wave[at] += step
        return wave

    change(root / MIXTURE, changed)
    assert check(root) == code
    printed = capsys.readouterr().out
    assert ("example00001.wav: differs from the sum by up to" in printed) == bool(code)
    assert ints(root / MIXTURE)[at] == expected[at] + step
    assert check(root, "--fix") == 0
    assert ("1 corrected, 0 left" in capsys.readouterr().out) == bool(code)
    np.testing.assert_array_equal(ints(root / MIXTURE), expected)
    assert check(root) == 0


def test_the_tolerance_grows_with_the_sample(root):
    # A step of 16 bits is 3e-5: within 1e-5 + 1e-4 of a sample above 0.21.
    for name, level in (("background0", 8000), ("foreground0", 2000)):
        change(source(root, name), lambda wave, level=level: np.full_like(wave, level))
    change(root / MIXTURE, lambda wave: np.full_like(wave, 10_001))
    assert check(root) == 0
    change(root / MIXTURE, lambda wave: np.full_like(wave, 10_003))
    assert check(root) == 1


@pytest.mark.parametrize("length", [SAMPLES - 3, SAMPLES + 3])
def test_a_source_of_another_length_is_padded_or_cut(root, length, capsys):
    before = ints(source(root))
    other = ints(source(root, "background0"))
    change(source(root), lambda wave: np.resize(wave, length))
    assert check(root) == 1
    printed = capsys.readouterr().out
    assert f"foreground0_sound.wav: {length} samples, not {SAMPLES}" in printed
    assert check(root, "--fix") == 0
    expected = before.copy()
    expected[length:] = 0
    np.testing.assert_array_equal(ints(source(root)), expected)
    np.testing.assert_array_equal(ints(root / MIXTURE), expected + other)
    assert soundfile.info(source(root)).subtype == "PCM_16"


def test_a_mixture_that_is_missing_or_unreadable_is_made_again(root, capsys):
    expected = ints(root / MIXTURE)
    (root / "train/example00000.wav").unlink()
    (root / MIXTURE).write_bytes(b"no sound")
    assert check(root) == 1
    assert capsys.readouterr().out.count("unreadable") == 2
    assert check(root, "--fix") == 0
    np.testing.assert_array_equal(ints(root / MIXTURE), expected)
    change(root / MIXTURE, lambda wave: wave[:-5])
    assert check(root) == 1
    assert f"795 samples, not {SAMPLES}" in capsys.readouterr().out
    assert check(root, "--fix") == 0
    np.testing.assert_array_equal(ints(root / MIXTURE), expected)


def test_what_cannot_be_corrected_is_left_and_reported(root, capsys):
    mixture = (root / MIXTURE).read_bytes()
    source(root).write_bytes(b"RIFF....")
    assert check(root, "--fix") == 1
    printed = capsys.readouterr().out
    assert "foreground0_sound.wav: unreadable" in printed
    assert "; corrected" not in printed
    assert printed.count(str(source(root))) == 1
    change(source(root, "background0"), lambda wave: wave, rate=16000)
    (root / "train/example00000.wav").unlink()
    assert check(root, "--fix") == 1
    printed = capsys.readouterr().out
    assert "background0_sound.wav: 16000 Hz instead of 8000 Hz" in printed
    assert "3 examples checked, 2 wrong, 1 corrected, 1 left" in printed
    assert (root / MIXTURE).read_bytes() == mixture


def test_different_channels_are_reported(root, capsys):
    soundfile.write(source(root), np.zeros((SAMPLES, 2)), 8000)
    assert check(root, "--fix") == 1
    assert "2 channels instead of the others'" in capsys.readouterr().out


def test_a_sum_that_would_clip_scales_all_files_down(root):
    for name in ("background0", "foreground0"):
        change(source(root, name), lambda wave: np.linspace(-2e4, 3e4, SAMPLES))
    assert check(root, "--fix") == 0
    one, two = ints(source(root)), ints(source(root, "background0"))
    np.testing.assert_array_equal(ints(root / MIXTURE), one + two)
    assert np.abs(one + two).max() == pytest.approx(0.98 * 32767, abs=2)
    gain = 0.98 * 32767 / 6e4
    np.testing.assert_allclose(one, np.linspace(-2e4, 3e4, SAMPLES) * gain, atol=1.5)


def test_floating_point_files_stay_so(root):
    rng = np.random.default_rng(1)
    waves = rng.uniform(-0.9, 0.9, (2, SAMPLES))
    for name, wave in zip(("background0", "foreground0"), waves, strict=True):
        soundfile.write(source(root, name), wave, 8000, "FLOAT")
    assert check(root, "--fix") == 0
    mixture = soundfile.read(root / MIXTURE)[0]
    np.testing.assert_allclose(mixture, waves.sum(axis=0), atol=1e-6)
    assert np.abs(mixture).max() > 1


def test_only_a_few_wrong_examples_are_shown(tmp_path, capsys):
    sound = 0.1 * np.sin(np.arange(SAMPLES))[None]
    lines = [fuss.write_example(tmp_path, "eval", n, sound, 8000) for n in range(8)]
    fuss.write_list(tmp_path, "eval", lines)
    for index in range(8):
        (tmp_path / f"eval/example{index:05d}.wav").unlink()
    assert check(tmp_path) == 1
    printed = capsys.readouterr().out
    assert printed.count("unreadable") == 5
    assert "... and 3 more" in printed
    assert "8 examples checked, 8 wrong" in printed


def test_a_set_of_the_recipe_is_checked_by_its_recipe(tmp_path, capsys):
    rng = np.random.default_rng(0)
    folder = tmp_path / "in/train/sound"
    folder.mkdir(parents=True)
    soundfile.write(folder / "a.wav", 0.1 * rng.standard_normal(900), 8000)
    options = ["--sources", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    numbers = ["--seconds", "0.1", "--sample-rate", "8000", "--max-foregrounds", "0"]
    splits = ["--train", "3", "--validation", "0"]
    assert augment.main([*options, *numbers, *splits]) == 0
    assert augment.main(["--check", str(tmp_path / "out")]) == 0
    assert augment.main(["--check", str(tmp_path / "out"), "--seconds", "0.2"]) == 1
    assert "800 samples, not 1600" in capsys.readouterr().out


def test_bad_roots_are_reported_in_one_sentence(tmp_path, root, capsys):
    assert check(tmp_path / "nowhere") == 1
    assert "does not exist" in capsys.readouterr().err
    source(root).unlink()
    assert check(root) == 1
    message = capsys.readouterr().err
    assert "1 of 4 source files are missing" in message
    assert message.count("\n") == 1
