"""Add grain to the completed part of a face, which a network draws more smoothly than the skin around it.

The grain has the spectrum and the colours of the detail of visible skin: white noise convolved with it (asymptotic
discrete spot noise: Galerne et al., Random Phase Textures, 2011).
"""

import cv2
import numpy as np

FINE = 1 / 190  # sigma as a fraction of the side: finer structure is detail
# Sigma, as a fraction of the side, of the window in which the strength of detail is measured.
WINDOW_SIGMA = 1 / 85
SMOOTH = 1.3  # visible pixels with more detail than this multiple of the median belong to features or hair
AMOUNT = 0.65  # fraction of the missing detail that is added
MINIMUM = 0.003  # minimum fraction of the crop that shows skin


def with_grain(image: np.ndarray, mask: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Add grain to the completed part of a face until its detail is nearly as strong as that of visible skin.

    Args:
        image: SxSx3 uint8, completed.
        mask: SxS bool, True = missing.
        face: SxS bool, True = face.

    Returns:
        SxSx3 uint8; unchanged outside the mask and the face, and if too little skin is visible.
    """
    size, out = len(image), image
    if not (mask & face).any():
        return image
    # Only the box around the face is computed.
    rows, columns = (slice(x[0], x[-1] + 1) for x in map(np.flatnonzero, (face.any(1), face.any(0))))
    image, mask, face = (x[rows, columns] for x in (image, mask, face))
    values = image.astype(np.float32)
    detail = values - cv2.GaussianBlur(values, (0, 0), FINE * size)
    # Visible pixels at the border of the mask are partly interpolated.
    near = 2 * round(0.008 * size) + 1
    skin = face & (cv2.dilate(mask.astype(np.uint8), np.ones((near, near), np.uint8)) == 0)
    if skin.sum() < MINIMUM * size**2:
        return out
    energy = cv2.GaussianBlur(np.square(detail).mean(2), (0, 0), WINDOW_SIGMA * size)
    skin &= energy <= SMOOTH * np.median(energy[skin])
    missing = np.sqrt(np.maximum(energy[skin].mean() - energy, 0))
    weight = cv2.GaussianBlur((mask & face).astype(np.float32), (0, 0), size / 256) * mask
    grain = (AMOUNT * weight * missing)[..., None] * _noise_like(detail * skin[..., None])
    out = out.copy()
    out[rows, columns] = np.clip(np.rint(values + grain), 0, 255)
    return out


def _noise_like(texture):
    """Draw noise with the spectrum of a texture (HxWx3 float32): the same each time, of unit mean square."""
    shape = texture.shape[:2]
    white = np.random.default_rng(0).standard_normal((*shape, 1), np.float32)
    spectrum = np.fft.rfft2(white, axes=(0, 1)) * np.fft.rfft2(texture, axes=(0, 1))
    noise = np.fft.irfft2(spectrum, shape, axes=(0, 1))
    return noise / max(np.sqrt(np.square(noise).mean()), 1e-12)
