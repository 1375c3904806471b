"""Framing, spectra and inverses against numpy, librosa and the original programs."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.signal.stft import Stft, StftError, istft, num_frames, stft

GOLDEN = Path(__file__).parents[2] / "golden"

MIXIT = Stft(40, 20, 64, "sqrt_hann", "end")
UNMIX = Stft(4096, 1024, padding="reflect")
UNMIX_TRAINING = Stft(4096, 1024)
NUSSL = Stft(256, 64, None, "sqrt_hann", "constant_whole", "window_sum")
LIBROSA = Stft(512, 256, padding="constant")
SMALL = [
    Stft(64, 16, 64, "hann", "none"),
    MIXIT,
    Stft(64, 16, padding="constant"),
    Stft(64, 16, padding="reflect"),
    Stft(64, 16, 128, "sqrt_hann", "constant_whole", "window_sum"),
]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def numpy_stft(signal, params):
    """Cut frames one by one with numpy's own padding, in float64."""
    window, hop = params.window_samples, params.hop_samples
    shape = np.hanning(window + 1)[:-1]
    if params.window == "sqrt_hann":
        shape = np.sqrt(shape)
    half, padded = window // 2, signal.astype(np.float64)
    if params.padding in ("constant", "constant_whole"):
        padded = np.pad(padded, half)
    if params.padding == "reflect":
        padded = np.pad(padded, half, mode="reflect")
    if params.padding in ("end", "constant_whole"):
        while len(padded) < window or (len(padded) - window) % hop:
            padded = np.append(padded, 0)
    starts = range(0, len(padded) - window + 1, hop)
    frames = np.array([padded[s : s + window] * shape for s in starts])
    scale = shape.sum() if params.scale == "window_sum" else 1
    return np.fft.rfft(frames.reshape(-1, window), params.transform_samples) / scale


@pytest.mark.parametrize("params", SMALL, ids=lambda p: p.padding)
@pytest.mark.parametrize("samples", [33, 48, 64, 65, 79, 80, 81, 96, 500])
def test_equals_numpy_at_every_length(params, samples):
    signal = noise(samples)
    expected = numpy_stft(signal, params)
    actual = stft(signal, params).numpy()
    assert actual.shape == expected.shape
    assert num_frames(samples, params) == len(expected)
    np.testing.assert_allclose(actual, expected, atol=5e-6)


@pytest.mark.parametrize("params", SMALL[2:], ids=lambda p: p.padding)
@pytest.mark.parametrize("samples", [1, 2, 31, 32, 33, 34, 200, 1000])
def test_centred_inverse_is_exact_at_every_length(params, samples):
    signal = noise(3, samples)
    back = istft(stft(signal, params), params, samples)
    np.testing.assert_allclose(back, signal, atol=1e-6)


@pytest.mark.parametrize("params", [UNMIX, NUSSL, LIBROSA], ids=lambda p: p.padding)
def test_inverse_is_exact_at_the_published_sizes(params):
    signal = noise(2, 20_224)
    back = istft(stft(signal, params), params, 20_224)
    np.testing.assert_allclose(back, signal, atol=1e-6)


@pytest.mark.parametrize("params", [MIXIT, UNMIX_TRAINING], ids=lambda p: p.padding)
def test_uncentred_inverse_is_exact_away_from_the_ends(params):
    signal = noise(20_000)
    edge = params.window_samples
    back = istft(stft(signal, params), params, 20_000).numpy()
    inner = slice(edge, 20_000 - 2 * edge)
    np.testing.assert_allclose(back[inner], signal[inner], atol=1e-6)


def test_end_padding_without_overlap_has_zeros_where_the_windows_are_zero():
    params, signal = Stft(64, 64, 64, "sqrt_hann_tf", "end"), noise(640)
    back = istft(stft(signal, params), params, 640).numpy()
    expected = np.where(np.arange(640) % 64, signal, 0.0)
    np.testing.assert_allclose(back, expected, atol=1e-5)


