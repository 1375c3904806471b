"""Two real processes train both phases, as two machines would."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.config import override


def weights(folder):
    """Weights of separator and critics in the latest checkpoint by name."""
    reader = tf.train.load_checkpoint(str(folder / "latest"))
    names = reader.get_variable_to_shape_map()
    kept = [n for n in names if n.startswith(("network/", "model/critics/"))]
    return {name: reader.get_tensor(name) for name in kept}


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one_in_both_phases(
    config, tmp_path, train_command, start_workers
):
    rates = dict.fromkeys(
        ("init_sup_sep_lr", "init_unsup_sep_lr", "init_disc_lr"), 1e-4
    )
    values = {f"model_config.{key}": value for key, value in rates.items()}
    # The cache of excerpts turns over with the batch, which is not the global one.
    values |= {"model_config.excerpts_reused": False}
    config = override(config, values)
    one, two = (
        override(config, {"output": str(tmp_path / name), "model_config.batch_size": n})
        for name, n in (("one", 4), ("two", 2))
    )
    for each, count in ((one, 1), (two, 2)):
        command = train_command("adversarial", each)
        processes = start_workers(lambda _, command=command: command, count)
        assert [process.wait(timeout=600) for process in processes] == [0] * count
    for phase, count in (("sup", 12), ("semisup", 30)):
        alone, together = (weights(Path(c.output) / phase) for c in (one, two))
        assert alone.keys() == together.keys()
        assert len(alone) >= count
        for name, value in alone.items():
            np.testing.assert_allclose(together[name], value, atol=1e-4, err_msg=name)
