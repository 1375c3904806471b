"""Excerpts by a curriculum and balanced excerpts, as functions of their position."""

import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from clustering import corpus, data
from clustering.train import build
from common import training
from common.config import ConfigError
from common.corpora.augmentation import Augment
from common.corpora.track import CorpusError, Track
from common.synthetic.miniature import WRITERS
from common.training import distribution
from common.training.schedule import Schedule

CURRICULUM = ((0, 0.05), (1, 0.1))


def lengths(config, split, replicas=1, steps=12):
    """Samples of the excerpts of each step."""
    seen = data.training_example(config, split, replicas)
    batch = config.batch_size * replicas
    actual = []
    for step in range(steps):
        positions = range(step * batch, (step + 1) * batch)
        examples = [seen(tf.constant(p, tf.int64))["mixture"] for p in positions]
        assert len({len(each) for each in examples}) == 1
        actual.append(len(examples[0]))
    return actual


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_curriculum_changes_the_length_with_the_epoch(config, replicas):
    config = replace(config, curriculum=CURRICULUM)
    split = data.load(config).train
    # Four steps are an epoch, whatever the number of replicas.
    assert lengths(config, split, replicas, 6) == [400] * 4 + [800] * 2


def test_an_epoch_may_be_one_pass(config):
    schedule = replace(config.train, steps_per_epoch=0)
    config = replace(config, curriculum=CURRICULUM, train=schedule)
    split = data.load(config).train
    assert [data.epoch_steps(config, split, n) for n in (1, 2)] == [3, 2]
    assert lengths(config, split, steps=4) == [400] * 3 + [800]


def test_a_resumed_run_sees_the_examples_of_an_uninterrupted_one(config):
    config = replace(config, curriculum=CURRICULUM)
    strategy = tf.distribute.get_strategy()
    seen = data.training_example(config, data.load(config).train)

    def batches(start, count):
        return distribution.training_batches(strategy, seen, 2, start).take(count)

    straight = [each["sources"].numpy() for each in batches(0, 6)]
    again = [each["sources"].numpy() for each in batches(3, 3)]
    assert [each.shape[-1] for each in again] == [400, 800, 800]
    for one, other in zip(straight[3:], again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "kind", ["chimera", pytest.param("conv_tasnet", marks=pytest.mark.slow)]
)
@pytest.mark.one_lane
def test_a_curriculum_trains(config, kind):
    schedule = Schedule(epochs=2, steps_per_epoch=2, checkpoint_steps=2, log_steps=2)
    config = replace(config, kind=kind, curriculum=CURRICULUM, train=schedule)
    valid = data.validation_example(config, data.load(config).valid)
    assert valid(tf.constant(0, tf.int64))["mixture"].shape == (800,)
    assert training.train(config, build).optimizer.iterations.numpy() == 4


@pytest.mark.parametrize(
    "curriculum", [((1, 0.5),), ((0, 0.5), (0, 1.0)), ((0, 0.5), (3, 1.0), (2, 1.0))]
)
def test_an_invalid_curriculum_is_reported_in_one_sentence(config, curriculum):
    with pytest.raises(ConfigError, match="expected pairs of an epoch and seconds"):
        replace(config, curriculum=curriculum)
    with pytest.raises(ConfigError, match="seconds above 0"):
        replace(config, curriculum=((0, 0.0),))


def test_balanced_excerpts_begin_where_both_sources_are_loud(config, tmp_path):
    """One source sounds all the time, the other in the last third."""
    draw = 0.1 * np.random.default_rng(0).standard_normal([2, 24000])
    draw[1, :16000] = 0.0
    for split in ("train", "valid"):
        for name, wave in zip(("mix", "s1", "s2"), (draw.sum(0), *draw), strict=True):
            folder = tmp_path / "corpus" / split / name
            folder.mkdir(parents=True)
            soundfile.write(folder / "a.wav", wave, 8000, subtype="FLOAT")
    root = str(tmp_path / "corpus")
    config = replace(config, dataset="mix_folders", data_root=root, segment_seconds=0.1)

    def share(excerpt):
        chosen = replace(config, excerpt=excerpt)
        seen = data.training_example(chosen, data.load(chosen).train)
        actual = [seen(tf.constant(p, tf.int64))["sources"][1] for p in range(40)]
        return np.mean([np.any(each) for each in actual])

    assert share("random") == pytest.approx(0.36, abs=0.15)
    assert share("balanced") > 0.55
    config = replace(config, segment_seconds=1.5)

    def begins_loud(excerpt):
        chosen = replace(config, excerpt=excerpt)
        seen = data.training_example(chosen, data.load(chosen).train)
        actual = [seen(tf.constant(p, tf.int64))["sources"][1] for p in range(60)]
        return np.mean([np.any(each[: config.window_samples]) for each in actual])

    # An excerpt may begin up to 1.5 s, and the second source only sounds from 2 s on.
    assert begins_loud("balanced") == begins_loud("random") == 0.0
    config = replace(config, segment_seconds=0.6)
    assert begins_loud("random") == pytest.approx(0.17, abs=0.1)
    assert begins_loud("balanced") > 0.25
    with pytest.raises(ConfigError, match="excerpt=balanced needs sources of one"):
        replace(config, excerpt="balanced", mixing="random")


