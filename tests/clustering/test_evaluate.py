"""Scores are those of the best order, and improvements are against the mixture."""

import json
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import tf_keras as keras

from clustering import evaluate, published
from clustering.models.network import network
from clustering.weights import Trained
from common.config import ConfigError
from common.corpora.track import Track
from common.separation.separator import Separator
from common.signal.metrics import si_sdr
from common.signal.stft import Stft
from common.training.checkpoint import save_network


@pytest.fixture
def waves():
    return np.random.default_rng(0).standard_normal([2, 4000]).astype(np.float32)


def test_estimates_are_scored_in_their_best_order(waves):
    leak = np.array([[1.0, 0.1], [0.1, 1.0]], np.float32) @ waves
    ordered = evaluate.in_best_order(waves[:, np.newaxis], leak[::-1, np.newaxis])
    actual = evaluate.scores(waves.sum(0), waves, ordered[:, 0], bss=False)
    np.testing.assert_allclose(actual["si_sdr"], [20.0, 20.0], atol=0.5)
    np.testing.assert_allclose(actual["sdr"], [20.0, 20.0], atol=0.5)
    gain = actual["si_sdr"] - actual["si_sdr_improvement"]
    np.testing.assert_allclose(gain, [0.0, 0.0], atol=0.5)


def test_all_channels_of_a_track_have_one_order():
    n = np.arange(400)
    low = [np.sin(0.3 * n + c) + np.sin(0.01 * n * n) for c in range(2)]
    high = [np.sin(0.71 * n + 2 * c) + np.cos(0.007 * n * n + c) for c in range(2)]
    references = np.array([low, high])
    references -= references.mean(axis=-1, keepdims=True)
    # Alone, the right channel would have the other order.
    leak = [[[0.2, 0.8], [0.9, 0.3]], [[0.55, 0.4], [0.45, 0.6]]]
    estimates = np.einsum("ces,scl->ecl", leak, references).astype(np.float32)
    sources = dict(zip("ab", references.astype(np.float32), strict=True))
    separator = Separator(lambda _: estimates[np.newaxis], ["0", "1"], 8000, channels=2)
    tracks, rows = [Track("t", 8000, 400, sources)], {}
    evaluate.evaluate(separator, tracks, rows)
    # BSSEvalScale of nussl 1.1.9 with compute_permutation, means over the channels:
    # SI-SDR, SNR, SI-SDRi and SNRi.
    expected = {"a": [3.437, 5.895, 3.4, 6.0095], "b": [4.7695, 6.5055, 4.4975, 6.391]}
    for name, values in expected.items():
        measured = [rows[f"t/{name}"][measure] for measure in evaluate.MEASURES]
        np.testing.assert_allclose(measured, values, atol=2e-3)


def test_an_offset_does_not_count_as_sound():
    n = np.arange(400)
    references = np.array([np.sin(0.3 * n) + 0.5, 0.6 * np.sin(0.71 * n) - 0.2])
    estimates = [[0.9, 0.2], [0.1, 0.8]] @ references + [[0.4], [-0.3]]
    waves = references.astype(np.float32)
    measured = evaluate.scores(waves.sum(0), waves, np.float32(estimates), bss=False)
    # BSSEvalScale of nussl 1.1.9: SI-SDR, SNR, SI-SDRi and SNRi.
    first, second = [17.495, 16.122, 13.064, 11.692], [13.632, 11.692, 18.061, 16.122]
    actual = np.stack([measured[name] for name in evaluate.MEASURES], axis=1)
    np.testing.assert_allclose(actual, [first, second], atol=2e-3)


def test_improvement_is_against_the_mixture_with_its_noise(waves):
    noise = np.random.default_rng(1).standard_normal(4000).astype(np.float32)
    clean = evaluate.scores(waves.sum(0), waves, waves, bss=False)
    noisy = evaluate.scores(waves.sum(0) + 2 * noise, waves, waves, bss=False)
    more = noisy["sdr_improvement"] - clean["sdr_improvement"]
    np.testing.assert_allclose(more, 10 * np.log10(5), atol=0.3)


