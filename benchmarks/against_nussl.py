"""Deep clustering beside nussl on PyTorch, in turn: step, losses, k-means, data.

``python benchmarks/against_nussl.py --python PYTHON``: PYTHON is the interpreter of an
environment with nussl 1.1.9, torch and scikit-learn. Each program runs in its own
process, and they work in turn on the same numbers. Tables go to ``against_nussl.md``;
``--quick`` takes two turns and writes nothing.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import peers
import soundfile
import turns
from peers import Work

RATE, SECONDS, ITEMS = 8000, 4.0, 16
BATCH, FRAMES, BINS, DIM, HIDDEN = 8, 400, 129, 20, 300
REPEATS = 10
"""Losses and k-means take milliseconds, so that a turn is ten of them."""
CLUSTERED = {"8,063": 8063, "80,625": 80_625}


def embedding() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw points of a batch, unit norm, with their sources and roots of weights."""
    rng = np.random.default_rng(1)
    points = rng.standard_normal([BATCH, FRAMES * BINS, DIM]).astype(np.float32)
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    sources = rng.integers(0, 2, [BATCH, FRAMES * BINS])
    roots = rng.random([BATCH, FRAMES * BINS]).astype(np.float32)
    return points, sources, roots


def utterance(count: int) -> np.ndarray:
    """Draw the embedding of two speakers, some points of which lie between them."""
    rng = np.random.default_rng(2)
    centres = rng.standard_normal([2, DIM])
    centres /= np.linalg.norm(centres, axis=-1, keepdims=True)
    share = rng.beta(0.3, 0.3, [count, 1])
    points = share * centres[0] + (1 - share) * centres[1]
    points += 0.15 * rng.standard_normal([count, DIM])
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    return points.astype(np.float32)


def write_corpus(folder: Path) -> None:
    """Write items of noise in the layout of WHAM!."""
    rng = np.random.default_rng(3)
    for split, number in itertools.product(("tr", "cv"), range(ITEMS)):
        waves = 0.1 * rng.standard_normal([2, round(RATE * SECONDS)])
        names = {"s1": waves[0], "s2": waves[1], "mix_clean": waves.sum(axis=0)}
        for name, wave in names.items():
            target_folder = folder / "wav8k" / "min" / split / name
            target_folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(target_folder / f"{number:03}.wav", wave, RATE, "PCM_16")


def our_config(**changes: Any) -> Any:
    """Shape our network as nussl's, at 8 kHz."""
    from dataclasses import replace

    from clustering.config import ClusteringConfig
    from clustering.models.shapes import Features, Recurrent, Spectral

    shape = Spectral(
        features=Features(bins=BINS, norm="batch"),
        recurrent=Recurrent(hidden=HIDDEN, layers=4, dropout=0.3),
        embedding=DIM,
        embedding_activation=("sigmoid", "unit_norm"),
    )
    config = replace(
        ClusteringConfig(), spectral=shape, sample_rate=RATE, batch_size=BATCH, lr=1e-3
    )
    config = replace(config, window_samples=256, hop_samples=64, dataset="wham")
    config = replace(config, segment_seconds=(FRAMES - 1) * 64 / RATE)
    return replace(config, **changes)


def our_step(config: Any, sources: np.ndarray) -> Work:
    """Take training steps as the command does, spectra and targets included."""
    import tensorflow as tf

    from clustering.models.network import network
    from clustering.train import ClusteringTraining
    from common.training import distribution
    from common.training.optimizer import optimizer

    distribution.prepare(0)
    model = ClusteringTraining(network(config), config, 1)
    model.compile(optimizer(config.optimizer, config.lr, config.weight_decay))
    model.optimizer.build(model.network.trainable_variables)
    step = tf.function(model.train_step)
    batch = {
        "sources": tf.constant(sources),
        "mixture": tf.constant(sources.sum(axis=1)),
    }

    def work() -> None:
        step(batch)["loss"].numpy()

    return work


def our_training(folder: Path) -> Work:
    """Take a training step."""
    config = our_config()
    shape = [BATCH, 2, config.segment_samples]
    waves = 0.1 * np.random.default_rng(4).standard_normal(shape)
    return our_step(config, waves.astype(np.float32))


