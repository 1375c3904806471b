"""Excerpts are where their positions say, to the sample, with what is around them."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from adversarial import data
from adversarial.config import TINY
from adversarial.images import magnitude
from adversarial.model import solve
from adversarial.songs import excerpts
from adversarial.songs.song_lists import SongLists
from common.audio import resample
from common.config import ConfigError
from common.corpora.augmentation import Augment
from common.corpora.track import CorpusError, Track
from common.training import distribution

RATE = 8192
HOP = 256
RNG = np.random.default_rng(0)
GEOMETRY = solve(TINY.model_config)
INSIDE = (GEOMETRY.output_frames - 1) * HOP + 512
OUTSIDE = (GEOMETRY.input_frames - 1) * HOP + 512
BEFORE = GEOMETRY.context_frames * HOP + 256


def noise(samples):
    return RNG.uniform(-0.3, 0.3, (1, samples)).astype(np.float32)


def song(name, samples, vocals=True):
    parts = {"accompaniment": noise(samples)}
    if vocals:
        parts["vocals"] = noise(samples)
    return Track(name, RATE, samples, parts, sum(parts.values()))


def settings(**more):
    return replace(TINY, model_config=replace(TINY.model_config, **more))


@pytest.fixture(scope="module")
def tracks():
    """Songs of several lengths, one without a voice, one shorter than a tile."""
    lengths = {"a": 50_000, "b": 41_234, "c": 3_000}
    return {name: song(name, n, name != "b") for name, n in lengths.items()}


@pytest.fixture(scope="module")
def opened(tracks, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEPARATION_CACHE", str(tmp_path_factory.mktemp("cache")))
        a, b, _ = every = list(tracks.values())
        single = Track("v", RATE, 30_000, {"vocals": np.full((1, 30_000), 0.5, "f4")})
        return data.open_data(
            TINY, SongLists([a, b], [a, b], [a], [single], every, [b])
        )


def around(track, role, start, samples):
    """Samples of a sound and zeros around it, by numpy alone."""
    sound = track.mixture if role == "mixture" else track.sources.get(role)
    whole = np.zeros(track.samples) if sound is None else sound[0]
    return np.pad(whole, (OUTSIDE, OUTSIDE))[OUTSIDE + start :][:samples]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("start", [0, 1, 12_345, 41_234 - 17 * HOP, 41_233])
def test_an_excerpt_holds_the_samples_of_the_song_with_zeros_outside(
    opened, tracks, number, start
):
    track = list(tracks.values())[number]
    position = tf.constant(number, tf.int64), tf.constant(start, tf.int64)
    cut = excerpts.read_pair(TINY, opened.paired, *position)
    outer = around(track, "mixture", start - BEFORE, OUTSIDE)
    np.testing.assert_array_equal(cut["mixture"], outer)
    for row, role in enumerate(("accompaniment", "vocals")):
        inner = around(track, role, start - 256, INSIDE)
        np.testing.assert_array_equal(cut["sources"][row], inner)


def test_frames_are_those_of_the_whole_song_at_target_edges_too(opened, tracks):
    whole = np.pad(tracks["a"].sources["vocals"], [(0, 0), (256, 256)])
    image = magnitude(tf.constant(whole), TINY.model_config)
    cut = excerpts.read_pair(TINY, opened.paired, tf.constant(0, tf.int64), 10 * HOP)
    part = magnitude(cut["sources"][1:], TINY.model_config)
    expected = image[:, :, 10 : 10 + GEOMETRY.output_frames]
    np.testing.assert_allclose(part, expected, atol=1e-5)


def test_examples_depend_only_on_position_and_seed(opened):
    graph = tf.function(data.semi_supervised_example(TINY, opened))
    one, again, other = (graph(tf.constant(p, tf.int64)) for p in (3, 3, 4))
    seeded = replace(TINY, train=replace(TINY.train, seed=1))
    seed = data.semi_supervised_example(seeded, opened)(tf.constant(3, tf.int64))
    assert {name: each.shape.as_list() for name, each in one.items()} == {
        "mixture": [OUTSIDE],
        "sources": [2, INSIDE],
        "mixtures": [3, OUTSIDE],
        "accompaniments": [2, INSIDE],
        "vocals": [2, INSIDE],
        "epsilon": [2, 2],
    }
    static = graph.get_concrete_function(tf.TensorSpec([], tf.int64)).output_shapes
    assert all(each.is_fully_defined() for each in static.values())
    for name, value in one.items():
        np.testing.assert_array_equal(value, again[name])
        assert np.abs(value - other[name]).max() > 1e-3
        assert np.abs(value - seed[name]).max() > 1e-3
    # No excerpt of one step comes back in the next one.
    for name in data.UNPAIRED:
        waves = np.concatenate([one[name], other[name]])
        assert len(np.unique(waves, axis=0)) == len(waves), name


def test_the_chain_of_augmentations_keeps_shapes_and_sums(opened):
    chain = Augment((0.9, 1.1), (-6.0, 3.0), polarity=True, remix=True)
    config = replace(TINY, augment=chain)
    at = tf.constant(3, tf.int64)
    plain = data.semi_supervised_example(TINY, opened)(at)
    graph = tf.function(data.semi_supervised_example(config, opened))
    one, again = graph(at), graph(at)
    static = graph.get_concrete_function(tf.TensorSpec([], tf.int64)).output_shapes
    assert all(each.is_fully_defined() for each in static.values())
    for name, value in one.items():
        assert value.shape == plain[name].shape
        np.testing.assert_array_equal(value, again[name])
        assert (np.abs(value - plain[name]).max() > 1e-3) == (name != "epsilon")
    middle = one["mixture"][BEFORE - 256 : BEFORE - 256 + INSIDE]
    np.testing.assert_allclose(middle, sum(one["sources"]), atol=1e-5)


def test_streams_are_independent_and_gains_are_of_unpaired_excerpts(opened, tracks):
    example = tf.function(data.unpaired_example(TINY, opened))
    drawn = [example(tf.constant(p, tf.int64)) for p in range(60)]
    gains = np.array([2 * d["vocals"].numpy().max() for d in drawn])
    assert gains.min() >= 0.2 - 1e-6
    assert gains.max() <= 1.2 + 1e-6
    assert gains.max() - gains.min() > 0.7
    draws = {n: excerpts.draws(TINY, n, opened.paired) for n in excerpts.STREAMS}
    positions = {
        name: [int(draw(tf.constant(p, tf.int64)).start) for p in range(20)]
        for name, draw in draws.items()
    }
    assert len({tuple(each) for each in positions.values()}) == 4
    paired = tf.function(data.paired_example(TINY, opened))
    for position in range(5):
        drawn = paired(tf.constant(position, tf.int64))
        middle = drawn["mixture"][BEFORE - 256 : BEFORE - 256 + INSIDE]
        np.testing.assert_allclose(
            middle, tf.reduce_sum(drawn["sources"], 0), atol=1e-6
        )


def test_excerpts_serve_as_often_as_in_the_cache_of_the_original(opened):
    config = settings(batch_size=16, min_replacement_rate=2, cache_size=16)
    draw = tf.function(excerpts.draws(config, "paired", opened.paired), autograph=False)
    drawn = [draw(tf.constant(p, tf.int64)) for p in range(16 * 20)]
    seen = [(int(d.song), float(d.gain)) for d in drawn]
    # 20 batches replace 2 excerpts each; 16 are there before.
    assert 45 <= len(set(seen)) <= 56
    assert len({(int(d.song), int(d.start)) for d in drawn}) > 150
    first, last = set(seen[:16]), set(seen[-16:])
    assert not first & last
    half = settings(batch_size=16, min_replacement_rate=0.5, cache_size=16)
    draw = tf.function(excerpts.draws(half, "paired", opened.paired), autograph=False)
    drawn = [draw(tf.constant(p, tf.int64)) for p in range(16 * 20)]
    # An excerpt is replaced every second batch.
    assert 20 <= len({(int(d.song), float(d.gain)) for d in drawn}) <= 26
    fresh = settings(excerpts_reused=False)
    draw = tf.function(excerpts.draws(fresh, "paired", opened.paired), autograph=False)
    drawn = [draw(tf.constant(p, tf.int64)) for p in range(100)]
    assert len({(int(d.song), int(d.start)) for d in drawn}) > 97
    assert sum(int(d.song) for d in drawn) == 50


@pytest.mark.parametrize("reused", [True, False])
def test_windows_lie_anywhere_in_a_song_and_never_outside(opened, reused):
    config = settings(excerpts_reused=reused)
    draw = tf.function(excerpts.draws(config, "vocals", opened.paired), autograph=False)
    drawn = [draw(tf.constant(p, tf.int64)) for p in range(400)]
    for number, length in enumerate(opened.paired.samples):
        starts = np.array([int(d.start) for d in drawn if d.song == number])
        last = length - (GEOMETRY.output_frames - 1) * HOP
        assert starts.min() >= 0
        assert starts.max() <= last
        assert starts.min() < 0.15 * last
        assert starts.max() > 0.85 * last


def test_the_validation_covers_every_frame_once(opened, tracks):
    example, count = data.validation_example(TINY, opened.valid)
    frames = [1 + t.samples // HOP for t in tracks.values()]
    windows = [-(-n // GEOMETRY.output_frames) for n in frames]
    assert count == sum(windows)
    graph = tf.function(example)
    every = [graph(tf.constant(p, tf.int64)) for p in range(count)]
    weights = np.array([each["frame_weight"] for each in every])
    assert weights.sum() == sum(frames)
    assert weights[windows[0] - 1].tolist() == [1.0] * 16 + [0.0] * 2
    step = GEOMETRY.output_frames * HOP
    row = 0
    for track, number in zip(tracks.values(), windows, strict=True):
        for index in range(number):
            expected = around(track, "mixture", index * step - BEFORE, OUTSIDE)
            np.testing.assert_array_equal(every[row]["mixture"], expected)
            expected = around(track, "vocals", index * step - 256, INSIDE)
            np.testing.assert_array_equal(every[row]["sources"][1], expected)
            row += 1


def test_batches_are_built_for_any_strategy(opened):
    strategy = tf.distribute.get_strategy()
    example = data.paired_example(TINY, opened)
    batches = distribution.training_batches(strategy, example, 2, 5)
    batch = next(iter(batches))
    expected = example(tf.constant(11, tf.int64))
    np.testing.assert_allclose(batch["mixture"][1], expected["mixture"], atol=1e-7)
    example, count = data.validation_example(TINY, opened.valid)
    batches, _ = distribution.validation_batches(strategy, example, count, 4)
    assert sum(float(tf.reduce_sum(b["weight"])) for b in batches) == count


def test_stems_are_kept_as_one_channel_at_the_working_rate(tmp_path):
    wave = RNG.uniform(-0.2, 0.2, (40_000, 2)).astype(np.float32)
    files = {}
    for name, part in (("vocals", wave), ("accompaniment", wave[::-1])):
        files[name] = tmp_path / f"{name}.wav"
        soundfile.write(files[name], part, 16_000, "FLOAT")
    track = Track("a", 16_000, 40_000, files)
    config = replace(TINY, corpora=replace(TINY.corpora, records=str(tmp_path / "r")))
    empty = SongLists([track], [], [], [], [track], [track])
    opened = data.open_data(config, empty)
    assert opened.unpaired is None
    assert (tmp_path / "r/train/index.json").is_file()
    assert [each.channels for each in opened.records] == [1, 1, 1]
    assert opened.digest == opened.records[0].digest
    assert opened.paired.samples.tolist() == [20_480]
    cut = excerpts.read_pair(config, opened.paired, tf.constant(0, tf.int64), 256)
    mono = wave.mean(axis=1)[np.newaxis]
    expected = resample.resample(mono, 16_000, RATE)[0, :INSIDE]
    np.testing.assert_allclose(cut["sources"][1], expected, atol=1e-6)
    whole = cut["mixture"][BEFORE - 256 :][:INSIDE]
    np.testing.assert_allclose(whole, tf.reduce_sum(cut["sources"], 0), atol=1e-5)
    # Files of another time are the same data, so that a run on them resumes.
    for file in files.values():
        os.utime(file, (1, 1))
    assert data.open_data(config, empty).digest == opened.digest


def test_songs_shorter_than_a_window_are_left_out_and_reported(tracks, capsys):
    kept = excerpts.long_enough(TINY, list(tracks.values()), "vocals")
    assert [each.name for each in kept] == ["a", "b"]
    message = (
        "1 of 3 songs of the list 'vocals' are shorter than a window of 0.59 s, first"
    )
    assert f"{message} 'c' with 0.37 s; they are left out" in capsys.readouterr().out
    with pytest.raises(
        CorpusError, match=r"1 of 1 songs of the list 'paired' are short"
    ):
        excerpts.long_enough(TINY, [tracks["c"]], "paired")


def test_an_excerpt_shorter_than_a_window_is_named(opened):
    with pytest.raises(
        ConfigError, match=r"segment_seconds=1.0; expected at least 1.16 s"
    ):
        data.paired_example(settings(segment_seconds=1.0), opened)
    data.paired_example(settings(segment_seconds=1.0, excerpts_reused=False), opened)


def test_mixtures_need_excerpts_with_context_and_sources_none(opened):
    config = settings(segment_seconds=1.0)
    with pytest.raises(
        ConfigError, match=r"segment_seconds=1.0; expected at least 1.16 s"
    ):
        data.unpaired_example(config, opened, ("mixtures",))
    data.unpaired_example(config, opened, ("accompaniments", "vocals"))


def test_the_encoding_of_records_is_as_asked(tracks, tmp_path):
    corpora = replace(
        TINY.corpora, records=str(tmp_path / "records"), records_encoding="flac"
    )
    lists = SongLists(*[[tracks["a"]]] * len(SongLists._fields))
    opened = data.open_split(replace(TINY, corpora=corpora), "valid", lists)
    assert opened.sounds.records.encoding == "flac"


def test_any_seed_gives_random_numbers_of_its_own():
    def numbers(seed):
        config = replace(TINY, train=replace(TINY.train, seed=seed))
        return excerpts.seed_at(config, 0, tf.constant(5, tf.int64)).numpy().tolist()

    seeds = [0, 1, -1, 2**63 - 2, 2**63 + 7]
    assert len({tuple(numbers(seed)) for seed in seeds}) == len(seeds)
