"""LSSL: a face's expression, pose or light changed on request, the face staying that person's ("Learn to synthesize and
synthesize to learn", 2019): picture and landmark heat map in, picture and heat map out."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from ..ops import identity_grid, warp
from .base import Model
from .discriminators import SAGANDiscriminator

GROUPS = {
    "expression": ("neutral", "happy", "surprised"),
    "pose": (
        "left 45",
        "left 20",
        "frontal",
        "right 20",
        "right 45",
    ),  # where the nose points, in the picture
    "light": ("normal", "weak", "dark", "side"),
}


def heat_map(points, size):
    """The side picture s of landmarks: at each pixel the largest of their Gaussians, sigma 1.5 % of the side.

    Args:
        points: BxKx2 in pixels, as (x, y).

    Returns:
        Bx1xSxS in [0, 1].
    """
    at = torch.arange(size, device=points.device, dtype=torch.float32)
    x, y = (
        (-0.5 * ((at - points[..., axis, None].float()) / (0.015 * size)).square()).exp() for axis in (0, 1)
    )
    # The landmarks one by one: all maps at once would be sixty-eight times as large.
    best = y[:, 0, :, None] * x[:, 0, None]
    for k in range(1, points.shape[1]):
        best = torch.maximum(best, y[:, k, :, None] * x[:, k, None])
    return best[:, None]


@dataclass
class Transferred:
    """What AttributeGenerator returns."""

    image: torch.Tensor  # x′, Bx3xSxS in [-1, 1]
    side: torch.Tensor  # s′, BxKxSxS in [0, 1]: K = 1 of heat maps
    latent: torch.Tensor  # Genc(x, s), BxCxS/16xS/16
    drawn: torch.Tensor  # Bx3xSxS in [-1, 1]: what would be drawn everywhere
    # Of a net that copies:
    found: torch.Tensor | None = None  # Bx3xSxS in [-1, 1]: what would be looked up everywhere
    flow: torch.Tensor | None = None  # Bx2xSxS: where each pixel of x′ is looked up in x, (x, y) in [-1, 1]
    mirror_flow: torch.Tensor | None = None  # the same in the mirror image of x
    mirrored: torch.Tensor | None = (
        None  # Bx1xSxS in [0, 1]: how much of what is looked up is the mirror image's
    )
    kept: torch.Tensor | None = None  # Bx1xSxS in [0, 1]: how much of x′ is looked up, and not drawn


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
    """Genc, six residual blocks and Gdec. The attributes y are repeated over the latent's places.

    y has a one for the attribute wanted of each group; a group of zeros keeps what the face has.

    ``copy`` is an addition: Gdec also says where each pixel of x′ is to be found in x and in its mirror image, which
    shows what a turned head hides; which of the two to take, how much brighter it is, and how much of x′ to take from
    there; without it x′ is what Gdec draws, as in the paper. All this is smooth, so the network may see pictures at a
    ``scale``-th of their size: x has the detail.

    Args:
        widths: channels of Genc's five convolutions; the first keeps the size, the others halve it.
        blocks: how many residual ones.
        groups: (group, its attributes) in y's order. (Pairs: a JSON file keeps no order of keys.)
        copy, scale: see above.
        side_channels: of the side picture: 1, a heat map; 3, a photo (mode (b)).
        emphasis: (attribute or group, factor): what stands in y for it instead of 1, at run time. Where the
            known results differ from each other, as smiles do, the net has learned a pale mean of them.
        passes: how often the net runs for an expression, each time on its result, in which it sees what is still short
            of what was asked for.
        input_size: side of the pictures, a multiple of 16·scale.
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
        layers = []
        for a, b, stride in zip((3 + side_channels, *widths), widths, (1, 2, 2, 2, 2)):
            kernel = 7 if stride == 1 else 4
            layers += [nn.Conv2d(a, b, kernel, stride, 3 if stride == 1 else 1, bias=False)]
            layers += [nn.InstanceNorm2d(b, affine=True), nn.ReLU(inplace=True)]
        self.encoder = nn.Sequential(*layers)
        latent, attributes = widths[-1], sum(len(names) for _, names in groups)
        # No norm here: it would take out what y adds to all places alike, and leave of y but the border's padding.
        layers = [nn.Conv2d(latent + attributes, latent, 3, 1, 1), nn.ReLU(inplace=True)]
        layers += [_Residual(latent) for _ in range(blocks)]
        for a, b in zip(widths[:0:-1], widths[-2::-1]):
            layers += [nn.Conv2d(a, 4 * b, 3, 1, 1, bias=False), nn.PixelShuffle(2)]  # sub-pixel convolution
            layers += [nn.InstanceNorm2d(b, affine=True), nn.ReLU(inplace=True)]
        self.decoder = nn.Sequential(*layers)
        # x′, its pixels folded so that it has the full size, and s′.
        self.draw = nn.Conv2d(widths[0], 3 * scale**2 + side_channels, 7, 1, 3)
        self.maps = None
        if copy:
            self.maps = nn.Conv2d(widths[0], 8, 7, 1, 3)  # flow, kept, gain, shift, mirror flow, mirrored
            with torch.no_grad():  # at first: x as it is
                self.maps.weight.mul_(0.1)
                self.maps.bias.copy_(torch.tensor([0.0, 0, 2, 0, 0, 0, 0, -3]))

    @classmethod
    def preset(cls, name, **settings):
        """ "paper": what it says of the network, with usual widths where it says nothing. "small": the released one."""
        presets = {"paper": dict(widths=(64, 128, 256, 512, 512), copy=False), "small": dict(scale=2)}
        return cls(**(presets[name] | settings))

    @property
    def groups(self):
        """{group: its attributes}, in y's order."""
        return {group: tuple(names) for group, names in self.config.groups}

    def attributes(self, wanted, batch=1):
        """y of names: {group: attribute}; groups that are not named keep the source's.

        Returns:
            BxA float32, the same row ``batch`` times.

        Raises:
            KeyError: an unknown group or attribute.
        """
        y, start = torch.zeros(batch, sum(map(len, self.groups.values())), device=self.device), 0
        unknown = [name for group, name in wanted.items() if name not in self.groups.get(group, ())]
        if unknown:
            raise KeyError(f"no such attribute: {', '.join(map(str, unknown))}")
        for group, names in self.groups.items():
            if group in wanted:
                name, factors = wanted[group], dict(self.config.emphasis)
                y[:, start + list(names).index(name)] = factors.get(name, factors.get(group, 1))
            start += len(names)
        return y

    def encode(self, image, side):
        """Genc(x, s): the latent. ``image`` Bx3xSxS in [-1, 1], ``side`` BxKxSxS in [0, 1]."""
        x = torch.cat([image, 2 * side - 1], 1)
        return self.encoder(F.avg_pool2d(x, self.config.scale) if self.config.scale > 1 else x)

    def read(self, latent, y):
        """Gdec's own part, which needs a latent and the attributes y (BxA) alone: what `compose` makes a picture of."""
        places = y.to(latent.dtype)[:, :, None, None].expand(-1, -1, *latent.shape[-2:])
        x = self.decoder(torch.cat([latent, places], 1))
        return latent, self.draw(x).float(), None if self.maps is None else self.maps(x).float()

    def decode(self, latent, y, image):
        """Gdec: the picture of a latent with the attributes y (BxA). See `compose`."""
        return self.compose(self.read(latent, y), image)

    def compose(self, read, image):
        """The picture of what Gdec said.

        Args:
            read: `read`'s.
            image: Bx3xHxW: what ``copy`` looks things up in, x or the same crop with more pixels.

        Returns:
            Transferred.
        """
        latent, drawn, maps = read
        folded = 3 * self.config.scale**2
        picture = torch.tanh(F.pixel_shuffle(drawn[:, :folded], self.config.scale))
        side = torch.sigmoid(drawn[:, folded:])
        grow = lambda part: F.interpolate(part, image.shape[-2:], mode="bilinear", align_corners=False)  # noqa: E731
        if self.config.scale > 1:
            side = F.interpolate(side, scale_factor=self.config.scale, mode="bilinear", align_corners=False)
        picture = grow(picture)
        if maps is None:
            return Transferred(picture, side, latent, drawn=picture)
        maps, grid = grow(maps), identity_grid(image)
        flow, mirror_flow = grid + 0.1 * maps[:, :2], grid + 0.1 * maps[:, 5:7]  # steps in tenths of the side
        kept, gain, shift = torch.sigmoid(maps[:, 2:3]), maps[:, 3:4].exp(), maps[:, 4:5]
        mirrored = torch.sigmoid(maps[:, 7:])
        mode = "bilinear" if self.training else "bicubic"  # sharper; bilinear is what training can afford
        found = (1 - mirrored) * warp(image, flow, mode) + mirrored * warp(image.flip(-1), mirror_flow, mode)
        found = (gain * (found + 1) + shift - 1).clamp(-1, 1)
        result = kept * found + (1 - kept) * picture
        return Transferred(result, side, latent, picture, found, flow, mirror_flow, mirrored, kept)

    def forward(self, image, side, y):
        """Give faces (FFHQ framing) the attributes y: Bx3xSxS in [-1, 1], BxKxSxS in [0, 1], BxA to Transferred."""
        return self.decode(self.encode(image, side), y, image)


