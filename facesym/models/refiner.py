"""MouthRefiner: a small U-Net that sharpens crops of the mouths that AttributeGenerator synthesizes."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from .base import Model

FADE = 0.15  # width of the border in which the refinement fades out, as a fraction of the side


def _conv(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1), nn.LeakyReLU(0.2, inplace=True))


class _Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(_conv(channels, channels), nn.Conv2d(channels, channels, 3, 1, 1))

    def forward(self, x):
        return x + 0.5 * self.layers(x)


class MouthRefiner(Model):
    """A U-Net that adds detail: lines between teeth, lips with an edge. Untrained, it is the identity.

    An addition to LSSL, whose generator draws at a lower resolution. It has no normalization layers, which would change
    colours.

    Args:
        widths: channels at a half, a quarter, … of the input's side.
        blocks: number of residual blocks at the lowest resolution.
        input_size: side of the square input, in pixels; a multiple of 2 to the number of widths.
    """

    @register_to_config
    def __init__(self, widths: tuple = (48, 80, 96), blocks: int = 2, input_size: int = 96):
        super().__init__()
        if input_size % 2 ** len(widths):
            raise ValueError(f"input_size must be a multiple of {2 ** len(widths)}, not {input_size}")
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), _conv(12, widths[0]), _Residual(widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(_conv(a, b, stride=2), _Residual(b)) for a, b in pairwise(widths)
        )
        self.middle = nn.Sequential(*[_Residual(widths[-1]) for _ in range(blocks)])
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in reversed(list(pairwise(widths))))
        self.up = nn.ModuleList(nn.Sequential(_conv(a, a), _Residual(a)) for a in widths[-2::-1])
        last = nn.Conv2d(widths[0], 12, 3, 1, 1)
        for values in last.parameters():
            nn.init.zeros_(values)
        self.out = nn.Sequential(last, nn.PixelShuffle(2))
        ramp = ((torch.arange(input_size) + 0.5) / input_size / FADE).clamp(max=1)
        ramp = ramp * ramp.flip(0)
        self.register_buffer("window", (ramp[:, None] * ramp)[None, None], persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Refine crops of mouths, see `facesym.faces.mouth`.

        Args:
            image: Bx3xSxS in [-1, 1], S = ``input_size``.

        Returns:
            Bx3xSxS in [-1, 1]; equal to ``image`` at the border.
        """
        levels = [self.stem(image)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = self.middle(levels.pop())
        for narrow, up in zip(self.narrow, self.up):
            x = up(F.interpolate(narrow(x), scale_factor=2.0, mode="nearest") + levels.pop())
        return (image + self.window * self.out(x)).clamp(-1, 1)
