"""The command on folders: what it reads, what it makes again, and what it never loses."""

import csv
import json
import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import facesym
from facesym.cli import main, records
from facesym.cli.records import Records
from facesym.cli.walk import Masks, find_photos, name_outputs
from facesym.errors import ImageError
from facesym.faces.load import load_image


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code


class Pipe:
    """A pipeline that gives each photo back, and fails at those whose names it is told to."""

    def __init__(self):
        self.calls, self.fail = [], {}

    def __call__(self, photo, *inputs, **options):
        self.calls.append(photo.name)
        if photo.stem in self.fail:
            raise self.fail[photo.stem]
        image = load_image(photo)
        return SimpleNamespace(
            images=[image], faces=[], identity=None, seconds=0.1, notes=[f"A note on {photo.name}."],
            mask_fraction=0.1, asymmetry=[{"overall": float(np.asarray(image).mean())}], heatmap=[np.ones((32, 32))],
            crop=[image], composites=[{"left": image}], frames=[[image]], fit=[{}],
        )  # fmt: skip


@pytest.fixture
def pipe(monkeypatch):
    """The pipeline of whatever task."""
    pipe = Pipe()

    def load(name, device):
        pipe.task = name
        return pipe

    monkeypatch.setattr(facesym, "load", load)
    return pipe


