"""Sweeps: their configurations, and the runs of these."""

import json
from pathlib import Path

import pytest

from clustering import sweep
from clustering.presets import TINY
from common.config import ConfigError
from common.files import write_json

WORDS = ["with", "tiny", "lr=1e-3,2e-4", "kind=dpcl,chimera"]


class Machine:
    """Records commands and writes the files that they would write."""

    def __init__(self):
        self.called = []
        self.fails, self.command = "", "clustering.train"

    def __call__(self, words):
        module, path = words
        name = Path(path).name.removesuffix(".json")
        self.called.append((module, name))
        if self.fails and self.fails in name and module == self.command:
            return 3
        if module == "clustering.train":
            values = json.loads(Path(path).read_text())
            Path(values["output"]).mkdir(parents=True, exist_ok=True)
            write_json(values, Path(values["output"]) / "config.json")
        else:
            (Path(path) / "evaluation").mkdir()
            scores = {"si_sdr": 5.0, "si_sdr_improvement": 6.0}
            write_json({"all": scores}, Path(path) / "evaluation" / "summary.json")
        return 0


@pytest.fixture
def machine():
    return Machine()


def test_every_combination_is_trained_scored_and_tabled(tmp_path, machine, capsys):
    assert sweep.main([*WORDS, "--output", str(tmp_path / "s")], machine) == 0
    names = [
        f"{number:02d}_lr-{lr}_kind-{kind}"
        for number, (lr, kind) in enumerate(
            [(a, b) for a in ("1e-3", "2e-4") for b in ("dpcl", "chimera")]
        )
    ]
    steps = ("clustering.train", "clustering.evaluate")
    assert machine.called == [(step, name) for name in names for step in steps]
    values = json.loads((tmp_path / "s" / names[3] / "config.json").read_text())
    assert (values["lr"], values["kind"]) == (2e-4, "chimera")
    assert values["batch_size"] == TINY.batch_size
    printed = capsys.readouterr().out
    assert f"| {names[3]} | chimera | 0.0002 |" in printed
    assert (tmp_path / "s" / "analysis.csv").read_text().count("\n") == 5


@pytest.mark.parametrize(
    ("command", "calls"), [("clustering.train", 7), ("clustering.evaluate", 8)]
)
def test_failed_run_is_reported_and_tried_again_and_stops_no_other(
    tmp_path, machine, capsys, command, calls
):
    words = [*WORDS, "--output", str(tmp_path / "s")]
    machine.fails, machine.command = "01_", command
    assert sweep.main(words, machine) == 1
    error = capsys.readouterr().err
    assert "1 of 4 runs failed: 01_lr-1e-3_kind-chimera" in error
    assert f"{command}, exit code 3" in error
    assert len(machine.called) == calls
    machine.fails, machine.called = "", []
    assert sweep.main(words, machine) == 0
    assert [name[:2] for _, name in machine.called] == ["01", "01"]


def test_dry_run_prints_and_writes_nothing(tmp_path, machine, capsys, monkeypatch):
    monkeypatch.setenv("ROOT_DIR", str(tmp_path / "root"))
    assert sweep.main([*WORDS, "--dry-run"], machine) == 0
    printed = capsys.readouterr().out
    assert "03_lr-2e-4_kind-chimera: preset=tiny lr=2e-4 kind=chimera" in printed
    assert f"4 runs in {tmp_path / 'root'}" in printed
    assert list(tmp_path.iterdir()) == []
    assert machine.called == []


def test_folder_of_another_sweep_is_left_alone(tmp_path, machine, capsys):
    output = ["--output", str(tmp_path / "s")]
    sweep.main(["tiny", "lr=1e-3,2e-4", *output], machine)
    assert sweep.main(["tiny", "lr=1e-3,3e-4", *output], machine) == 1
    assert "holds another sweep" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tiny", "lrr=1,2"], "did you mean 'lr'?"),
        (["tiny", "lr=1,fast"], "lr='fast': expected a number"),
        (["tiny", "lr=1e-3,0.001"], "are the same configuration"),
        (["tiny", "output=a,b"], "name a folder by --output"),
        (["tiny", "lr,batch_size=1,2;3"], "2 keys and 1 values"),
        (["small", "lr=1,2"], "'small' is neither a preset"),
        (["preset=tiny,small"], "preset='small': expected one of"),
        (["-p", "gone.yml"], "gone.yml: No such file or directory; check the path"),
        (["-p", "a.yml", "lr=1"], "name either a file or keys"),
    ],
)
def test_bad_input_is_reported_in_one_sentence_before_anything_is_run(
    words, sentence, machine, capsys
):
    assert sweep.main(words, machine) == 1
    assert sentence in capsys.readouterr().err
    assert machine.called == []


