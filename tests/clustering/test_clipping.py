"""Clipping by a fixed limit and by the history of norms, which a checkpoint keeps."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from clustering.clipping import AutoClip, clip_by_norm, global_norm


def norms_of(count, seed=0):
    return np.random.default_rng(seed).lognormal(size=count).astype(np.float32)


def gradients_of(norm):
    """Two variables' gradients with a norm together, and a variable without one."""
    return [norm * tf.constant([0.6]), None, norm * tf.constant([[0.0, 0.8]])]


@pytest.mark.parametrize("limit", [0.0, 1e-5, 1.0, 7.0])
def test_fixed_limit_scales_all_together(limit):
    clipped, norm = clip_by_norm(gradients_of(5.0), limit)
    assert float(norm) == pytest.approx(5.0)
    assert clipped[1] is None
    assert float(global_norm(clipped)) == pytest.approx(min(5.0, limit))
    if limit:
        ratio = float(clipped[0][0] / clipped[2][0, 1])
        assert ratio == pytest.approx(0.75)


def test_gradients_of_zero_and_none_stay():
    clipped, norm = clip_by_norm([tf.zeros([3]), None], 0.0)
    assert not clipped[0].numpy().any()
    assert float(norm) == 0.0
    assert clip_by_norm([None], 1.0)[0] == [None]


@pytest.mark.parametrize("percentile", [0.0, 1.0, 10.0, 37.5, 100.0])
def test_history_gives_the_percentile_of_numpy(percentile):
    clip, norms = AutoClip(percentile, capacity=50), norms_of(30)
    step = tf.function(lambda norm: clip(gradients_of(norm)))
    for count, norm in enumerate(norms, 1):
        clipped, actual = step(tf.constant(norm))
        assert float(actual) == pytest.approx(norm, rel=1e-6)
        limit = np.percentile(norms[:count], percentile)
        expected = min(norm, limit)
        assert float(global_norm([clipped[0], clipped[2]])) == pytest.approx(
            expected, rel=1e-5
        )


def test_the_oldest_norms_are_forgotten_beyond_the_capacity():
    clip, norms = AutoClip(25.0, capacity=8), norms_of(30, seed=1)
    for norm in norms:
        clip(gradients_of(norm))
    assert int(clip.seen) == 30
    np.testing.assert_allclose(np.sort(clip.norms), np.sort(norms[-8:]), rtol=1e-6)
    expected = np.percentile(norms[-8:], 25)
    assert float(clip.limit()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_norms_that_are_not_finite_stay_out_and_are_not_hidden(bad):
    clip = AutoClip(50.0)
    assert np.isinf(float(clip.limit()))
    clip(gradients_of(2.0))
    clipped, norm = clip([tf.constant([1.0, bad])])
    assert not np.isfinite(float(norm))
    np.testing.assert_array_equal(clipped[0], [1.0, bad])
    assert int(clip.seen) == 1
    assert float(clip.limit()) == pytest.approx(2.0)


def test_checkpoint_keeps_the_history(tmp_path):
    clip, norms = AutoClip(30.0, capacity=16), norms_of(10, seed=2)
    for norm in norms[:6]:
        clip(gradients_of(norm))
    path = tf.train.Checkpoint(clip=clip).write(str(tmp_path / "clip"))
    again = AutoClip(30.0, capacity=16)
    tf.train.Checkpoint(clip=again).read(path).assert_consumed()
    for norm in norms[6:]:
        expected, actual = clip(gradients_of(norm))[0], again(gradients_of(norm))[0]
        np.testing.assert_array_equal(expected[2], actual[2])


class ClippedLine(keras.Sequential):
    """A model whose step clips, as those of the pillar do."""

    # TensorFlow 2.16 would rewrite all of tf-keras from here, for half a minute.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, data):
        inputs, targets = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, targets, self(inputs, training=True))
        variables = self.trainable_variables
        pairs = zip(tape.gradient(loss, variables), variables, strict=True)
        gradients = [pair[0] for pair in self.optimizer.aggregate_gradients(pairs)]
        clipped, norm = self.clip(gradients)
        self.optimizer.apply_gradients(
            zip(clipped, variables, strict=True), skip_gradients_aggregation=True
        )
        return {"loss": loss, "norm": norm}


def test_keras_trains_with_it():
    keras.utils.set_random_seed(0)
    model = ClippedLine([keras.layers.Dense(1)])
    model.clip = AutoClip(10.0, capacity=100)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    inputs = np.random.default_rng(3).standard_normal([64, 3]).astype(np.float32)
    history = model.fit(
        inputs, inputs.sum(1), epochs=4, batch_size=8, verbose=0
    ).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert int(model.clip.seen) == 32
    assert len(model.trainable_variables) == 2


def test_replicas_share_one_history():
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        clip = AutoClip(50.0, capacity=4)
    norms = norms_of(6, seed=4)

    @tf.function
    def step(norm):
        return strategy.run(lambda: global_norm(clip([tf.reshape(norm, [1])])[0]))

    for norm in norms:
        limits = strategy.experimental_local_results(step(tf.constant(norm)))
    expected = min(norms[-1], np.median(norms[-4:]))
    np.testing.assert_allclose(limits, [expected, expected], rtol=1e-6)
    assert int(clip.seen.read_value()) == 6
    assert float(clip.limit()) == pytest.approx(np.median(norms[-4:]), rel=1e-6)
