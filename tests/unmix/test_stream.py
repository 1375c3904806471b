"""Streams: the numbers of the whole sound, the latency, the raw samples, bad input."""

import inspect
import io
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from common.separation.separator import SeparationError, Separator
from unmix import convert, separate
from unmix.config import Network
from unmix.model import OpenUnmix
from unmix.stream import Stream, compile_ahead

RATE, WINDOW, HOP = 8000, 128, 32
SHAPE = {"stereo": 2, "mono": 1}


def folder_of(
    folder, channels, bidirectional=False, targets=("vocals", "drums"), hop=HOP
):
    config = Network(RATE, WINDOW, hop, channels, 8, 1, bidirectional, 3200.0, 0.0)
    models, random = {}, np.random.default_rng(7)
    for target in targets:
        models[target] = model = OpenUnmix(config)
        for variable in (*model.trainable_variables, model.bn3.moving_mean):
            variable.assign(variable + 0.3 * random.standard_normal(variable.shape))
    convert.export(models, folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of two networks of one direction for each number of channels."""
    folder = tmp_path_factory.mktemp("models")
    return {name: folder_of(folder / name, SHAPE[name]) for name in SHAPE}


@pytest.fixture(scope="module")
def loaded(folders):
    """Separators that are made, and compiled, once for each kind of sound."""
    made = {}

    def load(name, channels=2, **options):
        key = name, channels, str(options)
        if key not in made:
            made[key] = separate.load(folders[name], **options)
        return made[key]

    return load


@pytest.fixture(scope="module")
def separator(loaded):
    return loaded("stereo", niter=0)


def sound(channels, samples, seed=0):
    draw = np.random.default_rng(seed).standard_normal((channels, samples))
    return (0.1 * draw).astype(np.float32)


def streamed(stream, mixture, sizes):
    """Push blocks of these sizes in turn; estimates, and how far they are behind."""
    made, behind, start = [], [], 0
    while start < mixture.shape[1]:
        stop = start + sizes[len(made) % len(sizes)]
        made.append(stream.push(mixture[:, start:stop]))
        start = min(stop, mixture.shape[1])
        behind.append(start - sum(each.shape[-1] for each in made))
    made.append(stream.flush())
    return np.concatenate(made, axis=-1), behind


def assert_whole(separator, mixture, sizes):
    expected = np.stack(list(separator(mixture).values()))
    estimates, _ = streamed(Stream(separator, len(mixture)), mixture, sizes)
    assert estimates.dtype == np.float32
    assert estimates.shape == expected.shape
    np.testing.assert_allclose(estimates, expected, rtol=0, atol=1e-6)
    assert np.abs(expected).max(-1).min() > 0.0


@pytest.mark.parametrize("sizes", [(1,), (0, 7, 300), (32,), (1000, 1), (100_000,)])
def test_sizes_of_blocks_do_not_matter(separator, sizes):
    assert_whole(separator, sound(2, 640), sizes)


@pytest.mark.parametrize("samples", [1, 2, 63, 64, 65, 96, 127, 128, 129, 640])
def test_any_length(separator, samples):
    assert_whole(separator, sound(2, samples), (50,))


@pytest.mark.parametrize("samples", [63, 639])
def test_the_end_of_a_sound_with_hops_of_half_a_window(tmp_path, samples):
    folder = folder_of(tmp_path / "model", 2, hop=WINDOW // 2)
    assert_whole(separate.load(folder, niter=0), sound(2, samples), (50,))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stereo", {"niter": 0, "softmask": True, "residual": True}),
        ("stereo", {"niter": 1, "wiener_win_len": 5}),
        ("mono", {"niter": 0, "aggregate": {"all": ["vocals", "drums"]}}),
    ],
)
def test_every_way_of_filtering(loaded, name, options):
    assert_whole(loaded(name, **options), sound(2, 1000), (70, 200))


@pytest.mark.parametrize("name", ["stereo", "mono"])
def test_one_channel(loaded, name):
    # Networks for two channels take it twice, and compile nothing anew.
    channels = 1 if name == "mono" else 2
    assert_whole(loaded(name, channels, niter=0), sound(1, 700), (70, 200))


def test_more_frames_than_are_computed_at_once(separator):
    assert_whole(separator, sound(2, 300 * HOP), (290 * HOP,))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"niter": 0}, WINDOW + HOP),
        ({"niter": 1, "wiener_win_len": 5}, WINDOW + 5 * HOP),
    ],
)
def test_latency(loaded, options, expected):
    # A sample waits for the last one of its block before it is pushed.
    for sizes, waited in (((1,), 0), ((HOP,), HOP - 1), ((5, 29), 28)):
        stream = Stream(loaded("stereo", **options))
        assert stream.latency_samples == expected
        _, behind = streamed(stream, sound(2, 700), sizes)
        assert expected - 2 * HOP < max(behind) + waited <= expected


def test_returned_blocks_do_not_depend_on_later_input(separator):
    one, other = sound(2, 900), sound(2, 900)
    other[:, 500:] = sound(2, 400, seed=1)
    outputs = [Stream(separator).push(mixture[:, :500]) for mixture in (one, other)]
    np.testing.assert_array_equal(*outputs)
    assert outputs[0].shape == (2, 2, 500 - WINDOW + HOP - (500 - WINDOW // 2) % HOP)


def test_two_directions_are_refused(tmp_path):
    folder = folder_of(tmp_path / "both", 2, bidirectional=True, targets=["vocals"])
    with pytest.raises(SeparationError, match=r"two directions.*bidirectional=false"):
        Stream(separate.load(folder, niter=0))


def test_what_cannot_be_streamed(folders, separator):
    with pytest.raises(SeparationError, match=r"made by unmix\.load"):
        Stream(Separator(np.copy, ["a"], RATE))
    with pytest.raises(SeparationError, match=r"takes the whole sound.*niter=0"):
        Stream(separate.load(folders["stereo"], niter=1, wiener_win_len=None))
    with pytest.raises(SeparationError, match="has 3 channels; expected 1 or 2"):
        Stream(separator, 3)


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (np.zeros([1, 5], np.float32), r"shape \(1, 5\).*2 channels"),
        (np.zeros(5, np.float32), r"shape \(5,\)"),
        (np.zeros([2, 5], np.int16), "int16; expected floats"),
        (np.array([[0.0, 0.0], [0.0, np.nan]]), "sample 101 of the mixture is NaN"),
    ],
)
def test_bad_blocks(separator, block, problem):
    stream = Stream(separator)
    stream.push(sound(2, 100))
    with pytest.raises(SeparationError, match=problem):
        stream.push(block)


def test_ends(separator):
    stream = Stream(separator)
    with pytest.raises(SeparationError, match="no samples"):
        stream.flush()
    stream.push(sound(2, 10))
    stream.flush()
    for late in (stream.flush, lambda: stream.push(sound(2, 10))):
        with pytest.raises(SeparationError, match="has ended"):
            late()


def test_compiled_ahead(separator):
    compile_ahead(separator, 2)
    before = separator.network.decode.experimental_get_tracing_count()
    streamed(Stream(separator), sound(2, 2000), (HOP, 3 * HOP, 16 * HOP))
    assert separator.network.decode.experimental_get_tracing_count() == before


def command(monkeypatch, capsys, separator, words, raw):
    """Run the command line on raw bytes: exit code, bytes, standard error."""
    out = io.BytesIO()
    out_text = types.SimpleNamespace(buffer=out, isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(raw)))
    monkeypatch.setattr(sys, "stdout", out_text)
    words = ["--stream", "--model", "any", *words]
    monkeypatch.setattr(separate, "load", lambda *_, **__: separator)
    code = separate.main(words)
    return code, out.getvalue(), capsys.readouterr().err


def test_command_writes_the_target(separator, monkeypatch, capsys):
    mixture = np.rint(sound(2, 5000) * 32768) / 32768
    raw = (mixture.T * 32768).astype("<i2").tobytes()
    words = ["--targets", "drums", "--rate", "8000"]
    code, out, err = command(monkeypatch, capsys, separator, words, raw)
    assert code == 0
    written = np.frombuffer(out, "<i2").reshape(-1, 2).T / 32768
    expected = separator(mixture.astype(np.float32))["drums"]
    np.testing.assert_allclose(written, np.clip(expected, -1, 1), atol=1.01 / 65536)
    assert "latency at most 20.0 ms (window 16.0 ms and a hop of 4.0 ms)" in err
    assert "0.62 s computed in" in err
    assert "real-time factor" in err


def test_command_reads_and_writes_24_bits(separator, monkeypatch, capsys):
    steps = np.ascontiguousarray(np.rint(sound(2, 3000) * 2**23).T, "<i4")
    raw = steps.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    words = ["--targets", "drums", "--format-in", "s24le"]
    code, out, _ = command(monkeypatch, capsys, separator, words, raw)
    assert code == 0
    wide = np.pad(np.frombuffer(out, np.uint8).reshape(-1, 3), [(0, 0), (1, 0)])
    written = wide.view("<i4").reshape(-1, 2).T / 2**31
    expected = separator((steps.T / 2**23).astype(np.float32))["drums"]
    np.testing.assert_allclose(written, np.clip(expected, -1, 1), atol=1e-6)


def test_command_writes_all_targets_in_the_order_asked(separator, monkeypatch, capsys):
    mixture, words = sound(1, 3000), ["--format-in", "f32le", "--channels", "1"]
    raw = mixture.T.astype("<f4").tobytes()
    code, out, _ = command(monkeypatch, capsys, separator, words, raw)
    assert code == 0
    estimates = separator(mixture)
    written = np.frombuffer(out, "<f4").reshape(-1, 2).T
    expected = np.concatenate([estimates["vocals"], estimates["drums"]])
    np.testing.assert_allclose(written, expected, rtol=0, atol=1e-6)
    words += ["--targets", "drums", "vocals"]
    _, turned, _ = command(monkeypatch, capsys, separator, words, raw)
    np.testing.assert_array_equal(
        np.frombuffer(turned, "<f4").reshape(-1, 2).T, written[::-1]
    )


def test_command_clips(separator, monkeypatch, capsys):
    words = ["--format-in", "f32le", "--format-out", "s16le"]
    raw = (100 * sound(2, 2000)).T.astype("<f4").tobytes()
    code, out, err = command(monkeypatch, capsys, separator, words, raw)
    assert code == 0
    assert len(out) == 2000 * 4 * 2
    assert {-32768, 32767} <= set(np.frombuffer(out, "<i2"))
    assert "samples clipped" in err


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--targets", "drums"], {"targets": ["drums"], "niter": 0}),
        (["--targets", "drums", "--softmask"], {"targets": None, "softmask": True}),
        (["--aggregate", '{"a": ["drums"]}'], {"aggregate": {"a": ["drums"]}}),
        (["--niter", "2", "--wiener-win-len", "9"], {"niter": 2, "wiener_win_len": 9}),
    ],
)
def test_command_loads_what_is_needed(words, given, monkeypatch, capsys):
    signature = inspect.signature(separate.load)

    def load(*arguments, **options):
        bound = signature.bind(*arguments, **options).arguments
        assert given.items() <= bound.items()
        raise SeparationError("far enough")

    terminal = types.SimpleNamespace(isatty=lambda: False)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(separate, "load", load)
    assert separate.main(["--stream", "--model", "any", *words]) == 1
    assert "far enough" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "raw", "problem"),
    [
        (["--rate", "44100"], b"", "--rate is 44100, but the model works at 8000 Hz"),
        (["--targets", "choir"], b"", "target choir is not among the model's sources"),
        (["--channels", "3"], b"", "has 3 channels; expected 1 or 2"),
        ([], b"", "the mixture has no samples"),
        ([], bytes(4003), "ended 3 bytes after its last sample of 2 channels"),
        (
            ["--format-in", "f32le"],
            np.full([90, 2], np.inf, "<f4").tobytes(),
            "sample 0 of the mixture is NaN or infinite",
        ),
    ],
)
def test_command_with_bad_input(separator, monkeypatch, capsys, words, raw, problem):
    code, out, err = command(monkeypatch, capsys, separator, words, raw)
    assert code == 1
    assert problem in err.splitlines()[-1]
    # What came before the end of a torn sound is not lost.
    assert len(out) == (2 * 4000 if len(raw) == 4003 else 0)


def test_command_takes_no_file(capsys):
    with pytest.raises(SystemExit):
        separate.main(["--stream", "--model", "any", "--residual", "song.wav"])
    assert "--stream reads no file; leave out song.wav" in capsys.readouterr().err


def test_command_at_a_terminal(folders, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(isatty=lambda: True))
    assert separate.main(["--stream", "--model", str(folders["stereo"])]) == 1
    assert "standard output is a terminal" in capsys.readouterr().err


@pytest.mark.slow
def test_pipe(folders):
    """Sound comes out while it still goes in, and a closed pipe ends in one line."""
    words = ["-m", "unmix.separate", "--stream", "--model", str(folders["stereo"])]
    with subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    ) as process:
        process.stdin.write(bytes(4 * 800))
        process.stdin.flush()
        assert len(process.stdout.read(8 * 600)) == 8 * 600
        process.stdout.close()
        process.stdin.write(bytes(4 * 8000))
        process.stdin.close()
        err = process.stderr.read().decode()
        assert process.wait() == 1
    assert err.splitlines()[-1] == (
        "separate: standard output was closed before the sound ended"
    )