@pytest.mark.parametrize(
    "params", [MIXIT, Stft(41, 20, 64, "sqrt_hann_tf", "end")], ids=["even", "odd"]
)
def test_end_padding_has_the_windows_of_tensorflow(params):
    length, signal = params.window_samples, noise(200)
    spectrum = tf.complex(noise(9, 33), noise(9, 33, seed=1))

    def window(length, dtype):
        return tf.sqrt(tf.signal.hann_window(length, dtype=dtype))

    expected = tf.signal.stft(signal, length, 20, 64, window, pad_end=False)
    actual = stft(signal, params)[: len(expected)]
    np.testing.assert_allclose(actual, expected, atol=2e-6)
    expected = tf.signal.inverse_stft(
        spectrum, length, 20, 64, tf.signal.inverse_stft_window_fn(20, window)
    )
    actual = istft(spectrum, params, len(expected))
    np.testing.assert_allclose(actual, expected, atol=2e-7)


@pytest.mark.parametrize(
    ("samples", "frames"), [(1, 1), (20, 1), (40, 1), (41, 2), (60, 2), (61, 3)]
)
def test_end_padding_has_at_least_one_frame(samples, frames):
    assert num_frames(samples, MIXIT) == frames
    assert stft(noise(samples), MIXIT).shape == [frames, 33]


@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize(
    ("size", "samples"),
    [
        ((512, 256), 8000),
        ((512, 256), 78 * 256),
        ((512, 256), 700),
        ((2048, 512), 8000),
        ((256, 64), 8000),
    ],
)
def test_equals_librosa(mode, size, samples):
    import librosa

    signal = noise(samples)
    params = Stft(*size, padding=mode)
    theirs = librosa.stft(signal, n_fft=size[0], hop_length=size[1], pad_mode=mode)
    np.testing.assert_allclose(stft(signal, params), theirs.T, atol=3e-5)
    masked = theirs * noise(*theirs.shape, seed=2)
    back = librosa.istft(masked, hop_length=size[1], n_fft=size[0], length=samples)
    np.testing.assert_allclose(istft(masked.T, params, samples), back, atol=2e-6)


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("stft_256_64_sqrt_hann", NUSSL),
        (
            "stft_256_128_sqrt_hann",
            Stft(256, 128, None, *list(vars(NUSSL).values())[3:]),
        ),
        (
            "stft_512_128_hann",
            Stft(512, 128, None, "hann", "constant_whole", "window_sum"),
        ),
    ],
)
def test_equals_nussl(key, params):
    golden = np.load(GOLDEN / "stft_nussl.npz")
    ours = stft(golden["signal"], params).numpy()
    np.testing.assert_allclose(
        np.concatenate([ours[:4], ours[-4:]]), golden[key], atol=5e-7
    )


def test_equals_open_unmix():
    golden = np.load(GOLDEN / "stft_openunmix.npz")
    ours = abs(stft(golden["audio"], Stft(128, 32, padding="reflect")))
    np.testing.assert_allclose(ours, golden["mag"], atol=1e-5)


@pytest.mark.parametrize("params", SMALL, ids=lambda p: p.padding)
@pytest.mark.parametrize("batch", [(), (2, 1, 3)])
def test_unknown_lengths_in_a_graph_equal_eager(params, batch):
    @tf.function(
        input_signature=[tf.TensorSpec([*[None] * len(batch), None])], autograph=False
    )
    def round_trip(signal):
        spectrum = stft(signal, params)
        return spectrum, istft(spectrum, params, tf.shape(signal)[-1])

    for samples in (5, 70, 301):
        signal = noise(*batch, samples)
        spectrum, back = round_trip(signal)
        eager = stft(signal, params)
        assert spectrum.shape == (*batch, num_frames(samples, params), params.bins)
        np.testing.assert_allclose(spectrum, eager, atol=1e-6)
        np.testing.assert_allclose(back, istft(eager, params, samples), atol=1e-6)
        assert back.shape == signal.shape


def test_static_shapes_are_known_where_the_length_is():
    @tf.function(input_signature=[tf.TensorSpec([None, 1000])])
    def transform(signal):
        spectrum = stft(signal, LIBROSA)
        back = istft(spectrum, LIBROSA, 1000)
        assert spectrum.shape.as_list() == [None, 4, 257]
        assert back.shape.as_list() == [None, 1000]
        return back

    assert transform(noise(2, 1000)).shape == [2, 1000]


def test_a_longer_result_ends_in_zeros():
    signal = noise(100)
    back = istft(stft(signal, SMALL[2]), SMALL[2], 400).numpy()
    np.testing.assert_allclose(back[:100], signal, atol=1e-6)
    assert not back[200:].any()


