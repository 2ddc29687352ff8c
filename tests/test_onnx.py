"""backend="onnx": the same results as torch's, and no torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import facesym
from facesym import evaluation, onnx, zoo
from facesym.errors import DeviceError, ImageError, ZooError
from facesym.evaluation.data import load_models
from facesym.export import export, save
from facesym.faces.occlusion import occlusion_probability

ROOT = Path(__file__).parents[1]
PORTRAITS = [ROOT / "spaces/examples" / name for name in ("astronaut.jpg", "grace-hopper.jpg")]
MASKS = [ROOT / "spaces/examples" / name for name in ("astronaut-half.png", "grace-hopper-hand.png")]
TASKS = {"symmetrize": {}, "complete": {}, "normalize": {}, "transfer": {"to": ["happy", "dark", "left 45"]}}


@pytest.fixture(scope="session")
def exported():
    """The exported networks. They take a minute: they are kept in the checkout, and made anew when they change."""
    home = ROOT / "build/onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx, "folder", lambda: home / "facesym")
        export_missing()
        yield home


def export_missing():
    for name in ("landmarks", "identity", "mouth", "occlusion", "parse", *TASKS):
        try:
            onnx.load(name)
            onnx.load(name, "onnx-fp16")
            onnx.load(name, "onnx-int8")
        except ZooError:
            save(export(name), onnx.folder() / zoo.get(name)["id"])


@pytest.fixture(scope="session")
def made(exported, tmp_path_factory):
    """{task: [(image, identity) of each portrait]} by a process that cannot import torch; asymmetry of the first."""
    folder = tmp_path_factory.mktemp("onnx")
    code = f"""
import json, sys
sys.modules.update(torch=None, diffusers=None, safetensors=None)  # importing them is an error now
import facesym
told = {{}}
for task, options in {TASKS!r}.items():
    pipe = facesym.load(task)
    for i, photo in enumerate({[str(photo) for photo in PORTRAITS]!r}):
        masks = [{[str(mask) for mask in MASKS]!r}[i]] if task == "complete" else []
        out = pipe(photo, *masks, **options)
        out.images[0].save(f"{folder}/{{task}}-{{i}}.png")
        told[f"{{task}}-{{i}}"] = dict(identity=out.identity, asymmetry=getattr(out, "asymmetry", None))
from facesym.cli import main
try:
    main(["symmetrize", {str(PORTRAITS[0])!r}, "-o", "{folder}/command.png"])
except SystemExit as end:
    assert not end.code
