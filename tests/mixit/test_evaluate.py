"""The evaluation: Google's numbers, rows that survive a kill, and bad input."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tf_keras as keras

from common import audio
from common.corpora import fuss
from common.corpora.track import CorpusError, Track
from common.evaluation.table import Rows, read
from common.separation.separator import Separator
from common.training.checkpoint import save_network
from mixit import evaluate, metrics, published, separate
from mixit.config import FUSS, FUSS_SUPERVISED, TINY, Network
from mixit.google.restore import restore
from mixit.model import Tdcn

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit"
RATE = 8000
MICRO = Network(RATE, 4, 1, "learned", 64, 32, 16, False, 8, 16, 3, 2, 1)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "evaluate_out.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def listed(golden, tmp_path_factory):
    """The small FUSS folder that Google's program was run on, as it was on disk."""
    root = tmp_path_factory.mktemp("fuss")
    lines = []
    for number, (sources, count) in enumerate(
        zip(golden["sources"], golden["counts"], strict=True)
    ):
        names = [f"eval/example{number:05d}.wav"]
        for index in range(count):
            names.append(f"eval/example{number:05d}_sources/{index}.wav")
            wave = sources[index : index + 1].astype(np.float32) / 32768
            (root / names[-1]).parent.mkdir(parents=True, exist_ok=True)
            audio.write(root / names[-1], wave, 16000, "wav16")
        lines.append("\t".join(names))
    fuss.write_list(root, "eval", lines)
    return root / "eval_example_list.txt"


def test_files_are_read_as_google_reads_them(golden, listed):
    for track, expected in zip(
        fuss.tracks(listed.parent, "eval"), golden["sources"], strict=True
    ):
        sources = evaluate.read_sources(track, 16000)
        np.testing.assert_array_equal(sources, expected[: len(sources)] / 32768)


def test_google_scores_and_summary(golden, listed, tmp_path):
    network = restore(GOLDEN / "small", num_dilations=3)[0]
    tracks = evaluate.with_length(
        fuss.tracks(listed.parent, "eval"), evaluate.FUSS_SECONDS
    )
    rows = Rows(tmp_path / "scores.csv", metrics.columns(4), "")
    measured, summary, _ = evaluate.evaluate(separate.separator(network), tracks, rows)
    rows.finish(row["example"] for row in measured)
    with (tmp_path / "scores.csv").open(encoding="utf-8") as file:
        written = read(file)
    names = list(golden["columns"])
    assert list(written[0]) == ["example", *names]
    # Google's values stand in the order in which its program made them.
    order = [
        *("sisnr_separated", "sisnr_mixture", "sisnr_improvement"),
        *("power_separated", "power_sources"),
        *("under_separation", "equal_separation", "over_separation"),
        *("weights_active_refs", "weights_active_seps", "weights_active_pairs"),
        *("num_active_refs", "num_active_seps", "num_active_pairs"),
    ]
    columns = [name for start in order for name in names if name.startswith(start)]
    assert sorted(columns) == names
    ours = [[float(row[name]) for name in columns] for row in written]
    np.testing.assert_allclose(ours, golden["values"], atol=2e-3)
    assert metrics.report(summary) == str(golden["summary"])


def test_google_words(golden, listed, run, tmp_path, capsys):
    output = tmp_path / "out" / "mine.csv"
    words = ["-cp", str(run), "-dp", str(listed), "-op", str(output), "--limit", "2"]
    assert evaluate.main(words) == 0
    names = {path.name for path in output.parent.iterdir()}
    assert names == {"mine.csv", "mine_summary.txt", "summary.json", "summary.md"}
    assert "SI-SNR for count(s) [1] = " in output.with_name(
        "mine_summary.txt"
    ).read_text("utf-8")
    summary = json.loads(output.with_name("summary.json").read_text("utf-8"))
    assert (summary["split"], summary["examples"]) == ("eval", 2)
    assert summary["synthetic"] is False
    assert "2Si" in capsys.readouterr().out


