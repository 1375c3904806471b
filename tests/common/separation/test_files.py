"""Files in, stems out: lengths, levels, formats and all-or-nothing."""

import io
import math
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

from common import audio
from common.overwriting import OverwriteError
from common.separation import files as stems
from common.separation.files import separate_file
from common.separation.outputs import Form
from common.separation.separator import SeparationError, Separator

RATE = 16000


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def halves(batch):
    return np.stack([0.75 * batch, 0.25 * batch], 1)


def separator(network=halves, **options):
    sources = options.pop("sources", ("vocals", "rest"))
    options = {"segment_seconds": 0.5, "named": True, **options}
    return Separator(network, sources, RATE, **options)


def sine(samples, rate, channels=1):
    wave = 0.4 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)
    return np.repeat(wave[None], channels, 0).astype(np.float32)


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    audio.write(path, noise(2, 3 * RATE + 123), RATE)
    return path


@pytest.mark.parametrize("samples", [1, 7999, 8000, 8001, 40_000])
def test_stems_have_the_numbers_of_a_call(tmp_path, samples):
    mixture = noise(2, samples)
    audio.write(tmp_path / "a.wav", mixture, RATE)
    summary = separate_file(separator(), tmp_path / "a.wav", tmp_path / "out")
    expected = separator()(mixture)
    for name in ("vocals", "rest"):
        stem, rate = audio.read(tmp_path / "out" / "a" / f"{name}.wav")
        assert rate == RATE
        np.testing.assert_array_equal(stem, expected[name])
    assert summary.samples == samples
    assert summary.residual_db < -120


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("samples", [1, 1000, 44_101])
def test_odd_rates_keep_length_channels_and_sound(tmp_path, rate, samples):
    mixture = sine(samples, rate, 2)
    audio.write(tmp_path / "a.wav", mixture, rate)
    summary = separate_file(separator(), tmp_path / "a.wav", tmp_path)
    stem, stem_rate = audio.read(tmp_path / "a" / "vocals.wav")
    assert stem_rate == rate
    assert stem.shape == mixture.shape
    assert summary.samples == samples
    inner = slice(200, samples - 200)
    np.testing.assert_allclose(stem[:, inner], 0.75 * mixture[:, inner], atol=1e-3)
    if samples > 1000:
        assert summary.residual_db < -35


def test_stems_come_at_the_rate_of_the_model_on_request(tmp_path):
    audio.write(tmp_path / "a.wav", sine(44_101, 44_100), 44_100)
    summary = separate_file(
        separator(),
        tmp_path / "a.wav",
        tmp_path,
        form=Form(rate="model"),
        targets=["rest"],
    )
    info = audio.probe(tmp_path / "a" / "rest.wav")
    assert info == (RATE, 1, math.ceil(44_101 * RATE / 44_100))
    assert summary.residual_db < -120


@pytest.mark.parametrize("kind", list(audio.FORMATS))
def test_every_format_is_written(tmp_path, song, kind):
    separate_file(separator(), song, tmp_path / "out", format=kind)
    stem = tmp_path / "out" / "song" / f"vocals{audio.FORMATS[kind].suffix}"
    rate, channels, samples = audio.probe(stem)
    assert (rate, channels) == (RATE, 2)
    # Decoders of AAC give whole frames.
    longer = 1023 if kind == "m4a" else 0
    assert 0 <= samples - (3 * RATE + 123) <= longer
    level = np.sqrt(np.square(audio.read(stem)[0]).mean())
    expected = 0.75 * np.sqrt(np.square(audio.read(song)[0]).mean())
    assert level == pytest.approx(expected, rel=0.2)


def test_names_outside_ascii_and_with_spaces(tmp_path):
    path = tmp_path / "Ünïcode 歌" / "Smørrebrød (live).flac"
    path.parent.mkdir()
    audio.write(path, noise(1, 9000), RATE, "flac")
    summary = separate_file(
        separator(sources=("gitarre ä", "声")), path, tmp_path / "aus gabe"
    )
    assert names(tmp_path / "aus gabe") == sorted(
        ["Smørrebrød (live)", "gitarre ä.wav", "声.wav"]
    )
    assert str(summary).startswith("Smørrebrød (live).flac: 2 stems of 0.6 s in ")


