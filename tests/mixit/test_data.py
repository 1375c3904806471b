"""Which recordings become which examples, with labels and without."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from common import records, training
from common.config import ConfigError
from common.corpora import fuss
from common.corpora.augmentation import Augment
from common.corpora.track import CorpusError
from common.synthetic import miniature
from mixit import data, evaluate
from mixit.train import build


@pytest.fixture
def index(config, corpus):
    return data.load_records(config, data.root(config), "train")


def test_a_tilde_in_the_folder_of_records_is_the_home(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = replace(config, records="~/records")
    index = data.load_records(config, data.root(config), "train")
    assert index.folder.is_relative_to(tmp_path / "records")
    assert not (tmp_path / "~").exists()


def draw_sources(example, count):
    """Sources of the first examples and whether they have labels."""
    drawn = [example(tf.constant(i, tf.int64)) for i in range(count)]
    return (
        np.stack([each["sources"] for each in drawn]),
        np.array([bool(each["labelled"]) for each in drawn]),
    )


def test_without_labels_partners_come_from_the_whole_set(config, index):
    sources, labelled = draw_sources(
        data.training_example(config, *data.pools(config, index)), 4
    )
    assert sources.shape == (4, 2, 2, 4000)
    assert not labelled.any()
    assert np.square(sources).sum((2, 3)).min() > 0
    both = data.pools(config, index)
    assert both[1] is None
    assert sorted(both[0].tracks) == list(range(8))


def test_every_recording_is_drawn_once_an_epoch_from_another_start(config, index):
    whole = replace(config, segment_seconds=1.0)
    pools = data.pools(config, index)
    sources, _ = draw_sources(data.training_example(whole, *pools), 8)
    first, second = (np.unique(each, axis=0) for each in sources.reshape(2, 8, -1))
    assert len(first) == 8
    np.testing.assert_array_equal(first, second)
    halves, _ = draw_sources(data.training_example(config, *pools), 8)
    assert len(np.unique(halves.reshape(16, -1), axis=0)) == 16


def test_the_noise_of_a_corpus_of_speech_is_a_source(tmp_path):
    root = miniature.write_wham(tmp_path / "wham", train=1, validation=1, test=1)
    (track,) = data.tracks(root, "train", 8000, "wham")
    assert {*track.sources} == {"s1", "s2", "noise"}


def test_labelled_examples_are_not_mixed_with_others(config, index):
    config = replace(config, labelled=1.0)
    example = data.training_example(config, *data.pools(config, index))
    sources, labelled = draw_sources(example, 4)
    assert labelled.all()
    assert np.square(sources[:, 0]).sum((1, 2)).min() > 0
    assert not sources[:, 1].any()


def test_a_labelled_share_is_separate_from_the_rest(config, index):
    config = replace(config, labelled=0.25)
    without, with_labels = data.pools(config, index)
    assert len(with_labels.tracks) == 2
    assert sorted([*without.tracks, *with_labels.tracks]) == list(range(8))
    example = data.training_example(config, without, with_labels)
    sources, labelled = draw_sources(tf.function(example), 60)
    assert 5 <= labelled.sum() <= 27
    assert not sources[labelled, 1].any()
    assert np.square(sources[~labelled, 1]).sum((1, 2)).min() > 0
    again, _ = draw_sources(tf.function(example), 60)
    np.testing.assert_array_equal(sources, again)


def test_labels_from_another_corpus(config, index, corpus):
    config = replace(config, labelled=0.5, labelled_root=str(corpus))
    other = data.labelled_records(config)
    without, with_labels = data.pools(config, index, other)
    assert len(without.tracks) == len(with_labels.tracks) == 8
    assert with_labels.index.folder != without.index.folder
    alone = data.pools(replace(config, labelled=1.0), index, other)
    assert alone[0] is None
    assert alone[1].index is other


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        (-0.1, "labelled=-0.1: expected a share from 0 to 1"),
        (1.5, "labelled=1.5: expected a share from 0 to 1"),
        (0.01, "of 8 recordings leaves none with or none without labels"),
    ],
)
def test_shares_that_cannot_be(config, index, share, sentence):
    with pytest.raises(ConfigError, match=sentence):
        data.pools(replace(config, labelled=share), index)


@pytest.mark.parametrize(("used", "counted"), [(0, 3), (2, 2), (1, 1)])
def test_the_validation_counts_every_mixture_once(config, used, counted):
    valid = data.load_records(config, data.root(config), "validation")
    config = replace(config, validation_examples=used)
    example = data.validation_example(config, valid)
    count = data.validation_count(config, valid)
    actual = [example(tf.constant(i, tf.int64)) for i in range(count)]
    marks = np.concatenate([each["counted"] for each in actual])
    assert marks.sum() == counted
    counted_sources = np.concatenate([each["sources"] for each in actual])[marks == 1]
    assert len(np.unique(counted_sources.reshape(counted, -1), axis=0)) == counted


def of_files(config, folder, wave, rate, subtype):
    """The configuration with a corpus of two recordings of one source."""
    folder.mkdir()
    for name in ("a", "b"):
        soundfile.write(folder / f"{name}.wav", wave, rate, subtype=subtype)
        soundfile.write(folder / f"{name}_mix.wav", wave, rate, subtype=subtype)
    lines = [f"{name}_mix.wav\t{name}.wav" for name in ("a", "b")]
    (folder / "train_example_list.txt").write_text("\n".join(lines) + "\n")
    return replace(config, data_root=str(folder), records=str(folder / "records"))


def square_wave():
    """Half a second of 44.1 kHz, which exceeds full scale once it is resampled."""
    return 0.99 * np.sign(np.sin(np.arange(22050) * 0.06) + 1e-9)


def test_loud_sound_is_resampled(config, tmp_path):
    config = of_files(config, tmp_path / "c", square_wave(), 44100, "PCM_16")
    config = replace(config, resample=True)
    index = data.load_records(config, data.root(config), "train")
    assert index.encoding == "float32"
    assert index.folder.name == "train-float32"
    example = data.training_example(config, *data.pools(config, index))
    sources, _ = draw_sources(example, 1)
    assert 1 < np.abs(sources).max() < 1.5


@pytest.mark.parametrize("encoding", ["pcm16", "flac"])
def test_sound_beyond_full_scale_names_the_key(config, tmp_path, encoding):
    config = of_files(config, tmp_path / "c", square_wave(), 44100, "PCM_16")
    config = replace(config, resample=True, records_encoding=encoding)
    with pytest.raises(ValueError, match="set records_encoding=float32"):
        data.load_records(config, data.root(config), "train")


def test_24_bits_are_kept(config, tmp_path):
    wave = np.random.default_rng(0).uniform(-1, 1, 4000)
    config = of_files(config, tmp_path / "c", wave, 8000, "PCM_24")
    index = data.load_records(config, data.root(config), "train")
    expected, _ = soundfile.read(tmp_path / "c" / "a.wav", dtype="float32")
    read = records.excerpt(index, 0, 0, 4000)["sources"][0, 0]
    np.testing.assert_array_equal(read, expected)


def test_the_first_channel_of_a_list_is_trained_on_and_evaluated(config, tmp_path):
    wave = np.random.default_rng(0).uniform(-1, 1, (4000, 2))
    config = of_files(config, tmp_path / "c", wave, 8000, "PCM_16")
    expected, _ = soundfile.read(tmp_path / "c" / "a.wav", dtype="float32")
    index = data.load_records(config, data.root(config), "train")
    assert index.encoding == "pcm16"
    read = records.excerpt(index, 0, 0, 4000)["sources"][0, 0]
    np.testing.assert_array_equal(read, expected[:, 0])
    track, _ = data.tracks(data.root(config), "train", 8000)
    np.testing.assert_array_equal(evaluate.read_sources(track, 8000)[0], expected[:, 0])
    track, _ = fuss.tracks(config.data_root, "train")
    mean = evaluate.read_sources(track, 8000)[0]
    np.testing.assert_allclose(mean, expected.mean(axis=1), atol=1e-7)


def test_flac_is_as_exact_as_16_bits_and_separate_from_it(config, index):
    small = data.load_records(
        replace(config, records_encoding="flac"), data.root(config), "train"
    )
    assert small.encoding == "flac"
    assert small.folder == index.folder.with_name("train-flac")
    for track in range(len(index)):
        one, other = (records.excerpt(each, track, 0, 8000) for each in (index, small))
        np.testing.assert_array_equal(one["sources"], other["sources"])


def test_16_bit_records_of_earlier_releases_are_used(config, tmp_path):
    config = replace(config, records=str(tmp_path / "records"))
    tracks = fuss.tracks(config.data_root, "train")
    folder = tmp_path / "records" / "train"
    earlier = records.write(
        tracks, folder, encoding="pcm16", sample_rate=8000, channels=1
    )
    before = (folder / "index.json").stat().st_mtime_ns
    actual = data.load_records(config, data.root(config), "train")
    assert (actual.folder, actual.digest) == (folder, earlier.digest)
    assert (folder / "index.json").stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """Records of Google's room simulator: 4 + 3 + 3 examples of two sources, 1 s."""
    folder = tmp_path_factory.mktemp("rooms")
    for seed, (split, count) in enumerate(
        [("train", 4), ("validation", 3), ("eval", 3)]
    ):
        draw = np.random.default_rng(seed)
        with tf.io.TFRecordWriter(str(folder / f"{split}.tfrecord")) as writer:
            for _ in range(count):
                images = 0.1 * draw.normal(size=(2, 8000)).astype(np.float32)
                example = tf.train.Example()
                features = example.features.feature
                mixture = images.sum(axis=0)
                features["receiver_audio"].float_list.value.extend(mixture)
                features["source_images"].float_list.value.extend(images.ravel())
                writer.write(example.SerializeToString())
    return folder


