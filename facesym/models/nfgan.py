"""NFGAN: from a face with any expression, turned by up to 45 degrees, the frontal, neutral face of the same person
(X. Liu et al., "Normalized Face Image Generation with Perceptron Generative Adversarial Networks", ISBA 2018)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn

from ..ops import identity_grid, warp
from .base import Model


@dataclass
class NormalizedFace:
    """What NormalizedFaceGAN returns: pictures BxCxHxW in [-1, 1], maps BxKxHxW."""

    image: torch.Tensor  # x̃, the frontal neutral face
    z: torch.Tensor  # BxZ
    drawn: torch.Tensor  # the decoder's own picture
    flow: torch.Tensor | None  # Bx2xHxW: where each pixel of x̃ is looked up in x, (x, y) in [-1, 1]
    choice: (
        torch.Tensor | None
    )  # Bx3xHxW, sum 1: of the copy from x, of that copy's mirror image, of what is drawn


class NormalizedFaceGAN(Model):
    """Enc and Dec (Tables 1 and 2): a face to a latent z, z to the face made frontal and neutral.

    Without ``copy`` nothing goes around z. z is read as 2x2 maps: five doublings from there make the printed 64 pixels,
    six make 128.

    ``copy`` is an addition: Dec also says, from z alone, where each of its pixels is to be found in x, and the picture
    is

        choice₁ ⊙ x(flow) + choice₂ ⊙ mirror(x(flow)) + choice₃ ⊙ drawn.

    x(flow) is x brought to the front; its mirror image shows what x hides. A latent of a few hundred numbers cannot
    hold a person's skin, hair and eyes, but says well where they are. Without it x̃ is what Dec draws, as in the paper.

    Args:
        channels: 1 grey, 3 colour.
        encoder_widths: channels of Enc's stride-2 convolutions.
        hidden: length of FC1.
        latent: length of z, a multiple of 4.
        decoder_widths: channels of Dec's doublings but the last.
        kernel: of Dec's, 3 as printed or 4, whose pixels overlap evenly.
        copy: see above.
        rank: FC1, and Dec's doublings from more than twice as many channels, as a product of two maps with so many
            channels between them. For a trained net: what they hold takes far fewer than they have.
        lean: out of training, how much more the copies count than Dec says. It learned by absolute errors, for which
            a face drawn like many is safer than one whose eyes are a pixel off; for a person it is the other way round.
        passes: with ``copy``, how often the net runs, each time on its result: a mouth that is wide open comes only
            part of the way in one.
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
            raise ValueError("without copy there is one pass: what is drawn is frontal and neutral already")
        if kernel not in (3, 4):
            raise ValueError(f"kernel must be 3 or 4, not {kernel}")
        if len(encoder_widths) > len(decoder_widths):
            raise ValueError(
                "Enc cannot halve more often than Dec has widths: its last map would be under 4x4"
            )
        layers = []
        for a, b in zip((channels, *encoder_widths[:-1]), encoder_widths):
            layers += [nn.Conv2d(a, b, 3, 2, 1, bias=a == channels)]
            layers += [nn.BatchNorm2d(b)] * (a != channels) + [nn.ReLU(inplace=True)]
        features = encoder_widths[-1] * (self.size // 2 ** len(encoder_widths)) ** 2
        first = nn.Linear(features, hidden, bias=False)
        if rank:
            first = nn.Sequential(nn.Linear(features, rank, bias=False), nn.Linear(rank, hidden, bias=False))
        self.encoder = nn.Sequential(
            *layers,
            nn.Flatten(),
            first,
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, latent),
        )

        def up(a, b, bias):
            if rank and not bias and a > 2 * rank:
                return nn.Sequential(nn.Conv2d(a, rank, 1, bias=False), up(rank, b, bias))
            return nn.ConvTranspose2d(a, b, kernel, 2, 1, output_padding=4 - kernel, bias=bias)

        layers = []
        for a, b in zip((latent // 4, *decoder_widths[:-1]), decoder_widths):
            layers += [up(a, b, False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        self.decoder = nn.Sequential(*layers)
        self.draw = up(decoder_widths[-1], channels, True)
        self.maps = None
        if copy:
            self.maps = nn.Conv2d(
                decoder_widths[-1], 5, 3, 1, 1
            )  # flow, choice; at half the size: they are smooth
            with torch.no_grad():  # at first: x as it is
                self.maps.weight.mul_(0.1)
                self.maps.bias.copy_(torch.tensor([0.0, 0, 2, 0, 0]))

    @classmethod
    def preset(cls, name):
        """ "paper": 64 pixels, grey, as printed. "colour": the released size, 128 pixels."""
        presets = {
            "paper": dict(
                channels=1, encoder_widths=(32, 64, 128, 256), decoder_widths=(512, 256, 128, 64), kernel=3, copy=False
            ),
            "colour": {},
        }  # fmt: skip
        return cls(**presets[name])

    @property
    def size(self):
        """Side of the pictures."""
        return 2 ** (2 + len(self.config.decoder_widths))

    def encode(self, image):
        """Enc: BxCxSxS in [-1, 1] to BxZ float32."""
        return self.encoder(image).float()

    def read(self, z):
        """Dec's own part, which needs z (BxZ) alone: what `compose` makes a picture of, (z, drawn, maps)."""
        x = self.decoder(z.to(self.dtype).view(len(z), -1, 2, 2))
        return z, torch.tanh(self.draw(x).float()), None if self.maps is None else self.maps(x).float()

    def passes(self, image):
        """`read` of the face, BxCxSxS in [-1, 1], and of the result of each pass but the last: a list."""
        found = [self.read(self.encode(image))]
        while len(found) < self.config.passes:
            image = self.compose(found[-1], image).image.to(self.dtype)
            found.append(self.read(self.encode(image)))
        return found

    def decode(self, z, image, share=1.0):
        """Dec: a picture of z. See `compose`."""
        return self.compose(self.read(z), image, share)

    def compose(self, read, image, share=1.0):
        """The picture of what Dec said of z.

        Args:
            read: `read`'s.
            image: BxCxHxW: what ``copy`` looks things up in, x or the same crop with more pixels.
            share: less than 1: on the way from x (0) to x̃ (1), with ``copy``: so far along the flow, so much of what is
                not x's own.

        Returns:
            NormalizedFace.
        """
        z, drawn, maps = read
        if maps is None:
            return NormalizedFace(drawn, z, drawn, None, None)
        maps = F.interpolate(maps, image.shape[-2:], mode="bilinear", align_corners=False)
        # Steps of the flow in tenths of the side: of the size that a network gives out by itself.
        flow = identity_grid(image) + share * 0.1 * maps[:, :2]
        lean = 1.0 if self.training else self.config.lean
        choice = torch.softmax(maps[:, 2:] + maps.new_tensor([lean, lean, 1]).log()[:, None, None], 1)
        if share < 1:
            choice = share * choice + (1 - share) * choice.new_tensor([1.0, 0, 0])[:, None, None]
        drawn = F.interpolate(drawn, image.shape[-2:], mode="bilinear", align_corners=False)
        # Bicubic is sharper; bilinear is what training can afford.
        copied = warp(image, flow, "bilinear" if self.training else "bicubic").clamp(-1, 1)
        return NormalizedFace(combine(copied, drawn, choice), z, drawn, flow, choice)

    def forward(self, image):
        """Make faces frontal and neutral, in one pass.

        Args:
            image: BxCxSxS in [-1, 1], aligned faces (FFHQ framing), the side that is turned away at the right.

        Returns:
            NormalizedFace.
        """
        return self.decode(self.encode(image), image)


def combine(copied, drawn, choice):
    """x̃ of its three sources: BxCxHxW, BxCxHxW, Bx3xHxW."""
    return choice[:, :1] * copied + choice[:, 1:2] * copied.flip(-1) + choice[:, 2:] * drawn


class NormalizedFaceDiscriminator(nn.Module):
    """Dis (Table 3): a face to a map of logits, positive = a real frontal neutral face. (The sigmoid is in the loss.)

    Args:
        channels: of the pictures.
        widths: of the stride-2 convolutions.
    """

    def __init__(self, channels=3, widths=(64, 128, 256, 512)):
        super().__init__()
        layers = []
        for a, b in zip((channels, *widths[:-1]), widths):
            layers += [nn.Conv2d(a, b, 3, 2, 1, bias=a == channels)]
            layers += [nn.BatchNorm2d(b)] * (a != channels) + [nn.LeakyReLU(0.3, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, image):
        """BxCxSxS in [-1, 1] to Bx1xhxw."""
        return self.layers(image)
