"""Exported networks: they give what torch gives, and come from this machine or the Hub."""

import hashlib
import shutil

import numpy as np
import pytest
import torch

from facesym import onnx, zoo
from facesym.cli import main
from facesym.errors import ZooError
from facesym.export import PORTRAITS, export, save
from facesym.export.graphs import GRAPHS, GraphModule

ONNX = ("landmarks-68", "symgan-128-encoder")  # those that export fast


def copied(tmp_path, name):
    """Copy a model of the zoo into a folder of its own."""
    folder = tmp_path / "runs" / "mine"
    shutil.copytree(zoo.path(name), folder)
    return folder


@pytest.fixture(scope="module")
def exported():
    return {name: export(name) for name in ONNX}


def test_every_network_of_the_zoo_has_a_graph():
    assert {entry["class"] for entry in zoo.list_models()} == GRAPHS.keys()


@pytest.mark.parametrize("name", ONNX)
def test_onnx_gives_what_torch_gives(name, exported):
    whole, half = exported[name]
    assert max(whole.errors.values()) < 1e-4 and max(half.errors.values()) < 2e-3
    assert len(half.data) < 0.55 * len(whole.data)


def test_any_number_of_faces(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "folder", lambda: tmp_path)
    save(exported["landmarks-68"], tmp_path / "landmarks-68")
    image = torch.rand(3, 3, 128, 128) * 2 - 1
    net = zoo.load("landmarks")
    found = onnx.load("landmarks")(image.numpy())
    with torch.inference_mode():
        assert np.abs(found.points - net(image).numpy()).max() < 1e-5
        assert np.abs(found.pose - net.pose(image).numpy()).max() < 1e-3


def test_a_wrong_export_is_refused(monkeypatch):
    monkeypatch.setattr("facesym.export._errors", lambda *args: {"normal": float("nan")})
    with pytest.raises(ZooError, match="differ too much from torch"):
        export("encode", "torch")


def test_a_model_folder_holds_its_export(tmp_path, capsys):
    folder = copied(tmp_path, "symgan-128-encoder")
    with pytest.raises(ZooError, match=f"run `facesym export {folder}`"):
        onnx.load(folder)
    assert run(folder) == 0
    assert str(folder / "model.onnx") in capsys.readouterr().out
    net, image = onnx.load(str(folder)), torch.zeros(1, 3, 128, 128)
    entry = zoo.get("symgan-128-encoder")
    assert net.num_parameters() == entry["params"] and net.entry["input_size"] == 128
    with torch.inference_mode():
        (expected,) = GraphModule(zoo.load("encode"))(image)
    assert np.abs(next(iter(vars(net(image.numpy())).values())) - expected.numpy()).max() < 1e-4
    with pytest.raises(TypeError, match="no option 'revison'"):
        onnx.load(folder, revison="main")
    (folder / "config.json").write_text("{}")
    with pytest.raises(ZooError, match="does not name a class"):
        onnx.load(folder)


def test_made_from_other_weights(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "folder", lambda: tmp_path)
    save(exported["symgan-128-encoder"], tmp_path / "landmarks-68")
    with pytest.raises(ZooError, match="does not match"):
        onnx.load("landmarks-68")
    (tmp_path / "landmarks-68/model.onnx").write_bytes(b"nothing")
    with pytest.raises(ZooError, match="damaged"):
        onnx.load("landmarks-68")


def test_neither_exported_nor_published(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "folder", lambda: tmp_path)
    with pytest.raises(ZooError, match="facesym export identity-128"):
        onnx.load("identity")


def test_from_the_hub(exported, tmp_path, monkeypatch):
    file = tmp_path / "fetched"
    file.write_bytes(exported["landmarks-68"][1].data)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    formats = {"onnx-fp16": {"file": "model.fp16.onnx", "sha256": sha256, "opset": 20}}
    entry = {**zoo.get("landmarks"), "revision": "a" * 40, "formats": formats}
    asked = []
    monkeypatch.setattr(zoo, "get", lambda name: entry)
    monkeypatch.setattr(onnx, "folder", lambda: tmp_path / "none")
    monkeypatch.setattr(onnx, "fetch_file", lambda *args, **hub: asked.append((args, hub)) or file)
    onnx.load("landmarks", "onnx-fp16", token="t")
    assert asked == [(("facesym/landmarks-68", "model.fp16.onnx"), {"revision": "a" * 40, "token": "t"})]
    file.write_bytes(exported["landmarks-68"][0].data)
    with pytest.raises(ZooError, match="sha256"):
        onnx.load("landmarks", "onnx-fp16")


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["export", *map(str, arguments)])
    return stopped.value.code


def test_command(tmp_path, capsys):
    assert run("encode", "--format", "torch", "-o", tmp_path) == 0
    file = tmp_path / "symgan-128-encoder/model.pt2"
    assert f"{file}  torch" in capsys.readouterr().out
    program, image = torch.export.load(file).module(), torch.zeros(3, 3, 128, 128)
    with torch.inference_mode():
        assert torch.equal(program(image)[0], zoo.load("encode")(image))
    assert run("encode", "--format", "torch", "-o", tmp_path) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_nothing_is_exported_unless_every_model_can_be(tmp_path, monkeypatch, capsys):
    exported = []
    monkeypatch.setattr("facesym.export.export", lambda name, format: exported.append(name) or [])
    one, other = copied(tmp_path / "a", "symgan-128-encoder"), copied(tmp_path / "b", "symgan-128-encoder")
    out = tmp_path / "out"
    assert run("encode", "symetrize", "-o", out) == 1
    assert 'Did you mean "symmetrize"?' in capsys.readouterr().err
    assert run(one, other, "-o", out) == 1
    assert f"{one} and {other} would both be written to {out / 'mine'}" in capsys.readouterr().err
    assert run("encode", "symgan-128-encoder") == 1
    (out / "landmarks-68").mkdir(parents=True)
    (out / "landmarks-68/model.onnx").write_text("")
    assert run("encode", "landmarks", "-o", out) == 1
    assert "model.onnx exists" in capsys.readouterr().err and not exported
    assert run(one, other) == 0  # each into itself
    assert exported == [str(one), str(other)]


def test_pushed_files_are_pinned(exported, monkeypatch, capsys):
    pinned, published = [], []
    entry = {**zoo.get("encode"), "revision": "b" * 40}
    monkeypatch.setattr("facesym.export.export", lambda name, format: exported["symgan-128-encoder"])
    monkeypatch.setattr(zoo, "get", lambda name: entry)
    monkeypatch.setattr(zoo, "set_revision", lambda *args, **fields: pinned.append((args, fields)))
    monkeypatch.setattr("facesym.cli.export.publish", lambda *args: published.append(args) or "c" * 40)
    assert run("encode", "--push-to-hub") == 0
    ((repo, files, _),) = published
    (((id, revision), fields),) = pinned
    assert (repo, id, revision) == (entry["repo_id"], entry["id"], "c" * 40)
    for pin in fields["formats"].values():
        assert pin["sha256"] == hashlib.sha256(files[pin["file"]]).hexdigest()


def test_the_portraits_ship_with_the_package():
    from importlib.resources import files

    assert all((files("facesym.export") / name).is_file() for name in PORTRAITS)