@pytest.mark.one_lane
def test_roomsim_records_are_trained_on_and_evaluated(config, rooms, tmp_path, capsys):
    schedule = replace(config.train, epochs=1, steps_per_epoch=2)
    config = replace(
        config,
        data_root=str(rooms),
        records=str(tmp_path / "records"),
        train=schedule,
    )
    model = training.train(config, build)
    assert model.optimizer.iterations == 2
    printed = capsys.readouterr().out
    assert "roomsim: 4 examples of train, 1 s with up to 2 sources" in printed
    index = data.load_records(config, data.root(config), "train")
    assert index.encoding == "float32"
    for position, track in enumerate(data.tracks(rooms, "train", 8000)):
        expected = np.stack(list(track.sources.values()))
        written = records.excerpt(index, position, 0, 8000)["sources"]
        np.testing.assert_array_equal(written, expected)
    assert evaluate.main(["--model", config.output]) == 0
    assert "eval split of" in capsys.readouterr().out
    scores = tmp_path / "run" / "evaluation" / "scores.csv"
    assert len(scores.read_text(encoding="utf-8").splitlines()) == 4


def test_tfrecords_without_a_split_are_reported_in_one_sentence(
    config, rooms, tmp_path
):
    (tmp_path / "a.tfrecord").write_bytes((rooms / "train.tfrecord").read_bytes())
    config = replace(config, data_root=str(tmp_path), records=None)
    with pytest.raises(CorpusError, match=r"no .* file of the split 'train'"):
        data.load_records(config, data.root(config), "train")


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_chain_of_augmentations_keeps_lengths_and_labels(config, index, share):
    plain = replace(config, labelled=share)
    chain = Augment((0.9, 1.1), (-6.0, 3.0), polarity=True)
    changed = replace(plain, augment=chain)
    drawn = data.pools(plain, index)
    sources, labelled = draw_sources(data.training_example(plain, *drawn), 6)
    ours, ours_labelled = draw_sources(data.training_example(changed, *drawn), 6)
    again, _ = draw_sources(tf.function(data.training_example(changed, *drawn)), 6)
    assert ours.shape == sources.shape
    np.testing.assert_array_equal(ours_labelled, labelled)
    np.testing.assert_allclose(ours, again, atol=1e-5)
    assert np.abs(ours - sources).max() > 0.01
    assert not ours[labelled, 1].any()
    with pytest.raises(ConfigError, match="remix takes sources of other"):
        data.training_example(replace(plain, augment=Augment(remix=True)), *drawn)
