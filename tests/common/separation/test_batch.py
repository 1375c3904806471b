"""Batches: what is done is skipped, what is stale is not, what is bad is named."""

import io
import json
import os
import sys
from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import soundfile

from common import __version__, audio
from common.separation import batch, report
from common.separation.command import command
from common.separation.outputs import Form
from common.separation.separator import Separator

RATE = 8000
SCHEMA = json.loads(report.SCHEMA.read_text("utf-8"))


def load(model, factor=0.75):
    def network(batch):
        return np.stack([factor * batch, (1 - factor) * batch], 1)

    sources = ["vocals", "rest"]
    weights = f"{model} {factor}".encode().hex().ljust(64, "0")
    return Separator(network, sources, RATE, named=True, digest=lambda: weights)


def configure(parser):
    parser.add_argument("--factor", type=float, default=0.75)


def run(*arguments, **options):
    words = [str(argument) for argument in arguments]
    options = {"configure": configure, **options}
    return command(load, words, "Separate sounds.", model="tiny", **options)


def noise(samples=9000, channels=1, seed=0):
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, samples))
    return wave.astype(np.float32)


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    audio.write(path, noise(), RATE)
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def reports(capsys):
    """Run with ``--json``; returns the exit code and a report for each line."""

    def run_json(*arguments, **options):
        capsys.readouterr()
        code = run("--json", *arguments, **options)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        for line in lines:
            jsonschema.validate(line, SCHEMA)
        return code, lines

    return run_json


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_line_and_a_file_state_what_was_made(song, out, reports):
    code, (line,) = reports(song, "--output", out, "--format", "wav16", "--factor", 3)
    assert code == 0
    assert json.loads((out / "song" / "report.json").read_text()) == line
    assert line["input"]["sha256"] == batch.digest(song)
    assert line["input"]["path"] == str(song)
    assert line["model"] == {"name": "tiny", "sha256": load("tiny", 3.0).digest()}
    assert line["options"]["factor"] == 3.0
    assert line["options"]["format"] == "wav16"
    stem = line["stems"]["vocals"]
    samples, _ = soundfile.read(out / "song" / stem["path"])
    expected = 3 * audio.read(song)[0]
    assert stem["peak"] == pytest.approx(float(np.abs(expected).max()))
    assert stem["clipped"] == np.count_nonzero(np.abs(expected) > 1) > 100
    assert stem["bytes"] == (out / "song" / "vocals.wav").stat().st_size
    assert line["seconds"] == len(samples) / RATE == 9000 / RATE
    assert line["real_time_factor"] == pytest.approx(
        line["elapsed_seconds"] / line["seconds"], abs=1e-4
    )
    assert line["residual_db"] == "-inf" or line["residual_db"] < -120
    assert line["versions"]["suite"] == __version__


def test_the_report_states_levels_over_time_and_when_a_stem_is_active(
    tmp_path, out, reports
):
    bursts = np.zeros([2, 30_000], np.float32)
    bursts[:, 6_000:10_000] = 0.4
    bursts[0, 20_000:20_400] = 0.02
    bursts[:, 26_000:] = 0.2
    audio.write(tmp_path / "a.wav", bursts, RATE)
    words = "--activity", "0.5", "--start", "0.25", "--format", "wav16"
    code, (line,) = reports(tmp_path / "a.wav", "--output", out, *words)
    activity = line["activity"]
    read = bursts[:, 2_000:].astype(np.float64)
    windows = [read[:, i : i + 4_000] for i in range(0, 28_000, 4_000)]
    with np.errstate(divide="ignore"):
        levels = [10 * np.log10(np.square(window).mean()) for window in windows]
    numbers = [-np.inf if each == "-inf" else each for each in activity["mixture_db"]]
    assert (code, activity["window_seconds"]) == (0, 0.5)
    assert numbers == pytest.approx(levels, abs=0.02)
    rest = activity["stems"]["rest"]
    assert rest["levels_db"][1] == pytest.approx(levels[1] + 20 * np.log10(0.25), 0.01)
    assert rest["active"] == [[0.75, 1.25], [3.25, 3.75]]
    assert reports(tmp_path / "a.wav", "--output", tmp_path)[1][0]["activity"] is None


def test_silence_has_a_report_too(tmp_path, out, reports):
    audio.write(tmp_path / "a.wav", np.zeros([1, 900], np.float32), RATE)
    code, (line,) = reports(tmp_path / "a.wav", "--output", out, "--activity")
    assert code == 0
    assert line["stems"]["vocals"]["level_db"] == line["residual_db"] == "-inf"
    silent = {"levels_db": ["-inf"], "active": []}
    assert line["activity"]["stems"] == {"vocals": silent, "rest": silent}


