"""SymmFCNet: symmetry-consistent face completion (X. Li et al., IEEE TIP 2020; equation numbers are the paper's).

Stage I copies pixels that the mirrored half shows: MaskNet predicts the face region, FlowNet the partner of each pixel
in the flipped image, LightNet the ratio of light between the two. Stage II (RecNet) generates the rest and refines the
copy, weighted by the confidence network. In all masks 1 = visible (face, trusted) and 0 = missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..ops import identity_grid, relight, soft_step, warp
from .base import Model


# --- mask algebra ---------------------------------------------------------------------------------------------------
def one_half_mask(visible: Tensor, warped_visible: Tensor, face: Tensor) -> Tensor:
    """M^{o-h} = 1 − M^{o,f,w} ⊙ (1 − M^o) ⊙ M^fr: 0 where stage I fills (missing, but visible in the mirror)."""
    return 1 - warped_visible * (1 - visible) * face


def both_half_mask(visible: Tensor, half: Tensor, face: Tensor) -> Tensor:
    """M^{b-h} = 1 − (1 − M^o) ⊙ M^{o-h} ⊙ M^fr: 0 where the face is missing in both halves."""
    return 1 - (1 - visible) * half * face


def background_mask(visible: Tensor, face: Tensor) -> Tensor:
    """M^bg = (1 − M^fr) ⊙ (1 − M^o): 1 where background is missing."""
    return (1 - face) * (1 - visible)


def stage_two_condition(visible: Tensor, half: Tensor, face: Tensor, confidence: Tensor) -> Tensor:
    """M^s2: 1 = trusted, 0 = to be generated, C where stage I filled.

    The printed ((1 − M^{o-h}) ⊙ C + M^{b-h}) ⊙ (1 − M^bg) is C + 1 where stage I filled, since M^{b-h} = 1 there. With
    M^{o-h} ⊙ M^{b-h} for M^{b-h} it is C there, as the paper's text says, and unchanged elsewhere.
    """
    both = both_half_mask(visible, half, face)
    return ((1 - half) * confidence + half * both) * (1 - background_mask(visible, face))


# --- stage I --------------------------------------------------------------------------------------------------------
def _conv(cin, cout, stride=1, dilation=1, norm=True):
    layers = [nn.Conv2d(cin, cout, 3, stride, dilation, dilation, bias=not norm)]
    layers += [nn.BatchNorm2d(cout)] * norm + [nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers)


class StageOneNet(nn.Module):
    """Table V: MaskNet, FlowNet and LightNet share this architecture; inputs, outputs and last activations differ.

    Departures: the four dilated convolutions (layers 13-16) have a quarter of the printed channels each, so that
    their concatenation has the printed number. The paper states 9.9 M parameters; as printed they are 27.6 M, with
    this reading 13.4 M. FlowNet's last layer predicts the motion Φ − grid instead of Φ and starts at zero: a
    convolution has no access to coordinates, and a centred face is nearly its own mirror image.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        width: channels of the first layer (32 in the paper).
        carry: channels passed from one decoder level to the next (2 in the paper).
    """

    def __init__(self, channels_in: int, channels_out: int, width: int, carry: int):
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

    def forward(self, x: Tensor) -> Tensor:
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
    """F_c (11): three convolutions from the motion (Bx2xHxW) to a confidence map (Bx1xHxW) in [0, 1]."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, width, 3, 1, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, 1, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 3, 1, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, motion: Tensor) -> Tensor:
        return self.layers(motion)


# --- stage II -------------------------------------------------------------------------------------------------------
class DilatedBlock(nn.Module):
    """A residual block whose first layer is a bank of dilated convolutions."""

    def __init__(self, channels: int, dilations: Sequence[int], norm: Callable[[nn.Module], nn.Module]):
        super().__init__()
        width = channels // len(dilations)
        self.branches = nn.ModuleList(norm(nn.Conv2d(channels, width, 3, 1, d, d)) for d in dilations)
        fuse = nn.Conv2d(channels, channels, 3, 1, 1)
        with torch.no_grad():  # start near the identity: the network has no other normalization
            fuse.weight.mul_(0.2)
        self.fuse = norm(fuse)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fuse(F.leaky_relu(torch.cat([branch(x) for branch in self.branches], 1), 0.2))


class RecNet(nn.Module):
    """F_r (12): an encoder-decoder with skips and multi-dilated residual blocks in the middle.

    The paper's layer table is unavailable; this follows its text (multi-dilated residual blocks, spectral norm on each
    convolution, 32.6 M parameters).

    Args:
        widths: channels of the levels, each half the size of the previous one; the blocks work on the last.
        blocks: number of multi-dilated blocks.
        dilations: dilations of their branches.
        spectral: whether each convolution has spectral norm.
        stem: factor of PixelUnshuffle at the input and of PixelShuffle at the output: 1 or 2. With 2 all levels work
            on a quarter of the pixels; no information is lost.
        copy_skip: whether to add the input, weighted by the condition, to the output. Not in the paper: stage I's copy
            is sharp from the first step, and RecNet need not learn to pass it through.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: int,
        dilations: Sequence[int],
        spectral: bool,
        stem: int,
        copy_skip: bool = True,
    ):
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
        # Ω_l with l = 1 is the decoder at half the image's side.
        self.feature_level = len(self.up) - 1 if stem == 2 else len(self.up) - 2
        self.out = nn.Sequential(norm(nn.Conv2d(widths[0], 3 * stem**2, 3, 1, 1)), nn.PixelShuffle(stem))

    def forward(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Generate the missing pixels.

        Args:
            image: Î^s1, Bx3xHxW in [-1, 1].
            condition: M^s2, Bx1xHxW.

        Returns:
            The image Bx3xHxW (about [-1, 1]), and Ω_1, BxCxH/2xW/2.
        """
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
        output = torch.tanh(self.out(x).float())
        if self.copy_skip:  # no gradient to the condition: losses.confidence_loss trains it
            output = output + image.float() * condition.float().detach()
        return output, features