def test_a_mixture_of_its_own_goes_before_the_sum(waves):
    sources = {name: wave[np.newaxis] for name, wave in zip("ab", waves, strict=True)}
    track = Track("t", 8000, 4000, sources)
    mixture, references = evaluate.read(track, 8000)
    np.testing.assert_allclose(mixture, waves.sum(0)[np.newaxis], rtol=1e-6)
    mixture, references = evaluate.read(
        replace(track, mixture=np.full([2, 3000], 0.5, np.float32)), 8000
    )
    assert references.shape == (2, 2, 3000)
    np.testing.assert_array_equal(mixture, np.full([2, 3000], 0.5))


def test_bss_eval_forgives_a_filter_and_si_sdr_does_not(waves):
    delayed = np.pad(waves, [[0, 0], [5, 0]])[:, :4000]
    assert evaluate.bss_ratios(waves.sum(0), waves, delayed)["bss_sdr"].min() > 25
    assert np.max(si_sdr(waves, delayed)) < -10
    leak = np.array([[1.0, 0.1], [0.1, 1.0]], np.float32) @ waves
    actual = evaluate.bss_ratios(waves.sum(0), waves, leak)
    assert set(actual) == set(evaluate.BSS_MEASURES)
    np.testing.assert_allclose(actual["bss_sir"], [20.0, 20.0], atol=1.0)
    np.testing.assert_allclose(actual["bss_sdr_improvement"], [20, 20], atol=2.0)


def leaking(tracks):
    """A separator whose estimates of these tracks hold a tenth of the other source."""
    leak = np.array([[1.0, 0.1], [0.1, 1.0]], np.float32)
    mixtures = [evaluate.read(track, 8000) for track in tracks]

    def separate(batch):
        errors = [np.abs(batch[0] - mixture).max() for mixture, _ in mixtures]
        references = mixtures[np.argmin(errors)][1]
        return np.einsum("ij,jcs->ics", leak, references)[np.newaxis]

    return Separator(separate, ["source0", "source1"], 8000)


def test_intelligibility_is_that_of_the_best_order_beside_the_mixture(
    waves, monkeypatch
):
    def measure(clean, estimate, rate):
        assert rate == 8000
        return np.corrcoef(clean, estimate)[0, 1]

    monkeypatch.setitem(sys.modules, "pystoi", SimpleNamespace(stoi=measure))
    sources = dict(zip("ab", waves[:, np.newaxis], strict=True))
    tracks, rows = [Track("both", 8000, 4000, sources)], {}
    means = evaluate.evaluate(leaking(tracks), tracks, rows, stoi=True).summary
    mixture = waves.sum(axis=0)
    for wave, name in zip(waves, "ab", strict=True):
        expected = np.corrcoef(wave, mixture)[0, 1]
        assert rows[f"both/{name}"]["stoi_mixture"] == pytest.approx(expected)
        assert rows[f"both/{name}"]["stoi"] > 0.9 > expected
    assert f"| {means['all']['stoi']:.3f} |" in evaluate.table(means)


def test_intelligibility_without_pystoi_is_refused_at_once(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pystoi", None)
    assert evaluate.main([str(run), "--stoi"]) == 1
    assert "pip install pystoi, or leave out --stoi" in capsys.readouterr().err


def test_a_silent_source_has_no_ratio_and_is_left_out_of_the_mean(waves):
    silent = np.stack([waves[0], 0 * waves[1]])
    tracks = [
        Track("quiet", 8000, 4000, dict(zip("ab", silent[:, np.newaxis], strict=True))),
        Track("loud", 8000, 4000, dict(zip("ab", waves[:, np.newaxis], strict=True))),
    ]
    rows = {}
    means = evaluate.evaluate(leaking(tracks), tracks, rows, bss=True).summary
    assert np.isnan(rows["quiet/a"]["bss_sdr"])
    assert np.isnan(rows["quiet/b"]["si_sdr"])
    assert means["all"]["count"] == 4
    loud = [rows[f"loud/{name}"]["bss_sdr"] for name in "ab"]
    assert means["all"]["bss_sdr"] == pytest.approx(np.mean(loud))
    sounding = [rows[name]["si_sdr"] for name in ("quiet/a", "loud/a", "loud/b")]
    assert means["all"]["si_sdr"] == pytest.approx(np.mean(sounding))
    some = [rows[name] for name in ("quiet/b", "loud/a")]
    only = evaluate.summary(some)
    assert "bss_sdr" not in only["b"]
    assert "| none |" in evaluate.table(only)
    json.loads(json.dumps(means, allow_nan=False))


def test_bss_eval_of_edge_cases_is_a_number_or_nan(waves):
    silence, same = 0 * waves[0], np.stack([waves[0], waves[0]])
    for mixture, references, estimates in [
        (silence, waves, waves),
        (waves[0], same, same),
        (1e4 * waves[0], 1e4 * np.round(8 * same), same),
        (waves.sum(0), waves, np.stack([waves[0], silence])),
        (waves[0], waves[:1], waves[:1]),
    ]:
        actual = evaluate.bss_ratios(mixture, references, estimates)
        assert set(actual) == set(evaluate.BSS_MEASURES)
        assert {len(values) for values in actual.values()} == {len(references)}
    assert np.isnan(
        evaluate.bss_ratios(silence, waves, waves)["bss_sdr_improvement"]
    ).all()


def test_a_killed_evaluation_of_a_model_that_was_trained_further(
    run, config, tmp_path, monkeypatch, capsys
):
    words = [str(run), "--output"]
    plain, calls = evaluate.scores, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "scores", killed)
        assert evaluate.main([*words, str(tmp_path / "broken")]) == 130
    keras.utils.set_random_seed(7)
    shutil.rmtree(run / "best")
    save_network(run, network(config))
    for name in ("broken", "straight"):
        assert evaluate.main([*words, str(tmp_path / name)]) == 0
    tables = [
        (tmp_path / name / "scores.csv").read_text("utf-8")
        for name in ("broken", "straight")
    ]
    assert tables[0] == tables[1]
    capsys.readouterr()


