"""The peers' learners of the duels, which ``duels.py`` starts; see ``duel_data.race``.

Networks, losses and optimizers are their own. Each runs in the environment of its peer.
``exact`` asks for float64, to tell rounding from a difference.
"""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path
from typing import Any

import duel_data as data
import numpy as np
from duel_data import CLIP, LR, TARGET, Learner

SIZES = {"n_filters": 64, "kernel_size": 32, "stride": 16, "bn_chan": 32}
SIZES |= {"hid_chan": 64, "skip_chan": 32, "n_blocks": 4, "n_repeats": 2}
HIDDEN, LAYERS, DIM, BINS = 64, 2, 20, 129
OUTPUTS, COEFFICIENTS, WIDTH, CHANNELS, BLOCKS, REPEATS = 4, 128, 64, 128, 6, 2


def their_conv_tasnet(folder: Path, seed: int, exact: bool = False) -> Learner:
    """Conv-TasNet of asteroid, as its recipe for WHAM! trains it."""
    torch = _torch(seed)
    from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
    from asteroid.models import ConvTasNet

    model = ConvTasNet(n_src=2, mask_act="relu", sample_rate=data.RATE, **SIZES)
    # Its serialize() does the same, but imports packages for their versions.
    content = {"model_name": "ConvTasNet", "model_args": model.get_model_args()}
    content["state_dict"] = model.state_dict()
    torch.save(content, folder / f"conv_tasnet {seed}.pth")
    real = torch.float64 if exact else torch.float32
    model = model.to(real)
    loss = PITLossWrapper(pairwise_neg_sisdr, pit_from="pw_mtx")
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    batches, valid = data.read(folder, "speech", seed)

    def step(batch: np.ndarray) -> float:
        sources = torch.from_numpy(batch).to(real)
        optimizer.zero_grad()
        value = loss(model(sources.sum(1)), sources)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return value.item()

    def score() -> float:
        with torch.no_grad():
            return data.improvement(
                model(torch.from_numpy(valid.sum(1))).numpy(), valid
            )

    return Learner(step, score, batches)


def their_deep_clustering(folder: Path, seed: int, exact: bool = False) -> Learner:
    """Deep clustering of nussl, from spectra and targets that are made before."""
    torch = _torch(seed)
    import nussl

    build = nussl.ml.networks.builders.build_recurrent_dpcl
    activations = ["sigmoid", "unit_norm"]
    model = nussl.ml.SeparationModel(
        build(BINS, HIDDEN, LAYERS, True, 0.0, DIM, activations)
    )
    model.save(str(folder / f"deep_clustering {seed}.pth"))
    real = torch.float64 if exact else torch.float32
    model = model.to(real)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    losses = {"DeepClusteringLoss": {"weight": 1.0}}
    closure = nussl.ml.train.closures.TrainClosure(losses, optimizer, model)
    _, valid = data.read(folder, "speech", seed)
    with np.load(folder / "speech.npz") as sounds:
        items = [nussl_item(sources) for sources in sounds["train"]]
    held_out = torch.stack([nussl_item(sources)["mix_magnitude"] for sources in valid])
    rows = np.load(folder / f"speech, order {seed}.npy")
    batches = (
        {
            name: torch.stack([items[index][name] for index in row]).to(real)
            for name in items[0]
        }
        for row in rows
    )

    def score() -> float:
        model.eval()
        with torch.no_grad():
            points = model({"mix_magnitude": held_out})["embedding"].numpy()
        points = points.reshape(len(points), -1, DIM)
        return data.improvement(data.clustered(points, valid.sum(1)), valid)

    return Learner(lambda batch: closure(None, batch)["loss"], score, batches)


def nussl_item(sources: np.ndarray) -> Any:
    """Make spectra and targets of sources [2, samples] by the transforms of nussl."""
    import nussl
    import torch

    params = nussl.STFTParams(window_length=256, hop_length=64, window_type="sqrt_hann")
    signals = {
        f"s{number}": nussl.AudioSignal(
            audio_data_array=wave[None], sample_rate=data.RATE, stft_params=params
        )
        for number, wave in enumerate(sources)
    }
    mix = nussl.AudioSignal(
        audio_data_array=sources.sum(0)[None], sample_rate=data.RATE, stft_params=params
    )
    transforms = nussl.datasets.transforms
    made = transforms.Compose(
        [
            transforms.MagnitudeSpectrumApproximation(),
            transforms.MagnitudeWeights(),
            transforms.ToSeparationModel(),
        ]
    )
    item = made({"mix": mix, "sources": signals})
    names = "mix_magnitude", "ideal_binary_mask", "weights"
    return {name: torch.as_tensor(item[name]).float() for name in names}


