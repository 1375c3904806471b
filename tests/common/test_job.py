"""What the scripts of the four pillars have in common."""

import json

import pytest

from common import job
from mixit import job as mixit_job

TWO = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}


def test_it_prints_how_to_continue(run_script, capsys):
    run_script(mixit_job, "tiny", "epochs=1", RUN_DIR="/old run")
    script = mixit_job.SCRIPT.path
    expected = f"  RUN_DIR='/old run' {script} tiny epochs=1\n"
    assert expected in capsys.readouterr().out
    run_script(mixit_job, RUN_DIR="/r", FUSS_ROOT_DIR="/my fuss", LANE="tfio")
    expected = f"  RUN_DIR=/r LANE=tfio FUSS_ROOT_DIR='/my fuss' {script}\n"
    assert expected in capsys.readouterr().out


def test_the_last_lines_name_the_outputs(run_script, capsys):
    run_script(mixit_job, RUN_DIR="/old run")
    assert capsys.readouterr().out.splitlines()[-5:] == [
        "Weights and configuration  /old run",
        "Scores                     /old run/evaluation/summary.md",
        "Curves, sounds, images     tensorboard --logdir='/old run'",
        "Separate a file            python -m mixit.separate FILE --model '/old run' "
        "--output FOLDER",
        "(the last two in a shell in which you have run: source "
        f"{job.REPOSITORY / 'setup.sh'})",
    ]


def test_check_stops_after_the_check(run_script):
    assert run_script(mixit_job, "--check") == 0
    (training,) = run_script.steps
    assert training.startswith("mixit.train with tiny --check output=/runs/mixit/")


def test_help_is_of_the_script_and_of_the_training(run_script, capsys):
    assert run_script(mixit_job, "--help") == 0
    assert run_script.steps == ["mixit.train with tiny --help"]
    out = capsys.readouterr().out
    assert out.startswith("Trains MixIT on FUSS, evaluates it")
    assert "  ./run_train_model_on_fuss.sh --check " in out
    assert "Run folder" not in out


def test_only_the_configuration_is_printed(run_script, capsys):
    assert run_script(mixit_job, "print_config", "lr=1", FUSS_ROOT_DIR="/f") == 0
    expected = "mixit.train with fuss data_root=/f print_config lr=1"
    assert run_script.steps == [expected]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("module", ["mixit.train", "mixit.evaluate"])
def test_the_exit_code_is_that_of_the_step_that_fails(run_script, capsys, module):
    run_script.codes[module] = 7
    assert run_script(mixit_job) == 7
    assert run_script.steps[-1].startswith(module)
    assert "Weights and configuration" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["bogus"], "'bogus' is neither a preset (fuss, "),
        (["lrr=1"], "unknown configuration key 'lrr'; did you mean 'lr'?"),
        (["tiny", "fuss"], "two presets, 'tiny' and 'fuss'"),
        (["--output"], "--output needs a value after it"),
        (["--hosts"], "--hosts: expected one file of hosts after it"),
        (["--hosts", "a", "--hosts=b"], "--hosts: expected one file of hosts after it"),
    ],
)
def test_bad_arguments_are_reported_in_one_sentence_by_the_script(
    run_script, capsys, words, sentence
):
    assert run_script(mixit_job, *words) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"run_train_model_on_fuss.sh: {sentence}")
    assert printed.err.count("\n") == 1
    assert not printed.out
    assert not run_script.steps


def test_other_workers_only_train(run_script, capsys):
    for index, steps in ((0, 2), (1, 1)):
        task = json.dumps({**TWO, "task": {"type": "worker", "index": index}})
        assert run_script(mixit_job, RUN_DIR="/r", TF_CONFIG=task) == 0
        assert len(run_script.steps) == steps
        assert ("Run folder: /r" in capsys.readouterr().out) == (index == 0)


def test_workers_need_one_run_folder(run_script, capsys):
    assert run_script(mixit_job, TF_CONFIG=json.dumps(TWO)) == 1
    assert "set RUN_DIR or output=FOLDER" in capsys.readouterr().err
    assert run_script(mixit_job, "output=/r", TF_CONFIG=json.dumps(TWO)) == 0


def test_a_task_of_slurm_is_a_worker(run_script, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(job.cluster, "is_chief", lambda: seen.append(config()) or False)
    environment = {
        "SLURM_PROCID": "1",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
        "SLURM_JOB_ID": "42",
    }
    assert run_script(mixit_job, **environment) == 0
    assert run_script.steps == [
        "mixit.train with tiny output=/runs/mixit/fuss/slurm-42"
    ]
    assert seen[0]["task"] == {"type": "worker", "index": 1}
    assert seen[0]["cluster"] == {"worker": ["n1:20420", "n2:20420"]}


def config():
    return json.loads(job.os.environ["TF_CONFIG"])


def test_hosts_get_the_arguments_and_one_run_folder(
    run_script, capsys, monkeypatch, tmp_path
):
    started = []
    monkeypatch.setattr(
        job.cluster, "run_on_hosts", lambda *call: started.append(call) or 5
    )
    hosts = tmp_path / "hosts"
    hosts.write_text("a\nb\n")
    words = ["tiny", "--hosts", str(hosts), "epochs=1"]
    assert run_script(mixit_job, *words, FUSS_ROOT_DIR="/f") == 5
    ((names, command, variables, logs),) = started
    assert names == ["a", "b"]
    assert command == [str(mixit_job.SCRIPT.path), "tiny", "epochs=1"]
    run = variables.pop("RUN_DIR")
    assert variables["FUSS_ROOT_DIR"] == "/f"
    assert variables["ROOT_DIR"] == "/runs"
    assert str(logs) == f"{run}/hosts"
    assert not run_script.steps
    out = capsys.readouterr().out
    assert "Training on 2 hosts: a, b\n" in out
    assert f"RUN_DIR={run} " in out
