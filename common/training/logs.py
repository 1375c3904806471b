"""Write scalars, sounds and images of a run to JSON lines and TensorBoard.

Every scalar is a line of JSON in ``scalars.jsonl``, and goes to TensorBoard under
``events/train`` and ``events/validation`` with the tag of the package.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from common.files import write_text
from common.signal.stft import Stft, stft


class Scalars(keras.callbacks.Callback):
    """Write the scalars of training and validation.

    Args:
        folder: The run folder.
        every: Steps between two lines of training scalars.
        start_step: Step at which this process resumes; lines of later steps, written
            before a kill, are removed because these steps are repeated.
        more: Returns further scalars of ``train`` or ``validation``, which are written
            but not printed.
        chief: Whether this process writes. Other machines compute the same scalars at
            the same steps, because metrics are aggregated over all machines.
    """

    def __init__(
        self,
        folder: str | Path,
        every: int,
        start_step: int,
        more: Callable[[str], Mapping[str, float]] = lambda split: {},
        chief: bool = True,
    ) -> None:
        super().__init__()
        self._more = more
        self._chief = chief
        self._path = Path(folder) / "scalars.jsonl"
        self._every = every
        self._step = start_step
        self._writers = {}
        if chief:
            self._writers = {
                name: tf.summary.create_file_writer(str(Path(folder) / "events" / name))
                for name in ("train", "validation")
            }
            _cut(self._path, start_step)

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Write the running means of the epoch every ``every`` steps."""
        self._step += 1
        if self._step % self._every == 0:
            values = {key: float(value) for key, value in (logs or {}).items()}
            self._write("train", {**self._more("train"), **values})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the means of the epoch, those of validation without their prefix."""
        values = {key: float(value) for key, value in (logs or {}).items()}
        valid = {k[4:]: v for k, v in values.items() if k.startswith("val_")}
        train = {k: v for k, v in values.items() if not k.startswith("val_")}
        self._write("train", train, epoch + 1)
        if valid:
            self._write("validation", {**self._more("validation"), **valid}, epoch + 1)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Flush all events to disk."""
        for writer in self._writers.values():
            writer.flush()

    def _write(
        self, split: str, values: dict[str, float], epoch: int | None = None
    ) -> None:
        if not self._chief:
            return
        if split == "train":
            values = {**values, "learning_rate": self._learning_rate()}
        line: dict[str, Any] = {"split": split, "step": self._step}
        if epoch is not None:
            line["epoch"] = epoch
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **values}) + "\n")
        if split == "train" and epoch is not None and self._step % self._every == 0:
            return  # TensorBoard has the point of this step
        with self._writers[split].as_default(step=self._step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)

    def _learning_rate(self) -> float:
        return float(keras.backend.get_value(self.model.optimizer.learning_rate))


class Sounds(keras.callbacks.Callback):
    """Write sounds and their spectrograms to TensorBoard after every epoch.

    Args:
        folder: The run folder.
        sounds: Returns waveforms [examples, samples] by tag.
        sample_rate: Rate of the waveforms in Hz.
        start_step: Step at which this process resumes.
        images: Returns images [examples, rows, columns, 1] of those sounds, by tag.
            Tags are then those of TensorFlow 1, ``{tag}/audio/{example}`` and
            ``{tag}/image/{example}``; without images ``{tag}_audio`` and
            ``{tag}_spectrogram``.
        chief: Whether this process writes. The others compute the same sounds and
            images, because several machines may share the weights.
    """

    def __init__(
        self,
        folder: str | Path,
        sounds: Callable[[], Mapping[str, tf.Tensor]],
        sample_rate: int,
        start_step: int,
        images: Callable[[Mapping[str, tf.Tensor]], Mapping[str, tf.Tensor]]
        | None = None,
        chief: bool = True,
    ) -> None:
        super().__init__()
        path = Path(folder) / "events" / "validation"
        self._writer = sound_writer(path, chief)
        self._sounds = sounds
        self._images = images
        self._sample_rate = sample_rate
        self._step = start_step

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Count the steps."""
        self._step += 1

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write at most three examples of every sound."""
        sounds = self._sounds()
        with self._writer.as_default(step=self._step):
            if self._images is None:
                self._write(sounds)
            else:
                write_examples(sounds, self._images(sounds), self._sample_rate)
        self._writer.flush()

    def _write(self, sounds: Mapping[str, tf.Tensor]) -> None:
        for tag, waveform in sounds.items():
            tf.summary.audio(
                f"{tag}_audio", _playable(waveform), self._sample_rate, max_outputs=3
            )
            image = spectrogram_image(waveform, self._sample_rate)
            tf.summary.image(f"{tag}_spectrogram", image, max_outputs=3)


