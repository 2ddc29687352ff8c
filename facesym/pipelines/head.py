"""A generator fitted to a photo, which renders the head at any yaw."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from scipy.optimize import isotonic_regression

from ..asymmetry import landmark_asymmetry
from ..faces.landmarks import find_points
from ..faces.turn import turned_photo, with_detail
from ..fit import Fit
from ..identity import SAME_PERSON
from .crops import to_image, to_tensor

if TYPE_CHECKING:
    from ..models.lightcnn import LightCNN

VIEWS = (-28, -14, 14, 28)  # degrees from the photo's yaw; warped copies at these yaws are fitted too
REACH = 35.0  # maximum yaw in degrees, to either side
POSITIONS = 29  # number of latents between the ends at which yaw and identity are measured
TURNED = 10  # degrees of yaw from which a head counts as turned and interpolates to its mirror image
# Degrees by which a frame may be turned farther than the last measured head: the generator lights its pixels, but the
# photo is warped to the requested yaw.
BEYOND = 6.0


class FittedHead:
    """A generator tuned to a face, which renders the head at any yaw.

    Args:
        fit: facesym.fit.Fit.
        yaw: yaw of the photo in degrees.
        crop: RGB image, SxS, the fitted face at the size of the frames.
        points: 68x2, the landmarks of ``crop`` in pixels.
        recogniser: LightCNN, or None to ignore the identity.
        count: number of latents at which yaw and identity are measured.

    Attributes:
        positions: positions of the measured latents, see `latent`.
        measured: yaws of the heads at these positions in degrees, increasing.
        range: (minimum, maximum) yaw in degrees that preserves the identity.
        alike: cosine similarity of the fitted face and the crop; None without ``recogniser``.
    """

    def __init__(
        self,
        fit: Fit,
        yaw: float,
        crop: Image.Image,
        points: np.ndarray,
        recogniser: "LightCNN | None",
        count: int = POSITIONS,
    ):
        self.fit, self.yaw, self.crop, self.points = fit, yaw, np.asarray(crop), points
        self.net = fit.generator
        own = yaw / REACH if self.net.config.yaw else 1.0  # the photo's position between the ends
        positions = np.linspace(-1, 1, count)
        frames = self.frames_at(positions)
        yaws = np.array([landmark_asymmetry(found)[2] for found in find_points(frames)])
        kept = np.ones(count, bool)
        self.alike = None
        if recogniser is not None:
            small = crop.resize(frames[0].size, Image.Resampling.LANCZOS)
            with torch.inference_mode():
                faces = torch.cat(
                    [to_tensor(x, recogniser) for x in [small, to_image(fit.after[0]), *frames]]
                )
                cosines = (recogniser(faces) @ recogniser(faces[:1])[0]).tolist()
            self.alike = cosines[1]
            # A poorly fitted face may still turn, as long as its similarity hardly drops.
            kept = np.array(cosines[2:]) >= min(SAME_PERSON, 0.75 * self.alike)
        # Yaw changes monotonically, but its measurement is noisy, most where the identity is lost.
        weight = np.where(kept, 1, 0.01)
        way = 1
        if not self.net.config.yaw and np.cov(positions, yaws, aweights=weight)[0, 1] < 0:
            way = -1  # increasing positions turn the head to the left of the image
        positions, yaws, kept, weight = (x[::way] for x in (positions, yaws, kept, weight))
        rising = isotonic_regression(yaws, weights=weight).x
        # The fitted face has the yaw of the photo.
        rising += yaw - np.interp(way * own, way * positions, rising)
        self.positions, self.measured = positions, rising
        # Extend the range from the photo's yaw to either side while the identity is kept.
        kept &= np.abs(rising) <= REACH
        low = high = int(np.abs(rising - yaw).argmin())
        while low > 0 and kept[low - 1]:
            low -= 1
        while high < count - 1 and kept[high + 1]:
            high += 1
        first = rising[low] - BEYOND if low == 0 else rising[low]
        last = rising[high] + BEYOND if high == count - 1 else rising[high]
        self.range = min(yaw, max(float(first), -REACH)), max(yaw, min(float(last), REACH))

    def latent(self, position: float) -> torch.Tensor:
        """Return the latent at a position in [−1, 1]; 1 turns to the right of the image.

        If the latent contains the yaw, the yaw turns the head. For a photo of a turned head, the rest of z′ (lighting
        and everything else that is asymmetric) is interpolated to its mirror image at the same time, as in the paper:
        the path leads from the photo through an exactly symmetric face to its exact mirror image. For a near-frontal
        photo, the rest of z′ stays constant, because the lighting cannot change sides within a few degrees; the middle
        is then not symmetric. A generator without yaw uses only the interpolation of the paper.
        """
        z = self.fit.z
        if not self.net.config.yaw:
            return self.net.between(z, (1 - position) / 2)
        degrees = position * REACH
        if abs(self.yaw) >= TURNED:
            # z stays constant within the views around the photo's yaw and is interpolated beyond them.
            over = max(abs(self.yaw) - VIEWS[-1], TURNED - 2)
            along = np.clip(math.copysign(degrees, degrees * self.yaw) / over, -1, 1)
            z = self.net.between(z, (1 - along) / 2)
        return self.net.turned(z, degrees)

    @torch.inference_mode()
    def frames_at(self, positions: Sequence[float] | np.ndarray) -> list[Image.Image]:
        """Render the generator's images at these positions."""
        latents = torch.cat([self.latent(float(x)) for x in positions])
        return [to_image(image) for part in latents.split(16) for image in self.net(part)]

    def frames(self, yaws: Sequence[float], detail: bool = True) -> list[Image.Image]:
        """Render the head at several yaws; images beyond ``range`` are unreliable.

        Args:
            yaws: in degrees.
            detail: combine the lighting of the tuned generator's images with the crop's own pixels, warped to the same
                pose (an addition to the paper: `facesym.faces.turn`). False returns the generator's images.

        Returns:
            RGB images of the crop's size or, without detail, of the generator's.
        """
        images = self.frames_at(np.interp(yaws, self.measured, self.positions))
        if not detail:
            return images
        return [
            Image.fromarray(
                with_detail(
                    np.asarray(frame),
                    *turned_photo(self.crop, self.points, self.yaw, yaw, mirror=abs(self.yaw) >= TURNED),
                )
            )
            for frame, yaw in zip(images, yaws)
        ]
