"""Locate and load the weights of networks.

A network is named by a publication (``umxhq``, downloaded into the cache once), a
bundled model (``mini``), a run folder of a training or one of its checkpoints, a folder
of ``TARGET.pth`` files in the format of the original, or a file of X-UMX by asteroid.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from common import files
from common.config import load as load_config
from common.training.checkpoint import (
    CheckpointError,
    find,
    not_a_run,
    restore_network,
    run_of,
    variables,
)
from common.weights import bundled
from common.weights.download import DownloadError, expected_digest, obtain
from unmix import original_folder, xumx_file
from unmix.config import UMX, UMXHQ, UMXL, UMXSE, Network, UnmixConfig
from unmix.model import OpenUnmix

CONFIG = "config.json"
BUNDLED = Path(__file__).parent / "bundled"
"""Folder of the bundled models."""

HOST = "https://zenodo.org/records"
"""Host of the records; the environment variable ``UNMIX_URL`` replaces it."""

UNSTATED = "none is stated; the original's code is MIT"
NON_COMMERCIAL = "CC BY-NC-SA 4.0"
NOT_VERIFIED = "not verified, see its record; asteroid's code is MIT"
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Publication:
    """The networks of one publication.

    Attributes:
        record: Number of the record on Zenodo.
        files: File by target, in the order of the sources. The eight digits in its name
            are the first of its SHA-256. Networks that are bridged lie in one file.
        network: Shape of the networks.
        weights: Number of trained weights of each, None if it is not known.
        licence: Licence of the weights.
    """

    record: int
    files: Mapping[str, str]
    network: Network
    weights: int | None
    licence: str

    def url(self, file: str) -> str:
        """Return the address of one of the files."""
        root = os.environ.get("UNMIX_URL") or HOST
        return f"{root.rstrip('/')}/{self.record}/files/{file}"


def _music(record: int, heads: str, network: Network, weights: int) -> Publication:
    """Describe four targets by the first digits of their SHA-256."""
    targets = zip(("vocals", "drums", "bass", "other"), heads.split(), strict=True)
    names = {target: f"{target}-{head}.pth" for target, head in targets}
    licence = NON_COMMERCIAL if network == UMXL.model else UNSTATED
    return Publication(record, names, network, weights, licence)


def _bridged(
    record: int, file: str, network: Network, weights: int | None
) -> Publication:
    """Describe the four targets of X-UMX, which lie in one file."""
    targets = "vocals", "drums", "bass", "other"
    shape = dataclasses.replace(network, bridged=True)
    files = dict.fromkeys(targets, file)
    return Publication(record, files, shape, weights, NOT_VERIFIED)


MODELS: Mapping[str, Publication] = MappingProxyType(
    {
        "umx": _music(
            3370486, "c8df74a5 5a48008b 646024d3 f8e132cc", UMX.model, 8_893_348
        ),
        "umxhq": _music(
            3370489, "b62c91ce 9619578f 8d85a5bd b52fbbf7", UMXHQ.model, 8_893_348
        ),
        "umxl": _music(
            5069601, "bccbd9aa 69e0ebd4 2ca1ce51 c8c5b3e6", UMXL.model, 28_257_188
        ),
        "umxse": Publication(
            3786908,
            {"speech": "speech_f5e0d9f9.pth", "noise": "noise_04a6fc2d.pth"},
            UMXSE.model,
            1_583_622,
            UNSTATED,
        ),
        "xumx": _bridged(4704231, "pretrained_xumx.pth", UMX.model, 8_893_348),
        "xumxhq": _bridged(
            4740378, "pretrained_xumx_musdb18HQ.pth", UMXHQ.model, 8_893_348
        ),
        "xumxl": _bridged(7128659, "pretrained_xumxl.pth", UMX.model, None),
    }
)
"""Publications by the names that ``unmix.load`` takes."""


class Location(NamedTuple):
    """Paths of the weights of some targets.

    Attributes:
        folder: The folder, or the checkpoint, of all of them.
        paths: Run folder of each target, or its weight file.
        trained_here: Whether ``paths`` are run folders.
        network: Shape of the networks, if their publication states it.
        joint: Whether all targets are in one file of X-UMX, which states their shape.
    """

    folder: Path
    paths: Mapping[str, Path]
    trained_here: bool
    network: Network | None = None
    joint: bool = False


def locate(path: str | Path, targets: Sequence[str] | None = None) -> Location:
    """Find the weights of targets, and download pretrained ones.

    Args:
        path: Name of a publication or of the bundled model, run folder or prefix of
            one of its checkpoints, folder in the format of the original, or file of
            X-UMX. An existing path has priority over the name of a publication.
        targets: Names of the targets; by default all.

    Raises:
        CheckpointError: There are no weights, or none of such a target.
        DownloadError: A publication cannot be downloaded.
    """
    if is_published(path):
        name = str(path)
        downloads = fetch(name, targets)
        shape = MODELS[name].network
        return Location(download_folder(name), downloads, False, shape, shape.bridged)
    folder = bundled.find(BUNDLED, path) or files.user_path(path)
    if folder.is_file():
        paths = dict.fromkeys(xumx_file.targets(folder), folder)
        return Location(folder, _chosen(folder, paths, targets), False, joint=True)
    run_folders = runs(run_of(folder) or folder)
    if run_folders:
        return Location(folder, _chosen(folder, run_folders, targets), True)
    if not folder.is_dir():
        raise CheckpointError(
            f"{path} does not exist; expected a run folder, a folder as the original "
            "writes it, a file of X-UMX, or one of "
            f"{', '.join([bundled.NAME, *MODELS])}"
        )
    weight_files = original_folder.files(folder)
    return Location(folder, _chosen(folder, weight_files, targets), False)


def load(
    path: str | Path,
    targets: Sequence[str] | None = None,
    checkpoint: str | None = None,
) -> dict[str, OpenUnmix]:
    """Load the networks of targets.

    Args:
        path: See :func:`locate`.
        targets: Names of the targets; by default all.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Returns:
        Network by target, in the order of ``targets``, else of the source. Its
        ``config`` is its shape.

    Raises:
        CheckpointError: There are no weights, or they do not fit.
        DownloadError: A publication cannot be downloaded.
        TorchFileError: A file is damaged, or not a weight file.

    >>> load("mini", ["bass"])["bass"].config.sample_rate
    16000
    """
    if checkpoint is not None and is_published(path):
        raise not_a_run(path, checkpoint)
    location = locate(path, targets)
    if location.trained_here:
        return {
            target: _restored(location.folder, run, target, checkpoint)
            for target, run in location.paths.items()
        }
    if checkpoint is not None:
        raise not_a_run(path, checkpoint)
    if location.joint:
        return xumx_file.load(*_joint(location))
    return {
        target: _read(file, target, location.network)
        for target, file in location.paths.items()
    }


def _joint(location: Location) -> tuple[Path, list[str]]:
    """Return the one file of some targets, which must hold all of them."""
    path, chosen = next(iter(location.paths.values())), list(location.paths)
    _chosen(path, dict.fromkeys(xumx_file.targets(path), path), chosen)
    return path, chosen


def _restored(
    folder: Path, run: Path, target: str, checkpoint: str | None
) -> OpenUnmix:
    """Restore the network of a target from its run folder."""
    config = load_config(UnmixConfig, run / CONFIG)
    model = OpenUnmix(config.model, config.train.precision)
    prefix = find(folder if run_of(folder) == run else run, checkpoint)
    # Networks that were trained together are in one checkpoint, by target.
    joint = any(name.startswith(f"network/{target}/") for name in variables(prefix))
    restore_network(prefix, {target: model} if joint else model)
    return model


def _read(file: Path, target: str, network: Network | None) -> OpenUnmix:
    """Make the network of a weight file of the original."""
    tensors = original_folder.read(file)
    model = OpenUnmix(network or original_folder.network(file, target, tensors))
    original_folder.assign(model, tensors, str(file))
    return model


def start_from(model: OpenUnmix, path: str | Path, target: str) -> None:
    """Initialise a network by the weights of another of the same shape.

    Args:
        model: The network to be trained.
        path: The other network, see :func:`locate`.
        target: Its target.

    Raises:
        CheckpointError: It does not exist, or has another shape.
    """
    other = load(path, [target])[target]
    ours, theirs = _shape(model), _shape(other)
    if ours != theirs:
        differing = [key for key in ours if ours[key] != theirs[key]]
        raise CheckpointError(
            f"initial={path}: its network of {target} has "
            + ", ".join(f"model.{key}={theirs[key]}" for key in differing)
            + ", expected "
            + ", ".join(str(ours[key]) for key in differing)
            + "; set the same"
        )
    original_folder.assign(model, original_folder.collect(other), str(path))


def runs(folder: Path) -> dict[str, Path]:
    """Return the run folder of every target: subfolders, or the folder itself.

    Args:
        folder: Run folder of one target, or of several; any other folder has none.
    """
    alone = (folder / CONFIG).exists()
    if not alone and any(folder.glob("*.pth")):
        return {}
    below = {path.parent.name: path.parent for path in folder.glob(f"*/{CONFIG}")}
    if below or not alone:
        return {target: below[target] for target in original_folder.ordered(below)}
    targets = load_config(UnmixConfig, folder / CONFIG).target
    return dict.fromkeys(targets, folder)


def run_config(path: str | Path) -> UnmixConfig | None:
    """Read the configuration of a run, None for other networks."""
    if is_published(path):
        return None
    folder = bundled.find(BUNDLED, path) or files.user_path(path)
    first = next(iter(runs(run_of(folder) or folder).values()), None)
    return load_config(UnmixConfig, first / CONFIG) if first else None


def download_folder(name: str) -> Path:
    """Return the folder of the cache that a publication is downloaded to.

    >>> download_folder("umxhq").name
    'umxhq'
    """
    return files.cache_folder("published", name)


def is_published(path: str | Path) -> bool:
    """Whether a name is that of a publication and not an existing path.

    >>> is_published("umxhq")
    True
    """
    return str(path) in MODELS and not Path(path).exists()


def fetch(name: str, targets: Sequence[str] | None = None) -> dict[str, Path]:
    """Download the files of a publication that the cache does not hold.

    Args:
        name: Name of the publication.
        targets: The targets; by default all.

    Returns:
        File in the cache by target, in the order of the targets.

    Raises:
        DownloadError: There is no such target, or a file cannot be downloaded or is
            not the published one.
    """
    publication, folder = MODELS[name], download_folder(name)
    chosen = list(publication.files) if targets is None else list(targets)
    unknown = [target for target in chosen if target not in publication.files]
    if unknown:
        raise DownloadError(
            f"{name} has no target {unknown[0]}; expected one of "
            f"{', '.join(publication.files)}"
        )
    paths = {target: folder / publication.files[target] for target in chosen}
    missing = [path for path in paths.values() if not path.exists()]
    if missing:
        logger.info("%s: licence of the weights: %s", name, publication.licence)
    for path in missing:
        try:
            obtain(publication.url(path.name), path, expected_digest(path) or "")
        except DownloadError as error:
            urls = ", ".join(publication.url(file.name) for file in missing)
            raise DownloadError(f"{error}; {name} needs {urls}") from error
    return paths


def _chosen(
    folder: Path, paths: Mapping[str, Path], targets: Sequence[str] | None
) -> dict[str, Path]:
    if not paths:
        raise CheckpointError(
            f"{folder} holds neither {CONFIG} nor a file named TARGET.pth; expected a "
            "run folder, or a folder as the original writes it"
        )
    unknown = [target for target in targets or () if target not in paths]
    if unknown:
        raise CheckpointError(
            f"{folder} has no target {unknown[0]}; expected one of {', '.join(paths)}"
        )
    return {target: paths[target] for target in targets or paths}


def _shape(model: OpenUnmix) -> dict[str, float]:
    """Return the values that determine the shape of a network."""
    config = dataclasses.replace(
        model.config,
        dropout=0.0,
        # Bandwidths that end within the same bin are the same.
        bandwidth=model.input_bins * model.config.sample_rate / 2 / model.bins,
    )
    return dataclasses.asdict(config)
