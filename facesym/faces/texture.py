"""Texture for what a network fills in too smoothly, hair, clothes, background: borrowed from what the picture shows.

The network says what is where, coarsely; the fine detail there is that of the known places that look most alike when
both are blurred (exemplar-based synthesis, as in Criminisi et al. 2004, guided by a coarse picture). They are looked
for in the picture and in its mirror image, whose hair runs the way it should. Faces are left alone: their detail is
not to be had elsewhere, and the network has learned it.
"""

import cv2
import numpy as np
import torch

BLUR = 2.0  # sigma of what is compared; this and the lengths below are pixels, chosen on crops of 256
COARSE = 4.0  # sigma: what is coarser is the network's, what is finer is borrowed
OFFSETS = range(-4, 5, 4)  # pixels, along both axes, at which colours are compared
NEARNESS = (
    0.3  # how much a pixel of distance counts, to a place or its mirror image, beside 27 values of colour
)
STRIDE = 2  # between places that look for their like
REACH = 1.4  # sigma of how far a place's find is copied
LEAST = 50  # places to choose from


def find_texture(picture, hole, face):
    """For places in a hole beside the face, the known places that look most alike.

    Args:
        picture: SxSx3 uint8, completed. hole: SxS bool, what was missing. face: SxS bool, what is left alone.

    Returns:
        Nx2 and Nx2 int: (y, x) of places in the hole and at its rim, and of their finds in the picture with its mirror
        image to the right of it (Sx2S); N = 0 if nothing is to do, or too little is known to choose from.
    """
    none = np.empty((0, 2), int)
    if not (hole & ~face).any():
        return none, none
    size, margin = len(picture), max(OFFSETS)
    blurred = _beside_mirrored(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), BLUR))
    blurred = np.pad(blurred, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    near = np.ones((2 * STRIDE + 1,) * 2, np.uint8)
    wanted = cv2.dilate((hole & ~face).astype(np.uint8), near) > 0
    known = cv2.dilate((hole | face).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    known[:margin] = known[-margin:] = known[:, :margin] = known[:, -margin:] = False
    grid = np.zeros((size, size), bool)
    grid[::STRIDE, ::STRIDE] = True
    # The even columns of the mirror image are the odd ones of the picture.
    places, sources = np.argwhere(wanted & grid), np.argwhere(_beside_mirrored(known) & np.tile(grid, 2))
    if len(sources) < LEAST:
        return none, none

    def looks(at):
        y, x = at.T + margin
        colours = [blurred[y + dy, x + dx] for dy in OFFSETS for dx in OFFSETS]
        return torch.from_numpy(np.concatenate([*colours, NEARNESS * (at % size)], 1).astype(np.float32))

    among, nearest = looks(sources), []
    middle = among.mean(0)
    among = among - middle
    half = among.square().sum(1) / 2  # |a - b|² / 2 is this less a · b, and what is the same for all b
    for some in (looks(places) - middle).split(1024):  # not all distances in memory at once
        nearest.append(torch.addmm(half, some, among.T, alpha=-1).argmin(1))
    return places, sources[torch.cat(nearest).numpy()]


def _beside_mirrored(field):
    """SxS… with its mirror image to the right: Sx2S…."""
    return np.concatenate([field, field[:, ::-1]], 1)


def borrow_texture(picture, hole, face, places, sources, times=1):
    """The picture with the finds' fine detail at the places beside the face.

    Args:
        picture: SxSx3 uint8, completed. hole, face: SxS bool; see `find_texture`.
        places, sources: of `find_texture`, which may have looked at a smaller picture:
        times: how many times as large this one is, a whole number.

    Returns:
        SxSx3 uint8; outside the hole the picture's own.
    """
    if not len(places):
        return picture
    values, size = picture.astype(np.float32), len(picture)
    blur = lambda x, sigma: cv2.GaussianBlur(x, (0, 0), sigma * times).reshape(x.shape)  # noqa: E731
    # The face is no part of what is beside it, nor what fills the hole of the known places' detail. But what is known
    # beside the hole is part of what is coarse in it: light that differs a little flows over the rim.
    own, known, beside = (
        (x & ~face).astype(np.float32)[..., None] for x in (hole, ~hole, np.ones_like(hole))
    )
    coarse, known_coarse = (
        blur(values * x, COARSE) / np.maximum(blur(x, COARSE), 1e-3) for x in (beside, known)
    )
    detail = values - known_coarse
    reach = int(np.ceil(1.5 * REACH * times))
    detail = np.pad(_beside_mirrored(detail), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    votes = np.zeros((size + 2 * reach, size + 2 * reach, 4), np.float32)
    middle = (times - 1) // 2  # of the pixels that stand for one
    to_y, to_x = (places * times + middle + reach).T
    from_y, from_x = (sources * times + middle + reach).T
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            weight = np.exp(-(dy**2 + dx**2) / (2 * (REACH * times) ** 2))
            # No place comes twice, so that adding in place adds each.
            votes[to_y + dy, to_x + dx, :3] += weight * detail[from_y + dy, from_x + dx]
            votes[to_y + dy, to_x + dx, 3] += weight
    votes = votes[reach:-reach, reach:-reach]
    borrowed = coarse + votes[..., :3] / np.maximum(votes[..., 3:], 1e-3)
    share = blur(own, 1.0) * own
    return np.clip(np.rint(values + share * (borrowed - values)), 0, 255).astype(np.uint8)


def with_texture(picture, hole, face):
    """A completed picture with borrowed texture beside the face: see `find_texture`."""
    return borrow_texture(picture, hole, face, *find_texture(picture, hole, face))
