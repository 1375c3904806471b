"""Separation and training beside the original, openunmix on PyTorch, in turn.

``python benchmarks/against_openunmix.py --python PYTHON``: PYTHON is the interpreter of
an environment with openunmix 1.3.0 and torch (torchaudio may be broken there, it is not
used). Both hold the same random weights of four targets in full size and read the same
sound; each runs in its own process, and they work in turn. Tables go to
``against_openunmix.md``; ``--quick`` separates a few seconds and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import turns

TARGETS = ["vocals", "drums", "bass", "other"]
RATE = 44_100
BATCH, TRAIN_SECONDS = 16, 6.0
Work = Callable[..., None]


def sound(seconds: float) -> np.ndarray:
    """Make stereo noise that swells and fades, [1, 2, samples]."""
    samples = round(seconds * RATE)
    noise = np.random.default_rng(1).standard_normal([2, samples])
    swell = 0.1 * np.sin(np.arange(samples) / 5000.0)
    return (noise * swell).astype(np.float32)[np.newaxis]


def our_separation(folder: Path, options: str) -> Work:
    """Separate by our networks; long sound in blocks, as users do."""
    import unmix

    separator = unmix.load(str(folder))

    def work(seconds: str, result: str = "") -> None:
        estimates = separator(sound(float(seconds))[0])
        if result:
            np.save(result, np.stack(list(estimates.values())))

    return work


def their_separation(folder: Path, options: str) -> Work:
    """Separate by the original, compiled where that is asked for."""
    torch, openunmix = _original()
    separator = openunmix.utils.load_separator(
        str(folder), TARGETS, niter=1, wiener_win_len=300, device="cpu"
    )
    separator.freeze()
    if options == "compiled":
        for name in TARGETS:
            network = separator.target_models[name]
            separator.target_models[name] = torch.compile(network)

    def work(seconds: str, result: str = "") -> None:
        with torch.no_grad():
            estimates = separator(torch.from_numpy(sound(float(seconds))))[0].numpy()
        if result:
            np.save(result, estimates)

    return work


def our_training(folder: Path, options: str) -> Work:
    """Take a training step for one target."""
    import tensorflow as tf

    from common.training import distribution
    from common.training.optimizer import optimizer
    from unmix import weights
    from unmix.config import UMX
    from unmix.train import UnmixTraining

    distribution.prepare(0)
    network = weights.load(folder, TARGETS[:1])[TARGETS[0]]
    model = UnmixTraining(network, UMX, 1)
    model.compile(optimizer("adam", UMX.lr, UMX.weight_decay))
    step = tf.function(model.train_step)
    mixture, target = map(tf.constant, _batch())
    batch = {"mixture": mixture, "sources": target[:, tf.newaxis]}

    def work() -> None:
        model.loss_mean.reset_state()
        step(batch)["loss"].numpy()

    return work


def their_training(folder: Path, options: str) -> Work:
    """Take a training step for one target as the original's script does."""
    torch, openunmix = _original()
    network = openunmix.utils.load_target_models(TARGETS[:1], str(folder))[TARGETS[0]]
    for parameter in network.parameters():
        parameter.requires_grad = True
    network.train()
    stft, _ = openunmix.transforms.make_filterbanks(4096, 1024, sample_rate=RATE)
    encoder = torch.nn.Sequential(stft, openunmix.transforms.ComplexNorm(mono=False))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5)
    mixture, target = map(torch.from_numpy, _batch())

    def work() -> None:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(network(encoder(mixture)), encoder(target))
        loss.backward()
        optimizer.step()

    return work


def make(folder: Path, options: str) -> Work:
    """Write random weights of all targets in the original's layout."""
    import tf_keras as keras

    from unmix import convert
    from unmix.config import UMX
    from unmix.model import OpenUnmix

    keras.utils.set_random_seed(1)
    models = {}
    for target in TARGETS:
        models[target] = network = OpenUnmix(UMX.model)
        network.set_statistics(np.full(network.bins, 5.0), np.full(network.bins, 9.0))
    convert.export(models, folder)
    return lambda: None


ROLES: dict[str, Callable[[Path, str], Work]] = {
    "make": make,
    "our-separation": our_separation,
    "their-separation": their_separation,
    "our-training": our_training,
    "their-training": their_training,
}