def test_lists_and_tied_keys_are_separated_by_semicolons():
    combinations = sweep.parse_words(
        ["tiny", "tiny_chimera", "loss.weights=magnitude;magnitude,vad", "snr_db=-5,5"]
    )
    assert [each["preset"] for each in combinations] == ["tiny"] * 2 + [
        "tiny_chimera"
    ] * 2
    assert [each["loss.weights"] for each in combinations[:2]] == [
        "magnitude",
        "magnitude,vad",
    ]
    assert {each["snr_db"] for each in combinations} == {"-5,5"}
    tied = sweep.parse_words(["lr,batch_size=1e-3,8;2e-4,16"])
    assert tied == [
        {"lr": "1e-3", "batch_size": "8"},
        {"lr": "2e-4", "batch_size": "16"},
    ]


def test_bare_key_changes_all_of_its_name_and_a_dotted_one_itself():
    changed = sweep.change_config(TINY, {"hidden": 7})
    assert changed.spectral.recurrent.hidden == changed.tasnet.recurrent.hidden == 7
    dotted = sweep.change_config(TINY, {"tasnet.recurrent.hidden": "7"})
    assert dotted.tasnet.recurrent.hidden == 7
    assert dotted.spectral == TINY.spectral
    # The key of that name at the top is meant, not the numbers below.
    named = sweep.change_config(TINY, {"sources": "a,b"})
    assert named.sources == ("a", "b")
    assert named.cluster == TINY.cluster


def test_file_of_plain_keys_is_swept_over(tmp_path, machine, capsys):
    file = tmp_path / "a.yml"
    file.write_text(
        "preset: tiny\nbatch_size: 4\nsweep:\n"
        "  hidden: [8, 16]\n"
        "  multiple_parameters_1:\n"
        "  - {lr: 0.01, loss.weights: [magnitude]}\n"
        "  - {lr: 0.02, loss.weights: [magnitude, threshold]}\n"
    )
    output = tmp_path / "s"
    assert sweep.main(["-p", str(file), "--output", str(output)], machine) == 0
    files = sorted((output / "configurations").glob("*.json"))
    values = [json.loads(each.read_text()) for each in files]
    settings = [(v["spectral"]["recurrent"]["hidden"], v["lr"]) for v in values]
    assert settings == [(8, 0.01), (8, 0.02), (16, 0.01), (16, 0.02)]
    assert values[1]["loss"]["weights"] == ["magnitude", "threshold"]
    assert {v["batch_size"] for v in values} == {4}


def test_experiment_of_nussl_is_changed_before_it_is_translated():
    values = {
        "model_config": {"modules": {"stack": {"args": {"hidden_size": 1}}}},
        "dataset_config": {"n_fft": 0, "inner": {"n_fft": 0}},
    }
    changes = {"model_config.modules.stack.args.hidden_size": 5, "n_fft": 64}
    changed = sweep.change_everywhere(values, changes)
    assert changed["model_config"]["modules"]["stack"]["args"]["hidden_size"] == 5
    assert changed["dataset_config"] == {"n_fft": 64, "inner": {"n_fft": 64}}
    assert values["dataset_config"]["n_fft"] == 0
    assert sweep.change_everywhere(values, {"num_sources": 1}) == values
    with pytest.raises(ConfigError, match="no section 'train_config'"):
        sweep.change_everywhere(values, {"train_config.lr": 1})


def test_sweep_of_nussl_ties_parameters_and_passes_over_its_cache():
    combinations = sweep.combine(
        {
            "n_fft": 512,
            "populate_cache": True,
            "multiple_parameters_1": [{"hidden": 300, "n": 600}, {"hidden": 150}],
        }
    )
    assert combinations == [
        {"n_fft": 512, "hidden": 300, "n": 600},
        {"n_fft": 512, "hidden": 150},
    ]
    with pytest.raises(ConfigError, match="expected a list of mappings"):
        sweep.combine({"multiple_parameters": [1, 2]})
