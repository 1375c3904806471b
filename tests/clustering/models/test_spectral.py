"""The networks on spectra against nussl, and properties of their own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clustering.foreign import nussl_file
from clustering.models import shapes
from clustering.models.spectral import FeatureStage, Head, SpectralNetwork, level
from common.training.checkpoint import CheckpointError

GOLDEN = Path(__file__).parents[2] / "golden" / "clustering"
STACK = shapes.Recurrent(hidden=12, layers=2, dropout=0.0)
BATCH = shapes.Features(33, norm="batch")
CHIMERA = shapes.Spectral(BATCH, STACK, embedding=5)


def golden(name):
    return np.load(GOLDEN / f"{name}.npz")


def weights(file):
    return {name[2:]: file[name] for name in file.files if name.startswith("w/")}


def close(ours, theirs):
    """2e-6 relative to the largest value."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6 * np.abs(theirs).max())


def noise(*shape, seed=0):
    draw = np.random.default_rng(seed).standard_normal(shape)
    return tf.constant(draw, tf.float32)


def nussl_chimera():
    file, model = golden("nussl_chimera"), SpectralNetwork(CHIMERA)
    nussl_file.assign(model, weights(file), "nussl_chimera")
    return file, model, tf.constant(file["in/mix_magnitude"][..., 0])


@pytest.mark.parametrize("program", ["__call__", "infer"])
def test_heads_of_nussl(program):
    file, model, magnitude = nussl_chimera()
    heads = getattr(model, program)(magnitude)
    embedding = tf.reshape(heads.embedding, [3, 20, 33, 5])
    close(embedding[:, ::10], file["eval/embedding"][..., 0, :])
    mask = file["eval/mask"][..., 0, :].transpose(0, 3, 1, 2)
    close(heads.mask[:, :, ::10], mask)


def test_each_head_alone_is_that_of_the_chimera():
    _, model, magnitude = nussl_chimera()
    heads = model(magnitude)
    for number, (name, other) in enumerate(
        [("embedding", "mask"), ("mask", "embedding")]
    ):
        alone = SpectralNetwork(CHIMERA, [name])
        file = weights(golden("nussl_chimera"))
        kept = {k: v for k, v in file.items() if f".{other}." not in k}
        nussl_file.assign(alone, kept, "nussl_chimera")
        np.testing.assert_array_equal(alone(magnitude), heads[number])
        np.testing.assert_allclose(alone.infer(magnitude), heads[number], atol=1e-5)


def test_batch_statistics_of_nussl():
    file, model, magnitude = nussl_chimera()
    model(magnitude, training=True)
    norm, name = model.stack.features.norm, "after/layers.normalization.batch_norm"
    close(norm.moving_mean, file[f"{name}.running_mean"][0])
    close(norm.moving_variance, file[f"{name}.running_var"][0])


def test_levels():
    magnitude = tf.constant([10.0, 1.0, 1e-3, 1e-9, 0.0])
    np.testing.assert_allclose(
        level(magnitude, "decibels"), [20, 0, -60, -80, -80], atol=1e-4
    )
    np.testing.assert_allclose(
        level(magnitude, "log"), np.log(np.float64(magnitude) + 1e-8), atol=1e-5
    )


def test_level_of_librosa():
    import librosa

    magnitude = np.abs(noise(2, 7, 5).numpy()) * np.float32([1.0, 1e-6])[:, None, None]
    magnitude[0, 0, 0] = 0.0
    for item, ours in zip(magnitude, level(magnitude, "librosa"), strict=True):
        theirs = librosa.amplitude_to_db(item, ref=1.0)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_features_of_mel_keep_the_bins_of_masks():
    import librosa

    features = shapes.Features(129, norm="none", mels=24, mel_rate=8000)
    magnitude = tf.abs(noise(2, 6, 129))
    filters = librosa.filters.mel(sr=8000, n_fft=256, n_mels=24)
    expected = (filters / filters.sum(1, keepdims=True)) @ magnitude[0].numpy().T
    actual = FeatureStage(features)(magnitude)
    np.testing.assert_allclose(actual[0], 20 * np.log10(expected.T), atol=1e-3)
    model = SpectralNetwork(shapes.Spectral(features, STACK), ["mask"])
    assert model(magnitude).shape == (2, 2, 6, 129)
    with pytest.raises(
        ValueError, match=r"mels=400: \d+ of these filters contain no bin"
    ):
        FeatureStage(replace(features, mels=400))


