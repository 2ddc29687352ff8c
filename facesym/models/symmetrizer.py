"""SymmetrizerVAE: a face to the symmetric face of the same person.

S. Zhang et al., "A hierarchically trained generative network for robust facial symmetrization", 2019. A VAE with U-Net
skips, trained in three stages: reconstruct, segment the face, symmetrize it. The paper leaves widths, depth and latent
size open.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from ..ops import identity_grid, warp
from .base import Model

REMOVED = -1.0  # the background of the output: black


def _conv(cin, cout, side=3, stride=1, rank=0):
    """Conv-BatchNorm-LeakyReLU; with a rank, the convolution is the product of two."""
    layer = nn.Conv2d(cin, rank or cout, side, stride, 1, bias=False)
    if rank:
        layer = nn.Sequential(layer, nn.Conv2d(rank, cout, 1, bias=False))
    return nn.Sequential(layer, nn.BatchNorm2d(cout), nn.LeakyReLU(0.2, inplace=True))


@dataclass
class SymmetrizerOutput:
    """Output of SymmetrizerVAE.

    Attributes:
        face: G(x), Bx3xHxW in [-1, 1]: the face on a background of REMOVED.
        region: Bx1xHxW in [0, 1], 1 = face.
        region_logits: Bx1xHxW.
        picture: Bx3xHxW, the image before it is masked by the region.
        flow: Bx4xHxW in [-1, 1], coordinates (x, y) in x and in its mirror image to copy each pixel from; None
            without ``copy``.
        choice: Bx1xHxW in [0, 1], the fraction copied from x; the rest is from its mirror image. None without
            ``copy``.
        mean: BxZ, of the latent.
        log_variance: BxZ, of the latent.
    """

    face: torch.Tensor
    region: torch.Tensor
    region_logits: torch.Tensor
    picture: torch.Tensor
    flow: torch.Tensor | None
    choice: torch.Tensor | None
    mean: torch.Tensor
    log_variance: torch.Tensor


class SymmetrizerVAE(Model):
    """Generator G.

    Encoder and decoder of Conv-BatchNorm-LeakyReLU, fully connected layers around the latent z, and skips from each
    encoder level to the decoder's. Two departures, each of which can be switched off:

    - ``mirror``: the encoder sees x and its mirror image together. Each pixel of a symmetric face depends on both
      sides, which convolutions alone first combine in the bottleneck.
    - ``copy``: beside colours the decoder predicts flows and a choice. The image is
      choice ⊙ x(flow) + (1 − choice) ⊙ x'(flow') + colours, where x' is the mirror image: pores, lashes and hair are
      copied sharp instead of synthesized. Without it the image is the colours, as in the paper.

    The network also predicts the face region, which masks the image.

    Args:
        widths: channels of the encoder's levels, each half the size of the previous one; the first has 1/``fold`` of
            the image's side, the last is flattened.
        latent: length of z.
        fold: factor of PixelUnshuffle at the input and of PixelShuffle at the output: 2 for 256 pixels, 1 for 128.
        input_size: side of the square images; input_size / fold / 2^(levels − 1) must be whole.
        mirror, copy: see above.
        rank: of the decoder's two widest convolutions; 0 = full. See train/factor.py.
    """

    @register_to_config
    def __init__(
        self,
        widths: tuple = (48, 96, 160, 224, 256, 256),
        latent: int = 64,
        fold: int = 2,
        input_size: int = 256,
        mirror: bool = True,
        copy: bool = True,
        rank: int = 0,
    ):
        super().__init__()
        side, rest = divmod(input_size, fold * 2 ** (len(widths) - 1))
        if rest or not side:
            raise ValueError(
                f"{input_size} pixels cannot be halved {len(widths) - 1} times after folding by {fold}"
            )
        self.unshuffle = nn.PixelUnshuffle(fold)
        self.stem = _conv((6 if mirror else 3) * fold**2, widths[0])
        self.down = nn.ModuleList(_conv(a, b, side=4, stride=2) for a, b in zip(widths[:-1], widths[1:]))
        flat = widths[-1] * side**2
        self.encode = nn.Linear(flat, 2 * latent)
        self.decode = nn.Sequential(nn.Linear(latent, flat), nn.LeakyReLU(0.2))
        self.merge = _conv(2 * widths[-1], widths[-1], rank=rank)
        self.up = nn.ModuleList(
            _conv(a + b, b, rank=0 if i else rank)
            for i, (a, b) in enumerate(zip(widths[:0:-1], widths[-2::-1]))
        )
        self.refine = _conv(widths[0], widths[0])
        self.colours = nn.Conv2d(widths[0], 3 * fold**2, 3, 1, 1)
        self.maps = nn.Conv2d(widths[0], 6 if copy else 1, 3, 1, 1)  # region, choice, flow
        with torch.no_grad():  # start from the identity: all is face, copy x
            self.maps.weight.mul_(0.1)
            self.maps.bias = nn.Parameter(
                torch.tensor([3.0, 2.0, 0, 0, 0, 0])[: self.maps.out_channels].clone()
            )
            if copy:
                self.colours.weight.mul_(0.1)
                self.colours.bias = nn.Parameter(torch.zeros(self.colours.out_channels))
        self.shuffle = nn.PixelShuffle(fold)

    def forward(self, image: torch.Tensor, exact: bool = False) -> SymmetrizerOutput:
        """Make a face symmetric.

        Args:
            image: Bx3xSxS in [-1, 1], aligned faces (FFHQ framing).
            exact: make the output exactly symmetric, and sharp: average its coarse part with the mirror image, take
                the detail from one half (see `_one_half`), and sample bicubically. The average alone would blur
                features that do not match at the same pixel.

        Returns:
            SymmetrizerOutput. In training z is sampled, in eval mode it is the mean.
        """
        mirrored = image.flip(-1)
        x = self.unshuffle(torch.cat([image, mirrored], 1) if self.config.mirror else image)
        x = self.stem(x)
        skips = [x]
        for down in self.down:
            x = down(x)
            skips.append(x)
        mean, log_variance = self.encode(x.flatten(1)).float().chunk(2, 1)
        log_variance = log_variance.clamp(-10, 10)
        z = mean
        if self.training:
            z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        x = self.merge(torch.cat([x, self.decode(z.to(x.dtype)).view_as(x)], 1))
        for up, skip in zip(self.up, skips[-2::-1]):
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], 1))
        x = self.refine(x)
        colours = torch.tanh(self.shuffle(self.colours(x)).float())
        maps = F.interpolate(self.maps(x).float(), image.shape[-2:], mode="bilinear", align_corners=False)
        logits, flow, choice, picture = maps[:, :1], None, None, colours
        region = torch.sigmoid(logits)
        if self.config.copy:
            # In tenths of the side, so that the network's raw outputs have the right scale.
            flow = 0.1 * maps[:, 2:] + identity_grid(image).repeat(1, 2, 1, 1)
            choice = torch.sigmoid(maps[:, 1:2])
            copied = choice * warp(image, flow[:, :2]) + (1 - choice) * warp(mirrored, flow[:, 2:])
            picture = copied + colours
            if exact:
                finer = choice * warp(image, flow[:, :2], "bicubic")
                finer = finer + (1 - choice) * warp(mirrored, flow[:, 2:], "bicubic")
                picture = picture + finer - copied
        if exact:
            region = (region + region.flip(-1)) / 2
            picture = _one_half(picture, region, choice)
        face = region * picture + (1 - region) * REMOVED
        return SymmetrizerOutput(face, region, logits, picture, flow, choice, mean, log_variance)


def _coarse(x):
    """The coarse part of BxCxHxW: a Gaussian blur with sigma 6 pixels at 256.

    torchvision has the same, but running a model does not need torchvision.
    """
    sigma = x.shape[-1] * 6 / 256
    reach = int(3 * sigma)
    steps = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-((steps / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="reflect"), kernel, groups=x.shape[1])
    return F.conv2d(F.pad(x, (0, 0, reach, reach), mode="reflect"), kernel.mT, groups=x.shape[1])


def _one_half(image, region, choice=None):
    """Symmetrize an image: the coarse part of both halves, the detail of one.

    The detail is that of the half from which more is copied. Where one side droops, the network prefers the other,
    if only slightly, and the drooping side's detail would bring its narrow eye back.

    Args:
        image: Bx3xHxW.
        region: Bx1xHxW, 1 = face.
        choice: Bx1xHxW, see SymmetrizerOutput; None takes the half with more detail within the region.

    Returns:
        Bx3xHxW, symmetric.
    """
    coarse = _coarse(image)
    fine, half = image - coarse, image.shape[-1] // 2
    amount = fine.abs() * region if choice is None else (choice - 0.5) * region
    right = amount[..., half:].sum((1, 2, 3)) > amount[..., :half].sum((1, 2, 3))
    fine = torch.where(right[:, None, None, None], fine.flip(-1), fine)[..., :half]
    return (coarse + coarse.flip(-1)) / 2 + torch.cat([fine, fine.flip(-1)], -1)


class PatchDiscriminator(nn.Module):
    """D: a PatchGAN of Conv-BatchNorm-LeakyReLU. Each score sees a block of 70×70 pixels.

    Args:
        width: channels of the first layer, doubled at each of the others.
    """

    def __init__(self, width: int = 32):
        super().__init__()
        widths = [width * 2**i for i in range(4)]
        blocks = [nn.Conv2d(3, widths[0], 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for i, (a, b) in enumerate(zip(widths[:-1], widths[1:])):
            blocks.append(_conv(a, b, side=4, stride=2 if i < 2 else 1))
        self.layers = nn.Sequential(*blocks, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Bx3xHxW in [-1, 1] to a Bx1xhxw matrix of block scores in [0, 1], 1 = real."""
        return torch.sigmoid(self.layers(image).float())
