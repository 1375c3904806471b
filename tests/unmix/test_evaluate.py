"""The evaluation: museval's numbers, songs that cannot be scored, and bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from common import audio
from common.corpora import waveforms
from common.corpora.track import CorpusError
from common.separation.separator import Separator
from common.synthetic import miniature
from unmix import convert, evaluate
from unmix.config import Network
from unmix.model import OpenUnmix
from unmix.scoring import run, songs, tables, worker
from unmix.scoring.worker import ScoringError

RATE = 8000
PAIR = ("vocals", "accompaniment")
STEMS = ("vocals", "drums", "bass", "other")


def blurred(*names):
    """A separator whose sources are the mixture, shifted, scaled and distorted."""

    def network(batch):
        odd = batch + 0.5 * np.abs(batch)
        shifted = [np.roll(odd, 3 * k, axis=-1) / (k + 2) for k in range(len(names))]
        return np.stack(shifted, axis=1)

    return Separator(network, names, RATE, 2, named=True)


def noisy(folder, seed, seconds, channels):
    """Write a song of four stems that are coloured noise."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    mixture = np.zeros([channels, round(seconds * RATE)], np.float32)
    for name in STEMS:
        stem = 0.05 * rng.standard_normal(mixture.shape).astype(np.float32)
        stem[:, 1:] += 0.8 * stem[:, :-1]
        stem[1:] += 0.4 * stem[0]
        audio.write(folder / f"{name}.wav", stem, RATE, "wav16")
        mixture += audio.read(folder / f"{name}.wav")[0]
    audio.write(folder / "mixture.wav", mixture, RATE, "wav24")
    return folder


@pytest.fixture(scope="module")
def corpus_root(tmp_path_factory):
    """Two good songs among a silent, an incomplete and a damaged one."""
    root = tmp_path_factory.mktemp("musdb")
    test = root / "test"
    for seed, name in enumerate(["a - good", "b - silent", "c - lacking", "d - torn"]):
        noisy(test / name, seed, 1.5, 1)
    noisy(test / "e - good", 9, 2.5, 2)
    silence = np.zeros([1, round(1.5 * RATE)], np.float32)
    audio.write(test / "b - silent" / "vocals.wav", silence, RATE, "wav16")
    (test / "c - lacking" / "bass.wav").unlink()
    torn = test / "d - torn" / "drums.wav"
    torn.write_bytes(torn.read_bytes()[:1000])
    return root


@pytest.fixture(scope="module")
def scored(corpus_root, tmp_path_factory):
    """Folders of one evaluation of them all, and why some have no scores."""
    results = tmp_path_factory.mktemp("results")
    folders = run.Folders(results / "scores" / "test", results / "estimates" / "test")
    actual = songs.find_songs(corpus_root, "test")
    evaluation = evaluate.evaluate(blurred(*PAIR), actual, folders, jobs=2)
    return folders, evaluation


def by_hand(references, estimates):
    """Frames of museval, called on [sources, samples, channels], rounded as it does."""
    import museval

    every = museval.evaluate(references, estimates, win=RATE, hop=RATE)
    return {
        metric: np.round(values, 5)
        for metric, values in zip(("SDR", "ISR", "SIR", "SAR"), every, strict=True)
    }


def frames(path, target):
    """Values of a target in museval's JSON, [frames] by metric."""
    held = json.loads(path.read_text("utf-8"))
    (one,) = [each for each in held["targets"] if each["name"] == target]
    return {
        metric: np.array([frame["metrics"][metric] for frame in one["frames"]])
        for metric in ("SDR", "ISR", "SIR", "SAR")
    }


