"""The command line: options, exit codes, one line for each error, help."""

import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from common import audio
from common.download import DownloadError
from common.separation.command import command
from common.separation.outputs import Form
from common.separation.separator import SeparationError, Separator

RATE = 8000


def load(model, **options):
    if model == "published":
        raise DownloadError("it cannot be downloaded")
    if model == "missing":
        raise SeparationError("model 'missing' is not known; expected tiny")
    factor = options.pop("factor", 1.0)

    def network(batch):
        return np.stack([0.75 * factor * batch, 0.25 * factor * batch], 1)

    return Separator(network, ["vocals", "rest"], RATE, named=True, **options)


def run(*arguments, **options):
    words = [str(argument) for argument in arguments]
    return command(load, words, "Separate sounds.", model="tiny", **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 9000))
    audio.write(path, wave.astype(np.float32), RATE)
    return path


def test_one_line_per_file_and_code_zero(tmp_path, song, capsys):
    assert run(song, "--output", tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    line = printed.out
    assert line.startswith(f"song.wav: 2 stems of 1.1 s in {tmp_path / 'out' / 'song'}")
    assert "x real time, sum of all sources " in line
    assert line.count("\n") == 1
    assert audio.probe(tmp_path / "out" / "song" / "vocals.wav").samples == 9000


def test_a_line_break_in_a_name_does_not_break_the_line(tmp_path, song, capsys):
    broken = song.rename(tmp_path / "two\nlines.wav")
    assert run(broken, tmp_path / "no\nsuch.wav", "--output", tmp_path / "out") == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(r"two\nlines.wav: 2 stems")
    assert printed.out.count("\n") == 1
    assert r"no\nsuch.wav" in printed.err


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="it makes the film")
def test_the_line_says_which_track_of_a_film_was_separated(tmp_path, song, capsys):
    film = tmp_path / "film.mkv"
    words = ["-i", song, "-map", "0:a", "-map", "0:a", "-c:a", "flac", film]
    subprocess.run(["ffmpeg", "-v", "error", *words], check=True)
    assert run(film, "--output", tmp_path / "out") == 0
    assert (
        "the first of 2 audio tracks was separated; to extract"
        in capsys.readouterr().out
    )


def test_options_change_the_outputs(tmp_path, song):
    out = tmp_path / "out"
    words = ["--format", "flac", "--segment", "0.25", "--overlap", "0.5"]
    assert run(song, "--output", out, *words, "--targets", "rest") == 0
    assert names(out / "song") == ["report.json", "rest.flac"]
    assert run(song, "--output", out, *words, "--targets", "rest") == 1
    again = [*words, "--overwrite", "--targets", "rest", "vocals"]
    assert run(song, "--output", out, *again) == 0
    assert names(out / "song") == ["report.json", "rest.flac", "vocals.flac"]


def test_segments_reach_the_separator(tmp_path, song):
    lengths = []

    def watched(model, **options):
        def network(batch):
            lengths.append(batch.shape[-1])
            return batch[:, None]

        return Separator(network, ["all"], RATE, named=True, **options)

    words = [str(song), "--model", "x", "--output", str(tmp_path), "--segment", "0.5"]
    assert command(watched, words, "Separate.") == 0
    assert lengths == [4000] * 3


def test_a_pillar_adds_its_own_options(tmp_path, song):
    def configure(parser):
        parser.add_argument("--factor", type=float, default=1.0)

    words = ["--output", tmp_path, "--factor", "0.5"]
    assert run(song, *words, configure=configure) == 0
    stem = audio.read(tmp_path / "song" / "vocals.wav")[0]
    np.testing.assert_allclose(stem, 0.375 * audio.read(song)[0], atol=1e-7)


def test_a_broken_file_does_not_stop_the_others(tmp_path, song, capsys):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF not a sound")
    absent = tmp_path / "absent.wav"
    assert run(broken, absent, song, "--output", tmp_path / "out") == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("song.wav: ")
    lines = printed.err.splitlines()
    assert len(lines) == 3
    assert "broken.wav" in lines[0]
    assert "absent.wav" in lines[1]
    assert lines[2] == "separate: 1 of 3 files are done, 2 failed"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["song"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "missing"], "model 'missing' is not known"),
        (["--targets", "drums"], "drums is not among the model's sources"),
        (["--segment", "0"], "segment is 0 s"),
        (["--overlap", "1.5"], "overlap is 1.5"),
    ],
)
def test_expected_errors_are_one_line(tmp_path, song, capsys, words, sentence):
    assert run(song, "--output", tmp_path / "out", *words) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert sentence in printed.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other", ["song.flac", "SONG.wav"])