def their_training(folder: Path) -> Work:
    """Take a training step from spectra and targets, which nussl's data set makes."""
    torch, nussl = theirs()
    builder = nussl.ml.networks.builders.build_recurrent_dpcl
    config = builder(BINS, HIDDEN, 4, True, 0.3, DIM, ["sigmoid", "unit_norm"])
    model = nussl.ml.SeparationModel(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = {"DeepClusteringLoss": {"weight": 1.0}}
    closure = nussl.ml.train.closures.TrainClosure(losses, optimizer, model)
    rng = np.random.default_rng(4)
    magnitude = rng.random([BATCH, FRAMES, BINS, 1]).astype(np.float32)
    assignment = np.eye(2)[rng.integers(0, 2, magnitude.shape)].astype(np.float32)
    batch = {"mix_magnitude": magnitude, "ideal_binary_mask": assignment}
    batch["weights"] = np.sqrt(magnitude)
    batch = {name: torch.from_numpy(value) for name, value in batch.items()}
    model.train()
    return lambda: closure(None, dict(batch))


def our_loss(folder: Path) -> Work:
    """Compute a loss and its gradient."""
    import tensorflow as tf

    from clustering.losses import deep_clustering as losses

    points, sources, roots = embedding()
    points, roots = tf.constant(points), tf.constant(roots)
    assignment = tf.one_hot(sources, 2)

    def gradient(loss_name: str) -> Any:
        @tf.function
        def run() -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(points)
                loss = getattr(losses, loss_name)
                unit = losses.unit_norm(points)
                value = tf.reduce_mean(loss(unit, assignment, roots**2))
            return value, tape.gradient(value, points)

        return run

    made = {
        loss_name: gradient(loss_name)
        for loss_name in ("deep_clustering", "whitened_kmeans")
    }

    def work(loss_name: str, result: str) -> None:
        for _ in range(REPEATS):
            value, gradients = made[loss_name]()
        peers.tell(
            result,
            loss=value.numpy(),
            norm=np.linalg.norm(gradients.numpy().astype(float)),
        )

    return work


def their_loss(folder: Path) -> Work:
    """Compute a loss and its gradient."""
    torch, nussl = theirs()
    points, sources, roots = map(torch.from_numpy, embedding())
    points.requires_grad = True
    assignment = torch.nn.functional.one_hot(sources, 2).float()
    made = {
        "deep_clustering": nussl.ml.train.loss.DeepClusteringLoss(),
        "whitened_kmeans": nussl.ml.train.loss.WhitenedKMeansLoss(),
    }

    def work(loss_name: str, result: str) -> None:
        for _ in range(REPEATS):
            points.grad = None
            value = made[loss_name](points, assignment, roots)
            value.backward()
        peers.tell(result, loss=value.item(), norm=points.grad.double().norm().item())

    return work


def our_kmeans(folder: Path) -> Work:
    """Cluster the points of an utterance."""
    import tensorflow as tf

    from clustering.clusterers.kmeans import kmeans

    points = {name: tf.constant([utterance(n)]) for name, n in CLUSTERED.items()}
    run = tf.function(
        lambda points, seed, restarts: kmeans(points, 2, seed=seed, restarts=restarts),
        reduce_retracing=True,
    )

    def work(name: str, restarts: str, result: str) -> None:
        for number in range(REPEATS):
            seed = tf.constant([number, 0])
            inertia = run(points[name], seed, int(restarts)).inertia.numpy()[0]
        peers.tell(result, inertia=inertia)

    return work


def their_kmeans(folder: Path) -> Work:
    """Cluster the points of an utterance by scikit-learn, as nussl does."""
    from sklearn.cluster import KMeans

    points = {name: utterance(count) for name, count in CLUSTERED.items()}

    def work(name: str, restarts: str, result: str) -> None:
        for number in range(REPEATS):
            fit = KMeans(2, n_init=int(restarts), random_state=number).fit
            inertia = fit(points[name]).inertia_
        peers.tell(result, inertia=inertia)

    return work


def our_items(folder: Path) -> Work:
    """Read items and make what a training step needs of each."""
    import tensorflow as tf

    from clustering import data
    from clustering.losses import objective, targets

    config = our_config(data_root=str(folder / "corpus"))
    draw = data.training_example(config, data.load(config).train)

    @tf.function
    def item(position: tf.Tensor) -> tf.Tensor:
        batch = {name: value[tf.newaxis] for name, value in draw(position).items()}
        example = objective.prepare(config, batch)
        assignment = targets.ideal_binary(example.magnitudes)
        return example, assignment, targets.point_weights(example.input, assignment)

    def work() -> None:
        for number in range(ITEMS):
            item(tf.constant(number, tf.int64))[2].numpy()

    return work


def their_items(folder: Path) -> Work:
    """Read items by nussl's data set and transforms."""
    _, nussl = theirs()
    transforms = nussl.datasets.transforms
    made = transforms.Compose(
        [
            transforms.PhaseSensitiveSpectrumApproximation(),
            transforms.MagnitudeWeights(),
            transforms.ToSeparationModel(),
            transforms.GetExcerpt(FRAMES),
        ]
    )
    params = nussl.STFTParams(window_length=256, hop_length=64, window_type="sqrt_hann")
    corpus = nussl.datasets.WHAM(
        str(folder / "corpus"), sample_rate=RATE, stft_params=params, transform=made
    )

    def work() -> None:
        for number in range(ITEMS):
            corpus[number]

    return work


ROLES: dict[str, Callable[[Path], Work]] = {
    "our-training": our_training,
    "their-training": their_training,
    "our-loss": our_loss,
    "their-loss": their_loss,
    "our-kmeans": our_kmeans,
    "their-kmeans": their_kmeans,
    "our-items": our_items,
    "their-items": their_items,
}


def compare_training(start: peers.Start, runs: int, folder: Path) -> Iterator[str]:
    """Compare a training step."""
    workers = start("training", "nussl")
    yield turns.table(
        f"Training step, 4 x BLSTM {HIDDEN}, {BATCH} x {FRAMES} frames x {BINS} bins",
        turns.compare(workers, runs),
    )
    peers.end(workers)


def compare_loss(start: peers.Start, runs: int, folder: Path) -> Iterator[str]:
    """Compare losses of embeddings."""
    workers = start("loss", "nussl")
    for loss_name in ("deep_clustering", "whitened_kmeans"):
        title = (
            f"`{loss_name}` with gradient, {BATCH} x {FRAMES * BINS} x {DIM}, ten times"
        )
        yield peers.compared(title, workers, runs, loss_name, folder=folder)
    peers.end(workers)


def compare_kmeans(start: peers.Start, runs: int, folder: Path) -> Iterator[str]:
    """Compare k-means of an utterance, of a tenth of it and of all."""
    workers = start("kmeans", "scikit-learn")
    for name, restarts in itertools.product(CLUSTERED, (1, 10)):
        title = f"k-means of {name} points, best of {restarts}, ten times"
        yield peers.compared(title, workers, runs, name, restarts, folder=folder)
    peers.end(workers)


def compare_items(start: peers.Start, runs: int, folder: Path) -> Iterator[str]:
    """Compare what a training step waits for."""
    write_corpus(folder / "corpus")
    workers = start("items", "nussl")
    title = f"{ITEMS} training items of {SECONDS:.0f} s, files to targets"
    yield turns.table(title, turns.compare(workers, runs))
    peers.end(workers)


PARTS = {
    "training": compare_training,
    "loss": compare_loss,
    "kmeans": compare_kmeans,
    "items": compare_items,
}


def theirs() -> tuple[Any, Any]:
    """Import torch and nussl."""
    warnings.simplefilter("ignore")
    import nussl
    import torch

    return torch, nussl


if __name__ == "__main__":
    TITLE = "Compared with nussl 1.1.9 on PyTorch and scikit-learn"
    sys.exit(peers.main(__file__, TITLE, ROLES, PARTS))