def test_scores_are_those_of_museval_called_by_hand(scored, corpus_root):
    folders, _ = scored
    song = corpus_root / "test" / "e - good"
    stems = {name: audio.read(song / f"{name}.wav")[0].astype(float) for name in STEMS}
    references = [stems["vocals"], stems["bass"] + stems["drums"] + stems["other"]]
    made = folders.estimates / "e - good"
    estimates = [audio.read(made / f"{name}.wav")[0] for name in PAIR]
    expected = by_hand([x.T for x in references], [x.T for x in estimates])
    for number, target in enumerate(PAIR):
        ours = frames(folders.json("e - good"), target)
        for metric, values in ours.items():
            assert len(values) == 2  # the half second at the end is dropped
            # Threads add up in another order, which may turn the last digit.
            np.testing.assert_allclose(values, expected[metric][number], atol=1.1e-5)
    held = json.loads(folders.json("e - good").read_text("utf-8"))
    assert held["museval_version"]
    frame = held["targets"][0]["frames"][1]
    assert (frame["time"], frame["duration"]) == (1.0, 1.0)


def test_estimates_are_kept_as_float(scored, corpus_root):
    folders, _ = scored
    made = folders.estimates / "a - good"
    assert sorted(each.name for each in made.iterdir()) == [
        "accompaniment.wav",
        "vocals.wav",
    ]
    mixture, _ = audio.read(corpus_root / "test" / "a - good" / "mixture.wav")
    expected = (mixture + 0.5 * np.abs(mixture)) / 2
    np.testing.assert_array_equal(audio.read(made / "vocals.wav")[0], expected)


def test_bad_songs_are_reported_and_the_others_scored(scored):
    folders, evaluation = scored
    failed = evaluation.summary["failed"]
    assert sorted(each.name for each in folders.scores.iterdir()) == [
        "a - good.json",
        "e - good.json",
    ]
    assert set(evaluation.failed) == set(failed)
    assert sorted(failed) == ["b - silent", "c - lacking", "d - torn"]
    assert "reference of vocals is silent throughout" in failed["b - silent"]
    assert "c - lacking lacks bass.wav; it holds" in failed["c - lacking"]
    assert "drums.wav" in failed["d - torn"]
    assert not list(folders.scores.parent.glob(".songs-*"))
    assert not list(folders.estimates.parent.glob(".songs-*"))


def test_songs_with_scores_are_skipped(scored, corpus_root, tmp_path):
    folders = run.Folders(tmp_path / "test")
    shutil.copytree(scored[0].scores, folders.scores)
    before = {each.name: each.read_bytes() for each in folders.scores.iterdir()}

    def never(batch):
        raise AssertionError("separated a song that has scores")

    separator = Separator(never, PAIR, RATE, 2, named=True)
    good = [s for s in songs.find_songs(corpus_root, "test") if "good" in s.name]
    assert evaluate.evaluate(separator, good, folders).failed == ()
    after = {each.name: each.read_bytes() for each in folders.scores.iterdir()}
    assert before == after


def test_four_targets_without_their_sum_are_scored_together():
    assert songs.scored_targets(["residual", *reversed(STEMS)]) == list(STEMS)
    assert songs.scored_targets(["accompaniment", "vocals"]) == list(PAIR)
    with pytest.raises(
        CorpusError, match="makes vocals, residual and the corpus has voc"
    ):
        songs.scored_targets(["vocals", "residual"])
    with pytest.raises(
        CorpusError, match="makes vocals, rest and the corpus has song:"
    ):
        songs.scored_targets(["vocals", "rest"], {"song": ["song"]})


def test_what_four_targets_leave_is_not_scored_as_the_accompaniment(
    corpus_root, monkeypatch, tmp_path, capsys
):
    separator = blurred(*STEMS, "accompaniment")
    monkeypatch.setattr(evaluate, "load", lambda *_, **__: separator)
    words = ["umx", "--root", str(corpus_root), "--evaldir", str(tmp_path / "scores")]
    assert evaluate.main([*words, "--residual", "accompaniment"]) == 1
    said = capsys.readouterr().err
    assert "accompaniment would be scored without drums, bass, other" in said
    assert "give --targets vocals too" in said
    songs.check_residual("rest", ["vocals", "rest"], {"vocals": [], "rest": ["rest"]})
    with pytest.raises(CorpusError, match="other would be scored with drums, bass in"):
        songs.check_residual("other", ["vocals", "other"])
    songs.check_residual("other", ["vocals", "drums", "bass", "other"])


