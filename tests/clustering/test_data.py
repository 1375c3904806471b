"""Excerpts by a curriculum and at balanced places, as functions of their position."""

import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from clustering import corpus, data
from clustering.train import build
from common import distribution, training
from common.config import ConfigError
from common.corpora.miniature import WRITERS
from common.corpora.track import Track
from common.schedule import Schedule

CURRICULUM = ((0, 0.05), (1, 0.1))


def lengths(config, split, replicas=1, steps=12):
    """Samples of the excerpts of each step."""
    seen = data.training_example(config, split, replicas)
    batch = config.batch_size * replicas
    found = []
    for step in range(steps):
        positions = range(step * batch, (step + 1) * batch)
        examples = [seen(tf.constant(p, tf.int64))["mixture"] for p in positions]
        assert len({len(each) for each in examples}) == 1
        found.append(len(examples[0]))
    return found


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


def test_a_run_that_goes_on_sees_what_an_undisturbed_one_does(config):
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
def test_a_curriculum_trains(config, kind):
    schedule = Schedule(epochs=2, steps_per_epoch=2, checkpoint_steps=2, log_steps=2)
    config = replace(config, kind=kind, curriculum=CURRICULUM, train=schedule)
    valid = data.validation_example(config, data.load(config).valid)
    assert valid(tf.constant(0, tf.int64))["mixture"].shape == (800,)
    assert training.train(config, build).optimizer.iterations.numpy() == 4


@pytest.mark.parametrize(
    "curriculum", [((1, 0.5),), ((0, 0.5), (0, 1.0)), ((0, 0.5), (3, 1.0), (2, 1.0))]
)
def test_a_curriculum_that_is_none_is_one_sentence(config, curriculum):
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
    place = str(tmp_path / "corpus")
    config = replace(config, dataset="mix_folders", root=place, segment_seconds=0.1)

    def share(excerpt):
        chosen = replace(config, excerpt=excerpt)
        seen = data.training_example(chosen, data.load(chosen).train)
        found = [seen(tf.constant(p, tf.int64))["sources"][1] for p in range(40)]
        return np.mean([np.any(each) for each in found])

    assert share("random") == pytest.approx(0.36, abs=0.15)
    assert share("balanced") > 0.55
    with pytest.raises(ConfigError, match="excerpt=balanced needs sources of one"):
        replace(config, excerpt="balanced", mixing="random")


@pytest.fixture
def wham(config, tmp_path):
    """The configuration of noisy mixtures."""
    root = WRITERS["wham"](tmp_path / "wham", train=4, validation=2, test=2)
    return replace(config, dataset="wham", root=str(root), task="mix_both")


def test_the_noise_of_mixtures_is_heard(wham):
    split = data.load(wham).train
    track = corpus.tracks(wham, corpus.root(wham), "train")[0]
    noisy, _ = soundfile.read(track.mixture, dtype="float32")
    seen = data.training_example(wham, split)
    found = [seen(tf.constant(p, tf.int64)) for p in range(len(split.lengths))]
    rest = [each["mixture"] - tf.reduce_sum(each["sources"], axis=0) for each in found]
    assert all(np.abs(noise).max() > 1e-3 for noise in rest)
    excerpts = np.lib.stride_tricks.sliding_window_view(noisy, wham.segment_samples)
    nearest = [np.abs(excerpts - each["mixture"]).max(axis=1).min() for each in found]
    assert min(nearest) < 1e-6


def test_without_noise_the_mixture_is_the_sum(wham):
    clean = replace(wham, task="mix_clean")
    seen = data.training_example(clean, data.load(clean).train)
    found = seen(tf.constant(0, tf.int64))
    np.testing.assert_array_equal(
        found["mixture"], tf.reduce_sum(found["sources"], axis=0)
    )


def test_mixtures_made_on_the_fly_have_no_noise(wham):
    with pytest.raises(ConfigError, match="without the noise of task=mix_both"):
        data.load(replace(wham, mixing="random"))


@pytest.mark.parametrize("count", [2, 3])
def test_nobody_speaks_twice_in_a_random_mixture(config, count):
    """Sounds are constants that tell the talker."""
    names = [f"s{number + 1}" for number in range(count)]
    rng, tracks = np.random.default_rng(0), []
    for number in range(40):
        people = rng.permutation(count)
        waves = [np.full([1, 900], (each + 1) / 8, np.float32) for each in people]
        told = {n: f"talker {each}" for n, each in zip(names, people, strict=True)}
        sounds = dict(zip(names, waves, strict=True))
        tracks.append(Track(f"t{number:02d}", 8000, 900, sounds, talkers=told))
    config = replace(config, mixing="random", segment_seconds=0.1)

    def heard(tracks):
        seen = data.training_example(config, data.open_split(config, "train", tracks))
        found = (seen(tf.constant(p, tf.int64))["sources"] for p in range(60))
        return [tuple(np.round(8 * each[:, 0]).astype(int)) for each in found]

    found = heard(tracks)
    assert all(len(set(each)) == count for each in found)
    assert len(set(found)) == math.factorial(count)
    unknown = heard([replace(track, talkers={}) for track in tracks])
    assert any(len(set(each)) < count for each in unknown)
