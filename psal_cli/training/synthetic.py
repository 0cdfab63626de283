"""Synthetic scenes for inpainting: leaves, polygons and planes in perspective, filled with textures from photographs.

A few thousand photographs teach little geometry: that edges are straight, meet in corners and converge in a vanishing point. Dead
leaves (Lee et al. 2001) have statistics close to those of photographs.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]  # [side, side, 3]
Texture = Callable[[], Picture]  # a crop of a photograph

OVERSAMPLED = 2  # supersampling of scenes, for antialiased edges
LEAVES = 8, 40
SMALLEST_LEAF = 0.06  # radius, of the side
FLAT, GRADIENT = 0.35, 0.25  # shares of fills with one colour or a gradient; the others are textures
NATURAL = 0.75  # share of colours taken from a photograph


def scene(random: np.random.Generator, side: int, texture: Texture) -> Picture:
    """uint8 [side, side, 3], a scene of a random kind."""
    draw = (_leaves, _planes, _perspective)[random.integers(3)]
    large = draw(random, OVERSAMPLED * side, texture)
    return cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _leaves(random: np.random.Generator, side: int, texture: Texture) -> Picture:
    """Discs and polygons on top of each other, small ones more often than large ones."""
    canvas = _fill(random, side, texture)
    for _ in range(random.integers(*LEAVES)):
        radius = side * SMALLEST_LEAF / max(random.uniform(), 0.1)  # the density of radii falls with their square
        corners = int(random.choice([3, 4, 4, 5, 6, 40]))
        angles = np.sort(random.uniform(0, 2 * np.pi, corners)) if corners < 40 else np.linspace(0, 2 * np.pi, corners)
        stretch = np.exp(random.normal(0, 0.4, 2)) if random.uniform() < 0.5 else np.ones(2)
        points = random.uniform(0, side, 2) + radius * stretch * np.stack([np.cos(angles), np.sin(angles)], 1)
        _paint(canvas, points, _fill(random, side, texture))
    return canvas


def _planes(random: np.random.Generator, side: int, texture: Texture) -> Picture:
    """Regions between straight lines across the whole picture, some of the lines drawn."""
    canvas = _fill(random, side, texture)
    for _ in range(random.integers(2, 6)):
        through, angle = (
            random.uniform(0, side, 2),
            random.choice([0.0, np.pi / 2, random.uniform(0, np.pi)]) + random.normal(0, 0.05),
        )
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        ends = through + 2 * side * np.stack([-along, along])
        width = 2 * side if random.uniform() < 0.5 else random.uniform(0.01, 0.08) * side
        _paint(canvas, np.concatenate([ends, ends[::-1] + width * across]), _fill(random, side, texture))
    return canvas


def _perspective(random: np.random.Generator, side: int, texture: Texture) -> Picture:
    """A floor or a wall of stripes or tiles that converge towards a horizon, with a background above it."""
    canvas = _fill(random, side, texture)
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    horizon, shrink, shift = random.uniform(0.1, 0.6), random.uniform(0.05, 0.6), random.uniform(-0.4, 0.4)
    middle = side * (0.5 + shift)
    top = [[middle - side * shrink, side * horizon], [middle + side * shrink, side * horizon]]
    target = np.array([*top, [side * random.uniform(1.0, 2.5), side], [-side * random.uniform(0.0, 1.5), side]], np.float32)
    move = cv2.getPerspectiveTransform(corners, target)
    pattern = cv2.warpPerspective(_pattern(random, side, texture), move, (side, side), flags=cv2.INTER_LINEAR)
    inside = cv2.warpPerspective(np.ones((side, side), np.float32), move, (side, side), flags=cv2.INTER_LINEAR)
    np.copyto(canvas, pattern.astype(np.uint8), where=inside[..., None] > 0.5)
    return np.ascontiguousarray(np.rot90(canvas, int(random.integers(4))))


def _pattern(random: np.random.Generator, side: int, texture: Texture) -> Picture:
    """Stripes or tiles."""
    first, second = _fill(random, side, texture), _fill(random, side, texture)
    period = random.uniform(0.06, 0.25) * side
    share = random.choice([0.5, random.uniform(0.05, 0.3)])
    place = np.arange(side) / period % 1 < share
    kind = random.integers(3)
    lines = (place[None] | place[:, None]) if kind == 0 else (place[None] ^ place[:, None]) if kind == 1 else place[None]
    return np.where(np.broadcast_to(lines, (side, side))[..., None], first, second)


def _paint(canvas: Picture, points: Picture, fill: Picture) -> None:
    inside = cv2.fillPoly(np.zeros(canvas.shape[:2], np.uint8), [np.rint(points).astype(np.int32)], 1)
    np.copyto(canvas, fill, where=inside[..., None].astype(bool))


def _fill(random: np.random.Generator, side: int, texture: Texture) -> Picture:
    """uint8 [side, side, 3]: one colour, a linear gradient, or a tinted texture."""
    kind, source = random.uniform(), texture()
    # Mostly colours that occur in photographs: random ones are garish.
    natural = source[tuple(random.integers(source.shape[:2]))].astype(float)
    colour = natural if random.uniform() < NATURAL else random.uniform(0, 255, 3)
    if kind < FLAT:
        return np.full((side, side, 3), colour, np.uint8)
    if kind < FLAT + GRADIENT:
        angle, other = random.uniform(0, 2 * np.pi), colour + random.normal(0, 50, 3)
        y, x = np.mgrid[:side, :side].astype(np.float32) / side
        share = (x * np.cos(angle) + y * np.sin(angle) + 1)[..., None] / 2
        gradient: Picture = (colour + share * (other - colour)).clip(0, 255).astype(np.uint8)
        return gradient
    crop = cv2.resize(source, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    mean = crop.mean((0, 1))
    tinted: Picture = ((crop - mean) * random.uniform(0.5, 1.2) + 0.5 * (mean + colour)).clip(0, 255).astype(np.uint8)
    return tinted
