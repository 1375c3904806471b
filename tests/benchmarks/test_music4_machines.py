"""Synthesisers and drum machines of the corpus of the bundled model of four stems."""

from __future__ import annotations

import importlib
import random
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RATE = 8000


@pytest.fixture
def machines(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("music4_machines")


def share_below(wave, hertz):
    power = np.abs(np.fft.rfft(wave.mean(axis=0))) ** 2
    return power[: round(hertz * wave.shape[1] / RATE)].sum() / power.sum()


def test_a_piece_depends_on_its_seed_alone(machines):
    first, again, other = (machines.piece(seed, 2, RATE) for seed in (1, 1, 2))
    assert [*first] == ["drums", "bass", "other"]
    for name, wave in first.items():
        assert wave.shape == (2, 2 * RATE)
        assert np.abs(wave).max() < 1
        assert 20 * np.log10(wave.std()) < machines.LEVELS_DB[name][1] + 0.1
        np.testing.assert_array_equal(wave, again[name])
        assert not np.array_equal(wave, other[name])


def test_bass_is_low_and_other_is_high(machines):
    pieces = [machines.piece(seed, 2, RATE) for seed in range(8)]
    songs = {
        name: np.concatenate([piece[name] for piece in pieces], axis=1)
        for name in ("bass", "other")
    }
    assert share_below(songs["bass"], 200) > 0.6
    assert share_below(songs["other"], 200) < 0.4


def test_a_tone_has_its_pitch(machines):
    voice = machines.draw_voice(random.Random(2), (60, 1200), is_bass=False)
    power = np.abs(np.fft.rfft(machines.tone(33, 1.0, voice, RATE), 8 * RATE)) ** 2
    # 55 Hz and its multiples, within a semitone.
    near = [power[round(8 * 52 * k) : round(8 * 58 * k)].sum() for k in range(1, 60)]
    assert sum(near) > 0.8 * power.sum()


def test_a_kick_falls_to_its_pitch(machines):
    kick = machines.drop(random.Random(3), RATE, (50, 50), (0.3, 0.3))
    signs = np.sign(kick[1600:4000])
    assert np.count_nonzero(np.diff(signs)) / 0.3 / 2 == pytest.approx(50, abs=4)
    assert abs(kick[-1]) < 1e-3


def test_what_exceeds_the_end_of_a_loop_comes_at_its_start(machines):
    loop = np.zeros(4)
    machines.add(loop, np.arange(1.0, 7.0), 3)
    assert loop.tolist() == [2 + 6, 3, 4, 1 + 5]
