"""Rebuild one picture from the patches of another with `ps_attention`, and print how close it comes.

Run from the repository, with psal installed: python examples/library.py [QUERY KEY OUTPUT]
"""

import sys

import numpy as np
import torch
from PIL import Image

from psal_cli import ps_attention


def load(path: str) -> torch.Tensor:
    """A picture as float32 [1, 3, H, W] in [0, 1]."""
    return torch.from_numpy(np.asarray(Image.open(path).convert("RGB"), np.float32) / 255).permute(2, 0, 1)[None]


def main(query_path="examples/railway.jpg", key_path="examples/railway_reference.jpg", output_path="rebuilt.png"):
    query, key = load(query_path), load(key_path)
    for aggregation in (False, True):
        rebuilt = ps_attention(query, key, key, patch_size=7, k=3, temperature=0.1, aggregation=aggregation)
        psnr = -10 * torch.log10((rebuilt - query).square().mean())
        print(f"PSAL-3{' with aggregation' if aggregation else ''}: {psnr:.2f} dB")
    Image.fromarray((rebuilt[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()).save(output_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
