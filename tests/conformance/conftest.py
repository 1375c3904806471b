"""The models that must pass the battery; each pillar adds its line to MODELS."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tf_keras as keras

import adversarial.config
import adversarial.model
import adversarial.separate
import adversarial.train
import clustering.models.network
import clustering.models.shapes
import clustering.presets
import clustering.separate
import clustering.train
import mixit.config
import mixit.model
import mixit.separate
import mixit.train
import unmix.config
import unmix.model
import unmix.separate
import unmix.train
from common.config import save
from common.synthetic import miniature
from common.training.checkpoint import save_network
from common.training.optimizer import optimizer


@dataclass(frozen=True)
class Case:
    """What the battery needs of a model.

    Attributes:
        network: Builds the separation network of the ``tiny`` preset.
        training: Builds the compiled training model of the small network for a number
            of replicas.
        example: One training example as a function of its position.
        inputs: Shape of one input of the network, without the batch.
        separator: Wraps a network for separation, given the segment in seconds.
        load: Loads a run folder.
        small: Builds a network of some kilobytes and its configuration.
        command: Words of a short training, which saves within its epochs, on the folder
            ``{corpus}``.
        no_gradient: Weights that the loss does not depend on, by the ends of names.
        phase: Folder of the command's checkpoints below that of its run.
        is_ordered: Whether the sources of the untrained network differ so much that
            the order is kept from chunk to chunk.
        closeness_db: By how much chunked inference is below the whole, at the least.
    """

    network: Callable[[], Any]
    training: Callable[[int], Any]
    example: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    inputs: tuple[int, ...]
    separator: Callable[[Any, float], Any]
    load: Callable[[Any], Any]
    small: Callable[[], tuple[Any, Any]]
    command: tuple[str, ...]
    no_gradient: tuple[str, ...] = ()
    phase: str = ""
    is_ordered: bool = False
    closeness_db: float = 15.0


MIXIT = replace(mixit.config.TINY, lr=1e-4)
MIXIT_SMALL = replace(
    MIXIT,
    model=replace(
        MIXIT.model,
        num_coeffs=16,
        bottleneck=8,
        conv_channels=16,
        num_dilations=2,
        num_repeats=1,
    ),
)


def _mixit_example(position):
    seed = tf.stack([tf.constant(1, tf.int64), position])
    return {"sources": 0.1 * tf.random.stateless_normal([2, 2, 2000], seed)}


UNMIX = replace(unmix.config.TINY, lr=1e-4)
UNMIX_SMALL = replace(
    UNMIX, target=("vocals",), model=replace(UNMIX.model, hidden_size=8, layers=1)
)


def _unmix_training(replicas):
    network = unmix.model.OpenUnmix(UNMIX_SMALL.model)
    network.set_statistics(np.ones(network.bins), np.ones(network.bins))
    model = unmix.train.UnmixTraining(network, UNMIX_SMALL, replicas)
    model.compile(optimizer("adam", UNMIX.lr, UNMIX.weight_decay))
    model.optimizer.build(network.trainable_variables)
    return model


def _unmix_example(position):
    seed = tf.stack([tf.constant(1, tf.int64), position])
    sources = 0.1 * tf.random.stateless_normal([2, 2, 4096], seed)
    return {"mixture": tf.reduce_sum(sources, axis=0), "sources": sources[:1]}


def _unmix_separator(network, segment_seconds):
    with TemporaryDirectory() as folder:
        config = replace(UNMIX, target=("vocals",))
        save(config, Path(folder) / "config.json")
        save_network(folder, network)
        return unmix.separate.load(
            folder, wiener_win_len=30, segment_seconds=segment_seconds
        )


ADVERSARIAL = adversarial.config.TINY
ADVERSARIAL_SMALL = replace(
    ADVERSARIAL,
    model_config=replace(
        ADVERSARIAL.model_config,
        initial_filters=2,
        disc_filters=2,
        init_sup_sep_lr=1e-4,
        init_unsup_sep_lr=1e-4,
        init_disc_lr=1e-4,
    ),
)
IMAGES = adversarial.model.solve(ADVERSARIAL.model_config)


def _adversarial_network(config=ADVERSARIAL):
    # Many seeds make heads of which one is silent from the start.
    keras.utils.set_random_seed(1)
    return adversarial.model.UNet(config.model_config)


def _adversarial_training(replicas, phase="sup"):
    keras.utils.set_random_seed(1)
    config = replace(ADVERSARIAL_SMALL, phases=phase)
    return adversarial.train.compiled(config, replicas)


def _adversarial_example(position):
    seed = tf.stack([tf.constant(1, tf.int64), position])
    outside, inside = _adversarial_samples()
    sources = 0.1 * tf.random.stateless_normal([2, outside], seed)
    edge = (outside - inside) // 2
    return {
        "mixture": tf.reduce_sum(sources, axis=0),
        "sources": sources[:, edge : edge + inside],
    }


def _adversarial_samples():
    """Length of a mixture with its context, and of a source without."""
    settings = ADVERSARIAL_SMALL.model_config
    return [
        (frames - 1) * settings.num_hop + settings.num_fft
        for frames in (IMAGES.input_frames, IMAGES.output_frames)
    ]


def _semi_supervised_example(position):
    seed = tf.stack([tf.constant(2, tf.int64), position])
    outside, inside = _adversarial_samples()
    rounds = ADVERSARIAL_SMALL.model_config.num_disc
    noise = 0.1 * tf.random.stateless_normal([rounds + 1, 3, outside], seed)
    return {
        **_adversarial_example(position),
        "mixtures": noise[:, 0],
        "accompaniments": noise[:-1, 1, :inside],
        "vocals": noise[:-1, 2, :inside],
        "epsilon": tf.random.stateless_uniform([rounds, 2], seed),
    }


STACK = clustering.models.shapes.Recurrent(hidden=6, layers=1, dropout=0.0)


def _clustering_small(config):
    """The same kind of network in some kilobytes."""
    bank = clustering.models.shapes.Filterbank(8, 16, 8)
    return replace(
        config,
        spectral=replace(config.spectral, recurrent=STACK, embedding=4),
        tasnet=clustering.models.shapes.Tasnet(bank, STACK),
        conv_tasnet=clustering.models.shapes.ConvTasnet(
            bank, bottleneck=4, hidden=6, skip=4, blocks=2, repeats=1
        ),
        lr=1e-4,
    )


def _clustering_training(config, replicas):
    network = clustering.models.network.network(config)
    model = clustering.train.ClusteringTraining(network, config, replicas)
    model.compile(optimizer(config.optimizer, config.lr, config.weight_decay))
    model.optimizer.build(network.trainable_variables)
    return model


def _clustering_example(position):
    seed = tf.stack([tf.constant(1, tf.int64), position])
    sources = 0.1 * tf.random.stateless_normal([2, 2000], seed)
    return {"mixture": tf.reduce_sum(sources, axis=0), "sources": sources}


def _clustering_separator(network, config, segment_seconds):
    if config.role == "dpcl":
        _embed_bands(network)
    # Without an order of its own, that of each chunk is by chance.
    cluster = replace(config.cluster, order_by_size=False)
    return clustering.separate.separator(
        network, replace(config, cluster=cluster), segment_seconds=segment_seconds
    )


def _embed_bands(network):
    """Embed low and high bins far apart, which an untrained network does by chance."""
    linear = network.embedding.linear
    far = np.zeros([network.embedding.bins, network.embedding.size], np.float32)
    low = len(far) // 3
    far[:low, 0] = far[low:, 1] = 1.0
    linear.bias.assign(far.ravel())


def _clustering(preset, inputs, closeness_db, no_gradient=()):
    config = clustering.presets.PRESETS[preset]
    # Trained by SI-SDR, each chunk would get a gain of its own, as its level is open.
    levels = replace(config, loss=replace(config.loss, inference_kind="snr"))
    small = _clustering_small(config)
    return Case(
        network=lambda: clustering.models.network.network(config),
        training=lambda replicas: _clustering_training(small, replicas),
        example=_clustering_example,
        inputs=inputs,
        separator=lambda *given: _clustering_separator(given[0], levels, given[1]),
        load=clustering.separate.load,
        small=lambda: (clustering.models.network.network(small), small),
        command=(
            *("clustering.train", "with", preset, "data_root={corpus}/talkers"),
            *("segment_seconds=0.2", "batch_size=2"),
            *("spectral.recurrent.hidden=6", "spectral.recurrent.layers=1"),
        ),
        no_gradient=no_gradient,
        is_ordered=config.role == "dpcl",
        closeness_db=closeness_db,
    )


MODELS = {
    "adversarial_tiny": Case(
        network=_adversarial_network,
        training=_adversarial_training,
        example=_adversarial_example,
        inputs=(IMAGES.input_bins, IMAGES.input_frames, 1),
        separator=lambda network, seconds: adversarial.separate.separator(
            network, segment_seconds=seconds
        ),
        load=adversarial.separate.load,
        small=lambda: (_adversarial_network(ADVERSARIAL_SMALL), ADVERSARIAL_SMALL),
        command=(
            *("adversarial.train", "with", "tiny", "phases=semisup"),
            *("initial_filters=2", "disc_filters=2", "num_disc=1", "num_layers=1"),
            *(
                "batch_size=2",
                "epoch_it=4",
                "num_fft=64",
                "num_hop=32",
                "segment_seconds=0.5",
            ),
            *("corpora.paired=track_folders", "corpora.unpaired=track_folders"),
            "corpora.data_root={corpus}/songs/paired",
            "corpora.unpaired_root={corpus}/songs/unpaired",
        ),
        phase="semisup",
        closeness_db=120.0,
    ),
    "clustering_tiny": _clustering("tiny", (7, 129), 40.0),
    "clustering_tiny_mask_inference": _clustering(
        "tiny_mask_inference", (7, 129), 25.0
    ),
    "clustering_tiny_chimera": _clustering("tiny_chimera", (7, 129), 25.0),
    "clustering_tiny_tasnet": _clustering("tiny_tasnet", (2000,), 60.0),
    "clustering_tiny_conv_tasnet": _clustering(
        "tiny_conv_tasnet",
        (2000,),
        30.0,
        # The last block hands on its skip path alone.
        ("repeat0/block1/residual/kernel:0", "repeat0/block1/residual/bias:0"),
    ),
    "mixit_tiny": Case(
        network=lambda: mixit.model.Tdcn(MIXIT.model),
        training=lambda replicas: mixit.train.compiled(MIXIT_SMALL, replicas),
        example=_mixit_example,
        inputs=(2000,),
        separator=mixit.separate.separator,
        load=mixit.separate.load,
        small=lambda: (mixit.model.Tdcn(MIXIT_SMALL.model), MIXIT_SMALL),
        command=(
            *("mixit.train", "with", "tiny", "segment_seconds=0.5", "batch_size=4"),
            *("num_coeffs=16", "bottleneck=8", "conv_channels=16", "num_dilations=2"),
            *("num_repeats=1", "data_root={corpus}/fuss"),
        ),
    ),
    "unmix_tiny": Case(
        network=lambda: unmix.model.OpenUnmix(UNMIX.model),
        training=_unmix_training,
        example=_unmix_example,
        inputs=(2, 7, 513),
        separator=_unmix_separator,
        load=unmix.separate.load,
        small=lambda: (unmix.model.OpenUnmix(UNMIX_SMALL.model), UNMIX_SMALL),
        command=(
            *("unmix.train", "with", "tiny", "target=bass", "seq_dur=1"),
            *("hidden_size=8", "layers=1", "batch_size=2", "data_root={corpus}/musdb"),
        ),
        # The normalisation of the batch takes every constant away again.
        no_gradient=("input_mean:0",),
        closeness_db=40.0,
    ),
}


TRAININGS = {
    **MODELS,
    "adversarial_tiny_semisup": replace(
        MODELS["adversarial_tiny"],
        training=lambda replicas: _adversarial_training(replicas, "semisup"),
        example=_semi_supervised_example,
    ),
}
"""Every way to train one of the models."""


@pytest.fixture(params=MODELS)
def case(request):
    return MODELS[request.param]


ONE_A_PILLAR = ("adversarial_tiny", "clustering_tiny", "mixit_tiny", "unmix_tiny")
OTHERS = set(MODELS) - set(ONE_A_PILLAR)
EVERY_NETWORK = (
    "test_variables_are_those_of_the_committed_list",
    "test_forward_pass_is_golden",
    "test_checkpoints_of_earlier_releases_load",
)
"""Tests of the battery that the second lane runs on every network."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leave to one lane what other networks do in the same way on the second one."""
    for item in items:
        if item.path.name != "test_battery.py" or item.originalname in EVERY_NETWORK:
            continue
        given = item.callspec.params
        replicas = given.get("training_case", "mixit_tiny")
        if given.get("case") in OTHERS or replicas != "mixit_tiny":
            item.add_marker(pytest.mark.one_lane)


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.ci] if name in ONE_A_PILLAR else [])
        for name in MODELS
    ]
)
def killed_case(request):
    return MODELS[request.param]


