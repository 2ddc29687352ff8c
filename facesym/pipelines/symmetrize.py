"""Make a face symmetric, and say how asymmetric it was: photo in, photo and numbers out."""

import time
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image

from ..asymmetry import measure_asymmetry
from ..errors import ImageError
from ..faces.align import align_face
from ..faces.geometry import face_region, face_shown
from ..faces.load import load_image
from ..faces.mirror import mirror_composites, reflect
from ..faces.paste import paste_face
from .base import Result, find_faces, identity_similarity, per_face, to_image, to_tensor

METHODS = ("model", "left", "right", "average")
TURNED = 30  # degrees of yaw beyond which the numbers, and mirrored halves, mean little


@dataclass
class SymmetrizeResult(Result):
    """What `SymmetrizePipeline` returns. With ``faces="all"`` (and not ``aligned``) the fields are lists, one entry a
    face.

    Attributes:
        asymmetry: how asymmetric the face in the photo is, a dict: "overall", an index for each region
            (`facesym.asymmetry.REGIONS`), "roll" and "yaw" in degrees. See `facesym.asymmetry.Asymmetry`.
        heatmap: SxS float32 ≥ 0, in the aligned crop: where the face differs from its mirror image.
        crop: RGB, the aligned crop that was worked on.
        composites: with ``composites=True`` a dict of six aligned crops: "original", "mirrored", "left", "right",
            "average" and "model"; else None.
        seconds: the whole call.
    """

    asymmetry: dict | list
    heatmap: np.ndarray | list
    crop: Image.Image | list
    composites: dict | list | None
    seconds: float


def one_piece(region):
    """The largest piece of a region (SxS float), its holes filled and 1/64 of the side off its rim, where the network's
    colours are still half of what was removed: SxS float32, 0 or 1."""
    solid = (region > 0.5).astype(np.uint8)
    contours, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = np.zeros_like(solid)
    if contours:
        cv2.drawContours(whole, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return cv2.erode(whole, np.ones((len(region) // 64 * 2 + 1,) * 2)).astype(np.float32)


class SymmetrizePipeline:
    """Runs a SymmetrizerVAE on photos; made by ``facesym.load("symmetrize")``.

    Args:
        net: facesym.models.SymmetrizerVAE, in eval mode.
    """

    task = "symmetrize"

    def __init__(self, net):
        self.net = net

    def __call__(
        self,
        image,
        *,
        method="model",
        faces="largest",
        paste=True,
        aligned=False,
        exact=True,
        composites=False,
    ):
        """Make the face in a photo symmetric.

        Args:
            image: the photo: a path, PIL image or HxWx3 uint8 array (see `facesym.faces.load.load_image`).
            method: "model"; or what mirroring about the landmarks' middle line gives: "left" or "right" (that half
                of the picture and its mirror image), "average" (the mean of the face and its mirror image).
            faces: "largest", "all", or an index from left to right.
            paste: False returns aligned crops instead of the photo: for "model" the face alone, black around it.
            aligned: the picture is an aligned square crop already; no face is looked for.
            exact: "model" is symmetric to the pixel in its crop, not only nearly so.
            composites: also return all six pictures of each face.

        Returns:
            SymmetrizeResult. What lies outside the face is the photo's, bit for bit.

        Raises:
            ImageError: the picture cannot be read, or an unknown method.
            FaceNotFoundError: no face, or not the one asked for.
        """
        start = time.perf_counter()
        if method not in METHODS:
            raise ImageError(f"There is no method {method!r}: use one of {', '.join(METHODS)}.")
        photo = load_image(image)
        size = self.net.config.input_size
        found, chosen, transforms = find_faces(photo, faces, size, aligned=aligned)
        done, crops, results, shown, measures, sets = photo, [], [], [], [], []
        for i in chosen:
            crop = align_face(photo, transforms[i], size)
            measure = measure_asymmetry(crop)
            if abs(measure.yaw) > TURNED:
                warnings.warn(
                    f"The head is turned by about {abs(measure.yaw):.0f} degrees: beyond {TURNED} neither the numbers "
                    "nor the symmetric face can be relied on.",
                    stacklevel=2,
                )
            mirrored = mirror_composites(crop, measure.points) if composites or method != "model" else {}
            if composites or method == "model":
                face, picture, region = self._run(crop, exact)
            if composites:
                sets.append({"original": crop, **mirrored, "model": face})
            if method == "model":
                result = face
            else:
                picture = result = mirrored[method]
                region = face_region(measure.points, size)
                region = np.maximum(region, reflect(region, measure.points))
            if paste:
                done = paste_face(done, picture, transforms[i], region, face_shown(measure.points, size))
            crops.append(crop)
            results.append(result)
            shown.append(align_face(done, transforms[i], size) if paste else picture)
            measures.append(measure)
        return SymmetrizeResult(
            images=[done] if paste else results,
            faces=[found[i] for i in chosen] if found else [],
            identity=identity_similarity(crops, shown),
            asymmetry=per_face([measure.numbers() for measure in measures], faces, aligned),
            heatmap=per_face([measure.heatmap for measure in measures], faces, aligned),
            crop=per_face(crops, faces, aligned),
            composites=per_face(sets, faces, aligned) if composites else None,
            seconds=time.perf_counter() - start,
        )

    @torch.inference_mode()
    def _run(self, crop, exact):
        """The face alone and the picture behind it (RGB images), and the face's region (SxS float32)."""
        out = self.net(to_tensor(crop, self.net), exact=exact)
        region = one_piece(out.region[0, 0].float().cpu().numpy())
        return to_image(out.face[0]), to_image(out.picture[0]), region