def test_the_summary_states_levels_residual_and_clipping(tmp_path):
    mixture = np.full((1, RATE), 0.5, np.float32)
    audio.write(tmp_path / "a.wav", mixture, RATE)

    def loud(batch):
        return np.stack([3 * batch, 0.5 * batch], 1)

    summary = separate_file(
        separator(loud), tmp_path / "a.wav", tmp_path, format="wav16"
    )
    assert summary.peaks == pytest.approx({"vocals": 1.5, "rest": 0.25})
    assert summary.levels_db["rest"] == pytest.approx(20 * math.log10(0.25), abs=1e-4)
    assert summary.residual_db == pytest.approx(20 * math.log10(2.5), abs=1e-4)
    assert summary.clipped == {"vocals": RATE, "rest": 0}
    assert "differs from the mixture by 8.0 dB" in str(summary)
    assert str(summary).endswith(f"{RATE} samples of vocals clipped")


def test_the_summary_holds_of_all_channels_chunks_and_of_each_target(tmp_path):
    mixture = 0.1 * noise(2, 3 * RATE)
    mixture[1, 1000] = 0.8
    audio.write(tmp_path / "a.wav", mixture, RATE)
    summary = separate_file(separator(), tmp_path / "a.wav", tmp_path, targets=["rest"])
    level = 10 * math.log10(np.mean(np.square(0.25 * mixture, dtype=np.float64)))
    assert summary.peaks == pytest.approx({"rest": 0.2})
    assert summary.levels_db == pytest.approx({"rest": level}, abs=1e-4)
    quick = replace(summary, elapsed_seconds=0.6)
    assert ": 1 stem of 3.0 s in " in str(quick)
    assert ", 0.2 x real time, " in str(quick)


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_progress_is_counted_in_seconds_of_the_file(tmp_path, rate, monkeypatch):
    class Bar(ExitStack):
        def __init__(self, total, **options):
            super().__init__()
            bars.append((total, steps))

        def update(self, seconds):
            steps.append(seconds)

    bars, steps = [], []
    monkeypatch.setattr(stems, "tqdm", Bar)
    audio.write(tmp_path / "a.wav", sine(2 * rate, rate), rate)
    separate_file(separator(), tmp_path / "a.wav", tmp_path)
    assert bars == [(2.0, steps)]
    assert sum(steps) == pytest.approx(2.0)
    assert len(steps) > 2


@pytest.mark.parametrize("seconds", [0.4, 3])
def test_progress_moves_within_a_pass_of_a_network_that_reports_it(tmp_path, seconds):
    listeners = []

    def network(batch):
        for step in range(4):
            listeners[-1](step / 4)
        return halves(batch)

    audio.write(tmp_path / "a.wav", noise(1, round(seconds * RATE)), RATE)
    watched, fractions = separator(network, watch=listeners.append), []
    separate_file(watched, tmp_path / "a.wav", tmp_path, progress=fractions.append)
    assert listeners[-1] is None
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    steps = np.diff(fractions)
    assert max(steps) <= max(0.251, 0.5 / seconds)
    # Three steps of the first pass come before anything is written.
    quarter = min(0.4, 0.375) / seconds / 4 if seconds > 0.5 else 0.25
    np.testing.assert_allclose(fractions[1:4], quarter * np.arange(1, 4))


def test_estimates_that_end_early_are_an_error_and_leave_nothing(tmp_path, song):
    class Short(Separator):
        def stream(self, blocks):
            return (block[..., :-1] for block in super().stream(blocks))

    short = Short(halves, ("vocals", "rest"), RATE, segment_seconds=0.5, named=True)
    with pytest.raises(RuntimeError, match=r"song\.wav end \d+ samples early"):
        separate_file(short, song, tmp_path / "out")
    assert names(tmp_path) == ["song.wav"]


def test_silence_and_equality_are_stated_in_words(tmp_path):
    audio.write(tmp_path / "a.wav", np.zeros((1, 900), np.float32), RATE)
    summary = separate_file(separator(), tmp_path / "a.wav", tmp_path)
    assert str(summary).endswith("sum of all sources equals the mixture")
    add = separator(lambda batch: np.stack([batch + 1, batch], 1))
    summary = separate_file(add, tmp_path / "a.wav", tmp_path, overwrite=True)
    assert str(summary).endswith("the mixture is silent and the sources are not")


def test_targets_choose_the_stems_but_not_the_residual(tmp_path, song):
    summary = separate_file(separator(), song, tmp_path / "out", targets=["rest"])
    assert names(tmp_path / "out") == ["rest.wav", "song"]
    assert list(summary.peaks) == ["rest"]
    assert summary.residual_db < -120
    with pytest.raises(SeparationError, match=r"drums is not among .* vocals, rest"):
        separate_file(separator(), song, tmp_path / "out", targets=["rest", "drums"])


