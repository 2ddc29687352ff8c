"""What the tests of the command share: a way to run it, a pipeline that only copies, pictures."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from facesym.cli import main
from facesym.faces.load import load_image


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code


class Copier:
    """A pipeline that gives each photo back, and fails at those whose names it is told to."""

    def __init__(self):
        self.calls, self.fail = [], {}
        self.identity, self.covered = None, [{}]

    def __call__(self, photo, *inputs, **options):
        self.calls.append(photo.name)
        if photo.stem in self.fail:
            raise self.fail[photo.stem]
        image = load_image(photo)
        return SimpleNamespace(
            images=[image], faces=[], identity=self.identity, seconds=0.1, notes=[f"A note on {photo.name}."],
            mask_fraction=0.1, covered=self.covered, asymmetry=[{"overall": float(np.asarray(image).mean())}],
            heatmap=[np.ones((32, 32))], crop=[image], composites=[{"left": image, "original": image}],
            frames=[[image]], fit=[{}], yaw=[0.0], walk=[], grid=[{}],
        )  # fmt: skip


def picture(path, shade=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (shade, 100, 100)).save(path)


def found(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("[!.]*")
        if path.is_file() and ".facesym" not in path.parts
    )
