"""Blocks against one pass, source order, channels and bad input."""

import dataclasses
import math

import numpy as np
import pytest

from common.separation.separator import Queue, SeparationError, Separator
from common.separation.source_order import match_beginnings, match_channels

RATE = 1000
SEGMENT = 100


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def gains(*factors):
    """Each output is the input times a factor."""

    def network(batch):
        return np.stack([factor * batch for factor in factors], 1)

    return network


def bands(batch):
    """Exact split into low and high tones by a short smoothing filter."""
    kernel = np.hanning(9)[1:-1] / np.hanning(9)[1:-1].sum()
    low = np.apply_along_axis(np.convolve, -1, batch, kernel, "same")
    low = low[..., : batch.shape[-1]].astype(np.float32)
    return np.stack([low, batch - low], 1)


def shuffled(network, seed=0):
    """Another order of the outputs in every pass and for every batch item."""
    random = np.random.default_rng(seed)

    def scrambled(batch):
        outputs = network(batch)
        return np.stack([item[random.permutation(len(item))] for item in outputs])

    return scrambled


def separator(network=None, **options):
    options = {"segment_seconds": SEGMENT / RATE, "named": True, **options}
    sources = options.pop("sources", ("a", "b"))
    return Separator(network or gains(1, 0.25), sources, RATE, **options)


def tones(samples, channels=1):
    """A low and a high tone with slow, different envelopes."""
    time = np.arange(samples) / RATE
    low = np.sin(2 * np.pi * 20 * time) * (1 + 0.3 * np.sin(2 * np.pi * 0.7 * time))
    high = 0.4 * np.sin(2 * np.pi * 310 * time)
    return np.repeat((low + high)[None], channels, 0).astype(np.float32)


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 0.5, 0.8])
@pytest.mark.parametrize(
    "samples", [1, 2, 50, 99, 100, 101, 102, 149, 175, 176, 200, 250, 1000, 1237]
)
def test_blocks_equal_the_whole_for_a_linear_network(samples, overlap):
    mixture = noise(2, samples)
    estimates = separator(overlap=overlap)(mixture)
    np.testing.assert_allclose(estimates["a"], mixture, atol=1e-6)
    np.testing.assert_allclose(estimates["b"], 0.25 * mixture, atol=1e-6)
    assert estimates["a"].dtype == np.float32


@pytest.mark.parametrize("samples", [1, 99, 100])
def test_one_segment_is_one_pass_at_its_own_length(samples):
    seen = []

    def network(batch):
        seen.append(batch.copy())
        return batch[:, None]

    mixture = noise(1, samples)
    separator(network, sources=["all"])(mixture)
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], mixture[None])


@pytest.mark.parametrize("samples", [101, 175, 176, 1001])
def test_longer_sound_gives_blocks_of_one_segment_that_cover_it(samples):
    starts = []

    def network(batch):
        assert batch.shape == (1, 1, SEGMENT)
        starts.append(int(batch[0, 0, 0]))
        return batch[:, None]

    separator(network, sources=["all"])(np.arange(samples, dtype=np.float32)[None])
    regular = list(range(0, samples - SEGMENT + 1, 75))
    last = samples - SEGMENT
    assert starts == regular + [last] * (regular[-1] != last)


def test_the_crossfade_is_smooth_and_sums_to_one():
    calls = []

    def network(batch):
        calls.append(len(calls))
        return np.full_like(batch[:, None], len(calls) % 2)

    step = separator(network, sources=["all"], overlap=0.5)(noise(1, 150))["all"][0]
    assert step[:50].tolist() == [1] * 50
    assert step[100:].tolist() == [0] * 50
    fade = step[49:101]
    assert (np.diff(fade) <= 0).all()
    assert np.abs(np.diff(fade)).max() < 0.04
    np.testing.assert_allclose(fade + fade[::-1], np.ones(52), atol=1e-6)


def test_without_a_segment_all_goes_through_at_once():
    calls = []

    def network(batch):
        calls.append(batch.shape)
        return batch[:, None]

    whole = separator(network, sources=["all"], segment_seconds=None)
    whole(noise(2, 5000))
    assert calls == [(2, 1, 5000)]


@pytest.mark.parametrize("sizes", [[1], [7], [99, 1], [100], [64, 0, 3], [5000]])
@pytest.mark.parametrize("samples", [60, 100, 101, 175, 990])
@pytest.mark.parametrize("segment", [0.1, None])
def test_a_stream_gives_the_numbers_of_a_call(sizes, samples, segment):
    mixture = noise(2, samples)

    def pieces():
        start = 0
        while start < samples:
            for size in sizes:
                yield mixture[:, start : start + size]
                start += size

    blocked = separator(bands, segment_seconds=segment)
    streamed = np.concatenate(list(blocked.stream(pieces())), -1)
    called = np.stack(list(blocked(mixture).values()))
    np.testing.assert_array_equal(streamed, called)
    assert called.shape == (2, 2, samples)


