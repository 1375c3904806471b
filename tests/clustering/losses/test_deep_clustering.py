"""Losses of embeddings against nussl, asteroid and numpy."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering.losses.deep_clustering import (
    deep_clustering,
    unit_norm,
    whitened_kmeans,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "clustering"
ASSIGNMENTS = {
    "dc": "assignment",
    "dc_unit_weights": "unit_assignment",
    "dc_one_source_silent": "silent_assignment",
    "wkm": "assignment",
    "wkm_unit_weights": "unit_assignment",
    "wkm_one_source_silent": "silent_assignment",
}


def random_points(points=40, dim=5, sources=3, seed=0):
    random = np.random.default_rng(seed)
    embedding = random.standard_normal([2, points, dim])
    embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
    assignment = np.eye(sources)[random.integers(0, sources, [2, points])]
    weights = random.random([2, points])
    return [array.astype(np.float32) for array in (embedding, assignment, weights)]


def with_gradient(loss, embedding, *rest):
    embedding = tf.constant(embedding)
    with tf.GradientTape() as tape:
        tape.watch(embedding)
        values = loss(embedding, *rest)
        mean = tf.reduce_mean(values)
    return values.numpy(), tape.gradient(mean, embedding).numpy()


def nussl_points(case):
    golden = np.load(GOLDEN / "nussl_embedding_losses.npz")
    weights = golden["root_weights"] ** 2
    if "unit_weights" in case:
        weights = np.ones_like(weights)
    assignment = golden[ASSIGNMENTS[case]].astype(np.float32)
    return golden, (golden["embedding"], assignment, weights)


@pytest.mark.parametrize("case", ASSIGNMENTS)
def test_losses_are_those_of_nussl(case):
    golden, points = nussl_points(case)
    loss = deep_clustering if case.startswith("dc") else whitened_kmeans
    values, gradient = with_gradient(
        lambda v, *rest: loss(unit_norm(v), *rest), *points
    )
    assert values.shape == (3,)
    np.testing.assert_allclose(values.mean(), golden[f"{case}/out"], rtol=2e-6)
    if f"{case}/grad" not in golden:
        return
    expected = golden[f"{case}/grad"]
    # nussl's explicit inverse has an error of about 1e-3 in its gradient; that of deep
    # clustering is rounded to 2e-6 of the largest on either side.
    tolerance = 4e-6 if case.startswith("dc") else 2e-3
    np.testing.assert_allclose(
        gradient[0], expected, atol=tolerance * abs(expected).max()
    )


def test_active_count_is_the_loss_of_asteroid():
    golden = np.load(GOLDEN / "asteroid_embedding_losses.npz")
    losses, gradient = with_gradient(
        deep_clustering,
        golden["embedding"],
        tf.one_hot(golden["index"], 3),
        golden["mask"].astype(np.float32),
        "active",
    )
    np.testing.assert_allclose(losses, golden["out"], rtol=2e-6)
    # The peer's gradient is that of the sum over the batch, ours of the mean.
    expected = golden["grad"] / 3.0
    np.testing.assert_allclose(gradient[0], expected, atol=4e-6 * abs(expected).max())


def test_gram_form_is_the_difference_of_affinities():
    embedding, assignment, weights = random_points()
    roots = np.sqrt(weights.astype(np.float64))[..., np.newaxis]
    v, y = roots * embedding, roots * assignment
    affinities = v @ v.transpose(0, 2, 1) - y @ y.transpose(0, 2, 1)
    distance = np.square(affinities).sum((1, 2))
    total = weights.sum(1).astype(np.float64)
    expected = {
        "classic": distance / total**2,
        "batch": distance / np.mean(total**2),
        "active": distance / total,
    }
    for kind, values in expected.items():
        losses = deep_clustering(embedding, assignment, weights, kind)
        np.testing.assert_allclose(losses, values, rtol=2e-6, err_msg=kind)
    ratio = distance.sum() / np.sum(total**2)
    assert expected["batch"].mean() == pytest.approx(ratio)


def test_whitened_kmeans_in_float64_and_its_range():
    embedding, assignment, weights = random_points()
    v, y, w = (x.astype(np.float64) for x in (embedding, assignment, weights))
    v, y = v * np.sqrt(w)[..., None], y * np.sqrt(w)[..., None]
    own = np.linalg.inv(v.transpose(0, 2, 1) @ v + np.eye(5))
    ideal = np.linalg.inv(y.transpose(0, 2, 1) @ y + np.eye(3))
    cross = v.transpose(0, 2, 1) @ y
    traces = np.trace(own @ cross @ ideal @ cross.transpose(0, 2, 1), axis1=1, axis2=2)
    losses = whitened_kmeans(embedding, assignment, weights)
    np.testing.assert_allclose(losses, 8.0 - 2.0 * traces, rtol=1e-6)
    exact = whitened_kmeans(assignment, assignment, 1e5 * weights)
    np.testing.assert_allclose(exact, 0.0, atol=1e-3)


@pytest.mark.parametrize("kind", ["classic", "batch", "active"])
def test_losses_know_neither_rotation_nor_order_of_sources(kind):
    embedding, assignment, weights = random_points()
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal([5, 5]))[0]
    turned = embedding @ rotation.astype(np.float32)
    swapped = assignment[..., ::-1]
    for loss in (lambda *a: deep_clustering(*a, kind), whitened_kmeans):
        expected = loss(embedding, assignment, weights)
        np.testing.assert_allclose(loss(turned, swapped, weights), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["classic", "batch", "active", "whitened"])
@pytest.mark.parametrize("case", ["no weight", "no embedding", "no source", "one"])
def test_losses_are_finite_where_something_is_missing(kind, case):
    embedding, assignment, weights = random_points()
    if case == "no weight":
        weights = 0 * weights
    elif case == "no embedding":
        embedding = 0 * embedding
    elif case == "no source":
        assignment = 0 * assignment
    else:
        assignment = np.ones_like(assignment[..., :1])

    def loss(v, y, w):
        unit = unit_norm(v)
        whitened = kind == "whitened"
        return (
            whitened_kmeans(unit, y, w)
            if whitened
            else deep_clustering(unit, y, w, kind)
        )

    values, gradient = with_gradient(loss, embedding, assignment, weights)
    assert np.isfinite(values).all()
    assert np.isfinite(gradient).all()
    if case == "no weight":
        np.testing.assert_allclose(values, 8.0 if kind == "whitened" else 0.0)
    if case in ("no weight", "no embedding"):
        assert not gradient.any()


def test_perfect_embeddings_have_no_loss_and_weights_may_be_trained():
    _, assignment, weights = random_points()
    weights[:, :5] = 0.0
    w = tf.constant(weights)
    with tf.GradientTape() as tape:
        tape.watch(w)
        losses = deep_clustering(assignment, assignment, w)
    np.testing.assert_allclose(losses, 0.0, atol=1e-6)
    assert np.isfinite(tape.gradient(losses, w).numpy()).all()


def test_shapes_may_be_unknown_and_half_precision_is_widened():
    signature = [tf.TensorSpec([None, None, n], tf.float16) for n in (5, 3)]
    signature.append(tf.TensorSpec([None, None], tf.float16))
    points = [x.astype(np.float16) for x in random_points()]
    for loss in (deep_clustering, whitened_kmeans):
        traced = tf.function(loss, input_signature=signature)(*points)
        assert traced.dtype == tf.float32
        np.testing.assert_allclose(traced, loss(*points), rtol=1e-6)


def test_unit_norm_has_a_gradient_of_zero_at_zero():
    vectors = tf.constant([[3.0, 4.0], [0.0, 0.0], [1e-15, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        unit = unit_norm(vectors)
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0.0, 0.0], [0.0, 0.0]], rtol=1e-6)
    gradient = tape.gradient(unit, vectors, tf.ones([3, 2])).numpy()
    np.testing.assert_allclose(gradient[0], [0.032, -0.024], rtol=1e-5)
    assert not gradient[1:].any()


def test_bad_input_is_named():
    embedding, assignment, weights = random_points()
    with pytest.raises(ValueError, match=r"'nussl'; expected one of classic, batch"):
        deep_clustering(embedding, assignment, weights, "nussl")
    with pytest.raises(ValueError, match=r"\(2, 39\) do not fit; expected"):
        whitened_kmeans(embedding, assignment, weights[:, 1:])
