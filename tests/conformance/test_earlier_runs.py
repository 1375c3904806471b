"""Runs that an earlier release left in the middle of an epoch go on and separate."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from common import training
from common.config import load
from common.training.checkpoint import CONFIG
from common.training.logs import read_scalars
from common.training.run_folder import RunFolderError

RUNS = Path(__file__).parents[1] / "golden" / "runs"
CLASSES = {
    "mixit": "MixitConfig",
    "unmix": "UnmixConfig",
    "adversarial": "AdversarialConfig",
    "clustering": "ClusteringConfig",
}


def unpacked(run, folder):
    """Copy a committed run to where its configuration says that it is."""
    text = (run / "config.json").read_text().replace("CORPORA", str(folder))
    output = Path(json.loads(text)["output"])
    shutil.copytree(run, output)
    (output / "config.json").write_text(text)
    return output


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("run", sorted(RUNS.iterdir()), ids=lambda run: run.name)
def test_a_run_of_an_earlier_release_continues(
    run, write_corpus, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))
    pillar = run.name.partition("-")[0]
    write_corpus(pillar, tmp_path)
    folder = unpacked(run, tmp_path)
    module = importlib.import_module(f"{pillar}.config")
    config = load(getattr(module, CLASSES[pillar]), folder / "config.json")
    before = [x for x in read_scalars(folder) if x["step"] <= 4]
    build = importlib.import_module(f"{pillar}.train").build
    model = training.train(config, build)
    printed = capsys.readouterr().out
    assert "step 4 of 6, global batch" in printed
    assert "Epoch 2/2" in printed
    assert int(model.optimizer.iterations.numpy()) == 6
    assert read_scalars(folder)[: len(before)] == before
    separator = importlib.import_module(pillar).load(folder)
    mixture = np.random.default_rng(0).normal(0, 0.1, [separator.channels, 8000])
    estimates = separator(mixture.astype(np.float32))
    assert all(np.isfinite(each).all() for each in estimates.values())


@pytest.mark.one_lane
def test_a_run_with_a_removed_penalty_still_separates(tmp_path):
    folder = unpacked(RUNS / "mixit-0.1.0", tmp_path)
    values = json.loads((folder / "config.json").read_text())
    values |= {"sparsity": "covariance", "sparsity_weight": 0.1}
    (folder / "config.json").write_text(json.dumps(values))
    separator = importlib.import_module("mixit").load(folder)
    mixture = np.random.default_rng(0).normal(0, 0.1, [1, 800]).astype(np.float32)
    assert len(separator(mixture)) == 4
    config = load(importlib.import_module("mixit.config").MixitConfig, folder / CONFIG)
    build = importlib.import_module("mixit.train").build
    with pytest.raises(RunFolderError, match="with sparsity='covariance', which this"):
        training.train(config, build)
