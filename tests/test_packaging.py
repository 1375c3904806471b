"""What pip installs: these packages, these commands, these requirements and no more."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

import common
from common.startup import COMMAND

REPOSITORY = Path(__file__).resolve().parents[1]
LANES = ("current", "tfio")
ROOMS = ("common", "mixit", "unmix", "adversarial", "clustering", "harmony_split")
COMMANDS = {
    "mixit-train": "mixit.train:main",
    "mixit-separate": "mixit.separate:main",
    "mixit-evaluate": "mixit.evaluate:main",
    "mixit-convert": "mixit.convert:main",
    "mixit-export": "mixit.export:main",
    "mixit-light": "mixit.light:main",
    "unmix-train": "unmix.train:main",
    "unmix-separate": "unmix.separate:main",
    "umx-tf": "unmix.umx_command:main",
    "unmix-evaluate": "unmix.evaluate:main",
    "unmix-convert": "unmix.convert:main",
    "unmix-export": "unmix.export:main",
    "unmix-light": "unmix.light:main",
    "clustering-train": "clustering.train:main",
    "clustering-separate": "clustering.separate:main",
    "clustering-evaluate": "clustering.evaluate:main",
    "clustering-convert": "clustering.convert:main",
    "clustering-export": "clustering.export:main",
    "clustering-light": "clustering.light:main",
    "clustering-visualize": "clustering.visualize:main",
    "adversarial-train": "adversarial.train:main",
    "adversarial-separate": "adversarial.separate:main",
    "adversarial-evaluate": "adversarial.evaluate:main",
    "adversarial-convert": "adversarial.convert:main",
    "adversarial-export": "adversarial.export:main",
    "adversarial-light": "adversarial.light:main",
    "harmony-split": "harmony_split.__main__:main",
    "separation-doctor": "common.doctor:main",
    "separation-registry": "common.weights.registry:main",
}


@pytest.fixture(scope="module")
def setup_py() -> dict[str, object]:
    """The literals that setup.py assigns."""
    tree = ast.parse((REPOSITORY / "setup.py").read_text(encoding="utf-8"))
    literals = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List | ast.Dict):
            literals[node.targets[0].id] = ast.literal_eval(node.value)
    return literals


def project(requirement: str) -> str:
    """The normalised name of a requirement, as PyPI compares names."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lane: str) -> dict[str, str]:
    """Version by name of one constraints file."""
    lines = (REPOSITORY / "constraints" / f"{lane}.txt").read_text().splitlines()
    pairs = [line.split(";")[0].split("==") for line in lines if line[0] != "#"]
    return {project(name): version.strip() for name, version in pairs}


def test_every_package_is_listed_and_nothing_else(setup_py):
    present = {
        ".".join(path.parent.relative_to(REPOSITORY).parts)
        for room in ROOMS
        for path in (REPOSITORY / room).rglob("__init__.py")
    }
    assert set(setup_py["PACKAGES"]) == present


def test_the_card_is_complete(setup_py):
    core = {project(name) for name in setup_py["REQUIRES"]}
    card = {"tensorflow", "tf-keras", "numpy", "librosa", "museval", "sacred"}
    assert card | {"ffmpeg-python"} <= core
    assert "tensorflow-io" not in core
    assert "tensorflow-cpu" not in core
    assert "tensorflow-io" in {project(n) for n in setup_py["EXTRAS"]["tfio"]}


@pytest.mark.parametrize("lane", LANES)
def test_every_requirement_has_a_tested_version(setup_py, lane):
    expected = setup_py["REQUIRES"] + setup_py["EXTRAS"]["plots"]
    for extra in ("web", "docs", "dev"):
        expected = expected + setup_py["EXTRAS"][extra]
    if lane == "tfio":
        expected = expected + setup_py["EXTRAS"]["tfio"]
    assert {project(name) for name in expected} <= set(pins(lane))


def test_a_small_install_has_tested_versions_of_what_separates(setup_py):
    lines = (REPOSITORY / "constraints" / "separate.txt").read_text().splitlines()
    names = {project(line) for line in lines if line[0] != "#"}
    assert names - {"tensorflow-cpu"} <= set(pins("current"))
    cpu = next(line for line in lines if line.startswith("tensorflow-cpu"))
    assert cpu.split(" ")[0].split("==")[1] == pins("current")["tensorflow"]
    core = {project(name) for name in setup_py["REQUIRES"]}
    training = {"librosa", "museval", "sacred", "tensorboard", "setuptools"}
    assert core - names == training


def test_the_image_is_made_of_files_that_exist():
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split() for line in text.splitlines() if line and line[0] != "#"]
    assert [step for step in steps if step[0] == "FROM"] == [
        ["FROM", "python:3.11-slim"]
    ]
    files = {word for step in steps for word in step if word.startswith("constraints")}
    assert all((REPOSITORY / file).exists() for file in files)
    assert {"constraints/current.txt", "constraints/separate.txt"} <= files
    assert ["USER", "separation"] in steps
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    assert not {"mixit", "common", "constraints", "setup.py"} & set(ignored)


