"""The discriminator shared by several models."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


class SelfAttention(nn.Module):
    """Self-attention of SAGAN (Zhang et al. 2019): 1/8 of the channels for keys and queries, and, as in its authors'
    code, keys and values at half the size, which makes it four times cheaper."""

    def __init__(self, channels: int):
        super().__init__()
        self.query = spectral_norm(nn.Conv2d(channels, channels // 8, 1))
        self.key = spectral_norm(nn.Conv2d(channels, channels // 8, 1))
        self.value = spectral_norm(nn.Conv2d(channels, channels, 1))
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.query(x), F.max_pool2d(self.key(x), 2), F.max_pool2d(self.value(x), 2)
        query, key, value = (y.flatten(2).transpose(1, 2) for y in maps)
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.gain * attended.transpose(1, 2).reshape(x.shape)


class SAGANDiscriminator(nn.Module):
    """A spectrally normalized discriminator with self-attention, for the whole face or a part of it.

    Args:
        width: channels of the first layer, doubled at each of the others.
        layers: number of stride-2 convolutions; self-attention follows the second.
        fold: factor of PixelUnshuffle at the input, which makes large images cheap.
    """

    def __init__(self, width: int = 48, layers: int = 4, fold: int = 1):
        super().__init__()
        channels = [3 * fold**2, *(min(width * 2**i, 8 * width) for i in range(layers))]
        blocks: list[nn.Module] = [nn.PixelUnshuffle(fold)]
        for i, (a, b) in enumerate(zip(channels[:-1], channels[1:])):
            blocks += [spectral_norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.1, inplace=True)]
            if i == 1:
                blocks.append(SelfAttention(b))
        self.layers = nn.Sequential(*blocks)
        self.out = spectral_norm(nn.Conv2d(channels[-1], 1, 3, 1, 1))
        self.channels, self.stride = channels[-1], fold * 2**layers

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Bx3xHxW in [-1, 1] to logits Bx1xH/sxW/s, s = ``stride``; their mean is SAGAN's one logit."""
        return self.out(self.layers(image))
