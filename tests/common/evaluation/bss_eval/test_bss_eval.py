"""The ratios are museval's, also of random sounds that are singular or silent."""

import math

import numpy as np
import pytest
import scipy.signal

from common.evaluation import bss_eval

RATE = 1000
NOISE = np.random.default_rng(0).standard_normal([2, 3 * RATE])
OTHER = NOISE + 0.3 * np.random.default_rng(1).standard_normal(NOISE.shape)
INAUDIBLE = 150.0
"""Ratios beyond this many dB are those of rounding errors."""
TOLERANCE = 1e-6
LITTLE = 1e-3


def coloured(rng, x):
    return scipy.signal.lfilter([0.1], [1, -rng.uniform(0.5, 0.99)], x)


def quantised(rng, x):
    return np.round(np.clip(coloured(rng, x), -1, 1) * 32767) / 32768


def tonal(rng, x):
    phases = np.multiply.outer(rng.uniform(0.01, 2, x.shape[:2]), np.arange(x.shape[2]))
    return np.sin(phases) + 0.5 * np.sin(1.7 * phases)


def low_passed(rng, x):
    sections = scipy.signal.butter(6, 0.6, output="sos")
    return scipy.signal.sosfilt(sections, x).astype(np.float32)


def identical(rng, x):
    return x[[0, 0, *range(2, len(x))]]


def large_integers(rng, x):
    """They are so loud that what is added to the diagonal is rounded away."""
    return identical(rng, 1e4 * np.round(8 * x))


def dual_mono(rng, x):
    return x[:, :1] * [[1.0], [rng.choice([1.0, 0.5])]]


def dead_channel(rng, x):
    return x[:, :1] * np.eye(2)[rng.integers(2, size=len(x)), :, np.newaxis]


def filtered_copy(rng, x):
    x[1] = scipy.signal.lfilter(rng.standard_normal(4), [1], x[0])
    return x


def sum_of_others(rng, x):
    x[-1] = x[:-1].sum(axis=0)
    return x


def faint(rng, x):
    x[0] *= 1e-10
    return x


def silent_second(rng, x):
    third = x.shape[2] // 3
    x[rng.integers(len(x)), :, third : 2 * third] = 0
    return x


def short(rng, x):
    """Shorter than the filters, so that there are more delays than samples."""
    return x[..., : int(rng.integers(20, 60))]


def noise(rng, x):
    return x


KINDS = [
    *(noise, coloured, quantised, tonal, low_passed, identical, large_integers),
    *(dual_mono, dead_channel, filtered_copy, sum_of_others, faint, silent_second),
    short,
]


