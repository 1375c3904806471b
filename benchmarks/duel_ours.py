"""Our learners of the duels, which ``duels.py`` starts; see ``duel_data.race``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duel_data as data
import numpy as np
from duel_data import CLIP, LR, TARGET, Learner

MUSIC_BATCHES = 30
"""Batches of the training of ``unmix`` that are kept as excerpts."""
SONG_EXCERPTS = 3
"""Excerpts from the beginning of each song that are held out."""


def our_training(network: Any, config: Any) -> Callable[[np.ndarray], float]:
    """Train a network of ``clustering`` as its command does."""
    from clustering.train import ClusteringTraining
    from common.training.optimizer import optimizer

    model = ClusteringTraining(network, config, 1)
    model.compile(optimizer("adam", config.lr, 0.0))
    model.optimizer.build(network.trainable_variables)
    step = our_step(model, list(model.means.values()))
    return lambda batch: step({"sources": batch, "mixture": batch.sum(1)})


def our_step(model: Any, means: list[Any]) -> Callable[[Any], float]:
    """Compile a step whose loss is that of its batch."""
    import tensorflow as tf

    @tf.function
    def step(batch: Any) -> Any:
        for mean in means:
            mean.reset_state()
        return model.train_step(batch)["loss"]

    return lambda batch: float(step(batch))


def our_config(**changes: Any) -> Any:
    """Make a configuration of ``clustering`` for the excerpts."""
    from clustering.config import ClusteringConfig

    seconds = data.SAMPLES / data.RATE
    shared = {"sample_rate": data.RATE, "segment_seconds": seconds, "lr": LR}
    spectra = {"window_samples": 256, "hop_samples": 64, "batch_size": data.BATCH}
    return replace(ClusteringConfig(), **shared, **spectra, **changes)


def our_conv_tasnet(folder: Path, seed: int) -> Learner:
    """Conv-TasNet from the weights that asteroid drew."""
    import tensorflow as tf

    from clustering.config import Loss
    from clustering.foreign import conv_tasnet_file
    from common.training import distribution

    distribution.prepare(seed)
    network = conv_tasnet_file.load(folder / f"conv_tasnet {seed}.pth").network
    loss = Loss(inference_kind="si_sdr")
    config = our_config(kind="conv_tasnet", loss=loss, clip_norm=CLIP)
    batches, valid = data.read(folder, "speech", seed)
    separate, mixtures = tf.function(network), tf.constant(valid.sum(1))
    score = lambda: data.improvement(separate(mixtures).numpy(), valid)  # noqa: E731
    return Learner(our_training(network, config), score, batches)


def our_deep_clustering(folder: Path, seed: int) -> Learner:
    """Deep clustering from the weights that nussl drew."""
    import tensorflow as tf

    from clustering.foreign import nussl_file
    from common.signal.stft import stft
    from common.training import distribution

    distribution.prepare(seed)
    network = nussl_file.load(folder / f"deep_clustering {seed}.pth").network
    config = our_config(kind="dpcl", spectral=network.config)
    batches, valid = data.read(folder, "speech", seed)
    mixtures = valid.sum(1)
    magnitudes = tf.abs(stft(tf.constant(mixtures), config.stft))
    embed = tf.function(network)

    def score() -> float:
        points = embed(magnitudes).numpy()
        return data.improvement(data.clustered(points, mixtures), valid)

    return Learner(our_training(network, config), score, batches)


def make_music(folder: Path) -> None:
    """Write excerpts as our training draws them, and the songs of its validation."""
    job = _music(folder)
    batches = zip(job.train(0), range(MUSIC_BATCHES), strict=False)
    rows = [music_rows(batch) for batch, _ in batches]
    songs, _ = job.valid()
    samples = SONG_EXCERPTS * rows[0].shape[-1]
    valid = np.concatenate([music_rows(song)[..., :samples] for song in songs])
    np.savez(folder / "music.npz", train=np.concatenate(rows), valid=valid)


def music_rows(batch: Any) -> np.ndarray:
    """Mixture and target of a batch [rows, 2, channels, samples]."""
    return np.stack([batch["mixture"].numpy(), batch["sources"][:, 0].numpy()], 1)


def our_open_unmix(folder: Path, seed: int) -> Learner:
    """Open-Unmix from weights that it gives to the peer."""
    import tensorflow as tf

    from common.training import distribution
    from unmix import convert

    distribution.prepare(seed)
    job = _music(folder)
    job.start()
    model = job.model
    weights = folder / f"open_unmix {seed}"
    # An interrupted run has left the same weights.
    shutil.rmtree(weights, ignore_errors=True)
    convert.export({TARGET: model.network}, weights)
    batches, valid = data.read(folder, "music", seed)
    step = our_step(model, [model.loss_mean])
    mixture, target = (model.magnitude(tf.constant(valid[:, part])) for part in (0, 1))
    estimate = tf.function(model.network)

    def score() -> float:
        return data.magnitude_snr(estimate(mixture).numpy(), target.numpy())

    return Learner(
        lambda batch: step({"mixture": batch[:, 0], "sources": batch[:, 1:]}),
        score,
        batches,
    )


def our_mixit(folder: Path, seed: int) -> Learner:
    """Mixture invariant training, from weights of its own."""
    import tensorflow as tf

    from common.training import distribution
    from mixit.config import TINY
    from mixit.loss import mixit
    from mixit.train import compiled

    distribution.prepare(seed)
    never = 1_000_000_000
    config = replace(
        TINY,
        lr=LR,
        lr_decay_steps=never,
        clip_norm=CLIP,
        train=replace(TINY.train, log_steps=never),
    )
    model = compiled(config, 1)
    batches, valid = data.read(folder, "speech", seed)
    step = our_step(model, [model.loss_mean])
    separate, mixtures = tf.function(model.network), tf.constant(valid.sum(1))
    with np.load(folder / f"mixit {seed}.npz") as first:
        same = float(tf.reduce_mean(mixit(first["references"], first["estimates"])[0]))
    return Learner(
        lambda batch: step({"sources": batch[np.newaxis].reshape(2, 2, 2, -1)}),
        lambda: data.improvement(separate(mixtures).numpy(), valid),
        batches,
        same,
    )


LEARNERS = {
    "conv_tasnet": our_conv_tasnet,
    "deep_clustering": our_deep_clustering,
    "open_unmix": our_open_unmix,
    "mixit": our_mixit,
}


def _music(folder: Path) -> Any:
    """Make the training of a target of the tiny preset, without dropout."""
    import tensorflow as tf

    from unmix import train
    from unmix.config import TINY, resolved

    # The loader of openunmix knows networks of three layers only.
    config = replace(
        TINY,
        model=replace(TINY.model, layers=3, dropout=0.0),
        target=(TARGET,),
        output=str(folder / "run"),
        lr=LR,
    )
    return train.build(resolved(config), tf.distribute.get_strategy())


if __name__ == "__main__":
    if sys.argv[1] == "music":
        make_music(Path(sys.argv[2]))
    else:
        data.play(LEARNERS)
