"""The recurrent stack against Open-Unmix, a loop in float64 and derived gradients."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common.layers import lstm_cudnn, lstm_inference, lstm_training
from common.layers.recurrent import RecurrentStack
from common.signal.stft import Stft, stft

ANY = tf.TensorSpec([None, None, 5])
GOLDEN = Path(__file__).resolve().parents[2] / "golden/unmix/recurrent.npz"


def sigmoid(values):
    return 1.0 / (1.0 + np.exp(-values))


def run_direction(inputs, weights):
    """Run [batch, frames, inputs] through one LSTM, frame by frame, in float64."""
    kernel, recurrent, bias, recurrent_bias = (np.float64(w) for w in weights)
    output = cell = np.zeros([len(inputs), recurrent.shape[0]])
    outputs = []
    for frame in np.moveaxis(inputs, 1, 0):
        gates = frame @ kernel + bias + output @ recurrent + recurrent_bias
        enter, forget, new, leave = np.split(gates, 4, axis=1)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
        output = sigmoid(leave) * np.tanh(cell)
        outputs.append(output)
    return np.stack(outputs, axis=1)


def run_stack(stack, inputs):
    """Run all layers and directions in float64."""
    for cells in stack.cells:
        outputs = [run_direction(inputs, cells[0].get_weights())]
        for cell in cells[1:]:
            backward = run_direction(inputs[:, ::-1], cell.get_weights())
            outputs.append(backward[:, ::-1])
        inputs = np.concatenate(outputs, axis=-1)
    return inputs


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make(inputs, units, seed=1, scale=2.0, **options):
    """Make a stack whose weights are large enough to matter."""
    keras.utils.set_random_seed(seed)
    stack = RecurrentStack(inputs, units, **options)
    for weight in stack.trainable_weights:
        weight.assign(weight * scale)
    return stack


@pytest.mark.parametrize("program", ["call", "infer"])
def test_open_unmix(program):
    """The rest of its network stands here in numpy, in float64."""
    golden = np.load(GOLDEN)
    stack = RecurrentStack(16, 8, layers=3)
    for layer, cells in enumerate(stack.cells):
        for suffix, cell in zip(("", "_reverse"), cells, strict=True):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            tensors = [golden[f"lstm.{name}_l{layer}{suffix}"].T for name in names]
            cell.set_weights(tensors)
    params = Stft(window_samples=128, hop_samples=32, padding="reflect")
    magnitude = np.abs(stft(tf.constant(golden["audio"][0]), params)).astype(float)
    channels, frames, bins = magnitude.shape
    seen = magnitude[..., : len(golden["input_mean"])] + golden["input_mean"]
    seen = np.swapaxes(seen * golden["input_scale"], 0, 1).reshape(frames, -1)

    def normalised(rows, name):
        deviation = np.sqrt(np.float64(golden[f"{name}.running_var"]) + 1e-5)
        rows = (rows - golden[f"{name}.running_mean"]) / deviation
        return rows * golden[f"{name}.weight"] + golden[f"{name}.bias"]

    hidden = np.tanh(normalised(seen @ golden["fc1.weight"].T, "bn1"))
    recurrent = getattr(stack, program)(tf.constant(hidden[None], tf.float32))[0]
    joined = np.concatenate([hidden, recurrent], axis=1) @ golden["fc2.weight"].T
    decoded = np.maximum(normalised(joined, "bn2"), 0) @ golden["fc3.weight"].T
    mask = normalised(decoded, "bn3").reshape(frames, channels, bins)
    mask = np.maximum(mask * golden["output_scale"] + golden["output_mean"], 0)
    estimate = np.moveaxis(mask, 0, 1) * magnitude
    expected = np.swapaxes(golden["spectrogram"][0], 1, 2)
    np.testing.assert_allclose(estimate, expected, atol=1e-5)


@pytest.mark.parametrize(("bidirectional", "layers"), [(True, 3), (False, 2)])
def test_training_path_is_the_formula(bidirectional, layers):
    stack = make(5, 6, layers=layers, bidirectional=bidirectional)
    graph = tf.function(stack, input_signature=[ANY], autograph=False)
    for batch, frames in ((1, 1), (3, 2), (1, 17), (4, 33), (2, 300)):
        inputs = noise(batch, frames, 5)
        expected = run_stack(stack, inputs)
        np.testing.assert_allclose(graph(inputs), expected, atol=1e-6)
    assert graph.get_concrete_function().outputs[0].shape[-1] == expected.shape[-1]


@pytest.mark.parametrize("bidirectional", [True, False])
def test_inference_path_is_the_training_path(bidirectional):
    stack = make(5, 6, layers=2, bidirectional=bidirectional, dropout=0.5)
    graph = tf.function(stack, input_signature=[ANY], autograph=False)
    fast = tf.function(stack.infer, input_signature=[ANY], autograph=False)
    for batch, frames in ((1, 1), (1, 257), (3, 530), (1, 512)):
        inputs = noise(batch, frames, 5)
        expected = graph(inputs)
        np.testing.assert_allclose(stack.infer(inputs), expected, atol=1e-6)
        np.testing.assert_allclose(fast(inputs), expected, atol=1e-6)


def test_inference_without_xla(monkeypatch):
    stack = make(5, 6, layers=2)
    inputs = noise(2, 40, 5)
    expected = run_stack(stack, inputs)
    monkeypatch.setattr(lstm_inference, "direction", None)
    monkeypatch.setattr(lstm_inference, "compiles", lambda: False)
    infer = tf.function(stack.infer, autograph=False)
    np.testing.assert_allclose(infer(inputs), expected, atol=1e-6)


def test_one_program_serves_all_layers_directions_networks_and_lengths(monkeypatch):
    fresh = tf.function(
        lstm_inference.block.python_function, jit_compile=True, autograph=False
    )
    monkeypatch.setattr(lstm_inference, "block", fresh)
    lstm_inference._program.cache_clear()  # other tests have traced the same widths
    for seed, frames in enumerate((100, 256, 700)):
        stack = make(8, 4, layers=3, seed=seed)
        inputs = noise(1, frames, 8)
        expected = run_stack(stack, inputs)
        np.testing.assert_allclose(stack.infer(inputs), expected, atol=1e-6)
    assert fresh.experimental_get_tracing_count() == 1


def scanned(stack, inputs):
    """Run the stack by tf.scan, whose gradient TensorFlow derives."""
    signal = tf.transpose(inputs, [1, 0, 2])
    for cells in stack.cells:
        outputs = []
        for reverse, cell in enumerate(cells):

            def frame(state, seen, cell=cell):
                gates = seen @ cell.kernel + cell.bias
                gates += state[0] @ cell.recurrent_kernel + cell.recurrent_bias
                enter, forget, new, leave = tf.split(gates, 4, axis=1)
                kept = tf.sigmoid(forget) * state[1]
                kept += tf.sigmoid(enter) * tf.tanh(new)
                return tf.sigmoid(leave) * tf.tanh(kept), kept

            zero = tf.zeros([tf.shape(inputs)[0], stack.units])
            states = tf.scan(frame, signal, (zero, zero), reverse=bool(reverse))
            outputs.append(states[0])
        signal = tf.concat(outputs, axis=-1)
    return tf.transpose(signal, [1, 0, 2])


@pytest.mark.parametrize("bidirectional", [True, False])
def test_gradient_is_the_derived_one(bidirectional):
    stack = make(5, 6, layers=2, bidirectional=bidirectional)
    slope = tf.constant(noise(3, 40, 6 * stack.directions, seed=7))

    @tf.function(autograph=False, input_signature=[ANY])
    def gradients(inputs):
        actual = []
        for run in (stack, lambda inputs: scanned(stack, inputs)):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = run(inputs)
                batch, frames = tf.unstack(tf.shape(outputs)[:2])
                loss = tf.reduce_sum(slope[:batch, :frames] * outputs)
            actual.append(tape.gradient(loss, [inputs, *stack.trainable_weights]))
        return actual

    for batch, frames in ((1, 1), (3, 2), (2, 15), (3, 40)):
        ours, derived = gradients(noise(batch, frames, 5))
        for got, expected in zip(ours, derived, strict=True):
            assert np.abs(expected).max() > 1e-3 or frames == 1
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_compiled_training_is_the_loop(bidirectional, monkeypatch):
    stack = make(5, 6, layers=2, bidirectional=bidirectional)
    inputs = noise(3, 12, 5)

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(stack(inputs, training=True)))
        return [loss, *tape.gradient(loss, stack.trainable_weights)]

    compiled = tf.function(gradients, autograph=False)
    assert "XlaMustCompile" in str(
        compiled.get_concrete_function().graph.as_graph_def()
    )
    actual = compiled()
    monkeypatch.setattr(lstm_training, "NARROW", 5)
    loop = tf.function(gradients, autograph=False)
    assert "XlaMustCompile" not in str(
        loop.get_concrete_function().graph.as_graph_def()
    )
    for got, expected in zip(actual, loop(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("xla", [True, False])
def test_stream_is_the_whole(monkeypatch, xla):
    if not xla:
        monkeypatch.setattr(lstm_inference, "compiles", lambda: False)
    stack = make(5, 6, layers=2, bidirectional=False)
    inputs = noise(2, 40, 5)
    expected = run_stack(stack, inputs)
    for sizes in ([1] * 5 + [16, 17, 2], [40], [23, 1, 16]):
        state, outputs, start = stack.initial_state(2), [], 0
        for size in sizes:
            output, state = stack.stream(inputs[:, start : start + size], state)
            outputs.append(output)
            start += size
        np.testing.assert_allclose(np.concatenate(outputs, 1), expected, atol=1e-6)


def drawn(stack, inputs, steps=3):
    return [stack(inputs, training=True).numpy() for _ in range(steps)]


def test_dropout_repeats_from_the_seed_and_changes_with_the_step():
    inputs = noise(2, 4, 5)
    first, again, other = (
        drawn(make(5, 6, layers=2, dropout=0.4, seed=seed, scale=1.0), inputs)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[0] - first[1]).max() > 1e-3
    assert np.abs(first[0] - other[0]).max() > 1e-3


def test_restored_dropout_continues(tmp_path):
    inputs = noise(2, 4, 5)
    stack = make(5, 6, layers=2, dropout=0.4)
    drawn(stack, inputs)
    path = tf.train.Checkpoint(stack).write(str(tmp_path / "saved"))
    expected = drawn(stack, inputs)
    restored = make(5, 6, layers=2, dropout=0.4, seed=5)
    tf.train.Checkpoint(restored).read(path).assert_consumed()
    np.testing.assert_array_equal(drawn(restored, inputs), expected)


def test_dropout_silences_its_part_between_layers_and_keeps_the_mean():
    stack = make(3, 20, layers=3, dropout=0.4)
    masks = stack._masks(tf.zeros([500, 2, 3]))
    first, second = masks(1).numpy(), masks(2).numpy()
    assert first.shape == (500, 2, 40)
    values = np.unique(first)
    np.testing.assert_allclose(values, [0.0, 1.0 / 0.6], rtol=1e-6)
    for mask in (first, second):
        assert np.mean(mask == 0.0) == pytest.approx(0.4, abs=0.01)
    assert np.mean((first == 0) & (second == 0)) == pytest.approx(0.16, abs=0.01)
    rows = first[:, 0] == 0, first[:, 1] == 0
    assert np.mean(rows[0] & rows[1]) == pytest.approx(0.16, abs=0.02)


def test_only_the_last_layer_is_left_whole():
    inputs = noise(2, 8, 5)
    single = make(5, 6, dropout=0.9)
    expected = single(inputs)
    np.testing.assert_array_equal(single(inputs, training=True), expected)
    stack = make(5, 6, layers=2, dropout=0.9)
    assert (
        np.count_nonzero(stack(inputs, training=True)) == expected.shape.num_elements()
    )
    np.testing.assert_array_equal(stack(inputs), stack(inputs))


@pytest.mark.one_lane
def test_replicas_equal_one():
    inputs, slope = tf.constant(noise(4, 11, 5)), noise(4, 11, 12, seed=3)
    alone = make(5, 6, layers=2, dropout=0.4)
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        shared = make(5, 6, layers=2, dropout=0.4)
    for mine, theirs in zip(alone.weights, shared.weights, strict=True):
        theirs.assign(mine)

    def gradients(stack, inputs, slope):
        with tf.GradientTape() as tape:
            outputs = stack(inputs, training=True)
            loss = tf.reduce_sum(slope * outputs)
        return outputs, tape.gradient(loss, stack.trainable_weights)

    def part(tensor):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                tensor[2 * context.replica_id_in_sync_group :][:2]
            )
        )

    @tf.function(autograph=False)
    def replicated(inputs, slope):
        outputs, actual = strategy.run(gradients, args=(shared, inputs, slope))
        outputs = tf.concat(strategy.experimental_local_results(outputs), axis=0)
        return outputs, [strategy.reduce("SUM", f, axis=None) for f in actual]

    single = tf.function(gradients, autograph=False)
    for _ in range(2):
        expected, slopes = single(alone, inputs, slope)
        outputs, actual = replicated(part(inputs), part(slope))
        np.testing.assert_allclose(outputs, expected, atol=1e-6)
        for mine, theirs in zip(slopes, actual, strict=True):
            np.testing.assert_allclose(theirs, mine, rtol=1e-4, atol=1e-5)


def test_names_are_those_of_the_checkpoints():
    stack = RecurrentStack(5, 6, layers=2, dropout=0.1, name="lstm")
    weights = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
    assert [weight.name for weight in stack.trainable_weights] == [
        f"lstm/layer{layer}/{direction}/{name}:0"
        for layer in range(2)
        for direction in ("forward", "backward")
        for name in weights
    ]
    assert [weight.name for weight in stack.non_trainable_weights] == ["lstm/drawn:0"]
    assert stack.cells[1][0].kernel.shape == [12, 24]


def test_initialisation():
    keras.utils.set_random_seed(3)
    stack = RecurrentStack(5, 16, layers=2)
    for weight in stack.trainable_weights:
        values = weight.numpy()
        assert 0.2 < np.abs(values).max() <= 0.25
        assert abs(values.mean()) < 0.06
    forgetful = RecurrentStack(5, 16, forget_bias=1.0)
    for cell in forgetful.cells[0]:
        for bias in (cell.bias, cell.recurrent_bias):
            np.testing.assert_array_equal(bias, np.repeat([0.0, 1.0, 0.0, 0.0], 16))


def test_cudnn_gets_parameters_in_its_layout(monkeypatch):
    """A stand-in reads the parameters back as cuDNN's manual lays them out."""

    def cudnn(input, input_h, input_c, params, sequence_lengths, **options):  # noqa: A002
        assert options["rnn_mode"] == "lstm"
        assert options["time_major"]
        frames, batch, width = input.shape
        np.testing.assert_array_equal(sequence_lengths, [frames] * batch)
        units, line = input_h.shape[2], params.numpy()
        sizes = [units * width] * 4 + [units * units] * 4 + [units] * 8
        parts = np.split(line, np.cumsum(sizes)[:-1])
        kernel, recurrent = (
            np.concatenate([part.reshape(units, -1) for part in four]).T
            for four in (parts[:4], parts[4:8])
        )
        biases = np.concatenate(parts[8:12]), np.concatenate(parts[12:])
        weights = kernel, recurrent, *biases
        outputs = run_direction(np.swapaxes(input, 0, 1), weights)
        outputs = tf.constant(np.swapaxes(outputs, 0, 1), tf.float32)
        return outputs, outputs[-1:], input_c, None, None

    stack = make(5, 6, layers=2)
    inputs = noise(3, 8, 5)
    expected = run_stack(stack, inputs)
    monkeypatch.setattr(lstm_cudnn, "available", lambda: True)
    monkeypatch.setattr(tf.raw_ops, "CudnnRNNV3", cudnn)
    np.testing.assert_allclose(stack(inputs), expected, atol=1e-6)
    np.testing.assert_allclose(stack.infer(inputs), expected, atol=1e-6)


