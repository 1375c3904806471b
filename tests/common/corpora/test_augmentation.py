"""Augmentations are functions of seed and position, and mixtures their sums."""

import numpy as np
import pytest
import tensorflow as tf

from common.config import ConfigError
from common.corpora.augmentation import Augment
from common.corpora.augmented import augmented, change_speed, draw

RATE = 8000
ALL = Augment((0.95, 1.05), (-6.0, 3.0), polarity=True, swap=True, remix=True)


def position(number):
    return tf.constant(number, tf.int64)


def stereo(samples):
    """Three sources of two channels, of which the mixture holds one more."""

    def example(at):
        key = tf.stack([tf.constant(7, tf.int64), at])
        waves = tf.random.stateless_normal([4, 2, samples], key)
        return {"mixture": tf.reduce_sum(waves, 0), "sources": waves[:3]}

    return example


@pytest.mark.parametrize("chain", [ALL, Augment(polarity=True), Augment(swap=True)])
def test_excerpts_depend_on_the_seed_and_the_position(chain):
    example = augmented(chain, 3, stereo(chain.reading(2000)), 2000)
    at_once = [example(position(number)) for number in range(4)]
    again = tf.function(example)(position(2))
    for name in ("mixture", "sources"):
        np.testing.assert_allclose(again[name], at_once[2][name], atol=1e-5)
        assert at_once[0][name].shape[-1] == 2000
        assert np.abs(at_once[0][name] - at_once[1][name]).max() > 0.1
    other = augmented(chain, 4, stereo(chain.reading(2000)), 2000)(position(2))
    assert np.abs(other["mixture"] - again["mixture"]).max() > 0.1


def test_the_rest_of_the_mixture_is_a_source_too():
    chain = Augment(gain_db=(-20.0, -20.0))
    plain, changed = stereo(100), augmented(chain, 0, stereo(100), 100)
    for name in ("mixture", "sources"):
        expected = 0.1 * plain(position(9))[name]
        np.testing.assert_allclose(changed(position(9))[name], expected, atol=1e-6)


def test_each_draw_has_its_range():
    drawn = [draw(ALL, 0, position(number), 3) for number in range(400)]
    speeds = np.array([each.speed for each in drawn])
    gains = np.array([each.gains for each in drawn])
    decibels = 20 * np.log10(np.abs(gains))
    assert 0.95 <= speeds.min() < 0.955
    assert len({*speeds.tolist()}) == 25  # all multiples of 1 / 256
    assert 1.045 < speeds.max() <= 1.05
    assert -6.001 < decibels.min() < -5.9
    assert 2.9 < decibels.max() < 3.001
    for share in (gains < 0, [e.swaps for e in drawn], [e.remixes for e in drawn]):
        assert 0.45 < np.mean(share) < 0.55
    # Sources are drawn one by one.
    assert np.abs(np.corrcoef(gains.T) - np.eye(3)).max() < 0.2
    still = draw(Augment(), 0, position(1), 3)
    assert still.gains.numpy().tolist() == [1, 1, 1]
    assert float(still.speed) == 1.0
    assert not np.any([still.swaps, still.remixes])


@pytest.mark.parametrize("speed", [0.5, 243 / 256, 1.0, 269 / 256, 1.25])
def test_a_faster_tone_is_higher(speed):
    needed = Augment(speed=(0.5, speed)).reading(8000)
    tone = np.sin(2 * np.pi * 1000 * np.arange(needed) / RATE).astype(np.float32)
    played = change_speed(tone, tf.constant(speed, tf.float64), 8000).numpy()
    times = (16 + np.arange(8000) * speed) / RATE
    np.testing.assert_allclose(played, np.sin(2 * np.pi * 1000 * times), atol=2e-3)


def test_the_speed_of_mono_sources_changes_by_one_matrix_product():
    # On a CPU, oneDNN ends the process for batches of matrices [sources, 1, ...].
    waves = tf.TensorSpec([3, 1, 700], tf.float32)
    changed = tf.function(change_speed).get_concrete_function(
        waves, tf.TensorSpec([], tf.float64), 512
    )
    kinds = [each.type for each in changed.graph.get_operations()]
    assert "MatMul" in kinds
    assert not any(kind.startswith("BatchMatMul") for kind in kinds)


def test_channels_are_exchanged():
    plain = stereo(50)(position(1))["sources"].numpy()
    swapped = augmented(Augment(swap=True), 0, stereo(50), 50)(position(1))["sources"]
    for ours, theirs in zip(swapped.numpy(), plain, strict=True):
        equal = [np.array_equal(ours, each) for each in (theirs, theirs[::-1])]
        assert sum(equal) == 1


def test_some_sources_come_from_another_excerpt_of_each_position():
    kept, others = 0, []
    for number in range(8):
        before = stereo(50)(position(number))["sources"].numpy()
        after = augmented(Augment(remix=True), 0, stereo(50), 50)(position(number))
        for plain, remixed in zip(before, after["sources"].numpy(), strict=True):
            if np.allclose(plain, remixed):
                kept += 1
            else:
                others.append(remixed.tobytes())
    assert min(kept, len(others)) > 6
    assert len({*others}) == len(others)


@pytest.mark.parametrize(
    "options", [{"speed": (1.05, 0.95)}, {"speed": (0.0, 1.0)}, {"gain_db": (1, -1)}]
)
def test_ranges_are_checked(options):
    with pytest.raises(ConfigError, match=f"augment.{next(iter(options))}="):
        Augment(**options)