def test_nothing_but_json_goes_to_standard_output(song, out, capsys):
    def talking(model, **options):
        sys.stdout.write("a word\n")
        return load(model, **options)

    words = [str(song), "--model", "x", "--output", str(out), "--json"]
    assert command(talking, words, "Separate.", configure=configure) == 0
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1
    assert json.loads(printed.out)["status"] == "done"
    assert printed.err == "a word\n"


def test_bad_files_are_named_with_their_reason(tmp_path, song, out, reports):
    (tmp_path / "bad.wav").write_bytes(b"RIFF no sound")
    (tmp_path / "empty.mp3").touch()
    code, lines = reports(tmp_path, "--output", out)
    assert code == 1
    errors = {
        line["input"]["path"]: line["error"]
        for line in lines
        if line["status"] == "failed"
    }
    assert set(errors) == {str(tmp_path / "bad.wav"), str(tmp_path / "empty.mp3")}
    assert "is empty (0 bytes)" in errors[str(tmp_path / "empty.mp3")]
    assert sorted(path.name for path in out.iterdir()) == ["song"]


def test_a_fault_of_the_program_does_not_stop_the_others(tmp_path, out, capsys):
    for name, seed in (("a", 0), ("b", 1)):
        audio.write(tmp_path / f"{name}.wav", noise(seed=seed), RATE)
    first = audio.read(tmp_path / "a.wav")[0][0, 0]

    def faulty(model, **options):
        def network(batch):
            if batch[0, 0, 0] == first:
                raise RuntimeError("no memory\nat all")
            return np.stack([batch, batch], 1)

        return Separator(network, ["x", "y"], RATE, named=True)

    words = [str(tmp_path), "--model", "x", "--output", str(out)]
    assert command(faulty, words, "Separate.") == 1
    printed = capsys.readouterr()
    assert "a.wav: RuntimeError: no memory\n" in printed.err
    assert "Traceback" in printed.err
    assert printed.out.startswith("b.wav: 2 stems")


@pytest.mark.parametrize(
    "words",
    [
        ["--factor", "0.5"],
        ["--model", "other"],
        ["--format", "wav24"],
        ["--targets", "rest"],
        ["--two-stems", "vocals"],
        ["--start", "0.5"],
        ["--duration", "0.5"],
        ["--sample-rate", "model"],
        ["--name", "{track}/x_{source}"],
        ["--activity"],
    ],
)
def test_other_options_are_not_done(song, out, reports, words):
    assert run(song, "--output", out) == 0
    code, (line,) = reports(song, "--output", out, "--skip-done", *words)
    assert (code, line["status"]) == (0, "done")
    code, (line,) = reports(song, "--output", out, "--skip-done", *words)
    assert (code, line["status"]) == (0, "skipped")


@pytest.mark.parametrize("word", ["--skip-done", "--overwrite"])
def test_stems_of_an_earlier_separation_that_stay_are_named(song, out, capsys, word):
    assert run(song, "--output", out) == 0
    assert capsys.readouterr().err == ""
    assert run(song, "--output", out, "--format", "flac", word) == 0
    assert capsys.readouterr().err == (
        f"separate: {song}: rest.wav, vocals.wav in {out / 'song'} stay from an "
        "earlier separation; report.json describes only the new stems\n"
    )
    assert run(song, "--output", out, "--format", "flac", word) == 0
    assert capsys.readouterr().err == ""


def test_the_report_on_other_stems_stays_without_overwrite(song, out, reports, capsys):
    words = (song, "--output", out, "--targets")
    assert reports(*words, "vocals")[0] == 0
    before = (out / "song" / "report.json").read_bytes()
    code, (line,) = reports(*words, "rest")
    assert code == 1
    assert "describes vocals.wav beside it; give --overwrite" in line["error"]
    assert (out / "song" / "report.json").read_bytes() == before
    assert not (out / "song" / "rest.wav").exists()
    assert reports(*words, "rest", "--overwrite")[0] == 0
    (out / "song" / "rest.wav").unlink()
    assert reports(*words, "vocals", "--overwrite")[0] == 0


