"""Sizes of images for every number of layers and frames."""

import numpy as np
import pytest
import tensorflow as tf

from adversarial.config import ModelConfig
from adversarial.geometry import (
    axis,
    covering,
    crop,
    margins,
    pad_bins,
    paddings,
    solve,
)
from common.config import ConfigError

# Rows of the input, then input and output frames for 16, 32, 64 and 128 wanted ones,
# as the original computes them.
TABLE = {
    1: (266, (26, 18), (42, 34), (74, 66), (138, 130)),
    2: (278, (38, 18), (54, 34), (86, 66), (150, 130)),
    3: (302, (62, 18), (78, 34), (110, 66), (174, 130)),
    4: (350, (126, 34), (126, 34), (158, 66), (222, 130)),
    5: (446, (254, 66), (254, 66), (254, 66), (318, 130)),
}
CASES = [
    (layers, frames, rows[0], *sizes)
    for layers, rows in TABLE.items()
    for frames, sizes in zip((16, 32, 64, 128), rows[1:], strict=True)
]


@pytest.mark.parametrize(("layers", "frames", "bins", "entering", "leaving"), CASES)
def test_sizes_are_those_of_the_original(layers, frames, bins, entering, leaving):
    found = solve(ModelConfig(num_layers=layers, num_frames=frames))
    assert (found.input_bins, found.input_frames) == (bins, entering)
    assert (found.output_bins, found.output_frames) == (258, leaving)
    assert (found.critic_bins, found.critic_frames) == (256, frames)
    assert found.period == 2**layers
    assert found.context_frames == (entering - leaving) // 2


def test_context_of_the_default():
    found = solve(ModelConfig())
    assert found.context_frames * 256 / 8192 == 1.4375


@pytest.mark.parametrize("layers", range(1, 6))
def test_margins_follow_a_length_through_the_network(layers):
    length, seen = axis(64, layers)[0], []
    entered = length
    for level in range(layers + 1):
        length = (length // 2 if level else length) - 2
        seen.append(length)
    expected = []
    for skip in seen[-2::-1]:
        expected.append((skip - 2 * length) // 2)
        length = 2 * length - 2
    assert margins(layers) == [*expected, (entered - length) // 2]


@pytest.mark.parametrize("layers", range(1, 6))
def test_a_song_is_covered_by_the_next_length_that_fits(layers):
    geometry = solve(ModelConfig(num_layers=layers))
    possible = range(geometry.output_frames % geometry.period, 400, geometry.period)
    for frames in range(1, 200):
        expected = min(each for each in possible if each >= max(frames, 2))
        assert covering(frames, geometry) == expected


def test_rows_are_divided_as_in_the_original():
    assert paddings(257, 350) == (46, 47)
    assert paddings(257, 258) == (0, 1)
    assert paddings(256, 266) == (5, 5)
    image = tf.reshape(tf.range(1.0, 258.0), [1, 257, 1, 1])
    padded = pad_bins(image, 350).numpy()[0, :, 0, 0]
    np.testing.assert_array_equal(padded[46:303], np.arange(1, 258))
    assert not padded[:46].any()
    assert not padded[303:].any()


def test_output_and_input_have_the_same_bins():
    """What is left of the input without its context is the padded output."""
    for layers in range(1, 6):
        geometry = solve(ModelConfig(num_layers=layers))
        image = tf.random.stateless_uniform([1, 257, 4, 1], [1, 2])
        centre = crop(pad_bins(image, geometry.input_bins), geometry.output_bins, 4)
        np.testing.assert_array_equal(centre, pad_bins(image, geometry.output_bins))


def test_critics_see_the_centre():
    image = tf.reshape(tf.range(258.0 * 66), [1, 258, 66, 1])
    np.testing.assert_array_equal(crop(image, 256, 64), image[:, 1:257, 1:65])
    np.testing.assert_array_equal(crop(image, 258, 66), image)


@pytest.mark.parametrize(("bins", "frames"), [(255, 64), (256, 63), (260, 64)])
def test_no_centre(bins, frames):
    with pytest.raises(ValueError, match=f"no centre of {bins} x {frames}; expected"):
        crop(tf.ones([1, 258, 66, 1]), bins, frames)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("num_layers", 0, "at least 1"),
        ("num_frames", 0, "an even number from 2 on"),
        ("num_frames", 63, "an even number from 2 on"),
        ("num_fft", 510, "a multiple of 4"),
        ("num_fft", 8, "a multiple of 4"),
    ],
)
def test_no_separator(key, value, expected):
    with pytest.raises(ConfigError, match=f"{key}={value}; expected {expected}"):
        solve(ModelConfig(**{key: value}))
