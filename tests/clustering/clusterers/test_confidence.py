"""The confidences against nussl's values and scikit-learn's definitions."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering.clusterers import confidence
from clustering.clusterers.confidence import MEASURES, confidences
from clustering.clusterers.kmeans import _centered, _lloyd
from clustering.config import Clustering

GOLDEN = Path(__file__).parents[2] / "golden" / "clustering"


def from_start(points, centroids):
    """Run the rounds of k-means from one start [batch, clusters, dim]."""
    data = _centered(points, None)
    return _lloyd(data, (centroids - data.mean)[:, tf.newaxis])


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


def test_meets_nussl(loud):
    points, centroids, magnitude, values = loud
    ours = float(confidence.posterior(points, centroids)[0])
    assert ours == pytest.approx(values["posterior"], rel=2e-6, abs=2e-6)
    ours = float(confidence.deep_clustering(points, centroids, magnitude)[0])
    assert ours == pytest.approx(values["dpcl_classic"], rel=2e-6, abs=2e-6)
    # Both draw some of the points.
    ours = float(confidence.silhouette(points, centroids)[0])
    assert ours == pytest.approx(values["silhouette"], abs=0.01)


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_silhouette_is_that_of_scikit_learn(sources):
    from sklearn.metrics import silhouette_score

    points, _ = cloud(sources, 0.4)
    clusters = from_start(points, points[:, :sources])
    expected = silhouette_score(points[0], clusters.labels[0])
    ours = confidence.silhouette(points, clusters.centroids)
    np.testing.assert_allclose(ours, [expected], rtol=1e-5)


@pytest.mark.parametrize("sources", [2, 3])
def test_separate_clusters_have_higher_confidence(sources):
    params = Clustering(sources=sources, percentile=0.0)
    clear, blurred = (
        confidences(*cloud(sources, noise), params) for noise in (0.05, 0.6)
    )
    assert tuple(clear) == MEASURES
    for name in MEASURES:
        assert clear[name].shape == [1]
        assert float(clear[name][0]) > float(blurred[name][0]) + 0.02, name


def test_three_sources_take_the_nearest_centroid():
    # By the farthest one, as in nussl, this would be far below 1.
    points, magnitude = cloud(3, 0.0, dim=3)
    measures = confidences(points, magnitude, Clustering(sources=3, percentile=0.0))
    np.testing.assert_allclose(measures["deep_clustering"], [1.0], atol=1e-5)


def test_only_loud_points_count():
    points, magnitude = cloud(2, 0.05)
    noise = np.random.default_rng(1).normal(size=points.shape).astype(np.float32)
    both = np.concatenate([points, noise], axis=1)
    levels = np.concatenate([magnitude, 0.01 * magnitude], axis=1)
    expected = confidences(points, magnitude, Clustering(percentile=0.0))
    measures = confidences(both, levels, Clustering(percentile=50.0))
    for name in MEASURES:
        np.testing.assert_allclose(measures[name], expected[name], rtol=1e-4)


def test_silence_is_finite():
    points = np.zeros([2, 40, 3], np.float32)
    measures = confidences(points, np.zeros([2, 5, 8], np.float32), Clustering())
    assert all(np.isfinite(value).all() for value in measures.values())


def test_single_points_and_single_clusters_count_as_zero():
    points = np.array([[[0.0], [0.1], [9.0]]], np.float32)
    centroids = np.array([[[0.05], [9.0]]], np.float32)
    inside = (8.95 - 0.1) / 8.95  # Near enough for both of the pair.
    ours = float(confidence.silhouette(points, centroids)[0])
    assert ours == pytest.approx(2 * inside / 3, rel=1e-3)
    single = confidence.silhouette(points, np.array([[[0.0], [900.0]]], np.float32))
    assert single.numpy().tolist() == [0.0]


def test_in_a_graph_of_unknown_shape():
    params = Clustering(percentile=0.0)
    traced = tf.function(
        lambda points, magnitude: confidences(points, magnitude, params),
        input_signature=[tf.TensorSpec([None, None, 5]), tf.TensorSpec([None, None])],
        autograph=False,
    )
    points, magnitude = cloud(2, 0.3)
    expected = confidences(points, magnitude, params)
    for name, value in traced(points, magnitude).items():
        np.testing.assert_allclose(value, expected[name], 1e-4)


def test_a_single_source_is_refused():
    with pytest.raises(ValueError, match="sources is 1; a confidence compares 2"):
        confidences(*cloud(2, 0.3), Clustering(sources=1))