def test_a_named_corpus_replaces_the_folders_of_a_run(
    config, save_run, tmp_path, capsys
):
    for root, level in (("old", 1.0), ("new", 0.5)):
        for number in (1, 2):
            folder = tmp_path / root / "test" / f"s{number}"
            folder.mkdir(parents=True)
            wave = level * np.random.default_rng(number).uniform(-0.3, 0.3, 900)
            soundfile.write(folder / f"{root}.wav", wave, 8000, subtype="FLOAT")
    folders = (f"test={tmp_path / 'old' / 'test'}",)
    config = replace(config, dataset="mix_folders", data_root=None, folders=folders)
    run = save_run(config)
    names = []
    for words in ([], ["--data", str(tmp_path / "new")]):
        assert evaluate.main([str(run), *words]) == 0
        lines = (run / "evaluation/scores.csv").read_text("utf-8").splitlines()
        names.append(lines[1].partition("/")[0])
    assert names == ["old", "new"]
    capsys.readouterr()


def test_splits_have_folders_of_their_own(run, capsys):
    for split in ("test", "valid"):
        assert evaluate.main([str(run), "--split", split]) == 0
    tables = [
        (run / name / "scores.csv").read_text("utf-8")
        for name in ("evaluation", "evaluation-valid")
    ]
    assert tables[0] != tables[1]
    capsys.readouterr()


@pytest.mark.parametrize("mask", ["ideal_binary", "ideal_ratio"])
def test_ideal_masks_separate_sources_in_disjoint_bands(mask):
    time = np.arange(4000) / 8000
    tones = np.sin(2 * np.pi * np.array([[[500.0]], [[2000.0]]]) * time)
    tones = np.concatenate([tones, 0.5 * tones], axis=1).astype(np.float32)
    params = Stft(256, 64, window="sqrt_hann", padding="constant_whole")
    actual = evaluate.oracle(tones.sum(0), tones, params, mask)
    assert actual.shape == (2, 2, 4000)
    inner = slice(256, -256)
    np.testing.assert_allclose(actual[..., inner], tones[..., inner], atol=0.02)


def test_ideal_masks_reach_all_of_a_sound_with_every_front_end(config, waves):
    sources = {
        name: wave[np.newaxis, :50] for name, wave in zip("ab", waves, strict=True)
    }
    track = Track("t", 8000, 50, sources)
    rows = {}
    for frontend in ("nussl", "asteroid"):
        of = replace(config, frontend=frontend)
        rows[frontend] = evaluate.evaluate_ideal("ideal_ratio", of, [track]).rows
    for ours, other in zip(*rows.values(), strict=True):
        assert ours["si_sdr"] == pytest.approx(other["si_sdr"], abs=1e-3)


