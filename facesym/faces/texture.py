"""Copy texture to hair, clothes and background, which a network completes too smoothly.

The network determines the coarse structure. Each masked pixel takes its detail from the visible pixel that looks most
similar when both are blurred: exemplar-based synthesis, as in Criminisi et al. 2004, guided by a coarse image. Visible
pixels of the mirror image are candidates too, because hair runs in the right direction there. Faces are not changed: no
other part of the photo has their detail, and the network was trained on it.
"""

import cv2
import numpy as np

from .pixels import to_uint8

# Lengths are in pixels, chosen on crops of 256 pixels.
BLUR = 2.0  # sigma of the blur before comparing
COARSE = 4.0  # sigma; coarser structure comes from the network, finer detail is copied
OFFSETS = range(-4, 5, 4)  # along both axes, for the comparison of colours
NEARNESS = 0.3  # weight of a pixel of distance relative to 27 colour values
STRIDE = 2  # step between matched masked pixels
REACH = 1.4  # sigma of the window in which a match is copied
LEAST = 50  # minimum number of visible candidates
KEPT = 12  # principal components of the 29 values that are compared
TOGETHER = 32  # masked pixels compared with all candidates at a time


def find_texture(image: np.ndarray, mask: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match masked pixels outside the face to the visible pixels that look most similar.

    Args:
        image: SxSx3 uint8, completed; S is even.
        mask: SxS bool, True = missing.
        face: SxS bool, True = face, which is not changed.

    Returns:
        targets: Nx2 int, (y, x) of pixels in the mask and at its border.
        sources: Nx2 int, (y, x) of their matches in the image with its mirror image appended on the right (Sx2S).
            N = 0 if there is nothing to match or there are too few visible pixels.
    """
    none = np.empty((0, 2), int)
    if not (mask & ~face).any():
        return none, none
    size, margin = len(image), max(OFFSETS)
    blurred = _beside_mirrored(cv2.GaussianBlur(image.astype(np.float32), (0, 0), BLUR))
    blurred = np.pad(blurred, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    near = np.ones((2 * STRIDE + 1,) * 2, np.uint8)
    masked = cv2.dilate((mask & ~face).astype(np.uint8), near) > 0
    visible = cv2.dilate((mask | face).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    visible[:margin] = visible[-margin:] = visible[:, :margin] = visible[:, -margin:] = False
    # The even columns of the mirror image are the odd ones of the image.
    targets, sources = (np.argwhere(x[::STRIDE, ::STRIDE]) for x in (masked, _beside_mirrored(visible)))
    if len(sources) < LEAST:
        return none, none
    descriptors = np.concatenate(
        [
            *(
                blurred[margin + dy :: STRIDE, margin + dx :: STRIDE][: size // STRIDE, : 2 * size // STRIDE]
                for dy in OFFSETS
                for dx in OFFSETS
            ),
            NEARNESS * (STRIDE * np.indices((size // STRIDE, 2 * size // STRIDE)).transpose(1, 2, 0) % size),
        ],
        2,
        dtype=np.float32,
    )
    found = _nearest(descriptors[tuple(targets.T)], descriptors[tuple(sources.T)])
    return STRIDE * targets, STRIDE * sources[found]


def _nearest(descriptors, candidates):
    """Return the index of the nearest candidate (MxK float32) of each descriptor (NxK), by their `KEPT` first principal
    components."""
    middle = candidates.mean(0)
    candidates, descriptors = candidates - middle, descriptors - middle
    kept = np.linalg.eigh(candidates.T @ candidates)[1][:, -KEPT:]
    candidates, descriptors = candidates @ kept, descriptors @ kept
    # |a - b|² / 2 = |b|² / 2 - a · b + const: with a 1 appended to a, one matrix product.
    candidates = np.column_stack([candidates, np.square(candidates).sum(1) / -2]).T.copy()
    descriptors = np.column_stack([descriptors, np.ones(len(descriptors), np.float32)])
    # In parts whose products fit the CPU cache, which is several times faster.
    parts = np.array_split(descriptors, -(-len(descriptors) // TOGETHER))
    return np.concatenate([(part @ candidates).argmax(1) for part in parts])


def _beside_mirrored(field):
    """Append the mirror image on the right: SxS… to Sx2S…."""
    return np.concatenate([field, field[:, ::-1]], 1)


def borrow_texture(
    image: np.ndarray,
    mask: np.ndarray,
    face: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    times: int = 1,
) -> np.ndarray:
    """Copy the detail of the matches to the masked pixels outside the face.

    Args:
        image: SxSx3 uint8, completed; S is even.
        mask, face: SxS bool; see `find_texture`.
        targets, sources: from `find_texture`, for this image or a smaller version of it.
        times: integer ratio of the size of this image to that version.

    Returns:
        SxSx3 uint8; unchanged outside the mask.
    """
    if not len(targets):
        return image
    values, size = image.astype(np.float32), len(image)

    def blur(x, sigma):
        return cv2.GaussianBlur(x, (0, 0), sigma * times).reshape(x.shape)

    # Outside the face: the coarse part of all pixels, and the detail of visible pixels. The coarse part inside the mask
    # includes adjacent visible pixels, which evens out small differences of illumination.
    own, visible, outside = (
        (x & ~face).astype(np.float32)[..., None] for x in (mask, ~mask, np.ones_like(mask))
    )
    coarse, visible_coarse = (
        blur(values * x, COARSE) / np.maximum(blur(x, COARSE), 1e-3) for x in (outside, visible)
    )
    # Three channels of detail and one that sums the weights.
    detail = np.concatenate([values - visible_coarse, np.ones((size, size, 1), np.float32)], 2)
    reach = int(np.ceil(1.5 * REACH * times))
    detail = np.pad(_beside_mirrored(detail), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    votes = np.zeros((size + 2 * reach, size + 2 * reach, 4), np.float32)
    middle = (times - 1) // 2 + reach  # centre of the times × times pixels of one in the smaller version
    # Indices of rows of votes and of detail, flattened.
    to, at = (
        (p * times + middle) @ np.array((x.shape[1], 1)) for p, x in ((targets, votes), (sources, detail))
    )
    flat_votes, flat_detail = votes.reshape(-1, 4), detail.reshape(-1, 4)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            weight = np.float32(np.exp(-(dy**2 + dx**2) / (2 * (REACH * times) ** 2)))
            # Targets are unique, so adding in place is safe.
            flat_votes[to + dy * votes.shape[1] + dx] += weight * flat_detail[at + dy * detail.shape[1] + dx]
    votes = votes[reach:-reach, reach:-reach]
    borrowed = coarse + votes[..., :3] / np.maximum(votes[..., 3:], 1e-3)
    weight = blur(own, 1.0) * own
    return to_uint8(values + weight * (borrowed - values))
