"""Reading records: bit-exact values, excerpts at every edge, damage, shuffling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common import records
from common.corpora.track import Track
from common.records.__main__ import main

RATE = 8000


def noise(channels, samples, seed):
    pcm = np.random.default_rng(seed).integers(-32768, 32768, (channels, samples))
    return (pcm / 32768).astype(np.float32)


def make_tracks(channels):
    """One track without "c", one with a stored mixture, one of a single sample."""
    table = [("one", 20, "ab"), ("zwei ü", 23, "cab"), ("三", 1, "c")]
    tracks = []
    for seed, (name, samples, sources) in enumerate(table):
        sounds = {
            key: noise(channels, samples, 10 * seed + ord(key)) for key in sources
        }
        tracks.append(Track(name, RATE, samples, sounds))
    silent = {**tracks[1].sources, "b": np.zeros((channels, 23), np.float32)}
    tracks[1] = Track("zwei ü", RATE, 23, silent, noise(channels, 23, 99))
    return tracks


def excerpts(index, positions, samples):
    """Read through a tf.data map, as training does."""
    table = tf.constant(positions, tf.int64)
    read = tf.data.Dataset.from_tensor_slices(table).map(
        lambda pair: records.excerpt(index, pair[0], pair[1], samples),
        num_parallel_calls=2,
    )
    shape = [len(index.sources), index.channels, samples]
    assert read.element_spec["sources"].shape == shape
    assert read.element_spec["mixture"].shape == shape[1:]
    assert read.element_spec["mixture"].dtype == tf.float32
    return list(read.as_numpy_iterator())


def cut_out(waveform, start, samples):
    return np.pad(waveform, [(0, 0), (64, 128)])[:, 64 + start :][:, :samples]


@pytest.mark.parametrize(
    ("encoding", "piece_samples", "channels", "samples"),
    [
        ("pcm16", None, 1, 20),
        ("pcm16", 7, 2, 1),
        ("pcm16", 7, 2, 7),
        ("pcm16", 7, 1, 30),
        ("pcm16", 1, 1, 5),
        ("float32", 7, 1, 10),
        ("float32", None, 2, 30),
        ("flac", 7, 2, 10),
        ("flac", None, 1, 30),
    ],
)
def test_excerpts_are_slices_at_every_edge(
    tmp_path, encoding, piece_samples, channels, samples
):
    tracks = make_tracks(channels)
    index = records.write(
        tracks, tmp_path, encoding=encoding, piece_samples=piece_samples, shards=2
    )
    assert index.sources == ("a", "b", "c")
    positions = [(t, start) for t in range(3) for start in range(-samples - 1, 25)]
    for (number, start), read in zip(
        positions, excerpts(index, positions, samples), strict=True
    ):
        track = tracks[number]
        silence = np.zeros((channels, track.samples), np.float32)
        sources = np.stack([track.sources.get(key, silence) for key in "abc"])
        mixture = sources.sum(0) if track.mixture is None else track.mixture
        expected = np.stack([cut_out(source, start, samples) for source in sources])
        np.testing.assert_array_equal(read["sources"], expected)
        np.testing.assert_array_equal(read["mixture"], cut_out(mixture, start, samples))


def test_nothing_but_float32_is_transposed_or_padded(tmp_path):
    """Because oneDNN prints an error where it gets strings or int16."""
    index = records.write(make_tracks(2), tmp_path)

    @tf.function
    def read(track):
        return records.excerpt(index, track, tf.constant(0, tf.int64), 100)

    graph = read.get_concrete_function(tf.TensorSpec([], tf.int64)).graph
    kinds = [
        op for op in graph.get_operations() if op.type in ("Transpose", "PadV2", "Pad")
    ]
    assert len(kinds) == 2
    assert all(op.outputs[0].dtype == tf.float32 for op in kinds)


def test_a_silent_stored_mixture_is_read_as_silence(tmp_path):
    sound, silence = noise(1, 9, 0), np.zeros((1, 9), np.float32)
    tracks = [Track("a", RATE, 9, {"x": sound}, silence)]
    index = records.write(tracks, tmp_path)
    (read,) = excerpts(index, [(0, 0)], 9)
    np.testing.assert_array_equal(read["sources"][0], sound)
    np.testing.assert_array_equal(read["mixture"], silence)


def test_sixteen_bits_keep_every_value_and_plus_one(tmp_path):
    ramp = (np.arange(-32768, 32769) / np.float32(32768)).astype(np.float32)[None]
    index = records.write([Track("ramp", RATE, 65537, {"x": ramp})], tmp_path)
    (read,) = excerpts(index, [(0, 0)], 65537)
    np.testing.assert_array_equal(read["mixture"][:, :-1], ramp[:, :-1])
    assert read["mixture"][0, -1] == np.float32(32767 / 32768)


def test_a_float_record_keeps_samples_beyond_full_scale(tmp_path):
    loud = np.array([[3.5, -2.25, 1e-20]], np.float32)
    index = records.write(
        [Track("a", RATE, 3, {"x": loud})], tmp_path, encoding="float32"
    )
    (read,) = excerpts(index, [(0, 0)], 3)
    np.testing.assert_array_equal(read["sources"][0], loud)


def test_the_index_lists_tracks_shards_and_sources(tmp_path):
    folder = tmp_path / "Klänge ñ 数"
    written = records.write(make_tracks(1), folder, piece_samples=7, shards=2)
    index = records.load_index(str(folder))
    assert index == written
    assert [entry.name for entry in index.tracks] == ["one", "zwei ü", "三"]
    assert [entry.samples for entry in index.tracks] == [20, 23, 1]
    assert [len(entry.offsets) for entry in index.tracks] == [3, 4, 1]
    assert [entry.mixture for entry in index.tracks] == [False, True, False]
    assert index.tracks[0].sources == ("a", "b")
    assert index.hours == pytest.approx(44 / RATE / 3600)
    text = (folder / "index.json").read_text("utf-8")
    assert "zwei ü" in text
    assert json.loads(text)["count"] == 3
    assert len(list(folder.iterdir())) == 3


def test_a_record_holds_its_track_and_format(tmp_path):
    index = records.write(make_tracks(2), tmp_path, piece_samples=7, shards=1)
    raw = list(tf.data.TFRecordDataset(str(tmp_path / index.shards[0].name)))
    assert len(raw) == 8
    example = tf.train.Example.FromString(raw[2].numpy()).features.feature
    numbers = {key: example[key].int64_list.value[:] for key in example}
    assert example["name"].bytes_list.value[:] == [b"one"]
    assert (numbers["piece"], numbers["start"], numbers["samples"]) == ([2], [14], [6])
    assert (numbers["channels"], numbers["sample_rate"]) == ([2], [RATE])
    assert example["source_names"].bytes_list.value[:] == [b"a", b"b", b"c"]
    assert [len(blob) for blob in example["sources"].bytes_list.value] == [24, 24, 0]
    assert "mixture" not in example


def test_a_folder_of_records_can_be_moved(tmp_path):
    records.write(make_tracks(1), tmp_path / "old")
    before = excerpts(records.load_index(tmp_path / "old"), [(1, 3)], 5)
    (tmp_path / "old").rename(tmp_path / "new")
    after = excerpts(records.load_index(tmp_path / "new"), [(1, 3)], 5)
    np.testing.assert_array_equal(before[0]["sources"], after[0]["sources"])


def flip(path: Path, byte: int) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("byte_in_record", [4, 60])
def test_a_flipped_byte_is_found_and_explained(tmp_path, byte_in_record, capsys):
    index = records.write(make_tracks(1), tmp_path, piece_samples=7, shards=2)
    assert records.verify(tmp_path) == index
    entry = index.tracks[1]
    path = tmp_path / index.shards[entry.shard].name
    flip(path, entry.offsets[2] + byte_in_record)
    sentence = f"{path} is damaged in the record of track 'zwei ü'"
    with pytest.raises(records.RecordsError, match="is damaged in the rec") as caught:
        records.verify(tmp_path)
    assert str(caught.value).startswith(sentence)
    with pytest.raises(tf.errors.DataLossError) as loss:
        excerpts(index, [(0, 0), (1, 8)], 10)
    assert records.explain(loss.value, index).startswith(sentence)
    assert excerpts(index, [(0, 0)], 20)
    assert main(["verify", str(tmp_path)]) == 1
    assert sentence in capsys.readouterr().err


def test_verify_reports_intact_folders(tmp_path, capsys):
    records.write(make_tracks(1), tmp_path, shards=3)
    assert main(["verify", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "3 tracks, 0.00 hours, 3 shards, all intact" in output
    assert f"{tmp_path}: 1 set of records verified" in output


def test_verify_reads_all_sets_of_a_folder(tmp_path, capsys):
    records.write(make_tracks(1), tmp_path, shards=3)
    other = records.write(make_tracks(1)[:2], tmp_path, shards=1)
    assert other.folder.parent == tmp_path
    assert main(["verify", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert f"{other.folder}: 2 tracks" in output
    assert f"{tmp_path}: 2 sets of records verified" in output
    flip(other.folder / other.shards[0].name, 30)
    assert main(["verify", str(tmp_path)]) == 1
    assert f"{other.folder}" in capsys.readouterr().err


def test_verify_fails_for_a_folder_without_records(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 1
    assert "holds no index.json" in capsys.readouterr().err


def test_verify_raises_for_exchanged_shards(tmp_path):
    records.write(make_tracks(1)[:1], tmp_path / "a")
    other = [Track("one", RATE, 20, {key: noise(1, 20, 7) for key in "ab"})]
    index = records.write(other, tmp_path / "b")
    shard = index.shards[0].name
    (tmp_path / "b" / shard).replace(tmp_path / "a" / shard)
    with pytest.raises(records.RecordsError, match="other records than the index"):
        records.verify(tmp_path / "a")


def test_explain_suggests_verify_for_another_error(tmp_path):
    index = records.write(make_tracks(1), tmp_path)
    sentence = records.explain(ValueError("unknown"), index)
    assert f"verify '{tmp_path}'" in sentence


def test_a_missing_track_raises(tmp_path):
    index = records.write(make_tracks(1), tmp_path)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"3 is not in \[0, 3\)"):
        excerpts(index, [(3, 0)], 5)


def edit(folder, change):
    fields = json.loads((folder / "index.json").read_text("utf-8"))
    change(fields)
    (folder / "index.json").write_text(json.dumps(fields), "utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields.update(version=9), "version 9, this program reads"),
        (lambda fields: fields.pop("channels"), "lacks or misspells a field"),
        (lambda fields: fields["tracks"][0].pop("offsets"), "lacks or misspells"),
        (lambda fields: fields["shards"].pop(), "was changed after"),
        (lambda fields: fields.update(encoding="mp3"), "was changed after"),
    ],
)
def test_a_changed_index_raises(tmp_path, change, message):
    records.write(make_tracks(1), tmp_path)
    edit(tmp_path, change)
    with pytest.raises(records.RecordsError, match=message):
        records.load_index(tmp_path)


def test_missing_and_truncated_files_raise(tmp_path):
    index = records.write(make_tracks(1), tmp_path)
    shard = tmp_path / index.shards[0].name
    content = shard.read_bytes()
    for other in (content[:-3], content + b"more"):
        shard.write_bytes(other)
        with pytest.raises(records.RecordsError, match=f"has {len(other)} bytes"):
            records.load_index(tmp_path)
    shard.unlink()
    with pytest.raises(records.RecordsError, match=f"{shard.name} is missing"):
        records.load_index(tmp_path)
    (tmp_path / "index.json").write_text('{"version"')
    with pytest.raises(records.RecordsError, match="not valid JSON"):
        records.load_index(tmp_path)
    with pytest.raises(records.RecordsError, match=r"holds no index\.json"):
        records.load_index(tmp_path / "elsewhere")


def epochs(count, number, seed):
    positions = tf.data.Dataset.range(count * number)
    order = positions.map(lambda position: records.shuffled(position, count, seed))
    return np.array(list(order.as_numpy_iterator())).reshape(number, count)


@pytest.mark.parametrize("count", [1, 2, 37])
def test_every_epoch_is_a_permutation(count):
    for epoch in epochs(count, 5, seed=3):
        assert sorted(epoch) == list(range(count))


def test_shuffling_depends_only_on_seed_and_epoch():
    order = epochs(50, 3, seed=1)
    assert len({tuple(epoch) for epoch in order}) == 3
    assert not np.array_equal(order, epochs(50, 3, seed=2))
    far = 10**12 * 50 + 7
    again = [int(records.shuffled(tf.constant(p), 50, 1)) for p in (60, far, far)]
    assert again[0] == order[1][10]
    assert again[1] == again[2]


def test_orders_of_three_examples_are_equally_likely():
    orders, counts = np.unique(epochs(3, 600, seed=0), axis=0, return_counts=True)
    assert len(orders) == 6
    # A fair die of 600 throws leaves 100 +- 5 standard deviations once in a million.
    assert counts.min() > 54
    assert counts.max() < 146