def test_inputs_with_the_same_outputs_are_an_error(tmp_path, song, capsys, other):
    assert run(song, tmp_path / other, "--output", tmp_path) == 1
    assert "would both be written" in capsys.readouterr().err
    assert not (tmp_path / "song").exists()


def test_the_suffix_tells_inputs_of_one_name_apart(tmp_path, song, capsys):
    audio.write(tmp_path / "song.flac", *audio.read(song), "flac")
    both, out = [song, tmp_path / "song.flac"], tmp_path / "out"
    assert run(*both, "--output", out) == 1
    pattern = "{name}.{ext}/{source}"
    assert f'give --name "{pattern}"' in capsys.readouterr().err
    assert run(*both, "--output", out, "--name", pattern) == 0
    assert names(out) == ["song.flac", "song.wav"]
    assert names(out / "song.flac") == names(out / "song.wav")


def test_a_suffix_in_capitals_tells_no_inputs_apart(tmp_path, song, capsys):
    (tmp_path / "SONG.WAV").write_bytes(song.read_bytes())
    both, pattern = [song, tmp_path / "SONG.WAV"], "{name}.{ext}/{source}"
    assert run(*both, "--output", tmp_path / "out", "--name", pattern) == 1
    assert "would be written twice" in capsys.readouterr().err


def test_inputs_of_one_name_are_written_by_their_folders(tmp_path, song, capsys):
    for folder in ("d1", "d2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mix.wav").write_bytes(song.read_bytes())
    out = tmp_path / "out"
    mixes = [tmp_path / "d1" / "mix.wav", tmp_path / "d2" / "mix.wav"]
    again = tmp_path / "d1" / ".." / "d1" / "mix.wav"
    assert run(*mixes, again, song, "--output", out) == 0
    stems = sorted(str(path.relative_to(out)) for path in out.rglob("vocals.wav"))
    assert stems == ["d1/mix/vocals.wav", "d2/mix/vocals.wav", "song/vocals.wav"]
    assert capsys.readouterr().out.count("2 stems") == 3


@pytest.mark.parametrize("word", ["--skip-done", "--skip-existing"])
def test_a_repeated_batch_does_what_is_left(tmp_path, song, capsys, word):
    other = tmp_path / "other.wav"
    other.write_bytes(song.read_bytes())
    out = tmp_path / "out"
    assert run(song, "--output", out) == 0
    assert run(song, other, "--output", out) == 1
    printed = capsys.readouterr()
    assert "other.wav: 2 stems" in printed.out
    assert "exists; give --overwrite" in printed.err
    assert printed.err.endswith("separate: 1 of 2 files are done, 1 failed\n")
    assert run(song, other, "--output", out, word) == 0
    printed = capsys.readouterr()
    assert printed.out.count("skipped, done in") == 2
    assert printed.err == "separate: 2 of 2 files are done, 2 of them before\n"
    (out / "song" / "rest.wav").unlink()
    assert run(song, other, "--output", out, word) == 0
    printed = capsys.readouterr()
    assert "song.wav: 2 stems" in printed.out
    assert printed.err == "separate: 2 of 2 files are done, 1 of them before\n"


def test_no_input_of_a_batch_is_replaced(tmp_path, song, capsys):
    stem = tmp_path / "song" / "vocals.wav"
    stem.parent.mkdir()
    stem.write_bytes(song.read_bytes())
    before = stem.read_bytes()
    assert run(song, stem, "--output", tmp_path, "--overwrite") == 1
    assert "is an input and would be replaced" in capsys.readouterr().err
    assert stem.read_bytes() == before
    assert not (tmp_path / "song" / "rest.wav").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--targets", "vocals,rest", "SONG"],
        ["--targets", "vocals", "rest", "SONG"],
        ["SONG", "--targets", "vocals", "rest"],
        ["--targets", "rest, vocals", "--format", "wav", "SONG"],
    ],
)
def test_targets_leave_files_to_the_inputs(tmp_path, song, words):
    given = [song if word == "SONG" else word for word in words]
    assert run(*given, "--output", tmp_path / "out") == 0
    stems = names(tmp_path / "out" / "song")
    assert stems == ["report.json", "rest.wav", "vocals.wav"]


@pytest.mark.parametrize(("words", "rate"), [([], 22050), (["model"], RATE)])
def test_stems_have_the_rate_that_is_asked_for(tmp_path, capsys, words, rate):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 9000)).astype(np.float32)
    audio.write(tmp_path / "high.wav", wave, 22050)
    words = ["--sample-rate", *words] if words else []
    assert run(tmp_path / "high.wav", "--output", tmp_path / "out", *words) == 0
    assert audio.probe(tmp_path / "out" / "high" / "rest.wav").sample_rate == rate
    line = capsys.readouterr().out
    assert float(line.split("mixture by ")[1].split(" dB")[0]) < -120


