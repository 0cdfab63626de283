"""Attention layers with one calling convention: layer(query, key, value) on [B, C, H, W]."""

from psal_cli.attention.psal import PSAttention, ps_attention

__all__ = ["PSAttention", "ps_attention"]
