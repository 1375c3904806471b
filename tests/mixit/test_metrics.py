"""The measures of the FUSS baseline against Google's numbers."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mixit.loss import log_mse
from mixit.metrics import align, mixture_row, row, si_snr_costs

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit" / "evaluate_metrics.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.mark.parametrize("case", ["c0", "c1", "c2", "c3"])
def test_google_numbers(golden, case):
    expected = {k.split("|")[1]: v for k, v in golden.items() if k.startswith(case)}
    sources, estimates, mixture = (expected.pop(n) for n in ("src", "sep", "mix"))
    cells = row(case, sources, estimates, mixture)
    for name, value in expected.items():
        single = not np.ndim(value)
        suffixes = [""] if single else [f"_source{i + 1}" for i in range(len(value))]
        ours = [cells.pop(name + suffix) for suffix in suffixes]
        np.testing.assert_allclose(ours, np.ravel(value), rtol=1e-5, atol=1e-5)
    assert cells == {"example": case}


def test_more_outputs_than_references():
    rng = np.random.default_rng(0)
    references = rng.standard_normal((2, 400)).astype(np.float32)
    noise = 0.01 * rng.standard_normal((6, 400)).astype(np.float32)
    noise[4] += references[0]
    noise[1] += references[1]
    cells = row("a", references, noise, references.sum(0))
    assert min(cells["sisnr_separated_source1"], cells["sisnr_separated_source2"]) > 30
    active = [cells[f"weights_active_refs_source{i}"] for i in range(1, 7)]
    assert active == [True, True] + [False] * 4


@pytest.mark.parametrize("costs", [si_snr_costs, log_mse])
def test_eight_outputs_are_aligned_in_a_graph(costs):
    rng = np.random.default_rng(3)
    references = rng.standard_normal((2, 8, 300)).astype(np.float32)
    orders = np.stack([rng.permutation(8) for _ in range(2)])
    noise = 0.05 * rng.standard_normal((2, 8, 300))
    estimates = np.take_along_axis(references, orders[..., None], 1) + noise
    graph = tf.function(lambda r, e: align(r, e, costs))
    _, aligned = graph(references, estimates.astype(np.float32))
    assert np.abs(aligned - references).max() < 0.3


def test_loss_alignment_leaves_the_quietest_estimates_to_silent_references():
    tone = np.sin(np.arange(200.0))
    references = np.stack([np.zeros(200), tone, np.zeros(200)])[np.newaxis]
    estimates = np.stack([0.01 * tone, 0.5 * tone, 0.4 * tone])[np.newaxis]
    signals = (x.astype(np.float32) for x in (references, estimates))
    _, aligned = align(*signals, log_mse)
    levels = np.abs(aligned.numpy()).max(-1)[0]
    assert levels[1] == pytest.approx(0.5, rel=0.01)


def test_too_few_outputs():
    with pytest.raises(ValueError, match=r"there are 3 references and 2 estimates"):
        align(tf.ones([1, 3, 50]), tf.ones([1, 2, 50]), si_snr_costs)


def test_costs_equal_their_definitions():
    rng = np.random.default_rng(1)
    references = rng.standard_normal((2, 3, 50)).astype(np.float32)
    estimates = rng.standard_normal((2, 4, 50)).astype(np.float32)
    error = np.square(references[:, :, None] - estimates[:, None]).sum(-1)
    power = np.square(references).sum(-1)[..., None]
    expected = 10 * np.log10(error + 1e-3 * power + 1e-8)
    np.testing.assert_allclose(log_mse(references, estimates), expected, rtol=1e-5)
    cosine = np.einsum("brt,bet->bre", references, estimates)
    norms = [np.linalg.norm(x, axis=-1) for x in (references, estimates)]
    square = (cosine / (norms[0][:, :, None] * norms[1][:, None])) ** 2
    expected = -10 * np.log10(square / (1 - square))
    np.testing.assert_allclose(si_snr_costs(references, estimates), expected, rtol=1e-3)


def test_silence_is_finite():
    zeros = np.zeros((2, 100), np.float32)
    cells = row("silence", zeros, np.zeros((4, 100), np.float32), zeros[0])
    assert all(np.isfinite(value) for value in list(cells.values())[1:])
    assert cells["num_active_refs"] == 0


@pytest.mark.parametrize("outputs", [4, 16])
def test_mixtures_are_put_together_from_their_sources(outputs):
    rng = np.random.default_rng(2)
    sources = rng.standard_normal((outputs, 4000)).astype(np.float32)
    owner = rng.permutation(np.arange(outputs) % 2)
    mixtures = np.stack([sources[owner == m].sum(0) for m in (0, 1)])
    noisy = sources + 0.01 * rng.standard_normal(sources.shape).astype(np.float32)
    cells = mixture_row("a", mixtures, noisy)
    for suffix in ("_mix1", "_mix2"):
        assert cells["sisnr_separated" + suffix] > 35
        assert abs(cells["sisnr_mixture" + suffix]) < 1
