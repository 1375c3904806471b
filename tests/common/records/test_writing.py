"""Writing records: bit-exact files, resuming, determinism, error messages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from common import audio, records
from common.corpora.track import Track
from common.records import chunks

RATE = 8000


def write_sound(path, samples, *, subtype="PCM_16", channels=1, rate=RATE, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    bits = {"PCM_16": 16, "PCM_24": 24}.get(subtype, 24)
    half = 2 ** (bits - 1)
    integers = np.random.default_rng(seed).integers(-half, half, (samples, channels))
    frames = (integers / half).astype(np.float32)
    soundfile.write(path, frames, rate, subtype=subtype)
    return frames.T


def file_tracks(folder, count, samples=400):
    tracks = []
    for number in range(count):
        sources = {key: folder / f"{number} ä" / f"{key}.wav" for key in ("x", "y")}
        for seed, path in enumerate(sources.values()):
            write_sound(path, samples, seed=2 * number + seed)
        tracks.append(Track(f"track {number}", RATE, samples, sources))
    return tracks


def read_track(index, number):
    samples = index.tracks[number].samples
    read = records.excerpt(index, tf.constant(number), tf.constant(0), samples)
    return {key: value.numpy() for key, value in read.items()}


def content(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize(
    ("subtype", "encoding"),
    [
        ("PCM_16", "pcm16"),
        ("PCM_16", "flac"),
        ("PCM_24", "float32"),
        ("FLOAT", "float32"),
    ],
)
@pytest.mark.parametrize("piece_samples", [None, 1000])
def test_records_keep_files_bit_for_bit(tmp_path, subtype, encoding, piece_samples):
    path = tmp_path / "Straße 音" / "a.wav"
    samples = chunks.BLOCK_SAMPLES + 1234
    waveform = write_sound(path, samples, subtype=subtype, channels=2)
    index = records.write(
        [Track("a", RATE, samples, {"x": path})],
        tmp_path / "ø",
        encoding=encoding,
        piece_samples=piece_samples,
    )
    np.testing.assert_array_equal(read_track(index, 0)["sources"][0], waveform)


def test_shorter_files_are_padded_and_longer_ones_cut_and_counted(tmp_path, caplog):
    lengths = {"short": 70, "long": 150, "right": 100}
    sources = {key: tmp_path / f"{key}.wav" for key in lengths}
    waves = {key: write_sound(sources[key], lengths[key]) for key in lengths}
    index = records.write(
        [Track("a", RATE, 100, sources)], tmp_path / "out", piece_samples=30
    )
    read = read_track(index, 0)["sources"]
    np.testing.assert_array_equal(read[0, :, :70], waves["short"])
    assert not read[0, :, 70:].any()
    np.testing.assert_array_equal(read[1], waves["long"][:, :100])
    np.testing.assert_array_equal(read[2], waves["right"])
    assert (
        "their track: 1 sounds, padded with silence: 1; the furthest: " in caplog.text
    )
    assert "long.wav lasts 0.02 s and its track 'a' 0.01 s" in caplog.text
    assert (index.padded, index.cut) == (1, 1)
    assert records.load_index(tmp_path / "out").padded == 1


def test_channels_are_mixed_down_or_repeated(tmp_path):
    stereo, mono = tmp_path / "stereo.wav", tmp_path / "mono.wav"
    wide = write_sound(stereo, 50, channels=2)
    narrow = write_sound(mono, 50, seed=1)
    tracks = [Track("a", RATE, 50, {"x": stereo, "y": mono})]
    one = records.write(tracks, tmp_path / "1", channels=1, encoding="float32")
    two = records.write(tracks, tmp_path / "2", channels=2)
    np.testing.assert_array_equal(read_track(one, 0)["sources"][0, 0], wide.mean(0))
    np.testing.assert_array_equal(read_track(two, 0)["sources"][0], wide)
    np.testing.assert_array_equal(
        read_track(two, 0)["sources"][1], np.repeat(narrow, 2, axis=0)
    )
    with pytest.raises(records.RecordsError, match=r"mono\.wav has 1 channels.*=1"):
        records.write(tracks, tmp_path / "3")


def test_rates_are_resampled_only_on_request(tmp_path):
    tone = np.sin(np.arange(4000) * 2 * np.pi * 440 / 16000).astype(np.float32) / 2
    fast, slow = tmp_path / "fast.wav", tmp_path / "slow.wav"
    soundfile.write(fast, tone, 16000)
    soundfile.write(slow, tone[:1000], RATE)
    tracks = [Track("a", RATE, 2000, {"x": slow, "y": fast})]
    with pytest.raises(records.RecordsError, match=r"fast\.wav has 16000 Hz.*8000 Hz"):
        records.write(tracks, tmp_path / "no")
    index = records.write(
        tracks,
        tmp_path / "yes",
        sample_rate=RATE,
        piece_samples=300,
        encoding="float32",
    )
    read = read_track(index, 0)["sources"]
    expected = np.sin(np.arange(2000) * 2 * np.pi * 440 / RATE) / 2
    np.testing.assert_allclose(read[1, 0, 100:-100], expected[100:-100], atol=1e-3)
    assert (index.sample_rate, index.padded, index.cut) == (RATE, 1, 0)
    upwards = records.write(tracks[:1], tmp_path / "up", sample_rate=11025)
    assert upwards.tracks[0].samples == 2757
    mixed = [Track("a", RATE, 9, {"x": slow}), Track("b", 16000, 9, {"x": fast})]
    with pytest.raises(records.RecordsError, match="'b' has 16000 Hz and track 'a'"):
        records.write(mixed, tmp_path / "no")


@pytest.mark.parametrize("encoding", ["pcm16", "flac"])
def test_samples_beyond_full_scale_need_float32(tmp_path, encoding):
    loud = np.array([[0.1, -1.25]], np.float32)
    tracks = [Track("song", RATE, 2, {"drums": loud})]
    message = (
        r"Track 'song', 'drums' peaks at 1\.25.*"
        rf"records_encoding={encoding} holds; set records_encoding=float32"
    )
    with pytest.raises(records.RecordsError, match=message):
        records.write(tracks, tmp_path, encoding=encoding)
    assert not (tmp_path / "index.json").exists()


ONE = np.zeros((1, 5), np.float32)
GOOD = Track("a", RATE, 5, {"x": ONE})


@pytest.mark.parametrize(
    ("tracks", "options", "message"),
    [
        ([], {}, "nothing to write: 0 tracks"),
        ([GOOD, GOOD], {}, "Two tracks are named 'a'"),
        ([GOOD, Track("b", RATE, 5, {})], {}, "'b' has 5 samples and 0 sources"),
        ([Track("b", RATE, 0, {"x": ONE})], {}, "'b' has 0 samples"),
        ([Track("b", RATE, 5, {"x": ONE[0]})], {}, r"float32 \[5\], expected float32"),
        ([Track("b", RATE, 5, {"x": ONE.astype(int)})], {}, r"int64 \[1, 5\]"),
        ([Track("b", RATE, 5, {"x": ONE * np.nan})], {}, "'b', 'x' holds a sample"),
        ([Track("b", RATE, 2**31, {"x": ONE})], {}, "more than.*give piece_samples"),
        ([GOOD], {"encoding": "mp3"}, "encoding='mp3' is unknown; use one of pcm16"),
        ([GOOD], {"piece_samples": 0}, "piece_samples=0 is not a positive number"),
        ([GOOD], {"shards": -1}, "shards=-1 is not a positive number"),
        ([GOOD], {"jobs": -1}, "jobs=-1 is not a positive number"),
        (
            [Track("b", RATE, 5, {"x": np.zeros((9, 5), np.float32)})],
            {"encoding": "flac"},
            "at most 8 channels, not 9",
        ),
    ],
)
def test_bad_tracks_and_options_raise(tmp_path, tracks, options, message):
    with pytest.raises(records.RecordsError, match=message):
        records.write(tracks, tmp_path / "out", **options)
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_missing_source_file_raises(tmp_path):
    tracks = [Track("a", RATE, 5, {"x": tmp_path / "gone.wav"})]
    with pytest.raises(audio.AudioError, match=r"gone\.wav"):
        records.write(tracks, tmp_path / "out")


def test_bytes_do_not_depend_on_the_number_of_jobs(tmp_path):
    tracks = file_tracks(tmp_path / "in", 7)
    options = {"shards": 3, "piece_samples": 90}
    for jobs in (1, 4):
        records.write(tracks, tmp_path / str(jobs), jobs=jobs, **options)
    assert len(content(tmp_path / "1")) == 4
    assert content(tmp_path / "1") == content(tmp_path / "4")


def test_there_are_at_most_as_many_shards_as_tracks(tmp_path):
    index = records.write(file_tracks(tmp_path / "in", 2), tmp_path / "out", shards=9)
    assert len(index.shards) == 2


def test_finished_records_are_reused(tmp_path):
    tracks = file_tracks(tmp_path / "in", 2)
    first = records.write(tracks, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert records.write(tracks, tmp_path / "out") == first
    (tmp_path / "in").rename(tmp_path / "moved")
    moved = [
        Track(
            track.name,
            RATE,
            track.samples,
            {
                key: tmp_path / "moved" / Path(path).relative_to(tmp_path / "in")
                for key, path in track.sources.items()
            },
        )
        for track in tracks
    ]
    assert records.write(moved, tmp_path / "out") == first
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_a_failed_write_resumes_with_the_missing_shards(tmp_path, monkeypatch):
    tracks = file_tracks(tmp_path / "in", 6)
    records.write(tracks, tmp_path / "undisturbed", shards=3)
    real, opened = audio.blocks, []

    def failing(path, *arguments):
        opened.append(path)
        if len(opened) == 6:
            raise RuntimeError("pulled the plug")
        return real(path, *arguments)

    monkeypatch.setattr(audio, "blocks", failing)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        records.write(tracks, tmp_path / "out", shards=3, jobs=1)
    left = set(content(tmp_path / "out"))
    assert left == {
        "records-00000-of-00003.tfrecord",
        "records-00000-of-00003.json",
    }
    records.write(tracks, tmp_path / "out", shards=3, jobs=1)
    assert len(opened) == 6 + 8
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")


def states(folder):
    stats = {path: path.stat() for path in Path(folder).rglob("records-*")}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


def test_changed_file_times_leave_the_records_unchanged(tmp_path, monkeypatch):
    tracks = file_tracks(tmp_path / "in", 3)
    first = records.write(tracks, tmp_path / "out", shards=2, piece_samples=150)
    before = states(tmp_path / "out")
    index_bytes = (tmp_path / "out" / "index.json").read_bytes()
    for stamp in (1, 2):
        for path in (tmp_path / "in").rglob("*.wav"):
            os.utime(path, ns=(stamp, stamp))
        again = records.write(tracks, tmp_path / "out", shards=2, piece_samples=150)
        assert again == first
    assert states(tmp_path / "out") == before
    assert (tmp_path / "out" / "index.json").read_bytes() == index_bytes
    monkeypatch.setattr(audio, "blocks", None)  # Nothing is compared again.
    records.write(tracks, tmp_path / "out", shards=2, piece_samples=150)


def test_changed_files_make_new_records_beside_the_old(tmp_path, caplog):
    tracks = file_tracks(tmp_path / "in", 3)
    old = records.write(tracks, tmp_path / "out", shards=2)
    before, kept = read_track(old, 2), states(tmp_path / "out")
    path = tracks[2].sources["x"]
    changed = write_sound(path, 400, seed=77)
    os.utime(path, ns=(1, 1))
    new = records.write(tracks, tmp_path / "out", shards=2)
    assert "other tracks, files or options" in caplog.text
    assert new.folder.parent == tmp_path / "out"
    np.testing.assert_array_equal(read_track(new, 2)["sources"][0], changed)
    np.testing.assert_array_equal(read_track(old, 2)["sources"], before["sources"])
    assert states(tmp_path / "out").items() >= kept.items()
    assert records.write(tracks, tmp_path / "out", shards=2) == new
    os.utime(path, ns=(2, 2))
    assert records.write(tracks, tmp_path / "out", shards=2) == new
    assert records.verify(tmp_path / "out") == old


@pytest.mark.parametrize(
    "options", [{"shards": 1}, {"encoding": "float32"}, {"piece_samples": 400}]
)
def test_other_options_make_other_records(tmp_path, options):
    tracks = file_tracks(tmp_path / "in", 2)
    old = records.write(tracks, tmp_path / "out", shards=2)
    new = records.write(tracks, tmp_path / "out", **{"shards": 2, **options})
    assert new.folder != old.folder
    assert records.verify(old.folder) == old
    assert records.verify(new.folder) == new
    for index, chosen in ((old, {}), (new, options)):
        again = records.write(tracks, tmp_path / "out", **{"shards": 2, **chosen})
        assert again == index


def test_changed_arrays_make_new_records(tmp_path):
    records.write([GOOD], tmp_path)
    changed = Track("a", RATE, 5, {"x": ONE + 0.5})
    index = records.write([changed], tmp_path)
    np.testing.assert_array_equal(read_track(index, 0)["mixture"], ONE + 0.5)


def test_damaged_records_are_rewritten_and_other_files_kept(tmp_path):
    tracks = file_tracks(tmp_path / "in", 2)
    index = records.write(tracks, tmp_path / "out")
    (tmp_path / "out" / index.shards[0].name).write_bytes(b"short")
    (tmp_path / "out" / "notes.json").write_text("mine")
    assert records.write(tracks, tmp_path / "out") == index
    assert records.verify(tmp_path / "out") == index
    assert (tmp_path / "out" / "notes.json").read_text() == "mine"


WRITE = """
    import resource, sys
    from pathlib import Path
    from common import audio, records
    from common.corpora.track import Track

    source, folder, limit = sys.argv[1:]
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    tracks = []
    for path in sorted(Path(source).glob("*.wav")):
        samples = audio.probe(path).samples
        tracks.append(Track(path.stem, 8000, samples, {"x": path}))
    try:
        records.write(tracks, folder, piece_samples=50, jobs=1, shards=len(tracks))
    except records.RecordsError as error:
        sys.exit(str(error))
