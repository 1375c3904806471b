"""The shell scripts, with programs of their own on PATH in place of the machine's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
CORPORA = ("fuss", "musdb18", "wsj0_2mix", "musdb18_and_moisesdb")
PROGRAMS = (
    "awk bash cat chmod cksum cp date dirname env flock grep mkdir mv rm sed tail tee"
)

# Answers as an interpreter would; an environment made from it holds itself.
PYTHON = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$CALLS"
case "$1 ${2:-}" in
  "-c import sys"*) echo "${FAKE_VERSION:-3.11}" ;;
  "-c import ensurepip"*) [[ ! -e "$CALLS.no-venv" ]] ;;
  *tensorflow*) [[ -z "${NO_TENSORFLOW:-}" ]] ;;
  "-m venv")
    mkdir -p "$3/bin"
    sed "s|$A_VENV|$3|g" "$A_VENV/bin/activate" >"$3/bin/activate"
    cp "$0" "$3/bin/python"
    ;;
  "-m pip") printf '%s\\n' "${PIP_SAYS:-Collecting numpy}"; exit "${PIP_EXIT:-0}" ;;
  "-m mixit.train" | "-m unmix.train" | "-m clustering.train" | "-m adversarial.train")
    exit "${TRAIN_EXIT:-0}" ;;
esac
"""
APT = """#!/usr/bin/env bash
printf 'apt-get %s\\n' "$*" >>"$CALLS"
case "$*" in
  *ffmpeg) printf '#!/bin/sh\\n' >"${0%/*}/ffmpeg"; chmod +x "${0%/*}/ffmpeg" ;;
  *python3-venv) rm -f "$CALLS.no-venv" ;;
esac
"""