def test_gated_units_train_a_network():
    stack = replace(STACK, kind="gru")
    model = SpectralNetwork(shapes.Spectral(shapes.Features(33), stack), ["embedding"])
    magnitude = tf.abs(noise(2, 9, 33))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(magnitude, training=True) ** 2)
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert np.any(gradient)
    np.testing.assert_allclose(model.infer(magnitude), model(magnitude), atol=1e-5)


def test_instance_normalisation():
    magnitude = tf.exp(noise(3, 11, 5))
    plain = shapes.Features(5, "log", "none")
    features = FeatureStage(plain)(magnitude).numpy().astype(float)
    mean, variance = (f(features, (1, 2), keepdims=True) for f in (np.mean, np.var))
    close(
        FeatureStage(replace(plain, norm="instance"))(magnitude),
        (features - mean) / np.sqrt(variance + 1e-5),
    )


def test_silence_is_finite():
    model = SpectralNetwork(replace(CHIMERA, features=shapes.Features(33)))
    with tf.GradientTape() as tape:
        heads = model(tf.zeros([2, 9, 33]), training=True)
        loss = tf.reduce_sum(heads.embedding) + tf.reduce_sum(heads.mask)
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("activation", ["softmax", "l1_norm", "relu", "gated_tanh"])
def test_activations(activation):
    head = Head(4, 6, 3, [activation], name="mask")
    rows = noise(2, 5, 4)
    hidden = rows.numpy()
    if head.value is not None:
        gate = 1.0 / (1.0 + np.exp(-(hidden @ head.gate.kernel + head.gate.bias)))
        hidden = np.tanh(hidden @ head.value.kernel + head.value.bias) * gate
    expected = (hidden @ head.linear.kernel.numpy()).reshape(2, 5, 6, 3)
    if activation == "softmax":
        expected = np.exp(expected) / np.exp(expected).sum(-1, keepdims=True)
    if activation == "l1_norm":
        expected = expected / np.abs(expected).sum(-1, keepdims=True)
    if activation == "relu":
        expected = np.maximum(expected, 0.0)
    np.testing.assert_allclose(head(rows), expected, rtol=1e-4, atol=1e-6)


def test_start_of_nussl():
    model = SpectralNetwork(replace(CHIMERA, recurrent=shapes.Recurrent(40, 1)))
    bias = model.stack.recurrent.cells[0][0].bias.numpy()
    np.testing.assert_array_equal(bias, np.repeat([0.0, 1.0, 0.0, 0.0], 40))
    kernel = model.embedding.linear.kernel.numpy()
    assert np.std(kernel) == pytest.approx((2 / (80 + 165)) ** 0.5, rel=0.03)
    assert not np.any(model.embedding.linear.bias)


def test_dropout_in_training_only():
    shape = shapes.Spectral(shapes.Features(33), replace(STACK, dropout=0.4))
    model = SpectralNetwork(shape, ["embedding"])
    magnitude = tf.abs(noise(2, 9, 33))
    np.testing.assert_array_equal(model(magnitude), model(magnitude))
    first, second = (model(magnitude, training=True).numpy() for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


def test_one_function_for_every_length():
    model, traces = SpectralNetwork(CHIMERA), []

    @tf.function(input_signature=[tf.TensorSpec([None, None, 33])], autograph=False)
    def heads(magnitude):
        traces.append(magnitude)
        return model(magnitude)

    for shape in ((1, 1, 33), (3, 20, 33)):
        magnitude = tf.abs(noise(*shape))
        actual, expected = heads(magnitude), model(magnitude)
        np.testing.assert_allclose(actual.embedding, expected.embedding, atol=1e-5)
        np.testing.assert_allclose(actual.mask, expected.mask, atol=1e-5)
    assert len(traces) == 1
    assert actual.embedding.shape[-1] == 5


def test_names_of_variables():
    names = [variable.name for variable in SpectralNetwork(CHIMERA).weights]
    assert len(set(names)) == len(names)
    assert {"features/norm/gamma:0", "embedding/linear/kernel:0"} < set(names)
    assert "recurrent/layer1/backward/recurrent_kernel:0" in names


def test_tensors_that_do_not_fit():
    model, file = SpectralNetwork(CHIMERA), weights(golden("nussl_chimera"))
    file["layers.more"] = file.pop("layers.mask.linear.bias")
    file["layers.embedding.linear.bias"] = np.zeros(3, np.float32)
    file["layers.mask.linear.weight"] = np.full((66, 24), np.nan, np.float32)
    with pytest.raises(CheckpointError, match="4 tensors do not fit") as error:
        nussl_file.assign(model, file, "model.pth")
    for problem in ("missing layers.mask", "extra layers.more", "misshapen", "finite"):
        assert problem in str(error.value)