def test_the_command_scores_ideal_masks_and_prints_what_was_published(run, capsys):
    assert evaluate.main([str(run), "--oracle"]) == 0
    printed = capsys.readouterr().out
    means = json.loads((run / "evaluation/summary.json").read_text())
    assert means["ideal_binary"]["si_sdr_improvement"] > 5
    assert means["ideal_binary"]["count"] == means["all"]["count"] == 4
    ratio, own = (means[name]["si_sdr"] for name in ("ideal_ratio", "all"))
    assert ratio > own
    assert evaluate.SYNTHETIC in printed
    assert "| dpcl, classic | SDRi | 10.3 dB | not run here | Isik" in printed
    assert (run / "evaluation/summary.md").read_text() == printed
    names = {file.name for file in (run / "evaluation").iterdir()}
    tables = {"scores.csv", "ideal_binary.csv", "ideal_ratio.csv"}
    assert names == tables | {"summary.json", "summary.md"}


def test_confidences_of_embeddings_are_ranked_against_si_sdr(run, capsys):
    assert evaluate.main([str(run), "--confidence"]) == 0
    printed = capsys.readouterr().out
    means = json.loads((run / "evaluation/summary.json").read_text())
    assert set(means["confidence"]) == {"count", *evaluate.CONFIDENCES}
    assert f"| silhouette | {means['confidence']['silhouette']:.2f} | none |" in printed
    lines = (run / "evaluation/confidence.csv").read_text().splitlines()
    assert lines[0] == "name,posterior,silhouette,deep_clustering"
    assert len(lines) == 3


def test_correlation_is_of_ranks():
    scored = [{"name": f"{n}/a", "si_sdr": n**3} for n in range(4)]
    confidence = [
        {"name": f"{n}", "posterior": n, "silhouette": -n, "deep_clustering": 0.5}
        for n in range(4)
    ]
    correlations = evaluate.rank_correlations(confidence, scored)
    assert correlations["posterior"] == pytest.approx(1.0)
    assert correlations["silhouette"] == pytest.approx(-1.0)
    assert "deep_clustering" not in correlations


def test_confidence_needs_an_embedding(config):
    config = replace(config, kind="mask_inference")
    trained = Trained(network(config), config)
    with pytest.raises(ConfigError, match="mask_inference has no embedding; expected"):
        evaluate.evaluate_confidence(trained, [])


def test_several_jobs_and_a_limit_give_the_same_rows(run, capsys):
    tables = []
    for words in (["--jobs", "2"], ["--limit", "1"]):
        assert evaluate.main(["--model", str(run), *words]) == 0
        tables.append((run / "evaluation/scores.csv").read_text().splitlines())
    assert len(tables[0]) == 5
    assert tables[1] == tables[0][:3]
    assert evaluate.main(["--limit", "1"]) == 1
    assert "name a model, such as a run folder" in capsys.readouterr().err


def test_scores_of_a_whole_real_test_set_are_compared_with_published_ones(
    run, speakers, tmp_path, monkeypatch, capsys
):
    real = tmp_path / "real"
    shutil.copytree(speakers, real)
    (real / "miniature.json").unlink()
    monkeypatch.setattr(published, "TRACKS", 2)
    settings = json.loads((run / "config.json").read_text())
    settings["clip_percentile"] = None
    (run / "config.json").write_text(json.dumps(settings))
    assert evaluate.main([str(run), "--root", str(real), "--bss"]) == 0
    printed = capsys.readouterr().out
    assert evaluate.SYNTHETIC not in printed
    means = json.loads((run / "evaluation/summary.json").read_text())["all"]
    for measure, published_ in (("bss_sdr_improvement", "10.3"), ("si_sdr", "10.2")):
        here = f"{published_} dB | {means[measure]:.2f} dB |"
        assert here in printed


def test_the_noise_of_a_mixture_lowers_the_scores(speakers, run, tmp_path, capsys):
    noisy = tmp_path / "noisy"
    shutil.copytree(speakers, noisy)
    for file in noisy.rglob("tt/mix/*.wav"):
        wave, rate = soundfile.read(file)
        rng = np.random.default_rng(0)
        wave += wave.std() * rng.standard_normal(wave.shape)
        soundfile.write(file, wave, rate)
    means = []
    for root in (speakers, noisy):
        output = tmp_path / f"scores-{root.name}"
        words = [str(run), "--root", str(root), "--output", str(output), "--oracle"]
        assert evaluate.main(words) == 0
        means.append(json.loads((output / "summary.json").read_text()))
    clean, noised = (each["ideal_ratio"]["si_sdr"] for each in means)
    assert noised < clean - 2
    capsys.readouterr()