@dataclass
class Machine:
    """A clone in a folder with a space, and a PATH that holds nothing else."""

    clone: Path
    programs: Path
    calls: Path
    environment: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        self.calls.write_text("")
        return subprocess.run(
            command,
            cwd=self.clone.parent,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def setup(self, **environment: str) -> subprocess.CompletedProcess:
        return self.run(str(self.clone / "setup.sh"), **environment)

    def bash(self, script: str, **environment: str) -> subprocess.CompletedProcess:
        return self.run("bash", "-c", script, **environment)

    def called(self, word: str) -> list[str]:
        return [line for line in self.calls.read_text().split("\n") if word in line]


@pytest.fixture(scope="module")
def a_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real environment, for its script ``activate``."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder)
    return folder


@pytest.fixture
def machine(tmp_path: Path, a_venv: Path) -> Machine:
    """A machine with Python 3.11 and ffmpeg, and a user who is not root."""
    clone, programs = tmp_path / "a clone", tmp_path / "bin"
    programs.mkdir()
    shutil.copytree(REPOSITORY / "constraints", clone / "constraints")
    scripts = [f"run_train_model_on_{corpus}.sh" for corpus in CORPORA]
    for name in ("setup.sh", "setup.py", *scripts, "run_tests.sh"):
        shutil.copy(REPOSITORY / name, clone)
    for name in PROGRAMS.split():
        where = shutil.which(name)
        if where:
            (programs / name).symlink_to(where)
    calls = tmp_path / "calls"
    settings = {
        "PATH": str(programs),
        "HOME": str(tmp_path),
        "CALLS": str(calls),
        "A_VENV": str(a_venv),
    }
    machine = Machine(clone, programs, calls, settings)
    machine.add("python3", PYTHON)
    machine.add("id", "#!/bin/sh\necho 1000\n")
    machine.add("ffmpeg", "#!/bin/sh\n")
    return machine


def make_root(machine: Machine) -> None:
    machine.add("id", "#!/bin/sh\necho 0\n")
    machine.add("apt-get", APT)


def one_line(done: subprocess.CompletedProcess, *words: str) -> None:
    """The last line of the errors is a sentence that holds these words."""
    last = done.stderr.strip().split("\n")[-1]
    assert last.startswith("setup.sh: ")
    assert last.endswith((".", ")."))
    for word in words:
        assert word in last


@pytest.mark.parametrize(
    ("lane", "folder", "extras"),
    [
        ("current", ".venv", "plots,web,dev"),
        ("tfio", ".venv-tfio", "tfio,plots,web,dev"),
    ],
)
def test_setup_installs_a_lane_with_its_constraints(machine, lane, folder, extras):
    done = machine.setup(LANE=lane)
    assert done.returncode == 0, done.stderr
    (pip,) = machine.called("-m pip install")
    assert pip.endswith(f"-c {machine.clone}/constraints/{lane}.txt -e .[{extras}]")
    assert (machine.clone / folder / ".ready").exists()


def test_second_setup_calls_neither_venv_nor_pip(machine):
    machine.setup()
    done = machine.setup()
    assert done.returncode == 0
    assert done.stderr == ""
    assert machine.calls.read_text().split("\n") == ["-c ", ""]


def test_changed_requirements_are_installed_over_the_old(machine):
    machine.setup()
    with (machine.clone / "constraints" / "current.txt").open("a") as file:
        file.write("six==1.16.0\n")
    assert machine.setup().returncode == 0
    assert machine.called("-m pip")
    assert not machine.called("-m venv")


def test_moved_clone_is_installed_anew(machine):
    machine.setup()
    machine.clone = machine.clone.rename(machine.clone.with_name("elsewhere"))
    assert machine.setup().returncode == 0
    assert machine.called("-m pip")


def test_interrupted_install_is_redone_from_the_start(machine):
    assert machine.setup(PIP_EXIT="1").returncode == 1
    (machine.clone / ".venv" / "half").write_text("")
    assert machine.setup().returncode == 0
    assert machine.called("-m venv")
    assert not (machine.clone / ".venv" / "half").exists()


def test_environment_of_the_user_is_left_alone(machine):
    theirs = machine.clone / ".venv" / "bin" / "precious"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    done = machine.setup()
    assert done.returncode == 1
    one_line(done, ".venv exists", "move or delete")
    assert theirs.read_text() == "mine"


def test_gpu_brings_the_libraries_of_nvidia(machine):
    machine.add("nvidia-smi", "#!/bin/sh\necho 'GPU 0: NVIDIA A100'\n")
    machine.setup()
    assert machine.called(".[plots,web,dev,gpu]")


def test_unknown_lane_is_an_error(machine):
    done = machine.setup(LANE="stable")
    assert done.returncode == 1
    one_line(done, "LANE=stable", "LANE=current", "LANE=tfio")


@pytest.mark.parametrize(
    ("lane", "version"), [("current", "3.9"), ("current", "3.14"), ("tfio", "3.13")]
)
def test_python_outside_the_range_is_an_error(machine, lane, version):
    done = machine.setup(LANE=lane, FAKE_VERSION=version)
    assert done.returncode == 1
    one_line(done, f"LANE={lane}", f"python3 is {version}", "3.10 to 3.1")
    assert not (machine.clone / ".venv").exists()
    named = machine.setup(LANE=lane, FAKE_VERSION=version, PYTHON="python3")
    one_line(named, f"PYTHON=python3 is {version}")


def test_python_that_does_not_exist_is_an_error(machine):
    done = machine.setup(PYTHON="python9")
    assert done.returncode == 1
    one_line(done, "PYTHON=python9 does not run")


def test_missing_venv_module_names_the_package(machine):
    Path(f"{machine.calls}.no-venv").touch()
    done = machine.setup()
    assert done.returncode == 1
    one_line(done, "no venv module", "apt-get install python3-venv")


def test_root_gets_the_venv_module_installed(machine):
    Path(f"{machine.calls}.no-venv").touch()
    make_root(machine)
    assert machine.setup().returncode == 0
    assert machine.called("apt-get install -y --no-install-recommends python3-venv")


def test_missing_ffmpeg_is_one_line_and_no_failure(machine):
    (machine.programs / "ffmpeg").unlink()
    for _ in range(2):
        done = machine.setup()
        assert done.returncode == 0
        assert done.stderr.count("apt-get install ffmpeg") == 1


def test_root_gets_ffmpeg_installed(machine):
    (machine.programs / "ffmpeg").unlink()
    make_root(machine)
    done = machine.setup()
    assert done.returncode == 0
    assert machine.called("apt-get install -y --no-install-recommends ffmpeg")
    assert "m4a" not in done.stderr


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("NewConnectionError: ... Errno 101", ("cannot reach", "PIP_INDEX_URL")),
        ("OSError: [Errno 28] No space left on device", ("disk is full",)),
        ("ERROR: something else", ("could not install",)),
    ],
)
def test_failing_pip_gets_its_sentence_and_another_try(machine, says, words):
    done = machine.setup(PIP_SAYS=says, PIP_EXIT="1")
    assert done.returncode == 1
    one_line(done, *words, "install.log")
    assert not (machine.clone / ".venv" / ".ready").exists()
    assert machine.setup().returncode == 0