def test_the_pair_is_scored_separately(corpus_root):
    """Vocals have the score of the pair, not that among all, as museval has it."""
    song = corpus_root / "test" / "a - good"
    names = ("vocals", "drums", "accompaniment")
    files = songs.references(songs.Song("a", song), names)
    # Estimates that are other stems: nothing is perfect, so no score is infinite.
    guesses = dict.fromkeys(names, song / "mixture.wav")
    held = json.loads(worker.score(files, guesses))
    assert [each["name"] for each in held["targets"]] == [
        "drums",
        "vocals",
        "accompaniment",
    ]
    two = {name: files[name] for name in PAIR}
    pair = json.loads(worker.score(two, {name: guesses[name] for name in PAIR}))
    assert held["targets"][1:] == pair["targets"]


def test_what_does_not_fit_is_reported(corpus_root, tmp_path):
    song = corpus_root / "test" / "a - good"
    files = songs.references(songs.Song("a", song), PAIR)
    wide = tmp_path / "wide.wav"
    audio.write(wide, np.repeat(audio.read(song / "mixture.wav")[0], 2, 0), RATE)
    with pytest.raises(ScoringError, match="estimated vocals has 2 channels"):
        worker.score(files, {"vocals": wide, "accompaniment": wide})
    silent = tmp_path / "silent.wav"
    audio.write(silent, np.zeros([1, round(1.5 * RATE)], np.float32), RATE)
    guesses = {"vocals": silent, "accompaniment": song / "mixture.wav"}
    with pytest.raises(ScoringError, match="estimate of vocals is silent"):
        worker.score(files, guesses)


@pytest.mark.slow
def test_a_singular_matrix_is_scored(corpus_root, monkeypatch):
    song = corpus_root / "test" / "a - good"
    files = songs.references(songs.Song("a", song), PAIR)
    guesses = dict.fromkeys(PAIR, song / "mixture.wav")
    usual = json.loads(worker.score(files, guesses))

    def singular(matrix, vectors):
        raise np.linalg.LinAlgError

    monkeypatch.setattr(np.linalg, "solve", singular)
    again = json.loads(worker.score(files, guesses))
    for one, other in zip(usual["targets"], again["targets"], strict=True):
        metrics = [each["frames"][0]["metrics"] for each in (one, other)]
        assert metrics[0]["SDR"] == pytest.approx(metrics[1]["SDR"], abs=1e-3)


@pytest.mark.slow
def test_a_killed_process_costs_one_song(corpus_root):
    song = corpus_root / "test" / "a - good"
    files = songs.references(songs.Song("a", song), PAIR)
    guesses = dict.fromkeys(PAIR, song / "mixture.wav")
    with run.Scorers(1) as scorers:
        lost = scorers.submit(worker.Job("a", files, guesses))
        while not scorers._running:
            time.sleep(0.01)
        (process,) = scorers._running
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ScoringError, match="ended with code -9"):
            lost.result()
        again = scorers.submit(worker.Job("a", files, guesses)).result()
    assert json.loads(again.text)["targets"][0]["name"] == "vocals"


def test_cores_below_one():
    with pytest.raises(ScoringError, match="--jobs is 0; expected at least 1"):
        run.Scorers(0)


def scaled(level):
    """The separator of the pair, at another level."""
    network = blurred(*PAIR).network
    return Separator(lambda batch: level * network(batch), PAIR, RATE, 2, named=True)