@pytest.fixture(params=ONE_A_PILLAR)
def pillar_case(request):
    return MODELS[request.param]


# Of the networks that one class trains, all but one are slow.
MARKS = {
    "adversarial_tiny_semisup": [pytest.mark.slow, pytest.mark.ci],
    **{name: [pytest.mark.slow] for name in OTHERS},
}


@pytest.fixture(
    params=[pytest.param(name, marks=MARKS.get(name, [])) for name in TRAININGS]
)
def training_case(request):
    return TRAININGS[request.param]


# The first phase of adversarial is quick; unmix normalises by the moments of a batch.
@pytest.fixture(
    params=[
        pytest.param(name, marks=[] if name in ONE_A_PILLAR else [pytest.mark.slow])
        for name in TRAININGS
        if name != "unmix_tiny"
    ]
)
def accumulated_case(request):
    return TRAININGS[request.param]


@pytest.fixture
def name(request):
    return request.node.callspec.params["case"]


def _write_songs(folder, names):
    """Write songs of one second in folders of tracks."""
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).normal(0, 0.1, [2, 8192])
        (folder / name).mkdir(parents=True)
        sounds = {"vocals": noise[0], "accompaniment": noise[1], "mixture": sum(noise)}
        for role, sound in sounds.items():
            soundfile.write(folder / name / f"{role}.wav", sound, 8192, "FLOAT")


