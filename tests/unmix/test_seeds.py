"""Of trainings with several seeds the best validation of every target is kept."""

import json

import numpy as np
import pytest

from common.config import override, save
from common.training.checkpoint import CheckpointError, save_network
from unmix import seeds, weights
from unmix.config import TINY
from unmix.model import OpenUnmix


def make_run(folder, target, *losses, value=0.0):
    """A run as the training leaves it; its network was the best after the first."""
    folder.mkdir(parents=True)
    config = override(TINY, {"target": target, "model.hidden_size": 4})
    save(config, folder / "config.json")
    network = OpenUnmix(config.model)
    network.output_mean.assign(np.full(network.output_mean.shape, value))
    save_network(folder, network)
    rows = [
        {"split": "validation", "step": step, "loss": loss}
        for step, loss in enumerate(losses)
    ]
    rows.insert(0, {"split": "train", "step": 0, "loss": 0.001})
    text = "\n".join(json.dumps(row) for row in rows)
    # What a kill leaves of the line that was being written.
    (folder / "scalars.jsonl").write_text(text + '\n{"split": "valid')


@pytest.fixture
def folder(tmp_path):
    """Two targets and three seeds; one of the runs has not begun to validate."""
    for seed, vocals, bass in ((8, 0.5, 0.3), (9, 0.25, 0.4)):
        output = tmp_path / "out" / f"seed{seed}"
        make_run(output / "vocals", "vocals", vocals, vocals * 0.1, value=seed)
        make_run(output / "bass", "bass", bass, value=seed)
        save(override(TINY, {"target": "vocals,bass"}), output / "config.json")
    make_run(tmp_path / "out" / "seed10" / "vocals", "vocals", 0.3, value=10)
    begun = tmp_path / "out" / "seed10" / "bass"
    begun.mkdir()
    save(override(TINY, {"target": "bass"}), begun / "config.json")
    return tmp_path / "out"


def test_best_of_every_target_is_a_run_folder(folder, capsys):
    assert seeds.main([str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "validation loss",
        "target   seed8    seed9    seed10   best",
        "vocals   0.5000   0.2500   0.3000   seed9",
        "bass     0.3000   0.4000   -        seed8",
        f"best of each target: {folder}/best",
    ]
    # The folder may be moved as a whole.
    moved = folder.rename(folder.with_name("moved"))
    models = weights.load(moved / "best")
    kept = {target: float(model.output_mean[0]) for target, model in models.items()}
    assert kept == {"vocals": 9.0, "bass": 8.0}


def test_a_better_seed_replaces_the_best_run(folder):
    seeds.keep_best(folder)
    (folder / "best" / ".vocals.part").symlink_to("broken off")
    make_run(folder / "seed11" / "vocals", "vocals", 0.125, value=11)
    assert seeds.keep_best(folder)["vocals"].seed == "seed11"
    names = {path.name for path in (folder / "best").iterdir()}
    assert names == {"vocals", "bass"}
    link = folder / "best" / "vocals"
    assert link.resolve() == (folder / "seed11" / "vocals").resolve()


def test_runs_of_one_target(tmp_path):
    for seed, loss in ((42, 0.5), (43, 0.4)):
        make_run(tmp_path / f"seed{seed}", "drums", loss, value=seed)
    assert seeds.keep_best(tmp_path)["drums"].seed == "seed43"
    assert float(weights.load(tmp_path / "best")["drums"].output_mean[0]) == 43.0


def test_a_best_checkpoint_is_found_without_the_list_of_checkpoints(folder):
    (folder / "seed9" / "vocals" / "best" / "checkpoint").unlink()
    assert seeds.keep_best(folder)["vocals"].seed == "seed9"


def test_bad_folders(folder, tmp_path, capsys):
    assert seeds.main([str(tmp_path / "none")]) == 1
    assert "none holds no finished epoch of a run" in capsys.readouterr().err
    output = folder / "best" / "bass"
    output.mkdir(parents=True)
    (output / "precious").write_text("mine")
    with pytest.raises(CheckpointError, match="bass is not a link of a training with"):
        seeds.keep_best(folder)
    assert (output / "precious").read_text() == "mine"
