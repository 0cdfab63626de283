"""Guided colorization with one attention layer (Cherel et al., arXiv 2202.03163, section 4.3 and figure 3)."""

import torch
from torch import Tensor, nn

CHANNELS = 16


class ColorizationNetwork(nn.Module):
    """Colours a grey picture by attention to a reference; 1,860 parameters.

    query = convq(target), key = convk(reference), value = convv(reference), each a 3x3 convolution to 16 channels and ReLU;
    the output is the sigmoid of a 3x3 convolution of the target concatenated with the result of attention.
    """

    def __init__(self, attention: nn.Module):
        """attention: a layer of psal_cli.attention, called with query, key, value and query_mask."""
        super().__init__()
        self.convq = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU())
        self.convk = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU())
        self.convv = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU())
        self.attention = attention
        self.final = nn.Sequential(nn.Conv2d(3 + CHANNELS, 3, 3, padding=1), nn.Sigmoid())

    def forward(
        self, target: Tensor, reference: Tensor, query_mask: Tensor | None = None, key_mask: Tensor | None = None
    ) -> Tensor:
        """Returns RGB [B, 3, H, W] in (0, 1).

        Args:
            target: [B, 3, H, W] in [0, 1], the grey picture three times (grey = mean of the channels).
            reference: [B, 3, Hr, Wr] in [0, 1], colours.
            query_mask: bool [B, H, W], True = attend; elsewhere the result of attention is zero.
            key_mask: bool [B, Hr, Wr], True = may be attended to.

        Raises:
            ValueError: as the attention layer raises.
        """
        query, key, value = self.convq(target), self.convk(reference), self.convv(reference)
        attended = self.attention(query, key, value, query_mask=query_mask, key_mask=key_mask)
        return self.final(torch.cat([target, attended], 1))


def grey(colours: Tensor) -> Tensor:
    """[B, 3, H, W] -> the mean of the channels, three times: the network's input."""
    return colours.mean(1, keepdim=True).expand_as(colours)
