"""Conversion of pixels between uint8 and floats."""

import cv2
import numpy as np


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Round floats to the nearest of the levels from 0 to 255.

    Args:
        values: of any shape.

    Returns:
        uint8 of the same shape.
    """
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def to_input(images: np.ndarray) -> np.ndarray:
    """Convert images to the input of a network.

    Args:
        images: …xHxWx3 uint8.

    Returns:
        …x3xHxW float32 in [-1, 1].
    """
    return np.moveaxis(images, -1, -3) / np.float32(127.5) - 1


def resized(image: np.ndarray, side: int) -> np.ndarray:
    """Resize an image (SxS or SxSxC) to another side."""
    how = cv2.INTER_AREA if len(image) > side else cv2.INTER_LINEAR
    return cv2.resize(image, (side, side), interpolation=how)