@pytest.mark.slow
def test_real_pip_without_network_gets_the_sentence(machine):
    (machine.programs / "python3").unlink()
    done = machine.setup(
        PYTHON=sys._base_executable,
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_RETRIES="0",
    )
    assert done.returncode == 1
    one_line(done, "cannot reach", "PIP_INDEX_URL")


STATE = 'set +o; shopt -p; declare -F; compgen -v | grep -v "^BASH\\|^_$\\|^FUNCNAME$"'


@pytest.mark.parametrize("options", ["", "set -euo pipefail;"])
def test_sourcing_leaks_nothing_but_what_it_documents(machine, options):
    """Options stay; new names are those documented and those of the venv itself."""
    source = f'source "{machine.clone}/setup.sh"'
    before = machine.bash(f"{options} {STATE}").stdout.split("\n")
    done = machine.bash(f"{options} {source}; {STATE}")
    assert done.returncode == 0, done.stderr
    after = done.stdout.split("\n")
    assert not set(before) - set(after)
    theirs = {"VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "declare -f deactivate", "PS1"}
    theirs |= {"_OLD_VIRTUAL_PATH", "_OLD_VIRTUAL_PS1"}
    assert set(after) - set(before) - theirs == {"LANE", "ROOT_DIR"}


def test_sourcing_sets_what_it_documents(machine):
    show = 'echo "$LANE|$ROOT_DIR|$VIRTUAL_ENV|$(env | grep -c "^FUSS_ROOT")|$*"'
    done = machine.bash(
        f'set -- a b; LANE=tfio; FUSS_ROOT_DIR=/f; . "a clone/setup.sh"; {show}'
    )
    clone = machine.clone
    assert done.stdout.strip() == f"tfio|{clone}/runs|{clone}/.venv-tfio|1|a b"
    kept = machine.bash(f'. "a clone/setup.sh"; {show}', ROOT_DIR="/mine")
    assert kept.stdout.startswith("current|/mine|")


def test_failing_setup_does_not_end_the_shell_that_sources_it(machine):
    done = machine.bash('. "a clone/setup.sh"; echo "alive $?"', LANE="none")
    assert done.stdout == "alive 1\n"
    assert done.returncode == 0


@pytest.fixture
def trained(machine: Machine) -> Machine:
    machine.setup()
    return machine


def train(machine: Machine, *arguments: str, **environment: str):
    script = str(machine.clone / "run_train_model_on_fuss.sh")
    return machine.run(script, *arguments, **environment)


def test_main_job_without_tensorflow_fails_before_training(trained):
    done = train(trained, NO_TENSORFLOW="1")
    assert done.returncode == 1
    assert "TensorFlow cannot run" in done.stderr
    assert not trained.called("mixit")


def test_main_job_without_fuss_says_so_and_runs_everything(trained):
    done = train(trained, "epochs=2", "seed=3")
    assert done.returncode == 0, done.stderr
    assert "FUSS_ROOT_DIR is not set" in done.stdout
    training, evaluation = trained.called("-m mixit")
    head, run = training.removesuffix(" epochs=2 seed=3").split(" output=")
    assert head == "-m mixit.train with tiny"
    assert run.startswith(f"{trained.clone}/runs/mixit/fuss/20")
    assert evaluation.startswith(f"-m mixit.evaluate --model {run} ")
    assert f"--output {run}/evaluation" in evaluation
    assert f"{run}/evaluation/summary.md\n" in done.stdout


def test_main_job_on_fuss_trains_the_published_preset(trained):
    train(trained, FUSS_ROOT_DIR="/data/my fuss", ROOT_DIR="/r")
    training, _ = trained.called("-m mixit")
    head = "-m mixit.train with fuss data_root=/data/my fuss output=/r/mixit/fuss/"
    assert training.startswith(head)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ([], {"RUN_DIR": "/old run"}),
        (["output=/old run"], {}),
        (["--output", "/old run"], {}),
        (["--output=/old run"], {"RUN_DIR": "/other"}),
    ],
)
def test_main_job_goes_on_with_a_named_run(trained, arguments, environment):
    train(trained, *arguments, **environment)
    training, evaluation = trained.called("-m mixit")
    assert "output=/old run" in training
    assert "--model /old run --" in evaluation