def test_gradients_reach_the_signal():
    signal = tf.Variable(noise(300))
    with tf.GradientTape() as tape:
        back = istft(stft(signal, SMALL[3]), SMALL[3], 300)
        loss = tf.reduce_sum(back)
    gradient = tape.gradient(loss, signal)
    np.testing.assert_allclose(gradient, np.ones(300), atol=1e-5)


def test_spectrogram_of_asteroid():
    golden = np.load(GOLDEN / "stft_asteroid.npz")
    params = Stft(64, 16, window="sqrt_hann", scale="tight")
    magnitude = np.abs(stft(golden["mixture"], params))
    # It adds 1e-8 to the square.
    magnitude = np.sqrt(magnitude**2 + 1e-8)
    np.testing.assert_allclose(magnitude, golden["magnitude"], atol=1e-7)


@pytest.mark.parametrize("transform", [64, 65])
def test_tight_spectrogram_keeps_the_energy(transform):
    signal = np.pad(noise(300), 64)
    params = Stft(64, 16, transform, window="sqrt_hann", scale="tight")
    power = np.square(np.abs(stft(signal, params)))
    assert power.sum() == pytest.approx(np.square(signal).sum(), rel=1e-5)
    np.testing.assert_allclose(
        istft(stft(signal, params), params, 428)[64:364], signal[64:364], atol=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"window_samples": 0, "hop_samples": 1}, "window_samples is 0"),
        ({"window_samples": 64, "hop_samples": 0}, "hop_samples is 0"),
        ({"window_samples": 64, "hop_samples": 65}, "hop_samples is 65"),
        ({"window_samples": 64, "hop_samples": 16, "fft_samples": 32}, "fft_samples"),
        ({"window_samples": 63, "hop_samples": 16, "padding": "reflect"}, "even"),
        ({"window_samples": 64, "hop_samples": 16, "window": "boxcar"}, "'boxcar'"),
        ({"window_samples": 64, "hop_samples": 16, "padding": "same"}, "'same'"),
        ({"window_samples": 64, "hop_samples": 16, "scale": "unit"}, "'unit'"),
    ],
)
def test_bad_parameters_are_named(arguments, words):
    with pytest.raises(StftError, match=words):
        Stft(**arguments)


@pytest.mark.parametrize("samples", [300, 1000, 1037, 2047])
@pytest.mark.parametrize("padding", ["none", "constant", "reflect", "constant_whole"])
@pytest.mark.parametrize(
    ("window", "hop", "scale"),
    [("hann", 32, "none"), ("hann", 64, "window_sum"), ("sqrt_hann", 64, "tight")],
)
def test_masked_spectrograms_stay_bounded_at_the_rim(
    samples, padding, window, hop, scale
):
    params = Stft(64, hop, 64, window, padding, scale)
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal(samples).astype(np.float32)
    spectrum = stft(noise, params)
    masks = rng.uniform(size=(20, *spectrum.shape))
    estimates = istft(spectrum * masks.astype(np.complex64), params, samples).numpy()
    assert np.abs(estimates).max() < 4 * np.abs(noise).max()


@pytest.mark.parametrize("samples", [0, 1, 63, 64])
@pytest.mark.parametrize("transform", [64, 128])
def test_a_sound_shorter_than_the_window_has_no_frames(samples, transform):
    params = Stft(64, 16, transform, padding="none")
    spectrum = stft(np.ones([2, samples], np.float32), params)
    assert spectrum.shape == (2, samples // 64, 1 + transform // 2)
    assert istft(spectrum, params, samples).shape == (2, samples)


def test_the_limit_does_not_change_samples_within_the_windows():
    params = Stft(64, 32)
    signs = np.where(np.random.default_rng(0).uniform(size=[3, 64]) < 0.5, -1.0, 1.0)
    window = np.hanning(65)[:-1]
    summed, total = np.zeros([2, 128])
    for start, frame in zip((0, 32, 64), signs, strict=True):
        summed[start : start + 64] += window * frame
        total[start : start + 64] += window**2
    result = istft(np.fft.rfft(signs).astype(np.complex64), params, 128).numpy()
    covered = total >= 0.25
    np.testing.assert_allclose(
        result[covered], summed[covered] / total[covered], atol=1e-5
    )
    assert np.abs(result[~covered]).max() == pytest.approx(4)


def test_too_short_for_a_frame_gives_zeros():
    params = Stft(64, 16)
    assert not istft(stft(tf.ones([10]), params), params, 10).numpy().any()
