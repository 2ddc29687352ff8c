"""Symmetric GANs: generators whose latent says how symmetric the picture is, exactly, by architecture; and the DC-GAN
that they are compared with. (The paper's text: ``rotate`` in the README.)"""

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
YAW = 20.0  # degrees: where the first number of z′ means the yaw, it is Φ⁻¹ of z′₁ times this (see SymmetricEncoder)


def mirrored(z, config):
    """The latent (BxZ) of the mirror image, for the ``kind`` in ``config``."""
    if config.kind == "flip":
        return z.flip(1)
    n = config.asymmetric
    return torch.cat([-z[:, :n], z[:, n:]], 1)


class SymmetricGenerator(Model):
    """G: a latent to a picture.

    Kinds:

    - ``zprime``: z = (z′, z″). z′ goes by a linear map to an antisymmetric first map, z″ by an affine one to a
      symmetric first map; the two are added. z′ = 0 gives a symmetric picture, −z′ the mirror image.
    - ``flip``: one affine map is applied to z and to z reversed; the second result is mirrored and added. A palindromic
      z gives a symmetric picture, z reversed the mirror image.
    - ``plain``: DC-GAN, the baseline.
    - ``tile``: the same idea with another structure (the paper's supplement has tileable textures): DC-GAN on a torus,
      whose pictures tile without a seam.

    All later layers of the first two are symmetric kernels. The paper's kernels are 5x5 with stride 2, which do not lie
    symmetrically on even sizes; here they are ``kernel`` wide and even (see layers.py).

    Args:
        kind: see above.
        latent: length of z.
        asymmetric: length of z′, the first numbers of z (``zprime``).
        first: side of the first map: 5 for 80 pixels, 8 for 128 (with four widths).
        widths: channels of the first map and of those after it, each twice as large; one more doubling gives the
            picture.
        kernel: 4 or 6.
        yaw: whether the first number of z′ is the head's yaw (an addition, see train/symgan.py --encoder): it is
            uniform; the normal number of the same quantile, times ``YAW`` degrees.
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
            raise ValueError("yaw is the first number of z′: it needs kind zprime and asymmetric ≥ 1")
        if kind == "zprime":
            self.tilt = AntisymmetricMap(asymmetric, widths[0], first)
            self.start = SymmetricMap(latent - asymmetric, widths[0], first)
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
        # What `sample` draws: normal numbers of this mean and this root of the covariance, made uniform.
        self.register_buffer("centre", torch.zeros(latent))
        self.register_buffer("factor", torch.eye(latent))

    @property
    def size(self):
        """Side of the pictures."""
        return self.config.first * 2 ** len(self.config.widths)

    def sample(self, count, generator=None, spread=1.0):
        """``count`` latents in [−1, 1]: uniform, or as `set_prior` has set.

        Args:
            spread: less than 1 keeps to the middle, where pictures are better and less various.
        """
        normal = torch.randn(count, self.config.latent, generator=generator).to(self.device, torch.float32)
        normal = self.centre.float() + spread * normal @ self.factor.float().T
        return torch.erf(normal / 2**0.5).to(self.dtype)

    @torch.no_grad()
    def set_prior(self, normal):
        """Let `sample` draw as such codes (NxZ normal numbers, an encoder's for many pictures) and their mirror images'
        are spread: with their mean and covariance."""
        normal = torch.cat([normal, mirrored(normal, self.config)]).double()
        self.centre.copy_(normal.mean(0))
        values, vectors = torch.linalg.eigh(normal.T.cov())
        self.factor.copy_(vectors * values.clamp(min=0).sqrt())

    def mirrored(self, z):
        """The latent of the mirror image: z′ negated, or z reversed. For ``plain`` z′ negated, which its training
        alone can give a meaning."""
        return mirrored(z, self.config)

    def between(self, z, share):
        """The latent on the way from z (share 0) over a symmetric picture (½) to the mirror image's (1)."""
        return (1 - share) * z + share * self.mirrored(z)

    def yaw_of(self, z):
        """The yaw that latents (BxZ) stand for, in degrees, B numbers."""
        return YAW * 2**0.5 * torch.erfinv(z[:, 0].clamp(-0.999, 0.999))

    def turned(self, z, degrees):
        """The latents (BxZ) of the same heads at a yaw of ``degrees`` (a number, or B of them); all else stays."""
        degrees = torch.as_tensor(degrees, dtype=z.dtype, device=z.device).expand(len(z))
        return torch.cat([torch.erf(degrees / YAW / 2**0.5)[:, None], z[:, 1:]], 1)

    def forward(self, z):
        """Bx``latent`` to pictures Bx3xSxS in [-1, 1]."""
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
    """E: a picture to the latent that G should make it of. An addition to the paper, for training with little data and
    time (VAE-GAN) and as the place where fitting a photo starts.

    E(mirror x) is the mirrored latent, exactly: the kernels are symmetric, and the last, linear map is applied to the
    features and to the mirrored features, whose latent is mirrored; the answer is the mean of the two.

    Args:
        kind, latent, asymmetric: as of the generator ("zprime" or "flip").
        size: side of the pictures.
        widths, kernel: as of SymmetricDiscriminator.
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
    ):
        super().__init__()
        if kind not in ("zprime", "flip"):
            raise ValueError(f"kind must be zprime or flip, not {kind!r}")
        layers = []
        for a, b in zip((3, *widths[:-1]), widths):
            layers += [SymmetricConv2d(a, b, kernel, 2, kernel // 2 - 1, bias=False)]
            layers += [nn.BatchNorm2d(b), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(widths[-1] * (size // 2 ** len(widths)) ** 2, latent)
        # The posterior's log variance, one number a latent: how precisely G uses it. In tens, so that it moves fast.
        self.spreads = nn.Parameter(torch.full((latent,), -0.2))

    def forward(self, image):
        """Bx3xSxS in [-1, 1] to Bx``latent`` normal numbers, the posterior's mean; see `uniform`."""
        x = self.layers(image)
        there = mirrored(self.out(x.flip(-1).flatten(1)), self.config)
        return (self.out(x.flatten(1)) + there) / 2

    def spread(self):
        """The posterior's log variance, ``latent`` numbers, the same for a latent and its mirrored one."""
        v = 10 * self.spreads
        return (v + v.flip(0)) / 2 if self.config.kind == "flip" else v

    @staticmethod
    def uniform(normal):
        """Normal numbers to numbers uniform in [-1, 1], G's latent: the normal distribution's function. It keeps signs
        and order, so that mirrored stays mirrored."""
        return torch.erf(normal / 2**0.5)


class SymmetricDiscriminator(Model):
    """D: a picture to one logit, the same for a picture and its mirror image.

    Args:
        symmetric: False: plain kernels and no folding, DC-GAN's D.
        size: side of the pictures.
        widths: channels of the stride-2 convolutions.
        kernel: even, see SymmetricGenerator.
        spectral: spectral norm instead of batch norm (an option of ours: small data).
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
        layers = []
        for i, (a, b) in enumerate(zip((3, *widths[:-1]), widths)):
            layer = conv(a, b, kernel, 2, kernel // 2 - 1, bias=spectral or i == 0)
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

    def forward(self, image):
        """Bx3xSxS in [-1, 1] to B logits, positive = real."""
        x = self.layers(image)
        if self.config.symmetric:
            x = fold_symmetric(x)
        return self.out(x.flatten(1))[:, 0]