def test_first_bare_word_names_the_preset(trained):
    train(trained, "tiny", "epochs=1", FUSS_ROOT_DIR="/f")
    training = trained.called("mixit.train")[0]
    assert training.startswith("-m mixit.train with tiny data_root=/f output=")
    assert training.endswith(" epochs=1")


def test_data_named_by_argument_are_as_good_as_the_variable(trained):
    done = train(trained, "data_root=/mine", FUSS_ROOT_DIR="/f")
    assert "Training on FUSS in /mine." in done.stdout
    training = trained.called("mixit.train")[0]
    assert training.startswith("-m mixit.train with fuss data_root=/mine output=")


def test_main_job_says_how_to_go_on(trained):
    done = train(trained, "tiny", "epochs=1", RUN_DIR="/old run")
    script = str(trained.clone / "run_train_model_on_fuss.sh").replace(" ", "\\ ")
    assert f"  RUN_DIR=/old\\ run {script} tiny epochs=1\n" in done.stdout
    done = train(trained, RUN_DIR="/r", FUSS_ROOT_DIR="/my fuss", LANE="tfio")
    expected = f"  RUN_DIR=/r LANE=tfio FUSS_ROOT_DIR=/my\\ fuss {script}\n"
    assert expected in done.stdout


def test_check_stops_after_the_check(trained):
    assert train(trained, "--check").returncode == 0
    assert trained.called("mixit.train")
    assert not trained.called("mixit.evaluate")


def test_failing_training_ends_the_main_job(trained):
    assert train(trained, TRAIN_EXIT="7").returncode == 7
    assert not trained.called("mixit.evaluate")


def unmix(machine: Machine, *arguments: str, **environment: str):
    script = str(machine.clone / "run_train_model_on_musdb18.sh")
    return machine.run(script, *arguments, **environment)


FOUR = "target=vocals,drums,bass,other"


def test_music_without_a_corpus_says_so_and_runs_everything(trained):
    done = unmix(trained, "epochs=2", "--target", "bass")
    assert done.returncode == 0, done.stderr
    assert "No corpus is named" in done.stdout
    assert "miniature of synthetic music, made here" in done.stdout
    training, evaluation = trained.called("-m unmix")
    head, run = training.split(" output=")
    assert head == f"-m unmix.train with tiny {FOUR} epochs=2 --target bass"
    assert run.startswith(f"{trained.clone}/runs/unmix/musdb18/20")
    options = f"--model {run} --evaldir {run}/evaluation"
    assert evaluation == f"-m unmix.evaluate {options}"
    assert f"{run}/evaluation/summary.md\n" in done.stdout


