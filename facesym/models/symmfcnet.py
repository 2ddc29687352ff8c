"""SymmFCNet: symmetry-consistent face completion (X. Li et al., IEEE TIP 2020; equation numbers are the paper's).

Stage I copies what the mirrored half still shows: MaskNet finds the face, FlowNet the partner of each pixel in the
flipped picture, LightNet the ratio of light between the two. Stage II (RecNet) generates the rest and refines the
copy, trusting it as far as the confidence net says. All masks: 1 = known (face, trusted), 0 = missing.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ..ops import identity_grid, relight, warp
from .base import Model


# --- mask algebra ---------------------------------------------------------------------------------------------------
def one_half_mask(known, warped_known, face):
    """M^{o-h} = 1 − M^{o,f,w} ⊙ (1 − M^o) ⊙ M^fr: 0 where stage I fills (missing here, known in the mirrored half)."""
    return 1 - warped_known * (1 - known) * face


def both_half_mask(known, half, face):
    """M^{b-h} = 1 − (1 − M^o) ⊙ M^{o-h} ⊙ M^fr: 0 where the face is missing in both halves."""
    return 1 - (1 - known) * half * face


def background_mask(known, face):
    """M^bg = (1 − M^fr) ⊙ (1 − M^o): 1 where something that is not face is missing."""
    return (1 - face) * (1 - known)


def stage_two_condition(known, half, face, confidence):
    """M^s2: 1 = trusted, 0 = to be generated, C where stage I filled.

    Printed: ((1 − M^{o-h}) ⊙ C + M^{b-h}) ⊙ (1 − M^bg), which is C + 1 where stage I filled, since there
    M^{b-h} = 1. With M^{o-h} ⊙ M^{b-h} in its place the value there is C, as the text wants, and unchanged elsewhere.
    """
    both = both_half_mask(known, half, face)
    return ((1 - half) * confidence + half * both) * (1 - background_mask(known, face))


# --- stage I --------------------------------------------------------------------------------------------------------
def _conv(cin, cout, stride=1, dilation=1, norm=True):
    layers = [nn.Conv2d(cin, cout, 3, stride, dilation, dilation, bias=not norm)]
    layers += [nn.BatchNorm2d(cout)] * norm + [nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers)


class StageOneNet(nn.Module):
    """Table V: FlowNet, LightNet and MaskNet are this net with other inputs, outputs and last activations.

    Departures: the four dilated convolutions (layers 13-16) have a quarter of the printed channels each, so that
    their concatenation has the printed number. The paper says 9.9 M parameters; as printed they are 27.6 M, with
    this reading 13.4 M. FlowNet's last layer gives the motion Φ − grid instead of Φ, and starts at zero: a
    convolution does not know where it is, and a centred face is nearly its own mirror image.

    Args:
        channels_in, channels_out: of the pictures.
        width: channels of the first layer (32 in the paper).
        carry: channels handed from one decoder level to the next (2 in the paper).
    """

    def __init__(self, channels_in, channels_out, width, carry):
        super().__init__()
        w = [width * 2**i for i in range(5)]
        self.stem = _conv(channels_in, w[0], norm=False)
        # Each level: a stride-2 and a plain convolution; Table V widens at one or the other.
        halve = [
            (w[0], w[0], w[1]),
            (w[1], w[1], w[1]),
            (w[1], w[2], w[2]),
            (w[2], w[3], w[3]),
            (w[3], w[4], w[4]),
        ]
        self.down = nn.ModuleList(nn.Sequential(_conv(a, b, stride=2), _conv(b, c)) for a, b, c in halve)
        self.dilated = nn.ModuleList(_conv(w[4], w[4] // 4, dilation=d, norm=False) for d in (1, 2, 3, 4))
        self.mix = nn.Sequential(nn.Conv2d(w[4], w[4], 3, 1, 1), _conv(w[4], w[4]))
        levels = [(w[4], w[3], w[3]), (w[3], w[2], w[2]), (w[2], w[1], w[1]), (w[1], w[1], w[0])]
        self.carry = nn.ModuleList(nn.Conv2d(top, carry, 3, 1, 1) for top, _, _ in levels)
        self.up = nn.ModuleList(
            nn.Sequential(_conv(skip + carry, out, norm=False), _conv(out, out))
            for _, skip, out in levels[:-1]
        )
        # Layers 29 and 30: the last level narrows to the carried channels.
        self.up.append(nn.Sequential(_conv(w[1] + carry, w[0]), _conv(w[0], max(2, carry))))
        self.out = nn.Conv2d(max(2, carry), channels_out, 3, 1, 1)

    def forward(self, x):
        x = self.stem(x)
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.mix(torch.cat([conv(x) for conv in self.dilated], 1))
        for carry, up, skip in zip(self.carry, self.up, skips[-2::-1]):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = up(torch.cat([skip, torch.tanh(carry(x))], 1))
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.out(x)


class ConfidenceNet(nn.Module):
    """F_c (11): three convolutions on the motion vectors (Bx2xHxW), a map in [0, 1]."""

    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, width, 3, 1, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, 1, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 3, 1, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, motion):
        return self.layers(motion)


# --- stage II -------------------------------------------------------------------------------------------------------
class DilatedBlock(nn.Module):
    """A residual block whose first layer looks at four distances at once."""

    def __init__(self, channels, dilations, norm):
        super().__init__()
        share = channels // len(dilations)
        self.branches = nn.ModuleList(norm(nn.Conv2d(channels, share, 3, 1, d, d)) for d in dilations)
        self.fuse = nn.Conv2d(channels, channels, 3, 1, 1)
        with torch.no_grad():  # a block starts near the identity: the nets have no other normalisation
            self.fuse.weight.mul_(0.2)
        self.fuse = norm(self.fuse)

    def forward(self, x):
        return x + self.fuse(F.leaky_relu(torch.cat([branch(x) for branch in self.branches], 1), 0.2))


class RecNet(nn.Module):
    """F_r (12): an encoder-decoder with skips and multi-dilated residual blocks in the middle.

    The paper's layer table is not at hand: this is built from its text (multi-dilated residual blocks, spectral norm
    on each convolution, 32.6 M parameters).

    Args:
        widths: channels of the levels, each half the size of the one before; the blocks work on the last.
        blocks: how many multi-dilated blocks.
        dilations: of their branches.
        spectral: spectral norm on each convolution.
        stem: pixels folded into channels at the input (PixelUnshuffle) and unfolded at the output: 1 or 2. Nothing is
            lost, and with 2 all levels work on a quarter of the pixels.
        copy_skip: add the input picture, as far as the condition trusts it, to the output. Not in the paper: stage I's
            copy is sharp from the first step, and the net need not learn to carry it through.
    """

    def __init__(self, widths, blocks, dilations, spectral, stem, copy_skip=True):
        super().__init__()
        norm = spectral_norm if spectral else (lambda layer: layer)
        self.copy_skip = copy_skip
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(stem),
            norm(nn.Conv2d(4 * stem**2, widths[0], 3, 1, 1)),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.down = nn.ModuleList(
            nn.Sequential(norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.2, inplace=True))
            for a, b in zip(widths[:-1], widths[1:])
        )
        self.blocks = nn.Sequential(*[DilatedBlock(widths[-1], dilations, norm) for _ in range(blocks)])
        self.up = nn.ModuleList(
            nn.Sequential(
                norm(nn.Conv2d(a + b, b, 3, 1, 1)), nn.LeakyReLU(0.2, inplace=True),
                norm(nn.Conv2d(b, b, 3, 1, 1)), nn.LeakyReLU(0.2, inplace=True),
            )
            for a, b in zip(widths[:0:-1], widths[-2::-1])
        )  # fmt: skip
        # Ω_l with l = 1 is the decoder at half the picture's side.
        self.feature_level = len(self.up) - 1 if stem == 2 else len(self.up) - 2
        self.out = nn.Sequential(norm(nn.Conv2d(widths[0], 3 * stem**2, 3, 1, 1)), nn.PixelShuffle(stem))

    def forward(self, image, condition):
        """Bx3xHxW and Bx1xHxW to the picture Bx3xHxW (about [-1, 1]) and Ω_1, BxCxH/2xW/2."""
        x = self.stem(torch.cat([image, condition], 1))
        skips = [x]
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.blocks(x)
        for level, (up, skip) in enumerate(zip(self.up, skips[-2::-1])):
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], 1))
            if level == self.feature_level:
                features = x
        picture = torch.tanh(self.out(x).float())
        if self.copy_skip:  # the factor is a constant to the gradient, see losses.confidence_loss
            picture = picture + image.float() * condition.float().detach()
        return picture, features


# --- the whole ------------------------------------------------------------------------------------------------------
@dataclass
class SymmFCNetOutput:
    """What SymmFCNet returns: pictures Bx3xHxW in [-1, 1], masks Bx1xHxW in [0, 1]."""

    completed: torch.Tensor  # Î; known pixels are the input's
    generated: torch.Tensor  # RecNet's picture, known pixels included
    stage1: torch.Tensor  # Î^s1 (9)
    warped: torch.Tensor  # I^{o,f,w} (4)
    flow: torch.Tensor  # Φ, Bx2xHxW, places in the flipped picture in [-1, 1]
    motion: torch.Tensor  # Φ − grid
    light: torch.Tensor  # R, ratios ≥ 0
    face_region: torch.Tensor  # M^fr
    half_mask: torch.Tensor  # M^{o-h}
    confidence: torch.Tensor  # C
    condition: torch.Tensor  # M^s2
    features: torch.Tensor  # Ω_1, BxCxH/2xW/2


PRESETS = {
    # 13.4 M each for MaskNet, FlowNet and LightNet, 34.2 M for RecNet (paper: 9.9 M and 32.6 M)
    "paper": dict(stage1_width=32, carry=2, stage1_stride=1, mask_input=False,
                  widths=(64, 128, 256, 512), blocks=6, spectral=True, stem=1, copy_skip=False),
    "small": dict(stage1_width=8, carry=16, stage1_stride=2, mask_input=True,
                  widths=(48, 96, 160, 256), blocks=6, spectral=False, stem=2),
    "tiny": dict(stage1_width=4, carry=2, stage1_stride=2, mask_input=True,
                 widths=(8, 8, 16, 16), blocks=1, spectral=False, stem=2),  # for tests
}  # fmt: skip


class SymmFCNet(Model):
    """The two stages as one network. ``SymmFCNet.preset("paper")`` has the paper's sizes, the default is the released
    one ("small").

    Args:
        stage1_width, carry: see StageOneNet.
        stage1_stride: stage I's nets see the picture at 1/stage1_stride of its side; flow, light and face are smooth.
        mask_input: stage I's nets get the mask beside the picture (the paper gives them the picture alone and leaves
            the hole to be recognised by its grey).
        widths, blocks, dilations, spectral, stem, copy_skip: see RecNet.
        stage1: False leaves stage I out (RecNet on the occluded picture: Table III's plain RecNet).
        relight: False leaves out LightNet (Table III's −L).
        input_size: side of the pictures it was trained on; H and W may be any multiple of 32 × stage1_stride.
    """

    @register_to_config
    def __init__(
        self,
        stage1_width: int = 8,
        carry: int = 16,
        stage1_stride: int = 2,
        mask_input: bool = True,
        widths: tuple = (48, 96, 160, 256),
        blocks: int = 6,
        dilations: tuple = (1, 2, 4, 8),
        spectral: bool = False,
        stem: int = 2,
        copy_skip: bool = True,
        stage1: bool = True,
        relight: bool = True,
        input_size: int = 256,
    ):
        super().__init__()
        self.recnet = RecNet(list(widths), blocks, tuple(dilations), spectral, stem, copy_skip)
        if stage1:
            extra = int(mask_input)
            self.masknet = StageOneNet(3 + extra, 1, stage1_width, carry)
            self.flownet = StageOneNet(6 + 2 * extra, 2, stage1_width, carry)
            self.confidence = ConfidenceNet()
            nn.init.zeros_(self.flownet.out.weight)
            nn.init.zeros_(self.flownet.out.bias)
            if relight:
                self.lightnet = StageOneNet(6 + 2 * extra, 3, stage1_width, carry)
                nn.init.normal_(self.lightnet.out.weight, std=1e-3)
                nn.init.ones_(self.lightnet.out.bias)  # the same light on both sides

    @classmethod
    def preset(cls, name, **changes):
        """A new, untrained network of a preset's size: "paper", "small" (the released one) or "tiny" (for tests)."""
        return cls(**(PRESETS[name] | changes))

    def stage_one(self, image, mask):
        """MaskNet, FlowNet and LightNet.

        Returns:
            face region Bx1xHxW, motion Bx2xHxW, light Bx3xHxW, all in the picture's size.
        """
        stride = self.config.stage1_stride
        small, small_mask = image, mask
        if stride > 1:
            small = F.interpolate(image, scale_factor=1 / stride, mode="area")
            small_mask = F.interpolate(mask, scale_factor=1 / stride, mode="area")
        flipped, flipped_mask = small.flip(-1), small_mask.flip(-1)
        masks, both = ([small_mask], [small_mask, flipped_mask]) if self.config.mask_input else ([], [])
        pair = torch.cat([small, flipped, *both], 1)
        face = torch.sigmoid(self.masknet(torch.cat([small, *masks], 1)).float())
        motion = torch.tanh(self.flownet(pair).float())
        light = F.relu(self.lightnet(pair).float()) if self.config.relight else torch.ones_like(small)
        if stride > 1:
            size = image.shape[-2:]
            face, motion, light = (
                F.interpolate(x.float(), size, mode="bilinear", align_corners=False)
                for x in (face, motion, light)
            )
        return face, motion, light

    def forward(self, image, mask, generate=True):
        """Complete a batch of aligned faces.

        Args:
            image: Bx3xHxW in [-1, 1]; what it holds where ``mask`` is 0 is ignored.
            mask: Bx1xHxW, 1 = known, 0 = missing.
            generate: False stops after stage I, whose picture then stands for the result (training phase (i)).

        Returns:
            SymmFCNetOutput.

        Raises:
            ValueError: H or W is not a multiple of 32 × stage1_stride.
        """
        multiple = 32 * self.config.stage1_stride
        if image.shape[-2] % multiple or image.shape[-1] % multiple:
            raise ValueError(
                f"height and width must be multiples of {multiple}, not {tuple(image.shape[-2:])}"
            )
        mask = (mask > 0.5).to(image.dtype)
        image = torch.where(mask.bool(), image, 0)  # where, not ×: a NaN in the hole must not come through
        if self.config.stage1:
            face, motion, light = self.stage_one(image, mask)
            flow = identity_grid(image) + motion
            warped = warp(image.flip(-1), flow)
            # Only where all four sampled pixels are known: a partly known sample is mixed with the hole's grey.
            warped_known = (warp(mask.flip(-1), flow) > 0.999).float()
            half = one_half_mask(mask.float(), warped_known, face)
            stage1 = relight(warped, light) * (1 - half) + image * half  # (9)
            confidence = self.confidence(motion).float()
            condition = stage_two_condition(mask.float(), half, face, confidence)
        else:
            motion = torch.zeros_like(image[:, :2], dtype=torch.float32)
            flow, warped, stage1 = identity_grid(image), image.flip(-1), image
            light, half, face, condition = (
                torch.ones_like(image),
                torch.ones_like(mask),
                torch.ones_like(mask),
                mask,
            )
            confidence = torch.zeros_like(mask)
        generated, features = stage1, None
        if generate:
            generated, features = self.recnet(stage1.to(image.dtype), condition.to(image.dtype))
        if not self.training:  # not before: a clamped pixel has no gradient
            generated = generated.clamp(-1, 1)
        completed = torch.where(mask.bool(), image, generated.to(image.dtype))
        return SymmFCNetOutput(
            completed,
            generated,
            stage1,
            warped,
            flow,
            motion,
            light,
            face,
            half,
            confidence,
            condition,
            features,
        )
