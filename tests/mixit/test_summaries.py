"""Summaries for TensorBoard, against the numbers and tags of Google's program."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common.training.logs import Sounds
from mixit.google.restore import restore
from mixit.summaries import (
    INVARIANT,
    SUPERVISED,
    Summaries,
    TrainingSounds,
    arrange,
    images,
    scalars,
    signal_names,
    sounds,
    tags,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit"
SUFFIX = {"1src": INVARIANT[0], "min2src": INVARIANT[1], "none": ""}


@pytest.fixture(scope="module")
def batch():
    """Three examples of four references and their estimates."""
    with np.load(GOLDEN / "summaries_scalars.npz") as file:
        return dict(file)


def listed(name):
    return (GOLDEN / name).read_text("utf-8").split()


def events(folder):
    """Tag and step of every summary of a folder."""
    actual = set()
    for path in folder.iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())  # noqa: TID251
            actual |= {(value.tag, event.step) for value in event.summary.value}
    return actual


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def by_tag(tally, names, suffixes=INVARIANT):
    means = tf.math.divide_no_nan(*tally).numpy()
    return dict(zip(tags(names, suffixes), means, strict=True))


@pytest.mark.parametrize("shuffled", [False, True])
def test_google_scalars_and_weights(batch, shuffled):
    order = [2, 0, 3, 1] if shuffled else [0, 1, 2, 3]
    suffixes = (*INVARIANT, "")
    names = signal_names(4, mixtures=1)
    tally = scalars(
        batch["ref"], batch["est"][:, order], batch["mix"][:, 0], suffixes=suffixes
    )
    means = by_tag(tally, names, suffixes)
    counts = dict(zip(tags(names, suffixes), tally.counts.numpy(), strict=True))
    checked = 0
    for key in batch.keys() - {"ref", "est", "mix"}:
        family, tag = key.split("|")
        if shuffled and family == "none" and "signals" not in tag:
            continue  # which estimate of several goes to which silent reference
        full = tag + SUFFIX[family.removeprefix("W_")]
        if family.startswith("W_"):
            ours = counts[full] / (12 if "signals" in tag else 3)
        else:
            ours = means[full]
        assert ours == pytest.approx(float(batch[key]), rel=1e-5, abs=1e-5), key
        checked += 1
    assert checked == (150 - 24 if shuffled else 150)


def test_google_evaluation_of_a_network():
    with np.load(GOLDEN / "eval_pass.npz") as file:
        golden = dict(file)
    checkpoint = GOLDEN / "train_small" / "model.ckpt-6"
    network, _ = restore(checkpoint, num_dilations=3)
    sources = tf.constant(golden["source_images"])
    mixtures = tf.reduce_sum(sources, axis=1)
    first = network(tf.reduce_sum(mixtures[:2], axis=0, keepdims=True))
    np.testing.assert_allclose(first, golden["separated"], atol=1e-5)
    names = signal_names(4)
    metric = Summaries(names)
    for half in (slice(0, 4), slice(4, 6)):
        metric.update_state(sources[half], network(mixtures[half]), mixtures[half])
    means = metric.result()
    expected = {k.removeprefix("metric|"): v for k, v in golden.items() if "SNR" in k}
    assert set(means) == set(expected)
    for tag, value in expected.items():
        assert float(means[tag]) == pytest.approx(value, rel=1e-5, abs=2e-5), tag


@pytest.mark.parametrize("split", ["train", "eval"])
def test_google_tags(split):
    expected = {tag for tag in listed(f"tags_{split}.txt") if tag.startswith("SNR/")}
    assert set(tags(signal_names(4))) == expected


def test_names():
    assert signal_names(8) == (
        *("mix1_background", "mix1_foreground_1", "mix1_foreground_2"),
        *("mix1_foreground_3", "mix2_background", "mix2_foreground_1"),
        *("mix2_foreground_2", "mix2_foreground_3"),
    )
    assert signal_names(4, mixtures=1)[1:3] == ("foreground_1", "foreground_2")
    assert signal_names(1) == ("mix1_background",)
    for count in range(1, 20):
        assert len(set(signal_names(count))) == count
    assert len(tags(signal_names(8))) == 108


def test_signals_are_chosen_by_position_not_by_their_name():
    sources, estimates = noise(2, 2, 100), noise(2, 2, 100, seed=1)
    mixture = sources.sum(1)
    plain = scalars(sources, estimates, mixture)
    odd = by_tag(plain, ("signal", "a"))
    key = "SNR/snr_residual/separated_{}_mean_min2src_ref_nonzero"
    same = by_tag(plain, ("x", "y"))
    assert odd[key.format("a")] == same[key.format("y")]
    assert odd[key.format("a")] != odd[key.format("signal")]


def test_supervised_suffixes(batch):
    tally = scalars(batch["ref"], batch["est"], batch["mix"][:, 0], suffixes=SUPERVISED)
    names = signal_names(4, mixtures=1)
    counts = dict(zip(tags(names, SUPERVISED), tally.counts.numpy(), strict=True))
    key = "SNR/snr_residual/mixture_signals_mean"
    suffixed = [counts[key + suffix] for suffix in SUPERVISED]
    assert suffixed == [12, 6, 1, 5]


def test_mean_is_pooled_over_the_set_and_fillers_do_not_count():
    sources, estimates = noise(5, 3, 200), noise(5, 4, 200, seed=1)
    sources[1, 1:] = 0.0
    sources[3] = 0.0
    mixture = sources.sum(1)
    names = signal_names(4)
    whole = by_tag(scalars(sources, estimates, mixture), names)
    metric = Summaries(names)
    metric.update_state(sources[:2], estimates[:2], mixture[:2])
    wild = np.concatenate([sources[2:], 1e18 * noise(1, 3, 200)])
    filled = np.concatenate([estimates[2:], np.full((1, 4, 200), np.nan, np.float32)])
    weight = tf.constant([1.0, 1.0, 1.0, 0.0])
    metric.update_state(wild[:3], filled[:3], wild[:3].sum(1), weight[:3])
    for tag, value in metric.result().items():
        assert float(value) == pytest.approx(whole[tag], abs=1e-4), tag
    before = [v.numpy() for v in metric.variables]
    metric.update_state(wild[2:], wild[2:, [0, 1, 2, 0]], wild[2:, 0], weight[2:] * 0)
    for old, new in zip(before, metric.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    metric.reset_state()
    assert all(float(value) == 0.0 for value in metric.result().values())


def test_metric_in_graphs_replicas_and_checkpoints(tmp_path):
    names = signal_names(4)
    sources, estimates = noise(4, 4, 300), noise(4, 4, 300, seed=1)
    mixture = sources.sum(1)
    plain = by_tag(scalars(sources, estimates, mixture), names)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        metric = Summaries(names)
    rows = tf.data.Dataset.from_tensor_slices((sources, estimates, mixture)).batch(4)

    @tf.function
    def step(signals):
        strategy.run(metric.update_state, args=signals)

    for signals in strategy.experimental_distribute_dataset(rows):
        step(signals)
    for tag, value in metric.result().items():
        assert float(value) == pytest.approx(plain[tag], abs=1e-4), tag
    path = tf.train.Checkpoint(metric=metric).save(str(tmp_path / "metric"))
    other = Summaries(names)
    restored = tf.train.Checkpoint(metric=other).restore(path)
    restored.assert_existing_objects_matched()
    for tag, value in other.result().items():
        assert float(value) == float(metric.result()[tag])


def test_metric_is_given_a_name_for_each_output():
    metric = Summaries(signal_names(4))
    with pytest.raises(ValueError, match="there are 2 estimates and 4 names"):
        metric.update_state(tf.ones([1, 2, 9]), tf.ones([1, 2, 9]), tf.ones([1, 9]))


def test_unknown_suffix():
    with pytest.raises(ValueError, match="unknown suffix '_none'; expected one of"):
        scalars(*(tf.ones([1, 2, 9]),) * 2, tf.ones([1, 9]), suffixes=["_none"])


def test_references_stand_at_their_names():
    sources = noise(2, 2, 3, 10)
    placed = arrange(tf.constant(sources), signal_names(8)).numpy()
    np.testing.assert_array_equal(placed[:, :3], sources[:, 0])
    np.testing.assert_array_equal(placed[:, 4:7], sources[:, 1])
    assert not placed[:, [3, 7]].any()
    assert arrange(tf.constant(sources), signal_names(5)) is None
    assert arrange(tf.constant(sources[:, :, :2]), signal_names(5)).shape == (2, 5, 10)


def test_google_images(batch):
    with np.load(GOLDEN / "spectrogram_images.npz") as file:
        golden = dict(file)
    waves = sounds(
        batch["mix"][:, 0], batch["ref"], batch["est"], signal_names(4, mixtures=1)
    )
    drawn = images(waves, 16000, window_seconds=0.0025, hop_seconds=0.00125)
    golden["mixture_1"] = golden.pop("mixture")
    for tag, image in golden.items():
        np.testing.assert_allclose(drawn[tag], image, atol=1e-5)
    usual = images({"mixture": batch["mix"][:, 0]}, 16000)["mixture_1"]
    assert usual.shape == (3, 257, 5, 1)


def test_google_tags_of_sounds_and_images_in_tensorboard(batch, tmp_path):
    network = keras.Sequential([keras.layers.Dense(1, input_shape=(1,))])
    network.compile(keras.optimizers.Adam(jit_compile=False), "mse")
    signals = (batch["mix"][:, 0], batch["ref"], batch["est"][:, ::-1])
    names = signal_names(4)
    writer = Sounds(
        tmp_path,
        lambda: sounds(*(tf.constant(each) for each in signals), names),
        16000,
        start_step=2,
        images=lambda waves: images(waves, 16000),
    )
    network.fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0, callbacks=[writer])
    actual = events(tmp_path / "events" / "validation")
    expected = [tag for tag in listed("tags_train.txt") if tag[-2] == "/"]
    assert len(expected) == 54
    assert actual == {(tag, 3) for tag in expected}


def test_sounding_estimates_are_aligned(batch):
    names = signal_names(4, mixtures=1)
    signals = batch["mix"][:, 0], batch["ref"], batch["est"]
    straight = sounds(*signals, names)
    turned = sounds(*signals[:2], batch["est"][:, ::-1], names)
    assert straight.keys() == turned.keys()
    for index, name in enumerate(names):
        active = np.any(batch["ref"][:, index], axis=-1)
        first, second = (
            waves[f"separated_{name}_audio"] for waves in (straight, turned)
        )
        np.testing.assert_array_equal(first[active], second[active])
        source = straight[f"source_{name}_audio"]
        np.testing.assert_array_equal(source, batch["ref"][:, index])


def written(folder, sources, **options):
    """Tags and steps that five steps of a network of two outputs write."""
    network = keras.Sequential([keras.layers.Dense(1, input_shape=(1,))])
    network.compile(keras.optimizers.Adam(jit_compile=False), "mse")
    network.network = lambda mixture: tf.stack([0.75 * mixture, 0.25 * mixture], 1)
    writer = TrainingSounds(
        folder, lambda step: tf.constant(sources), signal_names(2), 8000, **options
    )
    data = np.ones((5, 1)), np.ones((5, 1))
    network.fit(*data, batch_size=1, verbose=0, callbacks=[writer])
    return events(folder / "events" / "train")


def test_training_examples_are_shown(tmp_path):
    sources = noise(2, 2, 1, 400)
    actual = written(tmp_path / "a", sources, every=2, start_step=1)
    assert {step for _, step in actual} == {2, 4, 6}
    shown = {tag for tag, step in actual if step == 4}
    assert {"mixture/audio/1", "source_mix2_background_spectrogram/image/0"} <= shown
    assert len(shown) == 2 * 2 * 5
    more = written(tmp_path / "b", noise(2, 2, 3, 400), every=5, start_step=0)
    tagged = {tag for tag, _ in more}
    assert not any(tag.startswith("source") for tag in tagged)
    assert "separated_mix2_background_audio/audio/0" in tagged