def test_only_another_content_of_the_input_is_not_done(song, out, reports):
    words = [song, "--output", out, "--skip-done"]
    assert run(*words) == 0
    status = song.stat()
    # Of the same size and date, as files of corpora are.
    audio.write(song, noise(seed=1), RATE)
    os.utime(song, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert song.stat().st_size == status.st_size
    assert reports(*words)[1][0]["status"] == "done"
    os.utime(song)
    assert reports(*words)[1][0]["status"] == "skipped"


def test_an_input_that_has_moved_is_done(tmp_path, song, out, reports):
    assert run(song, "--output", out) == 0
    (tmp_path / "moved").mkdir()
    song.rename(tmp_path / "moved" / "song.wav")
    words = [tmp_path / "moved" / "song.wav", "--output", out, "--skip-done"]
    assert reports(*words)[1][0]["status"] == "skipped"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 0}'])
def test_a_damaged_report_is_of_nothing(song, out, reports, text):
    assert run(song, "--output", out) == 0
    (out / "song" / "report.json").write_text(text)
    words = [song, "--output", out, "--skip-done", "--overwrite"]
    with pytest.raises(SystemExit):
        run(*words)
    code, (line,) = reports(*words[:-1])
    is_ours = text == '{"format": 1}'
    assert (code, line["status"]) == ((0, "done") if is_ours else (1, "failed"))
    if not is_ours:
        assert "is not a report of this program; give --overwrite" in line["error"]
        assert (out / "song" / "report.json").read_text() == text


@pytest.mark.parametrize("stem", ["vocals.wav", "rest.wav"])
def test_a_stem_that_is_shorter_than_reported_is_not_done(song, out, reports, stem):
    words = [song, "--output", out, "--skip-done"]
    assert run(*words) == 0
    whole = (out / "song" / stem).read_bytes()
    (out / "song" / stem).write_bytes(whole[:-4])
    assert reports(*words)[1][0]["status"] == "done"
    assert (out / "song" / stem).read_bytes() == whole


def test_no_report_is_left_beside_stems_of_another_run(song, out, monkeypatch):
    """A kill between two stems leaves no report, else it would be that of the first."""
    assert run(song, "--output", out) == 0

    def killed(*arguments, **options):
        assert not (out / "song" / "report.json").exists()
        raise SystemExit(9)

    monkeypatch.setattr(batch, "separate_file", killed)
    with pytest.raises(SystemExit):
        run(song, "--output", out, "--factor", "0.5", "--overwrite")
    assert not (out / "song" / "report.json").exists()


def test_an_input_that_changes_meanwhile_is_a_failure(song, out, capsys, monkeypatch):
    separate = batch.separate_file

    def slow(*arguments, **options):
        summary = separate(*arguments, **options)
        audio.write(song, noise(seed=2), RATE)
        return summary

    monkeypatch.setattr(batch, "separate_file", slow)
    assert run(song, "--output", out) == 1
    assert "changed while it was separated" in capsys.readouterr().err
    assert not (out / "song" / "report.json").exists()


def test_a_folder_keeps_its_tree(tmp_path, out, capsys):
    for folder in ("a", "a/b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        audio.write(tmp_path / "in" / folder / "x.wav", noise(), RATE)
    (tmp_path / "in" / "notes.txt").touch()
    assert run(tmp_path / "in", "--output", out) == 0
    stems = sorted(path.relative_to(out).as_posix() for path in out.rglob("rest.wav"))
    assert stems == ["a/b/x/rest.wav", "a/x/rest.wav"]
    error = capsys.readouterr().err
    assert "1 file is left out, not sound by their suffix, such as" in error
    assert error.endswith("notes.txt\n")


def test_stems_go_where_the_name_says(song, out):
    assert run(song, "--output", out, "--name", "{source}/{track}") == 0
    written = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*"))
    assert written == ["report/song.json", "rest/song.wav", "vocals/song.wav"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--name", "{title}"], "the unknown field {title}"),
        (["--name", "{track}"], "song.wav would be written twice, for"),
        (["--name", "../{source}"], "leads out of the output folder"),
        (["--two-stems", "bass"], "bass is not among the model's sources"),
        (["--start", "-1"], "start is -1 s; expected 0 or more"),
        (["--duration", "0"], "duration is 0 s; expected more than 0"),
        (["--start", "5"], "start 5 s leaves nothing of"),
        (["--activity", "0"], "activity is 0 s; expected the length of a window"),
        (["--jobs", "0"], "jobs is 0; expected 1 or more"),
        (["--device", "tpu"], "device is 'tpu'; expected cpu, gpu or gpu:1"),
    ],
)
def test_bad_arguments_are_reported_in_one_sentence(song, out, capsys, words, sentence):
    assert run(song, "--output", out, *words) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert sentence in printed.err
    assert not out.exists()


