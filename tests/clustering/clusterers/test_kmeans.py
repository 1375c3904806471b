"""K-means against scikit-learn's and against its own promises."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering.clusterers.kmeans import (
    _centered,
    _lloyd,
    _seeds,
    distances,
    kmeans,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "clustering"


def from_start(points, centroids, weights=None, **options):
    """Run the rounds alone, from one start [batch, clusters, dim]."""
    data = _centered(points, weights)
    return _lloyd(data, (centroids - data.mean)[:, tf.newaxis], **options)


def blobs(clusters=3, points=600, dim=5, noise=0.1, seed=0):
    """Points around centres that are far apart, with the cluster of each."""
    rng = np.random.default_rng(seed)
    centres = 3 * np.eye(clusters, dim) + 2
    labels = rng.integers(0, clusters, points)
    cloud = centres[labels] + noise * rng.normal(size=(points, dim))
    return cloud.astype(np.float32)[None], labels


@pytest.mark.parametrize("case", ["soft_p90", "soft_p95_beta1"])
def test_meets_the_centres_of_nussl(case):
    golden = np.load(GOLDEN / "masks_nussl.npz")
    loud = golden[f"{case}/fitted"]
    actual = from_start(golden["embedding"][loud][None], golden["init"][None])
    centres = golden[f"{case}/centers"]
    np.testing.assert_allclose(actual.centroids[0], centres, rtol=2e-6, atol=5e-7)
    assert actual.inertia[0].numpy() == pytest.approx(
        golden[f"{case}/inertia"], rel=2e-6
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_finds_the_inertia_of_scikit_learn(weighted):
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(1)
    points = rng.normal(size=(400, 3)).astype(np.float32)
    weights = rng.gamma(0.5, size=400).astype(np.float32) if weighted else None
    theirs = KMeans(4, n_init=5, random_state=0).fit(points, sample_weight=weights)
    batched = None if weights is None else weights[None]
    ours = kmeans(points[None], 4, batched, restarts=20)
    assert float(ours.inertia[0]) <= theirs.inertia_ * 1.001
    # From their centroids nothing moves, so the definitions are the same.
    again = from_start(points[None], theirs.cluster_centers_[None], batched)
    np.testing.assert_allclose(again.centroids[0], theirs.cluster_centers_, atol=1e-6)
    assert again.inertia[0].numpy() == pytest.approx(theirs.inertia_, rel=1e-5)
    assert (again.labels[0].numpy() == theirs.labels_).all()


@pytest.mark.parametrize("clusters", [1, 2, 3, 6])
def test_finds_blobs_in_one_start(clusters):
    points, labels = blobs(clusters, dim=6)
    for number in range(5):
        actual = kmeans(points, clusters, seed=(number, 1)).labels[0].numpy()
        pairs = set(zip(labels.tolist(), actual.tolist(), strict=True))
        assert len(pairs) == clusters


def test_the_seed_decides_and_neighbours_do_not():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(3, 200, 4)).astype(np.float32)
    options = {"clusters": 5, "restarts": 3}
    whole = kmeans(points, **options)
    for first, second in zip(whole, kmeans(points, **options), strict=True):
        assert (first.numpy() == second.numpy()).all()
    for item in range(3):
        alone = kmeans(points[item : item + 1], **options)
        np.testing.assert_allclose(alone.centroids[0], whole.centroids[item], atol=1e-5)
        assert (alone.labels[0].numpy() == whole.labels[item].numpy()).all()
    other = kmeans(points, seed=(0, 1), **options)
    assert (other.centroids.numpy() != whole.centroids.numpy()).any()


def test_more_restarts_are_never_worse():
    points = np.random.default_rng(3).normal(size=(1, 300, 2)).astype(np.float32)
    few = [float(kmeans(points, 8, seed=(n, 0)).inertia[0]) for n in range(5)]
    many = float(kmeans(points, 8, restarts=30).inertia[0])
    assert many <= min(few) * 1.02


def test_a_weight_is_as_many_points():
    rng = np.random.default_rng(4)
    points = rng.normal(size=(60, 3)).astype(np.float32)
    copies = rng.integers(0, 4, 60)
    start = points[None, :3]
    weighted = from_start(points[None], start, copies[None].astype(np.float32))
    repeated = from_start(np.repeat(points, copies, 0)[None], start)
    np.testing.assert_allclose(weighted.centroids, repeated.centroids, atol=1e-5)
    np.testing.assert_allclose(weighted.inertia, repeated.inertia, rtol=1e-5)


def test_weights_of_zero_count_alike_where_there_are_no_others():
    points, _ = blobs()
    equal = kmeans(points, 3)
    silent = kmeans(points, 3, np.zeros(points.shape[:2], np.float32))
    assert (equal.labels.numpy() == silent.labels.numpy()).all()


def test_an_empty_cluster_takes_the_farthest_point():
    points = tf.constant([[[0.0], [1.0], [2.0], [30.0], [40.0]]])
    start = tf.constant([[[1.0], [500.0], [600.0]]])
    once = from_start(points, start, max_rounds=1)
    mean = 73 / 5
    assert once.centroids.numpy().ravel().tolist() == pytest.approx([mean, 40.0, 30.0])
    rest = from_start(points, start).centroids.numpy().ravel().tolist()
    assert rest == pytest.approx([1.0, 40.0, 30.0])


@pytest.mark.parametrize("count", [1, 2, 50])
def test_fewer_distinct_points_than_clusters(count):
    points = np.full([2, count, 3], 0.7, np.float32)
    actual = kmeans(points, 4, restarts=2)
    np.testing.assert_allclose(actual.centroids, 0.7, rtol=1e-6)
    np.testing.assert_allclose(actual.inertia, 0.0, atol=1e-10)


def test_no_rounds_leave_the_centroids():
    points, _ = blobs()
    start = np.eye(3, 5, dtype=np.float32)[None]
    fixed = from_start(points, start, max_rounds=0)
    np.testing.assert_allclose(fixed.centroids, start, atol=1e-6)
    expected = np.argmin(((points[0][:, None] - start) ** 2).sum(-1), -1)
    assert (fixed.labels[0].numpy() == expected).all()


def test_far_from_the_origin_no_digits_are_lost():
    points, _ = blobs(2, noise=0.01)
    near, far = (kmeans(points + shift, 2) for shift in (0, 1000))
    np.testing.assert_allclose(far.inertia, near.inertia, rtol=0.01)
    assert (near.labels.numpy() == far.labels.numpy()).all()


def test_unknown_batch_and_points_in_a_graph():
    signature = [tf.TensorSpec([None, None, 5]), tf.TensorSpec([None, None])]
    traced = tf.function(
        lambda points, weights: kmeans(points, 3, weights, restarts=2),
        input_signature=signature,
        autograph=False,
    )
    for count in (100, 600):
        points, _ = blobs(points=count)
        both = np.repeat(points, 2, 0)
        ours = traced(both, np.ones([2, count], np.float32))
        np.testing.assert_allclose(
            ours.inertia, kmeans(both, 3, restarts=2).inertia, rtol=1e-5
        )


def test_distances_keep_small_ones_and_their_gradient():
    points = tf.constant([[[100.0, 0.0], [100.0, 1e-4]]])
    with tf.GradientTape() as tape:
        tape.watch(points)
        away = distances(points, points[:, :1])
    np.testing.assert_allclose(away[0, 0], [0, 1e-4], atol=1e-9)
    assert np.isfinite(tape.gradient(away, points)).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: kmeans(np.zeros([1, 4, 2]), 0), "clusters is 0; expected at least 1"),
        (lambda: kmeans(np.zeros([1, 4, 2]), 2, restarts=0), "restarts is 0"),
        (lambda: kmeans(np.zeros([4, 2]), 2), r"\[batch, points, dim\]"),
        (lambda: kmeans(np.zeros([1, 0, 2]), 2), "at least one point"),
        (lambda: kmeans(np.zeros([1, 4, 2]), 2, np.zeros([4])), "one weight for each"),
    ],
)
def test_errors_say_what_was_expected(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_starts_are_as_good_as_those_of_scikit_learn():
    """With a single draw of each centroid they are worse by a fifth."""
    from sklearn.cluster import kmeans_plusplus

    points = np.random.default_rng(5).normal(size=(300, 2)).astype(np.float32)
    starts = _seeds(_centered(points[None], None), 8, 200, (0, 0))[0].numpy()
    theirs = [kmeans_plusplus(points, 8, random_state=n)[0] for n in range(200)]
    ours, expected = (
        np.square(points - each[:, :, np.newaxis]).sum(-1).min(1).sum(-1).mean()
        for each in (starts + points.mean(0), np.stack(theirs))
    )
    assert ours == pytest.approx(expected, rel=0.04)
