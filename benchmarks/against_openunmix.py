"""Separation and training beside the original, openunmix on PyTorch, in turn.

``python benchmarks/against_openunmix.py --python PYTHON``: PYTHON is the interpreter of
an environment with openunmix 1.3.0 and torch (torchaudio may be broken there, it is not
used). Both hold the same random weights of four targets in full size and read the same
sound; each lives in a process of its own that is told when to work. Tables go to
``against_openunmix.md``; ``--quick`` separates a few seconds and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ["vocals", "drums", "bass", "other"]
RATE = 44_100
BATCH, TRAIN_SECONDS = 16, 6.0
Work = Callable[[float], np.ndarray]


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

    def work(seconds: float) -> np.ndarray:
        estimates = separator(sound(seconds)[0])
        return np.stack(list(estimates.values()))

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

    def work(seconds: float) -> np.ndarray:
        with torch.no_grad():
            return separator(torch.from_numpy(sound(seconds)))[0].numpy()

    return work


def our_training(folder: Path, options: str) -> Work:
    """Take a training step for one target."""
    import tensorflow as tf

    from common import distribution
    from unmix import convert
    from unmix.config import UMX
    from unmix.optimizer import optimizer
    from unmix.train import UnmixTraining

    distribution.prepare(0)
    network = convert.load(folder, TARGETS[:1])[TARGETS[0]]
    model = UnmixTraining(network, UMX, 1)
    model.compile(optimizer("adam", UMX.lr, UMX.weight_decay))
    step = tf.function(model.train_step)
    mixture, target = map(tf.constant, _batch())
    batch = {"mixture": mixture, "sources": target[:, tf.newaxis]}

    def work(seconds: float) -> np.ndarray:
        model.loss_mean.reset_state()
        return step(batch)["loss"].numpy()

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

    def work(seconds: float) -> np.ndarray:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(network(encoder(mixture)), encoder(target))
        loss.backward()
        optimizer.step()
        return loss.detach().numpy()

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
    return lambda seconds: np.zeros(1)


ROLES: dict[str, Callable[[Path, str], Work]] = {
    "make": make,
    "our-separation": our_separation,
    "their-separation": their_separation,
    "our-training": our_training,
    "their-training": their_training,
}


class Worker:
    """A program in a process of its own that works when it is told.

    Args:
        python: Its interpreter.
        folder: Where the weights are.
        role: Which program, one of ROLES.
        threads: Number of threads of the original; 0 leaves it.
        options: Further words for the program.
    """

    def __init__(
        self, python: str, folder: Path, role: str, threads: int = 0, options: str = ""
    ) -> None:
        words = [python, __file__, "--role", role, "--folder", str(folder)]
        environment = {
            **os.environ,
            "PYTHONPATH": "" if role.startswith("their") else str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1",
        }
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        self.process = subprocess.Popen(
            [*words, "--options", options],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if not self._answer():
            raise SystemExit(f"{role} did not start")

    def ask(self, seconds: float, result: Path | None = None) -> dict[str, float]:
        """Let it do a piece of work; its seconds and its memory so far."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds} {result or ''}\n")
        self.process.stdin.flush()
        answer = self._answer()
        if not answer:
            raise SystemExit("a program ended early, see its messages above")
        return answer

    def end(self) -> None:
        """End it."""
        self.process.communicate()

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("answer "):
                return dict(json.loads(line.removeprefix("answer ")))
        return {}


def serve(folder: Path, role: str, options: str) -> None:
    """Do what each line of the standard input asks for; answer with the cost."""
    work = ROLES[role](folder, options)
    _reply({"wall": 0.0})
    for line in sys.stdin:
        seconds, _, result = line.strip().partition(" ")
        wall, cpu = time.perf_counter(), time.process_time()
        made = work(float(seconds))
        spent = {
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "megabytes": _peak(),
        }
        if result:
            np.save(result, made)
        _reply(spent)


