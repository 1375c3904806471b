"""Excerpts of every corpus: the samples state the sound and position they are from.

Every sound is a ramp: each sample encodes its sound and its position in it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from common import experiment
from common.config import ConfigError, override
from common.corpora import musdb
from common.corpora.augmentation import Augment
from common.corpora.track import CorpusError
from common.training import distribution
from unmix import corpus, data
from unmix.config import Network, UnmixConfig

RATE, SECONDS, LENGTH = 800, 0.1, 80
SOURCES = musdb.SOURCES
CONFIG = UnmixConfig(
    model=Network(sample_rate=RATE, window_samples=16, hop_samples=8),
    target=SOURCES,
    segment_seconds=SECONDS,
    batch_size=4,
    samples_per_track=8,
    source_augmentations=(),
)


def ramp(path: Path, code: int, samples: int = 200) -> None:
    """A sound whose sample t is code + t / 1024 on the left, the negative right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = code + np.arange(samples) / 1024
    soundfile.write(path, np.stack([wave, -wave], 1), RATE, subtype="FLOAT")


def origin(wave: np.ndarray) -> tuple[int, int]:
    """Code of the sound, and position at which the excerpt starts."""
    code = int(np.floor(wave[0, 0]))
    start = round((float(wave[0, 0]) - code) * 1024)
    expected = code + (start + np.arange(wave.shape[1])) / 1024
    np.testing.assert_allclose(wave, [expected, -expected], atol=1e-4)
    return code, start


def songs(root: Path, tracks: int = 3, samples: int = 200) -> UnmixConfig:
    """MUSDB18 of ramps with code 10 * track + source; mixtures have code 10 t + 9."""
    for number, name in enumerate([*"ABCDEFG"[:tracks], musdb.VALIDATION[0]]):
        for source, each in enumerate((*SOURCES, "mixture")):
            code = 10 * number + (9 if each == "mixture" else source)
            ramp(root / "train" / name / f"{each}.wav", code, samples)
    return replace(CONFIG, data_root=str(root))


def examples(config: UnmixConfig, count: int, first: int = 0):
    train = data.load(config).train
    example = tf.function(data.training_example(config, train), autograph=False)
    for position in range(first, first + count):
        got = example(tf.constant(position, tf.int64))
        yield {key: value.numpy() for key, value in got.items()}