def test_scores_of_a_bundled_model_are_not_written_into_the_package(
    listed, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    model = replace(even(4), sample_rate=16000)
    monkeypatch.setattr(evaluate, "load", lambda *_, **__: model)
    assert evaluate.main(["mini", "-dp", str(listed), "--limit", "1"]) == 0
    assert (tmp_path / "evaluation" / "mini" / "scores.csv").exists()


def test_examples_of_a_list_have_10_s_and_those_with_most_sources_are_drawn(
    listed, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(evaluate, "draw", lambda _, track, folder: drawn.append(track))
    model = replace(even(4), sample_rate=16000)
    monkeypatch.setattr(evaluate, "load", lambda *_, **__: model)
    words = ["mini", "-dp", str(listed), "--output", str(tmp_path)]
    assert evaluate.main([*words, "--limit", "4", "--draw", "2"]) == 0
    assert [len(track.sources) for track in drawn] == [4, 3]
    assert {track.samples for track in drawn} == {160_000}


def test_google_words_for_a_checkpoint_and_its_graph(
    listed, tmp_path, capsys, monkeypatch
):
    for path in (GOLDEN / "small").glob("model.ckpt*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    prefix = str(tmp_path / "model.ckpt")
    words = ["-cp", prefix, "-dp", str(listed), "--limit", "1"]
    assert evaluate.main([*words, "--num-dilations", "3", "--row", "none"]) == 0
    assert "There is no published number" in capsys.readouterr().out
    assert (tmp_path / "evaluation" / "scores.csv").exists()
    graph = str(tmp_path / "elsewhere" / "graph.meta")
    assert evaluate.main([*words, "-mp", graph]) == 1
    assert "graph.meta is no file; expected one that" in capsys.readouterr().err
    given = {}

    def meta_graph(path, **options):
        given.update(options)
        return replace(even(4), sample_rate=16000)

    monkeypatch.setattr(evaluate, "load", meta_graph)
    assert evaluate.main([*words, "-mp", graph]) == 0
    assert given == {"metagraph": graph}


def even(outputs):
    """A separator that shares the mixture equally."""

    def network(batch):
        return np.repeat(batch[:, np.newaxis] / outputs, outputs, axis=1)

    return Separator(network, [f"source{i}" for i in range(outputs)], RATE)


def perfect(track, outputs):
    """A separator that returns the sources of a track, in another order."""
    sources = np.zeros((outputs, track.samples), np.float32)
    own = np.concatenate(list(track.sources.values()))
    sources[outputs - len(own) :] = own

    def network(batch):
        return sources[np.newaxis, :, np.newaxis] + 1e-5 * batch[:, np.newaxis]

    return Separator(network, [f"source{i}" for i in range(outputs)], RATE)


def track(name, count, seed=0):
    noise = 0.1 * np.random.default_rng(seed).standard_normal((count, 1, 4000))
    sources = dict(zip("abcdefgh", noise.astype(np.float32), strict=False))
    return Track(name, RATE, 4000, sources)


@pytest.mark.parametrize(("count", "outputs"), [(2, 4), (3, 8), (6, 8)])
def test_more_outputs_than_sources(count, outputs):
    one = track("one", count)
    (row,), summary, _ = evaluate.evaluate(perfect(one, outputs), [one])
    assert row["num_active_refs"] == row["num_active_pairs"] == count
    assert summary[f"{count}Si"]["sources"] == count
    assert summary["MSi"]["mean"] > 60
    assert summary["equal"] == 1.0
    assert set(row) == set(metrics.columns(outputs))


def test_over_and_under_separation():
    over = evaluate.evaluate(even(4), [track("one", 2)]).summary
    assert over["over"] == 1.0
    loud = track("one", 3)

    def first(batch):
        return np.stack([batch, 0 * batch, 0 * batch, 0 * batch], axis=1)

    under = evaluate.evaluate(Separator(first, tuple("abcd"), RATE), [loud]).summary
    assert (under["under"], under["MSi"]["sources"]) == (1.0, 1)


def test_silent_examples_are_left_out():
    silent = Track("none", RATE, 100, {"a": np.zeros((1, 100), np.float32)})
    rows, summary, _ = evaluate.evaluate(even(4), [silent, track("one", 1)])
    assert [row["example"] for row in rows] == ["one"]
    assert summary["1S"]["mean"] > 70
    assert summary["MSi"] == {"mean": None, "deviation": None, "sources": 0}
    assert "| MSi | none in this set |" in published.summary_table(summary)


def test_too_few_outputs():
    with pytest.raises(ValueError, match="one has 3 sources and the model 2 outputs"):
        evaluate.evaluate(even(2), [track("one", 3)])
    filled = replace(track("one", 2))
    sources = {**filled.sources, "z": np.zeros((1, 4000), np.float32)}
    rows = evaluate.evaluate(even(2), [replace(filled, sources=sources)]).rows
    assert rows[0]["num_active_refs"] == 2


def test_summary_pools_sources_not_examples():
    rows = [
        pooled(1, [30.0], [-10.0], "equal"),
        pooled(2, [5.0, 7.0], [2.0, 4.0], "equal"),
        pooled(3, [9.0, 9.0, 9.0], [6.0, 6.0, 6.0], "over"),
        pooled(2, [1.0], [0.0], "under"),
    ]
    summary = metrics.summarise(rows)
    assert summary["1S"] == {"mean": 30.0, "deviation": 0.0, "sources": 1}
    assert summary["2Si"]["mean"] == pytest.approx(2.0)
    assert summary["2Si"]["deviation"] == pytest.approx(np.std([2.0, 4.0, 0.0]))
    assert summary["MSi"]["mean"] == pytest.approx(4.0)
    assert summary["MSi"]["sources"] == 6
    assert (summary["under"], summary["equal"], summary["over"]) == (0.25, 0.5, 0.25)


def pooled(count, si_snr, improvement, kind):
    row = {f"{name}_separation": float(name == kind) for name in published.RATES}
    row["num_active_refs"] = count
    for index in range(1, 5):
        row[f"weights_active_pairs_source{index}"] = index <= len(si_snr)
        row[f"sisnr_separated_source{index}"] = (si_snr + [-80.0] * 4)[index - 1]
        row[f"sisnr_improvement_source{index}"] = (improvement + [0.0] * 4)[index - 1]
    return row


def test_more_sources_than_fuss_has_get_lines_of_their_own():
    summary = metrics.summarise([pooled(6, [1.0], [3.0], "under")])
    assert list(summary)[1:8] == ["1S", "2Si", "3Si", "4Si", "5Si", "6Si", "MSi"]
    assert summary["MSi"]["mean"] == 3.0
    assert "[2, 3, 4, 5, 6] = 3.0 +/- 0.0 dB" in metrics.report(summary)


class Killed(BaseException):
    """Stands for a kill that leaves nothing but the files."""


def test_an_interrupted_evaluation_continues(
    run, corpus, tmp_path, monkeypatch, capsys
):
    words = ["--model", str(run), "--data", str(corpus), "--output"]
    assert evaluate.main([*words, str(tmp_path / "straight")]) == 0
    measured = []
    plain = metrics.row

    def counted(name, *signals):
        measured.append(name)
        if len(measured) == 3:
            raise Killed
        return plain(name, *signals)

    monkeypatch.setattr(metrics, "row", counted)
    broken = tmp_path / "broken"
    with pytest.raises(Killed):
        evaluate.main([*words, str(broken)])
    assert not (broken / "scores.csv").exists()
    (part,) = broken.glob(".scores.*.part")
    with part.open("a", encoding="utf-8") as file:
        file.write("example00002,0.0,3")  # a line that a kill cut short
    capsys.readouterr()
    assert evaluate.main([*words, str(broken)]) == 0
    assert "continuing after 2 examples" in capsys.readouterr().out
    assert measured[3:] == measured[2:3] + measured[-1:]
    for name in ("scores.csv", "scores_summary.txt", "summary.json", "summary.md"):
        straight = (tmp_path / "straight" / name).read_bytes()
        assert (broken / name).read_bytes() == straight, name
    assert not list(broken.glob(".*"))


def test_an_interrupted_evaluation_of_a_network_that_was_trained_further(
    run, corpus, tmp_path, monkeypatch
):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    words = ["--model", str(copied), "--data", str(corpus), "--output"]
    measured, plain = [], metrics.row

    def killed(name, *signals):
        measured.append(name)
        if len(measured) == 3:
            raise Killed
        return plain(name, *signals)

    with monkeypatch.context() as patch:
        patch.setattr(metrics, "row", killed)
        with pytest.raises(Killed):
            evaluate.main([*words, str(tmp_path / "broken")])
    keras.utils.set_random_seed(7)
    shutil.rmtree(copied / "best")
    save_network(copied, Tdcn(MICRO))
    for name in ("broken", "straight"):
        assert evaluate.main([*words, str(tmp_path / name)]) == 0
    broken, straight = (
        (tmp_path / name / "scores.csv").read_text("utf-8")
        for name in ("broken", "straight")
    )
    assert broken == straight


def test_splits_have_folders_of_their_own(run, corpus, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    words = ["--model", str(copied), "--data", str(corpus), "--limit", "1", "--split"]
    for split in ("eval", "validation"):
        assert evaluate.main([*words, split]) == 0
    for name in ("evaluation", "evaluation-validation"):
        assert (copied / name / "summary.json").exists()


def test_rows_of_another_model_are_not_taken_up(tmp_path):
    path = tmp_path / "scores.csv"
    row = {"example": "a", "active": True, "power": 0.1, "count": 3}
    Rows(path, list(row), "one")["a"] = row
    assert not len(Rows(path, list(row), "two"))
    part = Rows(path, list(row), "one").part
    with part.open("ab") as file:
        file.write(b"b,True,no number,1\nc,True\nd,False,2.0,\xff\nhalf,Tr")
    again = Rows(path, list(row), "one")
    assert dict(again) == {"a": row}
    again["grüße, 1"] = {**row, "example": "grüße, 1", "active": False}
    again.finish(["grüße, 1", "a"])
    with path.open(encoding="utf-8", newline="") as file:
        names = [each["example"] for each in csv.DictReader(file)]
    assert names == ["grüße, 1", "a"]


def test_mixtures_of_mixtures(run, corpus, tmp_path, capsys):
    words = ["--model", str(run), "--output", str(tmp_path), "--moms"]
    assert evaluate.main([*words, "--data", str(corpus)]) == 0
    assert "| MoMi | " in capsys.readouterr().out
    rows = (tmp_path / "scores.csv").read_text("utf-8").splitlines()
    assert rows[0].split(",") == metrics.mixture_columns()
    assert rows[1].startswith("example00000+example00001,")
    assert len(rows) == 3
    assert evaluate.main([*words, "sources", "--data", str(corpus)]) == 1
    assert "a mixture of mixtures has two" in capsys.readouterr().err


def test_mixtures_that_are_separated_well_are_put_together():
    one, other = track("one", 1, seed=1), track("other", 1, seed=2)
    both = Track("both", RATE, 4000, {"a": one.sources["a"], "b": other.sources["a"]})
    separator = perfect(both, 4)
    rows, summary, _ = evaluate.evaluate_mixtures(
        separator, evaluate.pairs([one, other])
    )
    assert rows[0]["example"] == "one+other"
    assert summary["MoMi"]["sources"] == 2
    assert summary["MoMi"]["mean"] > 60
    same = evaluate.evaluate_mixtures(separator, evaluate.of_mixtures([both])).rows
    assert same[0]["sisnr_improvement_mix1"] == rows[0]["sisnr_improvement_mix1"]
    assert evaluate.pairs([one]) == []


def test_published_numbers_stand_beside_recordings_only():
    summary = {**metrics.summarise([pooled(2, [9.0], [8.0], "equal")]), "model": "m"}
    supervised = {**summary, "row": "fuss_supervised", "synthetic": False}
    text = published.summary_table(supervised)
    assert "arXiv 2011.00803" in text
    assert "| MSi | 8.0 dB | 0.0 dB | 1 | 9.8 dB |" in text
    made = {**supervised, "synthetic": True}
    assert "published" not in published.summary_table(made)
    assert published.summary_table(made).startswith("Synthetic sounds")
    table = published.scores_table([supervised, made])
    assert "| none in this set | 35.5 dB | 8.0 dB | 9.8 dB |" in table
    assert table.count("9.8") == 1
    assert table.index("On synthetic sounds") < table.index("| `m` | 1 ")


def test_which_published_row_a_run_repeats():
    assert published.row_of(FUSS) == "fuss"
    assert published.row_of(replace(FUSS, data_root="/data", lr=1.0)) == "fuss"
    assert published.row_of(FUSS_SUPERVISED) == "fuss_supervised"
    many = replace(FUSS.model, num_sources=16)
    sparse = replace(FUSS, model=many, sparsity="l1_l2", sparsity_weight=0.1)
    assert published.row_of(sparse) == "sparse"
    assert published.row_of(TINY) is None
    assert published.row_of(replace(FUSS, model=many)) is None


def test_a_published_row_is_for_all_examples_at_their_length(
    run, corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr(published, "row_of", lambda _: "fuss")
    words = ["--model", str(run), "--data", str(corpus), "--output", str(tmp_path)]
    for more, row in (([], "fuss"), (["--seconds=0.5"], None), (["--limit=2"], None)):
        assert evaluate.main([*words, *more]) == 0
        summary = json.loads((tmp_path / "summary.json").read_text("utf-8"))
        assert summary["row"] == row


def test_committed_table_is_generated(capsys):
    assert evaluate.main(["--table"]) == 0
    table = capsys.readouterr().out
    text = (Path(evaluate.__file__).parent / "results.md").read_text("utf-8")
    assert table in text
    assert table.count(published.NOT_RUN) == 2 * len(published.scores())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "no model is named; give --model RUN"),
        (["--data", "/no/such"], "FUSS: the folder /no/such does not exist"),
        (
            ["-dp", "list.txt"],
            "list.txt is not an example list; expected train_example_l",
        ),
        (["-dp", "eval_example_list.txt", "--split", "train"], "leave out --data and"),
        (["--data", "corpus", "--seconds", "0.00001"], "examples of 1e-05 s: expected"),
        (["--data", "corpus", "--seconds", "-1"], "examples of -1 s: expected at"),
        (["--data", "corpus", "--seconds", "0"], "examples of 0 s: expected at least"),
        (["--data", "corpus", "--moms", "--limit", "1"], "there is none to pair"),
        (["--data", "corpus", "--limit", "0"], "--limit is 0; expected at least 1"),
        (["--data", "corpus", "--draw", "-1"], "--draw is -1; expected 0 or more"),
        (["--table", __file__], "is not a summary.json of an evaluation"),
    ],
)
def test_bad_input(run, corpus, tmp_path, capsys, words, sentence):
    model = ["--model", str(run), "--output", str(tmp_path)] if words else []
    words = [str(corpus) if word == "corpus" else word for word in words]
    assert evaluate.main([*model, *words]) == 1
    assert sentence in capsys.readouterr().err


def test_longest_example_decides_the_length_of_a_pair(tmp_path):
    short = Track("s", RATE, 10, {"a": np.ones((1, 10), np.float32)})
    mixtures = evaluate.read_mixtures([short, track("one", 2)], RATE)
    assert mixtures.shape == (2, 4000)
    assert not mixtures[0, 10:].any()


def test_list_of_a_missing_split(tmp_path):
    (tmp_path / "eval_example_list.txt").write_text("mix.wav\tgone.wav\n", "utf-8")
    with pytest.raises(CorpusError, match=r"names .*gone.wav, which does not exist"):
        fuss.tracks(*evaluate.listed(tmp_path / "eval_example_list.txt"))
