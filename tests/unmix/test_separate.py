"""The whole separator beside the original's estimates, and its command lines."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import unmix
from common import audio
from common.separation.separator import SeparationError
from unmix import separate, umx_command, weights
from unmix.filtering.numpy_wiener import Options
from unmix.filtering.two_pass import TwoPassSeparator

MODEL = Path(__file__).resolve().parents[1] / "golden" / "unmix" / "estimates"
MONO = MODEL.parent / "original_micro_mono"
REFERENCE = dict(np.load(MODEL / "reference.npz"))
AUDIO = REFERENCE.pop("audio")
RATE = 8000


@pytest.fixture(scope="module")
def separator():
    return unmix.load(MODEL)


LOAD, LOADED = separate.load, {}


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    """Give the same separator for the same options: its graphs take seconds to make."""

    def load(*arguments, **options):
        key = repr((arguments, options))
        if key not in LOADED:
            LOADED[key] = LOAD(*arguments, **options)
        return LOADED[key]

    for module in (separate, umx_command):
        monkeypatch.setattr(module, "load", load)


@pytest.fixture
def song(tmp_path):
    """Two seconds of stereo noise."""
    file = tmp_path / "song.wav"
    noise = np.random.default_rng(0).standard_normal([2, 2 * RATE]) * 0.1
    audio.write(file, noise.astype(np.float32), RATE)
    return file


@pytest.mark.parametrize("name", REFERENCE)
def test_estimates_are_those_of_the_original(name):
    niter, softmask, residual, window = re.findall(r"\d+|None", name)
    separator = unmix.load(
        MODEL,
        niter=int(niter),
        softmask=softmask == "1",
        residual=residual == "1",
        wiener_win_len=None if window == "None" else int(window),
    )
    estimates = np.stack(list(separator(AUDIO[0]).values()))
    np.testing.assert_allclose(estimates, REFERENCE[name][0], atol=1e-5)
    names = ("vocals", "drums", "residual")
    assert separator.sources == names[: 2 + (residual == "1")]


def test_a_pass_reports_its_progress():
    separator, fractions = unmix.load(MODEL, wiener_win_len=20), []
    separator.watch(fractions.append)
    sound = np.random.default_rng(1).standard_normal([4, 40_000]).astype(np.float32)
    separator(sound)
    separator.watch(None)
    separator(sound[:1])
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert len(fractions) > 20
    assert max(np.diff(fractions)) < 0.1


@pytest.mark.one_lane
def test_blocks_are_close_to_one_pass(separator):
    sound = np.random.default_rng(1).standard_normal([2, 40_000]).astype(np.float32)
    whole = unmix.load(MODEL, segment_seconds=None, wiener_win_len=20)(sound)
    blocks = unmix.load(MODEL, segment_seconds=1.5, wiener_win_len=20)(sound)
    for name, estimate in whole.items():
        error = np.square(blocks[name] - estimate).sum()
        assert error < 1e-3 * np.square(estimate).sum()


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 2001])
@pytest.mark.parametrize("channels", [1, 2, 5, 6])
@pytest.mark.one_lane
def test_any_sound_is_separated(separator, channels, samples):
    sound = np.random.default_rng(2).standard_normal([channels, samples])
    estimates = separator(sound.astype(np.float32))
    for estimate in estimates.values():
        assert estimate.shape == (channels, samples)
        assert np.isfinite(estimate).all()
    if channels == 6:
        alone = separator(sound[2:4].astype(np.float32))
        np.testing.assert_allclose(estimates["drums"][2:4], alone["drums"], atol=1e-6)


def test_the_last_samples_are_not_louder_than_the_others():
    """The last frame of 1024 samples ends one sample after the sound."""
    separator = unmix.load("mini")
    hop = separator.network.config.hop_samples
    seconds = np.arange(40 * hop - 1) / separator.sample_rate
    tones = 2 * np.pi * np.array([[220.0], [440.0]]) * seconds
    sound = 0.1 * (np.sin(tones) + np.sin(2.1 * tones))
    estimates = separator(sound.astype(np.float32))
    levels = np.abs(np.stack([*estimates.values()]))
    assert levels[..., -hop:].max() < 2 * levels[..., hop:-hop].max()
    np.testing.assert_allclose(sum(estimates.values()), sound, atol=0.01)


def test_silence_stays_silence(separator):
    for estimate in separator(np.zeros([2, 3000], np.float32)).values():
        assert not estimate.any()


@pytest.mark.one_lane
def test_a_mono_network_takes_equal_and_different_channels():
    network = TwoPassSeparator(weights.load(MONO), Options(residual=True))
    sound = np.random.default_rng(3).standard_normal([1, 2, 2000]).astype(np.float32)
    equal = np.repeat(sound[:, :1], 2, axis=1)
    one = network(equal[:, :1])
    np.testing.assert_array_equal(network(equal)[:, :, :1], one)
    different = network(sound)
    assert np.abs(different[:, :, 0] - different[:, :, 1]).max() > 1e-3


@pytest.mark.one_lane
def test_a_single_target_is_filtered_against_the_rest():
    alone = unmix.load(MODEL, ["vocals"])
    both = unmix.load(MODEL, ["vocals"], residual="rest")
    assert alone.sources == ("vocals",)
    assert both.sources == ("vocals", "rest")
    vocals = alone(AUDIO[0])["vocals"]
    np.testing.assert_allclose(vocals, both(AUDIO[0])["vocals"], atol=1e-6)
    assert np.abs(vocals - AUDIO[0]).max() > 0.01


@pytest.mark.one_lane
def test_aggregate_sums(separator, caplog):
    summed = unmix.load(MODEL, aggregate={"all": ["vocals", "drums"]})
    apart = separator(AUDIO[0])
    together = summed(AUDIO[0])["all"]
    np.testing.assert_allclose(together, apart["vocals"] + apart["drums"], atol=1e-6)
    assert not caplog.messages
    unmix.load(MODEL, aggregate={"voice": ["vocals"]})
    assert caplog.messages == ["aggregate leaves out drums"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"aggregate": {"rest": ["bass"]}}, "aggregate makes 'rest' of 'bass'"),
        ({"aggregate": {}}, "aggregate is {}; expected one source or more"),
        ({"aggregate": {"rest": []}}, "each the sum of some of vocals, drums"),
        ({"wiener_win_len": -5}, "wiener_win_len is -5; expected the frames"),
        ({"alpha": 2.0}, "alpha=2"),
        ({"logit": 0.4}, "logit=0.4"),
        ({"residual": "drums"}, "residual is named 'drums' like a target"),
        ({"targets": ["bass"]}, "has no target bass"),
    ],
)
@pytest.mark.one_lane
def test_bad_options_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        unmix.load(MODEL, **options)


@pytest.mark.one_lane
def test_aliases_of_options(song, tmp_path, capsys):
    words = [str(song), "--model", str(MODEL), "--output", str(tmp_path / "out")]
    assert separate.main([*words, "--residual", "rest", "--targets", "rest"]) == 0
    written = sorted(f.name for f in (tmp_path / "out" / "song").iterdir())
    assert written == ["report.json", "rest.wav"]
    assert "song.wav: 1 stem of 2.0 s" in capsys.readouterr().out


@pytest.mark.one_lane
def test_words_of_the_original(song, tmp_path):
    out = tmp_path / "stems"
    words = [str(song), "--model", str(MODEL), "--outdir", str(out)]
    assert umx_command.main([*words, "--start", "0.5", "--ext", "flac"]) == 0
    stems = sorted(file.name for file in (out / "song").iterdir())
    assert stems == ["drums.flac", "vocals.flac"]
    assert audio.probe(out / "song" / "drums.flac").samples == 1.5 * RATE


@pytest.mark.parametrize(
    "flag", ["--outdir=x", "--ext=.wav", "--no-cuda", "--samplerate=8000"]
)
def test_options_of_the_original_belong_only_to_umx_tf(song, flag, capsys):
    with pytest.raises(SystemExit) as stop:
        separate.main([str(song), "--model", str(MODEL), flag])
    assert stop.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


@pytest.mark.one_lane
def test_umx_tf_never_replaces_an_input(tmp_path, song, capsys):
    stem = tmp_path / "vocals" / "vocals.wav"
    stem.parent.mkdir()
    stem.write_bytes(song.read_bytes())
    words = ["--model", str(MODEL), "--outdir", str(tmp_path), "--overwrite"]
    assert umx_command.main([str(stem), *words]) == 1
    assert umx_command.main([str(stem), *words, "--start", "1"]) == 1
    assert capsys.readouterr().err.count("would be replaced") == 2
    assert stem.read_bytes() == song.read_bytes()


@pytest.mark.one_lane
def test_umx_tf_separates_songs_of_one_name_into_two_folders(tmp_path, song):
    songs = [tmp_path / folder / "mix.wav" for folder in ("d1", "d2")]
    for file in songs:
        file.parent.mkdir()
        file.write_bytes(song.read_bytes())
    words = ["--model", str(MODEL), "--outdir", str(tmp_path / "out"), "--targets"]
    assert umx_command.main([*words, "vocals,drums", *map(str, songs)]) == 0
    folders = {str(f.parent.parent.name) for f in (tmp_path / "out").rglob("drums.wav")}
    assert folders == {"d1", "d2"}


@pytest.mark.one_lane
def test_the_residual_leaves_a_file_to_the_inputs(tmp_path, song):
    words = ["--model", str(MODEL), "--output", str(tmp_path), "--residual", str(song)]
    assert separate.main(words) == 0
    assert (tmp_path / "song" / "residual.wav").exists()


@pytest.mark.one_lane
def test_without_outdir_the_folder_is_named_for_song_and_model(
    song, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = [str(song), "--model", str(MODEL), "--ext", ".wav", "--duration", "1"]
    assert umx_command.main(words) == 0
    assert audio.probe(tmp_path / "song_estimates" / "vocals.wav").samples == RATE


@pytest.mark.one_lane
def test_a_broken_file_does_not_stop_the_rest(song, tmp_path, capsys):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF of nothing")
    out = tmp_path / "stems"
    words = [str(broken), str(song), "--model", str(MODEL), "--outdir", str(out)]
    assert umx_command.main(words) == 1
    assert (out / "song" / "vocals.wav").exists()
    assert str(broken) in capsys.readouterr().err
    assert [folder.name for folder in out.iterdir()] == ["song"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--ext", ".xyz"], "--ext is '.xyz'"),
        (["--ext", ".wav", "--start", "9"], "leaves nothing of"),
        (["--ext", ".wav", "--samplerate", "44100"], "--samplerate is 44100"),
    ],
)
@pytest.mark.one_lane
def test_bad_words_are_named(song, tmp_path, capsys, words, sentence, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert umx_command.main([str(song), "--model", str(MODEL), *words]) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.one_lane
def test_existing_stems_stay(song, tmp_path, capsys):
    words = [str(song), "--model", str(MODEL), "--outdir", str(tmp_path)]
    assert umx_command.main(words) == 0
    assert umx_command.main(words) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_only_filtered_estimates_add_up(separator):
    assert not separator.complete  # vocals and drums alone
    assert unmix.load(MODEL, residual=True).complete
    assert not unmix.load(MODEL, residual=True, niter=0).complete
    assert unmix.load(MODEL, residual=True, niter=0, softmask=True).complete


def test_networks_that_differ_in_dropout_alone_are_joined(monkeypatch):
    pair = weights.load(MODEL, ["vocals", "drums"])
    pair["drums"].config = replace(pair["drums"].config, dropout=0.1)
    monkeypatch.setattr(weights, "load", lambda *_: pair)
    assert unmix.load("dropout").sources == ("vocals", "drums")


def test_networks_of_different_shapes_are_refused(monkeypatch):
    pair = {"a": weights.load(MODEL)["vocals"], "b": weights.load(MONO)["vocals"]}
    monkeypatch.setattr(weights, "load", lambda *_: pair)
    with pytest.raises(SeparationError, match="networks of a and b differ"):
        unmix.load("pair")
