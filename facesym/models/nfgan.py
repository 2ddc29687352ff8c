"""NFGAN: the frontal, neutral face of a person from a face with any expression, turned by up to 45 degrees.

X. Liu et al., "Normalized Face Image Generation with Perceptron Generative Adversarial Networks", ISBA 2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from ..ops import identity_grid, warp
from .base import Model


@dataclass
class NormalizedFaceOutput:
    """Output of NormalizedFaceGAN.

    Attributes:
        image: x̃, the frontal neutral face, BxCxHxW in [-1, 1].
        z: the latent, BxZ.
        synthesized: BxCxHxW in [-1, 1], the face as Dec synthesizes it.
        flow: Bx2xHxW, coordinates (x, y) in x to copy each pixel of x̃ from, in [-1, 1]; None without ``copy``.
        choice: Bx3xHxW, fractions that sum to 1: the copy, its mirror image, the synthesized face; None without
            ``copy``.
    """

    image: torch.Tensor
    z: torch.Tensor
    synthesized: torch.Tensor
    flow: torch.Tensor | None
    choice: torch.Tensor | None


class NormalizedFaceGAN(Model):
    """Enc and Dec (Tables 1 and 2): a face to a latent z, and z to the frontal, neutral face.

    z is reshaped to 2x2 maps: five doublings from there give the printed 64 pixels, six give 128.

    With ``copy``, an addition to the paper, Dec also predicts from z the coordinates in x of each output pixel, and
    the output is

        choice₁ ⊙ x(flow) + choice₂ ⊙ mirror(x(flow)) + choice₃ ⊙ synthesized.

    x(flow) is x brought to the front; its mirror image shows what x hides. A latent of a few hundred numbers cannot
    store a person's skin, hair and eyes, but it can store where they are. Without ``copy`` all information passes
    through z, as in the paper.

    Args:
        channels: 1 for grey, 3 for colour.
        encoder_widths: channels of Enc's stride-2 convolutions.
        hidden: length of FC1.
        latent: length of z, a multiple of 4.
        decoder_widths: channels of all of Dec's doublings except the last.
        kernel: Dec's kernel: 3 as printed, or 4, whose pixels overlap evenly.
        copy: whether to copy from x; see above.
        rank: inner channels of the low-rank factors of FC1 and of Dec's wide doublings (more than twice this many
            channels); None for full rank. For trained networks, see train/factor.py.
        lean: factor on the copies' fractions outside training (a bias towards copying). The absolute error that
            trains the network favours an average face over a copy that is a pixel off; a viewer does not.
        passes: with ``copy``, how often the network runs, each time on its output. A wide open mouth closes only part
            of the way in one pass.
    """

    @register_to_config
    def __init__(
        self,
        channels: int = 3,
        encoder_widths: tuple = (32, 64, 128, 256, 320),
        hidden: int = 512,
        latent: int = 256,
        decoder_widths: tuple = (384, 320, 256, 128, 64),
        kernel: int = 4,
        copy: bool = True,
        rank: int | None = None,
        lean: float = 1.0,
        passes: int = 1,
    ):
        super().__init__()
        if latent % 4:
            raise ValueError(f"latent must be a multiple of 4 (2x2 maps), not {latent}")
        if passes > 1 and not copy:
            raise ValueError(
                "passes > 1 needs copy: without it the first output is frontal and neutral already"
            )
        if kernel not in (3, 4):
            raise ValueError(f"kernel must be 3 or 4, not {kernel}")
        if len(encoder_widths) > len(decoder_widths):
            raise ValueError(
                "Enc cannot halve more often than Dec has widths: its last map would be under 4x4"
            )
        self.encoder = _encoder(channels, encoder_widths, self.size, hidden, latent, rank)
        layers: list[nn.Module] = []
        for a, b in zip((latent // 4, *decoder_widths[:-1]), decoder_widths):
            layers += [_double(a, b, kernel, rank), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        self.decoder = nn.Sequential(*layers)
        self.draw = _double(decoder_widths[-1], channels, kernel, bias=True)
        self.maps: nn.Module | None = None
        if copy:
            # Flow and choice, at half the size: they are smooth.
            self.maps = nn.Conv2d(decoder_widths[-1], 5, 3, 1, 1)
            with torch.no_grad():  # start from the identity: copy x
                self.maps.weight.mul_(0.1)
                self.maps.bias = nn.Parameter(torch.tensor([0.0, 0, 2, 0, 0]))

    @classmethod
    def preset(cls, name: str) -> Self:
        """Create an untrained network of a named size.

        Args:
            name: "paper" (64 pixels, grey, as printed) or "colour" (the released size, 128 pixels).

        Raises:
            KeyError: the name is unknown.
        """
        presets = {
            "paper": dict(
                channels=1, encoder_widths=(32, 64, 128, 256), decoder_widths=(512, 256, 128, 64), kernel=3, copy=False
            ),
            "colour": {},
        }  # fmt: skip
        return cls(**presets[name])

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return 2 ** (2 + len(self.config.decoder_widths))

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Enc: BxCxSxS in [-1, 1] to BxZ float32."""
        return self.encoder(image).float()

    def predict(self, z: torch.Tensor) -> tuple:
        """Run the part of Dec that depends only on the latent z (BxZ).

        Returns:
            The predictions, for `render`.
        """
        x = self.decoder(z.to(self.dtype).view(-1, self.config.latent // 4, 2, 2))
        return z, torch.tanh(self.draw(x).float()), None if self.maps is None else self.maps(x).float()

    def passes(self, image: torch.Tensor) -> list[tuple]:
        """Compute the predictions of each pass.

        Args:
            image: BxCxSxS in [-1, 1].

        Returns:
            A list of what `predict` returns: for the image, and for the output of each pass but the last.
        """
        predictions = [self.predict(self.encode(image))]
        while len(predictions) < self.config.passes:
            image = self.render(predictions[-1], image).image.to(self.dtype)
            predictions.append(self.predict(self.encode(image)))
        return predictions

    def decode(
        self, z: torch.Tensor, image: torch.Tensor | None, fraction: float = 1.0
    ) -> NormalizedFaceOutput:
        """Dec: `predict` and `render`."""
        return self.render(self.predict(z), image, fraction)

    def render(
        self, predictions: tuple, image: torch.Tensor | None, fraction: float = 1.0
    ) -> NormalizedFaceOutput:
        """Render the image from the decoder's predictions.

        Args:
            predictions: from `predict`.
            image: BxCxHxW in [-1, 1], to copy from: x, or the same crop with more pixels.
            fraction: how far to go from x (0) to x̃ (1). With ``copy`` only.

        Returns:
            NormalizedFaceOutput.
        """
        z, synthesized, maps = predictions
        if maps is None or image is None:
            return NormalizedFaceOutput(synthesized, z, synthesized, None, None)
        maps = F.interpolate(maps, image.shape[-2:], mode="bilinear", align_corners=False)
        # In tenths of the side, so that the network's raw outputs have the right scale.
        flow = identity_grid(image) + fraction * 0.1 * maps[:, :2]
        lean = 1.0 if self.training else self.config.lean
        choice = torch.softmax(maps[:, 2:] + maps.new_tensor([lean, lean, 1]).log()[:, None, None], 1)
        choice = fraction * choice + (1 - fraction) * choice.new_tensor([1.0, 0, 0])[:, None, None]
        synthesized = F.interpolate(synthesized, image.shape[-2:], mode="bilinear", align_corners=False)
        # Bicubic is sharper, but too slow for training.
        copied = warp(image, flow, "bilinear" if self.training else "bicubic").clamp(-1, 1)
        return NormalizedFaceOutput(combine(copied, synthesized, choice), z, synthesized, flow, choice)

    def forward(self, image: torch.Tensor) -> NormalizedFaceOutput:
        """Make faces frontal and neutral, in one pass.

        Args:
            image: BxCxSxS in [-1, 1], aligned faces (FFHQ framing), flipped so that the far side of the face is on
                the right.

        Returns:
            NormalizedFaceOutput.
        """
        return self.decode(self.encode(image), image)


def _encoder(
    channels: int, widths: Sequence[int], size: int, hidden: int, latent: int, rank: int | None
) -> nn.Sequential:
    """Enc (Table 1): stride-2 convolutions, FC1 and FC2."""
    layers: list[nn.Module] = []
    for a, b in zip((channels, *widths[:-1]), widths):
        layers += [nn.Conv2d(a, b, 3, 2, 1, bias=a == channels)]
        layers += [nn.BatchNorm2d(b)] * (a != channels)
        layers.append(nn.ReLU(inplace=True))
    features = widths[-1] * (size // 2 ** len(widths)) ** 2
    first: nn.Module = nn.Linear(features, hidden, bias=False)
    if rank:
        first = nn.Sequential(nn.Linear(features, rank, bias=False), nn.Linear(rank, hidden, bias=False))
    layers += [nn.Flatten(), first, nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, latent)]
    return nn.Sequential(*layers)


def _double(a: int, b: int, kernel: int, rank: int | None = None, bias: bool = False) -> nn.Module:
    """A transposed convolution that doubles the size; with a rank, of that rank where its input is wide."""
    if rank and a > 2 * rank:
        return nn.Sequential(nn.Conv2d(a, rank, 1, bias=False), _double(rank, b, kernel))
    return nn.ConvTranspose2d(a, b, kernel, 2, 1, output_padding=4 - kernel, bias=bias)


def combine(copied: torch.Tensor, synthesized: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
    """Mix x̃ from its three sources.

    Args:
        copied: BxCxHxW in [-1, 1], x(flow).
        synthesized: BxCxHxW in [-1, 1].
        choice: Bx3xHxW, the fractions of the copy, its mirror image and the synthesized face.

    Returns:
        BxCxHxW in [-1, 1].
    """
    return choice[:, :1] * copied + choice[:, 1:2] * copied.flip(-1) + choice[:, 2:] * synthesized


class NormalizedFaceDiscriminator(nn.Module):
    """Dis (Table 3): a face to a map of logits, positive = a real frontal neutral face. The loss applies the sigmoid.

    Args:
        channels: channels of the images.
        widths: channels of the stride-2 convolutions.
    """

    def __init__(self, channels: int = 3, widths: Sequence[int] = (64, 128, 256, 512)):
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in zip((channels, *widths[:-1]), widths):
            layers += [nn.Conv2d(a, b, 3, 2, 1, bias=a == channels)]
            layers += [nn.BatchNorm2d(b)] * (a != channels) + [nn.LeakyReLU(0.3, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """BxCxSxS in [-1, 1] to Bx1xhxw."""
        return self.layers(image)
