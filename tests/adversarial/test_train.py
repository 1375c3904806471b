"""Both phases run to their end, go on after a kill, and do what the paper says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from adversarial import data, loss, phases, spectra, train
from adversarial.config import PRESETS
from adversarial.geometry import solve
from common import training
from common.checkpoint import restore_network
from common.config import override
from common.resume import TrainingError


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The small networks in miniature, of which four steps are an epoch."""
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))
    values = {
        "output": str(tmp_path / "run"),
        "train.epochs": 1,
        "train.checkpoint_steps": 2,
        "train.log_steps": 1,
        "model_config.epoch_it": 4,
        "model_config.batch_size": 2,
    }
    return override(PRESETS["tiny"], values)


def scalars(folder):
    lines = (Path(folder) / "scalars.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_both_phases_run_to_their_end(config, capsys):
    assert phases.run(config, train.build, check=False) == 0
    told = scalars(Path(config.output) / "semisup")
    steps = [each for each in told if each["split"] == "train"]
    names = {"unsup_sep_loss", "acc_disc_disc_loss", "voice_disc_grad_pen"}
    assert names < set(steps[0])
    assert all(
        np.isfinite(list(v for k, v in e.items() if k != "split")).all() for e in steps
    )
    assert [e["step"] for e in told if e["split"] == "validation"] == [4]
    assert "valid_loss" in next(e for e in told if e["split"] == "validation")
    tested = json.loads((Path(config.output) / "semisup" / "test.json").read_text())
    assert np.isfinite(tested["test_loss"])
    assert "trained 4 steps" in capsys.readouterr().out