def test_inputs_may_be_anywhere_among_the_options(tmp_path, song):
    other = tmp_path / "other.wav"
    other.write_bytes(song.read_bytes())
    assert run(song, "--output", tmp_path / "out", other, "--targets", "rest") == 0
    assert len(list((tmp_path / "out").rglob("rest.wav"))) == 2


@pytest.mark.parametrize("words", [[], ["--targets", "rest"], ["--activity"]])
def test_words_after_two_dashes_are_files(tmp_path, song, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    for name in ("-a.wav", "b"):
        shutil.copy(song, name)
    words = ["--output", "out", *words, "--", "-a.wav", "b"]
    assert run(*words) == 0, capsys.readouterr().err
    assert names(tmp_path / "out") == ["-a", "b"]


def test_a_file_that_looks_like_an_option_is_explained(
    tmp_path, song, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    song.rename("-a.wav")
    with pytest.raises(SystemExit, match="2"):
        run("-a.wav", "--output", "out")
    assert "-a.wav begins with a dash, as an option; write ./-a.wav" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("option", ["--trgets", "--" + "x" * 300])
def test_an_unknown_option_between_files_is_named(tmp_path, song, capsys, option):
    with pytest.raises(SystemExit, match="2"):
        run(song, option, song, "--output", tmp_path / "out")
    assert f"unrecognized arguments: {option}" in capsys.readouterr().err


def test_a_folder_without_sound_is_reported_in_one_sentence(tmp_path, capsys):
    (tmp_path / "cover.jpg").touch()
    assert run(tmp_path, "--output", tmp_path / "out") == 1
    assert "holds no sound: no file in it or below it ends" in capsys.readouterr().err
    assert names(tmp_path) == ["cover.jpg"]


def test_an_output_that_cannot_be_written_is_reported_in_one_sentence(
    tmp_path, song, capsys
):
    assert run(song, "--output", song) == 1
    assert "choose another --output" in capsys.readouterr().err


def test_help_states_units_and_defaults(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--help")
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("Separate sounds.", "SECONDS", "in seconds", "(default: tiny)"):
        assert words in text
    for option in ("model", "output", "format", "segment", "overlap", "targets"):
        assert f"--{option} " in text
    assert "--overwrite" in text


def test_a_failed_download_names_the_models_that_need_none(tmp_path, song, capsys):
    words = [song, "--output", tmp_path / "out", "--model", "published"]
    assert run(*words, pillar="unmix") == 1
    line = capsys.readouterr().err
    assert line.startswith(
        "separate: it cannot be downloaded; no network is needed for"
    )
    assert "music4" in line
    assert run(*words) == 1
    assert capsys.readouterr().err == "separate: it cannot be downloaded\n"


def test_usage_errors_have_a_code_too():
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2


def test_a_pillar_has_words_and_a_form_of_its_own(tmp_path, song, capsys):
    words = {"input": ["--input"], "model": ["--weights"], "output": ["-o"]}
    options = {"words": words, "form": lambda options: Form("{name}_{source}")}
    given = ["--input", song, "-o", tmp_path / "out", "--weights", "missing"]
    assert run(*given, **options) == 1
    assert "model 'missing' is not known" in capsys.readouterr().err
    given[-1] = "tiny"
    assert run(*given, **options) == 0
    written = names(tmp_path / "out")
    assert written == ["song_report.json", "song_rest.wav", "song_vocals.wav"]
    with pytest.raises(SystemExit) as stop:
        run("-o", "out", **options)
    assert stop.value.code == 2
    assert "no sound file is named" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("input", [""]),
        ("model", ["a.wav", "--model", ""]),
        ("output", ["a.wav", "--output", ""]),
    ],
)
def test_an_empty_path_is_refused(tmp_path, monkeypatch, capsys, name, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        run(*words)
    assert f"{name} is empty; is the variable that" in capsys.readouterr().err
    assert names(tmp_path) == []


@pytest.mark.slow
def test_a_process_shows_no_traceback(tmp_path):
    program = """
        import sys
        from common.separation import Separator
        from common.separation.command import command

        def load(model):
            raise ValueError("model has no weights; train it first")

        sys.exit(command(load, sys.argv[1:], "Separate.", model="x"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "a.wav")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "separate: model has no weights; train it first\n"