def test_musdb_draws_every_source_from_a_track_of_its_own(tmp_path):
    config = songs(tmp_path)
    tracks, starts, apart = set(), [], 0
    for got in examples(config, 60):
        assert got["mixture"].shape == (2, LENGTH)
        assert got["sources"].shape == (4, 2, LENGTH)
        np.testing.assert_allclose(got["mixture"], got["sources"].sum(0), atol=1e-4)
        codes = [origin(wave) for wave in got["sources"]]
        assert [code % 10 for code, _ in codes] == [0, 1, 2, 3]
        tracks |= {(code % 10, code // 10) for code, _ in codes}
        starts += [start for _, start in codes]
        apart += len({code // 10 for code, _ in codes}) > 1
    assert tracks == {(source, track) for source in range(4) for track in range(3)}
    assert min(starts) >= 0
    assert max(starts) <= 200 - LENGTH
    assert max(starts) - min(starts) > 100
    assert apart > 45


def test_an_example_is_a_function_of_seed_and_position(tmp_path):
    config = songs(tmp_path)
    first = list(examples(config, 4, first=2))
    again = list(examples(config, 2, first=4))
    other = next(
        examples(replace(config, train=replace(config.train, seed=7)), 1, first=4)
    )
    np.testing.assert_array_equal(first[2]["sources"], again[0]["sources"])
    assert not np.array_equal(first[0]["sources"], first[1]["sources"])
    assert not np.array_equal(other["sources"], again[0]["sources"])


def test_gain_and_channelswap_are_drawn_for_each_source(tmp_path):
    config = songs(tmp_path)
    changed = replace(config, source_augmentations=("gain", "channelswap"))
    gains, swaps = [], []
    for plain, got in zip(examples(config, 40), examples(changed, 40), strict=True):
        np.testing.assert_allclose(
            got["mixture"], got["sources"].sum(0), rtol=1e-5, atol=1e-4
        )
        for before, after in zip(plain["sources"], got["sources"], strict=True):
            gain = after[0, -1] / before[0, -1]
            np.testing.assert_allclose(after, gain * before, rtol=1e-4, atol=1e-5)
            gains.append(abs(gain))
            swaps.append(gain < 0)
    assert 0.25 <= min(gains) < 0.3
    assert 1.2 < max(gains) <= 1.25
    assert abs(np.mean(gains) - 0.75) < 0.08
    assert 0.35 < np.mean(swaps) < 0.65


def test_musdb_without_mixing_takes_even_excerpts_of_whole_tracks(tmp_path):
    config = replace(songs(tmp_path), random_track_mix=False)
    seen = []
    for got in examples(config, 3 * 8):
        origins = [origin(wave) for wave in got["sources"]]
        assert len({(code // 10, start) for code, start in origins}) == 1
        seen.append((origins[0][0] // 10, origins[0][1]))
    even = [int(offset * 121 / 7) for offset in range(7)] + [120]
    assert sorted(seen) == [(track, start) for track in range(3) for start in even]


def test_accompaniment_is_all_but_the_vocals(tmp_path):
    config = replace(songs(tmp_path), target=("accompaniment", "vocals"))
    for got in examples(config, 3):
        np.testing.assert_allclose(got["sources"].sum(0), got["mixture"], atol=1e-4)
        assert origin(got["sources"][1])[0] % 10 == 0
    valid = data.load(config).valid
    got = data.validation_example(config, valid)(tf.constant(0, tf.int64))
    # Codes 31, 32 and 33: the stems, not what the mixture's file leaves without vocals.
    assert int(got["sources"][0, 0, 0]) == 96


def test_tracks_are_cut_to_their_shortest_file_where_that_is_allowed(tmp_path):
    config = songs(tmp_path, samples=48_000)
    ramp(tmp_path / "train" / "A" / "drums.wav", 1, 8000)
    with pytest.raises(CorpusError, match="allow_cut=true cuts it"):
        corpus.tracks(config, corpus.root(config), "train")
    allowed = replace(config, allow_cut=True)
    actual = corpus.tracks(allowed, corpus.root(allowed), "train")
    assert min(track.samples for track in actual) == 8000


def test_validation_is_whole_tracks_with_their_mixtures(tmp_path):
    config = replace(songs(tmp_path), target=("bass", "vocals"))
    valid = data.load(config).valid
    assert data.validation_count(config, valid) == 1
    got = data.validation_example(config, valid)(tf.constant(0, tf.int64))
    assert got["mixture"].shape == (2, 200)
    assert origin(got["mixture"].numpy()) == (39, 0)
    assert [origin(wave.numpy()) for wave in got["sources"]] == [(32, 0), (30, 0)]


def test_each_split_has_records_of_its_own(tmp_path):
    for split, name in (("train", "A"), ("valid", "B"), ("valid", "C")):
        wave = np.full([400, 2], 0.5 if split == "train" else 0.25)
        for each in ("x", "y"):
            file = tmp_path / split / name / f"{each}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, wave, RATE)
    config = replace(
        CONFIG,
        dataset="trackfolder_fix",
        data_root=str(tmp_path),
        target_file="x.wav",
        interferer_files=("y.wav",),
        records=str(tmp_path / "records"),
    )
    for _ in range(2):
        train, valid = data.load(config)
        assert (train.rows, valid.rows) == (1, 2)
        got = data.training_example(config, train)(tf.constant(0, tf.int64))
        np.testing.assert_allclose(got["sources"], 0.5, atol=1e-4)
        got = data.validation_example(config, valid)(tf.constant(1, tf.int64))
        np.testing.assert_allclose(got["sources"], 0.25, atol=1e-4)
    indices = (tmp_path / "records").glob("*/index.json")
    assert {path.parent.name for path in indices} == {"train", "valid"}
    train, valid = data.load(replace(config, records_encoding="flac"))
    assert train.sounds.records.encoding == valid.sounds.records.encoding == "flac"


def test_batches_go_through_the_strategy(tmp_path):
    config = songs(tmp_path)
    train, valid = data.load(config)
    strategy = tf.distribute.get_strategy()
    example = data.training_example(config, train)
    batch = next(iter(distribution.training_batches(strategy, example, 4, 2)))
    assert batch["mixture"].shape == (4, 2, LENGTH)
    alone = example(tf.constant(9, tf.int64))
    np.testing.assert_array_equal(batch["sources"][1], alone["sources"])
    batches, steps = distribution.validation_batches(
        strategy, data.validation_example(config, valid), 1, 1
    )
    assert steps == 1
    assert [each["mixture"].shape for each in batches] == [(1, 2, 200)]


def test_epochs_have_the_configured_steps(tmp_path):
    train = data.load(songs(tmp_path)).train
    assert data.epoch_steps(CONFIG, train) == 3 * 8 // 4
    assert data.epoch_steps(CONFIG, train, replicas=2) == 3
    published = replace(CONFIG, samples_per_track=64, batch_size=16)
    assert data.epoch_steps(published, train) == 12
    pooled = replace(published, dataset="sourcefolder", nb_train_samples=1000)
    assert data.epoch_steps(pooled, train) == 63
    assert data.epoch_steps(replace(CONFIG, dataset="trackfolder_fix"), train) == 1


@pytest.fixture
def folders(tmp_path):
    """Track folders of x (code 10 t), y (10 t + 1) and z (10 t + 2)."""
    for split in ("train", "valid"):
        for track in range(4):
            for source, name in enumerate("xyz"):
                file = tmp_path / split / f"{track}/{name}.wav"
                ramp(file, 10 * track + source, 200 + 10 * track + source)
    return replace(CONFIG, data_root=str(tmp_path), target_file="x.wav")


def test_aligned_keeps_input_and_output_together(folders):
    config = replace(
        folders,
        dataset="aligned",
        input_file="y.wav",
        output_file="z.wav",
        source_augmentations=("gain", "channelswap"),
    )
    seen = []
    for got in examples(config, 4):
        (code, start), (target, offset) = (
            origin(wave) for wave in (got["mixture"], *got["sources"])
        )
        assert (target, offset) == (code + 1, start)
        seen.append(code)
    assert sorted(seen) == [1, 11, 21, 31]
    valid = data.load(config).valid
    assert (valid.targets, data.validation_count(config, valid)) == (("z",), 4)
    got = data.validation_example(config, valid)(tf.constant(1, tf.int64))
    assert origin(got["mixture"].numpy()) == (11, 0)
    assert got["mixture"].shape == (2, LENGTH)


@pytest.mark.parametrize("mixed", [False, True])
def test_fixed_folders_take_every_target_once(folders, mixed):
    config = replace(
        folders,
        dataset="trackfolder_fix",
        interferer_files=("y.wav", "z.wav"),
        random_track_mix=mixed,
    )
    targets, together = [], 0
    for got in examples(config, 12):
        code, _ = origin(got["sources"][0])
        rest = float(got["mixture"][0, 0] - got["sources"][0, 0, 0])
        targets.append(code)
        together += 2 * code + 3 <= rest < 2 * code + 3.5
    assert [sorted(targets[i : i + 4]) for i in (0, 4, 8)] == [[0, 10, 20, 30]] * 3
    assert together == 12 if not mixed else together < 6
    valid = data.load(config).valid
    got = data.validation_example(config, valid)(tf.constant(2, tf.int64))
    assert got["mixture"].shape == (2, 220)
    assert int(got["mixture"][0, 0]) == 63


@pytest.mark.parametrize("mixed", [False, True])
def test_variable_folders_take_what_there_is(folders, mixed):
    Path(folders.data_root, "train/0/x.wav").unlink()
    Path(folders.data_root, "train/3/z.wav").unlink()
    config = replace(
        folders,
        dataset="trackfolder_var",
        silence_missing=True,
        random_track_mix=mixed,
    )
    rests = {0: 3, 1: 23, 2: 43, 3: 31}  # y + z of each track, y alone of the last
    seen, own = [], 0
    for got in examples(config, 16):
        target = got["sources"][0]
        code = origin(target)[0] if target.any() else 0
        rest = int(np.floor(got["mixture"][0, 0] - target[0, 0] + 1e-4))
        assert rest in rests.values()
        seen.append(code)
        own += rest == rests[code // 10]
    assert sorted(seen) == [0] * 4 + [10] * 4 + [20] * 4 + [30] * 4
    assert own == 16 if not mixed else own < 12


@pytest.fixture
def pools(tmp_path):
    """Folders of sources: 9 rains and 1 wind (codes 0 to 9), 3 voices (20 to 22)."""
    for split in ("train", "valid"):
        for number in range(10):
            kind = "wind" if number == 9 else "rain"
            ramp(tmp_path / split / f"noise/{kind}/{number}.wav", number)
        for number in range(3):
            ramp(tmp_path / split / f"voice/{number}.wav", 20 + number)
    return replace(
        CONFIG,
        data_root=str(tmp_path),
        dataset="sourcefolder",
        target_dir="voice",
        interferer_dirs=("noise",),
        nb_valid_samples=5,
    )


@pytest.mark.parametrize(
    ("balanced", "least", "most"), [(False, 0, 12), (True, 18, 42)]
)
def test_source_folders_draw_sounds_or_classes(pools, balanced, least, most):
    config = replace(pools, balanced=balanced)
    winds, voices, rains = 0, set(), set()
    for got in examples(config, 60):
        code, _ = origin(got["sources"][0])
        noise, _ = origin(got["mixture"] - got["sources"][0])
        voices.add(code)
        winds += noise == 9
        rains.add(noise)
    assert voices == {20, 21, 22}
    assert least <= winds <= most
    assert len(rains) >= 8


def test_validation_of_source_folders_is_fixed(pools):
    valid = data.load(pools).valid
    example = data.validation_example(pools, valid)
    assert data.validation_count(pools, valid) == 5
    once = [example(tf.constant(i, tf.int64))["mixture"].numpy() for i in range(5)]
    again = [example(tf.constant(i, tf.int64))["mixture"].numpy() for i in range(5)]
    np.testing.assert_array_equal(once, again)
    assert once[0].shape == (2, LENGTH)
    assert len({float(each[0, 0]) for each in once}) == 5
    # The folders hold the same sounds here, so that only the draws can differ.
    for trained, each in zip(examples(pools, 5), once, strict=True):
        assert not np.array_equal(trained["mixture"], each)


@pytest.mark.parametrize(
    ("samples", "seconds", "expected"),
    [(69, 2.0, 20), (69, 6.0, 0), (90, 6.0, 10), (20, 1.9, 1), (69, 0.0, 0)],
)
def test_statistics_of_source_folders_start_at_whole_seconds_near_the_middle(
    pools, tmp_path, samples, seconds, expected
):
    for file in tmp_path.rglob("*.wav"):
        wave = np.stack([np.arange(samples) / 1024] * 2, axis=1)
        soundfile.write(file, wave, 10, subtype="FLOAT")
    model = replace(pools.model, sample_rate=10)
    config = replace(pools, model=model, segment_seconds=seconds)
    train = data.load(config).train
    example, count = data.whole_mixtures(config, train)
    assert count == pools.nb_train_samples
    got = example(tf.constant(3, tf.int64))
    start, *_ = 1024 * got["sources"][0, 0].numpy()
    assert round(float(start)) == expected


def test_channels_of_source_folders_are_forced_to_stereo(tmp_path):
    for split in ("train", "valid"):
        for source, channels in (("voice", 3), ("noise", 1)):
            path = tmp_path / split / source / "a.wav"
            path.parent.mkdir(parents=True)
            wave = np.full([200, channels], 0.5) * np.arange(1, channels + 1) / 4
            soundfile.write(path, wave, RATE, subtype="FLOAT")
    words = ["dataset=sourcefolder", "target_dir=voice", "interferer_dirs=noise"]
    flag = ["--source-augmentations", "gain", "force_stereo"]
    request = experiment.parse(
        experiment.Vocabulary("unmix.train", {"own": CONFIG}, "own"),
        [*words, f"data_root={tmp_path}", *flag],
    )
    config = override(CONFIG, request.updates)
    (got,) = examples(config, 1)
    left, right = got["sources"][0]
    np.testing.assert_allclose(right, 2 * left)
    one, other = got["mixture"] - got["sources"][0]
    np.testing.assert_array_equal(one, other)
    assert left.any()
    assert one.any()
    valid = data.load(config).valid
    got = data.validation_example(config, valid)(tf.constant(0, tf.int64))
    np.testing.assert_allclose(got["sources"][0, 0], 0.125)


@pytest.mark.parametrize(
    "names", [{"target_dir": "voice"}, {"target": ("voice",)}], ids=["now", "2019"]
)
def test_unaligned_is_source_folders_without_splits(tmp_path, names):
    for number in range(10):
        ramp(tmp_path / f"noise/{number}.wav", number)
        ramp(tmp_path / f"voice/{number}.wav", 20 + number)
    config = replace(
        CONFIG,
        data_root=str(tmp_path),
        dataset="unaligned",
        **names,
        interferer_dirs=("noise",),
    )
    train, valid = data.load(config)
    assert (train.rows, valid.rows, train.targets) == (9, 1, ("voice",))
    voices = {origin(got["sources"][0])[0] for got in examples(config, 40)}
    got = data.validation_example(config, valid)(tf.constant(0, tf.int64))
    assert origin(got["sources"][0].numpy())[0] not in voices


def test_whole_tracks_are_trained_on_one_by_one(folders):
    config = replace(
        folders,
        dataset="trackfolder_fix",
        interferer_files=("y.wav",),
        random_track_mix=False,
        segment_seconds=0.0,
    )
    train = data.load(config).train
    with pytest.raises(
        ConfigError, match=r"segment_seconds=0 takes whole tracks.*batch_size=1"
    ):
        data.training_example(config, train)
    lengths = {
        got["mixture"].shape[1] for got in examples(replace(config, batch_size=1), 4)
    }
    assert lengths == {200, 210, 220, 230}


@pytest.mark.parametrize("seconds", [SECONDS, 0])
def test_the_chain_of_augmentations_keeps_lengths_and_sums(tmp_path, seconds):
    fixed = {"speed": (0.9, 1.1), "remix": True} if seconds else {}
    chain = Augment(gain_db=(-6.0, 3.0), polarity=True, swap=True, **fixed)
    plain = replace(songs(tmp_path), segment_seconds=seconds, batch_size=1)
    config = replace(plain, augment=chain)
    split = data.load(config).train
    changed, again = (data.training_example(config, split) for _ in range(2))
    for number in range(3):
        at = tf.constant(number, tf.int64)
        one, other = changed(at), again(at)
        before = data.training_example(plain, split)(at)
        assert one["sources"].shape == before["sources"].shape
        total = one["sources"].numpy().sum(0)
        np.testing.assert_allclose(one["mixture"], total, atol=1e-3)
        np.testing.assert_array_equal(one["sources"], other["sources"])
        assert np.abs(one["sources"] - before["sources"]).max() > 0.1
    whole = replace(config, segment_seconds=0, augment=Augment(speed=(0.9, 1.1)))
    with pytest.raises(ConfigError, match="set a positive segment_seconds"):
        data.training_example(whole, split)


def test_an_excerpt_that_is_played_faster_needs_longer_songs(tmp_path):
    chain = Augment(speed=(1.0, 1.1))
    config = replace(songs(tmp_path, samples=LENGTH + 5), augment=chain)
    with pytest.raises(CorpusError, match="no track is left"):
        data.load(config)
    assert data.load(replace(config, augment=Augment())).train.rows == 3
