"""LandmarkNet: the 68 iBUG landmarks of an aligned face, as the soft-argmax of heat maps."""

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from .base import Model


def _conv(cin, cout, stride=1):
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.LeakyReLU(0.1, inplace=True)
    )


class _Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.a, self.b = _conv(channels, channels), _conv(channels, channels)

    def forward(self, x):
        return x + self.b(self.a(x))


class LandmarkNet(Model):
    """A small U-Net with one heat map per landmark; the landmark is the map's mean position (soft-argmax).

    Args:
        width: channels at a quarter of the input's side; the deeper levels have 1.5 and 2 times as many.
        landmarks: number of landmarks.
        input_size: side of the square input, in pixels; a multiple of 16.
        pose: whether a head on the deepest features predicts yaw and pitch. Landmarks alone do not distinguish a
            profile from a three-quarter view.
    """

    @register_to_config
    def __init__(self, width: int = 56, landmarks: int = 68, input_size: int = 128, pose: bool = False):
        super().__init__()
        w1, w2, w3 = width, width * 3 // 2, width * 2
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), _conv(12, width // 2))
        self.down1 = nn.Sequential(_conv(width // 2, w1, 2), _Residual(w1))
        self.down2 = nn.Sequential(_conv(w1, w2, 2), _Residual(w2))
        self.down3 = nn.Sequential(_conv(w2, w3, 2), _Residual(w3), _Residual(w3))
        self.up2 = nn.Sequential(_conv(w3 + w2, w2), _Residual(w2))
        self.up1 = nn.Sequential(_conv(w2 + w1, w1), _Residual(w1))
        self.heat = nn.Conv2d(w1, landmarks, 1)
        if pose:
            self.pose_head = nn.Sequential(
                nn.AdaptiveAvgPool2d(4),
                nn.Flatten(),
                nn.Linear(16 * w3, 128),
                nn.LeakyReLU(0.1),
                nn.Linear(128, 2),
            )

    def encode(self, image: torch.Tensor) -> Any:
        """Compute the features at a quarter, an eighth and a sixteenth of the side. See `forward` for the argument."""
        x0 = self.stem(image)
        x1 = self.down1(x0)
        x2 = self.down2(x1)
        return x1, x2, self.down3(x2)

    def pose(self, image: torch.Tensor) -> torch.Tensor:
        """Predict the head's pose. Needs ``pose``.

        Args:
            image: Bx3xSxS in [-1, 1], S = ``input_size``, an upright aligned face (FFHQ framing).

        Returns:
            Bx2 float32: yaw and pitch in degrees; yaw is negative when the nose points to the image's left, pitch
            when it points up.
        """
        return self._pose_of(self.encode(image))

    def landmarks_and_pose(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run `forward` and `pose` on the same image in one pass."""
        features = self.encode(image)
        return self._landmarks_of(features), self._pose_of(features)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Predict the landmarks.

        Args:
            image: Bx3xSxS in [-1, 1], S = ``input_size``, an aligned face (FFHQ framing).

        Returns:
            Bx68x2 float32: (x, y) as fractions of the side. Pixel coordinates are side × fraction − ½.
        """
        return self._landmarks_of(self.encode(image))

    def _pose_of(self, features):
        return 90 * self.pose_head(features[-1]).float()

    def _landmarks_of(self, features):
        x1, x2, x3 = features
        x = self.up2(torch.cat([F.interpolate(x3, scale_factor=2.0, mode="nearest"), x2], 1))
        x = self.up1(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), x1], 1))
        heat = self.heat(x).float()
        height, width = heat.shape[-2:]
        weight = heat.flatten(2).softmax(-1).view_as(heat)
        xs = (torch.arange(width, device=heat.device, dtype=torch.float32) + 0.5) / width
        ys = (torch.arange(height, device=heat.device, dtype=torch.float32) + 0.5) / height
        return torch.stack([(weight.sum(2) * xs).sum(-1), (weight.sum(3) * ys).sum(-1)], -1)
