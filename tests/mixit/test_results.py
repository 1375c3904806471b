"""Tables in which numbers of synthetic sounds never stand beside published ones."""

from mixit import published as tables


def summary(mean, **more):
    cell = {"mean": mean, "deviation": 1.0, "sources": 3}
    plain = {"model": "runs/a", "row": "fuss", "examples": 3, "1S": cell, "MSi": cell}
    return plain | more


def test_synthetic_and_real_runs_have_tables_of_their_own():
    real, made = summary(9.94), summary(7.77, synthetic=True)
    published, synthetic = tables.scores_table([real, made]).split(
        "On synthetic sounds"
    )
    (row,) = (line for line in published.splitlines() if line.startswith("| `fuss` |"))
    assert row.count("9.9 dB") == 2
    assert "7.8 dB" not in published
    assert "| `runs/a` | 3 | 7.8 dB | 7.8 dB |" in synthetic
    assert "9.9 dB" not in synthetic
