"""The command, as a user types it."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from facesym.cli import main


@pytest.fixture
def photos(astronaut, eye_hole, tmp_path):
    """Folders of three photos (one broken) and of their masks."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    mask = Image.fromarray(eye_hole.astype(np.uint8) * 255)
    for name in ("a", "b"):
        astronaut.save(tmp_path / "photos" / f"{name}.jpg")
        mask.save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "photos" / "c.jpg").write_text("broken")
    mask.save(tmp_path / "masks" / "c.png")
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code


def test_one_photo(photos, tiny_model, capsys):
    out = photos / "done.png"
    command = [
        "complete",
        photos / "photos" / "a.jpg",
        "--mask",
        photos / "masks" / "a.png",
        "--model",
        tiny_model,
    ]
    assert run(*command, "-o", out, "--json") == 0
    line = json.loads(capsys.readouterr().out)
    assert line["output"] == str(out) and line["mask_fraction"] > 0 and len(line["faces"]) == 1
    assert Image.open(out).size == (512, 512) and "facesym" in Image.open(out).text["Description"]
    assert run(*command) == 0
    assert (photos / "photos" / "a-complete.png").exists()


def test_errors_are_one_line_and_no_traceback(photos, tiny_model, capsys):
    command = [
        "complete",
        photos / "photos" / "c.jpg",
        "--mask",
        photos / "masks" / "c.png",
        "--model",
        tiny_model,
    ]
    assert run(*command) == 1
    error = capsys.readouterr().err
    assert error.startswith("facesym: ") and "not an image" in error and error.count("\n") == 1
    assert (
        run("complete", photos / "photos" / "a.jpg", "--mask", photos / "masks" / "a.png", "-o", "x.txt") == 1
    )
    assert (
        run("complete", photos / "photos", "--mask", photos / "masks" / "a.png", "--model", tiny_model) == 1
    )
    assert run("complete") == 2


def test_a_folder_goes_on_after_errors_and_is_not_done_twice(photos, tiny_model, capsys):
    command = [
        "complete",
        photos / "photos",
        "--mask",
        photos / "masks",
        "-o",
        photos / "out",
        "--model",
        tiny_model,
    ]
    Image.new("RGB", (64, 64)).save(photos / "photos" / "d.png")  # no mask
    assert run(*command, "--json") == 1
    captured = capsys.readouterr()
    assert sorted(p.name for p in (photos / "out").iterdir()) == ["a.png", "b.png", "errors.json"]
    assert set(json.loads((photos / "out" / "errors.json").read_text())) == {"c.jpg", "d.png"}
    assert "2 done, 0 were there already, 2 failed" in captured.err
    assert sum("error" in json.loads(line) for line in captured.out.splitlines()) == 2
    stamps = {p: p.stat().st_mtime_ns for p in (photos / "out").glob("*.png")}
    (photos / "photos" / "c.jpg").unlink()
    (photos / "photos" / "d.png").unlink()
    assert run(*command) == 0
    assert "0 done, 2 were there already, 0 failed" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in (photos / "out").glob("*.png")} == stamps
    assert not (photos / "out" / "errors.json").exists()


def test_symmetrize_a_folder_gives_one_table(photos, tmp_path, capsys):
    from facesym.models import SymmetrizerVAE

    model = tmp_path / "symmetrizer"
    SymmetrizerVAE(widths=(8, 8, 16), latent=4, input_size=64).save_pretrained(model)
    command = ["symmetrize", photos / "photos", "-o", photos / "out", "--model", model]
    assert run(*command, "--json") == 1  # one photo is broken
    captured = capsys.readouterr()
    assert "2 done, 0 were there already, 1 failed" in captured.err
    numbers = [json.loads(line) for line in captured.out.splitlines()]
    assert numbers[0]["asymmetry"][0]["overall"] > 0
    with open(photos / "out" / "asymmetry.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["photo"] for row in rows] == ["a.jpg", "b.jpg"]
    assert float(rows[0]["mouth corner"]) == numbers[0]["asymmetry"][0]["mouth corner"]
    (photos / "photos" / "c.jpg").unlink()
    (photos / "out" / "a.png").unlink()  # done again: its row is replaced
    Image.open(photos / "photos" / "a.jpg").save(photos / "photos" / "e.png")
    assert run(*command) == 0
    with open(photos / "out" / "asymmetry.csv", newline="") as file:
        assert [row["photo"] for row in csv.DictReader(file)] == ["b.jpg", "a.jpg", "e.png"]
    assert len(json.loads((photos / "out" / "asymmetry.json").read_text())) == 3

    one = photos / "one.png"
    assert run("symmetrize", photos / "photos" / "a.jpg", "-o", one, "--model", model, "--extras") == 0
    assert "mouth corner" in capsys.readouterr().out
    extras = sorted(path.stem for path in (photos / "one-extras").iterdir())
    assert extras == ["average", "heatmap", "left", "mirrored", "model", "original", "right"]


def test_processes_share_the_files(photos, tiny_model):
    (photos / "photos" / "c.jpg").unlink()
    for rank in range(2):
        environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        arguments = ["--mask", photos / "masks", "-o", photos / "out", "--model", tiny_model]
        done = subprocess.run(
            [sys.executable, "-m", "facesym", "complete", photos / "photos", *arguments],
            env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert len(list((photos / "out").glob("*.png"))) == rank + 1


def test_the_library_is_light_to_import():
    code = "import facesym, sys; assert 'torch' not in sys.modules and 'gradio' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_model_of_another_task_is_refused(photos, tiny_model, capsys):
    assert run("symmetrize", photos / "photos" / "a.jpg", "--model", tiny_model) == 1
    assert "is a model of `facesym complete`" in capsys.readouterr().err


def test_evaluate_is_handed_over(capsys):
    assert run("evaluate", "complete", "--help") == 0
    assert "--largest-hole" in capsys.readouterr().out