def random_case(kind, seed, lengths=(4, 16)):
    """References, estimates and options."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    sources, channels = int(rng.integers(2, 5)), int(rng.integers(1, 3))
    length = int(rng.choice(lengths))
    samples = 4 * length * sources * channels + int(rng.integers(100, 1000))
    x = rng.standard_normal([sources, channels, samples])
    x = kind(rng, x * rng.uniform(0.05, 1, [sources, 1, 1])).astype(np.float64)
    level = rng.uniform(0.01, 0.1) * x.std(axis=(1, 2), keepdims=True)
    y = x + rng.uniform(0.1, 0.5) * x[rng.permutation(sources)]
    y += level * rng.standard_normal(x.shape)
    y = scipy.signal.lfilter([1, rng.uniform(-0.5, 0.5)], [1], y)
    if kind is silent_second and rng.integers(2):
        x, y = y, x
    window = float(rng.integers(x.shape[2] // 5, x.shape[2]))
    return (
        x,
        y,
        bss_eval.Options(
            mode=str(rng.choice(["v3", "v4"])),
            window=math.inf if rng.integers(4) == 0 else window,
            hop=round(window * rng.uniform(0.6, 1.2)),
            images=bool(rng.integers(3)),
            permute=sources < 4 and bool(rng.integers(2)),
            length=length,
        ),
    )


def distance(one, other):
    """Largest difference in dB; NaN and what is inaudible only equal each other."""
    one, other = (np.minimum(np.stack(each[:4]), INAUDIBLE) for each in (one, other))
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
    return np.nanmax(np.abs(one - other), initial=0.0)


def spread(measure, references, estimates, options):
    """How far an order of the sources moves what is the same in any order."""
    there = measure(references, estimates, options)
    back = measure(references[::-1], estimates[::-1], options)
    return distance(there, [each[::-1] for each in back[:4]])


def check(case, museval, by_least_squares):
    """Compare with museval, or where rounding decides on its filters with its way out.

    What its own ratios move by, if that is little, is granted to ours.
    """
    actual, expected = bss_eval.evaluate(*case), museval(*case)
    assert [each.shape for each in actual] == [each.shape for each in expected]
    if (apart := distance(actual, expected)) <= TOLERANCE:
        np.testing.assert_array_equal(actual.order, expected[4])
        return
    unsure = spread(museval, *case)
    assert unsure > TOLERANCE / 100, "museval is sure of other ratios"
    if apart > 10 * min(unsure, LITTLE):
        apart = distance(actual, by_least_squares(*case))
        assert apart <= TOLERANCE + 10 * min(spread(by_least_squares, *case), LITTLE)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_ratios_are_those_of_museval(kind, seed, museval, museval_by_least_squares):
    check(random_case(kind, seed), museval, museval_by_least_squares)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_200_random_cases(kind, museval, museval_by_least_squares):
    for seed in range(2, 17):
        case = random_case(kind, seed, lengths=(8, 16, 32, 64))
        check(case, museval, museval_by_least_squares)


def test_ratios_of_512_samples(museval):
    sounds = [each[:, np.newaxis] for each in (NOISE, OTHER)]
    sdr, _, sir, sar, _ = museval(*sounds, bss_eval.Options("v3", images=False))
    actual = bss_eval.whole(NOISE, OTHER)
    for name, expected in zip(bss_eval.GLOBAL, (sdr, sir, sar), strict=True):
        np.testing.assert_allclose(actual[name], expected[:, 0], rtol=1e-9)
    every = museval(*sounds, bss_eval.Options(window=RATE))
    actual = bss_eval.seconds(NOISE, OTHER, RATE)
    for name, expected in zip(bss_eval.WINDOWED, every, strict=False):
        np.testing.assert_allclose(actual[name], expected, rtol=1e-9)


def test_chunks_change_nothing(monkeypatch):
    from common.evaluation.bss_eval import filters

    options = bss_eval.Options(window=700, hop=500, length=16)
    sounds = [each[:, np.newaxis] for each in (NOISE, OTHER)]
    at_once = bss_eval.evaluate(*sounds, options)
    monkeypatch.setattr(filters, "GROUP_SAMPLES", 1)
    monkeypatch.setattr(bss_eval, "CHUNK_SAMPLES", 7)
    in_chunks = bss_eval.evaluate(*sounds, options)
    for one, other in zip(at_once, in_chunks, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_crossed_estimates_are_put_in_order():
    sounds = NOISE[:, np.newaxis], OTHER[::-1, np.newaxis]
    actual = bss_eval.evaluate(*sounds, bss_eval.Options(permute=True, length=16))
    straight = bss_eval.evaluate(NOISE[:, np.newaxis], OTHER[:, np.newaxis])
    assert actual.order.tolist() == [[1], [0]]
    np.testing.assert_allclose(actual.sdr, straight.sdr, atol=0.5)
    options = bss_eval.Options("v3", window=RATE, permute=True, length=16)
    assert bss_eval.evaluate(*sounds, options).order.tolist() == [[1] * 3, [0] * 3]


def test_a_silent_window_does_not_hide_the_order():
    references, estimates = NOISE[:, np.newaxis].copy(), OTHER[::-1, np.newaxis]
    references[:, :, :RATE] = 0.0
    options = bss_eval.Options(window=RATE, hop=RATE, permute=True, length=16)
    actual = bss_eval.evaluate(references, estimates, options)
    assert np.isnan(actual.sdr[:, 0]).all()
    assert actual.order.tolist() == [[1], [0]]


def test_nine_estimates_have_too_many_orders():
    with pytest.raises(bss_eval.MeasureError, match="orders of 9 estimates"):
        bss_eval.evaluate(*np.ones([2, 9, 1, 4]), bss_eval.Options(permute=True))


def test_one_source_has_no_interference():
    actual = bss_eval.evaluate(NOISE[:1, np.newaxis], OTHER[:1, np.newaxis])
    assert actual.sir.item() > INAUDIBLE
    assert actual.sdr.item() == pytest.approx(10.5, abs=0.5)


@pytest.mark.parametrize("part", ["references", "estimates"])
def test_silence_throughout_has_no_ratio(part):
    sounds = {"references": NOISE, "estimates": OTHER, part: NOISE * [[1], [0]]}
    ordered = sounds["references"], sounds["estimates"]
    assert all(np.isnan(v).all() for v in bss_eval.whole(*ordered).values())
    for values in bss_eval.seconds(*ordered, RATE).values():
        assert values.shape == (2, 3)
        assert np.isnan(values).all()
    assert bss_eval.seconds(*(each[:, :10] for each in ordered), RATE)["SDR"].shape == (
        2,
        1,
    )


def test_an_error_of_exactly_zero_is_an_infinite_ratio():
    assert (bss_eval.seconds(NOISE, NOISE, RATE)["SDR"] == np.inf).all()
    for values in bss_eval.whole(NOISE, NOISE).values():
        assert (values > INAUDIBLE).all()


@pytest.mark.parametrize("options", [{}, {"mode": "v3"}])
def test_nan_is_refused(options):
    bad = OTHER.copy()
    bad[1, 5] = np.nan
    with pytest.raises(bss_eval.MeasureError, match="holds NaN or infinite samples"):
        bss_eval.evaluate(
            NOISE[:, np.newaxis], bad[:, np.newaxis], bss_eval.Options(**options)
        )


@pytest.mark.parametrize(
    ("references", "estimates", "match"),
    [
        ([2, 1, 9], [2, 1, 8], r"are 2 of \[1, 9\] and the estimates 2 of \[1, 8\]"),
        ([2, 1, 9], [1, 1, 9], "the estimates 1 of"),
        ([1, 1, 0], [1, 1, 0], "at least one sample"),
        ([0, 1, 9], [0, 1, 9], "are 0 of no shape"),
    ],
)
def test_sounds_that_do_not_fit_are_refused(references, estimates, match):
    with pytest.raises(bss_eval.MeasureError, match=match):
        bss_eval.evaluate(np.ones(references), np.ones(estimates))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mode": "v5"}, "mode is 'v5'; expected 'v3' or 'v4'"),
        ({"window": 0}, "window is 0; expected at least 1"),
        ({"hop": math.nan}, "hop is nan"),
        ({"window": 9, "hop": math.inf}, "hop is inf"),
        ({"length": 0}, "length is 0"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(options, match):
    with pytest.raises(bss_eval.MeasureError, match=match):
        bss_eval.Options(**options)