@pytest.fixture
def photos(tmp_path):
    """A folder of two photos, a.jpg and b.png, and one of their masks."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    for i, name in enumerate(("a.jpg", "b.png")):
        picture(tmp_path / "photos" / name, 50 * i)
        picture(tmp_path / "masks" / f"{name[0]}.png", 200)
    return tmp_path / "photos"


def picture(path, shade=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (shade, 100, 100)).save(path)


def found(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("[!.]*")
        if path.is_file() and ".facesym" not in path.parts
    )


# --- what goes wrong


def test_whatever_one_photo_raises_the_rest_is_done(photos, pipe, capsys):
    out = photos.parent / "out"
    for name in "cdef":
        picture(photos / f"{name}.png")
    (photos / "g.jpg").write_text("broken")
    pipe.fail = {"c": ImageError("no"), "d": ValueError("odd"), "e": MemoryError(), "f": RuntimeError("CUDA")}
    assert run("symmetrize", photos, "-o", out, "--json") == 1
    captured = capsys.readouterr()
    errors = json.loads((out / "errors.json").read_text())
    assert errors.keys() == {"c.png", "d.png", "e.png", "f.png", "g.jpg"}
    assert errors["c.png"] == "no" and errors["d.png"] == "unexpected ValueError: odd"
    assert "2 done, 0 were there already, 5 failed" in captured.err
    assert "d.png: unexpected ValueError: odd" in captured.err and "a.jpg: A note on a.jpg." in captured.err
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert len(lines) == 7 and sum("error" in line for line in lines) == 5
    assert found(out) == ["a.png", "asymmetry.csv", "asymmetry.json", "b.png", "errors.json"]

    pipe.fail = {}
    (photos / "g.jpg").unlink()
    assert run("symmetrize", photos, "-o", out) == 0
    assert "4 done, 2 were there already, 0 failed" in capsys.readouterr().err
    assert not (out / "errors.json").exists()


def test_a_model_that_does_not_load_ends_the_run(photos, monkeypatch, capsys):
    def load(*_, **__):
        raise facesym.ZooError("the weights are damaged")

    monkeypatch.setattr(facesym, "load", load)
    assert run("symmetrize", photos) == 1
    assert "facesym: the weights are damaged" in capsys.readouterr().err
    assert not (photos.parent / "photos-symmetrize").exists()


def test_an_interrupted_run_goes_on_where_it_was(photos, pipe, capsys):
    out = photos.parent / "photos-symmetrize"
    pipe.fail = {"b": KeyboardInterrupt()}
    assert run("symmetrize", photos) == 130
    assert found(out) == ["a.png", "asymmetry.csv", "asymmetry.json"]
    picture(out / "b.png")  # as if stopped between the result and its record
    pipe.fail = {}
    assert run("symmetrize", photos) == 0
    assert pipe.calls == ["a.jpg", "b.png", "b.png"]
    assert "1 done, 1 were there already, 0 failed" in capsys.readouterr().err


def test_errors_while_writing_leave_nothing_in_the_way(photos, pipe, monkeypatch):
    from facesym.cli import photo

    write = photo.write_media

    def full(media, path, task):
        if path.name == "a.png":
            raise ImageError("No space left")
        write(media, path, task)

    monkeypatch.setattr(photo, "write_media", full)
    assert run("symmetrize", photos, "--extras") == 1
    monkeypatch.undo()
    monkeypatch.setattr(facesym, "load", lambda *_, **__: pipe)
    assert run("symmetrize", photos, "--extras") == 0


# --- what is a photo


def test_a_folder_reads_what_a_single_photo_is_read_from(tmp_path):
    for name in ("a.jfif", "b.avif", "c.jp2", "d.JPG", "e.tiff", "f.webp", "g.bmp", "h.gif", "i.ppm"):
        picture(tmp_path / name)
        load_image(tmp_path / name)
    for name in ("._a.jpg", ".DS_Store", "notes.txt", "film.mpg", ".git/x.jpg", "sub/z.png", "out/old.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    photos, skipped = find_photos(tmp_path, apart=[tmp_path / "out"])
    assert [photo.name[0] for photo in photos] == list("abcdefghi")
    assert {str(path) for path in skipped} == {"._a.jpg", ".DS_Store", "notes.txt", "film.mpg", ".git", "sub"}
    photos, skipped = find_photos(tmp_path, recursive=True, apart=[tmp_path / "out"])
    assert Path("sub/z.png") in photos and "sub" not in map(str, skipped)


def test_subfolders(photos, pipe, capsys):
    picture(photos / "sub" / "a.png")
    picture(photos / "sub" / "deep" / "._a.png")
    (photos / "notes.txt").write_text("")
    assert run("symmetrize", photos) == 0
    told = capsys.readouterr().err
    assert "skipped sub: a folder; --recursive enters it" in told
    assert "skipped notes.txt: not an image" in told
    assert run("symmetrize", photos, "--recursive") == 0
    told = capsys.readouterr().err
    assert "1 done, 2 were there already" in told and "skipped sub/deep/._a.png: a hidden file" in told
    out = photos.parent / "photos-symmetrize"
    assert found(out) == ["a.png", "asymmetry.csv", "asymmetry.json", "b.png", "sub/a.png"]
    assert [row["photo"] for row in json.loads((out / "asymmetry.json").read_text())] == [
        "a.jpg",
        "b.png",
        "sub/a.png",
    ]


def test_an_empty_folder(photos, capsys):
    for path in photos.iterdir():
        path.unlink()
    assert run("symmetrize", photos) == 1
    assert "has no photos" in capsys.readouterr().err


def test_no_two_photos_share_a_result():
    photos = [
        Path(name) for name in ("a.jpg", "a.png", "a.jpg.tif", "b.jpg", "B.png", "sub/a.jpg", "c.d.jpg")
    ]
    outputs = name_outputs(photos, ".png")
    assert len({str(path).lower() for path in outputs.values()}) == len(photos)
    assert outputs[Path("sub/a.jpg")] == Path("sub/a.png") and outputs[Path("c.d.jpg")] == Path("c.d.png")
    assert outputs[Path("a.jpg")] == Path("a.jpg.png")


def test_masks_are_found_by_name(tmp_path):
    for name in (
        "a.png",
        "b.jpg.png",
        "b.png",
        "c.png",
        "c.webp",
        "c.jpg",
        "e.png",
        "e.webp",
        "sub/a.png",
        "._f.png",
    ):
        picture(tmp_path / name)
    masks = Masks(tmp_path, recursive=True)
    for photo, mask in {
        "a.jpg": "a.png",
        "b.jpg": "b.jpg.png",
        "b.tif": "b.png",
        "c.jpg": "c.jpg",
        "sub/a.gif": "sub/a.png",
    }.items():
        assert masks.of(Path(photo)) == tmp_path / mask
    with pytest.raises(ImageError, match="several masks"):
        masks.of(Path("e.jpg"))
    for missing in ("f.png", "sub/b.jpg"):
        with pytest.raises(ImageError, match="no mask for"):
            masks.of(Path(missing))


# --- where results go


def test_results_never_lie_among_the_photos(photos, pipe, monkeypatch, capsys):
    (photos.parent / "link").symlink_to(photos)
    for out in (photos, photos.parent / "link", f"{photos}/../photos"):
        assert run("symmetrize", photos, "-o", out) == 1
        assert "among the photos" in capsys.readouterr().err
    picture(photos / "sub" / "c.png")
    assert run("symmetrize", photos / "sub", "-r", "-o", photos) == 1
    assert run("complete", photos, "--mask", photos) == 1
    assert "folder of their own" in capsys.readouterr().err
    assert run("symmetrize", photos, "-o", photos / "b.png") == 1
    assert "is a file" in capsys.readouterr().err
    assert not pipe.calls

    inside = photos / "done"
    for _ in range(2):
        assert run("symmetrize", photos, "-r", "-o", inside) == 0
    assert found(inside) == ["a.png", "asymmetry.csv", "asymmetry.json", "b.png", "sub/c.png"]
    monkeypatch.chdir(photos)
    assert run("symmetrize", ".") == 0
    assert (photos.parent / "photos-symmetrize" / "a.png").exists()


def test_a_folder_holds_the_results_of_one_task(photos, pipe, capsys):
    out = photos.parent / "out"
    assert run("symmetrize", photos, "-o", out) == 0
    assert run("normalize", photos, "-o", out) == 1
    assert "holds results of `facesym symmetrize`" in capsys.readouterr().err


def test_no_file_of_the_users_is_lost(photos, pipe, capsys):
    out = photos.parent / "out"
    out.mkdir()
    (out / "a.png").write_text("precious")
    assert run("symmetrize", photos, "-o", out) == 1
    assert (out / "a.png").read_text() == "precious"
    assert "was not made by this command" in json.loads((out / "errors.json").read_text())["a.jpg"]
    (out / "b.png").write_text("retouched")
    assert run("symmetrize", photos, "-o", out) == 1  # still b.png's result: nothing is to be done
    picture(photos / "b.png", 77)
    assert run("symmetrize", photos, "-o", out) == 1
    assert (out / "b.png").read_text() == "retouched"
    capsys.readouterr()
    assert run("symmetrize", photos, "-o", out, "--overwrite") == 0
    assert "2 done" in capsys.readouterr().err

    other = photos.parent / "other"
    other.mkdir()
    (other / "asymmetry.csv").write_text("precious")
    assert run("symmetrize", photos, "-o", other) == 1
    assert (other / "asymmetry.csv").read_text() == "precious"


# --- what is made again


def test_a_result_is_made_again_when_what_made_it_differs(photos, pipe, tiny_model, tmp_path, monkeypatch):
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(tiny_model, model)
    pipe.task = "complete"
    monkeypatch.setattr(facesym, "load", lambda *_, **__: pipe)

    def again(*options):
        pipe.calls.clear()
        command = ["complete", photos, "--mask", tmp_path / "masks", "-o", out, "--model", model]
        assert run(*command, "--faces", "all", *options) == 0
        return pipe.calls

    assert again() == ["a.jpg", "b.png"]
    assert again() == []
    assert again("--faces", "0") == ["a.jpg", "b.png"]
    assert again() == ["a.jpg", "b.png"]
    picture(photos / "a.jpg", 99)
    assert again() == ["a.jpg"]
    picture(tmp_path / "masks" / "b.png", 222)
    assert again() == ["b.png"]
    (out / "b.png").unlink()
    assert again() == ["b.png"]
    data = bytearray((model / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (model / "model.safetensors").write_bytes(data)
    assert again() == ["a.jpg", "b.png"]
    assert again() == []


def test_nothing_is_loaded_when_nothing_is_to_be_done(photos, pipe, monkeypatch):
    assert run("symmetrize", photos) == 0
    monkeypatch.setattr(facesym, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    assert run("symmetrize", photos) == 0


def test_extras_of_earlier_options_go(photos, pipe):
    out = photos.parent / "photos-symmetrize"
    assert run("symmetrize", photos, "--extras") == 0
    (out / "b-extras" / "left.png").write_text("retouched")
    assert run("symmetrize", photos) == 0
    assert found(out) == ["a.png", "asymmetry.csv", "asymmetry.json", "b-extras/left.png", "b.png"]


# --- the table


def test_one_table(photos, pipe):
    out = photos.parent / "photos-symmetrize"
    assert run("symmetrize", photos) == 0
    picture(photos / "a.jpg", 200)
    picture(photos / "c.jpg", 20)
    assert run("symmetrize", photos) == 0
    with open(out / "asymmetry.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["photo"], row["face"]) for row in rows] == [("a.jpg", "0"), ("b.png", "0"), ("c.jpg", "0")]
    assert float(rows[0]["overall"]) > 120  # the changed photo's
    assert json.loads((out / "asymmetry.json").read_text())[1]["overall"] == float(rows[1]["overall"])


def test_processes_lose_no_rows(tmp_path):
    """Four at a time, each of which reports after every result."""
    names = [f"{i}" for i in range(80)]

    def work(mine):
        table = Records(tmp_path, "symmetrize", "asymmetry")
        for name in mine:
            output = tmp_path / f"{name}.png"
            output.write_text(name)
            table.begin(output, name)
            table.finish(output, name, {}, [output], {"asymmetry": [{"overall": 0.5}]})
            table.write_reports(names)

    threads = [threading.Thread(target=work, args=[names[i::4]]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(tmp_path / "asymmetry.csv", newline="") as file:
        assert {row["photo"] for row in csv.DictReader(file)} == set(names)


def test_a_result_costs_the_same_however_many_there_are(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(records, "write_atomic", lambda path, data: written.append(len(data)))
    monkeypatch.setattr(Path, "glob", lambda *_: pytest.fail("all records were read"))
    table = Records.__new__(Records)
    table.out, table.task, table.table, table.folder = (
        tmp_path,
        "symmetrize",
        "asymmetry",
        tmp_path / ".facesym",
    )
    for i in range(100, 200):
        output = tmp_path / f"{i}.png"
        output.write_text("")
        table.finish(output, f"{i}.jpg", {}, [output], {"asymmetry": [{"overall": 0.5}]})
    assert len(written) == 100 and len(set(written)) == 1


@pytest.mark.parametrize(("rank", "size"), [("RANK", "WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE")])
def test_ranks_share_a_folder(photos, pipe, monkeypatch, rank, size):
    out = photos.parent / "photos-symmetrize"
    (photos / "c.jpg").write_text("broken")
    monkeypatch.setenv(size, "2")
    for number, names in ((0, ["a.jpg", "c.jpg"]), (1, ["b.png"])):
        pipe.calls.clear()
        monkeypatch.setenv(rank, str(number))
        run("symmetrize", photos)
        assert pipe.calls == names
    assert len(json.loads((out / "asymmetry.json").read_text())) == 2
    assert json.loads((out / "errors.json").read_text()).keys() == {"c.jpg"}


def test_names_that_are_no_text(photos, pipe, capsys):
    """A file name in another encoding."""
    name = os.fsdecode(b"\xe9t\xe9.png")
    picture(photos / name)
    assert run("symmetrize", photos) == 0
    assert (photos.parent / "photos-symmetrize" / name).exists()
    assert "\\udce9t\\udce9.png" in (photos.parent / "photos-symmetrize" / "asymmetry.csv").read_text()
