"""End-to-end training: the networks of all targets together, on waveforms.

Separately the networks are trained on magnitudes. Here the loss is on the waveforms of
the whole separator, so that the networks also learn from the filter and the phase of
the mixture. The original has no such training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from common.signal.stft import Stft, istft, stft
from common.training.accumulation import Gradients, accumulate
from unmix.config import UnmixConfig
from unmix.filtering.numpy_wiener import WINDOW_FRAMES, Options
from unmix.filtering.wiener import windowed
from unmix.loss import waveform_loss
from unmix.model import OpenUnmix
from unmix.model import estimates as magnitudes_of

CHUNK_FRAMES = 5 * WINDOW_FRAMES
"""Frames of a chunk of a validation track, to bound the memory."""


class EndToEnd(keras.Model):
    """The networks of all targets together with the filter and the loss.

    Args:
        networks: Network of every target, in the order of the sources of a batch.
        config: Transform and iterations of the filter.
        replicas: Number of replicas that share a global batch.
    """

    def __init__(
        self,
        networks: Mapping[str, OpenUnmix],
        config: UnmixConfig,
        replicas: int,
    ) -> None:
        super().__init__(name="end_to_end")
        # In a checkpoint each is below its target: network/vocals/...
        self.network = dict(networks)
        self.config = config
        self.replicas = replicas
        window, hop = config.model.window_samples, config.model.hop_samples
        self.stft = Stft(window, hop, padding="reflect")
        self.loss_mean = keras.metrics.Mean("loss")
        self.built = True

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Estimate the waveforms of all targets and take one optimizer step."""
        parts = self.config.train.accumulate
        gradients, losses = accumulate(self.gradients_of, batch, parts)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self.loss_mean.update_state(losses)
        return {"loss": self.loss_mean.result()}

    def gradients_of(
        self, batch: Mapping[str, tf.Tensor]
    ) -> tuple[Gradients, tf.Tensor]:
        """Compute the gradients of a batch, and the loss of each example [batch].

        The gradient is that of the sum over the batch divided by the global batch size,
        so that the gradients of all replicas add up.
        """
        with tf.GradientTape() as tape:
            estimates = self.separate(batch["mixture"], training=True)
            losses = waveform_loss(estimates, batch["sources"])
            loss = tf.reduce_mean(losses) / self.replicas
        gradients: Any = tape.gradient(loss, self.trainable_variables)
        return gradients, losses

    @tf.autograph.experimental.do_not_convert
    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Compute the loss on whole tracks of equal weight, separated in chunks."""
        estimates = self.separate_in_chunks(batch["mixture"])
        losses = waveform_loss(estimates, batch["sources"])
        self.loss_mean.update_state(losses, batch["weight"])
        return {"loss": self.loss_mean.result()}

    def separate(self, mixture: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Separate waveforms, differentiably.

        The filter of a single target also models the rest of the mixture, as in
        separation. Otherwise the filtered target would be the mixture itself.

        Args:
            mixture: Waveforms [batch, channels, samples].
            training: Whether the networks drop outputs and normalise by the batch.

        Returns:
            Estimates [batch, targets, channels, samples].
        """
        spectra = stft(mixture, self.stft)  # [batch, channels, frames, bins]
        magnitude = tf.abs(spectra)
        if self.config.model.channels == 1:
            magnitude = tf.reduce_mean(magnitude, axis=1, keepdims=True)
        networks = list(self.network.values())
        magnitudes = magnitudes_of(networks, magnitude, training)
        niter = self.config.niter
        options = Options(niter, residual=len(networks) == 1 and niter > 0)
        estimates = windowed(tf.stack(magnitudes, axis=1), spectra, options=options)
        estimates = estimates[:, : len(networks)]
        return istft(estimates, self.stft, tf.shape(mixture)[-1])

    def separate_in_chunks(self, mixture: tf.Tensor) -> tf.Tensor:
        """Separate waveforms of any length chunk by chunk, without crossfade.

        Args:
            mixture: Waveforms [batch, channels, samples].

        Returns:
            Estimates [batch, targets, channels, samples].
        """
        chunk_samples = CHUNK_FRAMES * self.config.model.hop_samples
        samples = tf.shape(mixture)[-1]
        count = tf.maximum(samples // chunk_samples, 1)

        def separate_one(index: tf.Tensor, done: Any) -> tuple[tf.Tensor, Any]:
            start = index * chunk_samples
            # The last chunk includes the remainder, and may be too short to pad alone.
            end = tf.where(index == count - 1, samples, start + chunk_samples)
            estimates = self.separate(mixture[..., start:end])
            return index + 1, done.write(index, tf.transpose(estimates, [3, 0, 1, 2]))

        chunks = tf.TensorArray(tf.float32, count, infer_shape=False)
        _, chunks = tf.while_loop(
            lambda index, _: index < count,
            separate_one,
            (tf.constant(0), chunks),
            parallel_iterations=1,
        )
        shape = [*mixture.shape[:1], len(self.network), *mixture.shape[1:]]
        return tf.ensure_shape(tf.transpose(chunks.concat(), [1, 2, 3, 0]), shape)