class AttributeDiscriminator(nn.Module):
    """D: a PatchGAN on picture and side picture with two heads.

    Args:
        attributes: how many, of all groups.
        widths: of the stride-2 convolutions.
        size: side of the pictures.
        side_channels: of the side picture.
    """

    def __init__(self, attributes, widths=(48, 96, 192, 384, 384), size=128, side_channels=1):
        super().__init__()
        layers = []
        for a, b in zip((3 + side_channels, *widths), widths):
            # No normalisation: it would tie a batch's pictures together, whose gradients are penalised one by one.
            layers += [nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.01)]
        self.layers = nn.Sequential(*layers)
        self.source = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.attributes = nn.Conv2d(widths[-1], attributes, size // 2 ** len(widths), bias=False)

    def forward(self, image, side):
        """Bx3xSxS in [-1, 1] and BxKxSxS in [0, 1] to scores Bx1xhxw (large = real) and attributes' logits BxA."""
        x = self.layers(torch.cat([image, 2 * side - 1], 1))
        return self.source(x), self.attributes(x).flatten(1)


class MouthDiscriminator(SAGANDiscriminator):
    """D's two heads on crops of mouths alone, where expressions show most. An addition; trained by SymmFCNet's (17) and
    by (2) and (3).

    Args:
        expressions: how many. size: side of the crops, a multiple of 8.
    """

    def __init__(self, expressions, size=48):
        super().__init__(width=32, layers=3)
        self.expressions = nn.Conv2d(self.out.in_channels, expressions, size // self.stride)

    def forward(self, image):
        """Bx3xSxS in [-1, 1] to logits Bx1xhxw (large = real) and expressions' logits BxE."""
        x = self.layers(image)
        return self.out(x), self.expressions(x).flatten(1)


def parse(parser, image):
    """P's logits of pictures of any size: BxKxSxS at P's own."""
    size = parser.config.input_size
    if image.shape[-1] != size:
        image = F.interpolate(image, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return parser(image)
