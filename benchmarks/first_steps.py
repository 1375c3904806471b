"""The first training steps beside the original's: same weights, same data, same losses.

``python benchmarks/first_steps.py --python PYTHON``: PYTHON is the interpreter of an
environment with openunmix 1.3.0 and torch (torchaudio may be broken there, it is not
used). Excerpts of the miniature and the weights of a new network, as our training draws
them, go to the original; each trains in a process of its own, without dropout, whose
noise the two cannot share. Fails above a relative difference of 1e-4. ``--quick`` takes
five steps.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TARGET = "vocals"
TOLERANCE = 1e-4


def ours(folder: Path, steps: int) -> list[float]:
    """Draw weights and excerpts, write them down, and train."""
    import tensorflow as tf

    from common.training import distribution
    from unmix import convert, train
    from unmix.config import TINY, UMX, resolved

    distribution.prepare(TINY.train.seed)
    # The original's loader knows networks of three layers only.
    config = replace(
        TINY,
        model=replace(TINY.model, layers=3, dropout=0.0),
        target=(TARGET,),
        output=str(folder / "run"),
        lr=UMX.lr,
    )
    job = train.build(resolved(config), tf.distribute.get_strategy())
    job.start()
    convert.export({TARGET: job.model.network}, folder / "weights")
    batches = [batch for batch, _ in zip(job.train(0), range(steps), strict=False)]
    mixture = np.stack([batch["mixture"].numpy() for batch in batches])
    target = np.stack([batch["sources"][:, 0].numpy() for batch in batches])
    np.savez(folder / "excerpts.npz", mixture=mixture, target=target)
    losses = []
    step = tf.function(job.model.train_step)
    for batch in batches:
        job.model.loss_mean.reset_state()
        losses.append(float(step(batch)["loss"]))
    return losses


def original(folder: Path, steps: int) -> list[float]:
    """Train the original's network as its script does."""
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    import openunmix
    import openunmix.transforms
    import openunmix.utils
    import torch

    torch.set_num_threads(1)
    weights = str(folder / "weights")
    network: Any = openunmix.utils.load_target_models([TARGET], weights)[TARGET]
    for parameter in network.parameters():
        parameter.requires_grad = True
    network.train()
    network.lstm.dropout = 0.0
    stft, _ = openunmix.transforms.make_filterbanks(1024, 512, sample_rate=16000)
    encoder = torch.nn.Sequential(stft, openunmix.transforms.ComplexNorm(mono=False))
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5)
    losses = []
    with np.load(folder / "excerpts.npz") as excerpts:
        pairs = zip(excerpts["mixture"], excerpts["target"], strict=True)
        for mixture, target in pairs:
            adam.zero_grad()
            estimate = network(encoder(torch.from_numpy(mixture)))
            expected = encoder(torch.from_numpy(target))
            loss = torch.nn.functional.mse_loss(estimate, expected)
            loss.backward()
            adam.step()
            losses.append(float(loss.detach()))
    return losses


ROLES = {"ours": ours, "original": original}


def trained(python: str, role: str, folder: Path, steps: int) -> np.ndarray:
    """Train one of the two in its own process; return its losses."""
    words = ["--role", role, "--folder", str(folder), "--steps", str(steps)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT) if role == "ours" else "",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    subprocess.run([python, __file__, *words], env=environment, check=True)
    return np.load(folder / f"{role}.npy")


def main() -> int:
    """Compare the losses of the first steps; return 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--role", choices=list(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        losses = ROLES[options.role](options.folder, options.steps)
        np.save(options.folder / f"{options.role}.npy", losses)
        return 0
    options.steps = 5 if options.quick else options.steps
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        mine = trained(sys.executable, "ours", folder, options.steps)
        theirs = trained(options.python, "original", folder, options.steps)
    lines = ["| step | ours | original | relative difference |", "|---|---|---|---|"]
    apart = np.abs(mine - theirs) / theirs
    for step, row in enumerate(zip(mine, theirs, apart, strict=True), 1):
        lines.append("| {} | {:.6f} | {:.6f} | {:.1e} |".format(step, *row))
    lines.append(f"\nlargest relative difference {apart.max():.2g}")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(not apart.max() <= TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
