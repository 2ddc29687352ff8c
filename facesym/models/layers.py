"""Layers whose left-right symmetry is exact for any weights: the building blocks of the symmetric GANs.

The parameters are half of a kernel: the left columns and the middle one (15 of 25 numbers for 5x5). The kernel is
unfolded from them at each call, so that no optimiser, average or rounding can break the symmetry.

"Exact" is up to rounding: a mirrored sum adds the same numbers in another order.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


def unfold_symmetric(half: torch.Tensor, width: int) -> torch.Tensor:
    """Unfold columns 1…⌈width/2⌉ to ``width`` symmetric columns: …xHxw to …xHx``width``."""
    return torch.cat([half, half[..., : width // 2].flip(-1)], -1)


def unfold_antisymmetric(half: torch.Tensor, width: int) -> torch.Tensor:
    """Unfold columns 1…⌊width/2⌋ to ``width`` antisymmetric columns; a middle column is 0."""
    middle = half.new_zeros(*half.shape[:-1], width % 2)
    return torch.cat([half, middle, -half.flip(-1)], -1)


def fold_symmetric(x: torch.Tensor) -> torch.Tensor:
    """(Column k + column (W + 1 − k)) / √2, a middle column as it is: …xHxW to …xHx⌈W/2⌉.

    The result is the same for x and its mirror image. The map's rows are orthonormal, so that it leaves the operator
    norm of a following layer unchanged.
    """
    half = x.shape[-1] // 2
    pairs = (x[..., :half] + x[..., x.shape[-1] - half :].flip(-1)) / 2**0.5
    return torch.cat([pairs, x[..., half : x.shape[-1] - half]], -1)


class _ScaleColumns(nn.Module):
    """A parametrization that multiplies each column of a half kernel by a constant."""

    def __init__(self, factors):
        super().__init__()
        self.register_buffer("factors", factors, persistent=False)

    def forward(self, half):
        return half * self.factors.to(half.dtype)


def symmetric_spectral_norm(layer: Any) -> Any:
    """Divide a symmetric layer's kernel by the largest singular value of the unfolded kernel, as a matrix.

    `torch.nn.utils.parametrizations.spectral_norm` of the half kernel ``free`` would ignore the copied columns, and the
    layer's norm could reach √2. A column that occurs twice is scaled by √2 before the norm is taken.

    Args:
        layer: SymmetricConv2d.

    Returns:
        The layer.
    """
    counts = torch.full((layer.free.shape[-1],), 2**0.5)
    counts[layer.kernel // 2 :] = 1  # the middle column of an odd kernel
    parametrize.register_parametrization(layer, "free", _ScaleColumns(counts))
    spectral_norm(layer, "free")
    parametrize.register_parametrization(layer, "free", _ScaleColumns(1 / counts))
    return layer


class _SymmetricKernel(nn.Module):
    """Base of the two convolutions: the half kernel ``free`` (its name in released weights) and the bias."""

    def __init__(self, shape, kernel, stride, padding, bias_channels, fan_in):
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.free = nn.Parameter(torch.empty(*shape, kernel, (kernel + 1) // 2))
        # As in nn.Conv2d: the unfolded kernel has the variance of a plain one.
        bound = fan_in**-0.5
        nn.init.uniform_(self.free, -bound, bound)
        self.bias = nn.Parameter(torch.zeros(bias_channels)) if bias_channels else None

    @property
    def weight(self):
        """The unfolded kernel."""
        return unfold_symmetric(self.free, self.kernel)


class SymmetricConv2d(_SymmetricKernel):
    """A convolution that maps mirrored inputs to mirrored outputs.

    With stride 2 the kernel's positions must be mirror-symmetric too: an even kernel on even widths, an odd one on odd
    widths (with ``padding`` (kernel − 1) // 2). The paper's 5x5 kernels with stride 2 on even widths are not; 4x4 and
    6x6 are the closest that are.

    Args:
        cin, cout: channels.
        kernel: side of the kernel.
        stride, padding: as in nn.Conv2d.
        bias: whether the layer has a bias.
    """

    def __init__(
        self, cin: int, cout: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
    ):
        super().__init__((cout, cin), kernel, stride, padding, cout if bias else 0, cin * kernel**2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """BxCxHxW to BxC'xH'xW'.

        Raises:
            ValueError: the kernel's positions are not mirror-symmetric on this width.
        """
        if (x.shape[-1] + 2 * self.padding - self.kernel) % self.stride:
            raise ValueError(
                f"a {self.kernel}-wide kernel with stride {self.stride} and padding {self.padding} does not lie "
                f"symmetrically on {x.shape[-1]} columns: use an {'even' if self.kernel % 2 else 'odd'} kernel"
            )
        return F.conv2d(x, self.weight.to(x.dtype), self.bias, self.stride, self.padding)


class SymmetricConvTranspose2d(_SymmetricKernel):
    """A transposed convolution that maps mirrored inputs to mirrored outputs.

    The output is (W − 1)·stride − 2·padding + kernel wide; there is no output_padding, which would act on one side
    alone. To double the width exactly, use stride 2 with kernel 4 and padding 1, or kernel 6 and padding 2.

    Args:
        cin, cout, kernel, stride, padding, bias: as in SymmetricConv2d.
    """

    def __init__(
        self, cin: int, cout: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
    ):
        super().__init__((cin, cout), kernel, stride, padding, cout if bias else 0, cout * kernel**2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """BxCxHxW to BxC'xH'xW'."""
        return F.conv_transpose2d(x, self.weight.to(x.dtype), self.bias, self.stride, self.padding)


class CircularConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution of stride 2 with circular padding on all sides.

    Rolling its input by k rolls its output by 2k, so that the images of a stack of these tile without a seam.

    Args:
        cin, cout: channels.
        kernel: side of the kernel, even.
        bias: whether the layer has a bias.
    """

    def __init__(self, cin: int, cout: int, kernel: int, bias: bool = True):
        # Pad the input by the kernel's reach; the layer's own padding crops what the padding grows into.
        self.margin = (kernel + 2) // 4
        super().__init__(cin, cout, kernel, 2, kernel // 2 - 1 + 2 * self.margin, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """BxCxHxW to BxC'x2Hx2W."""
        return super().forward(F.pad(x, (self.margin,) * 4, mode="circular"))


class SymmetricMap(nn.Module):
    """An affine layer from a vector to a symmetric BxCxSxS map."""

    def __init__(self, features: int, channels: int, side: int):
        super().__init__()
        self.shape = (channels, side, (side + 1) // 2)
        self.linear = nn.Linear(features, channels * side * self.shape[2])

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return unfold_symmetric(self.linear(z).view(-1, *self.shape), self.shape[1])


class AntisymmetricMap(nn.Module):
    """A linear layer from a vector to an antisymmetric BxCxSxS map.

    It has no bias: with one, G(−z′) would not be the mirror image of G(z′).
    """

    def __init__(self, features: int, channels: int, side: int):
        super().__init__()
        self.shape = (channels, side, side // 2)
        self.linear = nn.Linear(features, channels * side * self.shape[2], bias=False)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return unfold_antisymmetric(self.linear(z).view(-1, *self.shape), self.shape[1])
