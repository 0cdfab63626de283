"""Holes as users paint them: strokes of a brush, rectangles, blobs."""

import cv2
import numpy as np

AREA = 0.04, 0.25  # of the picture
FREE = 32  # pixels: side of a square that stays free, to copy from
KINDS = ("strokes", "rectangles", "blobs")


def hole(random: np.random.Generator, side: int) -> np.ndarray:
    """bool [side, side], True = hole, of a random kind."""
    while True:
        draw = {"strokes": _strokes, "rectangles": _rectangles, "blobs": _blobs}[random.choice(KINDS)]
        mask = draw(random, side, random.uniform(*AREA)).astype(bool)
        if AREA[0] / 2 <= mask.mean() <= AREA[1] * 1.2 and cv2.erode((~mask).astype(np.uint8), np.ones((FREE, FREE))).any():
            return mask


def _strokes(random: np.random.Generator, side: int, area: float) -> np.ndarray:
    """Yu et al. 2019, algorithm 1: brush strokes with random turns and round ends."""
    canvas = np.zeros((side, side), np.uint8)
    while canvas.mean() < area:
        at, angle, width = random.uniform(0, side, 2), random.uniform(0, 2 * np.pi), int(random.uniform(0.04, 0.14) * side)
        for _ in range(random.integers(1, 7)):
            to = at + random.uniform(0.05, 0.25) * side * np.array([np.cos(angle), np.sin(angle)])
            start, end = ([int(x) for x in np.rint(point)] for point in (at, to))
            cv2.line(canvas, start, end, 1, width)
            at, angle = to, angle + random.normal(0, 0.8)
    return canvas


def _rectangles(random: np.random.Generator, side: int, area: float) -> np.ndarray:
    canvas, count = np.zeros((side, side), np.uint8), random.integers(1, 4)
    for _ in range(count):
        aspect = np.exp(random.normal(0, 0.4))
        height, width = (min(int(np.sqrt(area / count * x) * side), side) for x in (aspect, 1 / aspect))
        top, left = (random.integers(-x // 4, side - x + x // 4 + 1) for x in (height, width))
        canvas[max(top, 0) : top + height, max(left, 0) : left + width] = 1
    return canvas


def _blobs(random: np.random.Generator, side: int, area: float) -> np.ndarray:
    noise = cv2.GaussianBlur(random.standard_normal((side, side)), (0, 0), random.uniform(0.06, 0.14) * side)
    return noise > np.quantile(noise, 1 - area)
