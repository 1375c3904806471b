"""The registry and the list of downloads."""

from unmix import published


def test_the_registry_lists_what_is_cached_and_what_would_be_downloaded(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path))

    def umxse():
        (entry,) = (each for each in published.entries() if each.name == "umxse")
        return entry.cached, [(file.size, file.about) for file in entry.files]

    guess = 4 * published.MODELS["umxse"].weights
    assert umxse() == (False, [(guess, True), (guess, True)])
    folder = published.folder("umxse")
    folder.mkdir(parents=True)
    speech, noise = published.MODELS["umxse"].files.values()
    (folder / noise).write_bytes(bytes(10))
    assert umxse() == (False, [(guess, True), (10, False)])
    (folder / speech).write_bytes(bytes(20))
    assert umxse() == (True, [(20, False), (10, False)])


def test_command(capsys):
    assert published.main(["umxse"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["umxse", "umxse"]
    assert rows[0][2].endswith("/3786908/files/speech_f5e0d9f9.pth")
    assert published.main(["umx2"]) == 1
    assert "umx2 is not a published model" in capsys.readouterr().err
