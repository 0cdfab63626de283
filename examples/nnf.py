"""Watch a nearest-neighbour field converge: an animated WebP, its colours beside the picture that it rebuilds.

Run from the repository, with psal installed: python examples/nnf.py [QUERY KEY OUTPUT]
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from psal_cli import ops
from psal_cli.image import read_picture
from psal_cli.image.fitting import rounded
from psal_cli.verbs.reconstruct.rebuild import psnr
from psal_cli.viz.field import Field

ITERATIONS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20)
MILLISECONDS = 700


def frames(query_path: str, key_path: str):
    """Yields (iterations, PSNR, picture) for more and more iterations of jump flooding, the paper's Algorithm 1.

    Of two pictures in colour, of one depth.
    """
    query, key = (read_picture(Path(path)) for path in (query_path, key_path))
    asked, given = (torch.from_numpy(x.pixels / np.float32(x.white)).permute(2, 0, 1)[None] for x in (query, key))
    height, width = query.pixels.shape[:2]
    for iterations in ITERATIONS:
        nnf, _ = ops.search(asked, given, patch_size=7, k=1, iterations=iterations, schedule="jump-flood", seed=0)
        field = nnf[0, 0].numpy()
        rebuilt = key.pixels[*field]
        wheel = Field(field[None], (key.pixels.shape[:2],)).draw(query)
        canvas = np.zeros((wheel.shape[0], 2 * width, 3), np.uint8)
        canvas[:, :width] = wheel[:, :width]
        canvas[:height, width:] = rounded(rebuilt)
        frame = Image.fromarray(canvas)
        near = psnr(rebuilt, query.pixels)
        text = f"iterations: {iterations}\n{near:.1f} dB"
        below = (wheel.shape[0] - height) / 2
        ImageDraw.Draw(frame).text((width + 12, height + below), text, font=ImageFont.load_default(below / 2), anchor="lm")
        yield iterations, near, frame.reduce(2)


def main(query="examples/railway.jpg", key="examples/railway_reference.jpg", output="nnf.webp"):
    pictures = []
    for iterations, near, frame in frames(query, key):
        print(f"{iterations:2} iterations: {near:.2f} dB")
        pictures.append(frame)
    pictures[0].save(output, save_all=True, append_images=pictures[1:], duration=MILLISECONDS, loop=0, quality=70, method=4)


if __name__ == "__main__":
    main(*sys.argv[1:])
