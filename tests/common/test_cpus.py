"""Numbers of threads that commands are given."""

import pytest

from common.corpora import mixing


@pytest.mark.parametrize("text", ["0", "-1", "two"])
def test_numbers_below_one_are_refused_by_the_name_of_the_option(capsys, text):
    with pytest.raises(SystemExit) as end:
        mixing.main(["--jobs", text])
    assert end.value.code == 2
    assert f"argument --jobs: '{text}': expected a whole num" in capsys.readouterr().err
