"""The filter against the original's numbers, and what must hold for any sound."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from unmix.filtering import wiener as module
from unmix.filtering.numpy_wiener import Options
from unmix.filtering.wiener import _sum_frames, wiener, windowed

GOLDEN = Path(__file__).parents[2] / "golden" / "unmix" / "wiener.npz"
CASES = [name for name in np.load(GOLDEN).files if name.startswith("y")]
OPTIONS = [
    Options(niter=0),
    Options(niter=0, softmask=True),
    Options(niter=1),
    Options(niter=1, residual=True),
    Options(niter=2, softmask=True, residual=True),
]
EVERY = pytest.mark.parametrize("options", OPTIONS, ids=str)


def sound(channels=2, targets=3, frames=20, bins=17, seed=0):
    """Magnitudes and the mixture of sounds of one direction each, with noise."""
    random = np.random.default_rng(seed)
    shape = (targets, 1, frames, bins, 2)
    parts = random.standard_normal(shape) * random.gamma(0.5, size=shape[:-1] + (1,))
    gains = random.uniform(0.2, 1.0, (targets, channels, 1, 1))
    sources = 3.0 * gains * (parts[..., 0] + 1j * parts[..., 1])
    noise = 1.0 + 0.1 * random.standard_normal(sources.shape)
    magnitudes = tf.constant(np.abs(sources * noise), tf.float32)
    return magnitudes, tf.constant(sources.sum(0), tf.complex64)


def close(actual, expected, tolerance):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("case", CASES)
def test_numbers_of_the_original(case):
    golden = np.load(GOLDEN)
    channels, niter, softmask, residual = (int(case[i]) for i in (1, 8, 11, 14))
    x = golden[f"x{channels}"].astype(np.float64) @ [1.0, 1j]  # [frames, bins, ...]
    if not softmask:
        # It takes bins of zeros for ones, which its residual then holds.
        x = np.where(x == 0.0, 1.0, x)
    estimates = wiener(
        tf.constant(golden[f"v{channels}"].transpose(3, 2, 0, 1)),
        tf.constant(x.transpose(2, 0, 1)),
        Options(niter, bool(softmask), bool(residual)),
    )
    expected = (np.moveaxis(golden[case], 3, -1) @ [1.0, 1j]).transpose(3, 2, 0, 1)
    assert estimates.dtype == tf.complex128
    # Its pi, for the phase of the mixture, has the digits of float32, which ours, more
    # exact, misses by up to 9e-8. With softmask it has no part in the estimates.
    close(estimates, expected, 1e-9 if softmask else 2e-7)


@EVERY
@pytest.mark.parametrize("channels", [1, 2])
def test_silence_gives_zeros(options, channels):
    magnitudes, mixture = sound(channels)
    silence = wiener(0.0 * magnitudes, 0.0 * mixture, options)
    np.testing.assert_array_equal(silence, np.zeros_like(silence))
    gaps = np.ones([20, 17], np.float32)
    gaps[5:9] = gaps[:, 3] = 0.0
    estimates = wiener(magnitudes * gaps, mixture * gaps, options).numpy()
    np.testing.assert_array_equal(estimates * (1.0 - gaps), np.zeros_like(estimates))


@pytest.mark.parametrize("channels", [1, 2])
def test_compiled_equals_eager(channels):
    for options in OPTIONS[channels::2]:
        magnitudes, mixture = sound(channels)
        compiled = tf.function(wiener, jit_compile=True)
        actual = compiled(magnitudes, mixture, options)
        assert actual.dtype == tf.complex64
        close(actual, wiener(magnitudes, mixture, options), 1e-6)


@EVERY
def test_frames_of_zeros_at_the_end_change_nothing(options):
    magnitudes, mixture = sound()
    longer = [
        tf.pad(each, [[0, 0]] * (each.ndim - 2) + [[0, 13], [0, 0]])
        for each in (magnitudes, mixture)
    ]
    estimates = wiener(*longer, options)
    close(estimates[..., :20, :], wiener(magnitudes, mixture, options), 1e-6)
    assert not estimates.numpy()[..., 20:, :].any()


def test_channels_that_are_all_the_same(monkeypatch):
    # With a mono model every matrix has rank one but for the noise, and loud sounds
    # leave float32 no digit of the determinant.
    magnitudes, mixture = sound(channels=1, targets=2, frames=400, bins=33)
    both = tf.repeat(mixture, 2, axis=0)
    for level in (1e-2, 1.0, 1e4):
        stereo = wiener(level * magnitudes, level * both).numpy()
        assert stereo.shape == (2, 2, 400, 33)
        close(stereo[:, 0], stereo[:, 1], 1e-6)
        # A direction counts once, so the noise of the model is half as strong.
        with monkeypatch.context() as patch:
            patch.setattr(module, "EPS", 0.25e-10)
            mono = wiener(level * magnitudes, level * mixture)
        close(stereo[:, :1], mono, 1e-5)
    # Far above the mixture, where nothing but rounding is left of the determinant.
    assert np.isfinite(wiener(1e6 * magnitudes, both, Options(niter=2))).all()


def test_what_sums_to_the_mixture():
    magnitudes, mixture = sound()
    shares = wiener(magnitudes, mixture, Options(niter=0, softmask=True))
    close(tf.reduce_sum(shares, 0), mixture, 1e-6)
    for softmask in (False, True):
        plain = wiener(magnitudes, mixture, Options(0, softmask))
        more = wiener(magnitudes, mixture, Options(0, softmask, residual=True))
        close(more[:-1], plain, 1e-7)
        rest = mixture - tf.reduce_sum(plain, 0)
        np.testing.assert_allclose(more[-1], rest, atol=1e-5)


def test_first_estimates_have_the_magnitudes_given_and_the_phase_of_the_mixture():
    magnitudes, mixture = sound()
    estimates = wiener(magnitudes, mixture, Options(niter=0))
    close(tf.abs(estimates), magnitudes, 1e-6)
    turned = (estimates * tf.math.conj(mixture)).numpy()
    close(turned.imag + np.abs(turned), np.abs(turned), 1e-6)


def test_iterations_find_the_directions():
    random = np.random.default_rng(5)
    parts = random.standard_normal([2, 1, 300, 17, 2]) @ [1.0, 1j]
    true = np.array([[1.0, 0.2], [0.3, 1.0]])[..., np.newaxis, np.newaxis] * parts
    noisy = np.abs(true) * random.uniform(0.6, 1.4, true.shape)
    error = [
        np.square(
            np.abs(wiener(noisy, tf.constant(true.sum(0)), Options(n)) - true)
        ).sum()
        for n in (0, 1, 2)
    ]
    assert error[1] < 0.4 * error[0]
    assert error[2] < error[1]


def test_alpha_and_logit_shape_the_masks():
    magnitudes, mixture = sound()
    v, x = magnitudes.numpy().astype(np.float64), mixture.numpy()
    shares = v**2 / (v**2).sum(0)
    squared = wiener(magnitudes, mixture, Options(0, True, alpha=2.0))
    close(squared, shares * x, 1e-6)
    drawn = wiener(magnitudes, mixture, Options(0, True, alpha=2.0, logit=0.4))
    close(drawn, x / (1.0 + np.exp(-15.0 * (shares - 0.4))), 1e-6)
    zero = wiener(magnitudes, mixture, Options(0, True, alpha=2.0, logit=0.0))
    np.testing.assert_array_equal(zero, squared)
    with pytest.raises(ValueError, match=r"alpha=2\.0 and logit=None .*softmask"):
        Options(alpha=2.0)
    with pytest.raises(ValueError, match=r"logit=0\.4 .*softmask"):
        Options(logit=0.4)


def test_a_mask_for_both_channels():
    magnitudes, mixture = sound()
    one = wiener(magnitudes[:, :1], mixture, Options(residual=True))
    both = wiener(
        tf.repeat(magnitudes[:, :1], 2, axis=1), mixture, Options(residual=True)
    )
    np.testing.assert_array_equal(one, both)


@EVERY
@pytest.mark.parametrize("length", [8, 20, 64])
def test_windows_are_filtered_each_by_itself(options, length):
    magnitudes, mixture = sound()
    estimates = windowed(magnitudes, mixture, length, options)
    parts = [
        wiener(
            magnitudes[..., i : i + length, :], mixture[..., i : i + length, :], options
        )
        for i in range(0, 20, length)
    ]
    close(estimates, tf.concat(parts, axis=-2), 1e-6)


def test_batches_and_unknown_lengths():
    pairs = [sound(seed=seed) for seed in (1, 2)]
    magnitudes, mixture = (tf.stack(each) for each in zip(*pairs, strict=True))
    mixture *= tf.constant([1.0, 100.0], tf.complex64)[:, None, None, None]
    signature = [
        tf.TensorSpec([None, 3, 2, None, 17]),
        tf.TensorSpec([None, 2, None, 17], tf.complex64),
    ]
    filtered = tf.function(lambda v, x: windowed(v, x, 8), input_signature=signature)
    assert filtered.get_concrete_function().output_shapes[1:3] == [3, 2]
    expected = [windowed(v, x, 8) for v, x in zip(magnitudes, mixture, strict=True)]
    close(filtered(magnitudes, mixture), tf.stack(expected), 1e-6)


@pytest.mark.parametrize("softmask", [False, True])
def test_gradients_reach_the_magnitudes(softmask):
    magnitudes, mixture = sound(frames=6, bins=3)
    mixture = tf.cast(mixture, tf.complex128)
    gap = np.ones([6, 3])
    gap[2:4] = gap[:, 1] = 0.0
    magnitudes, mixture = tf.cast(magnitudes, tf.float64) * gap, mixture * gap

    def loss(v):
        estimates = wiener(v, mixture, Options(1, softmask, True))
        return tf.reduce_sum(tf.square(tf.abs(estimates[:2] - mixture + 1.0)))

    with tf.GradientTape() as tape:
        tape.watch(magnitudes)
        value = loss(magnitudes)
    slope = tape.gradient(value, magnitudes).numpy()
    assert np.isfinite(slope).all()
    direction = np.random.default_rng(3).standard_normal(slope.shape) * gap
    step = 1e-6 * direction
    expected = float(loss(magnitudes + step) - loss(magnitudes - step)) / 2e-6
    assert (slope * direction).sum() == pytest.approx(expected, rel=1e-4)


def test_shapes_that_do_not_go_together():
    magnitudes, mixture = sound()
    cases = {
        "6 channels|1 or 2 channels": (magnitudes, tf.repeat(mixture, 3, axis=0)),
        r"\[targets|targets, channels": (magnitudes[0], mixture),
        "same frames and bins": (magnitudes[..., 1:], mixture),
        "2 channels of the mixture": (tf.repeat(magnitudes, 2, axis=1), mixture),
    }
    for words, (v, x) in cases.items():
        with pytest.raises(ValueError, match=words):
            wiener(v, x)
    with pytest.raises(ValueError, match="niter is -1"):
        Options(niter=-1)


def test_windows_have_300_frames_as_in_the_original():
    magnitudes, mixture = sound(frames=602, bins=3)
    expected = windowed(magnitudes, mixture, 300)
    np.testing.assert_array_equal(windowed(magnitudes, mixture), expected)
    others = windowed(magnitudes, mixture, 301)
    assert not np.array_equal(others, expected)


@pytest.mark.parametrize("frames", [1, 3, 4, 9])
def test_frames_are_summed_in_any_number(frames):
    spectra = np.random.default_rng(0).standard_normal([2, 16, frames, 5])
    actual = _sum_frames(tf.constant(spectra))
    np.testing.assert_allclose(actual, spectra.sum(2), rtol=1e-12)
