"""The command on folders: its tables and records, several processes, odd names."""

import csv
import json
import os
import threading
from pathlib import Path

import pytest
from commands import picture, run

from facesym.cli import records
from facesym.cli.records import Records


def test_one_table(photos, copier):
    out = photos.parent / "photos-symmetrize"
    assert run("symmetrize", photos) == 0
    picture(photos / "a.jpg", 200)
    picture(photos / "c.jpg", 20)
    assert run("symmetrize", photos) == 0
    with open(out / "asymmetry.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [(row["photo"], row["face"]) for row in rows] == [("a.jpg", "0"), ("b.png", "0"), ("c.jpg", "0")]
    assert float(rows[0]["overall"]) > 120  # the changed photo's
    assert json.loads((out / "asymmetry.json").read_text())[1]["overall"] == float(rows[1]["overall"])


def test_the_table_holds_the_photos_of_the_run_alone(photos, copier):
    out = photos.parent / "photos-symmetrize"
    assert run("symmetrize", photos) == 0
    picture(photos / "a.png", 30)  # a.jpg's result now has another name
    assert run("symmetrize", photos) == 0
    rows = json.loads((out / "asymmetry.json").read_text())
    assert [row["photo"] for row in rows] == ["a.jpg", "a.png", "b.png"]
    (photos / "b.png").unlink()
    assert run("symmetrize", photos) == 0
    rows = json.loads((out / "asymmetry.json").read_text())
    assert [row["photo"] for row in rows] == ["a.jpg", "a.png"]
    for name in ("a.jpg", "a.png"):
        (photos / name).write_text("broken")
    assert run("symmetrize", photos) == 1
    assert not (out / "asymmetry.json").exists() and not (out / "asymmetry.csv").exists()


def test_results_of_another_folder_are_not_replaced(photos, copier, capsys):
    other = photos.parent / "other"
    other.mkdir()
    picture(other / "a.jpg", 77)
    out = photos.parent / "out"
    assert run("symmetrize", photos, "-o", out) == 0
    before = {path.name: path.read_bytes() for path in out.glob("*.png")}
    for _ in range(2):
        assert run("symmetrize", other, "-o", out) == 1
        assert "out holds results of the photos in" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.glob("*.png")} == before
    assert run("symmetrize", photos, "-o", out) == 0
    assert run("symmetrize", other, "-o", out, "--overwrite") == 0


def test_processes_lose_no_rows(tmp_path):
    """Four at a time, each of which reports after every result."""
    names = [f"{i}" for i in range(80)]

    def work(mine):
        table = Records(tmp_path, tmp_path / "in", "symmetrize", "asymmetry")
        for name in mine:
            output = tmp_path / f"{name}.png"
            output.write_text(name)
            table.begin(output, name)
            table.finish(output, name, {}, [output], {"asymmetry": [{"overall": 0.5}]})
            table.write_reports({each: tmp_path / f"{each}.png" for each in names})

    threads = [threading.Thread(target=work, args=[names[i::4]]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(tmp_path / "asymmetry.csv", newline="", encoding="utf-8-sig") as file:
        assert {row["photo"] for row in csv.DictReader(file)} == set(names)


def test_a_result_costs_the_same_however_many_there_are(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(records, "write_atomic", lambda path, data: written.append(len(data)))
    monkeypatch.setattr(Path, "glob", lambda *_: pytest.fail("all records were read"))
    table = Records.__new__(Records)
    table.out, table.source, table.task, table.table = tmp_path, "in", "symmetrize", "asymmetry"
    table.folder = tmp_path / ".facesym"
    for i in range(100, 200):
        output = tmp_path / f"{i}.png"
        output.write_text("")
        table.finish(output, f"{i}.jpg", {}, [output], {"asymmetry": [{"overall": 0.5}]})
    assert len(written) == 100 and len(set(written)) == 1


@pytest.mark.parametrize(("rank", "size"), [("RANK", "WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE")])
def test_ranks_share_a_folder(photos, copier, monkeypatch, rank, size):
    out = photos.parent / "photos-symmetrize"
    (photos / "c.jpg").write_text("broken")
    monkeypatch.setenv(size, "2")
    for number, names in ((0, ["a.jpg", "c.jpg"]), (1, ["b.png"])):
        copier.calls.clear()
        monkeypatch.setenv(rank, str(number))
        run("symmetrize", photos)
        assert copier.calls == names
    assert len(json.loads((out / "asymmetry.json").read_text())) == 2
    assert json.loads((out / "errors.json").read_text()).keys() == {"c.jpg"}


def test_names_that_are_no_text(photos, copier, capsys):
    """A file name in another encoding."""
    name = os.fsdecode(b"\xe9t\xe9.png")
    picture(photos / name)
    assert run("symmetrize", photos) == 0
    assert (photos.parent / "photos-symmetrize" / name).exists()
    assert "\\udce9t\\udce9.png" in (photos.parent / "photos-symmetrize" / "asymmetry.csv").read_text()
