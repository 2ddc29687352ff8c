"""LSSL: change a face's expression, pose or light and preserve the person.

B. Bozorgtabar et al., "Learn to synthesize and synthesize to learn", CVIU 2019. The network maps an image and its
condition map (a heat map of landmarks) to an image and its condition map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from ..attributes import GROUPS, encode, groups_of
from ..ops import identity_grid, warp
from .base import Model
from .discriminators import SAGANDiscriminator


@dataclass
class AttributeGeneratorOutput:
    """Output of AttributeGenerator.

    Attributes:
        image: x′, Bx3xSxS in [-1, 1].
        condition: s′, the condition map, BxKxSxS in [0, 1].
        latent: Genc(x, s), BxCxS/16xS/16.
        synthesized: Bx3xSxS in [-1, 1], the image as Gdec synthesizes it, before copying.
        copied: Bx3xSxS in [-1, 1], the image as copied from x and its mirror image. This and the following are None
            without ``copy``.
        flow: Bx2xSxS, coordinates (x, y) in x to copy each pixel from, in [-1, 1].
        mirror_flow: Bx2xSxS, the same in the mirror image of x.
        mirror_mask: Bx1xSxS in [0, 1], the mirror image's fraction of ``copied``.
        copy_mask: Bx1xSxS in [0, 1], the fraction of ``copied`` in x′; the rest is synthesized.
    """

    image: torch.Tensor
    condition: torch.Tensor
    latent: torch.Tensor
    synthesized: torch.Tensor
    copied: torch.Tensor | None = None
    flow: torch.Tensor | None = None
    mirror_flow: torch.Tensor | None = None
    mirror_mask: torch.Tensor | None = None
    copy_mask: torch.Tensor | None = None


class _Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x):
        return x + self.layers(x)


class AttributeGenerator(Model):
    """Genc, six residual blocks and Gdec. The attributes y are repeated over the latent's pixels.

    y has a one for the requested attribute of each group; a group of zeros keeps the face's own attribute.

    With ``copy``, an addition to the paper, Gdec also predicts the coordinates of each pixel of x′ in x and in its
    mirror image (which shows what a turned head hides), a mask that mixes the two, a gain and a shift of the light,
    and the fraction of x′ to copy. Without it x′ is synthesized, as in the paper. These maps are smooth, so the
    network may see images at 1/``scale`` of their size: the detail is copied from x.

    Args:
        widths: channels of Genc's five convolutions; the first keeps the size, the others halve it.
        blocks: number of residual blocks.
        groups: pairs (group, its attributes) in y's order. (Pairs, since JSON objects keep no order of keys.)
        copy: whether to copy from x; see above.
        side_channels: channels of the condition map: 1 for a heat map, 3 for a photo (mode (b)).
        scale: factor by which the network sees images scaled down.
        emphasis: pairs (attribute or group, factor): the value in y instead of 1 at run time. Where the training
            targets vary, as smiles do, the network has learned their pale mean.
        passes: how often the network runs for an expression, each time on its output.
        input_size: side of the images, a multiple of 16·scale.
    """

    @register_to_config
    def __init__(
        self,
        widths: tuple = (32, 64, 96, 128, 128),
        blocks: int = 6,
        groups: tuple = tuple(GROUPS.items()),
        copy: bool = True,
        side_channels: int = 1,
        scale: int = 1,
        emphasis: tuple = (),
        passes: int = 1,
        input_size: int = 128,
    ):
        super().__init__()
        if len(widths) != 5 or input_size % (16 * scale):
            raise ValueError("widths must be five, and input_size a multiple of 16 times the scale")
        layers: list[nn.Module] = []
        for a, b, stride in zip((3 + side_channels, *widths), widths, (1, 2, 2, 2, 2)):
            kernel = 7 if stride == 1 else 4
            layers += [nn.Conv2d(a, b, kernel, stride, 3 if stride == 1 else 1, bias=False)]
            layers += [nn.InstanceNorm2d(b, affine=True), nn.ReLU(inplace=True)]
        self.encoder = nn.Sequential(*layers)
        latent, attributes = widths[-1], sum(len(names) for _, names in groups)
        # No norm here: it would remove what y adds to all pixels alike.
        layers = [nn.Conv2d(latent + attributes, latent, 3, 1, 1), nn.ReLU(inplace=True)]
        layers += [_Residual(latent) for _ in range(blocks)]
        for a, b in zip(widths[:0:-1], widths[-2::-1]):
            layers += [nn.Conv2d(a, 4 * b, 3, 1, 1, bias=False), nn.PixelShuffle(2)]  # sub-pixel convolution
            layers += [nn.InstanceNorm2d(b, affine=True), nn.ReLU(inplace=True)]
        self.decoder = nn.Sequential(*layers)
        # x′ at full size, its pixels folded into channels, and s′.
        self.draw = nn.Conv2d(widths[0], 3 * scale**2 + side_channels, 7, 1, 3)
        self.maps = None
        if copy:
            # Flow, copy mask, gain, shift, mirror flow, mirror mask.
            self.maps = nn.Conv2d(widths[0], 8, 7, 1, 3)
            with torch.no_grad():  # start from the identity: copy x
                self.maps.weight.mul_(0.1)
                self.maps.bias = nn.Parameter(torch.tensor([0.0, 0, 2, 0, 0, 0, 0, -3]))

    @classmethod
    def preset(cls, name: str, **settings: Any) -> Self:
        """Create an untrained network of a named size.

        Args:
            name: "paper", as printed, with common widths where the paper gives none; or "small", the released size.
            settings: arguments of the constructor that replace the preset's.

        Raises:
            KeyError: the name is unknown.
        """
        presets: dict[str, dict[str, Any]] = {
            "paper": dict(widths=(64, 128, 256, 512, 512), copy=False),
            "small": dict(scale=2),
        }
        return cls(**(presets[name] | settings))

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """{group: its attributes}, in y's order."""
        return groups_of(self.config)

    def attributes(self, wanted: Mapping[str, str], batch: int = 1) -> torch.Tensor:
        """Encode attributes as y.

        Args:
            wanted: dict {group: attribute}; other groups keep the input's attribute.
            batch: number of rows B.

        Returns:
            BxA float32 with equal rows.

        Raises:
            KeyError: an unknown group or attribute.
        """
        return torch.tensor([encode(self.config, wanted)] * batch, device=self.device)

    def encode(self, image: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Genc(x, s).

        Args:
            image: x, Bx3xSxS in [-1, 1].
            condition: s, BxKxSxS in [0, 1].

        Returns:
            The latent, BxCxS/16xS/16.
        """
        x = torch.cat([image, 2 * condition - 1], 1)
        return self.encoder(F.avg_pool2d(x, self.config.scale) if self.config.scale > 1 else x)

    def predict(self, latent: torch.Tensor, y: torch.Tensor) -> tuple:
        """Run the part of Gdec that depends only on the latent and the attributes.

        Args:
            latent: from `encode`.
            y: BxA, see `attributes`.

        Returns:
            The predictions, for `render`.
        """
        y_map = y.to(latent.dtype)[:, :, None, None].expand(-1, -1, *latent.shape[-2:])
        x = self.decoder(torch.cat([latent, y_map], 1))
        return latent, self.draw(x).float(), None if self.maps is None else self.maps(x).float()

    def decode(self, latent: torch.Tensor, y: torch.Tensor, image: torch.Tensor) -> AttributeGeneratorOutput:
        """Gdec: `predict` and `render`."""
        return self.render(self.predict(latent, y), image)

    def render(self, predictions: tuple, image: torch.Tensor) -> AttributeGeneratorOutput:
        """Render the image from the decoder's predictions.

        Args:
            predictions: from `predict`.
            image: Bx3xHxW in [-1, 1], to copy from: x, or the same crop with more pixels.

        Returns:
            AttributeGeneratorOutput.
        """
        latent, drawn, maps = predictions
        folded = 3 * self.config.scale**2
        synthesized = torch.tanh(F.pixel_shuffle(drawn[:, :folded], self.config.scale))
        condition = torch.sigmoid(drawn[:, folded:])
        if self.config.scale > 1:
            condition = F.interpolate(
                condition, scale_factor=self.config.scale, mode="bilinear", align_corners=False
            )
        synthesized = _resize(synthesized, image)
        if maps is None:
            return AttributeGeneratorOutput(synthesized, condition, latent, synthesized)
        maps, grid = _resize(maps, image), identity_grid(image)
        flow, mirror_flow = grid + 0.1 * maps[:, :2], grid + 0.1 * maps[:, 5:7]  # in tenths of the side
        copy_mask, gain, shift = torch.sigmoid(maps[:, 2:3]), maps[:, 3:4].exp(), maps[:, 4:5]
        mirror_mask = torch.sigmoid(maps[:, 7:])
        mode = "bilinear" if self.training else "bicubic"  # bicubic is sharper, but too slow for training
        mirrored = warp(image.flip(-1), mirror_flow, mode)
        copied = (1 - mirror_mask) * warp(image, flow, mode) + mirror_mask * mirrored
        copied = (gain * (copied + 1) + shift - 1).clamp(-1, 1)
        output = copy_mask * copied + (1 - copy_mask) * synthesized
        return AttributeGeneratorOutput(
            output, condition, latent, synthesized, copied, flow, mirror_flow, mirror_mask, copy_mask
        )

    def forward(
        self, image: torch.Tensor, condition: torch.Tensor, y: torch.Tensor
    ) -> AttributeGeneratorOutput:
        """Change the attributes of aligned faces (FFHQ framing).

        Args:
            image: x, Bx3xSxS in [-1, 1].
            condition: s, BxKxSxS in [0, 1].
            y: BxA, see `attributes`.

        Returns:
            AttributeGeneratorOutput.
        """
        return self.decode(self.encode(image, condition), y, image)


def _resize(x, like):
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


class AttributeDiscriminator(nn.Module):
    """D: a PatchGAN on image and condition map with two heads.

    Args:
        attributes: number of attributes of all groups.
        widths: channels of the stride-2 convolutions.
        size: side of the images.
        side_channels: channels of the condition map.
    """

    def __init__(
        self,
        attributes: int,
        widths: Sequence[int] = (48, 96, 192, 384, 384),
        size: int = 128,
        side_channels: int = 1,
    ):
        super().__init__()
        layers = []
        for a, b in zip((3 + side_channels, *widths), widths):
            # No normalization: it would couple the samples of a batch, whose gradients are penalised one by one.
            layers += [nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.01)]
        self.layers = nn.Sequential(*layers)
        self.source = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.attributes = nn.Conv2d(widths[-1], attributes, size // 2 ** len(widths), bias=False)

    def forward(self, image: torch.Tensor, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Score images.

        Args:
            image: Bx3xSxS in [-1, 1].
            condition: BxKxSxS in [0, 1].

        Returns:
            Scores Bx1xhxw (large = real), and logits of the attributes BxA.
        """
        x = self.layers(torch.cat([image, 2 * condition - 1], 1))
        return self.source(x), self.attributes(x).flatten(1)


class MouthDiscriminator(SAGANDiscriminator):
    """D with its two heads, on crops of mouths, where expressions are most visible.

    An addition to the paper, trained by SymmFCNet's (17) and by (2) and (3).

    Args:
        expressions: number of expressions.
        size: side of the crops in pixels, a multiple of 8.
    """

    def __init__(self, expressions: int, size: int = 48):
        super().__init__(width=32, layers=3)
        self.expressions = nn.Conv2d(self.channels, expressions, size // self.stride)

    def forward(  # type: ignore[override]
        self, image: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Bx3xSxS in [-1, 1] to logits Bx1xhxw (large = real) and logits of the expressions BxE."""
        x = self.layers(image)
        return self.out(x), self.expressions(x).flatten(1)


def parse(parser: Any, image: torch.Tensor) -> torch.Tensor:
    """Run the parser P (a FaceParser) on images of any size, Bx3xHxW in [-1, 1]: logits BxKxSxS at P's input size."""
    size = parser.config.input_size
    if image.shape[-1] != size:
        image = F.interpolate(image, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return parser(image)
