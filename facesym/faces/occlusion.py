"""Find what covers a face (glasses, masks, hands …): the automatic mask of completion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image
from scipy.special import softmax

from ..attributes import OCCLUSIONS
from ..errors import ImageError, NothingFoundError
from ..onnx import backend, run_network, shared_network
from .align import align_face, resized_transform, warp_mask_to_crop
from .detect import Face
from .find import search_faces
from .geometry import face_region, flip_landmarks, warp_points
from .landmarks import find_points
from .load import Photo
from .paste import fill_smoothly, reaching_border
from .pixels import to_input

AUTO = "auto"
ON_REQUEST = ("hair",)  # kinds that "auto" excludes: a fringe belongs to the face
EYEWEAR = {"glasses", "sunglasses"}
DOUBT = 0.1  # probability of eyewear from which the mirrored side can confirm it
COVERED = 0.5  # minimum probability of a covered pixel
WORN = 0.3  # the same for eyewear: a rim that stays would show through the completion
SURE = 0.92  # minimum of the largest probability within a region
SPECK = 0.001  # minimum area of a region, as a fraction of the crop
MOST_CUT = 0.02  # maximum fraction of the visible face that dilation may cover
MOST_CUT_EYEWEAR = 0.06  # the same for eyewear: uncovered parts of a rim would show through the completion
RIM = 3  # maximum dilation in pixels of the crop
BESIDE = 4  # pixels of the crop beside transparent ones, where the network sees objects that are not there


def network() -> Any:
    """Load the zoo's OcclusionNet for the current backend."""
    return shared_network("occlusion", backend())


def automatic_kinds(mask: Any) -> list[str] | None:
    """Parse the name of an automatic mask.

    Args:
        mask: the ``mask`` argument of a pipeline: "auto" for all kinds but hair, "auto:glasses" or
            "auto:glasses,hair" for some.

    Returns:
        Names of `OCCLUSIONS`; None for any other mask.

    Raises:
        ImageError: a kind does not exist.
    """
    if not isinstance(mask, str) or mask.partition(":")[0] != AUTO:
        return None
    if mask == AUTO:
        return [kind for kind in OCCLUSIONS if kind not in ON_REQUEST]
    asked = [word.strip() for word in mask.partition(":")[2].split(",")]
    unknown = [word for word in asked if word not in OCCLUSIONS]
    if unknown:
        raise ImageError(
            f'mask="{mask}": unknown kind {unknown[0]!r}; choose one or several of {", ".join(OCCLUSIONS)}, separated '
            f"by commas. (For a mask file of that name, write ./{mask})"
        )
    return asked


