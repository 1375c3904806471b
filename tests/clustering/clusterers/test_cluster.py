"""Masks from embeddings, against nussl's and against their own promises."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering.clusterers import gaussian_mixture
from clustering.clusterers.cluster import (
    cluster,
    loudest,
    masks,
    posterior_masks,
    soft_masks,
)
from clustering.config import Clustering

GOLDEN = Path(__file__).parents[2] / "golden" / "clustering"


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "masks_nussl.npz"))


def scene(sources=3, frames=12, bins=9, batch=2, dim=4, noise=0.05):
    """Embeddings around an axis for each source, loud where they are certain."""
    rng = np.random.default_rng(0)
    odds = np.arange(sources, 0, -1) / np.arange(1, sources + 1).sum()
    labels = rng.choice(sources, [batch, frames * bins], p=odds)
    embedding = np.eye(sources, dim)[labels]
    embedding += noise * rng.normal(size=embedding.shape)
    magnitude = rng.uniform(0.1, 1, [batch, frames, bins])
    return embedding.astype(np.float32), magnitude.astype(np.float32), labels


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("soft_p90", {}),
        ("soft_p95_beta1", {"beta": 1.0}),
        ("binary_p0", {"mask": "binary"}),
    ],
)
def test_meets_the_masks_of_nussl(golden, case, options):
    embedding = golden["embedding"][None, -600:]
    magnitude = golden["magnitude"][None, -600:, None]
    centres = golden[f"{case}/centers"][None]
    made = masks(embedding, magnitude, centres, Clustering(**options))
    expected = golden[f"{case}/masks"].T.astype(np.float32)
    np.testing.assert_allclose(made[0, ..., 0], expected, rtol=2e-6, atol=3e-7)


def test_meets_nussl_from_the_embedding_on(golden):
    count = golden["soft_p90/n_fit"]
    embedding, magnitude = golden["embedding"], golden["magnitude"]
    percentile = 100 * (1 - count / len(embedding))
    actual = cluster(
        embedding[None], magnitude[None, :, None], Clustering(percentile=percentile)
    )
    order = [0, 1] if actual.masks[0, 0, -600:].numpy().mean() > 0.5 else [1, 0]
    expected = golden["soft_p90/masks"].T
    if expected[0].mean() < expected[1].mean():
        expected = expected[::-1]
    made = actual.masks.numpy()[0, order, -600:, 0]
    np.testing.assert_allclose(made, expected, atol=1e-5)


@pytest.mark.parametrize("percentile", [0, 50, 90, 95, 33.3, 99.9, 100])
def test_the_loudest_are_those_of_numpy(percentile):
    for count in (1, 2, 10, 11, 24381):
        loud = np.random.default_rng(0).gamma(0.3, size=[1, count]).astype(np.float32)
        expected = np.flatnonzero(loud >= np.percentile(loud, percentile))
        indices = np.sort(loudest(loud, percentile).numpy()[0])
        assert indices.tolist() == expected.tolist()


def test_the_count_of_nussl(golden):
    points = tf.random.stateless_uniform([1, int(golden["points"])], (0, 0))
    for case, percentile in (("soft_p90", 90), ("soft_p95_beta1", 95)):
        assert loudest(points, percentile).shape[1] == golden[f"{case}/n_fit"]


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
@pytest.mark.parametrize("mask", ["soft", "binary", "posterior"])
def test_masks_find_the_sources_by_size(method, mask):
    embedding, magnitude, labels = scene()
    params = Clustering(3, method, mask=mask, percentile=30.0, restarts=3)
    actual = cluster(embedding, magnitude, params).masks.numpy()
    assert actual.shape == (2, 3, 12, 9)
    np.testing.assert_allclose(actual.sum(1), 1, rtol=1e-5)
    # Sources were drawn with falling odds, so that their order is known.
    assert (actual.argmax(1).reshape(2, -1) == labels).mean() > 0.99
    sizes = actual.sum((2, 3))
    assert (np.diff(sizes) <= 0).all()


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_the_model_gives_the_same_masks_again(method):
    embedding, magnitude, _ = scene()
    params = Clustering(3, method)
    actual = cluster(embedding, magnitude, params)
    again = masks(embedding, magnitude, actual.model, params)
    np.testing.assert_allclose(again, actual.masks, atol=1e-6)
    part = masks(embedding[:, :18], magnitude[:, :2], actual.model, params)
    np.testing.assert_allclose(part, actual.masks[:, :, :2], atol=1e-6)


def test_an_item_alone_and_in_a_batch():
    embedding, magnitude, _ = scene(noise=0.5)
    params = Clustering(3, restarts=2)
    whole = cluster(embedding, magnitude, params).masks
    for item in range(2):
        alone = cluster(embedding[item, None], magnitude[item, None], params).masks
        np.testing.assert_allclose(alone[0], whole[item], atol=1e-5)


def test_weights_are_magnitudes():
    embedding, magnitude, _ = scene()
    magnitude[:, :6] = 0
    half = cluster(embedding[:, 54:], magnitude[:, 6:], Clustering(3, percentile=0.0))
    params = Clustering(3, percentile=0.0, weighted=True)
    weighted = cluster(embedding[:, 54:], 0 * magnitude[:, 6:], params)
    np.testing.assert_allclose(weighted.masks, half.masks, atol=1e-6)
    whole = cluster(embedding, magnitude, params)
    part = cluster(embedding[:, 54:], magnitude[:, 6:], params)
    centroids = np.sort(part.model, 1)
    np.testing.assert_allclose(np.sort(whole.model, 1), centroids, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_points_far_below_the_loudest_are_not_clustered(method, weighted):
    embedding, magnitude, _ = scene()
    params = Clustering(3, method, percentile=0.0, weighted=weighted)
    expected = cluster(embedding[:, 54:], magnitude[:, 6:], params)
    # 34 dB below the loudest points, which would otherwise draw the centres to them.
    magnitude[:, :6] = 0.02 * magnitude[:, 6:].max()
    embedding[:, :54] = 50.0 + embedding[:, 54:108]
    actual = cluster(embedding, magnitude, replace(params, within_db=30.0))
    np.testing.assert_allclose(_centres(actual), _centres(expected), atol=1e-4)
    drawn = cluster(embedding, magnitude, replace(params, within_db=40.0))
    assert np.abs(_centres(drawn) - _centres(expected)).max() > 1


def _centres(actual):
    model = actual.model
    return np.sort(getattr(model, "means", model), 1)


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_silence_and_one_point(method):
    for frames, bins in ((1, 1), (4, 3)):
        embedding = np.ones([1, frames * bins, 5], np.float32)
        params = Clustering(3, method)
        actual = cluster(embedding, np.zeros([1, frames, bins], np.float32), params)
        np.testing.assert_allclose(actual.masks.numpy().sum(1), 1, rtol=1e-5)


def test_all_points_belong_to_the_only_source():
    embedding, magnitude, _ = scene()
    for mask in ("soft", "binary", "posterior"):
        actual = cluster(embedding, magnitude, Clustering(1, mask=mask)).masks
        np.testing.assert_allclose(actual, 1)


def test_soft_and_posterior_masks_differ_at_far_points():
    away = np.array([[[50.0], [51.0]]], np.float32)
    np.testing.assert_allclose(soft_masks(away)[0, :, 0], 0.5, atol=1e-6)
    expected = 1 / (1 + np.exp(-5))
    np.testing.assert_allclose(posterior_masks(away)[0, 0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("mask", ["soft", "posterior"])
def test_gradients_reach_the_embedding(mask):
    embedding, magnitude, _ = scene()
    centroids = embedding[:, :3]
    embedding = tf.Variable(embedding)
    with tf.GradientTape() as tape:
        made = masks(embedding, magnitude, centroids, Clustering(3, mask=mask))
        loss = tf.reduce_sum(made[:, 0])
    gradient = tape.gradient(loss, embedding).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_unknown_batch_and_frames(method):
    params = Clustering(3, method, restarts=2)
    signature = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None, 9])]
    traced = tf.function(
        lambda embedding, magnitude: cluster(embedding, magnitude, params),
        input_signature=signature,
        autograph=False,
    )
    for frames in (5, 12):
        embedding, magnitude, _ = scene(frames=frames)
        ours = traced(embedding, magnitude).masks
        eager = cluster(embedding, magnitude, params).masks
        np.testing.assert_allclose(ours, eager, atol=1e-4)


def test_the_mixture_is_that_of_scikit_learn():
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(5)
    shape = rng.normal(size=(2, 3, 3))
    points = np.concatenate([rng.normal(size=(200, 3)) @ one for one in shape])
    points[200:] += 4
    points = points.astype(np.float32)
    theirs = GaussianMixture(2, random_state=0).fit(points.astype(np.float64))
    ours = gaussian_mixture.fit(points[None], 2)
    covariances = ours.factors @ tf.linalg.matrix_transpose(ours.factors)
    order, other = np.argsort(ours.means[0, :, 0]), np.argsort(theirs.means_[:, 0])
    for first, second in (
        (ours.weights, theirs.weights_),
        (ours.means, theirs.means_),
        (covariances, theirs.covariances_),
    ):
        np.testing.assert_allclose(first.numpy()[0, order], second[other], atol=0.02)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sources": 0}, "sources is 0; expected 1 or more"),
        ({"restarts": 0}, "restarts is 0"),
        ({"method": "dbscan"}, "method is 'dbscan'; expected one of kmeans, gmm"),
        ({"mask": "hard"}, "mask is 'hard'; expected one of soft, binary, posterior"),
        ({"percentile": 101.0}, "percentile is 101.0; expected 0 to 100"),
        ({"within_db": -40.0}, "within_db is -40.0; expected none or a number above 0"),
        ({"beta": 0.0}, "beta is 0.0; expected a number above 0"),
    ],
)
def test_settings_are_checked(change, words):
    with pytest.raises(ValueError, match=words):
        replace(Clustering(), **change)


def test_shapes_are_checked():
    embedding, magnitude, _ = scene()
    with pytest.raises(ValueError, match=r"expected \[batch, points, dim\]"):
        cluster(embedding[0], magnitude, Clustering())
    with pytest.raises(ValueError, match="a point for each bin of each frame"):
        cluster(embedding, magnitude[:, 1:], Clustering())