def test_scores_of_different_models_are_recorded_separately(tmp_path):
    folders = run.Folders(tmp_path / "test")
    record = {"subset": "test", "options": {"niter": 1}}
    run.check_record(blurred(*PAIR), folders, record)
    folders.scores.mkdir()
    folders.json("a").write_text("{}")
    run.check_record(blurred(*PAIR), folders, record)
    # As little as the last steps of a training change.
    with pytest.raises(ScoringError, match="other weights, expected these; name an"):
        run.check_record(scaled(1.0001), folders, record)
    other = {**record, "options": {"niter": 0}}
    with pytest.raises(
        ScoringError, match=r"options=\{'niter': 1\}, expected options="
    ):
        run.check_record(blurred(*PAIR), folders, other)
    run.check_record(scaled(1.01), folders, other, ["a"])
    assert not folders.json("a").exists()
    folders.record().unlink()
    folders.json("a").write_text("{}")
    with pytest.raises(ScoringError, match="scores without a record"):
        run.check_record(scaled(1.01), folders, other)


def test_scores_of_another_model_do_not_stay_beside_those_of_some_songs(tmp_path):
    folders = run.Folders(tmp_path / "test")
    run.check_record(blurred(*PAIR), folders, {})
    folders.scores.mkdir()
    for name in "ab":
        folders.json(name).write_text("{}")
    with pytest.raises(ScoringError, match="--overwrite without --limit"):
        run.check_record(scaled(2.0), folders, {}, ["a"])
    assert folders.json("a").exists()
    run.check_record(blurred(*PAIR), folders, {}, ["a"])
    assert [each.stem for each in folders.scores.iterdir()] == ["b"]
    run.check_record(scaled(2.0), folders, {}, None)
    assert not list(folders.scores.iterdir())


def test_scores_of_a_song_that_has_changed_are_not_continued(corpus_root, tmp_path):
    root = tmp_path / "db"
    for name in ("a - good", "e - good"):
        shutil.copytree(corpus_root / "test" / name, root / "test" / name)
    folders = run.Folders(tmp_path / "scores" / "test")

    def check(limit=None, repeated=()):
        found = songs.find_songs(root, "test")[:limit]
        run.check_record(blurred(*PAIR), folders, {}, repeated, found)

    check()
    folders.scores.mkdir()
    folders.json("a - good").write_text("{}")
    noisy(root / "test" / "new", 3, 1.5, 1)
    for stem in ("mixture", "bass"):
        new = root / "test" / "new" / f"{stem}.wav"
        new.replace(root / "test" / "e - good" / new.name)
    shutil.rmtree(root / "test" / "new")
    check()  # no scores of the song that has changed
    folders.json("e - good").write_text("{}")
    bass = root / "test" / "a - good" / "bass.wav"
    wave, rate = audio.read(bass)
    audio.write(bass, 0.5 * wave, rate, "wav16")
    with pytest.raises(ScoringError, match="scores of 'a - good' from before its sou"):
        check()
    check(limit=1, repeated=["a - good"])
    assert [each.stem for each in folders.scores.iterdir()] == ["e - good"]
    check()
    record = json.loads(folders.record().read_text())
    assert set(record.pop("songs")) == {"a - good", "e - good"}
    folders.record().write_text(json.dumps(record))  # as earlier releases wrote it
    check()


def test_a_song_that_cannot_be_read_does_not_stop_the_record_of_the_others(
    corpus_root, tmp_path
):
    found = songs.find_songs(corpus_root, "test")[:1]
    missing = songs.Song("gone", tmp_path / "gone.stem.mp4")
    folders = run.Folders(tmp_path / "test")
    run.check_record(blurred(*PAIR), folders, {}, (), [missing, *found])
    assert list(json.loads(folders.record().read_text())["songs"]) == [found[0].name]


def test_a_run_that_left_tracks_out_is_scored_without_them(tmp_path):
    root = miniature.write_moisesdb(tmp_path, sample_rate=8000, seconds=1.0, songs=10)
    track = songs.find_tracks("moisesdb", root, "train")[0].track
    next(iter(waveforms.files(next(iter(track.sources.values()))))).unlink()
    with pytest.raises(CorpusError, match="skip=True"):
        songs.find_tracks("moisesdb", root, "test")
    assert songs.find_tracks("moisesdb", root, "test", skip=True)


