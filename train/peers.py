"""Architectures of published networks for the same tasks, with random weights, to compare the speed.

They are written from the papers. The speed of a network does not depend on its weights; the outputs are not used.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


# --- LaMa -----------------------------------------------------------------------------------------------------------
class _Spectral(nn.Module):
    """A convolution in the Fourier domain between two that halve and double the number of channels."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.narrow = nn.Sequential(nn.Conv2d(channels, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU())
        self.fourier = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.widen = nn.Conv2d(half, channels, 1, bias=False)

    def forward(self, x):
        x = self.narrow(x)
        spectrum = torch.fft.rfft2(x, norm="ortho")
        real, imaginary = self.fourier(torch.cat([spectrum.real, spectrum.imag], 1)).chunk(2, 1)
        return self.widen(x + torch.fft.irfft2(torch.complex(real, imaginary), s=x.shape[-2:], norm="ortho"))


class _FourierBlock(nn.Module):
    """A residual block of two fast Fourier convolutions; the channels are split into a local and a global part."""

    def __init__(self, near, far):
        super().__init__()

        def conv(a, b):
            return nn.Conv2d(a, b, 3, 1, 1, padding_mode="reflect", bias=False)

        def layer():
            return nn.ModuleDict(
                {
                    "near_near": conv(near, near),
                    "near_far": conv(near, far),
                    "far_near": conv(far, near),
                    "far_far": _Spectral(far),
                    "near": nn.Sequential(nn.BatchNorm2d(near), nn.ReLU()),
                    "far": nn.Sequential(nn.BatchNorm2d(far), nn.ReLU()),
                }
            )

        self.layers = nn.ModuleList([layer(), layer()])

    def forward(self, near, far):
        a, b = near, far
        for x in self.layers:
            a, b = (
                x["near"](x["near_near"](a) + x["far_near"](b)),
                x["far"](x["near_far"](a) + x["far_far"](b)),
            )
        return near + a, far + b


