"""Every preset learns: some steps on one batch lower its loss, in both phases."""

import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from adversarial import train
from adversarial.config import PRESETS
from adversarial.model import solve

STEPS = 15
FALL = 0.01
"""How much of its first value the supervised loss loses in these steps."""


def batch_of(settings):
    """Two examples of humming voices and hissing accompaniments."""
    geometry, draw = solve(settings), np.random.default_rng(0)
    frames = settings.num_fft - settings.num_hop

    def waves(*shape, frames_of=geometry.input_frames):
        samples = frames + frames_of * settings.num_hop
        time = np.arange(samples) / settings.expected_sr
        hum = 0.3 * np.sin(2 * np.pi * draw.uniform(200, 900, [*shape, 1]) * time)
        return hum, draw.normal(0, 0.1, hum.shape)

    made = {}
    hum, hiss = waves(2)
    made["mixture"] = hum + hiss
    inner = geometry.context_frames * settings.num_hop
    kept = slice(inner, len(hum[0]) - inner)
    made["sources"] = np.stack([hiss[:, kept], hum[:, kept]], 1)
    made["mixtures"] = sum(waves(2, settings.num_disc))
    inside = {"frames_of": geometry.output_frames}
    made["vocals"], made["accompaniments"] = waves(2, settings.num_disc, **inside)
    made["epsilon"] = draw.uniform(size=[2, settings.num_disc, 2])
    return {name: tf.constant(each, tf.float32) for name, each in made.items()}


def small(config, phase):
    """The same losses, optimizers and rates on a network of few filters."""
    few = {"num_layers": 2, "initial_filters": 4, "disc_filters": 2, "num_frames": 8}
    settings = replace(config.model_config, num_fft=128, num_hop=64, num_disc=1, **few)
    corpora = PRESETS["tiny"].corpora
    return replace(config, model_config=settings, corpora=corpora, phases=phase)


@functools.cache  # Some presets differ in their corpora alone.
def losses_of(config):
    """Supervised loss of one batch before each of some steps on it."""
    keras.utils.set_random_seed(0)
    model = train.compiled(config)
    batch, actual = batch_of(config.model_config), []
    step = tf.function(model.train_step, autograph=False)
    for _ in range(STEPS):
        for mean in model.means.values():
            mean.reset_state()
        actual.append(float(step(batch)["sup_sep_loss"]))
    return actual


SLOW = {("tiny", "semisup"), ("musdb_moisesdb", "sup")}
"""Those that another preset trains in the same phase, and a fast test in the other."""


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        pytest.param(*pair, marks=[pytest.mark.slow] if pair in SLOW else [])
        for pair in itertools.product(PRESETS, train.TRAINING)
    ],
)
def test_some_steps_lower_the_loss(name, phase):
    first, *_, last = losses_of(small(PRESETS[name], phase))
    assert last < (1 - FALL) * first
