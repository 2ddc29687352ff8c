"""The command on folders: what it reads, what it makes again, and what it never loses."""

import json
import shutil
from pathlib import Path

import pytest
from commands import found, picture, run

import facesym
from facesym.cli.walk import Masks, find_photos, name_outputs
from facesym.errors import ImageError, NothingFoundError
from facesym.faces.load import load_image

# --- what goes wrong


def test_whatever_one_photo_raises_the_rest_is_done(photos, copier, capsys):
    out = photos.parent / "out"
    for name in "cdef":
        picture(photos / f"{name}.png")
    (photos / "g.jpg").write_text("broken")
    copier.fail = {
        "c": ImageError("no"),
        "d": ValueError("odd"),
        "e": MemoryError(),
        "f": RuntimeError("CUDA"),
    }
    assert run("symmetrize", photos, "-o", out, "--json") == 1
    captured = capsys.readouterr()
    errors = json.loads((out / "errors.json").read_text())
    assert errors.keys() == {"c.png", "d.png", "e.png", "f.png", "g.jpg"}
    assert errors["c.png"] == "no" and errors["d.png"] == "unexpected ValueError: odd"
    assert "2 done, 0 unchanged, 5 failed" in captured.err
    assert "d.png: unexpected ValueError: odd" in captured.err and "a.jpg: A note on a.jpg." in captured.err
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert len(lines) == 7 and sum("error" in line for line in lines) == 5
    assert found(out) == ["a.png", "asymmetry.csv", "asymmetry.json", "b.png", "errors.json"]

    copier.fail = {}
    (photos / "g.jpg").unlink()
    assert run("symmetrize", photos, "-o", out) == 0
    assert "4 done, 2 unchanged, 0 failed" in capsys.readouterr().err
    assert not (out / "errors.json").exists()


def test_a_photo_with_nothing_to_complete_is_no_failure(photos, copier, capsys):
    out = photos.parent / "out"
    picture(photos / "c.png")
    copier.fail = dict.fromkeys("bc", NothingFoundError("Found nothing to remove. Much advice."))
    copier.covered = [{"glasses": 0.123, "object": 0.05}]
    assert run("complete", photos, "--mask", "auto", "-o", out) == 0
    captured = capsys.readouterr()
    assert "1 done, 0 unchanged, 2 with nothing to complete, 0 failed" in captured.err
    assert "a.jpg: found glasses on 12% of the face, object on 5% of the face" in captured.err
    assert "b.png: Found nothing to remove.\n" in captured.err
    assert captured.err.count("pass --mask FOLDER: a folder of masks (white = fill in)") == 1
    assert "mask.png" not in captured.err
    assert json.loads((out / "errors.json").read_text())["b.png"] == "Found nothing to remove."


@pytest.mark.parametrize("task", ["symmetrize", "rotate", "normalize", "transfer"])
def test_each_result_is_named_when_it_is_done(task, photos, copier, capsys):
    copier.task, out = task, photos.parent / "out"
    options = {"rotate": ["--yaw", 5], "transfer": ["--to", "happy"]}.get(task, [])
    copier.fail = {"b": KeyboardInterrupt()}
    assert run(task, photos, "-o", out, *options) == 130
    assert capsys.readouterr().out == f"{out / 'a.png'}\n"


def test_a_result_that_looks_like_someone_else_is_noted(photos, copier, capsys):
    copier.identity = [0.9, 0.33]
    assert run("symmetrize", photos, "--json") == 0
    note = "The result may no longer look like the same person (likeness 33%)."
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[0])["notes"][-1] == note and f"a.jpg: {note}" in captured.err
    assert run("complete", photos, "--mask", "auto") == 0  # what covers the face is gone
    assert note not in capsys.readouterr().err


def test_a_model_that_does_not_load_ends_the_run(photos, monkeypatch, capsys):
    def load(*_, **__):
        raise facesym.ZooError("the weights are damaged")

    monkeypatch.setattr(facesym, "load", load)
    assert run("symmetrize", photos) == 1
    assert "facesym: the weights are damaged" in capsys.readouterr().err
    assert not (photos.parent / "photos-symmetrize").exists()


def test_an_interrupted_run_goes_on_where_it_was(photos, copier, capsys):
    out = photos.parent / "photos-symmetrize"
    copier.fail = {"b": KeyboardInterrupt()}
    assert run("symmetrize", photos) == 130
    assert found(out) == ["a.png", "asymmetry.csv", "asymmetry.json"]
    picture(out / "b.png")  # as if stopped between the result and its record
    copier.fail = {}
    assert run("symmetrize", photos) == 0
    assert copier.calls == ["a.jpg", "b.png", "b.png"]
    assert "1 done, 1 unchanged, 0 failed" in capsys.readouterr().err


