"""Symmetric GANs: generators whose latent controls the symmetry of the image, exactly and by architecture.

I. Peleg and L. Wolf, "Structured GANs", 2020. With the DC-GAN that the paper compares them with.
"""

from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from .base import Model
from .layers import (
    AntisymmetricMap,
    CircularConvTranspose2d,
    SymmetricConv2d,
    SymmetricConvTranspose2d,
    SymmetricMap,
    fold_symmetric,
    symmetric_spectral_norm,
)

KINDS = ("zprime", "flip", "plain", "tile")
YAW = 20.0  # degrees: the yaw that a standard deviation of z′₁ stands for, with ``yaw`` (see SymmetricGenerator)


def mirrored(z: torch.Tensor, config: Any) -> torch.Tensor:
    """Return the latent (BxZ) of the mirror image, for the ``kind`` in ``config``."""
    if config.kind == "flip":
        return z.flip(1)
    n = config.asymmetric
    return torch.cat([-z[:, :n], z[:, n:]], 1)


class SymmetricGenerator(Model):
    """G: a latent to an image.

    Kinds:

    - ``zprime``: z = (z′, z″). A linear layer maps z′ to an antisymmetric first map, an affine one maps z″ to a
      symmetric first map; the two are added. z′ = 0 gives a symmetric image, −z′ the mirror image.
    - ``flip``: one affine layer maps z and z reversed; the second map is mirrored and added. A palindromic z gives a
      symmetric image, z reversed the mirror image.
    - ``plain``: DC-GAN, the baseline.
    - ``tile``: DC-GAN on a torus, whose images tile without a seam (the tileable textures of the paper's supplement).

    All later layers of the first two have symmetric kernels. The paper's kernels are 5x5 with stride 2, which are not
    symmetric on even sizes; here they are ``kernel`` wide and even (see layers.py).

    Args:
        kind: see above.
        latent: length of z.
        asymmetric: length of z′, the first entries of z (``zprime``).
        first: side of the first map: 5 for 80 pixels, 8 for 128 (with four widths).
        widths: channels of the first map and of the following ones, each twice as large; one more doubling gives the
            image.
        kernel: 4 or 6.
        yaw: whether z′₁ is the head's yaw (an addition, see train/symgan.py --encoder). z′₁ is uniform; the normal
            variate of the same quantile, times ``YAW``, is the yaw in degrees.
    """

    @register_to_config
    def __init__(
        self,
        kind: str = "zprime",
        latent: int = 100,
        asymmetric: int = 5,
        first: int = 8,
        widths: tuple = (512, 256, 128, 64),
        kernel: int = 4,
        yaw: bool = False,
    ):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
        if kernel % 2:
            raise ValueError(f"kernel must be even, not {kernel}")
        if yaw and (kind != "zprime" or asymmetric < 1):
            raise ValueError("yaw is the first entry of z′: it needs kind zprime and asymmetric ≥ 1")
        if kind == "zprime":
            self.tilt = AntisymmetricMap(asymmetric, widths[0], first)
            self.start: nn.Module = SymmetricMap(latent - asymmetric, widths[0], first)
        else:
            self.start = nn.Linear(latent, widths[0] * first**2)

        def up(a, b, bias):
            if kind == "tile":
                return CircularConvTranspose2d(a, b, kernel, bias)
            layer = nn.ConvTranspose2d if kind == "plain" else SymmetricConvTranspose2d
            return layer(a, b, kernel, 2, kernel // 2 - 1, bias=bias)

        layers = [nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        for a, b in zip(widths[:-1], widths[1:]):
            layers += [up(a, b, bias=False)]
            layers += [nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        layers += [up(widths[-1], 3, bias=True)]
        self.layers = nn.Sequential(*layers)
        # The prior of `sample`: normal variates of this mean and this root of the covariance, mapped to uniform.
        self.register_buffer("centre", torch.zeros(latent))
        self.register_buffer("factor", torch.eye(latent))

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.config.first * 2 ** len(self.config.widths)

    def sample(
        self, count: int, generator: torch.Generator | None = None, spread: float = 1.0
    ) -> torch.Tensor:
        """Draw latents from the prior: uniform, or as set by `set_prior`.

        Args:
            count: number of latents N.
            generator: torch.Generator; default: torch's global one.
            spread: factor on the deviation. Below 1, images are better and less diverse (truncation).

        Returns:
            NxZ in [−1, 1].
        """
        normal = torch.randn(count, self.config.latent, generator=generator).to(self.device, torch.float32)
        normal = self.centre.float() + spread * normal @ self.factor.float().T
        return torch.erf(normal / 2**0.5).to(self.dtype)

    @torch.no_grad()
    def set_prior(self, normal: torch.Tensor) -> None:
        """Fit the prior of `sample` to codes and their mirror images: their mean and covariance.

        Args:
            normal: NxZ normal variates, an encoder's for many images.
        """
        normal = torch.cat([normal, mirrored(normal, self.config)]).double()
        self.centre.copy_(normal.mean(0))
        values, vectors = torch.linalg.eigh(normal.T.cov())
        self.factor.copy_(vectors * values.clamp(min=0).sqrt())

    def mirrored(self, z: torch.Tensor) -> torch.Tensor:
        """Return the latent of the mirror image: z′ negated, or z reversed. For ``plain`` there is no guarantee."""
        return mirrored(z, self.config)

    def between(self, z: torch.Tensor, fraction: float) -> torch.Tensor:
        """Interpolate from z (fraction 0) through a symmetric image's latent (½) to the mirror image's (1)."""
        return (1 - fraction) * z + fraction * self.mirrored(z)

    def yaw_of(self, z: torch.Tensor) -> torch.Tensor:
        """Return the yaw of latents (BxZ) in degrees: B."""
        return YAW * 2**0.5 * torch.erfinv(z[:, 0].clamp(-0.999, 0.999))

    def turned(self, z: torch.Tensor, degrees: float | torch.Tensor) -> torch.Tensor:
        """Set the yaw of latents; all other entries stay the same.

        Args:
            z: BxZ.
            degrees: the yaw in degrees, one number or B.

        Returns:
            BxZ.
        """
        yaw = torch.as_tensor(degrees, dtype=z.dtype, device=z.device).expand(len(z))
        return torch.cat([torch.erf(yaw / YAW / 2**0.5)[:, None], z[:, 1:]], 1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Bx``latent`` to images Bx3xSxS in [-1, 1]."""
        c = self.config
        if c.kind == "zprime":
            x = self.tilt(z[:, : c.asymmetric]) + self.start(z[:, c.asymmetric :])
        else:
            shape = (-1, c.widths[0], c.first, c.first)
            x = self.start(z).view(shape)
            if c.kind == "flip":
                x = x + self.start(z.flip(1)).view(shape).flip(-1)
        return torch.tanh(self.layers(x))


class SymmetricEncoder(Model):
    """E: an image to its latent. An addition to the paper, to train with little data and time (VAE-GAN) and to start a
    fit from.

    E(mirror x) is the mirrored latent, exactly: the kernels are symmetric, and the output is the mean of the linear
    layer's latent of the features and the mirrored latent of the mirrored features.

    Args:
        kind, latent, asymmetric: as in SymmetricGenerator; kind "zprime" or "flip".
        size: side of the images.
        widths, kernel: as in SymmetricDiscriminator.
        rank: of the last linear layer; None for full rank. For trained networks, see train/factor.py.
    """

    @register_to_config
    def __init__(
        self,
        kind: str = "zprime",
        latent: int = 100,
        asymmetric: int = 5,
        size: int = 128,
        widths: tuple = (48, 96, 192, 256),
        kernel: int = 4,
        rank: int | None = None,
    ):
        super().__init__()
        if kind not in ("zprime", "flip"):
            raise ValueError(f"kind must be zprime or flip, not {kind!r}")
        layers: list[nn.Module] = []
        for a, b in zip((3, *widths[:-1]), widths):
            layers += [SymmetricConv2d(a, b, kernel, 2, kernel // 2 - 1, bias=False)]
            layers += [nn.BatchNorm2d(b), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        features = widths[-1] * (size // 2 ** len(widths)) ** 2
        self.out: nn.Module = nn.Linear(features, latent)
        if rank:
            self.out = nn.Sequential(nn.Linear(features, rank, bias=False), nn.Linear(rank, latent))
        # The posterior's log variance per entry of z, in tens so that it trains fast.
        self.spreads = nn.Parameter(torch.full((latent,), -0.2))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Bx3xSxS in [-1, 1] to Bx``latent`` normal variates, the posterior's mean; see `uniform`."""
        x = self.layers(image)
        mirror_code = mirrored(self.out(x.flip(-1).flatten(1)), self.config)
        return (self.out(x.flatten(1)) + mirror_code) / 2

    def spread(self) -> torch.Tensor:
        """Return the posterior's log variance, ``latent`` numbers, equal for a latent and its mirror image."""
        v = 10 * self.spreads
        return (v + v.flip(0)) / 2 if self.config.kind == "flip" else v

    @staticmethod
    def uniform(normal: torch.Tensor) -> torch.Tensor:
        """Map normal variates to uniform ones in [-1, 1], G's latents, by the normal distribution function.

        It preserves signs and order, and therefore mirroring.
        """
        return torch.erf(normal / 2**0.5)


class SymmetricDiscriminator(Model):
    """D: an image to one logit, equal for an image and its mirror image.

    Args:
        symmetric: False gives plain kernels and no folding: DC-GAN's D.
        size: side of the images.
        widths: channels of the stride-2 convolutions.
        kernel: even, see SymmetricGenerator.
        spectral: spectral norm instead of batch norm (ours, for small data).
    """

    @register_to_config
    def __init__(
        self,
        symmetric: bool = True,
        size: int = 128,
        widths: tuple = (64, 128, 256, 512),
        kernel: int = 4,
        spectral: bool = True,
    ):
        super().__init__()
        conv = SymmetricConv2d if symmetric else nn.Conv2d
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(zip((3, *widths[:-1]), widths)):
            layer: nn.Module = conv(a, b, kernel, 2, kernel // 2 - 1, bias=spectral or i == 0)
            if spectral:
                layer = symmetric_spectral_norm(layer) if symmetric else spectral_norm(layer)
            layers.append(layer)
            if i and not spectral:
                layers.append(nn.BatchNorm2d(b))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers)
        side = size // 2 ** len(widths)
        columns = (side + 1) // 2 if symmetric else side
        self.out = nn.Linear(widths[-1] * side * columns, 1)
        if spectral:
            spectral_norm(self.out)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Bx3xSxS in [-1, 1] to B logits, positive = real."""
        x = self.layers(image)
        if self.config.symmetric:
            x = fold_symmetric(x)
        return self.out(x.flatten(1))[:, 0]