def test_a_stream_reads_no_further_than_it_needs():
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 10
            yield noise(1, 10)

    given = 0
    for estimates in separator().stream(endless()):
        given += estimates.shape[-1]
        assert asked - given <= 2 * SEGMENT + 10
        if given > 2000:
            break


@pytest.mark.parametrize("grid", [1, 30])
@pytest.mark.parametrize("overlap", [0.25, 0.8])
def test_estimates_come_as_soon_as_no_later_sample_changes_them(grid, overlap):
    mixture, given, late = noise(1, 990), 0, []
    streamed = separator(bands, grid_samples=grid, overlap=overlap)

    def samples():
        for index in range(990):
            late.append(index - given)
            yield mixture[:, index : index + 1]

    for estimates in streamed.stream(samples()):
        given += estimates.shape[-1]
    assert max(late) == streamed.latency_seconds * RATE == SEGMENT + grid - 1
    assert separator(bands, segment_seconds=None).latency_seconds == math.inf


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("samples", [100, 101, 180, 2000])
def test_order_is_kept_where_outputs_have_no_names(samples, channels):
    mixture = tones(samples, channels)
    plain = separator(bands)(mixture)
    scrambled = separator(shuffled(bands), named=False)(mixture)
    first = scrambled["a"][0, :50]
    swap = np.abs(first - plain["a"][0, :50]).max() > 0.1
    names = ("b", "a") if swap else ("a", "b")
    for ours, theirs in zip(("a", "b"), names, strict=True):
        np.testing.assert_allclose(scrambled[ours], plain[theirs], atol=1e-6)


def test_eight_outputs_keep_their_order():
    def network(batch):
        spectrum = np.fft.rfft(batch)
        edges = np.linspace(0, spectrum.shape[-1], 9).astype(int)
        parts = [np.zeros_like(spectrum) for _ in range(8)]
        for part, low, high in zip(parts, edges[:-1], edges[1:], strict=True):
            part[..., low:high] = spectrum[..., low:high]
        return np.stack([np.fft.irfft(p, batch.shape[-1]) for p in parts], 1)

    names = [f"source{index}" for index in range(8)]
    mixture = noise(1, 1500)
    options = {"sources": names, "segment_seconds": 0.4}
    plain = separator(network, **options)(mixture)
    scrambled = separator(shuffled(network), named=False, **options)(mixture)
    for theirs in plain.values():
        errors = [np.abs(ours - theirs).max() for ours in scrambled.values()]
        assert min(errors) < 1e-5


def test_channels_match_in_spite_of_polarity_and_panning():
    low, high = noise(2, 4000)
    low = np.convolve(low, np.ones(40) / 6, "same")
    left = np.stack([low, 0.2 * high])
    right = np.stack([-0.9 * high, -0.1 * low])
    matched = match_channels(np.stack([left, right], 1).astype(np.float32))
    np.testing.assert_allclose(matched[:, 1], right[::-1], rtol=1e-6)


def test_matching_survives_silence_and_one_sample():
    silence = np.zeros((3, 2, 500), np.float32)
    assert match_channels(silence).shape == (3, 2, 500)
    np.testing.assert_array_equal(match_beginnings(silence, silence), silence)
    one = noise(2, 2, 1)
    assert match_channels(one).shape == (2, 2, 1)


def test_a_stereo_model_takes_stereo_as_it_is():
    def swap(batch):
        assert batch.shape[1] == 2
        return batch[:, None, ::-1]

    mixture = noise(2, 333)
    stereo = separator(swap, sources=["all"], channels=2)
    np.testing.assert_allclose(stereo(mixture)["all"], mixture[::-1], atol=1e-6)


def test_a_stereo_model_takes_mono_as_two_copies_and_averages():
    def network(batch):
        assert batch.shape[1] == 2
        np.testing.assert_array_equal(batch[:, 0], batch[:, 1])
        return batch[:, None] * np.array([0.5, 1.5], np.float32)[:, None]

    mixture = noise(1, 333)
    estimates = separator(network, sources=["all"], channels=2)(mixture)
    np.testing.assert_allclose(estimates["all"], mixture, atol=1e-6)


def test_mono_may_come_without_a_channel_axis():
    assert separator()(noise(250))["a"].shape == (1, 250)


@pytest.mark.parametrize(
    ("mixture", "words"),
    [
        (np.zeros((1, 0), np.float32), "no samples"),
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros((1000, 2), np.float32), "transpose"),
        (np.zeros((1, 2, 3), np.float32), r"\(1, 2, 3\)"),
        (np.zeros((1, 10), np.int16), "int16"),
        ("song.mp3", "is the path song.mp3; expected samples: read the file with"),
        (np.array([[0.0, np.nan]]), "sample 1 of the mixture"),
        (np.array([[0.0, 0.0], [np.inf, 0.0]]), "sample 0 of the mixture"),
    ],
)
def test_bad_mixtures_are_named(mixture, words):
    with pytest.raises(SeparationError, match=words):
        separator()(mixture)


def test_other_channel_counts_are_an_error_for_a_stereo_model():
    with pytest.raises(SeparationError, match=r"6 channels .* takes 2"):
        separator(channels=2)(noise(6, 200))


