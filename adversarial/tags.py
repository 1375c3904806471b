"""What a step tells: scalars under the tags of the original."""

from __future__ import annotations

import tensorflow as tf

SOURCES = "acc", "voice"
"""What the original calls accompaniment and vocals."""

MEANS = "norm_mean", "sep_norm_mean"
CRITIC = "disc_loss", "disc_real", "disc_fake", "wasserstein_dist", "grad_pen"

SUPERVISED = (
    "loss",
    *("sup_sep_loss", "sep_loss", "mask_loss"),
    *(f"{source}_{mean}" for mean in MEANS for source in SOURCES),
)
SEMI_SUPERVISED = (
    *SUPERVISED,
    *("unsup_sep_loss", "mask_loss_u"),
    *(f"{source}_{mean}_u" for mean in MEANS for source in SOURCES),
    *(f"{source}_disc_{value}" for source in SOURCES for value in CRITIC),
)


def levels(sources: tf.Tensor, estimates: tf.Tensor, end: str) -> dict[str, tf.Tensor]:
    """Average the images of each source and of its estimates, by their tags.

    Args:
        sources: ln(1 + magnitude) [batch, 2, bins, frames, 1]: accompaniment, vocals.
        estimates: Of the same shape.
        end: What the tags end with.

    >>> images = tf.zeros([1, 2, 3, 4, 1])
    >>> list(levels(images, images, "_u"))[2:]
    ['acc_sep_norm_mean_u', 'voice_sep_norm_mean_u']
    """
    names = [f"{source}_{mean}{end}" for mean in MEANS for source in SOURCES]
    images = [each[:, k] for each in (sources, estimates) for k in range(2)]
    return {tag: tf.reduce_mean(i) for tag, i in zip(names, images, strict=True)}