def test_subsets_have_records_of_their_own(tmp_path):
    test, train = (run.Folders(tmp_path / name) for name in ("test", "train"))
    for folders in (test, train):
        run.check_record(blurred(*PAIR), folders, {"subset": folders.scores.name})
        folders.scores.mkdir()
        folders.json("a").write_text("{}")
    run.check_record(blurred(*PAIR), test, {"subset": "test"})


@pytest.mark.one_lane
def test_an_evaluation_that_was_killed_and_the_model_changed(
    corpus_root, tmp_path, monkeypatch, capsys
):
    root = tmp_path / "db"
    for name in ("a - good", "e - good"):
        shutil.copytree(corpus_root / "test" / name, root / "test" / name)
    (root / "train").mkdir()
    model = scaled(1.0)
    monkeypatch.setattr(evaluate, "load", lambda *_, **__: model)
    words = ["umx", "--root", str(root), "--row", "none", "--evaldir"]
    made = run._separate

    def killed(separator, song, *rest):
        if song.name == "e - good":
            raise KeyboardInterrupt
        return made(separator, song, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(run, "_separate", killed)
        # The first song is scored before the second is looked at.
        patch.setattr(run._Run, "submit", _submitted(run._Run.submit))
        assert evaluate.main([*words, str(tmp_path / "broken")]) == 130
    broken = tmp_path / "broken"
    assert [each.stem for each in (broken / "test").iterdir()] == ["a - good"]
    model = Separator(
        lambda batch: blurred(*PAIR).network(np.roll(batch, 900, -1)),
        PAIR,
        RATE,
        2,
        named=True,
    )
    assert evaluate.main([*words, str(broken)]) == 1
    assert "scores of other weights, expected these" in capsys.readouterr().err
    assert evaluate.main([*words, str(broken), "--overwrite"]) == 0
    assert evaluate.main([*words, str(tmp_path / "straight")]) == 0
    straight = (tmp_path / "straight" / "scores.csv").read_text("utf-8")
    assert (broken / "scores.csv").read_text("utf-8") == straight


def _submitted(submit):
    """Wait for a song's scores at once."""

    def waiting(self, job, folder):
        submit(self, job, folder)
        self.collect(0)

    return waiting


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(CorpusError, match="does not exist"):
        songs.find_songs(tmp_path / "nowhere", "test")
    (tmp_path / "test").mkdir()
    with pytest.raises(CorpusError, match="holds no song but nothing"):
        songs.find_songs(tmp_path, "test")
    with pytest.raises(CorpusError, match="train does not exist"):
        songs.find_songs(tmp_path, "train")
    (tmp_path / "test" / "x.stem.mp4").touch()
    assert [each.name for each in songs.find_songs(tmp_path, "test")] == ["x"]
    with pytest.raises(CorpusError, match="or leave out --is-wav"):
        songs.find_songs(tmp_path, "test", is_wav=True)


@pytest.fixture
def fixed_model(monkeypatch):
    """Let the command load the pair's separator; returns what it was asked for."""
    asked: dict = {}

    def load(model, targets, **options):
        asked.update(model=model, targets=targets, **options)
        return blurred(*PAIR)

    monkeypatch.setattr(evaluate, "load", load)
    return asked


@pytest.mark.one_lane
def test_command(corpus_root, scored, fixed_model, tmp_path, capsys):
    """The words of 2019: model in front, outdir and evaldir."""
    output = tmp_path / "scores"
    words = ["umx", "--root", str(corpus_root), "--evaldir", str(output)]
    words += ["--outdir", str(tmp_path / "kept"), "--limit", "2", "--row", "umx"]
    assert evaluate.main([*words, "--targets", "vocals", "--residual", PAIR[1]]) == 1
    printed = capsys.readouterr()
    assert "b - silent: the reference of vocals is silent" in printed.err
    assert "a - good: SDR vocals" in printed.out
    assert fixed_model == {
        "model": "umx",
        "targets": ["vocals"],
        "niter": 1,
        "softmask": False,
        "residual": "accompaniment",
        "wiener_win_len": None,
        "aggregate": None,
        "alpha": 1.0,
        "logit": None,
        "segment_seconds": None,
        "checkpoint": None,
    }
    summary = json.loads((output / "summary.json").read_text("utf-8"))
    assert summary["museval"]["scored_together"] == [list(PAIR)]
    assert (summary["tracks"], summary["seconds"]) == (1, 1)
    assert list(summary["failed"]) == ["b - silent"]
    assert (tmp_path / "kept" / "test" / "a - good" / "vocals.wav").exists()
    medians = frames(output / "test" / "a - good.json", "vocals")["SDR"]
    assert summary["targets"]["vocals"]["SDR"] == np.median(medians)
    assert "| vocals |" in (output / "summary.md").read_text("utf-8")
    assert "6.32" in (output / "summary.md").read_text("utf-8")
    assert "which is not comparable" in printed.out
    with (output / "scores.csv").open(encoding="utf-8") as file:
        assert file.readline() == "track,target,SDR,SIR,SAR,ISR\n"
    assert (output / "scores.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--input", "x.wav"], "python -m unmix.separate x.wav"),
        (["a", "--model", "b"], "two models are named, b and a"),
        (["--limit", "0"], "--limit is 0; expected at least 1"),
        (["--cores", "0"], "--jobs is 0; expected at least 1"),
        (["--root", "/nowhere"], "/nowhere does not exist"),
        (["--table", "/nowhere.json"], "nowhere.json"),
    ],
)
def test_bad_words(words, sentence, corpus_root, fixed_model, tmp_path, capsys):
    words = ["--root", str(corpus_root), "--evaldir", str(tmp_path), *words]
    assert evaluate.main(words) == 1
    assert sentence in capsys.readouterr().err


