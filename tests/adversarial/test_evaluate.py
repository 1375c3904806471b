"""Scores of songs: the numbers of mir_eval, silence, one row a song, and resuming."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tf_keras as keras

from adversarial import evaluate
from adversarial.config import TINY
from adversarial.evaluate import MEASURES, nested, scores, snr, summary, table
from adversarial.model import UNet
from common import audio
from common.config import save
from common.corpora.track import CorpusError, Track
from common.evaluation import bss_eval
from common.separation.separator import Separator
from common.synthetic import miniature
from common.training.checkpoint import save_network

GOLDEN = Path(__file__).parents[1] / "golden" / "adversarial" / "bss_eval.npz"
RATE = 8192
SOURCES = "vocals", "accompaniment"


def golden(name):
    return np.load(GOLDEN)[name] / 32768


def noise(seed, samples=RATE):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def song(name, **sources):
    named = {key: value[np.newaxis] for key, value in sources.items()}
    return Track(name, RATE, RATE, named)


def leaky(leak=0.2):
    """A separator that knows nothing but the level of the mixture."""

    def network(batch):
        quiet = leak * np.roll(batch, 1, axis=-1)
        return np.stack([quiet, batch - quiet], 1)

    return Separator(network, SOURCES, RATE, named=True)


def cheap(references, estimates, mixture, rate):
    """Numbers that need no time, of the estimates."""
    return {measure: np.log10(estimates.std(axis=1)) for measure in MEASURES}


def test_global_measures_are_those_of_mir_eval():
    references = golden("references")
    pairs = {"estimates": golden("estimates"), "mixture": [golden("mixture")] * 2}
    for name, estimates in pairs.items():
        measures = bss_eval.whole(references, np.array(estimates))
        for measure, values in measures.items():
            expected = np.load(GOLDEN)[f"{name}_{measure}"]
            np.testing.assert_allclose(values, expected, rtol=1e-6, err_msg=measure)


def test_normalised_measures_are_against_the_mixture():
    references, estimates = golden("references"), golden("estimates")
    values = scores(references, estimates, golden("mixture"), RATE)
    saved = np.load(GOLDEN)
    for name in ("SDR", "SIR"):
        better = saved[f"estimates_{name}"] - saved[f"mixture_{name}"]
        np.testing.assert_allclose(values[f"N{name}"], better, rtol=1e-6)
    gain = (references * estimates).sum(1) / np.square(estimates).sum(1)
    noise_ = np.square(references - gain[:, None] * estimates).sum(1)
    expected = 10 * np.log10(np.square(references).sum(1) / noise_)
    np.testing.assert_allclose(values["SNR"], expected, rtol=1e-9)
    both = snr(references, np.stack([golden("mixture")] * 2))
    np.testing.assert_allclose(values["NSNR"], expected - both, rtol=1e-9)
    assert (values["NSDR"] > 5).all()


def test_museval_measures_are_medians_over_seconds():
    import museval

    references, estimates = (
        np.stack([noise(s, 3 * RATE), noise(s + 1, 3 * RATE)]) for s in (0, 2)
    )
    estimates = references + 0.5 * estimates
    references[:, RATE : 2 * RATE] = 0  # a second without scores
    measured = scores(references, estimates, references.sum(0), RATE)
    sdr, isr, sir, sar = museval.evaluate(
        references[..., None], estimates[..., None], win=RATE, hop=RATE
    )
    assert np.isnan(sdr[:, 1]).all()
    for name, values in zip(
        ("SDR", "ISR", "SIR", "SAR"), (sdr, isr, sir, sar), strict=True
    ):
        expected = np.nanmedian(values, axis=1)
        np.testing.assert_allclose(measured[f"museval_{name}"], expected, rtol=1e-6)


def test_silence_is_named_and_has_no_scores(tmp_path):
    tracks = [
        song("loud", vocals=noise(0), accompaniment=noise(1)),
        song("mute", accompaniment=noise(2)),
    ]
    whole = evaluate.evaluate(leaky(), tracks, tmp_path).summary
    loud, mute = json.loads((tmp_path / "scores.json").read_text())
    assert loud["Silent"] == []
    assert mute["Silent"] == ["vocals"]
    assert mute["SDR"]["vocals"] is None
    assert mute["SDR"]["accompaniment"] > 0
    assert mute["NSDR"] == {"vocals": None, "accompaniment": None}
    cells = whole["databases"]["MUSDB18"]["vocals"]
    assert cells["SDR"]["count"] == 1
    assert cells["SDR"]["mean"] == cells["SDR"]["median"] == loud["SDR"]["vocals"]


def test_a_network_that_has_died_is_scored_and_named(tmp_path):
    dead = Separator(
        lambda batch: np.stack([0 * batch, batch], 1), SOURCES, RATE, named=True
    )
    tracks = [song("a", vocals=noise(0), accompaniment=noise(1))]
    evaluate.evaluate(dead, tracks, tmp_path)
    (row,) = json.loads((tmp_path / "scores.json").read_text())
    assert row["Silent"] == ["estimated vocals"]
    assert row["SDR"]["vocals"] < -10


def test_a_row_for_each_song_and_the_bandwidth_beside_it(tmp_path):
    tracks = [
        song("A - B", vocals=noise(0), accompaniment=noise(1)),
        song("moisesdb/C, D", vocals=noise(2), accompaniment=0.3 * noise(3)),
    ]
    whole = evaluate.evaluate(leaky(), tracks, tmp_path, "dsd100").summary
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    facts = [(row["Title"], row["Database"], row["Bandwidth_Hz"]) for row in rows]
    assert facts == [("A - B", "DSD100", "4096.0"), ("C, D", "MoisesDB", "4096.0")]
    assert set(whole["databases"]) == {"DSD100", "MoisesDB", "all"}
    sdrs = [float(row["vocals_SDR"]) for row in rows]
    overall = whole["databases"]["all"]["vocals"]["SDR"]
    assert overall["mean"] == pytest.approx(np.mean(sdrs), abs=1e-4)
    assert overall["count"] == 2
    assert json.loads((tmp_path / "summary.json").read_text()) == whole
    lines = (tmp_path / "summary.md").read_text().splitlines()
    assert sum("| 4.1 kHz |" in line for line in lines) == 6
    assert f"{overall['median']:.2f} ({overall['mean']:.2f})" in lines[6]


def test_an_interrupted_evaluation_resumes(tmp_path, monkeypatch):
    tracks = [
        song(n, vocals=noise(k), accompaniment=noise(k + 9))
        for k, n in enumerate("abc")
    ]
    monkeypatch.setattr(evaluate, "scores", cheap)
    whole = evaluate.evaluate(leaky(), tracks, tmp_path / "whole").summary
    seen = []

    def breaks(*arguments):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return cheap(*arguments)

    monkeypatch.setattr(evaluate, "scores", breaks)
    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate(leaky(), tracks, tmp_path / "part")
    assert not (tmp_path / "part" / "scores.csv").exists()
    assert evaluate.evaluate(leaky(), tracks, tmp_path / "part").summary == whole
    assert len(seen) == 4
    for name in ("scores.csv", "scores.json", "summary.md"):
        ours = (tmp_path / "part" / name).read_text()
        assert ours == (tmp_path / "whole" / name).read_text()


def test_rows_of_another_network_are_not_reused(tmp_path, monkeypatch):
    tracks = [song("a", vocals=noise(0), accompaniment=noise(1))]
    monkeypatch.setattr(evaluate, "scores", cheap)
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "summary", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            evaluate.evaluate(leaky(0.2), tracks, tmp_path)
    values = evaluate.evaluate(leaky(0.7), tracks, tmp_path).summary
    assert values == evaluate.evaluate(leaky(0.7), tracks, tmp_path / "other").summary


def test_an_evaluation_killed_before_more_training_starts_again(
    run_folder, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    words = [str(run), "--limit", "2", "--output"]
    calls = []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return cheap(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "scores", killed)
        assert evaluate.main([*words, str(tmp_path / "broken")]) == 130
    monkeypatch.setattr(evaluate, "scores", cheap)
    keras.utils.set_random_seed(7)
    shutil.rmtree(run / "sup" / "best")
    settings = replace(TINY.model_config, head="mask")
    save_network(run / "sup", UNet(settings))
    for name in ("broken", "straight"):
        assert evaluate.main([*words, str(tmp_path / name)]) == 0
    broken, straight = (
        (tmp_path / name / "scores.json").read_text("utf-8")
        for name in ("broken", "straight")
    )
    assert broken == straight
    capsys.readouterr()


def test_rows_of_another_copy_of_the_songs_are_not_reused(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "scores", cheap)
    first, second = (
        [song("a", vocals=noise(seed), accompaniment=noise(1))] for seed in (0, 5)
    )
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "summary", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            evaluate.evaluate(leaky(), first, tmp_path)
    values = evaluate.evaluate(leaky(), second, tmp_path).summary
    assert values == evaluate.evaluate(leaky(), second, tmp_path / "other").summary


def test_edge_cases_have_numbers_or_none(tmp_path):
    same = noise(0)
    second = noise(2, 2 * RATE)
    second[:RATE] = 0
    tracks = [
        song("identical", vocals=same, accompaniment=same),
        song("opposite", vocals=same, accompaniment=-same),
        song("pause", vocals=second, accompaniment=noise(3, 2 * RATE)),
    ]
    evaluate.evaluate(leaky(), tracks, tmp_path)
    for row in json.loads((tmp_path / "scores.json").read_text()):
        for measure in MEASURES:
            assert set(row[measure]) == set(SOURCES)
            values = row[measure].values()
            assert all(value is None or math.isfinite(value) for value in values)
    perfect = np.stack([same, noise(1)])
    values = scores(perfect, perfect, perfect.sum(0), RATE)
    assert (values["SDR"] > 100).all()
    assert not np.isnan(values["SNR"]).any()


def test_songs_of_one_name_and_no_songs_are_refused(tmp_path):
    track = song("a", vocals=noise(0), accompaniment=noise(1))
    with pytest.raises(CorpusError, match="two songs are named 'a'"):
        evaluate.evaluate(leaky(), [track, track], tmp_path)
    with pytest.raises(CorpusError, match="0 songs to score"):
        evaluate.evaluate(leaky(), [], tmp_path)
    assert not list(tmp_path.iterdir())


def test_songs_are_read_in_mono_at_the_working_rate(tmp_path):
    wave = np.stack([noise(0, 32000), noise(1, 32000)])
    wave[:, 12000:16000] = 0
    audio.write(tmp_path / "v.wav", wave, 16000)
    audio.write(tmp_path / "a.wav", wave[:, :16000], 16000)
    files = {"vocals": tmp_path / "v.wav", "accompaniment": tmp_path / "a.wav"}
    read = evaluate.read(Track("a", 16000, 32000, files), SOURCES, RATE)
    assert {name: each.shape for name, each in read.items()} == dict.fromkeys(
        ("mixture", *SOURCES), (2 * RATE,)
    )
    together = read["vocals"] + read["accompaniment"]
    np.testing.assert_allclose(read["mixture"], together, atol=1e-6)
    assert not read["accompaniment"][RATE + 200 :].any()


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("run")
    root = miniature.write_musdb(base / "musdb", sample_rate=RATE, train=4, test=4)
    corpora = replace(TINY.corpora, data_root=str(root), unpaired="moisesdb")
    config = replace(TINY, corpora=replace(corpora, unpaired_root="/gone"))
    folder = base / "run" / "sup"
    folder.mkdir(parents=True)
    settings = replace(config.model_config, head="mask")
    config = replace(config, model_config=settings)
    save_network(folder, UNet(settings))
    save(config, folder / "config.json")
    save(config, base / "run" / "config.json")
    return base / "run"


def test_the_command_scores_a_run(run_folder, capsys):
    assert evaluate.main([str(run_folder), "--limit", "1"]) == 0
    printed = capsys.readouterr().out
    assert "| MUSDB18 | vocals | 1 | 4.1 kHz |" in printed
    assert printed.rstrip().endswith(f"results: {run_folder / 'sup' / 'evaluation'}")
    (row,) = json.loads((run_folder / "sup" / "evaluation" / "scores.json").read_text())
    assert row["Silent"] == []
    assert all(np.isfinite(list(row[measure].values())).all() for measure in MEASURES)


def test_bad_options_of_the_evaluation_are_reported_in_one_sentence(run_folder, capsys):
    assert evaluate.main([str(run_folder), "--limit", "0"]) == 1
    assert "--limit is 0; expected at least 1" in capsys.readouterr().err
    assert evaluate.main([str(run_folder), "--root", "/nowhere"]) == 1
    assert "/nowhere does not exist" in capsys.readouterr().err


def row(song, database, vocals, silent=""):
    scores = {f"{name}_{m}": 1.0 for name in SOURCES for m in MEASURES}
    scores |= {f"vocals_{m}": vocals for m in MEASURES}
    about = {"Title": song, "Database": database, "Silent": silent}
    return {**about, "Bandwidth_Hz": 4096.0, "Seconds": 2.5, **scores}


ROWS = [
    row("a", "x", 1.0),
    row("b", "x", 2.0),
    row("c", "x", 6.0),
    row("d", "y", math.nan, "vocals, drums"),
    row("e", "y", 11.0),
]


def test_means_and_medians_are_over_songs_with_a_score():
    whole = summary(ROWS, SOURCES)
    assert list(whole) == ["x", "y", "all"]
    cells = {group: each["vocals"]["SDR"] for group, each in whole.items()}
    assert cells == {
        "x": {"mean": 3.0, "median": 2.0, "count": 3},
        "y": {"mean": 11.0, "median": 11.0, "count": 1},
        "all": {"mean": 5.0, "median": 4.0, "count": 4},
    }
    assert whole["all"]["accompaniment"]["SIR"]["count"] == 5
    assert list(summary(ROWS[:3], SOURCES)) == ["x"]
    nothing = {"mean": None, "median": None, "count": 0}
    assert summary(ROWS[3:4], SOURCES)["y"]["vocals"]["SDR"] == nothing


def test_the_table_has_medians_before_means():
    databases = summary(ROWS[:4], SOURCES)
    lines = table({"bandwidth_hz": 4096, "databases": databases}).splitlines()
    cells = [
        "x",
        "vocals",
        "3",
        "4.1 kHz",
        *["2.00 (3.00)"] * len(evaluate.TABLE_MEASURES),
    ]
    assert lines[2] == f"| {' | '.join(cells)} |"
    cells = ["y", "vocals", "0", "4.1 kHz", *["none"] * len(evaluate.TABLE_MEASURES)]
    assert lines[4] == f"| {' | '.join(cells)} |"


def test_rows_in_the_form_of_the_original_are_json():
    arranged = nested(ROWS[3], SOURCES)
    assert json.loads(json.dumps(arranged, allow_nan=False)) == arranged
    assert arranged["SDR"] == {"vocals": None, "accompaniment": 1.0}
    assert (arranged["Title"], arranged["Silent"]) == ("d", ["vocals", "drums"])
    assert nested(ROWS[0], SOURCES)["Silent"] == []
