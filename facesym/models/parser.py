"""FaceParser: label each pixel of an aligned face, with a U-Net of depthwise blocks."""

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from .base import Model

CLASSES = ("background", "skin", "hair", "eyes and brows", "nose", "mouth", "clothes")


class _Block(nn.Module):
    """MobileNetV2's inverted residual: expand by 1x1, filter depthwise, project by 1x1."""

    def __init__(self, cin, cout, stride=1, expand=4, kernel=3):
        super().__init__()
        middle = cin * expand
        self.layers = nn.Sequential(
            nn.Conv2d(cin, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU6(inplace=True),
            nn.Conv2d(middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU6(inplace=True),
            nn.Conv2d(middle, cout, 1, bias=False),
            nn.BatchNorm2d(cout),
        )
        self.same = stride == 1 and cin == cout

    def forward(self, x):
        return x + self.layers(x) if self.same else self.layers(x)


class FaceParser(Model):
    """A U-Net of depthwise convolutions: P of LSSL.

    Args:
        widths: channels at a half, a quarter, … of the input's side.
        classes: number of classes.
        input_size: side of the square input, in pixels; a multiple of 2 to the number of widths.
    """

    @register_to_config
    def __init__(self, widths: tuple = (16, 24, 48, 96), classes: int = len(CLASSES), input_size: int = 128):
        super().__init__()
        if input_size % 2 ** len(widths):
            raise ValueError(f"input_size must be a multiple of {2 ** len(widths)}, not {input_size}")
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU6(inplace=True)
        )
        self.down = nn.ModuleList(
            nn.Sequential(_Block(a, b, 2, kernel=5), _Block(b, b), _Block(b, b))
            for a, b in zip(widths, widths[1:])
        )
        self.up = nn.ModuleList(
            nn.Sequential(_Block(a + b, b), _Block(b, b)) for a, b in zip(widths[:0:-1], widths[-2::-1])
        )
        self.out = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Label an aligned face (FFHQ framing).

        Args:
            image: Bx3xSxS in [-1, 1], S = ``input_size``.

        Returns:
            BxKxSxS float32 logits, in the order of CLASSES.
        """
        levels = [self.stem(image)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up in self.up:
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), levels.pop()], 1))
        return F.interpolate(self.out(x).float(), image.shape[-2:], mode="bilinear", align_corners=False)