def test_two_files_of_one_name_are_refused_before_any_work(tmp_path, out, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        audio.write(tmp_path / folder / "x.wav", noise(), RATE)
    songs = [tmp_path / "a", tmp_path / "b"]
    assert run(*songs, "--output", out, "--name", "{track}/{source}") == 1
    assert "x/vocals.wav would be written twice, for" in capsys.readouterr().err
    assert not out.exists()
    assert run(*songs, "--output", out) == 0


def test_stems_do_not_go_among_the_sounds_of_an_input(tmp_path, song, capsys):
    assert run(tmp_path, "--output", tmp_path) == 1
    assert "is the input and the --output" in capsys.readouterr().err
    (tmp_path / "in" / "x").mkdir(parents=True)
    song.rename(tmp_path / "in" / "x" / "a.wav")
    words = [tmp_path / "in" / "x", "--output", tmp_path / "in"]
    assert run(*words, "--name", "{parent}/{source}") == 1
    assert "would lie among the sounds of" in capsys.readouterr().err
    inside = ["--output", tmp_path / "in" / "separated"]
    assert run(tmp_path / "in", *inside) == 0
    assert run(tmp_path / "in", *inside, "--skip-done") == 0
    assert "1 of them" not in capsys.readouterr().err


def test_two_stems_add_up(song, out, capsys):
    assert run(song, "--output", out, "--two-stems", "vocals") == 0
    assert "the rest is the mixture minus vocals" in capsys.readouterr().out
    stems = [audio.read(out / "song" / f"{n}.wav")[0] for n in ("vocals", "no_vocals")]
    np.testing.assert_allclose(sum(stems), audio.read(song)[0], atol=1e-7)
    assert not (out / "song" / "rest.wav").exists()


def test_two_stems_of_sources_that_are_not_all_add_up(tmp_path, out):
    audio.write(tmp_path / "a.wav", noise(40_000, 2), 44100)

    def few(model):
        return Separator(lambda x: x[:, None] / 2, ["vocals"], RATE, complete=False)

    words = [str(tmp_path / "a.wav"), "--output", str(out), "--two-stems", "vocals"]
    assert command(few, words, "Separate.", model="x") == 0
    stems = [audio.read(out / "a" / f"{n}.wav")[0] for n in ("vocals", "no_vocals")]
    np.testing.assert_allclose(sum(stems), audio.read(tmp_path / "a.wav")[0], atol=1e-6)


def test_a_part_is_that_part_of_the_file(song, out):
    words = ["--start", "0.25", "--duration", "0.5", "--format", "wav"]
    assert run(song, "--output", out, *words) == 0
    stem, _ = audio.read(out / "song" / "vocals.wav")
    whole, _ = audio.read(song)
    np.testing.assert_array_equal(stem, np.float32(0.75) * whole[:, 2000:6000])


def test_a_preview_is_the_loudest_part(tmp_path, out, reports):
    sound = noise(30 * RATE) / 10
    sound[:, 8 * RATE :] *= 5
    audio.write(tmp_path / "a.wav", sound, RATE)
    code, (line,) = reports(tmp_path / "a.wav", "--output", out, "--preview")
    assert (code, line["seconds"]) == (0, 20)
    assert 8 <= line["start_seconds"] <= 10
    stem, _ = audio.read(out / "a" / "vocals.wav")
    start = round(line["start_seconds"] * RATE)
    whole, _ = audio.read(tmp_path / "a.wav")
    expected = np.float32(0.75) * whole[:, start : start + 20 * RATE]
    np.testing.assert_array_equal(stem, expected)
    with pytest.raises(SystemExit):
        run(tmp_path / "a.wav", "--preview", "--start", "3")


def test_a_part_of_the_original_is_written_beside_stems_of_a_part(song, out):
    options = {"form": lambda options: Form("{name}_{source}", original=True)}
    assert run(song, "--output", out, **options) == 0
    assert (out / "song_original.wav").read_bytes() == song.read_bytes()
    words = ["--overwrite", "--start", "1", "--format", "flac"]
    assert run(song, "--output", out, *words, **options) == 0
    part, _ = audio.read(out / "song_original.flac")
    np.testing.assert_allclose(part, audio.read(song)[0][:, RATE:], atol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "PCM_16"), ("aiff", "PCM_24"), ("flac", "PCM_16")]
)
def test_the_format_of_the_input_is_kept_with_its_tags(tmp_path, out, suffix, subtype):
    path = tmp_path / f"song.{suffix}"
    with soundfile.SoundFile(path, "w", RATE, 2, subtype) as file:
        file.title, file.artist = "Straße", "Ella"
        file.write(noise(3000, 2).T)
    assert run(path, "--output", out, "--format", "input") == 0
    with soundfile.SoundFile(out / "song" / f"vocals.{suffix}") as stem:
        assert stem.subtype == subtype
        assert (stem.title, stem.artist) == ("Straße", "Ella")