def _write_corpus(pillar, folder):
    """Write a corpus like that of the committed runs, with epochs of a moment."""
    if pillar == "mixit":
        sizes = {"train": 8, "validation": 3, "eval": 4}
        miniature.write_fuss(folder / "fuss", seconds=1.0, **sizes)
    elif pillar == "unmix":
        sizes = {"train": 3, "test": 1, "seconds": 1.0}
        miniature.write_musdb(folder / "musdb", sample_rate=8000, **sizes)
    elif pillar == "clustering":
        sizes = {"train": 6, "validation": 2, "test": 2}
        miniature.WRITERS["wsj0_2mix"](folder / "talkers", **sizes)
    else:
        for split, names in {"train": "abc", "valid": "d", "test": "e"}.items():
            _write_songs(folder / "songs" / "paired" / split, names)
        _write_songs(folder / "songs" / "unpaired", "xyz")


@pytest.fixture
def write_corpus():
    """Write the corpus of a package to a folder."""
    return _write_corpus


@pytest.fixture
def prepared_command(tmp_path, monkeypatch):
    """Write the corpus of a training; returns its module and words."""
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))

    def prepared_command(case, *more):
        module, *words = [*case.command, *more]
        _write_corpus(module.partition(".")[0], tmp_path)
        return [module, *(word.format(corpus=tmp_path) for word in words)]

    return prepared_command
