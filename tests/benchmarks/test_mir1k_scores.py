"""The fast BSS Eval of the benchmark of MIR-1K beside museval's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from common.evaluation import bss_eval

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "mir1k_scores.py"


@pytest.fixture(scope="module")
def scores():
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sounds():
    """Two sources and estimates of them: filtered, mixed, noisy."""
    rng = np.random.default_rng(0)
    sources, noise = rng.standard_normal((2, 2, 3000))
    filtered = np.stack([np.convolve(each, [1, 0.4, 0.1])[:3000] for each in sources])
    return sources, filtered + 0.3 * sources[::-1] + 0.1 * noise


def test_the_measures_are_those_of_bss_eval(scores, sounds):
    sources, estimates = sounds
    clip = scores.Clip(sources, 16000)
    actual = clip.measure(estimates)
    for name, expected in bss_eval.whole(sources, estimates).items():
        np.testing.assert_allclose(np.diag(actual[name]), expected, atol=1e-6)
    crossed = bss_eval.whole(sources[::-1], estimates)
    other = [actual["SIR"][0, 1], actual["SIR"][1, 0]]
    np.testing.assert_allclose(other, crossed["SIR"], atol=1e-6)


def test_a_silent_estimate_has_no_scores(scores, sounds):
    sources, estimates = sounds
    actual = scores.Clip(sources, 16000).measure(
        np.stack([0 * estimates[0], sources[1]])
    )
    assert all(np.isnan(each[0]).all() for each in actual.values())
    assert actual["SDR"][1, 1] > 100


def test_outputs_without_names_find_their_sources(scores, sounds):
    sources, estimates = sounds
    clip = scores.Clip(sources, 16000)
    np.testing.assert_array_equal(scores.ordered(clip, estimates[::-1]), estimates)
    quarters = np.stack([sources[1], 0.6 * sources[0], 0.4 * sources[0]])
    np.testing.assert_allclose(scores.shared_out(clip, quarters), sources, atol=1e-9)
