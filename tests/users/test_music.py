"""common used as for music: stereo at 44.1 kHz, four named sources, a long STFT.

Tracks of MUSDB18's layout become records in pieces, random excerpts of different tracks
are mixed, one mask for each target is learned, and files are separated by name.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common import audio, records
from common.corpora.track import Track
from common.separation.files import separate_file
from common.separation.separator import Separator
from common.signal.masking import ratio_mask
from common.signal.metrics import sdr
from common.signal.stft import Stft, istft, stft
from common.synthetic import miniature
from common.training import distribution

TARGETS = ("vocals", "drums", "bass", "other")
PARAMS = Stft(4096, 1024, padding="reflect")
SAMPLES = 32768


class MaskNetwork(keras.Model):
    """One mask in [0, 1] for every target, bin and channel."""

    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(48, "tanh")
        self.masks = keras.layers.Dense(4 * 2049)
        self.build_on = self(tf.zeros([1, 2, SAMPLES]))

    def magnitudes(self, mixture):
        spectrogram = stft(mixture, PARAMS)  # [batch, channels, frames, bins]
        magnitude = tf.abs(spectrogram)
        hidden = self.hidden(tf.math.log1p(magnitude))
        shape = tf.concat([tf.shape(magnitude), [4]], 0)
        masks = tf.sigmoid(tf.reshape(self.masks(hidden), shape))
        estimates = tf.transpose(masks * magnitude[..., tf.newaxis], [0, 4, 1, 2, 3])
        return estimates, spectrogram

    def call(self, mixture):
        estimates, spectrogram = self.magnitudes(mixture)
        phase = tf.sign(spectrogram)[:, tf.newaxis]
        whole = tf.cast(estimates, tf.complex64) * phase
        return istft(whole, PARAMS, tf.shape(mixture)[-1])


class MusicTraining(keras.Model):
    """Mean squared error of the magnitudes of all targets."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.loss_mean = keras.metrics.Mean("loss")
        self.built = True

    def losses_of(self, sources):
        estimates, _ = self.network.magnitudes(tf.reduce_sum(sources, 1))
        wanted = tf.abs(stft(sources, PARAMS))
        return tf.reduce_mean(tf.square(wanted - estimates), [1, 2, 3, 4])

    def train_step(self, batch):
        with tf.GradientTape() as tape:
            losses = self.losses_of(batch["sources"])
            loss = tf.reduce_mean(losses)
        weights = self.network.trainable_variables
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, weights), weights, strict=True)
        )
        self.loss_mean.update_state(losses)
        return {"loss": self.loss_mean.result()}

    def test_step(self, batch):
        self.loss_mean.update_state(self.losses_of(batch["sources"]), batch["weight"])
        return {"loss": self.loss_mean.result()}


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    root = miniature.write_musdb(
        tmp_path_factory.mktemp("music") / "musdb", seconds=3.0, train=2, test=1
    )
    return [
        Track(
            name=folder.name,
            sample_rate=44100,
            samples=audio.probe(folder / "mixture.wav").samples,
            sources={target: folder / f"{target}.wav" for target in TARGETS},
            mixture=folder / "mixture.wav",
        )
        for folder in sorted(Path(root, "train").iterdir())
    ]


@pytest.fixture(scope="module")
def index(tracks, tmp_path_factory):
    return records.write(
        tracks, tmp_path_factory.mktemp("records"), piece_samples=30000
    )


def test_records_hold_named_stereo_sources(index, tracks):
    assert index.sources == TARGETS
    assert index.channels == 2
    got = records.excerpt(index, tf.constant(1), tf.constant(29000), 2000)
    wanted, _ = audio.read(tracks[1].sources["bass"], 29000, 2000)
    np.testing.assert_array_equal(got["sources"][2], wanted)
    mixture, _ = audio.read(tracks[1].mixture, 29000, 2000)
    np.testing.assert_allclose(got["mixture"], mixture, atol=1e-7)


def test_long_stft_and_ideal_mask(index):
    sources = records.excerpt(index, tf.constant(0), tf.constant(0), 60000)["sources"]
    mixture = tf.reduce_sum(sources, 0)
    spectrogram = stft(mixture, PARAMS)
    assert spectrogram.shape == (2, 1 + 60000 // 1024, 2049)
    masks = ratio_mask(tf.transpose(tf.abs(stft(sources, PARAMS)), [1, 0, 2, 3]))
    parts = tf.transpose(tf.cast(masks, tf.complex64), [1, 0, 2, 3]) * spectrogram
    estimates = istft(parts, PARAMS, 60000)
    gain = sdr(sources, estimates) - sdr(
        sources, tf.broadcast_to(mixture, sources.shape)
    )
    assert float(tf.reduce_mean(gain)) > 5


def test_trains_on_mixes_of_tracks_and_separates_by_name(index, tracks, tmp_path):
    distribution.prepare(0)

    def example(position):
        """Take each target from a track of its own, as random track mixing does."""
        parts = []
        for number in range(len(TARGETS)):
            place = 4 * position + number
            track = records.shuffled(place, len(index), seed=number)
            spare = tf.gather(index.tables.samples, track) - SAMPLES
            start = tf.random.stateless_uniform(
                [], tf.stack([place, 7]), 0, spare, tf.int64
            )
            whole = records.excerpt(index, track, start, SAMPLES)["sources"]
            parts.append(whole[number])
        return {"sources": tf.stack(parts)}

    strategy = tf.distribute.get_strategy()
    model = MusicTraining(MaskNetwork())
    model.compile(keras.optimizers.Adam(3e-3, jit_compile=False))
    model.optimizer.build(model.network.trainable_variables)
    history = model.fit(
        distribution.training_batches(strategy, example, 2, 0),
        steps_per_epoch=6,
        epochs=3,
        verbose=0,
    )
    assert history.history["loss"][-1] < history.history["loss"][0]
    graph = tf.function(model.network, reduce_retracing=True)
    separator = Separator(
        lambda mixture: graph(tf.constant(mixture)).numpy(),
        TARGETS,
        44100,
        channels=2,
        segment_seconds=1.5,
        named=True,
    )
    separate_file(separator, tracks[0].mixture, tmp_path, targets=["drums", "vocals"])
    written = sorted(path.name for path in tmp_path.rglob("*.wav"))
    assert written == ["drums.wav", "vocals.wav"]
    assert audio.probe(next(tmp_path.rglob("*.wav"))).channels == 2
