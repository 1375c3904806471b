"""Conv-TasNet and deep clustering beside asteroid on PyTorch, in turn.

``python benchmarks/against_asteroid.py --python PYTHON``: PYTHON is the interpreter of
an environment with asteroid 0.7.0 and torch. Each program runs in its own process, and
they work in turn. Tables go to ``against_asteroid.md``; ``--quick`` takes two turns and
writes nothing.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peers
import turns
from against_nussl import (
    BATCH,
    BINS,
    DIM,
    FRAMES,
    HIDDEN,
    RATE,
    REPEATS,
    embedding,
    our_config,
    our_step,
)
from peers import Work

PAIR, SECONDS = 2, 4.0
CLIP = 5.0


def waves(batch: int, samples: int) -> np.ndarray:
    """Draw two sources for each item."""
    noise = np.random.default_rng(5).standard_normal([batch, 2, samples])
    return (0.1 * noise).astype(np.float32)


def our_conv_tasnet(folder: Path) -> Work:
    """Take a training step of 5.05 million weights."""
    config = our_config(kind="conv_tasnet", segment_seconds=SECONDS, clip_norm=CLIP)
    return our_step(config, waves(PAIR, config.segment_samples))


def their_conv_tasnet(folder: Path) -> Work:
    """Take a training step of the recipe for WHAM!."""
    torch = _torch()
    from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
    from asteroid.models import ConvTasNet

    model = ConvTasNet(n_src=2, mask_act="relu", sample_rate=RATE)
    loss = PITLossWrapper(pairwise_neg_sisdr, pit_from="pw_mtx")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    sources = torch.from_numpy(waves(PAIR, round(SECONDS * RATE)))
    mixture = sources.sum(1)

    def work() -> None:
        optimizer.zero_grad()
        loss(model(mixture), sources).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()

    return work


def our_training(folder: Path) -> Work:
    """Take a training step of the recipe of WSJ0-2mix, spectra and targets included."""
    config = our_config(optimizer="rmsprop", clip_norm=200.0)
    shape = config.spectral
    features = replace(shape.features, level="log", norm="none")
    heads = replace(
        shape, features=features, embedding_activation=("tanh", "unit_norm")
    )
    loss = replace(
        config.loss, clustering_kind="active", target="msa", weights=("vad",)
    )
    config = replace(config, spectral=heads, loss=loss)
    return our_step(config, waves(BATCH, config.segment_samples))


def their_training(folder: Path) -> Work:
    """Take a step of the recipe's network and loss, which is not in the package.

    A stack on the logarithm of magnitudes, one head of embeddings; no masks, whose
    weight is 0 in the recipe.
    """
    torch = _torch()
    from asteroid.dsp.vad import ebased_vad
    from asteroid.losses import deep_clustering_loss
    from asteroid.masknn.recurrent import SingleRNN
    from asteroid_filterbanks import make_enc_dec
    from asteroid_filterbanks.transforms import mag

    encoder, _ = make_enc_dec("stft", kernel_size=256, n_filters=256, stride=64)
    stack = SingleRNN("lstm", BINS, HIDDEN, 4, dropout=0.3, bidirectional=True)
    dropout, head = torch.nn.Dropout(0.3), torch.nn.Linear(2 * HIDDEN, BINS * DIM)
    parameters = [*stack.parameters(), *head.parameters()]
    optimizer = torch.optim.RMSprop(parameters, lr=1e-4)
    sources = torch.from_numpy(waves(BATCH, (FRAMES - 1) * 64 + 256))

    def work() -> None:
        optimizer.zero_grad()
        with torch.no_grad():
            loud = mag(encoder(sources.sum(1, keepdim=True)))
            index = mag(encoder(sources.flatten(0, 1)[:, None]))
            index = index.unflatten(0, [BATCH, 2]).argmax(1)
        rows = dropout(stack(torch.log(loud + 1e-8).transpose(1, 2)))
        points = torch.tanh(head(rows)).unflatten(2, [BINS, DIM]).transpose(1, 2)
        points = points.flatten(1, 2)
        points = points / (points.norm(dim=-1, keepdim=True) + 1e-8)
        deep_clustering_loss(points, index, ebased_vad(loud)).mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 200.0)
        optimizer.step()

    return work


def our_loss(folder: Path) -> Work:
    """Compute the loss of embeddings and its gradient."""
    import tensorflow as tf

    from clustering.losses.deep_clustering import deep_clustering

    points, sources, _ = map(tf.constant, embedding())

    @tf.function
    def run() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(points)
            ones = tf.ones(tf.shape(sources))
            each = deep_clustering(points, tf.one_hot(sources, 2), ones, "active")
            value = tf.reduce_mean(each)
        return value, tape.gradient(value, points)

    def work(result: str) -> None:
        for _ in range(REPEATS):
            value, gradients = run()
        peers.tell(
            result,
            loss=value.numpy(),
            norm=np.linalg.norm(gradients.numpy().astype(float)),
        )

    return work


def their_loss(folder: Path) -> Work:
    """Compute the loss of embeddings and its gradient."""
    torch = _torch()
    from asteroid.losses import deep_clustering_loss

    points, sources, _ = map(torch.from_numpy, embedding())
    points.requires_grad = True

    def work(result: str) -> None:
        for _ in range(REPEATS):
            points.grad = None
            value = deep_clustering_loss(points, sources[:, None]).mean()
            value.backward()
        peers.tell(result, loss=value.item(), norm=points.grad.double().norm().item())

    return work


ROLES: dict[str, Callable[[Path], Work]] = {
    "our-conv_tasnet": our_conv_tasnet,
    "their-conv_tasnet": their_conv_tasnet,
    "our-training": our_training,
    "their-training": their_training,
    "our-loss": our_loss,
    "their-loss": their_loss,
}


def compare_conv_tasnet(start: peers.Start, runs: int, folder: Path) -> Iterator[str]:
    """Compare a training step of Conv-TasNet."""
    workers = start("conv_tasnet", "asteroid")
    title = f"Training step of Conv-TasNet, {PAIR} x {SECONDS:.0f} s"
    yield turns.table(title, turns.compare(workers, runs))
    peers.end(workers)


def compare_training(start: peers.Start, runs: int, folder: Path) -> Iterator[str]:
    """Compare a training step of deep clustering."""
    workers = start("training", "asteroid")
    title = (
        f"Training step of deep clustering, 4 x BLSTM {HIDDEN}, {BATCH} x {FRAMES} "
        f"frames x {BINS} bins"
    )
    yield turns.table(title, turns.compare(workers, runs))
    peers.end(workers)


def compare_loss(start: peers.Start, runs: int, folder: Path) -> Iterator[str]:
    """Compare the loss of embeddings."""
    workers = start("loss", "asteroid")
    title = f"Deep clustering loss with gradient, {BATCH} x {FRAMES * BINS} x {DIM}"
    yield peers.compared(f"{title}, ten times", workers, runs, folder=folder)
    peers.end(workers)


PARTS = {
    "conv_tasnet": compare_conv_tasnet,
    "training": compare_training,
    "loss": compare_loss,
}


def _torch() -> Any:
    """Import torch; asteroid imports torchaudio as well, but only measures use it."""
    warnings.simplefilter("ignore")
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    import torch

    return torch


if __name__ == "__main__":
    sys.exit(
        peers.main(__file__, "Compared with asteroid 0.7.0 on PyTorch", ROLES, PARTS)
    )