def test_lanes_stand_at_the_ends_of_the_range():
    ends = [tuple(map(int, pins(lane)["tensorflow"].split("."))) for lane in LANES]
    assert [end[:2] for end in ends] == [(2, 21), (2, 16)]
    assert pins("tfio")["tensorflow-io"] == "0.37.1"
    assert "tensorflow-io" not in pins("current")


def test_commands_are_functions_of_the_tree(setup_py):
    assert dict(line.split(" = ") for line in setup_py["COMMANDS"]) == COMMANDS
    assert all(COMMAND.fullmatch(name) for name in COMMANDS)
    for target in COMMANDS.values():
        module, name = target.split(":")
        path = REPOSITORY / f"{module.replace('.', '/')}.py"
        functions = {
            node.name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
        }
        assert name in functions, target


@pytest.fixture(scope="module")
def wheel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that pip builds from this tree, without the network."""
    folder = tmp_path_factory.mktemp("source")
    for name in (*ROOMS, "tests"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(REPOSITORY / name, folder)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "-q"]
    command += ["--no-build-isolation", "-w", str(folder / "dist"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(wheel_file: Path) -> zipfile.ZipFile:
    """What the wheel holds."""
    return zipfile.ZipFile(wheel_file)


@pytest.fixture(scope="module")
def installed(wheel_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a new environment: the wheel, beside the packages of this one."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    command += ["install", "--no-deps", "--no-index", "--ignore-installed", "-q"]
    subprocess.run([*command, str(wheel_file)], check=True)
    return folder / "bin"


@pytest.mark.slow
def test_wheel_holds_only_the_packages(wheel):
    files = wheel.namelist()
    information = f"tf_separation_suite-{common.__version__}.dist-info"
    assert {name.split("/")[0] for name in files} == {*ROOMS, information}
    assert "common/corpora/track.py" in files
    assert sum(name.endswith("/published.csv") for name in files) == 4
    licences = {Path(name).name for name in files if name.startswith(information)}
    assert {"LICENSE", "NOTICE"} <= licences


@pytest.mark.slow
def test_wheel_holds_the_small_models_whole(wheel):
    folders = "models", "bundled"
    packed = {n for n in wheel.namelist() if n.split("/")[1] in folders}
    there = {
        str(path.relative_to(REPOSITORY))
        for room in ROOMS
        for folder in folders
        for path in (REPOSITORY / room / folder).rglob("*")
        if path.is_file()
    }
    assert packed == there
    assert {p.split("/")[0] for p in there} == {*ROOMS} - {"common", "harmony_split"}


@pytest.mark.slow
def test_wheel_holds_the_page_whole(wheel):
    packed = {name for name in wheel.namelist() if "/static/" in name}
    there = (REPOSITORY / "harmony_split" / "static").rglob("*")
    assert packed == {str(p.relative_to(REPOSITORY)) for p in there if p.is_file()}
    assert "harmony_split/static/vendor/wavesurfer.LICENSE.txt" in packed


@pytest.mark.slow
def test_wheel_states_commands_and_requirements(wheel):
    (entry,) = (n for n in wheel.namelist() if n.endswith("/entry_points.txt"))
    lines = wheel.read(entry).decode().split("\n")
    assert {line for line in lines if " = " in line} == {
        f"{name} = {target}" for name, target in COMMANDS.items()
    }
    (path,) = (n for n in wheel.namelist() if n.endswith("/METADATA"))
    metadata = wheel.read(path).decode().split("\n\n")[0].split("\n")
    python = next(m for m in metadata if m.startswith("Requires-Python"))
    assert set(python.split(": ")[1].split(",")) == {">=3.10", "<3.14"}
    extras = {m.split(": ")[1] for m in metadata if m.startswith("Provides-Extra")}
    assert extras == {
        *("tfio", "gpu", "plots", "speech", "web", "onnx", "beam", "docs", "dev")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "pillar",
    [pytest.param("unmix", marks=pytest.mark.ci), "mixit", "adversarial", "clustering"],
)
def test_an_installed_wheel_separates_outside_the_clone(installed, pillar, tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal((8000, 1))
    soundfile.write(tmp_path / "noise.wav", noise, 8000)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    settings = {
        "cwd": tmp_path,
        "env": environment,
        "text": True,
        "capture_output": True,
    }
    find = [
        str(installed / "python"),
        "-c",
        f"import {pillar}; print({pillar}.__file__)",
    ]
    actual = subprocess.run(find, **settings, check=True).stdout
    assert Path(actual).is_relative_to(installed.parent)
    command = [str(installed / f"{pillar}-separate"), "noise.wav", "--model", "mini"]
    done = subprocess.run([*command, "--output", "stems"], **settings, check=False)
    assert done.returncode == 0, done.stderr
    stems = list((tmp_path / "stems").rglob("*.wav"))
    assert len(stems) > 1
    assert len(list((tmp_path / "stems").rglob("*report.json"))) == 1
    assert {soundfile.info(stem).frames for stem in stems} == {8000}
