"""The networks of each pillar take whatever sound comes, or it is named."""

import importlib

import numpy as np
import pytest
import soundfile

RATE = 11025


def noise(channels=1, samples=2000):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, channels))
    return wave.astype(np.float32)


GOOD = {
    "one_sample.wav": (noise(2, 1), RATE),
    "two_samples.wav": (noise(1, 2), 48000),
    "eight_channels.wav": (noise(8), RATE),
    "high_rate.wav": (noise(1, 20_000), 192_000),
    "low_rate.wav": (noise(2), 8000),
    "silence.wav": (0 * noise(2), 44100),
    "constant.wav": (0 * noise(2) + 0.5, 44100),
    "square.wav": (np.sign(noise(1)), 44100),
    "beyond_full_scale.wav": (1000 * noise(1), 44100),
    "almost_nothing.wav": (1e-30 * noise(1), 44100),
}


def with_value(value):
    wave = noise()
    wave[7] = value
    return wave


BAD = {
    "nan.wav": (with_value(np.nan), RATE, "holds nan at sample 7"),
    "infinite.wav": (with_value(np.inf), RATE, "holds inf at sample 7"),
    "empty.wav": (noise()[:0], RATE, "holds no samples"),
    "cut.wav": (noise(), RATE, "breaks off"),
}


def write(folder):
    """Write all files; one of the bad ones breaks off."""
    folder.mkdir()
    for name, (wave, rate, *_) in {**GOOD, **BAD}.items():
        soundfile.write(folder / name, wave, rate, "FLOAT")
    content = (folder / "cut.wav").read_bytes()
    (folder / "cut.wav").write_bytes(content[:4000])


@pytest.mark.parametrize(
    "pillar",
    [
        "adversarial",
        pytest.param("clustering", marks=pytest.mark.slow),
        pytest.param("mixit", marks=pytest.mark.slow),
        pytest.param("unmix", marks=pytest.mark.slow),
    ],
)
def test_odd_sounds_through_a_network(pillar, tmp_path, capsys):
    write(tmp_path / "in")
    main = importlib.import_module(f"{pillar}.separate").main
    out = tmp_path / "out"
    words = ["--model", "mini", "--output", str(out), "--name", "{name}/{source}"]
    assert main([str(tmp_path / "in"), *words]) == 1
    errors = capsys.readouterr().err
    lines = [line for line in errors.splitlines() if line.startswith("separate: ")]
    for name, (*_, sentence) in BAD.items():
        assert sum(name in line and sentence in line for line in lines) == 1, name
        assert not (out / name).with_suffix("").exists()
    assert len(lines) == len(BAD) + 1  # the last one counts them
    for name, (wave, rate) in GOOD.items():
        stems = list((out / name).with_suffix("").glob("*.wav"))
        assert len(stems) > 1, name
        for stem in stems:
            samples, found = soundfile.read(stem, always_2d=True)
            assert (found, samples.shape) == (rate, wave.shape), stem
            assert np.isfinite(samples).all(), stem
        if name == "silence.wav":
            assert max(np.abs(soundfile.read(stem)[0]).max() for stem in stems) < 1e-3
