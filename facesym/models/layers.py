"""Layers whose left-right symmetry is exact, for any weights (the symmetric GANs' building blocks).

The free numbers alone are parameters: of a symmetric kernel its left columns and the middle one (15 of 25 for 5x5).
The kernel is unfolded from them at each call, so no optimiser, average or rounding can break the symmetry.

"Exact" is up to rounding: a mirrored sum adds the same numbers in another order.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


def unfold_symmetric(half, width):
    """Columns 1…⌈width/2⌉ to all ``width`` columns, the right ones copies of the left: …xHxw to …xHx``width``."""
    return torch.cat([half, half[..., : width // 2].flip(-1)], -1)


def unfold_antisymmetric(half, width):
    """Columns 1…⌊width/2⌋ to all ``width``: right ones the negatives of the left, a middle one 0."""
    middle = half.new_zeros(*half.shape[:-1], width % 2)
    return torch.cat([half, middle, -half.flip(-1)], -1)


def fold_symmetric(x):
    """(Column k + column (W + 1 − k)) / √2, a middle column as it is: …xHxW to …xHx⌈W/2⌉.

    The same for x and its mirror image. The rows of this map are orthonormal: a layer behind it has the operator norm
    that its own weight has.
    """
    half = x.shape[-1] // 2
    pairs = (x[..., :half] + x[..., x.shape[-1] - half :].flip(-1)) / 2**0.5
    return torch.cat([pairs, x[..., half : x.shape[-1] - half]], -1)


class _ScaleColumns(nn.Module):
    """A parametrization: the columns of a kernel's half, each times a number."""

    def __init__(self, factors):
        super().__init__()
        self.register_buffer("factors", factors, persistent=False)

    def forward(self, half):
        return half * self.factors.to(half.dtype)


def symmetric_spectral_norm(layer):
    """Divide a symmetric layer's kernel by the largest singular value of the unfolded kernel, as a matrix.

    `torch.nn.utils.parametrizations.spectral_norm` of ``free`` alone would leave out the columns that are copied, and
    the layer would have a norm of up to √2. A column that stands twice counts √2 times in the norm.

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
    """What the two convolutions share: free columns, bias, and the check that the grid is mirror-symmetric."""

    def __init__(self, shape, kernel, stride, padding, bias_channels, fan_in):
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.free = nn.Parameter(torch.empty(*shape, kernel, (kernel + 1) // 2))
        # As nn.Conv2d does: the unfolded kernel has the variance of a plain one.
        bound = fan_in**-0.5
        nn.init.uniform_(self.free, -bound, bound)
        self.bias = nn.Parameter(torch.zeros(bias_channels)) if bias_channels else None

    @property
    def weight(self):
        """The unfolded kernel."""
        return unfold_symmetric(self.free, self.kernel)


class SymmetricConv2d(_SymmetricKernel):
    """A convolution that maps mirrored pictures to mirrored maps.

    With stride 2, the places where the kernel is laid must be mirror-symmetric too: an even kernel on even widths, an
    odd one on odd widths (with ``padding`` (kernel − 1) // 2). The paper's 5x5 kernels with stride 2 on even widths
    are not: 4x4 and 6x6 are their nearest exact relatives.

    Args:
        cin, cout: channels.
        kernel: side.
        stride, padding: as of nn.Conv2d.
        bias: whether there is one.
    """

    def __init__(self, cin, cout, kernel, stride=1, padding=0, bias=True):
        super().__init__((cout, cin), kernel, stride, padding, cout if bias else 0, cin * kernel**2)

    def forward(self, x):
        """BxCxHxW to BxC'xH'xW'.

        Raises:
            ValueError: the kernel's places would not be mirror-symmetric on this width.
        """
        if (x.shape[-1] + 2 * self.padding - self.kernel) % self.stride:
            raise ValueError(
                f"a {self.kernel}-wide kernel with stride {self.stride} and padding {self.padding} does not lie "
                f"symmetrically on {x.shape[-1]} columns: use an {'even' if self.kernel % 2 else 'odd'} kernel"
            )
        return F.conv2d(x, self.weight.to(x.dtype), self.bias, self.stride, self.padding)


class SymmetricConvTranspose2d(_SymmetricKernel):
    """A transposed convolution that maps mirrored maps to mirrored maps, for any sizes: its output is
    (W − 1)·stride − 2·padding + kernel wide, and nothing is added on one side alone (no output_padding). Twice the
    width, even, needs an even kernel: stride 2, kernel 4 or 6, padding 1 or 2.

    Args: as of SymmetricConv2d.
    """

    def __init__(self, cin, cout, kernel, stride=1, padding=0, bias=True):
        super().__init__((cin, cout), kernel, stride, padding, cout if bias else 0, cout * kernel**2)

    def forward(self, x):
        """BxCxHxW to BxC'xH'xW'."""
        return F.conv_transpose2d(x, self.weight.to(x.dtype), self.bias, self.stride, self.padding)


class CircularConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution of stride 2 on a torus: what leaves the map on one side comes in on the other. Rolling
    its input by k rolls its output by 2k, so that a picture made by a stack of these tiles without a seam.

    Args:
        cin, cout: channels.
        kernel: even.
        bias: whether there is one.
    """

    def __init__(self, cin, cout, kernel, bias=True):
        # So many columns of the input on each side as the kernel reaches; the padding cuts off what they grow into.
        self.margin = (kernel + 2) // 4
        super().__init__(cin, cout, kernel, 2, kernel // 2 - 1 + 2 * self.margin, bias=bias)

    def forward(self, x):
        """BxCxHxW to BxC'x2Hx2W."""
        return super().forward(F.pad(x, (self.margin,) * 4, mode="circular"))


class SymmetricMap(nn.Module):
    """An affine map of a vector to a symmetric BxCxSxS map."""

    def __init__(self, features, channels, side):
        super().__init__()
        self.shape = (channels, side, (side + 1) // 2)
        self.linear = nn.Linear(features, channels * side * self.shape[2])

    def forward(self, z):
        return unfold_symmetric(self.linear(z).view(-1, *self.shape), self.shape[1])


class AntisymmetricMap(nn.Module):
    """A linear map of a vector to an antisymmetric BxCxSxS map. Without a bias, which would make G(−z′) something else
    than the mirror image of G(z′)."""

    def __init__(self, features, channels, side):
        super().__init__()
        self.shape = (channels, side, side // 2)
        self.linear = nn.Linear(features, channels * side * self.shape[2], bias=False)

    def forward(self, z):
        return unfold_antisymmetric(self.linear(z).view(-1, *self.shape), self.shape[1])
