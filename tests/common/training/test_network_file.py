"""The weights of a network in one file of safetensors."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from common.training import network_file
from common.training.checkpoint import CheckpointError, restore_network, save_network
from common.training.network_file import NAME, NetworkFileError


class Network(keras.Model):
    """Variables of every form: nested, in lists, of other types, without dimension."""

    def __init__(self, width=4):
        super().__init__()
        self.add_weight(name="odd/na.me", shape=[2])
        self.dense = keras.layers.Dense(width)
        self.dense.build([None, 3])
        self.parts = [tf.Variable(tf.ones([2])), tf.Variable(2.5)]
        self.steps = tf.Variable(tf.constant(7, tf.int64), trainable=False)
        self.shared = self.dense


@pytest.fixture
def saved(tmp_path):
    network = Network()
    network.dense.kernel.assign(np.random.default_rng(0).standard_normal([3, 4]))
    network_file.write(tmp_path / NAME, network)
    (tmp_path / "config.json").write_text("{}")
    return tmp_path, network


def test_all_who_may_read_a_new_file_may_read_the_weights(saved):
    folder, _ = saved
    mode = (folder / "config.json").stat().st_mode
    assert (folder / NAME).stat().st_mode == mode


def test_names_are_those_of_a_checkpoint(saved):
    folder, network = saved
    save_network(folder, network)
    names = tf.train.load_checkpoint(str(folder / "best")).get_variable_to_shape_map()
    kept = {n.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE") for n in names}
    inside = {name for name in kept if name.startswith("network/")}
    assert set(network_file.read(folder / NAME)) == inside
    assert len(inside) == 6
    assert "network/odd.Sna..me" in inside


def test_a_network_is_restored_to_the_bit(saved):
    folder, network = saved
    other = Network()
    assert restore_network(folder, other) == folder / NAME
    for ours, theirs in zip(other.variables, network.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    restore_network(folder / NAME, Network())


def test_half_stores_matrices_in_half_the_bytes(saved):
    folder, network = saved
    network_file.write(folder / NAME, network, half=True)
    tensors = network_file.read(folder / NAME)
    halved = [name for name in tensors if tensors[name].dtype == np.float16]
    assert halved == ["network/dense/kernel"]
    other = Network()
    restore_network(folder, other)
    assert other.dense.kernel.dtype == tf.float32
    expected = network.dense.kernel.numpy().astype(np.float16)
    np.testing.assert_array_equal(other.dense.kernel, expected.astype(np.float32))
    assert float(other.parts[1]) == 2.5
    assert int(other.steps) == 7


def test_values_beyond_float16_stay_float32(saved):
    folder, network = saved
    network.dense.kernel.assign(tf.fill([3, 4], 1e6))
    network_file.write(folder / NAME, network, half=True)
    other = Network()
    restore_network(folder, other)
    np.testing.assert_array_equal(other.dense.kernel, np.full([3, 4], 1e6, np.float32))


def test_equal_networks_make_equal_files(saved, tmp_path):
    folder, network = saved
    network_file.write(tmp_path / "again.safetensors", network)
    assert (tmp_path / "again.safetensors").read_bytes() == (folder / NAME).read_bytes()


def test_another_network_is_refused_and_left_as_it_is(saved):
    folder, _ = saved
    other = Network(width=5)
    before = other.dense.kernel.numpy()
    with pytest.raises(CheckpointError, match=r"2 differences.*bias of shape \(4,\)"):
        restore_network(folder, other)
    np.testing.assert_array_equal(other.dense.kernel, before)


@pytest.mark.parametrize("damage", ["cut", "flip", "head", "empty"])
def test_damaged_files_are_reported_in_one_sentence(saved, damage):
    folder, _ = saved
    content = bytearray((folder / NAME).read_bytes())
    if damage == "cut":
        content = content[:-3]
    elif damage == "flip":
        content[-1] ^= 1
    elif damage == "head":
        content[10] ^= 0xFF
    else:
        content = bytearray()
    (folder / NAME).write_bytes(content)
    with pytest.raises(NetworkFileError, match="is damaged"):
        network_file.read(folder / NAME)
    with pytest.raises(CheckpointError, match="copy or download it again"):
        restore_network(folder, Network())
