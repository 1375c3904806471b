"""Locate trained networks, and restore them with their configurations.

A network is in a run folder, in a bundled model, which is a run folder in the package,
or in a file of nussl 1.x, asteroid or torchaudio; published ones of these have names,
and are downloaded into the cache once. An experiment file names a run folder, a bundled
model or a file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import tf_keras as keras

from clustering import conv_tasnet_file, experiment_file
from clustering.config import BUNDLED, ClusteringConfig
from clustering.conv_tasnet_file import ConvTasnetFile
from clustering.experiment_file import Experiment
from clustering.network import network
from clustering.nussl import model_file
from clustering.nussl.model_file import NusslModel
from common import files
from common.config import ConfigError, override
from common.config import load as load_config
from common.training.checkpoint import (
    CONFIG,
    CheckpointError,
    not_a_run,
    restore_network,
    run_of,
)
from common.weights import bundled, torch_file
from common.weights.download import obtain
from common.weights.torch_file import TorchFileError

TORCH = (".pth", ".pt", ".bin")
HUGGING_FACE = "https://huggingface.co"
PYTORCH = "https://download.pytorch.org"
"""Hosts of publications; the environment variable ``CLUSTERING_URL`` names another."""

BY_SA = "CC BY-SA 4.0; the notice in its card says 3.0"
NOISE = f"{BY_SA}; trained with noise under CC BY-NC 4.0"
NOT_VERIFIED = "not verified; torchaudio's code is BSD-2-Clause"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publication:
    """A network that others published.

    Attributes:
        host: Where it lies.
        path: Path of its file there.
        licence: Of the weights.
        sample_rate: In Hz.
        score: What its authors measured.
        aliases: Other names of it.
        page: Address of a page about it; empty where there is none but the file.
    """

    host: str
    path: str
    licence: str
    sample_rate: int
    score: str
    aliases: tuple[str, ...] = ()
    page: str = ""

    @property
    def url(self) -> str:
        """Address of the file."""
        root = os.environ.get("CLUSTERING_URL") or self.host
        return f"{root.rstrip('/')}/{self.path}"


def _asteroid(
    repository: str, rate: int, licence: str, score: str, *aliases: str
) -> Publication:
    """Describe a Conv-TasNet of asteroid by its repository on Hugging Face."""
    path = f"{repository}/resolve/main/pytorch_model.bin"
    names, page = (repository, *aliases), f"{HUGGING_FACE}/{repository}"
    return Publication(HUGGING_FACE, path, licence, rate, score, names, page)


LIBRI2MIX = "JorisCos/ConvTasNet_Libri2Mix"
MODELS: Mapping[str, Publication] = MappingProxyType(
    {
        "convtasnet_libri2mix": _asteroid(
            f"{LIBRI2MIX}_sepclean_8k", 8000, BY_SA, "SI-SDRi 14.8 dB (Libri2Mix, min)"
        ),
        "convtasnet_libri2mix_16k": _asteroid(
            f"{LIBRI2MIX}_sepclean_16k",
            16000,
            BY_SA,
            "SI-SDRi 15.2 dB (Libri2Mix, min)",
        ),
        "convtasnet_libri2mix_noisy": _asteroid(
            f"{LIBRI2MIX}_sepnoisy_8k",
            8000,
            NOISE,
            "SI-SDRi 11.9 dB (noisy Libri2Mix, min)",
        ),
        "convtasnet_libri2mix_noisy_16k": _asteroid(
            f"{LIBRI2MIX}_sepnoisy_16k",
            16000,
            NOISE,
            "SI-SDRi 12.6 dB (noisy Libri2Mix, min)",
        ),
        "convtasnet_wham": _asteroid(
            "mpariente/ConvTasNet_WHAM_sepclean",
            8000,
            f"{BY_SA}; trained with WSJ0, for research only",
            "SI-SDRi 16.2 dB (WHAM! without noise, min)",
            "mpariente/ConvTasNet_WHAM!_sepclean",
        ),
        "conv_tasnet_base_libri2mix": Publication(
            PYTORCH,
            "torchaudio/models/conv_tasnet_base_libri2mix.pt",
            NOT_VERIFIED,
            8000,
            "not measured",
            ("CONVTASNET_BASE_LIBRI2MIX",),
        ),
    }
)
"""Publications by name: Conv-TasNet of two speakers, of 5.05 million weights."""

WEIGHTS = 5_050_545
"""Weights of each of them; torchaudio's has fewer by one path."""


class Trained(NamedTuple):
    """A network with its weights, and its configuration."""

    net: keras.Model
    config: ClusteringConfig


