"""The measures of the FUSS baseline against Google's numbers."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mixit.loss import log_mse
from mixit.metrics import align, score, score_mixtures, si_snr_costs

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit" / "evaluate_metrics.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.mark.parametrize("case", ["c0", "c1", "c2", "c3"])
def test_google_numbers(golden, case):
    expected = {k.split("|")[1]: v for k, v in golden.items() if k.startswith(case)}
    signals = (expected.pop(name)[np.newaxis] for name in ("src", "sep", "mix"))
    scores = score(*signals)
    references, estimates = scores.active_references, scores.active_estimates
    counts = [int(tf.reduce_sum(tf.cast(x, tf.int32))) for x in (references, estimates)]
    ours = {
        "sisnr_separated": scores.separated[0],
        "sisnr_mixture": scores.mixture[0],
        "sisnr_improvement": scores.improvement[0],
        "power_separated": scores.estimate_power[0],
        "power_sources": scores.reference_power[0],
        "weights_active_refs": references[0],
        "weights_active_seps": estimates[0],
        "weights_active_pairs": (references & estimates)[0],
        "num_active_refs": counts[0],
        "num_active_seps": counts[1],
        "num_active_pairs": int((references & estimates).numpy().sum()),
        "under_separation": counts[1] < counts[0],
        "equal_separation": counts[1] == counts[0],
        "over_separation": counts[1] > counts[0],
    }
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-5)


def test_more_outputs_than_references():
    rng = np.random.default_rng(0)
    references = rng.standard_normal((1, 2, 400)).astype(np.float32)
    noise = 0.01 * rng.standard_normal((1, 6, 400)).astype(np.float32)
    noise[0, 4] += references[0, 0]
    noise[0, 1] += references[0, 1]
    scores = score(references, noise, references.sum(1))
    assert (scores.separated.numpy()[0, :2] > 30).all()
    assert scores.active_references.numpy()[0].tolist() == [True, True] + [False] * 4


@pytest.mark.parametrize("by", ["si_snr", "log_mse"])
def test_eight_outputs_are_aligned_in_a_graph(by):
    rng = np.random.default_rng(3)
    references = rng.standard_normal((2, 8, 300)).astype(np.float32)
    orders = np.stack([rng.permutation(8) for _ in range(2)])
    noise = 0.05 * rng.standard_normal((2, 8, 300))
    estimates = np.take_along_axis(references, orders[..., None], 1) + noise
    graph = tf.function(lambda r, e: align(r, e, by))
    _, aligned = graph(references, estimates.astype(np.float32))
    assert np.abs(aligned - references).max() < 0.3


def test_loss_alignment_leaves_the_quietest_estimates_to_silent_references():
    tone = np.sin(np.arange(200.0))
    references = np.stack([np.zeros(200), tone, np.zeros(200)])[np.newaxis]
    estimates = np.stack([0.01 * tone, 0.5 * tone, 0.4 * tone])[np.newaxis]
    signals = (x.astype(np.float32) for x in (references, estimates))
    _, aligned = align(*signals, by="log_mse")
    levels = np.abs(aligned.numpy()).max(-1)[0]
    assert levels[1] == pytest.approx(0.5, rel=0.01)


def test_too_few_outputs():
    with pytest.raises(ValueError, match=r"there are 3 references and 2 estimates"):
        score(tf.ones([1, 3, 50]), tf.ones([1, 2, 50]), tf.ones([1, 50]))


def test_unknown_alignment():
    with pytest.raises(ValueError, match=r"by is 'sdr'; expected one of si_snr, log"):
        align(tf.ones([1, 2, 50]), tf.ones([1, 2, 50]), by="sdr")


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
    zeros = tf.zeros([1, 2, 100])
    scores = score(zeros, tf.zeros([1, 4, 100]), zeros[:, 0])
    assert np.isfinite(scores.improvement).all()
    assert not np.any(scores.active_references)


@pytest.mark.parametrize("outputs", [4, 16])
def test_mixtures_are_put_together_from_their_sources(outputs):
    rng = np.random.default_rng(2)
    sources = rng.standard_normal((1, outputs, 4000)).astype(np.float32)
    owner = rng.permutation(np.arange(outputs) % 2)
    mixtures = np.stack([sources[:, owner == m].sum(1) for m in (0, 1)], axis=1)
    noisy = sources + 0.01 * rng.standard_normal(sources.shape).astype(np.float32)
    again, together = score_mixtures(tf.constant(mixtures), tf.constant(noisy))
    assert (again.numpy() > 35).all()
    assert np.abs(together.numpy()).max() < 1
