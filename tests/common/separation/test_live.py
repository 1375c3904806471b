"""Live separation: early stems, equal to those of a file, and marked as partial."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common import audio
from common.audio.pipes import PipedSound
from common.files import claimed
from common.separation.command import command
from common.separation.files import Delay, separate_file, separated_blocks
from common.separation.inputs import excerpt
from common.separation.outputs import Form
from common.separation.separator import SeparationError, Separator

RATE = 8000
SEGMENT = 0.5


def network(batch):
    low = np.cumsum(batch, -1)
    low[..., 20:] -= low[..., :-20].copy()
    return np.stack([low / 20, batch - low / 20], 1)


def load(model, **options):
    options = {"segment_seconds": SEGMENT, **options}
    return Separator(network, ["vocals", "rest"], RATE, named=True, **options)


def run(*arguments):
    words = [str(argument) for argument in arguments]
    return command(load, words, "Separate sounds.", model="tiny")


def noise(channels, samples):
    random = np.random.default_rng(0)
    return random.uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


class SlowPipe(io.RawIOBase):
    """A pipe that gives a little at a time and looks at a folder meanwhile."""

    def __init__(self, data, folder, size=1600):
        self._data, self._folder, self._size = io.BytesIO(data), folder, size
        self.seen = []  # bytes that were read, and the lengths of files

    def read(self, size):
        stems = sorted(self._folder.rglob("*.wav"))
        lengths = {path.name: audio_length(path) for path in stems}
        self.seen.append((self._data.tell(), lengths))
        return self._data.read(min(size, self._size))


def audio_length(path):
    try:
        return audio.probe(path).samples
    except audio.AudioError:  # a header without samples
        return 0


def use_as_stdin(monkeypatch, pipe):
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=pipe, isatty=lambda: False)
    )
    return pipe


@pytest.fixture(params=[RATE, 22050], ids=["at its rate", "resampled"])
def song(tmp_path, request):
    path = tmp_path / "song.wav"
    audio.write(path, noise(2, 3 * request.param + 123), request.param, "wav16")
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*.wav")}


@pytest.mark.parametrize("words", [[], ["--two-stems", "vocals", "--format", "wav24"]])
def test_stems_of_a_pipe_grow_to_those_of_the_file(
    tmp_path, song, monkeypatch, capsys, words
):
    assert run(song, "--output", tmp_path / "file", *words) == 0
    capsys.readouterr()
    data, rate = song.read_bytes(), audio.probe(song).sample_rate
    pipe = SlowPipe(data, tmp_path / "live")
    use_as_stdin(monkeypatch, pipe)
    options = ["--live", "--json", "--output", tmp_path / "live"]
    assert run("-", *options, *words) == 0
    whole = contents(tmp_path / "file")
    assert contents(tmp_path / "live") == whole
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    latency = report["latency_seconds"]
    assert SEGMENT < latency < SEGMENT + (0.1 if rate == RATE else 0.4)
    parts = {name.replace(".wav", ".part.wav") for name in whole}
    assert all({*seen} in ({*parts}, set()) for _, seen in pipe.seen[:-1])
    while_open = [
        (read / 4 / rate, min(seen.values()) / rate)
        for read, seen in pipe.seen
        if 4 * rate < read < len(data)
    ]
    assert min(written for _, written in while_open) > 0.1
    assert max(read - written for read, written in while_open) <= latency + 0.01
    assert report["input"]["bytes"] == len(data)
    assert "vocals.part.wav" in printed.err
    assert "about 0.5 s of sound behind the input" in printed.err
    assert report == json.loads((tmp_path / "live/stdin/report.json").read_text())


def test_a_file_has_the_same_stems_whether_they_grow_or_not(tmp_path, song):
    at_once = separate_file(load("tiny"), song, tmp_path / "a")
    summary = separate_file(load("tiny"), song, tmp_path / "b", live=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert at_once.latency_seconds is None
    assert f", stems up to {summary.latency_seconds:.2f} s behind the so" in str(
        summary
    )


def test_a_file_is_not_read_further_than_a_segment_before_its_stems(song):
    delay, read = Delay(), []
    for mixture, _ in separated_blocks(load("tiny"), excerpt(song), delay=delay):
        read.append(delay.read)
        assert mixture.shape[1]
    assert read[0] < 2.5
    assert delay.most < SEGMENT + 1.4  # files are read by the second


def test_samples_without_a_header(tmp_path, monkeypatch):
    wave = noise(2, 9000)
    audio.write(tmp_path / "song.wav", wave, RATE, "wav16")
    data = (tmp_path / "song.wav").read_bytes()[-36_000:]
    expected = contents_of_file_run(tmp_path)
    for options in ([], ["--live"]):
        use_as_stdin(monkeypatch, io.BytesIO(data))
        words = ["-", "--raw", "s16le,8000,2", "--output", tmp_path / "raw"]
        assert run(*words, "--overwrite", *options) == 0
        assert contents(tmp_path / "raw") == expected


def contents_of_file_run(folder):
    assert run(folder / "song.wav", "--output", folder / "file") == 0
    return contents(folder / "file")


def test_an_error_leaves_nothing(tmp_path, monkeypatch, capsys, song):
    data = song.read_bytes()
    pipe = SlowPipe(data[:-1000], tmp_path / "live")
    use_as_stdin(monkeypatch, pipe)
    assert run("-", "--live", "--output", tmp_path / "live") == 1
    assert any(seen for _, seen in pipe.seen)
    error = capsys.readouterr().err.splitlines()[-1]
    assert "its header promises 1000 bytes more than it has" in error
    assert not (tmp_path / "live").exists()


def test_a_killed_run_leaves_no_file_that_looks_whole(tmp_path, song):
    program = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_live import command, load
        sys.exit(command(load, sys.argv[1:], "Separate.", model="tiny"))
    """)
    words = ["-", "--live", "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    data = song.read_bytes()
    process.stdin.write(data[: len(data) // 2])
    process.stdin.flush()
    part = tmp_path / "out" / "stdin" / "rest.part.wav"
    for _ in range(600):
        if part.exists() and audio_length(part):
            break
        time.sleep(0.1)
    assert run(song, "--name", "stdin/{source}", *words[1:]) == 1  # it still writes
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    left = sorted(path.name for path in (tmp_path / "out").rglob("*.*"))
    assert left == ["rest.part.wav", "vocals.part.wav"]
    again = [song, "--live", "--name", "stdin/{source}", "--output", tmp_path / "out"]
    assert run(*again) == 1
    assert run(*again, "--skip-done") == 0
    left = sorted(path.name for path in (tmp_path / "out").rglob("*.*"))
    assert left == ["report.json", "rest.wav", "vocals.wav"]


def test_a_stem_that_another_process_writes_is_refused(tmp_path, song):
    draft = tmp_path / "out" / "song" / "rest.part.wav"
    draft.parent.mkdir(parents=True)
    with claimed(draft), pytest.raises(OSError, match="being written by another proc"):
        separate_file(load("x"), song, tmp_path / "out", live=True, overwrite=True)
    assert not draft.exists()
    draft.write_bytes(b"of somebody")
    with pytest.raises(SeparationError, match=r"rest\.part\.wav exists; give --over"):
        separate_file(load("x"), song, tmp_path / "out", live=True)
    assert draft.read_bytes() == b"of somebody"


@pytest.mark.parametrize("format_", ["wav", "wav16"])
def test_one_stem_goes_to_standard_output(tmp_path, monkeypatch, song, format_):
    separate_file(load("tiny"), song, tmp_path / "out", format=format_)
    sink = io.BytesIO()
    monkeypatch.setattr(
        sys, "stdout", SimpleNamespace(buffer=sink, isatty=lambda: False)
    )
    use_as_stdin(monkeypatch, io.BytesIO(song.read_bytes()))
    words = ["--targets", "rest", "--output", "-", "--format", format_]
    assert run("-", *words) == 0
    blocks = list(PipedSound(io.BytesIO(sink.getvalue())).blocks())
    stem = audio.read(tmp_path / "out" / "song" / "rest.wav")[0]
    np.testing.assert_array_equal(np.concatenate(blocks, 1), stem)
    assert not [path for path in tmp_path.iterdir() if path.name == "-"]


def test_a_closed_standard_output_is_reported_in_one_sentence(
    tmp_path, monkeypatch, song, capfd
):
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "wb") as sink:
        monkeypatch.setattr(
            sys, "stdout", SimpleNamespace(buffer=sink, isatty=lambda: False)
        )
        assert run(song, "--targets", "rest", "--output", "-") == 1
    assert "standard output was closed before the sound" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-", "SONG", "--live"], "standard input is separated as it arrives"),
        (["-", "--live", "--jobs", "2"], "standard input is separated as it arrives"),
        (["-", "--live", "--format", "input"], "unknown for standard input"),
        (["-", "--live", "--preview"], "which a pipe does not have"),
        (["SONG", "--raw", "s16le,8000,1"], "raw describes standard input"),
        (["SONG", "--output", "-"], "takes one stem; choose it by --targets"),
        (["SONG", "SONG2", "--output", "-", "--targets", "rest"], "not of 2; name one"),
        (["SONG", "--output", "-", "--targets", "x"], "x is not among the model's"),
        (["SONG", "--output", "-", "--targets", "rest", "--json"], "--json and the"),
        (
            ["SONG", "--output", "-", "--targets", "rest", "--format", "flac"],
            "format is flac, which standard output does not take",
        ),
        (["SONG", "--live", "--format", "aiff"], "format is aiff, which cannot be"),
    ],
)
def test_options_that_pipes_do_not_support_are_refused(
    tmp_path, monkeypatch, capsys, words, sentence
):
    song = tmp_path / "song.wav"
    audio.write(song, noise(1, 900), RATE)
    (tmp_path / "song2.wav").write_bytes(song.read_bytes())
    use_as_stdin(monkeypatch, io.BytesIO(song.read_bytes()))
    monkeypatch.chdir(tmp_path)
    names = {"SONG": song, "SONG2": tmp_path / "song2.wav"}
    assert run(*(names.get(word, word) for word in words)) == 1
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.rglob("*.part.*"))


def test_raw_layouts_are_a_matter_of_usage(capsys):
    with pytest.raises(SystemExit):
        run("-", "--raw", "s16le")
    assert "raw is 's16le'; expected type, rate in Hz" in capsys.readouterr().err


def test_what_takes_the_whole_sound_is_refused(tmp_path, song):
    whole = load("tiny", segment_seconds=None)
    with pytest.raises(SeparationError, match="nothing is certain before its end"):
        separate_file(whole, song, tmp_path / "out", live=True)
    assert not (tmp_path / "out").exists()


def test_a_copy_is_made_of_a_file_and_not_of_a_pipe(tmp_path, song):
    form = Form(original=True)
    separate_file(load("tiny"), song, tmp_path / "a", form=form, live=True)
    assert (tmp_path / "a/song/original.wav").read_bytes() == song.read_bytes()
    pipe = PipedSound(io.BytesIO(song.read_bytes()))
    separate_file(load("tiny"), pipe, tmp_path / "b", form=form, live=True)
    written = sorted(path.name for path in (tmp_path / "b/stdin").iterdir())
    assert written == ["rest.wav", "vocals.wav"]
