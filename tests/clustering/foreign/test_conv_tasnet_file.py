"""Files of asteroid and torchaudio as our network, which gives their estimates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering import convert, separate, weights
from clustering.foreign import conv_tasnet_file
from clustering.foreign.float64 import waveform_reference
from clustering.light import levelled
from clustering.models.shapes import ConvTasnet, Filterbank
from common.training.checkpoint import CheckpointError
from common.weights import torch_file

GOLDEN = Path(__file__).parents[2] / "golden" / "clustering" / "published"
NOISY = ConvTasnet(Filterbank(8, 16, 8), 4, 6, 5, blocks=2, repeats=2)
CAUSAL = replace(
    NOISY, norm="cgLN", mask_activation="sigmoid", causal=True, encoder_relu=True
)
TORCHAUDIO = ConvTasnet(Filterbank(6, 16, 8), 3, 4, 3, blocks=8, repeats=1, padding=8)
FILES = {
    "noisy": ("asteroid_noisy.pth", NOISY, 8000),
    "causal": ("asteroid_causal.pth", CAUSAL, 16000),
    "torchaudio": ("torchaudio.pt", TORCHAUDIO, None),
}
CASES = pytest.mark.parametrize("case", FILES)


def content(case="noisy"):
    return torch_file.read(GOLDEN / FILES[case][0])


def reference(case):
    with np.load(GOLDEN / "reference.npz") as file:
        return file["long_sound" if case == "torchaudio" else "sound"], file[case]


def whole(sound, shape):
    """Fill up the last frame of a padded network, as torchaudio and we do."""
    missing = -sound.shape[-1] % shape.filterbank.stride if shape.padding else 0
    return np.pad(sound, [(0, 0), (0, missing)])


def refused(tmp_path, values, match):
    path = tmp_path / "model.pth"
    torch_file.write(path, values)
    with pytest.raises(ValueError, match=match) as error:
        weights.restore(path, 8000)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def changed(**args):
    values = content()
    values.pop("infos")
    return values | {"model_args": values["model_args"] | args}


@CASES
def test_estimates_are_those_of_the_original(case):
    name, shape, rate = FILES[case]
    model = conv_tasnet_file.load(GOLDEN / name)
    assert (model.network.config, model.sample_rate) == (shape, rate)
    sound, estimates = reference(case)
    ours = model.network(tf.constant(whole(sound, shape))).numpy()
    ours = ours[..., : sound.shape[-1]]
    np.testing.assert_allclose(ours, estimates, atol=1e-5 * abs(estimates).max())
    assert convert.check(model, 200) < 1e-5


@CASES
def test_float64_is_that_of_the_original(case):
    sound, estimates = reference(case)
    model = conv_tasnet_file.load(GOLDEN / FILES[case][0])
    ours = waveform_reference(model, whole(sound, model.network.config))
    ours = ours[..., : sound.shape[-1]]
    np.testing.assert_allclose(ours, estimates, atol=1e-5 * abs(estimates).max())


@pytest.mark.one_lane
def test_a_run_folder_separates_as_the_file(tmp_path, capsys):
    source, run = str(GOLDEN / "torchaudio.pt"), tmp_path / "run"
    assert convert.main([source, str(run)]) == 1
    assert "give that of the training with --sample-rate HZ" in capsys.readouterr().err
    assert convert.main([source, str(run), "--sample-rate", "8000"]) == 0
    assert "conv_tasnet, 8000 Hz, frames of 16 every 8" in capsys.readouterr().out
    sound, estimates = reference("torchaudio")
    stems = separate.load(run)(sound)
    ours = np.stack([*stems.values()], axis=1)
    expected = levelled(estimates, sound)
    np.testing.assert_allclose(ours, expected, atol=1e-5 * abs(expected).max())


def test_weights_that_differ_are_noticed():
    model = conv_tasnet_file.load(GOLDEN / "asteroid_noisy.pth")
    model.network.mask.bias.assign_add(tf.ones_like(model.network.mask.bias))
    with pytest.raises(CheckpointError, match=r"in float64, by .* was not restored"):
        convert.check(model)


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ({"depth": 3}, "it has the unknown argument depth"),
        ({"n_src": 0}, "n_src=0; expected a whole number above 0"),
        ({"norm_type": "BN"}, "norm_type=BN; expected gLN or cLN"),
        ({"mask_act": "prelu"}, "mask_act=prelu; expected linear or relu"),
        ({"fb_name": "STFTFB"}, "fb_name=STFTFB; expected free"),
        ({"out_chan": 5}, "out_chan=5; expected None"),
        ({"sample_rate": "8k"}, "sample_rate=8k; expected a number of Hz"),
        ({"conv_kernel_size": 2}, "expected an odd number"),
        ({"n_filters": 9, "in_chan": 9, "out_chan": 9}, "misshapen encoder"),
        ({"n_blocks": 1}, r"extra masker\.TCN\.2\.shared_block"),
        ({"skip_chan": 0}, "extra masker.TCN.0.skip_conv"),
        ({"sample_rate": 16000}, "--sample-rate 8000: expected 16000"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, args, match):
    values = changed(**args)
    if "16000" in match:
        torch_file.write(tmp_path / "model.pth", values)
        with pytest.raises(CheckpointError, match=match):
            weights.restore(tmp_path / "model.pth", 8000)
        return
    refused(tmp_path, values, match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model_name": "DPRNNTasNet"}, "it is the network DPRNNTasNet of asteroid"),
        ({"model_args": None}, "it lacks model_args or state_dict"),
        ({"model_args": {"n_src": 2}}, "it lacks the argument n_filters"),
        ({"state_dict": {}}, "missing encoder.filterbank._filters"),
    ],
)
def test_files_of_other_networks(tmp_path, change, match):
    refused(tmp_path, changed() | change, match)


@pytest.mark.parametrize("name", ["encoder.weight", "mask_generator.output_conv.bias"])
def test_tensors_of_torchaudio_that_do_not_fit(tmp_path, name):
    tensors = content("torchaudio")
    refused(tmp_path, {**tensors, name: np.ones([2, 2], np.float32)}, name)
    infinite = np.full_like(tensors[name], np.inf)
    refused(tmp_path, {**tensors, name: infinite}, f"not finite: {name}")


def test_blocks_of_torchaudio_come_in_whole_repeats(tmp_path):
    tensors = content("torchaudio")
    fewer = {n: t for n, t in tensors.items() if "conv_layers.7." not in n}
    refused(tmp_path, fewer, "it has 7 blocks .* expected whole repeats of 8")


def test_tensors_of_asteroid_without_a_description(tmp_path):
    state = content()["state_dict"]
    lightning = {f"model.{name}": tensor for name, tensor in state.items()}
    for values in (state, {"state_dict": lightning}):
        refused(tmp_path, values, "tensors of asteroid without model_name and")
    chimera = {**state, "masker.embedding_layer.weight": np.ones((2, 3), np.float32)}
    refused(tmp_path, chimera, "it is the chimera network of asteroid's recipe")


def test_a_causal_network_of_another_normalisation_takes_that_of_asteroid(tmp_path):
    values = content("causal") | {"infos": {}}
    values["model_args"]["norm_type"] = "gLN"
    torch_file.write(tmp_path / "model.pth", values)
    actual = conv_tasnet_file.load(tmp_path / "model.pth")
    assert actual.network.config.norm == "cLN"
