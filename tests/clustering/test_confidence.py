"""The six confidences, against nussl's values and scikit-learn's definitions."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from clustering import confidence as measures
from clustering.confidence import Kind, confidence
from clustering.kmeans import center, lloyd

GOLDEN = Path(__file__).parents[1] / "golden" / "clustering"


def from_start(points, centroids):
    """Run the rounds of k-means from one start [batch, clusters, dim]."""
    data = center(points)
    return lloyd(data, (centroids - data.mean)[:, tf.newaxis])


@pytest.fixture(scope="module")
def loud():
    """Points, centroids and magnitudes above the threshold, as nussl took them."""
    golden = np.load(GOLDEN / "masks_nussl.npz")
    fitted = golden["soft_p95_beta1/fitted"]
    magnitude = golden["magnitude"]
    above = fitted & (magnitude > magnitude[fitted].min())
    points = golden["embedding"][above][None]
    centroids = from_start(points, golden["init"][None]).centroids
    values = {
        name.split("/")[1].removesuffix("_confidence"): float(golden[name])
        for name in golden
        if name.startswith("confidence/")
    }
    return points, centroids, magnitude[above][None], values


def cloud(sources, noise, points=300, dim=5):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, sources, points)
    embedding = np.eye(sources, dim)[labels] + noise * rng.normal(size=(points, dim))
    return embedding.astype(np.float32)[None], np.ones([1, points], np.float32)


def test_meets_nussl_where_nothing_is_random(loud):
    points, centroids, magnitude, values = loud
    for measure, name, extra in (
        (measures.posterior, "posterior", ()),
        (measures.loudness, "loudness", ()),
        (measures.deep_clustering, "dpcl_classic", (magnitude,)),
        (measures.whitened_kmeans, "whitened_kmeans", (magnitude,)),
    ):
        ours = float(measure(points, centroids, *extra)[0])
        # The last is 1 - 21.46 / 22 in float32, which leaves it fewer digits.
        assert ours == pytest.approx(values[name], rel=2e-6, abs=2e-6), name


def test_meets_nussl_within_the_error_of_its_draws(loud):
    points, centroids, _, values = loud
    ours = float(measures.silhouette(points, centroids)[0])
    assert ours == pytest.approx(values["silhouette"], abs=0.01)
    ours = float(measures.jensen_shannon(points, 2, samples=20000)[0])
    assert ours == pytest.approx(values["jensen_shannon"], abs=0.02)


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_silhouette_is_that_of_scikit_learn(sources):
    from sklearn.metrics import silhouette_score

    points, _ = cloud(sources, 0.4)
    found = from_start(points, points[:, :sources])
    expected = silhouette_score(points[0], found.labels[0])
    ours = measures.silhouette(points, found.centroids)
    np.testing.assert_allclose(ours, [expected], rtol=1e-5)


@pytest.mark.parametrize("sources", [2, 3])
@pytest.mark.parametrize(
    "kind", [kind for kind in get_args(Kind) if kind != "loudness"]
)
def test_clear_clusters_are_more_certain(kind, sources):
    values = []
    for noise in (0.05, 0.6):
        points, magnitude = cloud(sources, noise)
        found = confidence(points, 10 * magnitude, kind, sources, percentile=0.0)
        assert found.shape == [1]
        values.append(float(found[0]))
    assert values[0] > values[1] + 0.02


@pytest.mark.parametrize("sources", [2, 3])
def test_loudness_is_the_smallest_share(sources):
    points, magnitude = cloud(sources, 0.05)
    found = confidence(points, magnitude, "loudness", sources, percentile=0.0)
    shares = np.bincount(points[0].argmax(-1)) / points.shape[1]
    np.testing.assert_allclose(found, [shares.min()], rtol=1e-6)


def test_three_sources_take_the_nearest_centroid():
    # By the farthest one, as in nussl, this would be far below 1.
    points, magnitude = cloud(3, 0.0, dim=3)
    found = confidence(points, magnitude, "deep_clustering", 3, percentile=0.0)
    np.testing.assert_allclose(found, [1.0], atol=1e-5)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_silence_is_finite(kind):
    points = np.zeros([2, 40, 3], np.float32)
    found = confidence(points, np.zeros([2, 5, 8], np.float32), kind)
    assert np.isfinite(found).all()


def test_lonely_points_and_single_clusters_count_nothing():
    points = np.array([[[0.0], [0.1], [9.0]]], np.float32)
    centroids = np.array([[[0.05], [9.0]]], np.float32)
    inside = (8.95 - 0.1) / 8.95  # Near enough for both of the pair.
    ours = float(measures.silhouette(points, centroids)[0])
    assert ours == pytest.approx(2 * inside / 3, rel=1e-3)
    single = measures.silhouette(points, np.array([[[0.0], [900.0]]], np.float32))
    assert single.numpy().tolist() == [0.0]


def test_in_a_graph_of_unknown_shape():
    traced = tf.function(
        lambda points, magnitude: [
            confidence(points, magnitude, kind) for kind in get_args(Kind)[:3]
        ],
        input_signature=[tf.TensorSpec([None, None, 5]), tf.TensorSpec([None, None])],
        autograph=False,
    )
    points, magnitude = cloud(2, 0.3)
    for found, kind in zip(traced(points, magnitude), get_args(Kind), strict=False):
        np.testing.assert_allclose(found, confidence(points, magnitude, kind), 1e-4)


def test_errors_say_what_was_expected():
    points, magnitude = cloud(2, 0.3)
    with pytest.raises(ValueError, match="kind of confidence is 'best'; expected one"):
        confidence(points, magnitude, "best")
    with pytest.raises(ValueError, match="sources is 1; clusters are compared from 2"):
        confidence(points, magnitude, sources=1)