def test_a_published_preset_without_a_corpus_announces_no_miniature(trained):
    done = unmix(trained, "umx")
    assert "miniature" not in done.stdout
    assert trained.called("unmix.train")[0].startswith("-m unmix.train with umx target")


def test_previews_are_a_root(trained):
    unmix(trained, "previews")
    training, evaluation = trained.called("-m unmix")
    assert training.startswith("-m unmix.train with umx ")
    assert " root=previews " in training
    assert " --root=previews " in evaluation


@pytest.mark.parametrize(
    ("arguments", "environment", "root"),
    [
        (["/data/my music"], {"MUSDB18_ROOT_DIR": "/other"}, "/data/my music"),
        (["some-music"], {}, "some-music"),
        ([], {"MUSDB18_ROOT_DIR": "/my music", "MUSDB_PATH": "/other"}, "/my music"),
        ([], {"MUSDB_PATH": "/music"}, "/music"),
        (["--root", "/music"], {"MUSDB18_ROOT_DIR": "/other"}, "/music"),
        (["root=/a=b"], {}, "/a=b"),
        (["umx", "/music"], {}, "/music"),
        (["with", "/music", "umx"], {}, "/music"),
    ],
)
def test_corpus_of_music_is_named_in_several_ways(
    trained, arguments, environment, root
):
    done = unmix(trained, *arguments, **environment)
    assert f"Training on MUSDB18 in {root}." in done.stdout
    training, evaluation = trained.called("-m unmix")
    assert training.startswith(f"-m unmix.train with umx {FOUR} root={root} ")
    assert f" --root={root} --evaldir " in evaluation


def test_wav_files_are_named_as_the_published_row(trained, tmp_path):
    stem = tmp_path / "hq" / "train" / "a - b" / "vocals.wav"
    stem.parent.mkdir(parents=True)
    stem.touch()
    unmix(trained, str(tmp_path / "hq"))
    assert " with umxhq " in trained.called("unmix.train")[0]
    unmix(trained, str(tmp_path / "hq"), "umx_2019")
    assert " with umx_2019 " in trained.called("unmix.train")[0]


@pytest.mark.parametrize("words", [["--seeds", "4"], ["--seeds=4"]])
def test_several_seeds_keep_the_best_of_each_target(trained, words):
    done = unmix(trained, "/m", "epochs=3", *words, "--lr", "1", RUN_DIR="/old run")
    assert done.returncode == 0, done.stderr
    *trainings, best, evaluation = trained.called("-m unmix")
    head = f"-m unmix.train with umx {FOUR} root=/m epochs=3 --lr 1 output=/old run/"
    assert trainings == [f"{head}seed{n} train.seed={n}" for n in (42, 43, 44, 45)]
    assert best == "-m unmix.seeds /old run"
    assert "--model /old run/best --root=/m --evaldir /old run/eval" in evaluation


@pytest.mark.parametrize("words", [["--seeds", "x"], ["--seeds=0"], ["--seeds"]])
def test_seeds_without_a_number_are_an_error(trained, words):
    done = unmix(trained, *words)
    assert done.returncode == 1
    assert "expected how many seeds to train, 1 to 9" in done.stderr
    assert not trained.called("-m unmix")


def test_music_goes_on_with_a_named_run_and_says_how(trained):
    done = unmix(trained, "tiny", "--seeds", "2", RUN_DIR="/old run", LANE="tfio")
    script = str(trained.clone / "run_train_model_on_musdb18.sh").replace(" ", "\\ ")
    expected = f"  RUN_DIR=/old\\ run LANE=tfio {script} tiny --seeds 2\n"
    assert expected in done.stdout
    unmix(trained, "--output", "/mine", RUN_DIR="/old run")
    training, evaluation = trained.called("-m unmix")
    assert training.endswith(" --output /mine output=/mine")
    assert evaluation.startswith("-m unmix.evaluate --model /mine ")


