"""The shell scripts, with fake programs on PATH instead of the machine's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
CORPORA = {
    "fuss": "mixit",
    "musdb18": "unmix",
    "wsj0_2mix": "clustering",
    "musdb18_and_moisesdb": "adversarial",
}
PROGRAMS = (
    "awk bash cat chmod cksum cp date dirname env flock grep mkdir mv realpath rm sed "
    "tail tee"
)

# Answers as an interpreter would; an environment made from it holds itself.
PYTHON = """#!/usr/bin/env bash
printf '%s\\n' "$*${PYTHONSAFEPATH:+ safe=$PYTHONSAFEPATH}" >>"$CALLS"
case "$1 ${2:-}" in
  "-c import sys"*) echo "${FAKE_VERSION:-3.11}" ;;
  "-c import ensurepip"*) [[ ! -e "$CALLS.no-venv" ]] ;;
  "-m common.doctor") [[ -z "${NO_TENSORFLOW:-}" ]] ;;
  "-m venv")
    mkdir -p "$3/bin"
    sed "s|$A_VENV|$3|g" "$A_VENV/bin/activate" >"$3/bin/activate"
    cp "$0" "$3/bin/python"
    ;;
  "-m uv") [[ -z "${NO_UV:-}" ]] ;;
  "-m pip") printf '%s\\n' "${PIP_SAYS:-Collecting numpy}"; exit "${PIP_EXIT:-0}" ;;
  "-m "*.job) exit "${JOB_EXIT:-0}" ;;
  "-m "*.train) exit "${TRAIN_EXIT:-0}" ;;
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
        ("current", ".venv", "plots,web,docs,dev"),
        ("tfio", ".venv-tfio", "tfio,plots,web,docs,dev"),
    ],
)
def test_setup_installs_a_lane_with_its_constraints(machine, lane, folder, extras):
    done = machine.setup(LANE=lane)
    assert done.returncode == 0, done.stderr
    (pip,) = machine.called("-m pip install")
    assert pip.endswith(f"-c {machine.clone}/constraints/{lane}.txt -e .[{extras}]")
    assert (machine.clone / folder / ".ready").exists()


@pytest.mark.parametrize("fails", ["", "1"])
def test_uv_installs_the_same_and_pip_where_it_fails(machine, fails):
    mirror = "https://mirror/simple"
    done = machine.setup(INSTALLER="uv", PIP_INDEX_URL=mirror, NO_UV=fails)
    assert done.returncode == 0, done.stderr
    same = f"-c {machine.clone}/constraints/current.txt -e .[plots,web,docs,dev]"
    (uv,) = machine.called("-m uv pip install")
    assert uv.endswith(f"--default-index {mirror} {same}")
    _, *pip = machine.called("-m pip install")
    assert [line.endswith(same) for line in pip] == [True] * bool(fails)
    assert ("trying pip" in done.stderr) == bool(fails)


def test_another_installer_is_refused(machine):
    done = machine.setup(INSTALLER="conda")
    assert done.returncode == 1
    one_line(done, "INSTALLER=conda", "INSTALLER=uv")


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


def test_a_moved_clone_is_installed_again(machine):
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
    assert machine.called(".[plots,web,docs,dev,gpu]")


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


@pytest.mark.parametrize("corpus", CORPORA)
def test_scripts_hand_their_arguments_to_the_job(trained, corpus):
    script = str(trained.clone / f"run_train_model_on_{corpus}.sh")
    done = trained.run(script, "tiny", "a b=c", LANE="current", JOB_EXIT="7")
    assert done.returncode == 7, done.stderr
    check, job = trained.calls.read_text().splitlines()[-2:]
    assert check == "-m common.doctor --tensorflow safe=1"
    assert job == f"-m {CORPORA[corpus]}.job tiny a b=c safe=1"
    text = Path(script).read_text()
    assert len([line for line in text.splitlines() if line[:1] not in ("#", "")]) < 10


@pytest.mark.parametrize("corpus", CORPORA)
def test_scripts_without_tensorflow_fail_before_the_job(trained, corpus):
    script = str(trained.clone / f"run_train_model_on_{corpus}.sh")
    assert trained.run(script, NO_TENSORFLOW="1").returncode == 1
    assert not trained.called(".job")


def test_tests_run_in_the_environment_of_the_lane(trained):
    done = trained.run(str(trained.clone / "run_tests.sh"), "-m", "slow", LANE="tfio")
    assert done.returncode == 0, done.stderr
    assert trained.called("-m pytest -m slow")
    assert (trained.clone / ".venv-tfio").exists()


def test_the_second_lane_leaves_out_what_libraries_cannot_change(trained):
    script = str(trained.clone / "run_tests.sh")
    assert trained.run(script).returncode == 0
    (everything,) = trained.called("-m pytest")
    assert trained.run(script, LANE="tfio").returncode == 0
    (changeable,) = trained.called("-m pytest")
    assert changeable == f"{everything} -m not slow and not one_lane"
    assert trained.run(script, "-n", "2", LANE="tfio").returncode == 0
    assert trained.called("-m pytest -n 2") == ["-m pytest -n 2"]


