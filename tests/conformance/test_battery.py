"""What every model of every pillar must do."""

import dataclasses
import functools
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common.training import distribution
from common.training.checkpoint import find, restore_network, save_network

GOLDEN = Path(__file__).parents[1] / "golden" / "conformance"


def fill(network):
    """Give every weight values that need no random generator, moderate in size."""
    floating = [v for v in network.variables if v.dtype.is_floating]
    for number, variable in enumerate(floating):
        count = int(np.prod(variable.shape))
        wave = np.sin(np.arange(count) * 0.7 + number).reshape(variable.shape)
        if "variance" in variable.name:
            wave = np.exp(wave)
        first = variable.shape.as_list()[:1]
        variable.assign(wave / np.sqrt(first[0]) if count > 1 else 0.8 + 0.1 * wave)


def inputs(case, batch=2):
    count = batch * int(np.prod(case.inputs))
    wave = 0.3 * np.sin(np.arange(count) ** 1.3)
    return tf.constant(wave.reshape(batch, *case.inputs), tf.float32)


def values(outputs):
    """All outputs of a network as one tensor, whose first axis is the batch."""
    parts = tf.nest.flatten(outputs)
    if len(parts) == 1:
        return parts[0]
    return tf.concat([tf.reshape(part, [part.shape[0], -1]) for part in parts], 1)


def test_variables_are_those_of_the_committed_list(case, name):
    network = case.network()
    reader = [[v.name.removesuffix(":0"), v.shape.as_list()] for v in network.variables]
    assert reader == json.loads((GOLDEN / f"{name}.json").read_text())


def test_forward_pass_is_golden(case, name):
    network = case.network()
    fill(network)
    outputs = values(network(inputs(case))).numpy()
    assert np.abs(outputs).max() > 1e-3
    expected = np.load(GOLDEN / f"{name}.npy")
    # CPUs round differently, by 2e-6 of the largest number, here up to 16.
    closeness = max(2e-5, 4e-6 * np.abs(expected).max())
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=closeness)


def test_a_graph_serves_every_batch_size(case):
    network, _ = case.small()
    signature = [tf.TensorSpec([None, *case.inputs])]
    graph = tf.function(network, input_signature=signature, autograph=False)
    for batch in (1, 3):
        assert values(graph(inputs(case, batch))).shape[0] == batch
    assert graph.experimental_get_tracing_count() == 1


def test_gradients_reach_every_weight(case):
    model = case.training(1)
    with tf.GradientTape() as tape:
        outputs = values(model.network(inputs(case), training=True))
        weight = tf.random.stateless_normal(tf.shape(outputs), [1, 2])
        loss = tf.reduce_sum(outputs * weight)
    gradients = tape.gradient(loss, model.network.trainable_variables)
    for variable, gradient in zip(
        model.network.trainable_variables, gradients, strict=True
    ):
        assert gradient is not None, variable.name
        if not variable.name.endswith(case.no_gradient):
            assert np.abs(gradient.numpy()).max() > 0, variable.name


def test_saved_and_restored(case, tmp_path):
    network, other = case.network(), case.network()
    fill(network)
    save_network(tmp_path, network)
    restore_network(tmp_path, other)
    np.testing.assert_array_equal(
        values(network(inputs(case))), values(other(inputs(case)))
    )


def test_saved_model_round_trip(case, tmp_path):
    # Making graphs takes seconds for each block of a network, however small.
    network, _ = case.small()
    signature = tf.TensorSpec([None, *case.inputs], tf.float32)
    module = tf.Module()
    # The weights alone: of a whole model, Keras saves functions of each of its layers.
    module.weights = network.variables
    module.separate = tf.function(network, input_signature=[signature], autograph=False)
    expected = values(module.separate(inputs(case)))
    tf.saved_model.save(module, str(tmp_path))
    again = tf.saved_model.load(str(tmp_path))
    actual = values(again.separate(inputs(case)))
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_two_replicas_equal_one(training_case):
    one = trained_by_one(training_case)
    two = trained(training_case, distribution.choose("mirrored", 2), batch_size=2)
    for name, weight in one.items():
        np.testing.assert_allclose(two[name], weight, atol=1e-4, err_msg=name)


