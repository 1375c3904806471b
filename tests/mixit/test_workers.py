"""Two real processes train one model, as two machines would."""

import numpy as np
import pytest
import tensorflow as tf

from common.training.logs import read_scalars


def network(folder):
    """Weights of the latest checkpoint by name."""
    reader = tf.train.load_checkpoint(str(folder / "latest"))
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith("network/")]
    return {name: reader.get_tensor(name) for name in names}


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(
    config, tmp_path, train_command, start_workers
):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, count in ((one, 1), (two, 2)):
        changes = {"output": str(folder), "batch_size": 8 // count}
        command = train_command("mixit", config, **changes)
        processes = start_workers(lambda _, command=command: command, count)
        assert [process.wait(timeout=300) for process in processes] == [0] * count
    alone, together = network(one), network(two)
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        np.testing.assert_allclose(together[name], value, atol=1e-4, err_msg=name)
    assert len(list((two / "sacred").glob("[0-9]*"))) == 1
    lines = [read_scalars(folder) for folder in (one, two)]
    for a, b in zip(*lines, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-3)
