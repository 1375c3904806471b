"""Clustering in numpy against that of TensorFlow."""

import dataclasses

import numpy as np
import pytest

from clustering.clusterers import numpy_kmeans
from clustering.clusterers.cluster import cluster, loudest
from clustering.config import Clustering, ClusteringConfig
from clustering.export import _settings

OPTIONS = [
    Clustering(),
    Clustering(sources=3, restarts=3, weighted=True, within_db=30.0, mask="posterior"),
    Clustering(percentile=0.0, mask="binary", order_by_size=False),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_masks_equal_those_of_tensorflow(options):
    random = np.random.default_rng(0)
    centres = np.eye(4)[random.integers(0, options.sources, 60 * 33)]
    embedding = (centres + random.normal(0.0, 0.2, [60 * 33, 4])).astype(np.float32)
    magnitude = random.gamma(0.3, size=[60, 33]).astype(np.float32)
    config = ClusteringConfig(kind="dpcl", cluster=options)
    chances = np.asarray(_settings(config, {})["chances"], np.float32)
    actual = numpy_kmeans.masks(
        embedding, magnitude, dataclasses.asdict(options), chances
    )
    pair = embedding[np.newaxis], magnitude[np.newaxis]
    expected = cluster(*pair, options).masks[0].numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("percentile", [0.0, 50.0, 90.0, 100.0])
def test_loudest_points_are_those_of_tensorflow(percentile):
    magnitude = np.round(np.random.default_rng(1).gamma(0.5, size=101), 1)
    actual = numpy_kmeans.loudest(magnitude.astype(np.float32), percentile)
    expected = loudest(magnitude.astype(np.float32)[np.newaxis], percentile)
    np.testing.assert_array_equal(actual, expected[0])


def test_clusters_without_points_move_to_the_farthest():
    points = np.zeros([5, 2], np.float32)
    points[4] = 1.0
    actual = numpy_kmeans.kmeans(points, np.ones(5, np.float32), np.zeros([1, 3, 3]))
    assert np.isfinite(actual).all()
    assert sorted({tuple(each) for each in actual.tolist()}) == [(0.0, 0.0), (1.0, 1.0)]
