"""Complete configurations by name: published rows, and small ones for tests.

Each family has a common configuration and a table of rows. Values that a publication
does not state are the defaults of :class:`ClusteringConfig`. The corpora
of the papers and of nussl's experiments are licensed: name yours by ``data_root``.

[1] Hershey, Chen, Le Roux, Watanabe: Deep clustering, ICASSP 2016.
[2] Wang, Le Roux, Hershey: Alternative objective functions for deep clustering, ICASSP
    2018.
[3] Luo, Chen, Hershey, Le Roux, Mesgarani: Deep clustering and conventional networks
    for music separation, ICASSP 2017.
[4] Seetharaman, Wichern, Pardo, Le Roux: AutoClip, MLSP 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from clustering.config import Clustering, ClusteringConfig, Loss
from clustering.models.shapes import (
    ConvTasnet,
    Features,
    Filterbank,
    Recurrent,
    Spectral,
    Tasnet,
)
from common.training.schedule import Schedule

Presets = Mapping[str, ClusteringConfig]

# The scale of the spectra makes an error of magnitudes some thousand times smaller than
# that of an embedding, and its gradient no larger than what Adam adds to its divisor:
# masks alone need a weight too. At full level 1000, as in nussl's recipe, is too much.
BOTH = Loss(inference=100.0)
WAVEFORM = Loss(inference_kind="si_sdr")
VOCALS = ("vocals", "drums+bass+other")

# The networks, without published training.
DPCL = ClusteringConfig()
NETWORKS: Presets = {
    "dpcl": DPCL,
    "mask_inference": replace(DPCL, kind="mask_inference", loss=BOTH),
    "chimera": replace(DPCL, kind="chimera", loss=BOTH),
    "tasnet": replace(DPCL, kind="tasnet", loss=WAVEFORM),
    "conv_tasnet": replace(DPCL, kind="conv_tasnet", loss=WAVEFORM),
}

# Networks of nussl 1.x and [1, 2, 4]: 32 ms frames at 8 kHz, excerpts of 400 of them.
LARGE = ClusteringConfig(
    train=Schedule(epochs=100, steps_per_epoch=0),
    spectral=Spectral(
        features=Features(bins=129, norm="batch"),
        recurrent=Recurrent(hidden=600, layers=4, dropout=0.3),
        embedding=20,
        embedding_activation=("sigmoid", "unit_norm"),
        mask_activation=("sigmoid",),
    ),
    loss=Loss(target="msa"),
    cluster=Clustering(percentile=90.0),
    sample_rate=8000,
    window_samples=256,
    hop_samples=64,
    segment_seconds=3.2,
    batch_size=25,
    lr=1e-3,
    patience=100,
)
PAPERS: Presets = {
    # [1], without the noise that it adds to its input. Its learning rate is for a loss
    # that grows with the number of points, as "active" does.
    "dpcl_paper": replace(
        LARGE,
        spectral=replace(
            LARGE.spectral,
            features=Features(bins=129),
            recurrent=Recurrent(hidden=600, layers=2, dropout=0.0),
            embedding=40,
            embedding_activation=("tanh", "unit_norm"),
        ),
        loss=Loss(clustering_kind="active", weights=("vad",)),
        cluster=Clustering(percentile=0.0, within_db=40.0, mask="binary"),
        segment_seconds=0.8,
        optimizer="sgd",
        lr=1e-5,
    ),
    # [2]: 0.975 of the embedding, whose weight fits one normalisation only.
    "chimera_paper": replace(LARGE, kind="chimera", loss=Loss(0.975, inference=25.0)),
    # [3], with features on the scale of mel.
    "chimera_music": replace(
        DPCL,
        kind="chimera",
        spectral=Spectral(
            features=Features(bins=513, mels=150),
            recurrent=Recurrent(hidden=500, layers=4, dropout=0.0),
            embedding=20,
        ),
        loss=BOTH,
        window_samples=1024,
        hop_samples=256,
        dataset="musdb",
        sources=VOCALS,
        resample=True,
    ),
}

# Experiments for nussl before 1.0, without early stopping. An epoch has each of the
# 20,000 mixtures once.
COOKIECUTTER = ClusteringConfig(
    train=Schedule(epochs=100, steps_per_epoch=500),
    spectral=Spectral(
        features=Features(bins=257, level="librosa"),
        recurrent=Recurrent(hidden=300, layers=4, dropout=0.3),
        embedding=20,
        embedding_activation=("tanh",),
        mask_activation=("softmax",),
    ),
    loss=Loss(clustering_kind="batch", inference_kind="mse"),
    cluster=Clustering(percentile=95.0, mask="posterior", weighted=True),
    frontend="nussl_old",
    dataset="musdb",
    sources=VOCALS,
    resample=True,
    patience=100,
)
COOKIECUTTER_WHAM = replace(
    COOKIECUTTER,
    train=Schedule(epochs=80, steps_per_epoch=0),
    cluster=replace(COOKIECUTTER.cluster, percentile=90.0),
    sample_rate=8000,
    dataset="wham",
    sources=(),
    resample=False,
    segment_seconds=6.4,
    batch_size=20,
    lr=1e-3,
    patience=80,
)
COOKIECUTTERS: Presets = {
    "seed001": replace(COOKIECUTTER, mixing="random"),
    "cookiecutter_musdb": COOKIECUTTER,
    "cookiecutter_wham_dpcl": COOKIECUTTER_WHAM,
    "cookiecutter_wham_mi": replace(COOKIECUTTER_WHAM, kind="mask_inference"),
    "cookiecutter_speech_commands": replace(
        COOKIECUTTER,
        spectral=replace(
            COOKIECUTTER.spectral,
            features=Features(bins=65, level="librosa"),
            recurrent=Recurrent(hidden=300, layers=4, bidirectional=False, dropout=0.3),
        ),
        cluster=replace(COOKIECUTTER.cluster, percentile=90.0),
        window_samples=128,
        hop_samples=64,
        dataset="scaper",
        sources=(),
        resample=False,
        segment_seconds=0.4,
        lr=1e-3,
    ),
}

NUSSL = replace(LARGE, dataset="wham", clip_norm=1e-2)
RECIPES: Presets = {
    "nussl_wham_dpcl": NUSSL,
    "nussl_wham_mi": replace(NUSSL, kind="mask_inference", clip_norm=2e-5),
    "nussl_wham_chimera": replace(
        NUSSL, kind="chimera", loss=Loss(inference=1000.0, target="msa")
    ),
}

# [4] weighs the masks by 0.75 against a loss of the embedding that is half of ours.
AUTOCLIP = replace(LARGE, clip_percentile=10.0)
AUTOCLIP_MASKS = replace(AUTOCLIP, kind="mask_inference")
AUTOCLIPS: Presets = {
    "autoclip_dc": AUTOCLIP,
    "autoclip_wkm": replace(AUTOCLIP, loss=Loss(1.0, "whitened", target="msa")),
    "autoclip_mi": AUTOCLIP_MASKS,
    "autoclip_mi_wkm": replace(
        AUTOCLIP, kind="chimera", loss=Loss(0.125, "whitened", 0.75, target="msa")
    ),
    "autoclip_snr": replace(
        AUTOCLIP_MASKS, loss=Loss(inference_kind="snr"), segment_seconds=3.192
    ),
}

ASTEROID_CHIMERA = ClusteringConfig(
    train=Schedule(epochs=200, steps_per_epoch=0),
    kind="chimera",
    spectral=Spectral(
        features=Features(bins=129, level="log", norm="none"),
        recurrent=Recurrent(
            hidden=600,
            layers=4,
            dropout=0.3,
            initial="uniform",
            forget_bias=None,
            dropout_last=True,
        ),
        embedding=40,
        embedding_activation=("tanh", "unit_norm"),
        mask_activation=("sigmoid",),
    ),
    loss=Loss(1.0, "active", 0.0, "mse", target="irm", weights=("vad",)),
    # Points that asteroid does not cluster are in all of its masks, here in one mask.
    cluster=Clustering(percentile=0.0, within_db=40.0, mask="binary"),
    sample_rate=8000,
    window_samples=256,
    hop_samples=64,
    frontend="asteroid",
    segment_seconds=4.0,
    batch_size=32,
    optimizer="rmsprop",
    lr=1e-4,
    clip_norm=200.0,
    patience=30,
)
ASTEROID_TASNET = replace(
    ASTEROID_CHIMERA,
    kind="tasnet",
    spectral=DPCL.spectral,
    loss=WAVEFORM,
    frontend="nussl",
    dataset="wham",
    optimizer="adam",
    lr=1e-3,
    weight_decay=1e-5,
    clip_norm=5.0,
)
ASTEROIDS: Presets = {
    "asteroid_wsj0_chimera": ASTEROID_CHIMERA,
    "asteroid_whamr_tasnet": ASTEROID_TASNET,
    "asteroid_wham_convtasnet": replace(
        ASTEROID_TASNET,
        kind="conv_tasnet",
        batch_size=8,
        weight_decay=0.0,
    ),
}

# Small networks for two speakers at 8 kHz, on the miniature.
TINY = ClusteringConfig(
    train=Schedule(epochs=15, steps_per_epoch=100, checkpoint_steps=100, log_steps=20),
    spectral=Spectral(
        features=Features(bins=129),
        recurrent=Recurrent(hidden=96, layers=2, dropout=0.0),
        embedding_activation=("tanh", "unit_norm"),
        mask_activation=("sigmoid",),
    ),
    cluster=Clustering(percentile=80.0),
    sample_rate=8000,
    window_samples=256,
    hop_samples=64,
    segment_seconds=0.8,
    batch_size=16,
    lr=1e-3,
)
TINIES: Presets = {
    "tiny": TINY,
    "tiny_mask_inference": replace(TINY, kind="mask_inference", loss=BOTH),
    "tiny_chimera": replace(TINY, kind="chimera", loss=BOTH),
    "tiny_tasnet": replace(
        TINY,
        kind="tasnet",
        loss=WAVEFORM,
        tasnet=Tasnet(
            Filterbank(64, 40, 20), Recurrent(64, 2, dropout=0.0, forget_bias=None)
        ),
    ),
    "tiny_conv_tasnet": replace(
        TINY,
        kind="conv_tasnet",
        loss=WAVEFORM,
        conv_tasnet=ConvTasnet(
            Filterbank(64, 16, 8),
            bottleneck=32,
            hidden=64,
            skip=32,
            blocks=5,
            repeats=2,
        ),
    ),
}

PRESETS: Presets = {
    **NETWORKS,
    **PAPERS,
    **COOKIECUTTERS,
    **RECIPES,
    **AUTOCLIPS,
    **ASTEROIDS,
    **TINIES,
}