@pytest.fixture
def wham(config, tmp_path):
    """The configuration of noisy mixtures."""
    root = WRITERS["wham"](tmp_path / "wham", train=4, validation=2, test=2)
    return replace(config, dataset="wham", data_root=str(root), task="mix_both")


def test_the_noise_is_part_of_the_mixtures(wham):
    split = data.load(wham).train
    track = corpus.tracks(wham, corpus.root(wham), "train")[0]
    noisy, _ = soundfile.read(track.mixture, dtype="float32")
    seen = data.training_example(wham, split)
    actual = [seen(tf.constant(p, tf.int64)) for p in range(len(split.lengths))]
    rest = [each["mixture"] - tf.reduce_sum(each["sources"], axis=0) for each in actual]
    assert all(np.abs(noise).max() > 1e-3 for noise in rest)
    excerpts = np.lib.stride_tricks.sliding_window_view(noisy, wham.segment_samples)
    nearest = [np.abs(excerpts - each["mixture"]).max(axis=1).min() for each in actual]
    assert min(nearest) < 1e-6


def test_without_noise_the_mixture_is_the_sum(wham):
    clean = replace(wham, task="mix_clean")
    seen = data.training_example(clean, data.load(clean).train)
    actual = seen(tf.constant(0, tf.int64))
    np.testing.assert_array_equal(
        actual["mixture"], tf.reduce_sum(actual["sources"], axis=0)
    )


def test_mixtures_made_on_the_fly_have_no_noise(wham):
    with pytest.raises(ConfigError, match="without the noise of task=mix_both"):
        data.load(replace(wham, mixing="random"))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.one_lane
def test_nobody_speaks_twice_in_a_random_mixture(config, count):
    """Sounds are constants that identify the speaker."""
    names = [f"s{number + 1}" for number in range(count)]
    rng, tracks = np.random.default_rng(0), []
    for number in range(40):
        speakers = rng.permutation(count)
        waves = [np.full([1, 900], (each + 1) / 8, np.float32) for each in speakers]
        named = {n: f"speaker {each}" for n, each in zip(names, speakers, strict=True)}
        sounds = dict(zip(names, waves, strict=True))
        tracks.append(Track(f"t{number:02d}", 8000, 900, sounds, speakers=named))
    config = replace(config, mixing="random", segment_seconds=0.1)

    def speakers_of(tracks, draws):
        split = data.open_split(config, "train", tracks)
        example = data.training_example(config, split)
        drawn = (example(tf.constant(p, tf.int64))["sources"] for p in range(draws))
        return [tuple(np.round(8 * sources[:, 0]).astype(int)) for sources in drawn]

    orders = math.factorial(count)
    drawn = speakers_of(tracks, 10 * orders)
    assert all(len(set(speakers)) == count for speakers in drawn)
    assert len(set(drawn)) == orders
    unknown = speakers_of([replace(track, speakers={}) for track in tracks], 20)
    assert any(len(set(speakers)) < count for speakers in unknown)


def of_speakers(*voices):
    """Tracks of two named speakers each."""
    sounds = {"s1": np.ones([1, 900], np.float32), "s2": np.ones([1, 900], np.float32)}
    return [
        Track(
            f"t{number:03d}",
            8000,
            900,
            sounds,
            speakers=dict(zip(sounds, pair, strict=True)),
        )
        for number, pair in enumerate(voices)
    ]


def test_a_rare_speaker_is_drawn_beside_one_who_has_nearly_all_tracks(config):
    config = replace(config, mixing="random")
    tracks = of_speakers(*[("a", "a")] * 399, ("b", "b"))
    split = data.open_split(config, "train", tracks)
    draws = tf.constant([[0.5, at] for at in np.linspace(0, 0.999, 50)], tf.float64)
    rows = [
        data._different_speakers(split, tf.constant(3, tf.int64), each)
        for each in draws
    ]
    assert {tuple(each.numpy()) for each in rows} == {(3, 399)}
    rare = [
        data._different_speakers(split, tf.constant(399, tf.int64), each)
        for each in draws
    ]
    assert 399 not in {int(each[1]) for each in rare}


@pytest.mark.parametrize(
    ("voices", "enough"),
    [
        ([("a", "a")], False),
        ([("a", "b")], True),
        ([("a", "b"), ("b", "b")], False),
        ([("a", "b"), ("b", "a")], True),
    ],
)
def test_too_few_speakers_are_refused(config, voices, enough):
    config = replace(config, mixing="random")
    split = data.open_split(config, "train", of_speakers(*voices))
    if enough:
        seen = data.training_example(config, split)
        assert seen(tf.constant(0, tf.int64))["sources"].shape[0] == 2
        return
    with pytest.raises(CorpusError, match=r"only 1 in s2.*mixing=tracks"):
        data.training_example(config, split)