# --- the whole ------------------------------------------------------------------------------------------------------
@dataclass
class SymmFCNetOutput:
    """Output of SymmFCNet: images Bx3xHxW in [-1, 1], masks Bx1xHxW in [0, 1].

    Attributes:
        completed: Î; visible pixels are the input's.
        generated: RecNet's output, visible pixels included.
        stage1: Î^s1 (9).
        warped: I^{o,f,w} (4), the warped flip.
        flow: Φ, Bx2xHxW, coordinates (x, y) in the flipped image, in [-1, 1].
        motion: Φ − grid, Bx2xHxW.
        light: R, Bx3xHxW, ratios ≥ 0.
        face_region: M^fr.
        half_mask: M^{o-h}.
        confidence: C.
        condition: M^s2.
        features: Ω_1, BxCxH/2xW/2; None with ``generate=False``.
    """

    completed: Tensor
    generated: Tensor
    stage1: Tensor
    warped: Tensor
    flow: Tensor
    motion: Tensor
    light: Tensor
    face_region: Tensor
    half_mask: Tensor
    confidence: Tensor
    condition: Tensor
    features: Tensor | None


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
    """The two stages as one network. The defaults are the released size; ``SymmFCNet.preset("paper")`` has the paper's.

    Departures: M^fr is thresholded at 0.5, since soft values mix the copy with grey; overexposed copies are generated.

    Args:
        stage1_width: see StageOneNet's ``width``.
        carry: see StageOneNet.
        stage1_stride: stage I's networks see the image at 1/stage1_stride of its side; their outputs are smooth.
        mask_input: whether stage I's networks see the mask beside the image. The paper gives them the image alone, with
            the mask filled with grey.
        widths, blocks, dilations, spectral, stem, copy_skip: see RecNet.
        stage1: False leaves out stage I: RecNet on the occluded image, Table III's plain RecNet.
        relight: False leaves out LightNet (Table III's −L).
        input_size: side of the training images; H and W may be any multiple of 32 × stage1_stride.
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
            self.flownet.out.bias = nn.Parameter(torch.zeros(2))
            if relight:
                self.lightnet = StageOneNet(6 + 2 * extra, 3, stage1_width, carry)
                nn.init.normal_(self.lightnet.out.weight, std=1e-3)
                self.lightnet.out.bias = nn.Parameter(torch.ones(3))  # start from equal light on both sides

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Create an untrained network of a named size.

        Args:
            name: "paper", "small" (the released size) or "tiny" (for tests).
            changes: arguments of the constructor that replace the preset's.
        """
        return cls(**(PRESETS[name] | changes))

    def stage_one(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run MaskNet, FlowNet and LightNet.

        Args:
            image: I^o, Bx3xHxW in [-1, 1].
            mask: Bx1xHxW, 1 = visible.

        Returns:
            Face region Bx1xHxW, motion Bx2xHxW, light Bx3xHxW, all in the image's size.
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

    def forward(self, image: Tensor, mask: Tensor, generate: bool = True) -> SymmFCNetOutput:
        """Complete a batch of aligned faces.

        Args:
            image: Bx3xHxW in [-1, 1]; missing pixels are ignored.
            mask: Bx1xHxW, 1 = visible, 0 = missing.
            generate: False stops after stage I and returns its image as the output (training phase (i)).

        Returns:
            SymmFCNetOutput.

        Raises:
            ValueError: H or W is not a multiple of 32 × stage1_stride.
        """
        multiple = 32 * self.config.stage1_stride
        if image.shape[-2] % multiple or image.shape[-1] % multiple:
            raise ValueError(f"{tuple(image.shape[-2:])}: height and width must be multiples of {multiple}")
        mask = (mask > 0.5).to(image.dtype)
        image = torch.where(mask.bool(), image, 0)  # not ×: a NaN in the missing part must not spread
        if self.config.stage1:
            face, motion, light = self.stage_one(image, mask)
            flow = identity_grid(image) + motion
            warped = warp(image.flip(-1), flow)
            # Only where all four sampled pixels are visible: other samples are mixed with the mask's grey.
            warped_visible = (warp(mask.flip(-1), flow) > 0.999).float()
            copy = relight(warped, light)
            columns = F.max_pool2d(copy.amax(1, keepdim=True), (9, 1), 1, (4, 0))  # separable, for speed
            in_range = soft_step(1.1 - F.max_pool2d(columns, (1, 9), 1, (0, 4)))
            region = soft_step(face - 0.5)
            half = one_half_mask(mask.float(), warped_visible * in_range, region)
            stage1 = copy * (1 - half) + image * half  # (9)
            confidence = self.confidence(motion.to(image.dtype)).float()
            condition = stage_two_condition(mask.float(), half, region, confidence)
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
        if not self.training:  # not in training: a clamped pixel has no gradient
            generated = generated.clamp(-1, 1)
        completed = torch.where(mask.bool(), image, generated.to(image.dtype))
        return SymmFCNetOutput(
            completed, generated, stage1, warped, flow, motion, light, face, half, confidence, condition, features
        )  # fmt: skip