def test_failing_training_ends_the_seeds(trained):
    assert unmix(trained, "--seeds", "3", TRAIN_EXIT="7").returncode == 7
    assert len(trained.called("unmix.train")) == 1
    assert not trained.called("unmix.seeds")


def test_check_of_music_stops_after_the_check(trained):
    assert unmix(trained, "--check", "--seeds", "4").returncode == 0
    (training,) = trained.called("-m unmix")
    assert "--check" in training
    assert "--seeds" not in training
    assert unmix(trained, NO_TENSORFLOW="1").returncode == 1
    assert not trained.called("-m unmix")


def speakers(machine: Machine, *arguments: str, **environment: str):
    script = str(machine.clone / "run_train_model_on_wsj0_2mix.sh")
    return machine.run(script, *arguments, **environment)


def test_speakers_without_a_corpus_say_so_and_run_everything(trained):
    done = speakers(trained, "epochs=2", "--lr", "1")
    assert done.returncode == 0, done.stderr
    assert "No corpus is named" in done.stdout
    training, evaluation = trained.called("-m clustering")
    head, run = training.split(" output=")
    assert head == "-m clustering.train with tiny dataset=wsj0_2mix epochs=2 --lr 1"
    assert run.startswith(f"{trained.clone}/runs/clustering/wsj0_2mix/20")
    assert evaluation == f"-m clustering.evaluate {run}"
    assert f"{run}/evaluation/summary.md\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (
            ["/my talk"],
            {"WSJ0_2MIX_ROOT_DIR": "/w"},
            "dpcl dataset=wsj0_2mix root=/my talk",
        ),
        ([], {"WSJ0_2MIX_ROOT_DIR": "/w"}, "dpcl dataset=wsj0_2mix root=/w"),
        ([], {"WHAM_ROOT_DIR": "/h"}, "dpcl dataset=wham root=/h"),
        (["chimera", "/w"], {}, "chimera dataset=wsj0_2mix root=/w"),
        (["with", "chimera", "--root", "/w"], {}, "chimera dataset=wsj0_2mix root=/w"),
    ],
)
def test_corpus_of_speakers_is_named_in_several_ways(
    trained, arguments, environment, words
):
    done = speakers(trained, *arguments, RUN_DIR="/r", **environment)
    assert done.returncode == 0, done.stderr
    training, evaluation = trained.called("-m clustering")
    head = f"-m clustering.train with {words} sample_rate=8000 "
    assert training.startswith(head)
    assert training.endswith(" output=/r")
    assert evaluation == "-m clustering.evaluate /r"


def test_two_corpora_of_speakers_are_an_error(trained):
    done = speakers(trained, WHAM_ROOT_DIR="/h", WSJ0_2MIX_ROOT_DIR="/w")
    assert done.returncode == 1
    assert "unset the one that is not meant" in done.stderr
    assert not trained.called("-m clustering")


def test_speakers_go_on_with_a_named_run_and_say_how(trained):
    done = speakers(trained, "tiny", RUN_DIR="/old run", WHAM_ROOT_DIR="/my wham")
    script = str(trained.clone / "run_train_model_on_wsj0_2mix.sh").replace(" ", "\\ ")
    expected = f"  RUN_DIR=/old\\ run WHAM_ROOT_DIR=/my\\ wham {script} tiny\n"
    assert expected in done.stdout
    speakers(trained, "--output", "/mine", RUN_DIR="/old run")
    assert trained.called("clustering.evaluate") == ["-m clustering.evaluate /mine"]


def test_failing_or_checking_training_of_speakers_is_not_scored(trained):
    assert speakers(trained, TRAIN_EXIT="7").returncode == 7
    assert not trained.called("clustering.evaluate")
    assert speakers(trained, "--check").returncode == 0
    assert not trained.called("clustering.evaluate")
    assert speakers(trained, NO_TENSORFLOW="1").returncode == 1
    assert not trained.called("-m clustering")