def compare(workers: dict[str, Worker], seconds: float, runs: int) -> dict[str, Any]:
    """Let the workers do the same in turn; medians, and the lowest CPU seconds."""
    for worker in workers.values():
        worker.ask(seconds)  # compiles, allocates
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    for _ in range(runs):
        for name, worker in workers.items():
            answers[name].append(worker.ask(seconds))
    return {name: _summary(given) for name, given in answers.items()}


def table(name: str, results: dict[str, dict[str, float]]) -> str:
    """One line for each program and one for every ratio to ours."""
    lines = [
        f"\n## {name}\n\n| | wall s | CPU s | lowest CPU s | peak MB |\n"
        "|---|---|---|---|---|\n"
    ]
    for label, row in results.items():
        numbers = [row["wall"], row["cpu"], row["lowest"]]
        cells = [*(f"{value:.2f}" for value in numbers), f"{row['megabytes']:.0f}"]
        lines.append(f"| {label} | {' | '.join(cells)} |\n")
    ours = results["ours"]
    for label, row in results.items():
        if label != "ours":
            cells = [f"x {row[key] / ours[key]:.2f}" for key in row]
            lines.append(f"| {label} / ours | {' | '.join(cells)} |\n")
    return "".join(lines)


def measure(python: str, folder: Path, runs: int, quick: bool) -> str:
    """Compare separation, then training; the tables."""
    cores = os.cpu_count() or 1
    workers = {
        "ours": Worker(sys.executable, folder, "our-separation"),
        "original": Worker(python, folder, "their-separation", cores),
    }
    lengths = [3.0] if quick else [30.0, 240.0]
    text = f"\n{_difference(workers, folder)}\n"
    for seconds in lengths:
        times = runs if seconds < 100 else 1
        text += table(f"Separation of {seconds:g} s", compare(workers, seconds, times))
    workers["original"].end()
    if not quick:
        compiled = Worker(python, folder, "their-separation", cores, "compiled")
        both = {"ours": workers["ours"], "original, compiled": compiled}
        text += table("Separation of 30 s, torch.compile", compare(both, 30.0, runs))
        compiled.end()
    workers["ours"].end()
    workers = {
        "ours": Worker(sys.executable, folder, "our-training"),
        "original": Worker(python, folder, "their-training", cores),
    }
    text += table("Training step, 16 x 6 s", compare(workers, TRAIN_SECONDS, runs))
    for worker in workers.values():
        worker.end()
    return text


def main() -> int:
    """Make weights, then compare separation and training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--role", choices=list(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--options", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role:
        serve(given.folder, given.role, given.options)
        return 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "weights"
        Worker(sys.executable, folder, "make").end()
        text = (
            "# Beside the original, openunmix 1.3.0 on PyTorch\n\nFour targets, 512 "
            "wide, one round of the filter, random weights; written by `python "
            f"benchmarks/against_openunmix.py`. {os.cpu_count()} cores of a shared "
            f"machine, load {os.getloadavg()[0]:.1f}: CPU seconds, of all threads, are "
            f"the fairer ones. Medians of {given.runs} runs in turn, one of 240 s.\n"
        )
        text += measure(given.python, folder, given.runs, given.quick)
    sys.stdout.write(text)
    if not given.quick:
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


def _difference(workers: dict[str, Worker], folder: Path) -> str:
    """Largest difference of the estimates of three seconds."""
    made = []
    for name, worker in workers.items():
        file = folder.parent / f"{name}.npy"
        worker.ask(3.0, file)
        made.append(np.load(file))
    worst, largest = np.abs(made[0] - made[1]).max(), np.abs(made[1]).max()
    return (
        f"Largest difference of the estimates of 3 s: {worst:.1e} (of {largest:.2f})."
    )


def _summary(answers: list[dict[str, float]]) -> dict[str, float]:
    def median(key: str) -> float:
        return statistics.median(answer[key] for answer in answers)

    return {
        "wall": median("wall"),
        "cpu": median("cpu"),
        "lowest": min(answer["cpu"] for answer in answers),
        "megabytes": max(answer["megabytes"] for answer in answers),
    }


def _peak() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM; this script needs Linux")


def _reply(answer: dict[str, float]) -> None:
    sys.stdout.write(f"answer {json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
