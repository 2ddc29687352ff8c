"""Compose a person whose head was turned by a network over the photo's background."""

import cv2
import numpy as np
from PIL import Image

from ..faces.geometry import face_region
from ..faces.matte import behind

LARGEST = 256  # pixels: mattes are moved at most at this size
STEP = 0.4  # brightness of the matte in the probes, small enough that no change of light clips it


def probes(matte: np.ndarray) -> list[np.ndarray]:
    """Make two probe images, from which `moved` computes where a network that copies pixels moves a matte.

    The network renders the probes in place of the photo. Synthesized pixels are equal in both renderings, so their
    difference shows the copied pixels. Unlike the network's flow, this works for any number of passes and for exported
    networks, which do not return the flow.

    Args:
        matte: SxS float32 in [0, 1].

    Returns:
        Two images, 1x3xKxK float32 in [-1, 1], K = min(S, LARGEST): a plain one; and one that is brighter by STEP times
        the matte in the first channel and by STEP in the others.
    """
    side = min(len(matte), LARGEST)
    matte = cv2.resize(matte, (side, side), interpolation=cv2.INTER_AREA)
    ground = np.full((1, 3, side, side), -STEP / 2, np.float32)
    return [ground, ground + np.float32(STEP) * np.stack([matte, *[np.ones_like(matte)] * 2])]


def moved(ground: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Compute the matte as moved by the network.

    Args:
        ground, marked: 1x3xKxK float32, the network's renderings of the `probes`.

    Returns:
        KxK float32 in [0, 1].
    """
    copied = marked[0] - ground[0]
    return np.clip(copied[0] / np.maximum(copied[1], 1e-4), 0, 1)


def compose(
    person: Image.Image, matte: np.ndarray, crop: Image.Image, own: np.ndarray, points: np.ndarray
) -> Image.Image:
    """Compose a moved person over the photo's background.

    Args:
        person: RGB, SxS, the network's output.
        matte: KxK float32 in [0, 1], the person in ``person``.
        crop: RGB, SxS, the photo's crop.
        own: LxL float32 in [0, 1], the person in ``crop``.
        points: 68x2, the crop's landmarks, pixels.

    Returns:
        RGB image, SxS.
    """
    matte, own = (cv2.resize(x, crop.size, interpolation=cv2.INTER_LINEAR)[..., None] for x in (matte, own))
    background = behind(np.asarray(crop), own[..., 0], points)
    mixed = matte * np.asarray(person, np.float32) + (1 - matte) * background
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def keep_outside_face(
    made: Image.Image, made_points: np.ndarray, crop: Image.Image, points: np.ndarray
) -> Image.Image:
    """Restore the pixels outside the face after a change of expression.

    Args:
        made: RGB, the edited crop.
        made_points: 68x2, its landmarks.
        crop: RGB, the input crop, of the same size.
        points: 68x2, the landmarks of the crop.
    """
    side = crop.width
    region = np.maximum(face_region(points, side), face_region(made_points, side))
    region = cv2.dilate(region, np.ones((side // 20, side // 20), np.uint8))
    weight = cv2.GaussianBlur(region, (0, 0), side / 50)[..., None]
    mixed = weight * np.asarray(made, np.float32) + (1 - weight) * np.asarray(crop, np.float32)
    return Image.fromarray(np.rint(mixed).astype(np.uint8))