def restore(
    path: str | Path, sample_rate: int | None = None, checkpoint: str | None = None
) -> Trained:
    """Restore a trained network.

    Args:
        path: Run folder or prefix of one of its checkpoints, the name of a bundled
            model or of a publication, a file of nussl, asteroid or torchaudio
            (``.pth``, ``.pt``, ``.bin``), or an experiment file (``.yml``) that names
            a model, whose keys of ``cluster`` replace those of the model.
        sample_rate: Rate in Hz of a file that does not state it.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Raises:
        CheckpointError: There is no model, or its weights do not fit.
        ConfigError: The experiment file is invalid or names no model.
        DownloadError: A publication cannot be downloaded.
    """
    suffix = Path(path).suffix.lower()
    if suffix in experiment_file.SUFFIXES:
        return restore_named(experiment_file.read(path), checkpoint)
    if publication(path) or suffix in TORCH:
        if checkpoint is not None:
            raise not_a_run(path, checkpoint)
        model = read(path)
        return Trained(model.network, configuration(model, sample_rate))
    folder = bundled.find(BUNDLED, path) or files.user_path(path)
    run = run_of(folder)
    if run is None:
        raise CheckpointError(
            f"{folder} holds no {CONFIG}; expected a run folder, the name of a model "
            f"that comes with the package, {bundled.NAME}, or of a published one, "
            f"{', '.join(MODELS)}, a file of nussl, asteroid or torchaudio "
            "(.pth, .pt, .bin) or an experiment file (.yml)"
        )
    config = load_config(ClusteringConfig, run / CONFIG)
    net = network(config)
    restore_network(folder, net, checkpoint)
    return Trained(net, config)


def restore_named(experiment: Experiment, checkpoint: str | None = None) -> Trained:
    """Restore the network that an experiment file names; see :func:`restore`."""
    name = experiment_file.model(experiment)
    if experiment_file.is_file(name):
        raise ConfigError(
            f"{experiment.path}: the model is {name}, an experiment file; expected a "
            "run folder, the name of a model of the package, or a .pth of nussl"
        )
    net, config = restore(name, experiment.config.sample_rate, checkpoint)
    return Trained(net, override(config, experiment.masks))


def read(path: str | Path) -> NusslModel | ConvTasnetFile:
    """Restore the network of a file of another program.

    Args:
        path: The file, or the name of a publication.

    Raises:
        CheckpointError: It holds no network that there is here, or its weights do not
            fit.
        DownloadError: A publication cannot be downloaded.
        TorchFileError: The file is damaged, or names a class; nothing of it was run.
    """
    name = publication(path)
    if name:
        model = conv_tasnet_file.load(fetch(name))
        return replace(model, sample_rate=MODELS[name].sample_rate)
    path = files.user_path(path)
    try:
        of_asteroid = path.is_file() and conv_tasnet_file.is_one(torch_file.read(path))
    except TorchFileError:
        # The other reader knows more about what else nussl keeps in a file.
        of_asteroid = False
    return conv_tasnet_file.load(path) if of_asteroid else model_file.load(path)


def configuration(
    model: NusslModel | ConvTasnetFile, sample_rate: int | None = None
) -> ClusteringConfig:
    """Make the configuration of a network of another program.

    Args:
        model: From :func:`read`.
        sample_rate: Rate in Hz, where the file does not say it.

    Raises:
        CheckpointError: The sample rate is unknown, or another one than in the file.
    """
    if isinstance(model, ConvTasnetFile):
        return conv_tasnet_file.config(model, sample_rate)
    return model_file.config(model, sample_rate)


def publication(path: str | Path) -> str | None:
    """Return the name of a publication in :data:`MODELS`, None for anything else.

    Args:
        path: Its name, or one of its aliases. What exists goes before it.

    >>> publication("JorisCos/ConvTasNet_Libri2Mix_sepclean_8k")
    'convtasnet_libri2mix'
    """
    if Path(path).exists():
        return None
    for name, model in MODELS.items():
        if str(path) in (name, *model.aliases):
            return name
    return None


def published_path(name: str) -> Path:
    """Return the path in the cache that a publication is downloaded to.

    >>> published_path("convtasnet_libri2mix").name
    'pytorch_model.bin'
    """
    return files.cache_folder("published", name) / Path(MODELS[name].path).name


def fetch(name: str) -> Path:
    """Download the file of a publication that the cache does not hold.

    Args:
        name: Key of :data:`MODELS`.

    Raises:
        DownloadError: It cannot be downloaded, or is another one than at first.
    """
    path = published_path(name)
    if not path.exists():
        logger.info("%s: licence of the weights: %s", name, MODELS[name].licence)
    return obtain(MODELS[name].url, path)
