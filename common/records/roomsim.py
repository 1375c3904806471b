"""Records in the layout of Google's room simulator, as sound-separation reads them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from common.records.format import RecordsError

BUFFER_BYTES = 2**20
MIXTURE, SOURCES = "receiver_audio", "source_images"


def roomsim(
    files: Sequence[str | os.PathLike[str]], samples: int
) -> tf.data.Dataset[Any]:
    """Read examples with the features ``receiver_audio`` and ``source_images``.

    Both are flat lists of floats, the last axis varying fastest: ``receiver_audio``
    [microphones, samples] is what the microphones hear, ``source_images`` [sources,
    microphones, samples] what they hear of each source. The numbers of microphones and
    sources follow from the first example and are the same in all others. Other
    features, such as diarization labels, are left aside.

    Args:
        files: TFRecord files, uncompressed, read in this order.
        samples: Length of the waveforms.

    Returns:
        Dataset of ``sources`` [sources, channels, samples] and ``mixture`` [channels,
        samples], float32 as stored.

    Raises:
        RecordsError: If the first example does not fit ``samples``.
    """
    names = [os.fspath(file) for file in files]
    records = tf.data.TFRecordDataset(names, None, BUFFER_BYTES)
    channels, sources = _first_shape(names, records, samples)
    shapes = {
        "mixture": [channels, samples],
        "sources": [sources, channels, samples],
    }

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        flat = dict(zip(("mixture", "sources"), _parse(serialized), strict=True))
        return {key: _shaped(key, flat[key], shape) for key, shape in shapes.items()}

    return records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)


def _parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    floats = tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True)
    parsed = tf.io.parse_single_example(serialized, {MIXTURE: floats, SOURCES: floats})
    return parsed[MIXTURE], parsed[SOURCES]


def _first_shape(
    names: list[str], records: tf.data.Dataset[Any], samples: int
) -> tuple[int, int]:
    first = next(iter(records.take(1)), None)
    if first is None:
        raise RecordsError(f"There are no examples in {names}; check the file names.")
    heard, images = (len(flat) for flat in _parse(first))
    if not heard or heard % samples or not images or images % heard:
        raise RecordsError(
            f"The first example of {names[0]} has {heard} values of {MIXTURE} and "
            f"{images} of {SOURCES}, expected whole multiples of samples={samples}; "
            "give the length that the files were made with."
        )
    return heard // samples, images // heard


def _shaped(key: str, flat: tf.Tensor, shape: list[int]) -> tf.Tensor:
    expected = tf.TensorShape(shape).num_elements()
    message = (
        f"An example has another number of values for its {key} than the {expected} of "
        f"shape {shape} in the first example; make all examples of one length."
    )
    check = tf.debugging.assert_equal(tf.size(flat), expected, message)
    with tf.control_dependencies([check] if check is not None else []):
        return tf.reshape(flat, shape)