def test_cudnn_builds_a_graph_with_a_gradient(monkeypatch):
    stack = make(5, 6, layers=2)
    monkeypatch.setattr(lstm_cudnn, "available", lambda: True)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 5])], autograph=False)
    def gradients(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(stack(inputs))
        return tape.gradient(loss, stack.trainable_weights)

    graph = gradients.get_concrete_function().graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("CudnnRNNV3") == kinds.count("CudnnRNNBackpropV3") == 4
    assert None not in graph.structured_outputs


@pytest.mark.parametrize(("forget_bias", "forget"), [(None, 0.0), (1.0, 1.0)])
def test_xavier_start(forget_bias, forget):
    keras.utils.set_random_seed(2)
    stack = RecurrentStack(64, 48, 2, forget_bias=forget_bias, initial="xavier")
    for cell in (cell for cells in stack.cells for cell in cells):
        for matrix in (cell.kernel, cell.recurrent_kernel):
            normal = matrix.numpy() / np.sqrt(2.0 / sum(matrix.shape))
            assert np.std(normal) == pytest.approx(1.0, abs=0.03)
            assert np.abs(normal).max() > 2.5
        for bias in (cell.bias, cell.recurrent_bias):
            gates = np.split(bias.numpy(), 4)
            np.testing.assert_array_equal(gates[1], np.full(48, forget))
            assert not np.any(gates[:1] + gates[2:])


@pytest.mark.slow
def test_saved_model_keeps_both_programs(tmp_path):
    module = tf.Module()
    module.stack = make(5, 6, layers=2, dropout=0.3)
    spec = tf.TensorSpec([None, None, 5])
    module.call = tf.function(module.stack, input_signature=[spec])
    module.infer = tf.function(module.stack.infer, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    inputs = noise(2, 30, 5)
    expected = run_stack(module.stack, inputs)
    np.testing.assert_allclose(loaded.call(inputs), expected, atol=1e-6)
    np.testing.assert_allclose(loaded.infer(inputs), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"inputs": 0, "units": 4}, "inputs=0"),
        ({"inputs": 4, "units": 0}, "units=0"),
        ({"inputs": 4, "units": 4, "layers": 0}, "layers=0"),
        ({"inputs": 4, "units": 4, "dropout": 1.0}, "dropout=1.0"),
        ({"inputs": 4, "units": 4, "initial": "ones"}, "initial='ones'"),
    ],
)
def test_bad_shape_of_the_stack(options, text):
    with pytest.raises(ValueError, match=text):
        RecurrentStack(**options)


