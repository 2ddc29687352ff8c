"""A generator fitted to a photo, with its face: any yaw of the head."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.optimize import isotonic_regression

from ..asymmetry import landmark_asymmetry
from ..faces.landmarks import find_points
from ..faces.turn import turned_photo, with_detail
from ..fit import Fit
from .crops import to_image, to_tensor

VIEWS = (-20, -10, 10, 20)  # degrees from the photo's own yaw at which warped copies of it are fitted too
REACH = 35.0  # degrees of yaw that are looked at, to either side
PLACES = 29  # on the way, where yaw and identity are measured
TURNED = 10  # degrees of yaw from which a photo's head counts as turned: its way leads to its mirror image
SAME = 0.4  # the identity network's cosine down to which a turned face counts as that person


class FittedHead:
    """A tuned generator with its face: any yaw of the head.

    Args:
        fit: facesym.fit.Fit.
        yaw: of the photo, degrees.
        crop: RGB image, the face that was fitted, at the size wanted.
        points: its 68 landmarks, pixels.
        recogniser: LightCNN or None.
        count: of places on the way where yaw and identity are measured.
    """

    def __init__(
        self,
        fit: Fit,
        yaw: float,
        crop: Image.Image,
        points: np.ndarray,
        recogniser: Any,
        count: int = PLACES,
    ):
        self.fit, self.yaw, self.crop, self.points = fit, yaw, np.asarray(crop), points
        self.net = fit.generator
        own = yaw / REACH if self.net.config.yaw else 1.0  # the photo's place on the way
        places = np.linspace(-1, 1, count)
        frames = self.frames_at(places)
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
            # A face that could not be fitted well may still turn, as long as it stays as alike as it is.
            kept = np.array(cosines[2:]) >= min(SAME, 0.75 * self.alike)
        # A head turns one way all along; the measure wavers, most where the face is no longer that person.
        weight = np.where(kept, 1, 0.01)
        way = 1
        if not self.net.config.yaw and np.cov(places, yaws, aweights=weight)[0, 1] < 0:
            way = -1  # that generator's latent turns to the image's left
        places, yaws, kept, weight = (x[::way] for x in (places, yaws, kept, weight))
        rising = isotonic_regression(yaws, weights=weight).x
        rising += yaw - np.interp(way * own, way * places, rising)  # the fitted face has the photo's yaw
        self.places, self.measured = places, rising
        # From the photo's own yaw on to either side, as far as all is well.
        kept &= np.abs(rising) <= REACH
        low = high = int(np.abs(rising - yaw).argmin())
        while low > 0 and kept[low - 1]:
            low -= 1
        while high < count - 1 and kept[high + 1]:
            high += 1
        self.range = min(yaw, float(rising[low])), max(yaw, float(rising[high]))

    def latent(self, place: float) -> torch.Tensor:
        """The latent at a place in [−1, 1] of the way; 1 turns to the image's right.

        A generator whose latent has the yaw is turned by it. If the head in the photo is turned itself, the rest of z′
        (light and all else that is not symmetric) goes over to its mirror image's meanwhile, as in the paper: the way
        leads from the photo over an exactly symmetric face to exactly its mirror image. If it is not, the rest of z′
        stays: there is no room in a few degrees for the light to change sides, so the middle is not symmetric. A
        generator without yaw goes the paper's way alone.
        """
        z = self.fit.z
        if not self.net.config.yaw:
            return self.net.between(z, (1 - place) / 2)
        degrees = place * REACH
        if abs(self.yaw) >= TURNED:
            # Within the views about the photo's yaw z stays as it is; what is left is for going over.
            over = max(abs(self.yaw) - VIEWS[-1], TURNED - 2)
            share = np.clip(math.copysign(degrees, degrees * self.yaw) / over, -1, 1)
            z = self.net.between(z, (1 - share) / 2)
        return self.net.turned(z, degrees)

    @torch.inference_mode()
    def frames_at(self, places: Sequence[float] | np.ndarray) -> list[Image.Image]:
        """RGB images of the generator's."""
        latents = torch.cat([self.latent(float(place)) for place in places])
        return [to_image(image) for part in latents.split(16) for image in self.net(part)]

    def frames(self, yaws: Sequence[float], detail: bool = True) -> list[Image.Image]:
        """RGB images of the head at these yaws (degrees). Beyond ``range`` they are not to be trusted.

        With ``detail`` they have the crop's size, the light of the tuned generator's images, and the crop's own
        pixels, warped to the same pose (an addition to the paper: `facesym.faces.turn`); without, they are the
        generator's images.
        """
        made = self.frames_at(np.interp(yaws, self.measured, self.places))
        if not detail:
            return made
        return [
            Image.fromarray(
                with_detail(
                    np.asarray(frame),
                    *turned_photo(self.crop, self.points, self.yaw, yaw, mirror=abs(self.yaw) >= TURNED),
                )
            )
            for frame, yaw in zip(made, yaws)
        ]
