"""Complete the hidden part of a face: photo and mask in, completed photo out."""

import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..errors import ImageError
from ..faces.align import align_face, warp_mask_to_crop
from ..faces.load import load_image, load_mask
from ..faces.paste import fill_smoothly, inside_square, paste_hole
from ..faces.texture import borrow_texture, find_texture
from ..ops import relight, warp
from .base import Result, find_faces, finer_transform, identity_similarity, per_face, to_image, to_tensor


@dataclass
class CompleteResult(Result):
    """What `CompletePipeline` returns. With ``faces="all"`` the first two fields are lists, one entry a face.

    Attributes:
        confidence: HxW float32 in [0, 1], in the aligned crop: how far stage I's copy from the mirrored half is
            trusted; 0 where nothing was copied.
        stages: three RGB images, aligned crops: the warped flip, stage I, the final crop.
        hole_share: share of the photo's pixels that were to be filled.
        seconds: the whole call.
    """

    confidence: np.ndarray | list
    stages: tuple | list
    hole_share: float
    seconds: float


class CompletePipeline:
    """Runs a SymmFCNet on photos; made by ``facesym.load("complete")``.

    Args:
        net: facesym.models.SymmFCNet, in eval mode.
    """

    task = "complete"

    def __init__(self, net):
        self.net = net

    def __call__(self, image, mask, *, faces="largest", paste=True, aligned=False):
        """Complete a photo.

        Args:
            image: the photo: a path, PIL image or HxWx3 uint8 array (see `facesym.faces.load.load_image`).
            mask: what is missing: the same kinds, white or True = missing, of the photo's size.
            faces: "largest", "all" (every face that the mask touches), or an index from left to right.
            paste: False returns the completed crops instead of the photo.
            aligned: the picture is an aligned square crop already; no face is looked for.

        Returns:
            CompleteResult. Pixels outside the mask are the photo's, bit for bit.

        Raises:
            ImageError: a picture cannot be read, the sizes differ, the mask is empty, covers everything, or does
                not touch the face.
            FaceNotFoundError: no face, or not the one asked for.
        """
        start = time.perf_counter()
        photo = load_image(image)
        hole = load_mask(mask, photo.size)
        if not hole.any():
            raise ImageError("The mask is empty: mark in white (or True) what is to be filled in.")
        if hole.all():
            raise ImageError("The mask covers the whole photo: nothing is left to complete it from.")
        size = self.net.config.input_size
        # The kernels that cut the crop reach over the hole's rim: without this, the thing that hides the face
        # would tint crop pixels which count as known.
        clean = fill_smoothly(photo, hole)
        # What hides the face may hide it from the detector too: look again with the hole smoothed over.
        found, chosen, transforms = find_faces(photo, faces, size, aligned=aligned, uncovered=clean)
        own = [hole]
        if not aligned:
            own = _shares(hole, found, transforms, size)
            chosen = self._touched(faces, chosen, own)
        done, confidence, stages, before = photo, [], [], []
        for i in chosen:
            crop = align_face(clean, transforms[i], size)
            known = ~warp_mask_to_crop(hole, transforms[i], size)
            if not known.any():
                raise ImageError("The mask hides the whole face: leave some of it to be completed from.")
            before.append(align_face(photo, transforms[i], size))
            out = self._run(crop, known)
            smooth = np.asarray(to_image(out.completed[0]))
            face = (out.face_region[0, 0] > 0.5).cpu().numpy()
            texture = find_texture(smooth, ~known, face)
            completed = Image.fromarray(borrow_texture(smooth, ~known, face, *texture))
            if paste:
                crop = self._with_detail(clean, hole, transforms[i], out, smooth, texture)
                done = paste_hole(done, *(crop or (completed, transforms[i])), hole, own[i])
            confidence.append((out.confidence * (1 - out.half_mask))[0, 0].float().cpu().numpy())
            stages.append((to_image(out.warped[0]), to_image(out.stage1[0]), completed))
        left = hole & ~np.any([own[i] for i in chosen], axis=0)
        if left.any():
            warnings.warn(
                f"{left.sum() / hole.sum():.0%} of the mask lies outside the square about the face, or nearer to "
                "another face, and was left as it was.",
                stacklevel=2,
            )
        return CompleteResult(
            images=[done] if paste else [final for *_, final in stages],
            faces=[found[i] for i in chosen] if found else [],
            identity=identity_similarity(before, [final for *_, final in stages]),
            confidence=per_face(confidence, faces, aligned),
            stages=per_face(stages, faces, aligned),
            hole_share=float(hole.mean()),
            seconds=time.perf_counter() - start,
        )

    @torch.inference_mode()
    def _run(self, crop, known):
        mask = torch.from_numpy(known[None, None]).to(self.net.device, self.net.dtype)
        return self.net(to_tensor(crop, self.net), mask)

    @torch.inference_mode()
    def _with_detail(self, photo, hole, transform, out, completed, texture):
        """The completed crop with the photo's own fine detail, where the photo shows the face larger than the net.

        Flow and light are smooth, so what they say at the net's size holds for the photo's own pixels: where stage I
        copied, the copy's detail that the net could not see is taken from the mirrored half of a larger crop. What
        looks alike at the net's size does so in the photo: beside the face the finds' own pixels give the texture.

        Args:
            photo: RGB, its hole smoothed over. hole: HxW bool.
            transform: 2x3, photo pixel -> crop pixel.
            out: SymmFCNetOutput of the crop.
            completed: SxSx3 uint8, without texture. texture: of facesym.faces.texture.find_texture.

        Returns:
            RGB crop, K·S x K·S with a whole K ≥ 2, and its transform; None where K would be 1.
        """
        larger, size = finer_transform(transform, len(completed))
        times = size // len(completed)
        if times < 2:
            return None
        sharp = to_tensor(align_face(photo, larger, size), self.net).float()

        def grow(x):
            return F.interpolate(x.float(), (size, size), mode="bilinear", align_corners=False)

        def shrink(x):
            return F.interpolate(x, scale_factor=1 / times, mode="area")

        copied = relight(warp(sharp.flip(-1), grow(out.flow)), grow(out.light))
        detail = copied - grow(shrink(copied))
        trust = grow(out.confidence * (1 - out.half_mask))
        blurred = F.interpolate(
            to_tensor(completed, self.net).float(), (size, size), mode="bicubic", align_corners=False
        )
        detailed = np.asarray(to_image((blurred + trust * detail)[0]))
        # What is known, as the photo has it: texture is taken from there.
        missing = warp_mask_to_crop(hole, larger, size)
        shown = np.where(missing[..., None], detailed, np.asarray(to_image(sharp[0])))
        face = (grow(out.face_region) > 0.5)[0, 0].cpu().numpy()
        return Image.fromarray(borrow_texture(shown, missing, face, *texture, times)), larger

    @staticmethod
    def _touched(faces, chosen, own):
        """Those of the chosen faces that have a part in the mask."""
        touched = [i for i, share in enumerate(own) if share.any()]
        kept = [i for i in chosen if i in touched]
        if kept:
            return kept
        if touched:
            numbers = " or ".join(f"faces={i}" for i in touched)
            raise ImageError(f'The mask does not touch the chosen face: try {numbers}, or faces="all".')
        raise ImageError(
            "The mask does not touch any face: paint over the part of the face that is to be filled in."
        )


def _shares(hole, faces, transforms, size):
    """The part of the hole that belongs to each face (HxW bool): in its square, and nearer to it than to others.

    Nearness counts in crops, so that a large face in front has a larger reach than a small one behind it.
    """
    ys, xs = np.nonzero(hole)
    places = np.stack([xs, ys, np.ones_like(xs)]).astype(np.float64)
    distance = [np.linalg.norm(t @ places - (size - 1) / 2, axis=0) for t in transforms]
    nearest = np.argmin(distance, axis=0)
    shares = []
    for i, transform in enumerate(transforms):
        share = np.zeros_like(hole)
        share[ys[nearest == i], xs[nearest == i]] = True
        shares.append(share & inside_square(transform, size, hole.shape))
    return shares