print(json.dumps(told))
"""
    environment = {**os.environ, "HF_HOME": str(exported)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "command.png").exists()  # the command line does without torch, too
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("i", range(len(PORTRAITS)))
@pytest.mark.parametrize("task", TASKS)
def test_without_torch_the_results_are_torch_s(task, i, made):
    folder, told = made
    expected = facesym.load(task)(PORTRAITS[i], *[MASKS[i]] * (task == "complete"), **TASKS[task])
    image = np.asarray(Image.open(folder / f"{task}-{i}.png"), np.float32)
    # Landmarks that differ by a fiftieth of a pixel give crops that differ by a level. Behind a turned head, texture
    # depends on the last digit.
    difference = image - np.asarray(expected.images[0])
    assert np.abs(cv2.GaussianBlur(difference, (0, 0), 3)).mean() < 2
    assert told[f"{task}-{i}"]["identity"] == pytest.approx(expected.identity, abs=0.02)


@pytest.mark.parametrize("i", range(len(PORTRAITS)))
def test_int8_completes_as_torch_does(exported, i):
    pipe = facesym.load("complete", backend="onnx-int8")
    expected = facesym.load("complete")(PORTRAITS[i], MASKS[i])
    found = pipe(PORTRAITS[i], MASKS[i])
    missing = np.asarray(Image.open(MASKS[i]).convert("L")) > 127
    # Coarsely: grain and the matches of texture depend on the last digit.
    difference = np.asarray(found.images[0], np.float32) - np.asarray(expected.images[0])
    difference = np.abs(cv2.GaussianBlur(difference, (0, 0), 3))[missing].mean()
    assert 0 < difference < 2.5
    file, others = (
        onnx.folder() / zoo.get("complete")["id"] / onnx.FILES[kind] for kind in ("onnx-int8", "onnx-fp16")
    )
    assert file.stat().st_size < 0.75 * others.stat().st_size


def test_evaluation_measures_a_backend(exported, sets, tmp_path):
    command = ["complete", "--faces", sets / "large", "--masks", sets / "masks", "--size", 64, "-n", 1]
    rows = {}
    for backend in ("torch", "onnx-int8"):
        out = tmp_path / backend
        evaluation.main([*map(str, command), "--models", "symmfc-256", "--backend", backend, "-o", str(out)])
        results = json.loads((out / "results.json").read_text())
        assert results["settings"]["backend"] == backend
        rows[backend] = {row["row"]: row["psnr"] for row in results["results"]["centre"]["rows"]}
    assert rows["onnx-int8"].keys() == rows["torch"].keys() - {"symmfc-256, network alone"}
    one, other = (each["symmfc-256"] for each in rows.values())
    assert one != other and one == pytest.approx(other, abs=1.5)


def test_networks_without_int8_run_in_fp16(exported):
    net, half = (onnx.load("landmarks", kind) for kind in ("onnx-int8", "onnx-fp16"))
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 128, 128)).astype(np.float32)
    assert net.backend == "onnx-int8" and (net(image).points == half(image).points).all()


def test_asymmetry_without_torch(made):
    expected = facesym.load("symmetrize")(PORTRAITS[0]).asymmetry[0]
    assert made[1]["symmetrize-0"]["asymmetry"][0] == pytest.approx(expected, abs=0.02)


def test_measures_read_later_use_the_pipeline_s_backend(exported, monkeypatch):
    out = facesym.load("symmetrize", backend="onnx")(PORTRAITS[0])
    monkeypatch.setattr(zoo, "load", None)  # torch's way
    sys.modules["facesym.identity"]._network.cache_clear()
    onnx.shared_network.cache_clear()
    assert out.identity[0] > 0.8 and out.asymmetry[0]["overall"] > 0


def test_the_automatic_mask_is_the_same(exported):
    crop = Image.open(PORTRAITS[0]).convert("RGB").resize((256, 256))
    expected = occlusion_probability(crop)
    with onnx.use_backend("onnx"):
        found = occlusion_probability(crop)
    assert found == pytest.approx(expected, abs=1e-3) and found.sum(0) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("options", [dict(device="cuda"), dict(dtype="float16")])
def test_exported_networks_stay_on_the_cpu(options):
    with pytest.raises(DeviceError, match='backend="torch"'):
        facesym.load("symmetrize", backend="onnx", **options)
    if "device" in options:
        with pytest.raises(DeviceError, match='backend="torch"'):
            load_models(["symmfc-256"], backend="onnx-fp16", **options)


def test_what_needs_torch(exported):
    with pytest.raises(ZooError, match="needs torch"):
        facesym.load("rotate", backend="onnx")
    pipe = facesym.load("symmetrize", backend="onnx")
    with pytest.raises(ImageError, match="needs torch"):
        pipe(PORTRAITS[0], exact=False)
    with pytest.raises(DeviceError, match='backend="torch"'):
        pipe.to("cpu")


def test_options_of_the_hub(exported, monkeypatch):
    with pytest.raises(ZooError, match="leave out revision"):
        facesym.load("symmetrize", backend="onnx", revision="main")
    entry = zoo.get("symmetrize")
    name, local = entry["id"], onnx.folder() / entry["id"] / "model.onnx"
    published = {
        "formats": {"onnx": {"file": "onnx/model.onnx", "sha256": zoo.sha256_of(local)}},
        "revision": "abc",
    }
    monkeypatch.setattr(zoo, "get", lambda _: entry | published)
    fetched = []
    monkeypatch.setattr(onnx, "fetch_file", lambda *where, **hub: fetched.append((where, hub)) or local)
    onnx.load(name)
    assert not fetched
    onnx.load(name, force_download=True)
    assert fetched == [((entry["repo_id"], "onnx/model.onnx"), {"force_download": True, "revision": "abc"})]


def test_an_export_of_an_older_version():
    outputs = onnx.Outputs(changed=np.zeros(1))
    assert outputs.changed == 0 and not hasattr(outputs, "__copied__")
    with pytest.raises(ZooError, match="'copied_larger': an older version wrote it"):
        _ = outputs.copied_larger


def test_unknown_backend():
    with pytest.raises(ZooError, match="torch, onnx, onnx-fp16, onnx-int8"):
        facesym.load("symmetrize", backend="tensorflow")