def test_a_format_that_is_not_written_fails_alone(tmp_path, song, out, capsys):
    soundfile.write(tmp_path / "a.au", noise()[0], RATE, "PCM_16")
    assert run(tmp_path, "--output", out, "--format", "input") == 1
    printed = capsys.readouterr()
    assert "a.au is AU, which is not written" in printed.err
    assert printed.out.startswith("song.wav: 2 stems")


def test_a_model_without_a_segment_is_refused_by_live_before_any_work(
    song, out, capsys
):
    assert run(song, "--output", out) == 0
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    capsys.readouterr()
    assert run(song, "--output", out, "--live", "--overwrite") == 1
    assert capsys.readouterr().err.startswith("separate: the model takes the whole")
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == before


def test_standard_input_is_an_input(song, out, reports, monkeypatch):
    data = song.read_bytes()
    for status in ("done", "skipped"):
        source = SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False)
        monkeypatch.setattr(sys, "stdin", source)
        code, (line,) = reports("-", "--output", out, "--skip-done")
        assert (code, line["status"], line["input"]["path"]) == (0, status, "-")
    assert sorted(path.name for path in out.iterdir()) == ["stdin"]
    stem, _ = audio.read(out / "stdin" / "vocals.wav")
    np.testing.assert_array_equal(stem, np.float32(0.75) * audio.read(song)[0])


def test_the_parent_of_standard_input_is_the_current_folder(
    tmp_path, song, out, monkeypatch
):
    source = SimpleNamespace(buffer=io.BytesIO(song.read_bytes()), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", source)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run("-", "--output", out, "--name", "{parent}-{source}") == 0
    names = ["here-report.json", "here-rest.wav", "here-vocals.wav"]
    assert sorted(path.name for path in out.iterdir()) == names


def test_a_name_that_is_too_long_is_reported_in_one_sentence(tmp_path, out, capsys):
    song = tmp_path / f"{'n' * 250}.wav"
    audio.write(song, noise(), 8000)
    assert run(song, "--output", out, "--name", "{track}_{source}") == 1
    assert (
        "File name too long; rename the input, or choose a" in capsys.readouterr().err
    )


def test_names_of_bytes_that_are_no_text_are_printed(tmp_path, song, out, reports):
    path = tmp_path / os.fsdecode(b"gr\xfcn.wav")
    song.rename(path)
    code, (line,) = reports(path, "--output", out)
    assert code == 0
    assert line["input"]["path"].endswith("gr\\udcfcn.wav")
    assert reports(path, "--output", out, "--skip-done")[1][0]["status"] == "skipped"
    assert run(path, "--output", out, "--overwrite") == 0


def test_version_ends_the_command(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--version")
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"tf-separation-suite {__version__}\n"


def test_progress_is_reported_from_start_to_end(song, out):
    from common.separation.files import separate_file

    fractions = []
    separator = Separator(
        lambda x: x[:, None], ["all"], RATE, segment_seconds=0.25, named=True
    )
    separate_file(separator, song, out, progress=fractions.append)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)
    assert len(fractions) > 4

    def stop(fraction):
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        separate_file(separator, song, out / "b", progress=stop)
    assert not (out / "b").exists()


def test_the_trace_of_a_bad_file_is_printed_on_request(
    tmp_path, out, capsys, monkeypatch
):
    (tmp_path / "bad.wav").write_bytes(b"RIFF no sound")
    printed = []
    for value in ("", "1"):
        monkeypatch.setenv("SEPARATION_TRACEBACK", value)
        assert run(tmp_path / "bad.wav", "--output", out) == 1
        printed.append("Traceback" in capsys.readouterr().err)
    assert printed == [False, True]


def test_an_outcome_cannot_be_changed_after_it_was_reported():
    outcome = batch.Outcome("song.wav: 2 stems", {"status": "done"})
    with pytest.raises(FrozenInstanceError):
        outcome.line = "song.wav: 3 stems"


def test_a_file_that_needs_too_much_memory_is_one_line(song, out, capfd):
    def network(batch):
        raise MemoryError("Unable to allocate 5 GiB")

    separator = Separator(network, ["vocals"], RATE)
    item = batch.Input(song, "song", "song.wav")
    outcome = batch.attempt(separator, item, batch.Settings(out))
    assert outcome.line.startswith("song.wav: not enough memory; use a shorter")
    assert capfd.readouterr().err == ""
    assert not list(out.rglob("*.wav"))
