"""Pictures of separated items: ``python -m clustering.visualize -p FILE``.

An item of a data set, drawn at random or named, is separated; its mixture, its sources
and a picture go to ``output/viz/<data set>/<8 digits>/``. Every folder that was made is
a line of the output, the last line of all.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from clustering import corpus, experiment_file
from clustering.cluster import Clustered, cluster, loudest, posterior_masks
from clustering.config import ClusteringConfig
from clustering.evaluate import read
from clustering.experiment_file import Data, Experiment
from clustering.gaussian_mixture import GaussianMixture
from clustering.kmeans import distances
from clustering.objective import SPECTRAL
from clustering.picture import View, picture
from clustering.principal import Principal, principal
from clustering.separate import separator
from clustering.weights import Trained, restore, restore_named
from common import audio, plots
from common.corpora.track import CorpusError, Track
from common.errors import exit_code
from common.files import replacing_folder
from common.separation.command import add_checkpoint
from common.signal.metrics import si_sdr
from common.signal.permutation import best_permutation
from common.signal.stft import stft
from common.training.loop import say

LEAST_PERCENTILE = 70.0
"""Points of the embedding below are too quiet to be shown."""
PICTURE_SECONDS = 60.0


def experiment(path: str, checkpoint: str | None = None) -> tuple[Experiment, Trained]:
    """Restore what shall be looked at.

    Args:
        path: Experiment file, run folder, name of a model that comes with the package,
            or model of nussl.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``.

    Raises:
        CheckpointError: It holds no model.
        ConfigError: The experiment file does not fit.
    """
    if experiment_file.is_file(path):
        told = experiment_file.read(path)
        return told, restore_named(told, checkpoint)
    trained = restore(path, checkpoint=checkpoint)
    splits = ("train", "valid", "test")
    data = {split: Data(trained.config, split) for split in splits}
    return Experiment(Path(path), trained.config, data, path), trained


def choose(
    tracks: Sequence[Track], names: Sequence[str], rng: np.random.Generator
) -> list[int]:
    """Choose items by their names, or one at random.

    Args:
        tracks: The items.
        names: Names, file names or paths of items; none: one is drawn.
        rng: What draws.

    Returns:
        Places among the items.

    Raises:
        CorpusError: No item has a name; the sentence tells a near one.
    """
    if not names:
        return [int(rng.integers(len(tracks)))]
    places = {track.name: place for place, track in enumerate(tracks)}
    found = []
    for name in names:
        base = Path(name).name
        key = base if base in places else Path(base).stem
        if key not in places:
            near = difflib.get_close_matches(key, places, n=3, cutoff=0.0)
            raise CorpusError(
                f"no item is named {name!r}; near names of {len(places)} are "
                f"{', '.join(near)}"
            )
        found.append(places[key])
    return list(dict.fromkeys(found))


def digits(name: str, place: int) -> str:
    """Name the folder of an item: its own 8 digits, or its place.

    >>> digits("00000012", 3), digits("Song 1", 3)
    ('00000012', '00000003')
    """
    return name if re.fullmatch(r"\d{8}", name) else f"{place:08d}"


def view(trained: Trained, mixture: np.ndarray, estimates: np.ndarray) -> View:
    """Compute what a picture shows.

    Args:
        trained: The network.
        mixture: Float32 [samples] at the rate of the network.
        estimates: Float32 [sources, samples].

    Returns:
        A view without a title and captions of its sources.
    """
    config, role = trained.config, trained.config.role
    # Centred frames reach all of a sound, however the network was trained.
    params = replace(config.stft, padding="constant_whole")
    spectrum = tf.abs(stft(tf.constant(mixture[np.newaxis]), params))
    spectra = tf.abs(stft(tf.constant(estimates), params))
    plain = View(
        "",
        config.sample_rate,
        config.hop_samples,
        mixture,
        estimates,
        [f"source{number}" for number in range(len(estimates))],
        spectrum[0].numpy(),
        spectra.numpy(),
    )
    if role not in SPECTRAL:
        return plain
    outputs = getattr(trained.net, "infer", trained.net)(spectrum)
    if role == "mask_inference":
        masks = outputs[0].numpy()
        return replace(plain, masks=masks, confidence=_clearness(masks))
    embedding = outputs if role == "dpcl" else outputs.embedding
    found = cluster(embedding, spectrum, config.cluster)
    masks = (found.masks if role == "dpcl" else outputs.mask)[0].numpy()
    shares, centres = _in_order_of(masks, found, embedding, config.cluster.beta)
    return replace(
        plain,
        masks=masks,
        confidence=_clearness(shares if role == "dpcl" else masks),
        principal=_loud_points(embedding, spectrum, shares, centres, config),
    )


def captions(track: Track, references: np.ndarray, estimates: np.ndarray) -> list[str]:
    """Write the heading of each estimate, with its SI-SDR where there is a reference.

    Args:
        track: The item.
        references: Float32 [references, samples].
        estimates: Float32 [estimates, samples].
    """
    names = [f"source{number}" for number in range(len(estimates))]
    if len(references) > len(estimates):
        return names
    truth, heard = tf.constant(references), tf.constant(estimates)
    pairs = si_sdr(truth[:, tf.newaxis], heard[tf.newaxis])
    before = si_sdr(truth, tf.reduce_sum(truth, axis=0, keepdims=True))
    chosen = best_permutation(-pairs)[1].numpy()
    for place, (name, number) in enumerate(zip(track.sources, chosen, strict=True)):
        is_new = name not in names[number] and not re.fullmatch(r"source\d+", name)
        own = f" ({name})" if is_new else ""
        names[number] += (
            f"{own}: SI-SDR {float(pairs[place, number]):.1f} dB, "
            f"mixture {float(before[place]):.1f} dB"
        )
    return names


def write(folder: Path, sounds: dict[str, np.ndarray], seen: View) -> None:
    """Write sounds and the picture of an item, all or nothing.

    Args:
        folder: The folder, which is replaced.
        sounds: Float32 [channels, samples] by the name of the file.
        seen: What the picture shows.
    """
    drawn = picture(seen)
    with replacing_folder(folder, overwrite=True) as work:
        for name, wave in sounds.items():
            audio.write(work / f"{name}.wav", wave, seen.sample_rate)
        plots.save(drawn, work / "viz.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Separate items and draw them; returns the exit code."""
    parser = argparse.ArgumentParser(
        "clustering.visualize", description=main.__doc__, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "-p",
        "--path_to_yml_file",
        dest="path",
        required=True,
        metavar="FILE",
        help="experiment file (.yml), run folder, or model that comes with the package",
    )
    add(
        "-f",
        "--file_names",
        dest="names",
        nargs="+",
        default=[],
        metavar="NAME",
        help="items of the data set by name (default: one at random)",
    )
    add(
        "-e",
        "--eval_keys",
        dest="keys",
        nargs="+",
        default=["test"],
        metavar="KEY",
        help="data sets, such as test or val (default: test)",
    )
    add("--seed", type=int, help="of the random choice (default: another each time)")
    add_checkpoint(parser)
    add("--output", type=Path, help="default: that of the experiment file, or output")
    options = parser.parse_args(argv)
    return exit_code("clustering.visualize", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    told, trained = experiment(options.path, options.checkpoint)
    rng = np.random.default_rng(options.seed)
    output = options.output or experiment_file.output(told)
    missing = [key for key in options.keys if key not in told.data]
    if missing:
        raise CorpusError(
            f"{told.path} has no data set {missing[0]!r}; expected one of "
            f"{', '.join(told.data) or 'none'}"
        )
    if trained.config.role not in SPECTRAL:
        say(f"{trained.config.kind} has no embedding and no masks of a spectrogram")
    elif trained.config.role == "mask_inference":
        say("mask_inference has no embedding: its panels are left out")
    for key in dict.fromkeys(options.keys):
        data = told.data[key]
        place = corpus.root(data.config)
        tracks = corpus.tracks(data.config, place, data.split)
        for number in choose(tracks, options.names, rng):
            name = digits(tracks[number].name, number)
            folder = output / "viz" / key / name
            _visualize(trained, tracks[number], f"{key}: ", folder)
            sys.stdout.write(f"{folder}\n")
    return 0


def _visualize(trained: Trained, track: Track, title: str, folder: Path) -> None:
    """Separate one item, of which the picture shows the first channel."""
    config = trained.config
    mixture, references = read(track, config.sample_rate)
    separate = separator(trained.net, config, segment_seconds=PICTURE_SECONDS)
    stems = separate(mixture)
    estimates = np.stack(list(stems.values()))
    shown = separate.segment_samples
    seen = view(trained, mixture[0, :shown], estimates[:, 0, :shown])
    seconds = mixture.shape[1] / config.sample_rate
    part = f", first {PICTURE_SECONDS:.0f} s" if seconds > PICTURE_SECONDS else ""
    seen = replace(
        seen,
        title=f"{title}{track.name} ({seconds:.1f} s{part}), {config.kind}",
        captions=captions(track, references[:, 0], estimates[:, 0]),
    )
    write(folder, {"mixture": mixture, **stems}, seen)


def _in_order_of(
    masks: np.ndarray, found: Clustered, embedding: tf.Tensor, beta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Share points out to the clusters, in the order of the masks most like theirs.

    Returns:
        Shares [clusters, frames, bins] and centres [clusters, dim].
    """
    if isinstance(found.model, GaussianMixture):
        centres, shares = found.model.means, found.masks
    else:
        centres = found.model
        shares = posterior_masks(distances(embedding, centres), beta)
    parts = shares[0].numpy().reshape(-1, *masks.shape[1:])
    order = np.arange(len(parts))
    if len(parts) == len(masks):
        each = found.masks[0].numpy().reshape(len(parts), -1)
        alike = masks.reshape(len(masks), -1) @ each.T
        order = best_permutation(tf.constant(-alike))[1].numpy()
    return parts[order], centres[0].numpy()[order]


def _loud_points(
    embedding: tf.Tensor,
    magnitude: tf.Tensor,
    shares: np.ndarray,
    centres: np.ndarray,
    config: ClusteringConfig,
) -> Principal:
    flat = tf.reshape(magnitude, tf.shape(embedding)[:2])
    places = loudest(flat, max(LEAST_PERCENTILE, config.cluster.percentile))[0].numpy()
    labels = shares.reshape(len(shares), -1).argmax(axis=0)
    return principal(embedding[0].numpy()[places], labels[places], centres)


def _clearness(shares: np.ndarray) -> np.ndarray:
    """Tell how much more than an equal part the largest share is, 0 to 1."""
    total = np.maximum(shares.sum(axis=0), 1e-8)
    largest, count = shares.max(axis=0) / total, len(shares)
    if count == 1:
        return np.ones_like(largest)
    return np.clip((count * largest - 1) / (count - 1), 0.0, 1.0)


if __name__ == "__main__":
    sys.exit(main())
