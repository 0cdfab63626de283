"""Attention layers with one calling convention: layer(query, key, value) on [B, C, H, W]; and layers that fill the hole of a
feature map."""

from psal_cli.attention.contextual import ContextualAttention, HoleAttention
from psal_cli.attention.full import FullAttention, full_attention
from psal_cli.attention.linear import LinearAttention, linear_attention
from psal_cli.attention.local import LocalAttention, local_attention
from psal_cli.attention.performer import PerformerAttention, performer_attention
from psal_cli.attention.psal import PSAttention, ps_attention
from psal_cli.attention.reformer import ReformerAttention, reformer_attention

__all__ = [
    "ContextualAttention",
    "FullAttention",
    "HoleAttention",
    "LinearAttention",
    "LocalAttention",
    "PSAttention",
    "PerformerAttention",
    "ReformerAttention",
    "full_attention",
    "linear_attention",
    "local_attention",
    "performer_attention",
    "ps_attention",
    "reformer_attention",
]