def sound_writer(path: Path, chief: bool) -> tf.summary.SummaryWriter:
    """Return the writer of sounds and images to a folder of events.

    Args:
        path: The folder.
        chief: Whether this process writes; else the writer drops everything.
    """
    if not chief:
        return tf.summary.create_noop_writer()
    return tf.summary.create_file_writer(str(path), filename_suffix=".sounds")


def write_examples(
    sounds: Mapping[str, tf.Tensor], images: Mapping[str, tf.Tensor], sample_rate: int
) -> None:
    """Write at most three examples of sounds and images to the current writer.

    The tags are those of TensorFlow 1: ``{tag}/audio/{example}`` and
    ``{tag}/image/{example}``.

    Args:
        sounds: Waveforms [examples, samples] by tag.
        images: Images [examples, rows, columns, 1], not negative, by tag; each is
            scaled so that its maximum is white.
        sample_rate: Rate of the sounds in Hz.
    """
    for tag, waveform in sounds.items():
        for index, sound in enumerate(_playable(waveform[:3])):
            name = f"{tag}/audio/{index}"
            tf.summary.audio(name, sound[tf.newaxis], sample_rate)
    for tag, image in images.items():
        for index, picture in enumerate(_visible(image[:3])):
            tf.summary.image(f"{tag}/image/{index}", picture[tf.newaxis])


def spectrogram_image(waveform: tf.Tensor, sample_rate: int) -> tf.Tensor:
    """Return magnitudes to the power 0.3 as a grey image, low frequencies at bottom.

    Google's program uses the window of its model, 2.5 ms, which has only 33 bins. Here
    a window of 32 ms with a hop of 8 ms resolves harmonics.

    Args:
        waveform: Waveforms [examples, samples].
        sample_rate: Their rate in Hz.

    Returns:
        Images [examples, bins, frames, 1] from 0 to 1.
    """
    hop = max(1, round(0.008 * sample_rate))
    spectrogram = stft(waveform, Stft(4 * hop, hop, padding="end"))
    power = tf.maximum(tf.abs(spectrogram), 1e-6) ** 0.3
    image = tf.reverse(tf.linalg.matrix_transpose(power), axis=[1])[..., tf.newaxis]
    return _visible(image)


def _playable(waveform: tf.Tensor) -> tf.Tensor:
    """Clip waveforms [examples, samples] to full scale; [examples, samples, 1]."""
    return tf.clip_by_value(waveform[..., tf.newaxis], -1.0, 1.0)


def _visible(image: tf.Tensor) -> tf.Tensor:
    """Scale images [examples, rows, columns, 1] so that the maximum is 1."""
    peak = tf.reduce_max(image, axis=[1, 2, 3], keepdims=True)
    return image / tf.maximum(peak, 1e-6)


def read_scalars(folder: str | Path) -> list[dict[str, Any]]:
    """Return the scalars of a run folder, in the order of writing."""
    path = Path(folder) / "scalars.jsonl"
    if not path.exists():
        return []
    return [line for line in map(_line, path.read_text("utf-8").splitlines()) if line]


def _cut(path: Path, start_step: int) -> None:
    """Remove the lines of steps that are repeated, and an incomplete last line."""
    if not path.exists():
        return
    lines = [_line(text) for text in path.read_text("utf-8").splitlines()]
    kept = [json.dumps(line) for line in lines if line and line["step"] <= start_step]
    write_text(path, "".join(text + "\n" for text in kept))


def _line(text: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(text))
    except ValueError:
        return None