@pytest.mark.one_lane
def test_two_accumulated_batches_equal_one(accumulated_case):
    one = trained_by_one(accumulated_case)
    strategy = tf.distribute.get_strategy()
    two = trained(accumulated_case, strategy, batch_size=2, accumulate=2)
    for name, weight in one.items():
        np.testing.assert_allclose(two[name], weight, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("training_case", ["unmix_tiny"], indirect=True)
def test_replicas_normalise_each_accumulated_batch_together(training_case):
    # The first batches of both replicas, then their second ones.
    order = tf.constant([0, 1, 4, 5, 2, 3, 6, 7], tf.int64)

    def example(position):
        row = position % 8
        return training_case.example(position - row + tf.gather(order, row))

    case = dataclasses.replace(training_case, example=example)
    one = trained(case, tf.distribute.get_strategy(), batch_size=4, accumulate=2)
    strategy = distribution.choose("mirrored", 2)
    two = trained(training_case, strategy, batch_size=2, accumulate=2)
    for name, weight in one.items():
        np.testing.assert_allclose(two[name], weight, atol=1e-4, err_msg=name)


@functools.cache
def trained_by_one(case):
    return trained(case, tf.distribute.get_strategy(), batch_size=4)


def trained(case, strategy, batch_size, steps=3, accumulate=1):
    """Weights after a few steps from the same start."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = case.training(strategy.num_replicas_in_sync)
    schedule = dataclasses.replace(model.config.train, accumulate=accumulate)
    model.config = dataclasses.replace(model.config, train=schedule)
    start = weights(model)
    rows = batch_size * accumulate
    data = distribution.training_batches(strategy, case.example, rows, 0)
    model.fit(data, steps_per_epoch=steps, verbose=0)
    for variable in model.trainable_variables:
        if not variable.name.endswith(case.no_gradient):
            moved = np.abs(variable.numpy() - start[variable.name]).max()
            assert moved > 1e-5, variable.name
    return weights(model)


def weights(model):
    """Every weight by name, and the running statistics of the network."""
    variables = [*model.trainable_variables, *model.network.non_trainable_variables]
    values = {variable.name: variable.numpy() for variable in variables}
    assert len(values) == len(variables)
    return values


def test_blocks_agree_with_the_whole(case):
    network = case.network()
    separator = case.separator(network, 1.0)
    samples = 3 * separator.sample_rate + 123
    noise = np.random.default_rng(0).standard_normal((separator.channels, samples))
    mixture = (0.1 * noise).astype(np.float32)
    # Most untrained sources are too alike for their order to be kept.
    named = separator.named or not case.is_ordered
    whole = dataclasses.replace(separator, segment_seconds=60.0, named=named)(mixture)
    blocks = dataclasses.replace(separator, named=named)(mixture)
    if not named:
        blocks = in_order(blocks, whole)
    for source, expected in whole.items():
        assert blocks[source].shape == mixture.shape
        error = np.square(blocks[source] - expected).sum()
        # The rims of chunks lack the context that they have in the whole.
        error_db = 10 * np.log10(error / np.square(expected).sum() + 1e-30)
        assert error_db < -case.closeness_db, source


def in_order(estimates, others):
    """Give estimates without a fixed order the names under which they fit best."""
    orders = itertools.permutations(estimates.values())
    named = [dict(zip(others, order, strict=True)) for order in orders]
    return min(
        named, key=lambda each: sum(np.square(each[n] - others[n]).sum() for n in each)
    )


def test_checkpoints_of_earlier_releases_load(case, name):
    folders = sorted((GOLDEN / "checkpoints").glob(f"{name}-*"))
    assert folders, "no committed checkpoint of this model"
    for folder in folders:
        golden = np.load(folder / "outputs.npz")
        estimates = case.load(folder)(golden["mixture"])
        assert {*estimates} == {*golden} - {"mixture"}
        for source, estimate in estimates.items():
            np.testing.assert_allclose(estimate, golden[source], atol=2e-5)


@pytest.mark.slow
def test_restored_in_a_new_process(case, name, tmp_path):
    network = case.network()
    fill(network)
    save_network(tmp_path, network)
    np.save(tmp_path / "expected.npy", values(network(inputs(case))).numpy())
    program = (
        "import sys, numpy as np; sys.path[:0] = sys.argv[1:3]\n"
        "import conftest, test_battery as t\n"
        "from common.training.checkpoint import restore_network\n"
        "case = conftest.MODELS[sys.argv[3]]; network = case.network()\n"
        "restore_network(sys.argv[4], network)\n"
        "expected = np.load(sys.argv[4] + '/expected.npy')\n"
        "assert (t.values(network(t.inputs(case))).numpy() == expected).all()\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", program, str(here), str(here.parents[1])]
    subprocess.run([*command, name, str(tmp_path)], check=True)


@pytest.mark.slow
def test_killed_and_the_same_command_again(killed_case, prepared_command, tmp_path):
    schedule = ["epochs=2", "steps_per_epoch=4", "checkpoint_steps=3"]
    module, *words = prepared_command(killed_case, *schedule)
    straight, broken = tmp_path / "straight", tmp_path / "broken \u00e9"
    # A process of its own is only needed where one is killed.
    main = importlib.import_module(module).main
    assert main([*words, f"output={straight}"]) == 0
    command = [sys.executable, "-m", module, *words, f"output={broken}"]
    process = subprocess.Popen(command)
    runs = [folder / killed_case.phase for folder in (straight, broken)]
    while not list(runs[1].glob("latest/step-*.index")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert saved(runs[1])["step"] < saved(runs[0])["step"]
    assert main([*words, f"output={broken}"]) == 0
    for name, tensor in saved(runs[0]).items():
        np.testing.assert_array_equal(saved(runs[1])[name], tensor, err_msg=name)


@pytest.mark.slow
def test_a_dry_run_passes_and_writes_nothing(pillar_case, prepared_command, tmp_path):
    module, *words = prepared_command(pillar_case, f"output={tmp_path / 'run'}")
    command = [sys.executable, "-m", module, "--check", *words]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=900
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "check passed"
    assert not (tmp_path / "run").exists()


def saved(folder):
    """Every tensor of the latest checkpoint, without the paths it was saved at."""
    # A kill may come before TensorFlow has written its list of checkpoints.
    reader = tf.train.load_checkpoint(str(find(folder, "latest")))
    return {
        name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.endswith("/VARIABLE_VALUE") and "save_counter" not in name
    }
