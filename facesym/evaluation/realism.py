"""Mode (b) of LSSL: make simulated frontal faces look like photos (train/realism.py)."""

import argparse
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from ..data.faces import to_tensor
from ..data.simulate import FaceMesh, frontalize
from ..faces.landmarks import find_points
from ..pipelines.crops import to_image


def add_realism(command: argparse.ArgumentParser) -> None:
    """Add the option for models of mode (b) to a parser."""
    command.add_argument(
        "--realism", nargs="*", default=[], metavar="[NAME=]MODEL", help="models of train/realism.py"
    )


@torch.inference_mode()
def realistic(net: Any, picture: np.ndarray, mesh: FaceMesh) -> np.ndarray:
    """Frontalize an aligned crop with the mesh and make the result look like a photo.

    Args:
        net: AttributeGenerator from train/realism.py.
        picture: SxSx3 uint8.
        mesh: facesym.data.simulate.FaceMesh.

    Returns:
        SxSx3 uint8.
    """
    side = net.config.input_size
    photo = picture
    if len(picture) != side:
        photo = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    simulated, _ = frontalize(photo, find_points(Image.fromarray(photo)), mesh)
    image, beside = (to_tensor(x)[None] for x in (simulated, photo))
    output = to_image(net(image, (beside + 1) / 2, net.attributes({"look": "photo"})).image[0])
    return np.asarray(output.resize((len(picture), len(picture)), Image.Resampling.LANCZOS))
