"""Find the parts of a face with the zoo's parser."""

import cv2
import numpy as np

from ..errors import ZooError
from ..onnx import backend, run_network, shared_network
from .geometry import face_region
from .pixels import resized, to_input

CLASSES = 7  # of the parser, the background first; before, clothes counted as background
HAIR = 2  # the class of hair, beards included
SPECK = 0.01  # fraction of the side: patches of hair less than twice as wide are dropped
RIM = 0.02  # fraction of the side by which hair is dilated: strands are finer than the parser sees
ALIKE = 11.0  # largest distance in a* and b* (CIE L*a*b*) at which a pixel counts as skin like the cheeks
DARKER = 18.0  # largest amount, in L*, by which such a pixel may be darker
BRIDGE = 28  # landmark on the bridge of the nose
NOSE = 33  # landmark at the base of the nose: hair below it is a beard


def parse(crop: np.ndarray) -> np.ndarray:
    """Parse an aligned crop.

    Args:
        crop: SxSx3 uint8.

    Returns:
        KxPxP float32, the logits of the classes in `facesym.models.parser.CLASSES`, averaged with those of the mirror
        image; P is the side of the parser's images.

    Raises:
        ZooError: the zoo has no parser with all of CLASSES, or its weights are unavailable.
    """
    net = shared_network("parse", backend())
    small = to_input(resized(crop, net.config.input_size))
    plain, mirrored = (
        run_network(net, np.ascontiguousarray(x[None]), "logits")[0] for x in (small, small[..., ::-1])
    )
    if len(plain) < CLASSES:
        raise ZooError(
            f"The zoo's parser has {len(plain)} classes, not {CLASSES}: update the zoo and its weights."
        )
    return (plain + mirrored[..., ::-1]) / 2


def hair_over_face(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Find hair above the base of the nose, and add its mirror image.

    The parser also labels bare foreheads as hair, so pixels in the colour of the cheeks count as skin.

    Args:
        crop: SxSx3 uint8, an aligned crop of a frontal face.
        points: 68x2, its landmarks in pixels.

    Returns:
        SxS float32, 0 or 1; equal to its mirror image.
    """
    size = len(crop)
    hair = resized((parse(crop).argmax(0) == HAIR).astype(np.float32), size) > 0.5
    hair &= ~_like_cheeks(crop, points)
    speck, rim = (
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(x * size) + 1,) * 2) for x in (SPECK, RIM)
    )
    hair = cv2.morphologyEx(hair.astype(np.float32), cv2.MORPH_OPEN, speck)
    hair = np.maximum(hair, hair[:, ::-1]).astype(np.float32)
    hair[round(float(points[NOSE, 1])) :] = 0
    return cv2.dilate(hair, rim)


def _like_cheeks(crop, points):
    """Return where a crop has the colour of the cheeks: SxS bool."""
    size = len(crop)
    lab = cv2.cvtColor(crop.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    top, bottom = (round(float(points[k, 1])) for k in (BRIDGE, NOSE))
    cheeks = face_region(points, size)[top:bottom] > 0
    if not cheeks.any():
        return np.zeros((size, size), bool)
    away = lab - np.median(lab[top:bottom][cheeks], 0)
    alike = (np.hypot(away[..., 1], away[..., 2]) < ALIKE) & (away[..., 0] > -DARKER)
    return cv2.medianBlur(alike.astype(np.uint8), 2 * (size // 64) + 1) > 0