def worker(python: str, folder: Path, role: str, options: str = "") -> turns.Worker:
    """Start a program, one of ROLES, with a thread for each core."""
    words = [python, __file__, "--role", role, "--folder", str(folder)]
    ours, cores = not role.startswith("their"), str(os.cpu_count())
    return turns.Worker([*words, "--options", options], ours, OMP_NUM_THREADS=cores)


def measure(python: str, folder: Path, runs: int, quick: bool) -> Iterator[str]:
    """Compare separation, then training; the tables, one after the other."""
    workers = {
        "ours": worker(sys.executable, folder, "our-separation"),
        "original": worker(python, folder, "their-separation"),
    }
    yield f"\n{_difference(workers, folder)}\n"
    for seconds in [3] if quick else [30, 240]:
        times = runs if seconds < 100 else 1
        results = turns.compare(workers, times, seconds)
        yield turns.table(f"Separation of {seconds} s", results)
    workers.pop("original").end()
    if not quick:
        compiled = worker(python, folder, "their-separation", "compiled")
        workers["original, compiled"] = compiled
        results = turns.compare(workers, runs, 30)
        yield turns.table("Separation of 30 s, torch.compile", results)
        compiled.end()
    workers["ours"].end()
    workers = {
        "ours": worker(sys.executable, folder, "our-training"),
        "original": worker(python, folder, "their-training"),
    }
    yield turns.table("Training step, 16 x 6 s", turns.compare(workers, runs))
    for each in workers.values():
        each.end()


def commands(folder: Path, lengths: list[int]) -> Iterator[str]:
    """Separate files of these lengths in seconds by the command, and tell its cost."""
    yield "\n## The command, file to files\n\n| sound s | wall s | peak MB |\n"
    yield "|---|---|---|\n"
    for seconds in lengths:
        file = folder.parent / f"{seconds}.wav"
        with soundfile.SoundFile(file, "w", RATE, 2, "PCM_16") as sink:
            for start in range(0, seconds, 30):
                sink.write(sound(min(30, seconds - start))[0].T)
        words = [sys.executable, "-m", "unmix.separate", str(file), "--model"]
        words += [str(folder), "--output", str(folder.parent), "--format", "wav16"]
        began = time.perf_counter()
        process = subprocess.Popen(words, cwd=turns.ROOT)
        _, code, spent = os.wait4(process.pid, 0)
        if code:
            raise SystemExit(f"{' '.join(words)} failed")
        wall = time.perf_counter() - began
        yield f"| {seconds} | {wall:.1f} | {spent.ru_maxrss / 1024:.0f} |\n"


def main() -> int:
    """Make weights, then compare separation and training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--role", choices=list(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--options", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        turns.serve(ROLES[arguments.role](arguments.folder, arguments.options))
        return 0
    if arguments.quick:
        arguments.runs = 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "weights"
        worker(sys.executable, folder, "make").end()
        text = (
            "# Compared with the original, openunmix 1.3.0 on PyTorch\n\nFour targets, "
            "512 wide, one iteration of the filter, random weights; written by `python "
            f"benchmarks/against_openunmix.py`. {os.cpu_count()} cores of a shared "
            f"machine, load {os.getloadavg()[0]:.1f}; CPU seconds, summed over all "
            "threads, are the fairer measure. "
            f"Medians of {arguments.runs} alternating runs, one run of 240 s.\n"
        )
        parts = [measure(arguments.python, folder, arguments.runs, arguments.quick)]
        if not arguments.quick:
            parts.append(commands(folder, [240, 3600]))
        for part in chain(*parts):
            sys.stdout.write(part)
            sys.stdout.flush()
            text += part
    if not arguments.quick:
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    return 0


def _original() -> tuple[Any, Any]:
    """Import the original without torchaudio, which it needs for files alone."""
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    import openunmix
    import openunmix.transforms
    import openunmix.utils
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    return torch, openunmix


def _batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    shape = [2, BATCH, 2, round(TRAIN_SECONDS * RATE)]
    mixture, target = (0.1 * rng.standard_normal(shape)).astype(np.float32)
    return mixture, target


def _difference(workers: dict[str, turns.Worker], folder: Path) -> str:
    """Largest difference of the estimates of three seconds."""
    made = []
    for name, each in workers.items():
        file = folder.parent / f"{name}.npy"
        each.ask(3, file)
        made.append(np.load(file))
    worst, largest = np.abs(made[0] - made[1]).max(), np.abs(made[1]).max()
    return (
        f"Largest difference of the estimates of 3 s: {worst:.1e} (of {largest:.2f})."
    )


if __name__ == "__main__":
    sys.exit(main())