def test_existing_stems_are_kept_without_overwrite(tmp_path, song):
    (tmp_path / "song").mkdir()
    (tmp_path / "song" / "rest.wav").write_text("precious")
    with pytest.raises(SeparationError, match=r"rest\.wav exists; give --overwrite"):
        separate_file(separator(), song, tmp_path)
    assert (tmp_path / "song" / "rest.wav").read_text() == "precious"
    assert not (tmp_path / "song" / "vocals.wav").exists()
    separate_file(separator(), song, tmp_path, overwrite=True)
    assert audio.probe(tmp_path / "song" / "rest.wav").channels == 2


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_in_place_of_a_stem_is_never_replaced(tmp_path, song, overwrite):
    (tmp_path / "song" / "rest.wav" / "inner").mkdir(parents=True)
    with pytest.raises(SeparationError, match=r"rest\.wav is a folder .* rename"):
        separate_file(separator(), song, tmp_path, overwrite=overwrite)
    assert names(tmp_path / "song") == ["inner", "rest.wav"]


def test_the_input_is_never_replaced(tmp_path):
    path = tmp_path / "vocals" / "vocals.wav"
    path.parent.mkdir()
    audio.write(path, noise(1, 900), RATE)
    before = path.read_bytes()
    with pytest.raises(OverwriteError, match="is an input and would be replaced"):
        separate_file(separator(), path, tmp_path, overwrite=True)
    (tmp_path / "link").symlink_to(path.parent)
    form = Form("{source}")
    with pytest.raises(OverwriteError, match="is the input"):
        separate_file(separator(), path, tmp_path / "link", overwrite=True, form=form)
    assert path.read_bytes() == before


def test_stems_of_one_file_name_do_not_share_a_draft(tmp_path, song):
    separate_file(separator(), song, tmp_path / "out", form=Form("{source}/{name}"))
    stems = [
        audio.read(tmp_path / "out" / n / "song.wav")[0] for n in ("vocals", "rest")
    ]
    np.testing.assert_allclose(stems[0], 3 * stems[1], atol=1e-6)


def test_bad_input_leaves_none_of_the_folders_that_it_needed(tmp_path):
    (tmp_path / "bad.wav").write_text("no sound")
    with pytest.raises(audio.AudioError, match=r"bad\.wav is not audio"):
        separate_file(separator(), tmp_path / "bad.wav", tmp_path / "a" / "b" / "c")
    assert names(tmp_path) == ["bad.wav"]


def test_all_stems_or_none(tmp_path, song):
    calls = []

    def breaks(batch):
        calls.append(1)
        return halves(batch) if len(calls) < 4 else halves(batch) * np.nan

    before = names(tmp_path)
    with pytest.raises(SeparationError, match="not finite"):
        separate_file(separator(breaks), song, tmp_path / "out")
    assert len(calls) == 4
    assert names(tmp_path) == before


def test_a_broken_file_leaves_nothing(tmp_path, song):
    whole = song.read_bytes()
    song.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(audio.AudioError, match=r"song\.wav breaks off"):
        separate_file(separator(), song, tmp_path / "out")
    assert names(tmp_path) == ["song.wav"]


@pytest.mark.parametrize("path", ["taken", "taken/deeper"])
def test_an_output_that_is_a_file_is_named(tmp_path, song, path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(SeparationError, match=r"taken.* choose another --output"):
        separate_file(separator(), song, tmp_path / path)


def test_a_file_in_place_of_the_stems_folder_is_named(tmp_path, song):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "song").write_text("")
    with pytest.raises(SeparationError, match="is a file where the folder"):
        separate_file(separator(), song, tmp_path / "out")


def test_targets_are_a_list(tmp_path, song):
    with pytest.raises(SeparationError, match=r"expected a list of names, such as \['"):
        separate_file(separator(), song, tmp_path, targets="vocals")


def test_an_unknown_format_is_named(tmp_path, song):
    with pytest.raises(SeparationError, match="'wma'; expected one of wav"):
        separate_file(separator(), song, tmp_path, format="wma")


PEAK = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from common import audio
    from common.separation import Separator
    from common.separation.files import separate_file

    folder, seconds = Path(sys.argv[1]), int(sys.argv[2])
    minute = np.random.default_rng(0).uniform(-1, 1, (2, 44100 * 10)).astype("f4")
    with audio.Writer(folder / "long.wav", 44100, 2, "wav16") as writer:
        for _ in range(seconds // 10):
            writer.write(0.5 * minute)
    halves = lambda batch: np.stack([0.5 * batch, 0.5 * batch], 1)
    separator = Separator(halves, ("a", "b"), 44100, segment_seconds=5.0)
    separate_file(separator, folder / "long.wav", folder, format="wav16")
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


@pytest.mark.slow
def test_ten_minutes_need_no_more_memory_than_one(tmp_path):
    peaks = []
    for seconds in (60, 600):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PEAK), str(folder), str(seconds)],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout) / 1024)
        assert audio.probe(folder / "long" / "a.wav").samples == seconds * 44100
    assert peaks[1] < peaks[0] + 20, f"{peaks} MB"