def occlusion_mask(
    photo: Photo, transforms: Sequence[np.ndarray], size: int, kinds: Iterable[str]
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Find what covers faces of a photo.

    Args:
        photo: the photo. Its transparent pixels, which are white in its image, do not count as covered, and neither
            do opaque ones that look covered only because of this white.
        transforms: 2x3 of each face, photo pixel -> pixel of an aligned crop.
        size: side of these crops in pixels.
        kinds: names of OCCLUSIONS.

    Returns:
        HxW bool, True = covered; and for each face the fraction that each kind covers, see `measure_occlusion`.

    Raises:
        NothingFoundError: nothing covers a face.
        ZooError: the zoo has no occlusion network, or its weights are unavailable.
    """
    side, kinds = network().config.input_size, list(kinds)
    image, transparent = photo.image, photo.transparent
    mask, fractions = np.zeros((image.height, image.width), bool), []
    for transform in transforms:
        transform = resized_transform(transform, side / size)
        hidden = None if transparent is None else warp_mask_to_crop(transparent, transform, side)
        covered, own = measure_occlusion(align_face(image, transform, side), kinds, hidden)
        fractions.append(own)
        # Interpolation turns the steps between the crop's pixels into a smooth outline.
        mask |= (
            cv2.warpAffine(
                covered.astype(np.float32),
                transform,
                mask.shape[::-1],
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            )
            > 0.4
        )
    if transparent is not None:
        mask &= ~transparent
    if not mask.any():
        raise NothingFoundError(
            f"{NothingFoundError.SHORT} The search was for {', '.join(kinds)}. To choose an area yourself, pass "
            'mask="mask.png" (white = fill in).'
        )
    return mask, fractions


def find_occlusions(
    photo: Photo, faces: str | int, size: int, kinds: Iterable[str], *, aligned: bool = False
) -> tuple[np.ndarray, list[dict[str, float]], tuple[list[Face], list[int], list[np.ndarray], int]]:
    """Find the requested faces of a photo and what covers them.

    Args:
        photo, kinds: see `occlusion_mask`.
        faces, size, aligned: see `facesym.faces.find.search_faces`.

    Returns:
        The mask and fractions of `occlusion_mask`, and the result of `search_faces`.

    Raises:
        FaceNotFoundError, ImageError: see `search_faces`.
        NothingFoundError, ZooError: see `occlusion_mask`.
    """
    found = _, chosen, transforms, _ = search_faces(photo.image, faces, size, aligned=aligned)
    return *occlusion_mask(photo, [transforms[i] for i in chosen], size, kinds), found


def find_occlusion(
    crop: Image.Image, kinds: Iterable[str], transparent: np.ndarray | None = None
) -> np.ndarray:
    """Find what covers an aligned face: the mask of `measure_occlusion`."""
    return measure_occlusion(crop, kinds, transparent)[0]


def measure_occlusion(
    crop: Image.Image, kinds: Iterable[str], transparent: np.ndarray | None = None
) -> tuple[np.ndarray, dict[str, float]]:
    """Find what covers an aligned face, and how much of it.

    The network mistakes mirrored lenses for objects and confuses glasses with sunglasses. If either is requested, all
    eyewear is found.

    Args:
        crop: RGB image of the network's size.
        kinds: names of OCCLUSIONS.
        transparent: SxS bool, True = transparent in the photo and therefore white in the crop; default: nothing.

    Returns:
        SxS bool, True = covered: regions that touch the face, and damage anywhere, dilated; and {kind: fraction of
        the face that it covers}, largest first, without kinds that make up less than a twentieth of the mask.
    """
    kinds, probability, points = set(kinds), occlusion_probability(crop), find_points(crop)
    if transparent is not None and transparent.any():
        probability = _without_artefacts(probability, crop, transparent)
    channel = {kind: probability[1 + k] for k, kind in enumerate(OCCLUSIONS)}
    face = face_region(points, crop.width, forehead=1.0) > 0
    if kinds & EYEWEAR:
        _confirm_by_symmetry(channel, points)
    nowhere = np.zeros_like(face)
    anywhere = channel["damage"] > COVERED if "damage" in kinds else nowhere
    hidden = nowhere if transparent is None else transparent
    covered = sum(channel[kind] for kind in OCCLUSIONS if kind in kinds)
    worn = nowhere
    if kinds & EYEWEAR:
        worn = channel["glasses"] + channel["sunglasses"] > 0.5 * covered
    found = _regions(covered, np.where(worn, WORN, COVERED), face, anywhere, hidden)
    eyewear = found & worn
    if kinds & EYEWEAR:
        anything = 1 - probability[0] - channel["hair"]
        eyewear |= _over_eyes(found | _regions(anything, WORN, face, nowhere, hidden), points)
    visible = face & (probability[0] > 0.5) & ~found & ~eyewear
    mask = _with_rim(eyewear, visible, MOST_CUT_EYEWEAR) | _with_rim(found & ~eyewear, visible, MOST_CUT)
    return mask, _fractions(channel, kinds, mask, eyewear, face)


def _fractions(channel, kinds, mask, eyewear, face):
    """Return the fraction of the face that each kind covers; all of the eyewear is of the likelier kind.

    Args:
        channel: {kind: SxS float32, probability}.
        kinds: set of the requested kinds.
        mask, eyewear, face: SxS bool.
    """
    names = [kind for kind in OCCLUSIONS if kind in kinds]
    likely = np.stack([channel[name] for name in names])
    kind, known = np.array(names, object)[likely.argmax(0)], (likely.max(0) > DOUBT) | eyewear
    if eyewear.any():
        kind[eyewear] = max(sorted(EYEWEAR), key=lambda name: channel[name][eyewear].sum())
    found = {name: _dilated(mask & known & (kind == name), RIM) & mask for name in OCCLUSIONS}
    found = {name: part for name, part in found.items() if part.sum() > mask.sum() / 20}
    fractions = {name: round(float((part & face).sum() / face.sum()), 4) for name, part in found.items()}
    return dict(sorted(fractions.items(), key=lambda item: -item[1]))


def _without_artefacts(probability, crop, transparent):
    """Lower the probability of objects that the network sees only because of the white of transparent pixels: those
    that it no longer sees once these pixels are filled in.

    Filled in from their surroundings, a cut-out's outside takes the colour of an object that ends there, which then
    looks like a background. So it is also filled in with the mean colour, and either image may show the object. Holes
    are not: in a face, a uniform patch itself looks like an object.
    """
    smooth = fill_smoothly(crop, transparent)
    filled = occlusion_probability(smooth)[1:]
    outside = reaching_border(transparent)
    if outside.any() and not transparent.all():
        plain = np.array(smooth)
        plain[outside] = np.asarray(crop)[~transparent].mean(0)
        filled = np.maximum(filled, occlusion_probability(Image.fromarray(plain))[1:])
    covered = np.minimum(probability[1:], filled)
    return np.concatenate([1 - covered.sum(0, keepdims=True), covered])


def _confirm_by_symmetry(channel, points):
    """Raise the probability of eyewear where the network is in doubt but sees it at the mirrored position.

    Args:
        channel: {kind: SxS float32, probability}; changed in place.
        points: 68x2, the landmarks in pixels.
    """
    size = len(channel["glasses"])
    worn = channel["glasses"] + channel["sunglasses"]
    mirrored, _ = warp_points(np.ascontiguousarray(worn[:, ::-1]), flip_landmarks(points, size), points)
    confirmed = (worn > DOUBT) & (worn < mirrored)
    rise = np.where(confirmed, mirrored, worn) / np.maximum(worn, 1e-6)
    for kind in EYEWEAR:
        channel[kind] = channel[kind] * rise


def occlusion_probability(crop: Image.Image, net: Any = None) -> np.ndarray:
    """Run a network on an aligned face and its mirror image, and average the two.

    Args:
        crop: RGB image of the network's size.
        net: OcclusionNet; default: the zoo's.

    Returns:
        (1+K)xSxS float32, the probability of a visible pixel, then of each of OCCLUSIONS; they sum to 1.
    """
    pixels = to_input(np.asarray(crop))
    images = np.stack([pixels, pixels[..., ::-1]])
    plain, mirrored = softmax(run_network(net or network(), images, "logits"), 1)
    return (plain + mirrored[..., ::-1]) / 2


def _regions(probability, least, face, anywhere, transparent):
    """Return the connected regions (SxS bool) that are large and certain enough.

    Args:
        probability: SxS, of the requested kinds.
        least: number or SxS, the minimum probability of a covered pixel.
        face: SxS bool; a region must touch it, or ``anywhere``.
        transparent: SxS bool; a region must lie in the rest, away from the border, where the white of transparent
            pixels misleads the network.
    """
    found = probability > least
    near = _dilated(transparent, BESIDE) if transparent.any() else transparent
    # A thin rim may be broken: its pieces count together.
    joined = cv2.morphologyEx((found & ~near).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    kept = np.zeros_like(found)
    for k in range(1, count):
        part = parts == k
        large = stats[k, cv2.CC_STAT_AREA] >= SPECK * found.size
        if large and probability[part].max() >= SURE and (part & (face | anywhere)).any():
            kept |= part
    if near.any():  # regions that are kept reach the transparent pixels
        kept |= found & near & ~transparent & _dilated(kept, BESIDE)
    return kept


def _over_eyes(found, points):
    """Return the connected regions of a mask (SxS bool) that cover an eye but not the nose or the forehead.

    Args:
        found: SxS bool.
        points: 68x2, the landmarks in pixels.
    """
    distance = np.linalg.norm(points[42:48].mean(0) - points[36:42].mean(0))
    top, bottom = points[17:27, 1].min() - distance / 3, points[33, 1]
    eyes = []
    for outline in (points[36:42], points[42:48]):
        eye = np.zeros(found.shape, np.uint8)
        eyes.append(cv2.fillConvexPoly(eye, cv2.convexHull(np.round(outline).astype(np.int32)), 1))
    count, parts = cv2.connectedComponents(found.astype(np.uint8), connectivity=8)
    kept = np.zeros_like(found)
    for k in range(1, count):
        part, rows = parts == k, np.nonzero(parts == k)[0]
        covers = max(part[eye > 0].sum() / max(eye.sum(), 1) for eye in eyes)
        if covers > 0.5 and np.mean((rows > top) & (rows < bottom)) > 0.9:
            kept |= part
    return kept


def _with_rim(found, visible, most):
    """Dilate a mask (SxS bool) by up to `RIM` pixels, as long as it cuts at most ``most`` of the visible face."""
    for width in range(RIM, 0, -1):
        wider = _dilated(found, width)
        if (wider & visible).sum() <= most * visible.sum():
            return wider
    return found


def _dilated(mask, width):
    """Dilate a mask (SxS bool) by a disk of radius ``width`` pixels."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1,) * 2)
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0