class LaMa(nn.Module):
    """LaMa-Fourier (Suvorov et al., WACV 2022): 27 M parameters. Bx4xHxW to Bx3xHxW."""

    def __init__(self, width: int = 64, blocks: int = 9, far: float = 0.75):
        super().__init__()

        def conv(a, b, side=3, stride=2):
            return nn.Sequential(
                nn.Conv2d(a, b, side, stride, side // 2, padding_mode="reflect", bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(),
            )

        most = 8 * width
        self.near, wide = most - int(most * far), int(most * far)
        self.down = nn.Sequential(conv(4, width, 7, 1), conv(width, 2 * width), conv(2 * width, 4 * width))
        self.split = conv(4 * width, most)
        self.blocks = nn.ModuleList(_FourierBlock(self.near, wide) for _ in range(blocks))
        self.up = nn.Sequential(
            *[
                nn.Sequential(
                    nn.ConvTranspose2d(a, a // 2, 3, 2, 1, 1, bias=False), nn.BatchNorm2d(a // 2), nn.ReLU()
                )
                for a in (most, most // 2, most // 4)
            ],
            nn.Conv2d(width, 3, 7, 1, 3, padding_mode="reflect"),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.split(self.down(x))
        near, far = x[:, : self.near], x[:, self.near :]
        for block in self.blocks:
            near, far = block(near, far)
        return self.up(torch.cat([near, far], 1))


# --- StarGAN --------------------------------------------------------------------------------------------------------
class StarGAN(nn.Module):
    """StarGAN's generator (Choi et al., CVPR 2018): 8.4 M parameters. Bx(3 + C)xHxW to Bx3xHxW."""

    def __init__(self, width: int = 64, attributes: int = 5, blocks: int = 6):
        super().__init__()

        def norm(layer, channels):
            return nn.Sequential(layer, nn.InstanceNorm2d(channels, affine=True), nn.ReLU(inplace=True))

        layers: list[nn.Module] = [norm(nn.Conv2d(3 + attributes, width, 7, 1, 3, bias=False), width)]
        for a in (width, 2 * width):
            layers.append(norm(nn.Conv2d(a, 2 * a, 4, 2, 1, bias=False), 2 * a))
        wide = 4 * width
        self.encode = nn.Sequential(*layers)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                norm(nn.Conv2d(wide, wide, 3, 1, 1, bias=False), wide),
                nn.Conv2d(wide, wide, 3, 1, 1, bias=False),
                nn.InstanceNorm2d(wide, affine=True),
            )
            for _ in range(blocks)
        )
        self.decode = nn.Sequential(
            *[norm(nn.ConvTranspose2d(a, a // 2, 4, 2, 1, bias=False), a // 2) for a in (wide, wide // 2)],
            nn.Conv2d(width, 3, 7, 1, 3, bias=False),
            nn.Tanh(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.encode(x)
        for block in self.blocks:
            x = x + block(x)
        return self.decode(x)


# --- GFPGAN ---------------------------------------------------------------------------------------------------------
class _Modulated(nn.Module):
    """StyleGAN2's convolution: a kernel scaled by a style, with noise, bias and activation."""

    def __init__(self, cin, cout, style, side=3, up=False, demodulate=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(cout, cin, side, side) / math.sqrt(cin * side**2))
        self.style = nn.Linear(style, cin)
        self.bias, self.up, self.demodulate = nn.Parameter(torch.zeros(1, cout, 1, 1)), up, demodulate

    def forward(self, x, style):
        weight = self.weight[None] * self.style(style)[:, None, :, None, None]
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        if self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        batch, cin, height, width = x.shape
        x = F.conv2d(
            x.reshape(1, batch * cin, height, width),
            weight.flatten(0, 1),
            padding=weight.shape[-1] // 2,
            groups=batch,
        )
        x = x.view(batch, -1, height, width) + self.bias
        return F.leaky_relu(x + torch.randn_like(x[:, :1]), 0.2) if self.demodulate else x


class GFPGAN(nn.Module):
    """GFPGAN (Wang et al., CVPR 2021): the features of a U-Net modulate half of the channels of a StyleGAN2 generator.
    Bx3x512x512 to Bx3x512x512.

    Args:
        size: side of the images in pixels.
        style: length of a style vector.
    """

    def __init__(self, size: int = 512, style: int = 512):
        super().__init__()
        levels = int(math.log2(size)) - 1  # 4 to size
        wide = [min(512, 2 * 16384 // 2 ** (level + 2)) for level in range(levels)]
        read = [w // 2 for w in wide]
        self.first = nn.Conv2d(3, read[-1], 1)

        def pair(a, b):
            return nn.Sequential(
                nn.Conv2d(a, a, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(a, b, 3, 1, 1), nn.LeakyReLU(0.2)
            )

        self.down = nn.ModuleList(pair(a, b) for a, b in zip(read[:0:-1], read[-2::-1]))
        self.last = nn.Conv2d(read[0], read[0], 3, 1, 1)
        self.styles = nn.Linear(read[0] * 16, (2 * levels) * style)
        self.up = nn.ModuleList(pair(a, b) for a, b in zip(read, read[1:]))
        self.scale, self.shift = (
            nn.ModuleList(
                nn.Sequential(nn.Conv2d(b, b, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(b, w // 2, 3, 1, 1))
                for b, w in zip(read[1:], wide[1:])
            )
            for _ in range(2)
        )
        self.constant = nn.Parameter(torch.randn(1, wide[0], 4, 4))
        self.start = _Modulated(wide[0], wide[0], style)
        self.convs = nn.ModuleList(
            nn.ModuleList([_Modulated(a, b, style, up=True), _Modulated(b, b, style)])
            for a, b in zip(wide, wide[1:])
        )
        self.colours = nn.ModuleList(_Modulated(w, 3, style, 1, demodulate=False) for w in wide)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x, skips = F.leaky_relu(self.first(image), 0.2), []
        for down in self.down:
            skips.append(down(x))
            x = F.interpolate(skips[-1], scale_factor=0.5, mode="bilinear", align_corners=False)
        x = F.leaky_relu(self.last(x), 0.2)
        styles = self.styles(x.flatten(1)).unflatten(1, (2 * len(self.colours), -1)).unbind(1)
        features = self.start(self.constant.expand(len(image), -1, -1, -1), styles[0])
        output = self.colours[0](features, styles[1])
        for level, (up, skip) in enumerate(zip(self.up, skips[::-1])):
            x = up(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False) + skip)
            a, b = self.convs[level]
            features = a(features, styles[2 * level + 1])
            same, changed = features.chunk(2, 1)
            features = torch.cat([same, changed * self.scale[level](x) + self.shift[level](x)], 1)
            features = b(features, styles[2 * level + 2])
            larger = F.interpolate(output, scale_factor=2.0, mode="bilinear", align_corners=False)
            output = larger + self.colours[level + 1](features, styles[2 * level + 3])
        return output