def their_open_unmix(folder: Path, seed: int, exact: bool = False) -> Learner:
    """Open-Unmix as the script of openunmix trains it."""
    torch = _torch(seed)
    import openunmix.transforms
    import openunmix.utils

    weights = str(folder / f"open_unmix {seed}")
    network: Any = openunmix.utils.load_target_models([TARGET], weights)[TARGET]
    for parameter in network.parameters():
        parameter.requires_grad = True
    network.lstm.dropout = 0.0
    real = torch.float64 if exact else torch.float32
    network = network.to(real)
    transform, _ = openunmix.transforms.make_filterbanks(1024, 512, sample_rate=16000)
    encoder = torch.nn.Sequential(
        transform, openunmix.transforms.ComplexNorm(mono=False)
    ).to(real)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR, weight_decay=1e-5)
    batches, valid = data.read(folder, "music", seed)

    def magnitudes(batch: np.ndarray) -> list[Any]:
        parts = (torch.from_numpy(batch[:, part].copy()) for part in (0, 1))
        return [encoder(waves.to(real)) for waves in parts]

    mixture, target = magnitudes(valid)

    def step(batch: np.ndarray) -> float:
        network.train()
        optimizer.zero_grad()
        sounds, expected = magnitudes(batch)
        loss = torch.nn.functional.mse_loss(network(sounds), expected)
        loss.backward()
        optimizer.step()
        return loss.item()

    def score() -> float:
        network.eval()
        with torch.no_grad():
            return data.magnitude_snr(network(mixture).numpy(), target.numpy())

    return Learner(step, score, batches)


def their_mixit(folder: Path, seed: int, exact: bool = False) -> Learner:
    """Mixture invariant training by the TDCN++, the search and the rule of asteroid."""
    torch = _torch(seed)
    from asteroid.dsp.consistency import mixture_consistency
    from asteroid.losses import MixITLossWrapper
    from asteroid.masknn.convolutional import TDConvNetpp
    from asteroid_filterbanks import make_enc_dec

    encoder, decoder = make_enc_dec("free", COEFFICIENTS, 64, 32)
    shape = (BLOCKS, REPEATS, WIDTH, CHANNELS, WIDTH)
    masker = TDConvNetpp(COEFFICIENTS, OUTPUTS, None, *shape, mask_act="sigmoid")
    model = torch.nn.ModuleList([encoder, masker, decoder])
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    batches, valid = data.read(folder, "speech", seed)

    def separate(mixture: Any) -> Any:
        coefficients = torch.relu(encoder(mixture[:, None]))
        masks, shares = masker(coefficients)
        estimates = decoder(masks * coefficients[:, None])
        missing = mixture.shape[-1] - estimates.shape[-1]
        estimates = torch.nn.functional.pad(estimates, [0, missing])
        return mixture_consistency(mixture, estimates, shares[..., None])

    def loss_of_parts(estimates: Any, references: Any) -> Any:
        # Saturates at 30 dB and has no constant, as in Google's program.
        error = ((references - estimates) ** 2).sum(-1)
        floor = 1e-3 * (references**2).sum(-1) + 1e-8
        return 10 * torch.log10(error + floor).mean(-1)

    criterion = MixITLossWrapper(loss_of_parts, generalized=True)

    def step(batch: np.ndarray) -> float:
        references = torch.from_numpy(batch).sum(1).unflatten(0, [-1, 2])
        optimizer.zero_grad()
        estimates = separate(references.sum(1))
        loss = criterion(estimates, references)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss.item()

    def score() -> float:
        with torch.no_grad():
            estimates = separate(torch.from_numpy(valid.sum(1))).numpy()
        return data.improvement(estimates, valid)

    first = next(batches).sum(1).reshape(2, 2, -1)
    references = torch.from_numpy(first)
    with torch.no_grad():
        estimates = separate(references.sum(1))
        same = criterion(estimates, references).item()
    np.savez(
        folder / f"mixit {seed}.npz", references=first, estimates=estimates.numpy()
    )
    return Learner(step, score, batches, same)


LEARNERS = {
    "conv_tasnet": their_conv_tasnet,
    "deep_clustering": their_deep_clustering,
    "open_unmix": their_open_unmix,
    "mixit": their_mixit,
}


def _torch(seed: int) -> Any:
    """Import torch; no learner reads files, for which the peers need torchaudio."""
    warnings.simplefilter("ignore")
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return torch


if __name__ == "__main__":
    data.play(LEARNERS)
