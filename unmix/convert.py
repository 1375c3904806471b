"""Weights of the original for our networks, and back.

``python -m unmix.convert SOURCE --check`` restores every target of a folder as the
original writes it (``vocals.pth``, ``vocals.json``, ``separator.json``, the last two
where they are there), of a run folder, or of a publication, and compares the networks
with the same computed plainly in float64. Every tensor must find its place. ``--export
OUT`` writes the folder that the original loads.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common.config import load as load_config
from common.errors import exit_code
from common.files import replacing_folder, user_path, write_json
from common.layers.precision import set_precision
from common.separation.command import Names, add_checkpoint
from common.training.checkpoint import (
    CheckpointError,
    find,
    not_a_run,
    restore_network,
    run_of,
    variables,
)
from common.weights import torch_file
from common.weights.bundled import NAME
from unmix import embedded, original_folder, plain, published, tensors
from unmix.config import Network, UnmixConfig
from unmix.model import OpenUnmix, folded

CONFIG = "config.json"
TOLERANCE = 1e-4
"""Largest difference of any two magnitudes, by the largest magnitude."""


def load(
    path: str | Path,
    targets: Sequence[str] | None = None,
    checkpoint: str | None = None,
) -> dict[str, OpenUnmix]:
    """Restore the networks of a folder.

    Args:
        path: Folder as the original writes it, run folder of a training or prefix of
            one of its checkpoints, ``mini``, or name of a publication, which is
            downloaded where it is not in the cache.
        targets: Names of the targets; by default all that are there.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Returns:
        Network by target, in the order of ``targets``, else in that of the source. Its
        ``config`` tells its shape.

    Raises:
        CheckpointError: There is nothing, or it does not fit.
        PublishedError: A publication cannot be had.
        TorchFileError: A weight file is damaged, or is none.
    """
    folder = _place(path)
    found = {} if published.is_published(path) else runs(run_of(folder) or folder)
    if checkpoint is not None and not found:
        raise not_a_run(path, checkpoint)
    if found:
        return _from_runs(folder, found, targets, checkpoint)
    if published.is_published(path):
        network = published.MODELS[str(path)].network
        return {
            target: _filled(network, file, original_folder.read(file))
            for target, file in published.fetch(str(path), targets).items()
        }
    if not folder.is_dir():
        raise CheckpointError(
            f"{path} does not exist; expected a run folder, a folder as the original "
            f"writes it, or one of {', '.join([NAME, *published.MODELS])}"
        )
    return _from_original(folder, targets)


def start_from(model: OpenUnmix, path: str | Path, target: str) -> None:
    """Let a training begin with the weights of another network of the same shape.

    Args:
        model: The network to be trained.
        path: Where the other lies, see :func:`load`.
        target: Its target.

    Raises:
        CheckpointError: It is not there, or of another shape.
    """
    other = load(path, [target])[target]
    ours, theirs = (_described(each) for each in (model, other))
    if ours != theirs:
        differing = [k for k in ours if ours[k] != theirs[k]]
        raise CheckpointError(
            f"initial={path}: its network of {target} has "
            + ", ".join(f"model.{key}={theirs[key]}" for key in differing)
            + ", expected "
            + ", ".join(str(ours[key]) for key in differing)
            + "; set the same"
        )
    tensors.assign(model, tensors.collect(other), str(path))


def export(models: Mapping[str, OpenUnmix], folder: str | Path) -> None:
    """Write networks as the original does, all files or none.

    Args:
        models: Network by target.
        folder: The folder to make.

    Raises:
        CheckpointError: The folder exists, or the networks are of several kinds.
        OSError: It cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise CheckpointError(f"{folder} exists; name a folder that does not")
    separators = {
        target: original_folder.separator(model.config)
        for target, model in models.items()
    }
    separator = next(iter(separators.values()), None)
    if separator is None or any(each != separator for each in separators.values()):
        raise CheckpointError(
            f"the networks of {', '.join(models) or 'no target'} have several rates or "
            "transforms; expected one, so export them one by one"
        )
    with replacing_folder(folder) as work:
        for target, model in models.items():
            torch_file.write(work / f"{target}.pth", tensors.collect(model))
            write_json(
                original_folder.results(target, model.config), work / f"{target}.json"
            )
        write_json(separator, work / original_folder.SEPARATOR)