"""


def start_write(source, folder, limit):
    """Run the script in a new process, to be killed or to run out of disk."""
    root = str(Path(records.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, "-c", textwrap.dedent(WRITE)]
    command += [str(source), str(folder), str(limit)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stderr=pipe, text=True)


def write_here(source, folder):
    tracks = [
        Track(path.stem, RATE, audio.probe(path).samples, {"x": path})
        for path in sorted(source.glob("*.wav"))
    ]
    return records.write(tracks, folder, piece_samples=50, shards=len(tracks))


@pytest.mark.slow
def test_a_full_disk_gives_one_sentence_and_no_partial_shard(tmp_path):
    write_sound(tmp_path / "in" / "a.wav", 400)
    write_sound(tmp_path / "in" / "b.wav", 60_000)
    process = start_write(tmp_path / "in", tmp_path / "out", limit=65536)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert last.startswith(f"The records could not be written into {tmp_path / 'out'}")
    assert "make room" in last
    assert set(content(tmp_path / "out")) == {
        "records-00000-of-00002.tfrecord",
        "records-00000-of-00002.json",
    }
    write_here(tmp_path / "in", tmp_path / "out")
    assert len(records.verify(tmp_path / "out")) == 2


@pytest.mark.slow
def test_a_killed_write_resumes_to_the_same_bytes(tmp_path):
    for number in range(8):
        write_sound(tmp_path / "in" / f"{number:02d}.wav", 60_000, seed=number)
    process = start_write(tmp_path / "in", tmp_path / "out", limit=0)
    sidecar = tmp_path / "out" / "records-00002-of-00008.json"
    end = time.monotonic() + 300
    while not sidecar.exists() and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (tmp_path / "out" / "index.json").exists()
    kept = sidecar.with_suffix(".tfrecord")
    stamp = kept.stat().st_mtime_ns
    for folder in ("out", "undisturbed"):
        write_here(tmp_path / "in", tmp_path / folder)
    assert kept.stat().st_mtime_ns == stamp
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")
    records.verify(tmp_path / "out")
