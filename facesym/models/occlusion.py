"""OcclusionNet: segment what covers an aligned face, by kind, with a small U-Net at half the input size."""

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from ..attributes import OCCLUSIONS
from .base import Model


def _conv(cin, cout, kernel=3, stride=1):
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(cout),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(_conv(channels, channels), _conv(channels, channels))

    def forward(self, x):
        return x + self.layers(x)


class OcclusionNet(Model):
    """A U-Net. On CPUs its plain convolutions train and run faster than depthwise-separable ones a fifth their size.

    Args:
        widths: channels at a half, a quarter, … of the input's side.
        input_size: side of the square input, in pixels; a multiple of 2 to the number of widths.
    """

    @register_to_config
    def __init__(self, widths: tuple = (16, 32, 64, 128, 160), input_size: int = 256):
        super().__init__()
        if input_size % 2 ** len(widths):
            raise ValueError(f"input_size must be a multiple of {2 ** len(widths)}, not {input_size}")
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), _conv(12, widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(_conv(a, b, stride=2), _Residual(b)) for a, b in zip(widths, widths[1:])
        )
        self.narrow = nn.ModuleList(_conv(a, b, 1) for a, b in zip(widths[:0:-1], widths[-2::-1]))
        self.up = nn.ModuleList(_conv(b, b) for b in widths[-2::-1])
        self.out = nn.Sequential(nn.Conv2d(widths[0], 4 * (1 + len(OCCLUSIONS)), 1), nn.PixelShuffle(2))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Segment what covers an aligned face (FFHQ framing).

        Args:
            image: Bx3xSxS in [-1, 1], S = ``input_size``.

        Returns:
            Bx(1+K)xSxS float32 logits: of visible pixels, then of each of the K OCCLUSIONS. After softmax, 1 minus the
            first channel is the probability that a pixel is covered.
        """
        levels = [self.stem(image)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for narrow, up in zip(self.narrow, self.up):
            x = up(F.interpolate(narrow(x), scale_factor=2.0, mode="nearest") + levels.pop())
        return self.out(x).float()
