"""common used as for two talkers at 8 kHz: an embedding for each bin, then clusters."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common import audio, records
from common.corpora.track import Track
from common.separation.separator import Separator
from common.signal.masking import binary_mask
from common.signal.metrics import si_sdr
from common.signal.permutation import best_permutation, permute
from common.signal.stft import Stft, istft, stft
from common.synthetic import miniature
from common.training import distribution

PARAMS = Stft(256, 64, window="sqrt_hann", padding="constant_whole", scale="window_sum")
SAMPLES = 6400
DEPTH = 6


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    root = miniature.write_wsj0_2mix(
        tmp_path_factory.mktemp("talkers") / "wsj", train=6, validation=2, test=2
    )
    folder = next(Path(root).rglob("tr"))
    tracks = [
        Track(
            name=path.stem,
            sample_rate=8000,
            samples=audio.probe(path).samples,
            sources={talker: folder / talker / path.name for talker in ("s1", "s2")},
            mixture=path,
        )
        for path in sorted((folder / "mix").iterdir())
    ]
    return records.write(tracks, tmp_path_factory.mktemp("records"), encoding="flac")


class EmbeddingNetwork(keras.Model):
    """A unit vector for every bin of the mixture."""

    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(48, "tanh")
        self.heads = keras.layers.Dense(129 * DEPTH)

    def call(self, mixture):
        magnitude = tf.abs(stft(mixture, PARAMS))
        level = 10 / np.log(10) * tf.math.log(tf.maximum(magnitude**2, 1e-8))
        flat = self.heads(self.hidden(level / 40 + 1))
        shape = tf.concat([tf.shape(magnitude), [DEPTH]], 0)
        return tf.math.l2_normalize(tf.reshape(flat, shape), -1)


class TalkerTraining(keras.Model):
    """Deep clustering in Gram form, weighted by magnitude."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.loss_mean = keras.metrics.Mean("loss")

    def train_step(self, batch):
        sources = batch["sources"][:, :, 0]
        mixture = tf.reduce_sum(sources, 1)
        labels = tf.transpose(binary_mask(tf.abs(stft(sources, PARAMS))), [0, 2, 3, 1])
        weights = tf.abs(stft(mixture, PARAMS))[..., tf.newaxis]
        weights = tf.sqrt(weights / tf.reduce_sum(weights, [1, 2], keepdims=True))
        with tf.GradientTape() as tape:
            embedding = self.network(mixture) * weights
            loss = tf.reduce_mean(self._loss(embedding, labels * weights))
        variables = self.network.trainable_variables
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )
        self.loss_mean.update_state(loss)
        return {"loss": self.loss_mean.result()}

    @staticmethod
    def _loss(embedding, labels):
        batch = tf.shape(embedding)[0]
        v = tf.reshape(embedding, [batch, -1, DEPTH])
        y = tf.reshape(labels, [batch, -1, 2])

        def gram(a, b):
            return tf.reduce_sum(tf.square(tf.matmul(a, b, transpose_a=True)), [1, 2])

        return gram(v, v) - 2 * gram(v, y) + gram(y, y)


def separate(network, mixture):
    """Two clusters by a few rounds of k-means on unit vectors, then binary masks."""
    spectrogram = stft(mixture[:, 0], PARAMS).numpy()
    vectors = network(tf.constant(mixture[:, 0])).numpy()
    centres = vectors[:, [0, -1], [20, 60]]
    for _ in range(5):
        owner = np.einsum("bfkd,bsd->bsfk", vectors, centres).argmax(1)
        masks = np.stack([owner == 0, owner == 1], 1).astype(np.float32)
        centres = np.einsum("bsfk,bfkd,bfk->bsd", masks, vectors, np.abs(spectrogram))
    parts = tf.constant(masks * spectrogram[:, np.newaxis])
    return istft(parts, PARAMS, mixture.shape[-1]).numpy()[:, :, np.newaxis]


def test_embeddings_are_learned_and_clustered(index):
    distribution.prepare(0)

    def example(position):
        track = records.shuffled(position, len(index), seed=0)
        return {"sources": records.excerpt(index, track, 0, SAMPLES)["sources"]}

    strategy = tf.distribute.get_strategy()
    model = TalkerTraining(EmbeddingNetwork())
    model.compile(keras.optimizers.Adam(3e-3, jit_compile=False))
    history = model.fit(
        distribution.training_batches(strategy, example, 4, 0),
        steps_per_epoch=10,
        epochs=3,
        verbose=0,
    )
    assert history.history["loss"][-1] < 0.9 * history.history["loss"][0]

    separator = Separator(
        lambda mixture: separate(model.network, mixture),
        ("source0", "source1"),
        8000,
        segment_seconds=0.5,
    )
    sources = records.excerpt(index, tf.constant(0), tf.constant(0), SAMPLES)["sources"]
    mixture = tf.reduce_sum(sources, 0).numpy()
    estimates = np.stack(list(separator(mixture).values()))
    np.testing.assert_allclose(estimates.sum(0), mixture, atol=1e-4)
    costs = -si_sdr(sources[:, tf.newaxis, 0], estimates[np.newaxis, :, 0])
    _, order = best_permutation(costs)
    aligned = permute(tf.constant(estimates), order)
    assert np.isfinite(si_sdr(sources, aligned)).all()


def test_stft_of_the_field_round_trip():
    mixture = np.random.default_rng(0).standard_normal(12000).astype(np.float32)
    spectrogram = stft(mixture, PARAMS)
    assert spectrogram.shape == (189, 129)
    np.testing.assert_allclose(istft(spectrogram, PARAMS, 12000), mixture, atol=1e-5)