def test_another_form_puts_stems_side_by_side_with_the_original(tmp_path, song):
    form = Form("{name}_{source}", original=True)
    summary = separate_file(separator(), song, tmp_path / "out", form=form)
    assert names(tmp_path / "out") == [
        f"song_{name}.wav" for name in ("original", "rest", "vocals")
    ]
    assert summary.folder == tmp_path / "out"
    copy = tmp_path / "out" / "song_original.wav"
    assert copy.read_bytes() == song.read_bytes()
    (tmp_path / "out" / "song_vocals.wav").unlink()
    (tmp_path / "out" / "song_rest.wav").unlink()
    with pytest.raises(SeparationError, match=r"song_original\.wav exists"):
        separate_file(separator(), song, tmp_path / "out", form=form)


def test_the_remainder_goes_to_one_source(tmp_path):
    mixture = noise(2, 30_000)
    audio.write(tmp_path / "a.wav", mixture, 44_100)
    form = Form(remainder="rest")
    quiet = separator(lambda batch: np.stack([batch / 2, batch * 0], 1))
    summary = separate_file(quiet, tmp_path / "a.wav", tmp_path, form=form)
    stems = [audio.read(tmp_path / "a" / f"{n}.wav")[0] for n in ("vocals", "rest")]
    np.testing.assert_allclose(sum(stems), mixture, atol=1e-7)
    assert summary.residual_db < -140


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize("samples", [1, 700, 60_001])
def test_stems_of_a_model_of_a_lower_rate_add_up(tmp_path, rate, samples):
    mixture = noise(2, samples)
    audio.write(tmp_path / "a.wav", mixture, rate)
    both = separator(complete=True)
    summary = separate_file(both, tmp_path / "a.wav", tmp_path)
    stems = [audio.read(tmp_path / "a" / f"{n}.wav")[0] for n in ("vocals", "rest")]
    assert stems[0].shape == mixture.shape
    np.testing.assert_allclose(sum(stems), mixture, atol=2e-7)
    assert summary.residual_db < -120
    form = Form(rate="model")
    low = separate_file(both, tmp_path / "a.wav", tmp_path, form=form, overwrite=True)
    assert low.sample_rate == RATE


def test_sound_that_a_model_removes_stays_removed(tmp_path):
    def without_tone(batch):
        spectrum = np.fft.rfft(batch, axis=-1)
        spectrum[..., np.abs(spectrum).argmax()] = 0.0
        rest = np.fft.irfft(spectrum, batch.shape[-1]).astype(np.float32)
        return halves(rest)

    tone = sine(2 * RATE, 2 * RATE)
    audio.write(tmp_path / "a.wav", tone + 0.1 * noise(1, 2 * RATE), 2 * RATE)
    model = separator(without_tone, segment_seconds=1.0)
    separate_file(model, tmp_path / "a.wav", tmp_path)
    for name in ("vocals", "rest"):
        stem = audio.read(tmp_path / "a" / f"{name}.wav")[0]
        assert abs(np.vdot(stem, tone)) < 0.02 * np.vdot(tone, tone)


def test_sources_that_are_not_all_leave_the_rest(tmp_path):
    mixture = noise(1, 2 * 44_100)
    audio.write(tmp_path / "a.wav", mixture, 44_100)
    part = separator(
        lambda batch: 0.6 * batch[:, None], sources=["vocals"], complete=False
    )
    separate_file(part, tmp_path / "a.wav", tmp_path)
    stem = audio.read(tmp_path / "a" / "vocals.wav")[0]
    share = np.square(0.6) / (np.square(0.6) + np.square(0.4))
    spectra = [np.abs(np.fft.rfft(wave[0])) for wave in (stem, mixture)]
    for band, gain in ((slice(200, 14_000), 0.6), (slice(18_000, 44_000), share)):
        ratio = np.sqrt(
            np.square(spectra[0][band]).sum() / np.square(spectra[1][band]).sum()
        )
        assert ratio == pytest.approx(gain, rel=0.05)


def test_a_bar_is_shown_on_a_terminal_by_the_main_process_alone(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    shown = []
    for parent in (None, "the main process"):
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setattr(stems.multiprocessing, "parent_process", lambda p=parent: p)
        with stems._bar("song.wav", 3.0) as bar:
            bar.update(3.0)
        shown.append("song.wav" in sys.stderr.getvalue())
    assert shown == [True, False]