def test_levels_are_set_only_between_sources_that_are_not_silent(config):
    tone = np.sin(np.arange(900, dtype=np.float32))
    silence, murmur, quiet = (
        np.float32(level) * tone for level in (0.0, 10 ** (-61 / 20), 10 ** (-59 / 20))
    )
    decibels = tf.constant([0.0, -6.0])
    for first, second in [(silence, tone), (murmur, tone), (tone, silence)]:
        actual = data._levelled(tf.constant(np.stack([first, second])), decibels)
        np.testing.assert_array_equal(actual, [first, second])
    actual = data._levelled(tf.constant(np.stack([tone, quiet])), decibels)
    powers = np.square(actual).mean(axis=1)
    assert 10 * np.log10(powers[1] / powers[0]) == pytest.approx(-6.0, abs=1e-4)


def test_an_excerpt_keeps_its_level_although_its_first_source_pauses(config):
    sounds = {
        "s1": np.zeros([1, 900], np.float32),
        "s2": np.full([1, 900], 0.25, np.float32),
    }
    config = replace(config, snr_db=(-5.0, 5.0))
    split = data.open_split(config, "train", [Track("t", 8000, 900, sounds)])
    actual = data.training_example(config, split)(tf.constant(0, tf.int64))
    np.testing.assert_allclose(actual["mixture"], 0.25, atol=1e-4)


@pytest.mark.parametrize("name", ["fuss", "dsd100", "ccmixter"])
def test_corpora_of_the_catalogue_are_read(config, tmp_path, name):
    counts = {
        "fuss": {"train": 2, "validation": 1, "eval": 1},
        "dsd100": {"train": 10, "test": 1, "seconds": 0.5},
        "ccmixter": {"songs": 10, "seconds": 0.5},
    }
    root = WRITERS[name](tmp_path / name, sample_rate=8000, **counts[name])
    first = {"fuss": "background", "dsd100": "vocals", "ccmixter": "vocals"}
    sources = (first[name], "*")
    config = replace(config, dataset=name, data_root=str(root), sources=sources)
    for split in ("train", "valid", "test"):
        assert tuple(corpus.tracks(config, root, split)[0].sources) == sources


def test_the_encoding_of_records_is_the_configured_one(config, tmp_path):
    config = replace(config, records=str(tmp_path), records_encoding="flac")
    assert data.load(config).train.sounds.records.encoding == "flac"


def test_tracks_are_cut_to_their_shortest_file_where_that_is_allowed(config, tmp_path):
    for split in ("train", "valid"):
        for name, samples in (("s1", 40_000), ("s2", 8000)):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            wave = np.full(samples, 0.1)
            soundfile.write(folder / "a.wav", wave, config.sample_rate)
    config = replace(config, dataset="mix_folders", data_root=str(tmp_path), sources=())
    with pytest.raises(CorpusError, match="allow_cut=true cuts it"):
        data.load(config)
    assert data.load(replace(config, allow_cut=True)).train.lengths == [8000]


def test_a_folder_for_no_split_is_refused(config):
    config = replace(config, dataset="mix_folders", folders=("val=/data",))
    with pytest.raises(CorpusError, match=r"folders=val=/data; expected .* valid"):
        corpus.tracks(config, corpus.root(config), "valid")


@pytest.mark.parametrize("curriculum", [(), CURRICULUM])
def test_the_chain_of_augmentations_keeps_lengths_and_sums(config, curriculum):
    plain = replace(config, curriculum=curriculum)
    speed = (1.0, 1.0) if curriculum else (0.9, 1.1)
    changed = replace(plain, augment=Augment(speed, (-6.0, 3.0), polarity=True))
    split = data.load(plain).train
    assert lengths(changed, split) == lengths(plain, split)
    ours, again, before = (
        data.training_example(each, split)(tf.constant(5, tf.int64))
        for each in (changed, changed, plain)
    )
    np.testing.assert_allclose(ours["mixture"], sum(ours["sources"]), atol=1e-6)
    np.testing.assert_array_equal(ours["sources"], again["sources"])
    assert np.abs(ours["sources"] - before["sources"]).max() > 1e-3


def test_augmentations_that_do_not_fit_are_refused(config):
    split = data.load(config).train
    remix = Augment(remix=True)
    with pytest.raises(ConfigError, match="leave curriculum out"):
        replace(config, curriculum=CURRICULUM, augment=remix)
    known = split._replace(speakers=np.zeros_like(split.numbers))
    with pytest.raises(ConfigError, match="remix may take one speaker twice"):
        data.training_example(replace(config, augment=remix), known)