def test_bad_input():
    stack = RecurrentStack(5, 6, name="lstm")
    with pytest.raises(ValueError, match=r"lstm got an input of shape .*\[.*5\]"):
        stack.infer(tf.zeros([1, 2, 4]))
    with pytest.raises(ValueError, match="bidirectional=False"):
        stack.stream(tf.zeros([1, 2, 5]), stack.initial_state(1))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gru_is_that_of_keras(bidirectional):
    stack = make(5, 4, bidirectional=bidirectional, kind="gru", scale=1.5)
    inputs = tf.constant(noise(3, 6, 5))
    weights = stack.trainable_weights
    results, expected = [], []
    with tf.GradientTape() as tape:
        outputs = stack(inputs)
        loss = tf.reduce_sum(outputs**2)
    results = [outputs, *tape.gradient(loss, weights)]
    with tf.GradientTape() as tape:
        parts = []
        for reverse, cell in zip((False, True), stack.cells[0], strict=False):
            layer = keras.layers.GRU(4, return_sequences=True, go_backwards=reverse)
            layer.build(inputs.shape)
            biases = np.stack([cell.bias.numpy(), cell.recurrent_bias.numpy()])
            layer.set_weights([cell.kernel.numpy(), cell.recurrent_kernel, biases])
            part = layer(inputs)
            parts.append((part[:, ::-1] if reverse else part, layer))
        outputs = tf.concat([part for part, _ in parts], -1)
        loss = tf.reduce_sum(outputs**2)
    expected = [outputs]
    for kernel, recurrent, bias in tape.gradient(
        loss, [layer.trainable_weights for _, layer in parts]
    ):
        expected += [kernel, recurrent, *tf.unstack(bias)]
    for ours, theirs in zip(results, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)
    np.testing.assert_allclose(stack.infer(inputs), results[0], atol=1e-6)


