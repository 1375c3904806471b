"""Flags of the original become keys, have no effect, or are refused."""

import pytest

from common.config import ConfigError
from unmix.original_flags import translated


@pytest.mark.parametrize("flag", [["--nb-workers", "4"], ["--nb_workers=4"]])
def test_a_flag_without_effect_takes_its_value_along_and_no_more(flag, capsys):
    assert translated([*flag, "--epochs", "3"]) == ["--epochs", "3"]
    assert f"{flag[0].split('=')[0]} has no effect" in capsys.readouterr().out


def test_a_flag_that_means_something_else_is_refused():
    with pytest.raises(ConfigError, match=r"^--debug is refused: .* use --check"):
        translated(["--epochs", "3", "--debug"])