def singing(machine: Machine, *arguments: str, **environment: str):
    script = str(machine.clone / "run_train_model_on_musdb18_and_moisesdb.sh")
    return machine.run(script, *arguments, **environment)


def test_singing_without_a_corpus_says_so_and_runs_everything(trained):
    done = singing(trained, "train.epochs=2", "--alpha", "1", SONG="/a song.mp3")
    assert done.returncode == 0, done.stderr
    assert "MUSDB18_ROOT_DIR is not set" in done.stdout
    training, evaluation, separation = trained.called("-m adversarial")
    head, run = training.split(" output=")
    assert head == "-m adversarial.train with tiny train.epochs=2 --alpha 1"
    assert run.startswith(f"{trained.clone}/runs/adversarial/musdb18_and_moisesdb/20")
    assert evaluation == f"-m adversarial.evaluate {run}"
    options = f"--model {run} --output {run}/separated --overwrite"
    assert separation == f"-m adversarial.separate /a song.mp3 {options}"
    assert f"{run}/sup/evaluation/summary.md\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (
            [],
            {"MOISESDB_ROOT_DIR": "/my moises"},
            "musdb_moisesdb corpora.root=/m corpora.unpaired_root=/my moises",
        ),
        ([], {}, "musdb_moisesdb corpora.root=/m corpora.unpaired=none"),
        (
            ["with", "museval", "alpha=1"],
            {},
            "museval corpora.root=/m corpora.unpaired=none alpha=1",
        ),
    ],
)
def test_corpora_of_singing_are_named_by_the_environment(
    trained, arguments, environment, words
):
    given = {"MUSDB18_ROOT_DIR": "/m", "RUN_DIR": "/r", "SONG": "s.wav", **environment}
    done = singing(trained, *arguments, **given)
    assert done.returncode == 0, done.stderr
    training = trained.called("adversarial.train")
    assert training == [f"-m adversarial.train with {words} output=/r"]
    assert ("supervised only" in done.stdout) == ("unpaired=none" in words)


def test_unpaired_songs_alone_are_an_error(trained):
    done = singing(trained, MOISESDB_ROOT_DIR="/m")
    assert done.returncode == 1
    assert "MUSDB18_ROOT_DIR is not; set it" in done.stderr
    assert not trained.called("-m adversarial")


def test_singing_goes_on_with_a_named_run_and_says_how(trained, tmp_path):
    run = tmp_path / "old run"
    (run / "semisup").mkdir(parents=True)
    given = {"RUN_DIR": str(run), "SONG": "s.wav", "LANE": "tfio"}
    done = singing(trained, "tiny", MUSDB18_ROOT_DIR="/my m", **given)
    script = str(trained.clone / "run_train_model_on_musdb18_and_moisesdb.sh")
    script, place = (text.replace(" ", "\\ ") for text in (script, str(run)))
    settings = "LANE=tfio MUSDB18_ROOT_DIR=/my\\ m SONG=s.wav"
    assert f"  RUN_DIR={place} {settings} {script} tiny\n" in done.stdout
    assert f"{run}/semisup/evaluation/summary.md\n" in done.stdout
    singing(trained, "--output", "/mine", RUN_DIR="/old run", SONG="s.wav")
    assert trained.called("adversarial.evaluate") == ["-m adversarial.evaluate /mine"]


def test_failing_or_checking_training_of_singing_is_not_scored(trained):
    assert singing(trained, TRAIN_EXIT="7").returncode == 7
    assert not trained.called("adversarial.evaluate")
    assert singing(trained, "--check").returncode == 0
    assert not trained.called("adversarial.evaluate")
    assert singing(trained, NO_TENSORFLOW="1").returncode == 1
    assert not trained.called("-m adversarial")


def test_tests_run_in_the_environment_of_the_lane(trained):
    done = trained.run(str(trained.clone / "run_tests.sh"), "-m", "slow", LANE="tfio")
    assert done.returncode == 0, done.stderr
    assert trained.called("-m pytest -m slow")
    assert (trained.clone / ".venv-tfio").exists()