SCRIPTS = sorted(path.name for path in REPOSITORY.glob("*.sh")) + ["benchmarks/run.sh"]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_prints_the_comment_of_a_script_and_does_nothing_else(
    machine, script, word
):
    path = machine.clone / script
    path.parent.mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / script, path)
    done = machine.run(str(path), word)
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, last = done.stdout.splitlines()
    lines = path.read_text().splitlines()
    assert lines[1] == f"# {first}"
    end = next(n for n, line in enumerate(lines) if line[:1] != "#")
    if script != "run_table.sh":
        assert lines[end - 1] == f"# {last}"
    assert machine.calls.read_text() == ""
    assert not (machine.clone / ".venv").exists()


FOLDERS = {
    "singing": ["MIR1K_DIR"],
    "adversarial_singing": ["MIR1K_DIR"],
    "enhance": ["SPEECH_DIR", "ENVIRONMENT_DIR"],
    "speech2": ["SPEECH_DIR"],
    "universal": ["SPEECH_DIR", "ENVIRONMENT_DIR", "DIGITS_DIR", "OTHER_DIRS"],
    "music4": ["ALBUM_DIR", "MIDI_DIR", "MIR1K_DIR"],
}


@pytest.mark.parametrize("model", FOLDERS)
def test_missing_corpora_are_named_before_the_environment_is_made(machine, model):
    name = f"run_train_bundled_{model}.sh"
    shutil.copy(REPOSITORY / name, machine.clone)
    there = dict.fromkeys(FOLDERS[model], str(machine.clone))
    for variable in FOLDERS[model]:
        wrong = {"": {}, "/nowhere": {variable: "/nowhere"}}
        if variable.endswith("_DIRS"):
            wrong["/nowhere"] = {variable: f"{machine.clone}:/nowhere"}
        for value, setting in wrong.items():
            others = {key: there[key] for key in there if key != variable}
            done = machine.run(str(machine.clone / name), **others, **setting)
            assert done.returncode == 2
            assert done.stderr == (
                f"{name}: {variable}={value} is not a folder: set it as "
                f"'{name} --help' says.\n"
            )
    assert not (machine.clone / ".venv").exists()


@pytest.mark.parametrize("model", [*FOLDERS, *CORPORA.values()])
def test_keys_are_checked_before_a_corpus_is_made(machine, model):
    name = f"run_train_bundled_{model}.sh"
    shutil.copy(REPOSITORY / name, machine.clone)
    folders = dict.fromkeys(FOLDERS.get(model, []), str(machine.clone))
    done = machine.run(
        str(machine.clone / name), "lrr=1", TRAIN_EXIT="1", ROOT_DIR="runs", **folders
    )
    assert done.returncode == 1
    *_, check = machine.called("")[:-1]
    assert re.match(r"-m \w+\.train print_config with .*lrr=1", check)
    assert not (machine.clone.parent / "runs").exists()


@pytest.mark.parametrize("model", [*FOLDERS, *CORPORA.values()])
def test_a_dry_run_ends_after_the_check(machine, model):
    name = f"run_train_bundled_{model}.sh"
    shutil.copy(REPOSITORY / name, machine.clone)
    folders = dict.fromkeys(FOLDERS.get(model, []), str(machine.clone))
    for program in ("find", "sort", "realpath", "ln", "basename"):
        link = machine.programs / program
        if not link.exists():
            link.symlink_to(shutil.which(program))
    done = machine.run(str(machine.clone / name), "--check", ROOT_DIR="runs", **folders)
    assert done.returncode == 0, done.stderr
    called = machine.called("")[:-1]
    assert " --check" in called[-1]
    assert not [line for line in called if "evaluate" in line or "convert" in line]


@pytest.mark.parametrize("words", [["--help"], ["--check"]])
def test_a_link_to_a_script_runs_it(machine, words):
    link = machine.clone.parent / "links" / "train"
    link.parent.mkdir()
    link.symlink_to(machine.clone / "run_train_model_on_fuss.sh")
    script = str(machine.clone / "run_train_model_on_fuss.sh")
    first, second = machine.run(script, *words), machine.run(str(link), *words)
    assert second.returncode == 0
    assert second.stdout == first.stdout


@pytest.mark.skipif(shutil.which("dash") is None, reason="needs a shell without arrays")
@pytest.mark.parametrize("words", [["{}"], ["-c", '. "{}"']])
def test_another_shell_than_bash_is_refused_in_a_sentence(machine, words):
    command = [word.format(machine.clone / "setup.sh") for word in words]
    done = machine.run(shutil.which("dash"), *command)
    assert done.returncode != 0
    assert done.stderr.startswith("setup.sh: this shell is not bash: run ./setup.sh")
    assert done.stderr.count("\n") == 1


def test_a_script_elsewhere_keeps_its_own_help(machine):
    script = f'echo mine >{machine.clone.parent}/mine; . "a clone/setup.sh"; echo on'
    (machine.clone.parent / "run_tests.sh").write_text(script)
    done = machine.run("bash", "run_tests.sh", "--help")
    assert done.stdout == "on\n"


@pytest.mark.parametrize(
    "script", ["setup.sh", "run_lint.sh", "run_docs.sh", "benchmarks/run.sh"]
)
def test_scripts_without_arguments_refuse_them(trained, script):
    path = trained.clone / script
    path.parent.mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / script, path)
    done = trained.run(str(path), "--fast")
    assert done.returncode in (1, 2)
    assert "--fast is unknown" in done.stderr
    assert done.stderr.count("\n") == 1
