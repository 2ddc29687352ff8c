"""Turn the head in a photo: fit and tune the generator to it, then move the latent."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Self, overload

import numpy as np
import torch
from PIL import Image

from ..asymmetry import landmark_asymmetry
from ..errors import ImageError, ZooError
from ..faces.align import align_face
from ..faces.decode import PictureSource
from ..faces.geometry import resized_points, turn, warp_points
from ..faces.landmarks import find_points
from ..faces.pose import find_pose
from ..faces.turn import turned_photo, with_detail
from ..fit import fit_and_tune
from ..identity import SAME_PERSON
from ..logging import progress_bar
from ..threads import few_threads
from .base import CallbackError, FaceJob, Pipeline, Result
from .crops import to_image, to_tensor
from .head import POSITIONS, REACH, VIEWS, FittedHead
from .notes import UNLIKE, limit_note, turn_limit

MIN_POSITIONS = 9  # minimum number of POSITIONS if time is short
MAX_FRAMES = 1000  # maximum length of a series, which is kept in memory
BAR = "{desc}: {percentage:3.0f}% |{bar}| {remaining} left"


@dataclass(kw_only=True, repr=False)
class RotateResult(Result):
    """Result of `RotatePipeline`; ``images`` shows the head at the (last) requested yaw. The fields are lists with one
    entry per face.

    Attributes:
        frames: lists of RGB images, aligned crops of twice the generator's size: the head at each of ``yaws``.
        yaws: lists of degrees, as requested, within ``fit["range"]``.
        fit: dicts: "psnr_before" and "psnr" (dB, at the generator's size, before and after tuning the generator),
            "identity" (cosine similarity of the fitted face and the crop by the zoo's identity network), "yaw" (of
            the photo), "range" (minimum and maximum yaw that preserve the identity), "limit" (why the head is turned
            less than requested; None if it is not, or if the fit failed), "seconds" (duration of the fit).
        crop: RGB images, the aligned input crops, at the size of the frames.
    """

    frames: list[list[Image.Image]]
    yaws: list[list[float]]
    fit: list[dict]
    crop: list[Image.Image]


@dataclass(kw_only=True)
class RotateJob(FaceJob):
    """A face being processed. ``frames``, ``yaws`` and ``fit``: see the result."""

    frames: list = field(default_factory=list)
    yaws: list = field(default_factory=list)
    fit: dict = field(default_factory=dict)


class RotatePipeline(Pipeline):
    """Fits a SymmetricGenerator to photos and turns their heads; made by ``facesym.load("rotate")``.

    Args:
        net: facesym.models.SymmetricGenerator, in eval mode, of kind "zprime" or "flip".

    Raises:
        ZooError: the generator is of kind "plain" or "tile", which cannot turn a head.
    """

    task = "rotate"
    result = RotateResult

    trained_yaw = REACH
    layout = "contiguous_format"

    def __init__(self, net: Any):
        from .. import zoo

        if net.config.kind not in ("zprime", "flip"):
            raise ZooError(
                f"This generator is of kind {net.config.kind}, which is not symmetric and cannot turn a head: use "
                "one of kind zprime or flip."
            )
        # Always in float32: fitting fails in lower precision.
        super().__init__(net.to(torch.float32).requires_grad_(False))
        helpers = {entry["task"] for entry in zoo.list_models() if entry["default"]}
        self.recogniser = self._helper("identity") if "identity" in helpers else None
        self.encoder = self._helper("encode") if "encode" in helpers else None
        own = ("kind", "latent", "asymmetric")
        if self.encoder is not None and (
            self.encoder.config.size != net.size
            or any(self.encoder.config[key] != net.config[key] for key in own)
        ):
            self.encoder = None  # it was trained with another generator

    @property
    def size(self) -> int:
        return 2 * self.net.size  # of the frames, which have the photo's detail

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Self:
        """Move the networks. ``dtype`` is ignored: fitting needs float32. See `Pipeline.to`."""
        super().to(None if isinstance(device, torch.dtype) else device)
        for net in (self.recogniser, self.encoder):
            if net is not None:
                net.to(self.net.device)
        return self

    def _helper(self, task) -> Any:
        from .. import zoo

        return zoo.load(task, device=self.net.device).requires_grad_(False)

    @overload
    def __call__(
        self,
        image: PictureSource,
        *,
        yaw: float | tuple[float, float] = ...,
        frames: int = ...,
        steps: int = ...,
        seconds: float | None = ...,
        faces: str | int = ...,
        paste: bool = ...,
        aligned: bool = ...,
        progress: Callable | None = ...,
        batch_size: int = ...,
        on_error: str = ...,
    ) -> RotateResult: ...

    @overload
    def __call__(
        self,
        image: list | tuple,
        *,
        yaw: float | tuple[float, float] = ...,
        frames: int = ...,
        steps: int = ...,
        seconds: float | None = ...,
        faces: str | int = ...,
        paste: bool = ...,
        aligned: bool = ...,
        progress: Callable | None = ...,
        batch_size: int = ...,
        on_error: str = ...,
    ) -> list[RotateResult | None]: ...

    def __call__(
        self,
        image: Any,
        *,
        yaw: float | tuple[float, float] = (-20, 20),
        frames: int = 25,
        steps: int = 200,
        seconds: float | None = None,
        faces: str | int = "largest",
        paste: bool = False,
        aligned: bool = False,
        progress: Callable | None = None,
        batch_size: int = 1,
        on_error: str = "raise",
    ) -> Any:
        """Turn the head in a photo.

        Args:
            image: the photo: a path, PIL image, array, tensor, bytes or file object (see
                `facesym.faces.load.read_photo`), or a list of photos.
            yaw: in degrees, 0 = facing the camera, negative = towards the left of the image: one number, or the first
                and last of a series. Clipped, with a warning, to the range that preserves the identity.
            frames: number of frames of a series, at most 1,000; a single frame shows the last yaw.
            steps: number of tuning steps; fitting z takes half as many.
            seconds: time budget per face for the fit, the measurement of its range, and the frames; at least one or
                two seconds are used.
            faces: "largest", "all", or an index from left to right.
            paste: True pastes the face at the last yaw into the photo; hair and neck do not change.
            aligned: the image is already an aligned square crop; skip face detection.
            progress: called at intervals with (fraction done of all photos, current RGB image); exceptions it raises
                end the call. Without it, a terminal shows a progress bar.
            batch_size: number of photos, and of faces, that the network processes at a time.
            on_error: "raise", or "skip" photos of a list that fail: their result is None, and a warning gives the
                reason.

        Returns:
            RotateResult.

        Raises:
            ImageError: the image cannot be read, or a number is invalid.
            FaceNotFoundError: no face was found, or not the requested one.
        """
        try:
            ends = np.atleast_1d(np.asarray(yaw, float))
        except (TypeError, ValueError):
            ends = np.array([np.nan])
        if ends.shape not in ((1,), (2,)) or not (np.abs(ends) <= 90).all():
            raise ImageError(f"yaw must be one or two numbers between -90 and 90 (degrees), not {yaw!r}.")
        if not all(isinstance(n, Integral) and n >= 1 for n in (frames, steps)):
            raise ImageError("frames and steps must be whole numbers of at least 1.")
        if frames > MAX_FRAMES:
            raise ImageError(f"frames must be at most {MAX_FRAMES}.")
        if seconds is not None and not (isinstance(seconds, Real) and seconds > 0):
            raise ImageError(f"seconds must be a number above 0, not {seconds!r}.")
        ends = ends[-1:] if frames == 1 else ends
        return self._process(
            image, faces=faces, paste=paste, aligned=aligned, ends=ends, frames=frames, steps=steps, seconds=seconds,
            progress=progress, batch_size=batch_size, on_error=on_error,
        )  # fmt: skip

    def _align(self, job, index, options):
        transform = job.transforms[index]
        crop = align_face(job.photo.image, transform, self.size)
        return RotateJob(job.photo, transform, crop, find_pose(crop)[0])

    def _run(self, faces, options):
        told = options.progress is not None
        begun = 100 * faces[0].span[0]
        with progress_bar(
            total=100, initial=begun, desc="Fitting", bar_format=BAR, leave=False, disable=told
        ) as bar:
            for face in faces:

                def tell(fraction, image, face=face):
                    fraction = float(np.interp(fraction, (0, 1), face.span))
                    bar.update(100 * fraction - bar.n)
                    if told:
                        try:
                            options.progress(fraction, self._edited(face, to_image(image[0])))
                        except Exception as error:
                            raise CallbackError(error) from error

                self._turn(face, options, tell)

    def _turn(self, face, options, tell):
        """Fit a face and turn it; set its frames, output, yaws and fit."""
        count = options.frames if len(options.ends) == 2 else 1
        head = self.fit(face.crop, steps=options.steps, seconds=options.seconds, progress=tell, frames=count)
        low, high = head.range
        within, limit = np.clip(options.ends, low, high), None
        if head.alike is not None and head.alike < SAME_PERSON:
            face.notes.append(f"The model could not be fitted well to this face: the result {UNLIKE}.")
        elif limit := turn_limit(options.ends, within, REACH):
            face.notes.append(limit_note(options.ends, within, limit))
        yaws = np.linspace(within[0], within[-1], count)
        face.frames = head.frames(yaws)
        face.output = face.frames[-1]
        face.yaws = [round(float(y), 2) for y in yaws]
        face.fit = self._numbers(head, face.crop) | {"limit": limit}

    def _fields(self, faces):
        return {
            "frames": [[self._edited(face, frame) for frame in face.frames] for face in faces],
            "yaws": [face.yaws for face in faces],
            "fit": [face.fit for face in faces],
            "crop": [face.photo.restore_crop(face.crop, face.crop) for face in faces],
        }

    @torch.inference_mode(False)
    def fit(
        self,
        crop: Image.Image,
        *,
        steps: int = 200,
        seconds: float | None = None,
        progress: Callable | None = None,
        views: bool = True,
        frames: int = 0,
    ) -> FittedHead:
        """Fit the generator to an aligned crop (Algorithm 1) and return a `FittedHead`.

        Args:
            crop: RGB image, square, at the size of the frames, which is at least the generator's size. The fit uses the
                generator's size.
            steps: number of tuning steps; fitting z takes half as many.
            seconds: time budget.
            progress: see `facesym.fit.fit_and_tune`.
            views: also fit copies of the crop that are warped to other yaws.
            frames: number of frames to render afterwards; the budget reserves time for them.

        Raises:
            ImageError: the crop is not square or too small.
        """
        began, size = time.monotonic(), self.net.size
        if crop.width != crop.height or crop.width < size:
            raise ImageError(
                f"The crop must be square and at least {size} pixels wide, not {crop.width}x{crop.height}."
            )
        points = find_points(crop).astype(np.float64)
        yaw = landmark_asymmetry(points)[2]
        small = crop.resize((size, size), Image.Resampling.LANCZOS)
        image = to_tensor(small, self.net)
        known = self.net.config.yaw
        start, others = None, []
        if self.encoder is not None:
            with torch.no_grad():
                start = self.encoder.uniform(self.encoder(image))
        if known and views:
            at = resized_points(points, size / crop.width)
            for by in (by for by in VIEWS if abs(yaw + by) <= REACH):
                turned, _ = warp_points(np.asarray(small), at, turn(at, by))
                others.append((yaw + by, to_tensor(Image.fromarray(turned), self.net)))
        positions = POSITIONS
        if seconds is not None:
            per_position, per_frame = self._times(crop, points)
            left = seconds - (time.monotonic() - began)
            positions = int(np.clip(left / 3 / per_position, MIN_POSITIONS, POSITIONS))
            seconds = max(left - positions * per_position - frames * per_frame, left / 3)
        with few_threads():
            fit = fit_and_tune(
                self.net, image, self.recogniser, start=start, yaw=yaw if known else None, views=others,
                fit_steps=max(steps // 2, 1), tune_steps=steps, seconds=seconds, progress=progress,
            )  # fmt: skip
        head = FittedHead(fit, yaw, crop, points, self.recogniser, positions)
        fit.seconds = time.monotonic() - began
        return head

    def _times(self, crop, points):
        """Return the seconds to measure one latent after a fit, and to render one frame."""
        began = time.monotonic()
        frame = to_image(self.net(self.net.sample(1))[0])
        find_points(frame)
        if self.recogniser is not None:
            self.recogniser(to_tensor(frame, self.recogniser))
        measured = time.monotonic()
        with_detail(np.asarray(frame), *turned_photo(np.asarray(crop), points, 0.0, 10.0, mirror=False))
        return measured - began, time.monotonic() - measured

    def _numbers(self, head, crop):
        """Return the field ``fit`` of the result."""
        target = to_tensor(crop.resize((self.net.size,) * 2, Image.Resampling.LANCZOS), self.net)

        def psnr(image):
            return float(-10 * ((image.float() - target) / 2).square().mean().log10())

        return {
            "psnr_before": round(psnr(head.fit.before), 2),
            "psnr": round(psnr(head.fit.after), 2),
            "identity": None if head.alike is None else round(head.alike, 4),
            "yaw": round(head.yaw, 2),
            "range": [round(end, 2) for end in head.range],
            "seconds": round(head.fit.seconds, 2),
        }
