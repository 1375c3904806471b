"""Any sound goes through every kind of network, at its own length and level."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tf_keras as keras

from clustering import evaluate, separate
from clustering.losses import objective
from clustering.models.network import network
from clustering.models.spectral import level
from clustering.presets import PRESETS
from common.signal.metrics import si_sdr

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = ("dpcl", "mask_inference", "chimera", "tasnet", "conv_tasnet")
RATE = 8000
FRAMES = {"window_samples": 256, "hop_samples": 64}


def noise(*shape, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def separator(config, kind):
    config = replace(config, kind=kind)
    return separate.separator(network(config), config)


def spoken(separator, mixture):
    """Estimates [sources, channels, samples], checked for their shape."""
    estimates = np.stack(list(separator(mixture).values()))
    assert estimates.shape == (2, *mixture.shape)
    assert np.isfinite(estimates).all()
    return estimates


def test_every_length_comes_out_as_long(separator):
    for samples in (1, 63, 1001):
        spoken(separator, noise(1, samples))


def test_masked_sources_add_up(config):
    separator = separate.separator(network(config), config)
    assert separator.complete
    tone = 0.3 * np.sin(np.arange(900) * 0.7, dtype=np.float32)[np.newaxis]
    for mixture in (noise(1, 1), noise(1, 900), tone):
        estimates = spoken(separator, mixture)
        np.testing.assert_allclose(estimates.sum(0), mixture, atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "complete"), [("softmax", True), ("sigmoid", False)]
)
def test_masks_add_up_only_by_a_softmax(config, activation, complete):
    spectral = replace(config.spectral, mask_activation=(activation,))
    config = replace(config, kind="mask_inference", spectral=spectral)
    separator = separate.separator(network(config), config)
    assert separator.complete is complete
    sound = noise(1, 900)
    missing = spoken(separator, sound).sum(0) - sound
    assert bool(abs(missing).max() < 1e-5) is complete


def test_waveforms_add_up_only_if_they_are_made_to(config):
    config = replace(config, kind="conv_tasnet")
    made = [separate.separator(network(config), config, each) for each in (False, True)]
    assert [each.complete for each in made] == [False, True]


def test_channels_are_separated_each_by_itself(separator):
    mixture = noise(2, 700)
    both = spoken(separator, mixture)
    for channel in range(2):
        alone = spoken(separator, mixture[channel : channel + 1])[:, 0]
        pairs = np.abs(both[:, np.newaxis, channel] - alone[np.newaxis]).max(-1)
        # Which source is the first may differ from channel to channel.
        assert min(np.trace(pairs), np.trace(pairs[::-1])) < 1e-4


def test_a_silent_channel_leaves_the_other_alone(separator):
    mixture = noise(2, 700)
    mixture[1] = 0.0
    estimates = spoken(separator, mixture)
    assert not estimates[:, 1].any()
    assert estimates[:, 0].any()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_chimera_separates_by_the_head_that_was_trained(config, weight):
    loss = replace(config.loss, inference=weight)
    config = replace(config, kind="chimera", loss=loss)
    net, mixture = network(config), noise(1, 900)
    separator = separate.separator(net, config)
    assert separator.complete == (weight == 0.0)
    before = spoken(separator, mixture)
    unused = net.embedding if weight else net.mask
    unused.linear.kernel.assign(-3.0 * unused.linear.kernel)
    np.testing.assert_array_equal(spoken(separator, mixture), before)
    assert PRESETS["asteroid_wsj0_chimera"].clusters
    assert not PRESETS["chimera"].clusters


def test_frames_of_asteroid_reach_all_of_a_sound(config):
    config = replace(config, frontend="asteroid")
    separator = separate.separator(network(config), config)
    for samples in (1, 63, 900):
        mixture = noise(2, samples)
        estimates = spoken(separator, mixture)
        np.testing.assert_allclose(estimates.sum(0), mixture, atol=1e-5)


def test_training_and_separation_see_the_magnitudes_of_asteroid(config):
    golden = np.load(GOLDEN / "stft_asteroid.npz")
    mixture, expected = np.atleast_2d(golden["mixture"]), golden["magnitude"]
    config = replace(config, kind="mask_inference", frontend="asteroid")
    batch = {"mixture": mixture, "sources": mixture[:, np.newaxis]}
    seen = [objective.prepare(config, batch).input]

    def equal(magnitude):
        seen.append(magnitude[:, 2 : 2 + seen[0].shape[1]])
        return tf.repeat(tf.ones_like(magnitude)[:, tf.newaxis], 2, 1)

    spoken(separate.separator(equal, config), mixture)
    for magnitude in seen:
        np.testing.assert_allclose(magnitude[0], expected, atol=1e-7)
    silence = objective.prepare(config, {k: 0.0 * v for k, v in batch.items()}).input
    np.testing.assert_allclose(level(silence, "log"), np.log(1e-4), rtol=1e-4)


def test_the_level_that_si_sdr_leaves_open_is_that_of_the_mixture():
    config = PRESETS["tiny_conv_tasnet"]
    assert config.loss.inference_kind == "si_sdr"
    net, mixture = network(config), noise(2, 900)
    estimates = spoken(separate.separator(net, config), mixture)
    net.synthesis.filters.assign(-1000.0 * net.synthesis.filters)
    again = spoken(separate.separator(net, config), mixture)
    np.testing.assert_allclose(again, estimates, atol=1e-5)
    total = estimates.sum(0)
    # No other gain brings the sum nearer to the mixture.
    np.testing.assert_allclose(np.sum(total * (mixture - total), -1), 0.0, atol=1e-5)
    config = replace(config, loss=replace(config.loss, inference_kind="snr"))
    assert np.abs(spoken(separate.separator(net, config), mixture)).max() > 10.0


def test_stereo_is_scored(config, save_run, tmp_path, capsys):
    for split in ("train", "valid", "test"):
        for name in ("mix", "s1", "s2"):
            folder = tmp_path / "corpus" / split / name
            folder.mkdir(parents=True)
            wave = noise(4000, 2, seed=len(name))
            wave = 2 * wave if name == "mix" else wave
            soundfile.write(folder / "a.wav", wave, RATE, subtype="FLOAT")
    root = str(tmp_path / "corpus")
    run = save_run(replace(config, dataset="mix_folders", data_root=root))
    assert evaluate.main([str(run)]) == 0
    assert "| s2 |" in capsys.readouterr().out
    whole = np.stack(list(separate.load(run)(noise(2, 900)).values()))
    assert whole.shape == (2, 2, 900)


class Bands(keras.Model):
    """An embedding of two points, for low and high bins.

    Where the bands meet, and so which of them is the larger one and comes first, hangs
    on the first frame.
    """

    role = "dpcl"

    def call(self, magnitude, training=False):
        batch, frames, bins = tf.unstack(tf.shape(magnitude))
        low, high = tf.split(magnitude[0, 0, 1:], 2)
        tenths = 4 if tf.reduce_sum(low) > tf.reduce_sum(high) else 6
        halves = tf.one_hot(tf.cast(10 * tf.range(bins) > tenths * bins, tf.int32), 2)
        return tf.tile(halves, [frames, 1])[tf.newaxis] + tf.zeros([batch, 1, 1])


def bursts(minutes):
    """Low and high tones with beats, each pausing now and then."""
    time = np.arange(minutes * 60 * RATE) / RATE
    low = np.sin(2 * np.pi * 700 * time) * (np.sin(2.1 * time) > -0.3)
    high = 0.7 * np.sin(2 * np.pi * 3100 * time) * (np.sin(1.3 * time + 1.0) > -0.3)
    return (0.3 * np.stack([low, high])).astype(np.float32)


@pytest.mark.slow
def test_ten_minutes_keep_their_sources_in_order(config):
    """Clusters of every block come in an order of their own."""
    config = replace(config, **FRAMES)
    separator = separate.separator(Bands(), config, segment_seconds=17.0)
    assert worst(separator, bursts(10)) > 20
    # Blocks that are joined as they come mix the sources up.
    assert worst(replace(separator, named=True), bursts(2)) < 10


def worst(separator, sources):
    """Lowest SI-SDR of the sources in their best order."""
    estimates = spoken(separator, sources.sum(0, keepdims=True))[:, 0]
    pairs = np.array([[float(si_sdr(s, e)) for e in estimates] for s in sources])
    return max(min(np.diag(pairs)), min(np.diag(pairs[::-1])))


MEASURE = """
import sys
from clustering import separate
from common import memory
code = separate.main(sys.argv[1:])
print("peak", memory.peak()[1] >> 20)
sys.exit(code)
"""


@pytest.mark.slow
def test_twenty_minutes_need_the_memory_of_four(config, save_run, tmp_path):
    features = replace(config.spectral.features, bins=129)
    spectral = replace(config.spectral, features=features, embedding=4)
    run = save_run(replace(config, spectral=spectral, **FRAMES))
    peaks = []
    for minutes in (4, 20):
        file = tmp_path / f"long{minutes}.wav"
        soundfile.write(file, bursts(minutes).sum(0), RATE)
        words = [str(file), "--model", str(run), "--output", str(tmp_path / "out")]
        process = subprocess.run(
            [sys.executable, "-c", MEASURE, *words],
            check=True,
            capture_output=True,
            text=True,
        )
        peaks.append(int(process.stdout.split()[-1]))
        for source in range(2):
            stem = tmp_path / "out" / file.stem / f"source{source}.wav"
            assert soundfile.info(stem).frames == minutes * 60 * RATE
    # Allocators differ by up to 100 MB from run to run.
    assert peaks[1] < peaks[0] + 110