def test_errors_while_writing_leave_nothing_in_the_way(photos, copier, monkeypatch):
    from facesym.cli import photo

    write = photo.write_media

    def full(media, path, task):
        if path.name == "a.png":
            raise ImageError("No space left")
        write(media, path, task)

    monkeypatch.setattr(photo, "write_media", full)
    assert run("symmetrize", photos, "--extras") == 1
    monkeypatch.undo()
    monkeypatch.setattr(facesym, "load", lambda *_, **__: copier)
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
    (tmp_path / "again").symlink_to(tmp_path)
    photos, skipped = find_photos(tmp_path, recursive=True, apart=[tmp_path / "out"])
    assert Path("sub/z.png") in photos and "sub" not in map(str, skipped)
    assert skipped[Path("again")] == "a symbolic link to a folder"


def test_subfolders(photos, copier, capsys):
    picture(photos / "sub" / "a.png")
    picture(photos / "sub" / "deep" / "._a.png")
    (photos / "notes.txt").write_text("")
    assert run("symmetrize", photos) == 0
    told = capsys.readouterr().err
    assert "skipped sub: a folder; use --recursive to include it" in told
    assert "skipped notes.txt: not a supported image" in told
    assert run("symmetrize", photos, "--recursive") == 0
    told = capsys.readouterr().err
    assert "1 done, 2 unchanged" in told and "skipped sub/deep/._a.png: a hidden file" in told
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
    composed, decomposed = "Jos\xe9.png", "Jose\u0301.png"
    picture(tmp_path / composed)
    masks = Masks(tmp_path, recursive=True)
    assert masks.of(Path(decomposed)) == tmp_path / composed  # the same name for a person
    with pytest.raises(ImageError, match="several masks"):
        masks.of(Path("e.jpg"))
    for missing in ("f.png", "sub/b.jpg"):
        with pytest.raises(ImageError, match="no mask for"):
            masks.of(Path(missing))


# --- where results go


def test_results_never_lie_among_the_photos(photos, copier, monkeypatch, capsys):
    (photos.parent / "link").symlink_to(photos)
    for out in (photos, photos.parent / "link", f"{photos}/../photos"):
        assert run("symmetrize", photos, "-o", out) == 1
        assert "among the photos" in capsys.readouterr().err
    picture(photos / "sub" / "c.png")
    assert run("symmetrize", photos / "sub", "-r", "-o", photos) == 1
    assert run("complete", photos, "--mask", photos) == 1
    assert "separate folder" in capsys.readouterr().err
    assert run("symmetrize", photos, "-o", photos / "b.png") == 1
    assert "is a file" in capsys.readouterr().err
    assert not copier.calls

    inside = photos / "done"
    for _ in range(2):
        assert run("symmetrize", photos, "-r", "-o", inside) == 0
    assert found(inside) == ["a.png", "asymmetry.csv", "asymmetry.json", "b.png", "sub/c.png"]
    monkeypatch.chdir(photos)
    assert run("symmetrize", ".") == 0
    assert (photos.parent / "photos-symmetrize" / "a.png").exists()


def test_a_folder_holds_the_results_of_one_task(photos, copier, capsys):
    out = photos.parent / "out"
    assert run("symmetrize", photos, "-o", out) == 0
    assert run("normalize", photos, "-o", out) == 1
    assert "holds results of `facesym symmetrize`" in capsys.readouterr().err


def test_no_file_of_the_users_is_lost(photos, copier, capsys):
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


def test_a_result_is_made_again_when_what_made_it_differs(photos, copier, tiny_model, tmp_path, monkeypatch):
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(tiny_model, model)
    copier.task = "complete"
    monkeypatch.setattr(facesym, "load", lambda *_, **__: copier)

    def again(*options):
        copier.calls.clear()
        command = ["complete", photos, "--mask", tmp_path / "masks", "-o", out, "--model", model]
        assert run(*command, "--faces", "all", *options) == 0
        return copier.calls

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


def test_nothing_is_loaded_when_nothing_is_to_be_done(photos, copier, monkeypatch):
    assert run("symmetrize", photos) == 0
    monkeypatch.setattr(facesym, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    assert run("symmetrize", photos) == 0


def test_extras_of_earlier_options_go(photos, copier):
    out = photos.parent / "photos-symmetrize"
    assert run("symmetrize", photos, "--extras") == 0
    (out / "b-extras" / "left.png").write_text("retouched")
    assert run("symmetrize", photos) == 0
    assert found(out) == ["a.png", "asymmetry.csv", "asymmetry.json", "b-extras/left.png", "b.png"]
