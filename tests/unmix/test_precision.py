"""A run in half precision is trained, resumed, validated and separated alike."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common.signal.stft import Stft, stft
from common.training.averages import Averages
from common.training.logs import read_scalars
from unmix import separate, weights
from unmix.filtering.numpy_wiener import Options
from unmix.filtering.two_pass import TwoPassSeparator
from unmix.model import OpenUnmix
from unmix.train import build


def noise(*shape):
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, shape)
    return wave.astype(np.float32)


def magnitudes(networks, mixture):
    """Magnitudes [targets, channels, frames, bins] that separation filters."""
    separator = TwoPassSeparator(networks, Options(niter=0))
    params = Stft(
        networks["vocals"].config.window_samples, separator.config.hop_samples
    )
    frames = int(stft(mixture, params).shape[1] or 0)
    kept = separator._first_pass(mixture, frames)
    spectra = separator._spectra(mixture)
    return separator._magnitude(spectra, tf.constant(np.stack(kept))).numpy()


@pytest.mark.slow
def test_a_run_with_every_tool_resumes_to_the_bit_and_separates_as_trained(
    config, half, every_tool, trained_twice
):
    straight, resumed = trained_twice(every_tool(half(config)), build, 5)
    for one, other in zip(straight.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(np.isfinite(line["loss"]) for line in read_scalars(config.output))
    networks = weights.load(config.output, checkpoint="latest")
    assert networks["vocals"].precision == "bfloat16"
    mixture = noise(2, 3000)
    spectra = tf.abs(TwoPassSeparator(networks, Options())._spectra(mixture))
    validated = straight.network(spectra[tf.newaxis])[0].numpy()
    single = OpenUnmix(config.model)
    single.set_weights(straight.network.get_weights())
    actual, other = (
        magnitudes({"vocals": net}, mixture)[0] for net in (networks["vocals"], single)
    )
    error = np.abs(actual - validated).max()
    assert error < 1e-5 * np.abs(validated).max()
    assert np.abs(other - validated).max() > 10 * error
    estimates = separate.load(config.output, checkpoint="latest")(mixture)
    assert estimates["vocals"].dtype == np.float32


@pytest.mark.slow
def test_a_run_of_all_targets_together_trains_with_every_tool_in_half_precision(
    config, half, every_tool
):
    config = replace(every_tool(half(config)), end_to_end=True, niter=1)
    config = replace(config, target=("vocals", "drums", "bass", "other"))
    job = build(config, tf.distribute.get_strategy())
    averages = Averages(job.model, 0.5)
    start = [each.numpy() for each in job.model.trainable_variables]
    job.model.fit(job.train(0), steps_per_epoch=1, verbose=0)
    averages.use(True)
    for before, average, weight in zip(
        start, job.model.trainable_variables, job.model.averages, strict=True
    ):
        half_way = (before + weight.numpy()) / 2
        np.testing.assert_allclose(average, half_way, atol=1e-7)
    assert {net.precision for net in job.model.network.values()} == {"bfloat16"}
    assert all(np.isfinite(each).all() for each in job.model.get_weights())


def test_networks_of_two_precisions_are_not_mixed(config):
    networks = {
        name: OpenUnmix(config.model, each)
        for name, each in {"vocals": "float32", "bass": "bfloat16"}.items()
    }
    with pytest.raises(separate.SeparationError, match="differ in shape or precision"):
        separate._check_alike(networks)


def test_single_precision_stays_whatever_policy_keras_has(config):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = OpenUnmix(config.model)
        mask = network(np.abs(noise(1, 2, 9, 65)), training=True)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert mask.dtype == tf.float32
    assert {variable.dtype for variable in network.trainable_variables} == {tf.float32}
    again = OpenUnmix(config.model)
    again.set_weights(network.get_weights())
    np.testing.assert_array_equal(
        again(np.abs(noise(1, 2, 9, 65))), network(np.abs(noise(1, 2, 9, 65)))
    )