def check(
    model: OpenUnmix, source: Mapping[str, np.ndarray], frames: int = 64
) -> float:
    """Compare a network with the same computed plainly in float64.

    Args:
        model: The network.
        source: Its tensors by the original's names.
        frames: Length of the noise that goes through both.

    Returns:
        Largest difference of the magnitudes, by the largest magnitude; of two ways
        through our network, the worse.

    Raises:
        CheckpointError: It is above 1e-4.
    """
    magnitude = _noise(model, frames)
    wanted = plain.estimate(source, magnitude)
    batch = tf.constant(magnitude[np.newaxis])
    ways = model(batch)[0].numpy(), folded_estimate(model, magnitude)
    largest = float(np.abs(wanted).max()) or 1.0
    difference = max(float(np.abs(way - wanted).max()) for way in ways) / largest
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"the network differs from its tensors, computed plainly, by "
            f"{difference:.3g}, expected at most {TOLERANCE:g}: it was not restored"
        )
    return difference


def main(argv: Sequence[str] | None = None) -> int:
    """Check or export networks of Open-Unmix; returns the exit code."""
    parser = argparse.ArgumentParser("unmix.convert", description=main.__doc__)
    parser.set_defaults(named_input=[])
    parser.add_argument(
        "source", nargs="?", help="folder of weights, run folder, or a name"
    )
    parser.add_argument(
        "--targets",
        nargs="+",
        action=Names,
        metavar="SOURCE,...",
        help="by default all that are there",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare each network with the same computed plainly in float64, print "
        f"the largest difference, refuse it above {TOLERANCE:g}",
    )
    add_checkpoint(parser)
    parser.add_argument("--export", metavar="OUT", help="folder for the original")
    options = parser.parse_intermixed_args(argv)
    sources = [*filter(None, [options.source]), *options.named_input]
    if len(sources) != 1:
        parser.error(f"{len(sources)} sources are named; expected one SOURCE")
    options.source = sources[0]
    return exit_code("unmix.convert", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    if not options.check and not options.export:
        raise CheckpointError("nothing to do; give --check or --export OUT")
    models = load(options.source, options.targets, options.checkpoint)
    for target, model in models.items():
        sys.stdout.write(f"{target}: {_description(model)}\n")
        if options.check:
            # The tensors are compared, not the rounding of a run in half precision.
            set_precision(model, "float32")
            difference = check(model, _original(options.source, target, model))
            sys.stdout.write(f"{target}: largest difference {difference:.3g}\n")
    if options.export:
        export(models, options.export)
        sys.stdout.write(f"{options.export}: {len(models)} targets\n")
        odd = [
            t
            for t, model in models.items()
            if not original_folder.is_loadable(model.config)
        ]
        if odd:
            sys.stdout.write(
                f"{', '.join(odd)}: the original's loader knows networks of three "
                "layers and two directions only; this one needs a call of its own\n"
            )
    return 0


def runs(folder: Path) -> dict[str, Path]:
    """Find the run folder of every target: one in this for each, else this one."""
    alone = (folder / CONFIG).exists()
    if not alone and any(folder.glob("*.pth")):
        return {}
    below = {path.parent.name: path.parent for path in folder.glob(f"*/{CONFIG}")}
    if below or not alone:
        return {target: below[target] for target in original_folder.ordered(below)}
    targets = load_config(UnmixConfig, folder / CONFIG).target
    return dict.fromkeys(targets, folder)


def _place(path: str | Path) -> Path:
    """Find a folder of networks, by its place or as one that comes with the package."""
    return embedded.find(path) or user_path(path)


def _from_runs(
    folder: Path,
    places: Mapping[str, Path],
    targets: Sequence[str] | None,
    which: str | None,
) -> dict[str, OpenUnmix]:
    """Restore the networks of run folders, or those in one checkpoint."""
    models = {}
    for target in _chosen(folder, list(places), targets):
        place = places[target]
        config = load_config(UnmixConfig, place / CONFIG)
        model = OpenUnmix(config.model, config.train.precision)
        # Networks that were trained together lie in one checkpoint, by target.
        alone = folder if run_of(folder) == place else place
        prefix = find(alone, which)
        root = f"network/{target}/"
        joint = any(name.startswith(root) for name in variables(prefix))
        restore_network(prefix, {target: model} if joint else model)
        models[target] = model
    return models


def _from_original(folder: Path, targets: Sequence[str] | None) -> dict[str, OpenUnmix]:
    files = original_folder.files(folder)
    models = {}
    for target in _chosen(folder, list(files), targets):
        path = files[target]
        found = original_folder.read(path)
        network = original_folder.network(path, target, found)
        models[target] = _filled(network, path, found)
    return models


def _original(source: str, target: str, model: OpenUnmix) -> Mapping[str, np.ndarray]:
    """Find the tensors that a network was restored from."""
    if published.is_published(source):
        path = published.fetch(source, [target])[target]
    elif runs(run_of(_place(source)) or _place(source)):
        return tensors.collect(model)
    else:
        path = original_folder.files(_place(source))[target]
    published.verify(path)
    return original_folder.read(path)


def _chosen(
    folder: Path, there: Sequence[str], targets: Sequence[str] | None
) -> list[str]:
    if not there:
        raise CheckpointError(
            f"{folder} holds neither {CONFIG} nor a file named TARGET.pth; expected a "
            "run folder, or a folder as the original writes it"
        )
    unknown = [target for target in targets or () if target not in there]
    if unknown:
        raise CheckpointError(
            f"{folder} has no target {unknown[0]}; expected one of {', '.join(there)}"
        )
    return list(targets or there)


def _filled(network: Network, path: Path, found: Mapping[str, Any]) -> OpenUnmix:
    model = OpenUnmix(network)
    tensors.assign(model, found, str(path))
    return model


def _described(model: OpenUnmix) -> dict[str, Any]:
    """Take what two networks of one shape have in common."""
    config = dataclasses.replace(
        model.config,
        dropout=0.0,
        # Bandwidths that end within the same bin are the same.
        bandwidth=model.input_bins * model.config.sample_rate / 2 / model.bins,
    )
    return dataclasses.asdict(config)


def _description(model: OpenUnmix) -> str:
    network = model.config
    trained = sum(v.shape.num_elements() for v in model.trainable_variables)
    return (
        f"{network.sample_rate} Hz, {network.channels} channels, frames of "
        f"{network.window_samples} every {network.hop_samples}, "
        f"{network.hidden_size} wide, {network.layers} layers of "
        f"{1 + network.bidirectional} directions, {trained} weights"
    )


def _noise(model: OpenUnmix, frames: int) -> np.ndarray:
    """Draw magnitudes with the mean and deviation that the network was told."""
    mean, scale = -model.input_mean.numpy(), np.abs(model.input_scale.numpy())
    deviation = 1.0 / np.maximum(scale, 1e-6)
    place = [model.config.channels, frames, model.bins]
    noise = np.abs(np.random.default_rng(0).standard_normal(place))
    seen = noise[..., : len(mean)] * deviation + np.maximum(mean, 0.0)
    noise[..., : len(mean)] = seen
    return noise.astype(np.float32)


def folded_estimate(model: OpenUnmix, magnitude: np.ndarray) -> np.ndarray:
    """Estimate with the folded products and the recurrent stack for inference."""
    products = folded(model)
    channels, frames, bins = magnitude.shape
    rows = magnitude[..., : model.input_bins].transpose(1, 0, 2).reshape(frames, -1)
    first = np.tanh(rows @ products.encode.kernel + products.encode.bias)
    recurrent = model.lstm.infer(tf.constant(first[np.newaxis]))[0].numpy()
    rows = np.concatenate([first, recurrent], axis=1)
    rows = np.maximum(rows @ products.hidden.kernel + products.hidden.bias, 0.0)
    mask = np.maximum(rows @ products.decode.kernel + products.decode.bias, 0.0)
    return mask.reshape(frames, channels, bins).transpose(1, 0, 2) * magnitude


if __name__ == "__main__":
    sys.exit(main())