def test_gru_continues_from_its_state():
    stack = make(5, 4, layers=2, bidirectional=False, kind="gru")
    inputs, state, parts = tf.constant(noise(2, 7, 5)), stack.initial_state(2), []
    for part in (inputs[:, :3], inputs[:, 3:]):
        outputs, state = stack.stream(part, state)
        parts.append(outputs)
    np.testing.assert_allclose(tf.concat(parts, 1), stack(inputs), atol=1e-6)


def test_a_gru_has_no_forget_gate():
    stack = RecurrentStack(3, 4, kind="gru", forget_bias=1.0, initial="xavier")
    assert not np.any(stack.cells[0][0].bias)
    assert stack.cells[0][0].kernel.shape == (3, 12)
    with pytest.raises(ValueError, match="kind='rnn' of a recurrent stack"):
        RecurrentStack(3, 4, kind="rnn")


def test_dropout_of_the_last_layer():
    stack = make(5, 40, layers=1, dropout=0.3, dropout_last=True)
    inputs = tf.constant(noise(2, 30, 5))
    whole, dropped = stack(inputs).numpy(), stack(inputs, training=True).numpy()
    silent = dropped == 0.0
    assert silent.mean() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_allclose(dropped[~silent], whole[~silent] / 0.7, rtol=1e-5)