def test_the_corpus_is_not_overwritten(corpus_root, fixed_model, tmp_path, capsys):
    words = ["--root", str(corpus_root), "--evaldir", str(tmp_path)]
    assert evaluate.main([*words, "--outdir", str(corpus_root)]) == 1
    assert "is an input and would be replaced" in capsys.readouterr().err


def test_json_is_museval_s_to_the_byte():
    import museval

    rows = {
        "SDR": np.array([1.234565, np.nan]),
        "ISR": np.array([np.inf, -0.0000012]),
        "SIR": np.array([-12.3, 0.0]),
        "SAR": np.array([123456.7, -np.inf]),
    }
    store = museval.TrackStore("a", win=1.0, hop=1.0)
    store.add_target("bass", rows)
    ours = worker.museval_json({"bass": rows})
    assert ours == store.json
    assert json.loads(ours)["museval_version"] == museval.version._version


def test_the_worker_imports_neither_museval_nor_tensorflow():
    program = (
        "import sys, unmix.scoring.worker\n"
        "assert not {'museval', 'pandas', 'tensorflow'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.slow
def test_networks_on_the_miniature_equal_museval_by_hand(tmp_path, capsys):
    """Four targets from files to the table, in the command's own words."""
    root = miniature.write_musdb(
        tmp_path / "mini", sample_rate=RATE, seconds=3.0, train=2, test=1
    )
    network = Network(RATE, 512, 128, hidden_size=16, bandwidth=4000.0)
    models = {name: OpenUnmix(network) for name in STEMS}
    convert.export(models, tmp_path / "model")
    words = ["--model", str(tmp_path / "model"), "--root", str(root), "--cores", "2"]
    assert evaluate.main([*words, "--outdir", str(tmp_path / "kept")]) == 0
    assert "Synthetic sounds" in capsys.readouterr().out
    output = tmp_path / "model" / "evaluation"
    for song in sorted((root / "test").iterdir()):
        made = tmp_path / "kept" / "test" / song.name
        pairs = [(song, made) for _ in STEMS]
        references, estimates = (
            [
                audio.read(p[k] / f"{n}.wav")[0].T
                for n, p in zip(STEMS, pairs, strict=True)
            ]
            for k in (0, 1)
        )
        expected = by_hand(references, estimates)
        for number, target in enumerate(STEMS):
            ours = frames(output / "test" / f"{song.name}.json", target)
            for metric, values in ours.items():
                np.testing.assert_allclose(
                    values, expected[metric][number], atol=1.1e-5
                )


@pytest.mark.slow
def test_stem_file_equals_museval_on_musdb(tmp_path):
    """The song in the wheel of stempeg, read here and by musdb."""
    museval = pytest.importorskip("museval")
    musdb = pytest.importorskip("musdb")
    stempeg = pytest.importorskip("stempeg")
    (file,) = Path(stempeg.__file__).parent.glob("data/*.stem.mp4")
    (tmp_path / "db" / "test").mkdir(parents=True)
    shutil.copy(file, tmp_path / "db" / "test")
    folders = run.Folders(tmp_path / "scores" / "test", tmp_path / "made" / "test")
    separator = Separator(blurred(*PAIR).network, PAIR, 44100, 2, named=True)
    actual = songs.find_songs(tmp_path / "db", "test")
    assert evaluate.evaluate(separator, actual, folders).failed == ()
    (track,) = musdb.DB(root=str(tmp_path / "db"), subsets="test").tracks
    assert track.name == actual[0].name
    made = folders.estimates / track.name
    guesses = {name: audio.read(made / f"{name}.wav")[0].T for name in PAIR}
    museval.eval_mus_track(track, guesses, output_dir=str(tmp_path / "by hand"))
    expected = tmp_path / "by hand" / "test" / f"{track.name}.json"
    for target in PAIR:
        ours, theirs = (
            frames(folders.json(track.name), target),
            frames(expected, target),
        )
        for metric, values in theirs.items():
            np.testing.assert_allclose(ours[metric], values, atol=1.1e-5)


def test_medians_are_those_of_museval_s_own_tables(scored, tmp_path):
    import museval

    folders, _ = scored
    store = museval.EvalStore()
    store.add_eval_dir(str(folders.scores.parent))
    theirs = store.agg_frames_tracks_scores()
    ours = scored[1].summary["targets"]
    for target in PAIR:
        for metric in tables.METRICS:
            assert ours[target][metric] == pytest.approx(
                theirs[target][metric], abs=1e-5
            )


@pytest.fixture(scope="module")
def speech_root(tmp_path_factory):
    """Speech in noise, as a folder for each mixture and as one for each source."""
    root = tmp_path_factory.mktemp("speech")
    rng, seconds = np.random.default_rng(0), 3.0
    for name in ("a", "b"):
        time_ = np.arange(round(seconds * RATE)) / RATE
        pitch = np.sin(2 * np.pi * 150 * time_ + 3 * np.sin(2 * np.pi * 3 * time_))
        voice = 0.2 * pitch * (1 + np.sin(2 * np.pi * 4 * time_))
        sounds = {"speech": voice, "noise": 0.2 * rng.standard_normal(len(voice))}
        sounds["mixture"] = sum(sounds.values())
        for part, wave in sounds.items():
            mono = wave[np.newaxis].astype(np.float32)
            folder = "mix" if part == "mixture" else part
            songs = root / "songs/test" / name / f"{part}.wav"
            for path in (songs, root / "folders/test" / folder / f"{name}.wav"):
                path.parent.mkdir(parents=True, exist_ok=True)
                audio.write(path, mono, RATE)
    return root


@pytest.mark.parametrize("layout", ["songs", "folders"])
def test_speech_has_its_intelligibility_beside_that_of_the_mixture(
    speech_root, layout, tmp_path
):
    stoi = pytest.importorskip("pystoi").stoi
    talks = songs.find_songs(speech_root / layout, "test")
    assert [song.name for song in talks] == ["a", "b"]
    separator = blurred("speech", "noise")
    folders = run.Folders(tmp_path / "scores" / "test", tmp_path / "made" / "test")
    scored = evaluate.evaluate(separator, talks[:1], folders, stoi=True)
    assert not scored.failed
    parts = [audio.read(talks[0].file(p))[0] for p in ("speech", "mixture")]
    made = audio.read(folders.estimates / "a" / "speech.wav")[0]
    expected = [stoi(parts[0][0], each[0], RATE) for each in (made, parts[1])]
    (row,) = [each for each in scored.rows if each["target"] == "speech"]
    actual = [row["STOI"], row["STOI_mixture"]]
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert scored.summary["targets"]["noise"]["STOI"] is None
    tables.write_csv(scored.rows, tmp_path / "scores.csv")
    head, *_ = (tmp_path / "scores.csv").read_text().splitlines()
    assert head.endswith("ISR,STOI,STOI_mixture")
    summary = {"row": None, "subset": "test", "synthetic": False, **scored.summary}
    text = tables.summary_table(summary)
    assert "| STOI | STOI of the mixture | tracks |" in text
    assert f"| {actual[0]:.3f} | {actual[1]:.3f} | 1 |" in text


def test_stoi_of_music_is_refused(corpus_root, tmp_path, capsys):
    words = ["mini", "--data", str(corpus_root), "--output", str(tmp_path), "--stoi"]
    assert evaluate.main(words) == 1
    assert (
        "--stoi measures speech and the model makes vocals" in capsys.readouterr().err
    )


@pytest.fixture(scope="module")
def bands(tmp_path_factory):
    """A corpus of songs without a stored mixture, in a layout of its own."""
    root = tmp_path_factory.mktemp("bands")
    rng = np.random.default_rng(2)
    for name, sources in {
        "a": ("vocals", "oud", "drums"),
        "b": ("vocals", "drums"),
        "c": ("oud", "drums"),
    }.items():
        folder = root / "test" / name
        folder.mkdir(parents=True)
        for source in sources:
            stem = 0.1 * rng.standard_normal([2, 2 * RATE]).astype(np.float32)
            audio.write(folder / f"{source}.flac", stem, RATE, "flac")
    return root


def test_tracks_of_any_corpus_are_scored(bands, tmp_path):
    tracks = songs.find_tracks("song_folders", bands, "test")
    assert songs.parts_of(tracks)["accompaniment"] == ["drums", "oud"]
    folders = run.Folders(tmp_path / "scores" / "test")
    scored = evaluate.evaluate(blurred(*PAIR), tracks, folders)
    assert scored.failed == ("c",)
    assert "c lacks vocals, accompaniment; it holds" in scored.summary["failed"]["c"]
    stems = {
        path.stem: audio.read(path)[0].astype(float)
        for path in (bands / "test" / "a").iterdir()
    }
    expected = by_hand(
        [stems["vocals"].T, (stems["oud"] + stems["drums"]).T],
        [wave.T for wave in blurred(*PAIR)(sum(stems.values()).astype("f")).values()],
    )
    for number, target in enumerate(PAIR):
        for metric, values in frames(folders.json("a"), target).items():
            np.testing.assert_allclose(values, expected[metric][number], atol=2e-4)


def test_a_run_is_scored_on_its_own_corpus(tmp_path, capsys):
    root = miniature.write_mir1k(tmp_path / "mir1k", train=2, test=2)
    words = ["singing", "--dataset", "mir1k", "--data", str(root)]
    words += ["--output", str(tmp_path / "out"), "--limit", "1"]
    assert evaluate.main(words) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert (summary["dataset"], summary["tracks"], summary["row"]) == ("mir1k", 1, None)
    assert list(summary["targets"]) == list(PAIR)
    assert "Synthetic sounds" in capsys.readouterr().out
    assert evaluate.main(["mini", "--dataset", "moisesdb"]) == 1
    assert "data_root is not set; dataset=moisesdb" in capsys.readouterr().err
    assert evaluate.main(["mini", "--split", "valid", "--data", str(tmp_path)]) == 1
    assert "expected train or test" in capsys.readouterr().err
