"""LightCNN: an identity model of Max-Feature-Map layers, distilled to one unit vector per face.

X. Wu et al., "A Light CNN for Deep Face Representation with Noisy Labels", IEEE TIFS 2018.
"""

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from .base import Model

# The window of an aligned crop (FFHQ framing) that the network sees, as fractions of its side: x0, y0, x1, y1. It spans
# brows to chin and ear to ear: hair and background change between photos of a person.
FACE_WINDOW = (0.125, 0.1875, 0.875, 0.9375)


class MFM(nn.Module):
    """Max-Feature-Map: a layer with twice the channels, and the maximum of its two halves."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.layer(x).chunk(2, dim=1)
        # max(a, b); torch.maximum's backward pass takes as long as the convolutions.
        return a + F.relu(b - a)


def _mfm(cin, cout, side=3, stride=1):
    conv = nn.Conv2d(cin, 2 * cout, side, stride, side // 2, bias=False)
    return MFM(nn.Sequential(conv, nn.BatchNorm2d(2 * cout)))


class _Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(_mfm(channels, channels), _mfm(channels, channels))

    def forward(self, x):
        return x + self.layers(x)


class LightCNN(Model):
    """Light CNN-29 with fewer blocks (4.5 M parameters instead of 12.6 M).

    Departures: batch norm before each maximum (training takes hours, not days); colour instead of grey; a stride-2
    first convolution instead of a pooling; the sum of max and mean pooling, as in later versions of Light CNN-29; a
    unit vector as output.

    Args:
        widths: channels of the four levels, each half the size of the previous one.
        blocks: number of residual blocks before each level's own two layers.
        embedding: length of the output vector.
        input_size: side of the aligned crop; other sizes are resized with antialiasing.
    """

    @register_to_config
    def __init__(
        self,
        widths: tuple = (48, 96, 192, 128),
        blocks: tuple = (1, 2, 1, 1),
        embedding: int = 128,
        input_size: int = 128,
    ):
        super().__init__()
        self.stem = _mfm(3, widths[0], side=5, stride=2)
        self.levels = nn.ModuleList()
        for level, (cin, count) in enumerate(zip(widths, blocks)):
            cout = widths[min(level + 1, 3)]
            layers = [_Residual(cin) for _ in range(count)] + [_mfm(cin, cin, side=1), _mfm(cin, cout)]
            self.levels.append(nn.Sequential(*layers))
        x0, y0, x1, y1 = (round(v * input_size) for v in FACE_WINDOW)
        self.window = (slice(y0, y1), slice(x0, x1))
        side = (x1 - x0) // 2**4
        self.project = nn.Linear(widths[-1] * side**2, embedding)

    def resized(self, image: torch.Tensor) -> torch.Tensor:
        """Resize images to the network's input size. See `forward` for the argument."""
        size = self.config.input_size
        if image.shape[-1] != size:
            image = F.interpolate(image, (size, size), mode="bilinear", align_corners=False, antialias=True)
        return image

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Compute the maps of the last convolution, Bx128x6x6 at the released size. See `forward` for the argument."""
        x = self.stem(self.resized(image)[:, :, self.window[0], self.window[1]])
        for level, layers in enumerate(self.levels):
            x = layers(x)
            if level < 3:
                x = F.max_pool2d(x, 2) + F.avg_pool2d(x, 2)
        return x

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Embed the identity of faces.

        Args:
            image: Bx3xSxS in [-1, 1], aligned faces (FFHQ framing).

        Returns:
            Bx``embedding`` float32 of unit length; the dot product of two is the similarity of two faces.
        """
        return self.embed(self.features(image))

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Compute the unit vectors, Bx``embedding``, from the maps of `features`."""
        return F.normalize(self.project(features.flatten(1)).float(), dim=1)
