"""The measures of the FUSS baseline against Google's numbers."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mixit.evaluate import summarise, table
from mixit.metrics import log_mse_costs, score, si_snr_costs

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit" / "evaluate_metrics.npz"


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_google_numbers(case):
    golden = {
        k.split("|")[1]: v for k, v in np.load(GOLDEN).items() if k.startswith(case)
    }
    scores = score(
        golden["src"][np.newaxis], golden["sep"][np.newaxis], golden["mix"][np.newaxis]
    )
    for ours, theirs in (
        (scores.separated, "sisnr_separated"),
        (scores.mixture, "sisnr_mixture"),
        (scores.improvement, "sisnr_improvement"),
    ):
        np.testing.assert_allclose(ours[0], golden[theirs], rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(
        scores.active_references[0], golden["weights_active_refs"]
    )
    np.testing.assert_array_equal(
        scores.active_estimates[0], golden["weights_active_seps"]
    )


def test_more_outputs_than_references():
    rng = np.random.default_rng(0)
    references = rng.standard_normal((1, 2, 400)).astype(np.float32)
    noise = 0.01 * rng.standard_normal((1, 6, 400)).astype(np.float32)
    noise[0, 4] += references[0, 0]
    noise[0, 1] += references[0, 1]
    scores = score(references, noise, references.sum(1))
    assert (scores.separated.numpy()[0, :2] > 30).all()
    assert scores.active_references.numpy()[0].tolist() == [True, True] + [False] * 4
    assert int(scores.active_count[0]) == 2


def test_costs_equal_their_definitions():
    rng = np.random.default_rng(1)
    references = rng.standard_normal((2, 3, 50)).astype(np.float32)
    estimates = rng.standard_normal((2, 4, 50)).astype(np.float32)
    error = np.square(references[:, :, None] - estimates[:, None]).sum(-1)
    power = np.square(references).sum(-1)[..., None]
    wanted = 10 * np.log10(error + 1e-3 * power + 1e-8)
    np.testing.assert_allclose(log_mse_costs(references, estimates), wanted, rtol=1e-5)
    cosine = np.einsum("brt,bet->bre", references, estimates)
    norms = [np.linalg.norm(x, axis=-1) for x in (references, estimates)]
    square = (cosine / (norms[0][:, :, None] * norms[1][:, None])) ** 2
    wanted = -10 * np.log10(square / (1 - square))
    np.testing.assert_allclose(si_snr_costs(references, estimates), wanted, rtol=1e-3)


def test_silence_is_finite():
    zeros = tf.zeros([1, 2, 100])
    scores = score(zeros, tf.zeros([1, 4, 100]), zeros[:, 0])
    assert np.isfinite(scores.improvement).all()
    assert int(scores.active_count[0]) == 0


def test_summary_pools_sources_not_examples():
    rows = [
        _row(1, [30.0], [-10.0], "equal"),
        _row(2, [5.0, 7.0], [2.0, 4.0], "equal"),
        _row(3, [9.0, 9.0, 9.0], [6.0, 6.0, 6.0], "over"),
        _row(2, [1.0], [0.0], "under"),
    ]
    summary = summarise(rows)
    assert summary["1S"] == {"mean": 30.0, "deviation": 0.0, "sources": 1}
    assert summary["2Si"]["mean"] == pytest.approx(2.0)
    assert summary["MSi"]["mean"] == pytest.approx(4.0)
    assert summary["MSi"]["sources"] == 6
    assert (summary["under"], summary["equal"], summary["over"]) == (0.25, 0.5, 0.25)
    text = table(summary)
    assert "| MSi | 4.0 dB" in text
    assert "| 4Si | none in this set" in text


def _row(count, si_snr, improvement, kind):
    flags = {name: name == kind for name in ("under", "equal", "over")}
    return {
        "references": count,
        "si_snr": si_snr,
        "si_snr_improvement": improvement,
        **flags,
    }