def test_blocks_must_keep_their_channels():
    with pytest.raises(SeparationError, match="1 channels follows one of 2"):
        list(separator().stream([noise(2, 60), noise(1, 60)]))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda batch: batch, "of shape"),
        (lambda batch: np.stack([batch, batch], 1)[..., :-1], "of shape"),
        (lambda batch: np.full((1, 2, 1, batch.shape[-1]), np.nan), "not finite"),
    ],
)
def test_bad_networks_are_named(network, words):
    with pytest.raises(SeparationError, match=words):
        separator(network)(noise(1, 50))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sources": []}, "none"),
        ({"sources": ["a", "a"]}, "a, a"),
        ({"sources": ["a/b"]}, "'a/b'"),
        ({"sources": [".."]}, r"'\.\.'"),
        ({"sample_rate": 0}, "0 Hz"),
        ({"channels": 0}, "channels 0"),
        ({"overlap": 1.0}, "overlap is 1"),
        ({"overlap": -0.1}, "overlap is -0.1"),
        ({"overlap": 0.0, "named": False}, "overlap is 0"),
        ({"segment_seconds": 0.0}, "segment is 0 s"),
        ({"segment_seconds": float("nan")}, "segment is nan"),
    ],
)
def test_bad_options_are_named(change, words):
    with pytest.raises(SeparationError, match=words):
        dataclasses.replace(separator(), **change)


def test_a_queue_gives_back_what_was_pushed():
    queue = Queue()
    for start in range(0, 30, 3):
        queue.push(np.arange(start, start + 3))
    assert queue.take(4).tolist() == [0, 1, 2, 3]
    assert queue.peek(2).tolist() == [4, 5]
    queue.drop(20)
    assert queue.samples == 6
    assert queue.take(6).tolist() == list(range(24, 30))


@pytest.mark.parametrize("samples", [800, 801, 831, 832, 5000, 5013])
def test_blocks_begin_on_whole_frames(samples):
    frame = 32

    def network(mixture):
        """Hold the first sample of every frame, which depends on where frames begin."""
        held = np.repeat(mixture[..., ::frame], frame, -1)[..., : mixture.shape[-1]]
        return held[:, np.newaxis]

    mixture = np.random.default_rng(0).standard_normal((1, samples)).astype(np.float32)
    options = {"sources": ["all"], "sample_rate": 8000, "named": True}
    separator = Separator(
        network, segment_seconds=0.1, grid_samples=frame, overlap=0.3, **options
    )
    whole = Separator(network, **options)(mixture)["all"]
    np.testing.assert_allclose(separator(mixture)["all"], whole, atol=1e-6)
    with pytest.raises(SeparationError, match="because segments begin at multiples"):
        Separator(network, segment_seconds=0.001, grid_samples=frame, **options)


def test_blocks_of_a_network_that_looks_around_equal_the_whole():
    reach = 40
    shape = np.hanning(2 * reach + 1) / reach

    def smoothed(batch):
        wave = np.stack([np.convolve(each, shape, "same") for each in batch[:, 0]])
        return wave[:, None, None].astype(np.float32)

    options = {"sources": ["all"], "named": True, "segment_seconds": 0.1}
    mixture = noise(1, 9001)
    whole = smoothed(mixture[:, None])[0, 0]
    options |= {"overlap": 0.0}
    exact = separator(smoothed, context_samples=reach, **options)(mixture)["all"]
    np.testing.assert_allclose(exact, whole, atol=1e-6)
    rough = separator(smoothed, **options)(mixture)["all"]
    assert np.abs(rough - whole).max() > 0.01
    with pytest.raises(SeparationError, match=r"looks 0\.05 s around"):
        separator(smoothed, context_samples=RATE // 20, **options)


def test_all_channels_may_go_through_together():
    seen = []

    def mean(batch):
        seen.append(batch.shape)
        wave = np.broadcast_to(batch.mean(1, keepdims=True), batch.shape)
        return np.stack([wave, batch - wave], 1)

    options = {"sources": ["middle", "sides"], "named": True, "segment_seconds": 0.1}
    mixture = noise(3, 2000)
    actual = separator(mean, together=True, **options)(mixture)
    assert {shape[:2] for shape in seen} == {(1, 3)}
    for wave in actual["middle"]:
        np.testing.assert_allclose(wave, mixture.mean(0), atol=1e-6)
    np.testing.assert_allclose(sum(actual.values()), mixture, atol=1e-6)


def test_a_source_may_fill_one_buffer_again_and_again():
    sound = np.random.default_rng(0).standard_normal([2, 9000]).astype(np.float32)
    same = Separator(lambda x: x[:, None], ["all"], 8000, segment_seconds=0.25)

    def blocks():
        buffer = np.empty([2, 700], np.float32)
        for start in range(0, 9000, 700):
            part = sound[:, start : start + 700]
            buffer[:, : part.shape[1]] = part
            yield buffer[:, : part.shape[1]]
        buffer[:] = np.nan

    joined = np.concatenate(list(same.stream(blocks())), -1)
    np.testing.assert_allclose(joined[0], sound, atol=1e-6)
