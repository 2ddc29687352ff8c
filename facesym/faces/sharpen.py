"""Sharpen a synthesized face that is softer than the photo it was made from."""

import cv2
import numpy as np

FINE = 1 / 256  # sigma as a fraction of the side: what is sharpened is finer
MAX_AMOUNT = 1.0  # maximum weight of the added detail
RIM = 1 / 64  # sigma of the border of the sharpened region, as a fraction of the side
# Centre and half axes (x, y) of a frontal face in an aligned crop, as fractions of the side.
CENTRE, AXES = (0.5, 0.58), (0.2, 0.26)


def frontal_face(size: int) -> np.ndarray:
    """Return the region of a frontal face in an aligned crop (FFHQ framing): SxS bool, S = ``size``."""
    y, x = ((np.mgrid[:size, :size] + 0.5) / size).astype(np.float32)
    return np.hypot((x - CENTRE[0]) / AXES[0], (y - CENTRE[1]) / AXES[1]) < 1


def sharpen_like(
    output: np.ndarray, region: np.ndarray, photo: np.ndarray, photo_region: np.ndarray
) -> np.ndarray:
    """Sharpen a region by an unsharp mask, until it is as sharp as a region of the photo.

    Sharpness is the root mean square of the Laplacian. The amount of the unsharp mask follows from it in closed form.

    Args:
        output: SxSx3 uint8, the synthesized face.
        region: SxS bool, where to sharpen.
        photo: SxSx3 uint8.
        photo_region: SxS bool, where its sharpness is measured.

    Returns:
        SxSx3 uint8; unchanged if it is sharp enough, or if a region is empty.
    """
    if not region.any() or not photo_region.any():
        return output
    size, values = len(output), output.astype(np.float32)
    detail = values - cv2.GaussianBlur(values, (0, 0), FINE * size)
    own, added, target = (
        cv2.Laplacian(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), cv2.CV_32F)[where]
        for x, where in ((values, region), (detail, region), (photo.astype(np.float32), photo_region))
    )
    # The root of |own + amount · added|² = |target|².
    a, b = np.square(added).mean(), (own * added).mean()
    c = np.square(own).mean() - np.square(target).mean()
    if c >= 0 or a == 0:
        return output
    amount = min((np.sqrt(b * b - a * c) - b) / a, MAX_AMOUNT)
    weight = amount * cv2.GaussianBlur(region.astype(np.float32), (0, 0), RIM * size)
    return np.clip(np.rint(values + weight[..., None] * detail), 0, 255).astype(np.uint8)
