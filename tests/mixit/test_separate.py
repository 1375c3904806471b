"""From a trained run folder to stems and scores, by command and from Python."""

import dataclasses
import json

import numpy as np
import pytest

import mixit
from common import audio
from common.separation import command as separation_command
from common.separation.separator import Separator
from common.training.checkpoint import CheckpointError
from mixit import evaluate, separate


@pytest.fixture
def song(tmp_path):
    """Two seconds of stereo at 44.1 kHz, in 24 bits, under a difficult name."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 88200))
    path = tmp_path / "grüße 1.wav"
    audio.write(path, noise.astype(np.float32), 44100, "wav24")
    return path


def test_python(run):
    separator = mixit.load(run)
    assert separator.complete
    assert separator.sources == ("source0", "source1", "source2", "source3")
    assert (separator.sample_rate, separator.channels) == (8000, 1)
    for samples in (1, 31, 8000, 90001):
        noise = np.random.default_rng(1).standard_normal((1, samples))
        mixture = (0.1 * noise).astype(np.float32)
        estimates = separator(mixture)
        assert all(each.shape == mixture.shape for each in estimates.values())
        np.testing.assert_allclose(sum(estimates.values()), mixture, atol=1e-5)
    silence = separator(np.zeros((2, 500), np.float32))
    assert all(not each.any() for each in silence.values())


@pytest.mark.one_lane
def test_command(run, song, tmp_path, capsys):
    words = [str(song), "--model", str(run), "--output", str(tmp_path / "out")]
    assert separate.main(words) == 0
    assert "4 stems of 2.0 s" in capsys.readouterr().out
    stems = sorted((tmp_path / "out" / song.stem).glob("*.wav"))
    assert [stem.name for stem in stems] == [f"source{i}.wav" for i in range(4)]
    assert audio.probe(stems[0]) == (44100, 2, 88200)
    assert separate.main(words) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert separate.main([*words, "--overwrite", "--targets", "source1"]) == 0


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [("nothing", "does not exist; expected a run"), ("empty", "is no checkpoint")],
)
def test_no_model(tmp_path, song, capsys, broken, sentence):
    folder = tmp_path / broken
    if broken == "empty":
        folder.mkdir()
    assert separate.main([str(song), "--model", str(folder)]) == 1
    assert sentence in capsys.readouterr().err
    with pytest.raises(CheckpointError, match=sentence):
        mixit.load(folder)


@pytest.mark.one_lane
def test_evaluation_writes_rows_summary_and_pictures(run, tmp_path, capsys):
    output = tmp_path / "evaluation"
    words = ["--model", str(run), "--output", str(output), "--draw", "1"]
    assert evaluate.main(words) == 0
    assert "| MSi |" in capsys.readouterr().out
    rows = (output / "scores.csv").read_text().splitlines()
    assert len(rows) == 5
    summary = json.loads((output / "summary.json").read_text())
    assert summary["examples"] == 4
    assert summary["under"] + summary["equal"] + summary["over"] == pytest.approx(1)
    (drawn,) = [path for path in output.iterdir() if path.is_dir()]
    names = {path.name for path in drawn.iterdir()}
    assert {"mixture.wav", "background.wav", "source0.wav", "picture.png"} <= names


def test_evaluation_of_an_empty_folder_is_one_sentence(tmp_path, capsys):
    assert evaluate.main(["--model", str(tmp_path)]) == 1
    assert f"{tmp_path} is no checkpoint" in capsys.readouterr().err


def test_sources_that_are_longer_than_the_track_are_cut(run, corpus):
    from common.corpora import fuss

    (track, *_) = fuss.tracks(corpus, "eval")
    track = dataclasses.replace(track, samples=3000)
    assert evaluate.read_sources(track, 8000).shape == (len(track.sources), 3000)


@pytest.mark.parametrize(
    ("word", "rate", "training"),
    [("model", "model", None), ("input", "input", None), ("8000", "input", 8000)],
)
def test_sample_rate_is_that_of_the_stems_or_of_the_training(
    monkeypatch, word, rate, training
):
    seen = {}

    def load(path, **options):
        seen.update(options)
        return Separator(abs, ["a"], 8000)

    monkeypatch.setattr(separate, "load", load)
    monkeypatch.setattr(separation_command, "check_targets", lambda *_: None)
    monkeypatch.setattr(
        separation_command,
        "check_outputs",
        lambda *given: seen.update(form=given[-1].form),
    )
    monkeypatch.setattr(separation_command, "_report", lambda *_: 0)
    assert separate.main(["a.wav", "--model", "m", "--sample-rate", word]) == 0
    assert seen["form"].rate == rate
    assert seen["sample_rate"] == training
    with pytest.raises(SystemExit):
        separate.main(["a.wav", "--model", "m", "--sample-rate", "high"])


@pytest.fixture
def stereo(tmp_path):
    path = tmp_path / "mix.wav"
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4000)).astype(np.float32)
    audio.write(path, wave, 11025)
    return path


@pytest.fixture
def loaded(monkeypatch):
    """Options with which a model of three outputs was loaded, path first."""
    calls = []

    def load(path, segment_seconds=10.0, **options):
        calls.append((path, segment_seconds, options))

        def network(batch):
            return np.stack([0.5 * batch, 0.3 * batch, 0.2 * batch], 1)

        names = ["source0", "source1", "source2"]
        return Separator(network, names, 8000, segment_seconds=segment_seconds)

    monkeypatch.setattr(separate, "load", load)
    return calls


def run_in_google_words(stereo, *words):
    output = stereo.parent / "new" / "out.wav"
    return separate.main(["-i", str(stereo), "-o", str(output), "-m", "model", *words])


def test_google_words_write_every_source_like_the_file(stereo, loaded, capsys):
    assert run_in_google_words(stereo) == 0
    written = sorted((stereo.parent / "new").glob("*.wav"))
    assert [p.name for p in written] == [f"out_source{i}.wav" for i in range(3)]
    wave, rate = audio.read(written[0])
    assert (rate, wave.shape) == (11025, (2, 4000))
    total = sum(audio.read(path)[0] for path in written)
    np.testing.assert_allclose(total, audio.read(stereo)[0], atol=1e-3)
    assert "mix.wav: 3 stems" in capsys.readouterr().out
    assert run_in_google_words(stereo) == 1
    assert "exists; give --overwrite" in capsys.readouterr().err
    assert run_in_google_words(stereo, "--overwrite") == 0


def test_google_words_in_full(stereo, loaded):
    output = str(stereo.parent / "{out}.WAV")
    checkpoint = stereo.parent / "ckpt-1"
    checkpoint.with_suffix(".index").touch()
    words = ["--input", str(stereo), "--output", output, "--model_dir", "model"]
    more = [
        "-it",
        "in:0",
        "-ot",
        "out:0",
        "-bs",
        "0.125",
        "-ns",
        "3",
        "-c",
        str(checkpoint),
    ]
    assert separate.main([*words, *more, "--metagraph"]) == 0
    ((path, seconds, options),) = loaded
    assert (path, seconds) == (str(checkpoint), 0.125)
    named = {name: value for name, value in options.items() if value is not None}
    assert named == {
        "input_tensor": "in:0",
        "output_tensor": "out:0",
        "metagraph": True,
    }
    assert (stereo.parent / "{out}_source0.wav").exists()


def test_google_words_never_replace_the_input(stereo, loaded, capsys):
    named = stereo.with_name("mix_source0.wav")
    stereo.rename(named)
    before, output = named.read_bytes(), stereo.parent / "x" / ".." / "mix.wav"
    words = ["-i", str(named), "-o", str(output), "-m", "model", "--overwrite"]
    assert separate.main(words) == 1
    assert "is the input" in capsys.readouterr().err
    assert named.read_bytes() == before
    assert [path.name for path in stereo.parent.iterdir()] == ["mix_source0.wav"]


def test_google_words_that_do_not_fit_are_refused(stereo, loaded, capsys):
    assert run_in_google_words(stereo, "-ns", "2") == 1
    assert "--num_sources is 2, but the model has 3 outputs" in capsys.readouterr().err
    other = stereo.with_name("other.wav")
    other.write_bytes(stereo.read_bytes())
    assert run_in_google_words(stereo, "-i", str(other)) == 1
    assert "out_source0.wav would be written twice" in capsys.readouterr().err
    assert not (stereo.parent / "new").exists()


@pytest.mark.parametrize("flag", ["-ic", "--input_channels", "-oc"])
def test_google_words_without_a_counterpart_are_refused(stereo, loaded, capsys, flag):
    with pytest.raises(SystemExit):
        run_in_google_words(stereo, flag, "1")
    assert f"argument {flag}: not supported; " in capsys.readouterr().err
    assert not loaded
    assert not (stereo.parent / "new").exists()
