"""Training data of `psal upscale`: crops of reduced photographs, and the same reduced by the scale."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from psal_cli.networks.upscaling import reduced
from psal_cli.training.cache import cached
from psal_cli.training.photographs import EVERY, decoded, files_of

REDUCTIONS = (2, 3, 4)  # reductions of the photographs, which removes traces of their compression
SIZES = ((48, 8), (64, 4), (96, 2))  # side of the reduced crops and batch size; attention needs the large ones
BSDS = "BSDS500/BSDS500/data/images"  # in the folder of public repositories: BIDS/BSDS500; its `val` is B100, never used
T91 = "dcscn-super-resolution/data/yang91"  # jiny2001/dcscn-super-resolution
LEFT_OUT = {"302003"}  # of BSDS500 train: Set5's woman
HELD_OUT_SIDE = 96  # of the held-out crops
FLAT = 2 / 255  # mean step between neighbouring pixels below which another crop is drawn,
DRAWS = 4  # at most this many times
FILTERED, NOISY, RESIZED, COMPRESSED = 0.6, 0.5, 0.3, 0.85  # shares of the degraded crops
TWICE = 0.4  # share of those that are degraded again, each step that much more seldom
FACTORS = 0.6, 1.3  # of resizing, before the original size is restored
WIDTHS, AMOUNTS = (0.5, 1.2), (-0.6, 1.2)  # of the blur that is subtracted, in pixels, and how much of it
MOST_NOISE = 8  # standard deviation, of 255
QUALITIES = 30, 98  # of JPEG

Picture = npt.NDArray[np.uint8]
Pair = tuple[Tensor, Tensor]  # uint8 [3, h, w] and [3, scale * h, scale * w]


class Crops:
    """Batches of crops. The same files, scale, seed and number give the same batch."""

    def __init__(
        self,
        data: Path,
        scale: int,
        seed: int,
        *,
        public: Path | None = None,
        cache: Path | None = None,
        degraded: bool = False,
        sizes: tuple[tuple[int, int], ...] = SIZES,
    ):
        """Args:
            data: the folder with photos/; one in twelve photographs is held out.
            public: the folder of public repositories (BSDS, T91); missing ones are not used.
            cache: a folder for the reduced pictures, since computing them takes a minute.
            degraded: make crops noisy and compressed, see `degraded`.
            sizes: (side of the reduced crops, batch size), each equally often.

        Raises FileNotFoundError if the folder has no photographs.
        """
        self.scale, self.seed, self.degraded, self.sizes = scale, seed, degraded, sizes
        files = list(_files(data, public))
        settings = [scale, SIZES, [(factor, held) for _, factor, held in files]]
        paths = (path for path, _, _ in files)
        self.training, held_out = cached(cache, "upscaling", paths, settings, lambda: _pairs(files, scale))
        self.of_side = {side: self._large_enough(side) for side, _ in sizes}
        self.held_out = [self._middle(pair) for pair in held_out if min(pair[0].shape[1:]) >= HELD_OUT_SIDE]

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """float32 [B, 3, side, side] and [B, 3, scale * side, scale * side] in [0, 1]."""
        random = np.random.default_rng([self.seed, number])
        side, count = self.sizes[random.integers(len(self.sizes))]
        small, large = zip(*(self._crop(random, side) for _ in range(count)), strict=True)
        return tuple(torch.stack(x).float() / 255 for x in (small, large))  # type: ignore[return-value]

    def validation(self, number: int) -> tuple[Tensor, Tensor]:
        """A held-out pair, float32 [1, 3, 96, 96] and [1, 3, scale * 96, scale * 96] in [0, 1]."""
        small, large = self.held_out[number]
        if self.degraded:
            small = degraded(small, np.random.default_rng([0, number]))
        return small[None].float() / 255, large[None].float() / 255

    def _large_enough(self, side: int) -> list[int]:
        return [number for number, (small, _) in enumerate(self.training) if min(small.shape[1:]) >= side]

    def _crop(self, random: np.random.Generator, side: int) -> Pair:
        """A random crop, rotated and mirrored."""
        choice = self.of_side[side]
        for _ in range(DRAWS):
            small, large = self.training[choice[random.integers(len(choice))]]
            top, left = (int(random.integers(size - side + 1)) for size in small.shape[1:])
            small, large = self._cut(small, top, left, side, 1), self._cut(large, top, left, side, self.scale)
            if small.float().diff(dim=2).abs().mean() > FLAT * 255:
                break
        if self.degraded:
            small = degraded(small, random)
        flips = [axis for axis in (1, 2) if random.random() < 0.5]
        turned = random.random() < 0.5
        small, large = ((x.transpose(1, 2) if turned else x).flip(flips) for x in (small, large))
        return small, large

    def _middle(self, pair: Pair) -> Pair:
        top, left = ((size - HELD_OUT_SIDE) // 2 for size in pair[0].shape[1:])
        return tuple(self._cut(x, top, left, HELD_OUT_SIDE, s) for x, s in zip(pair, (1, self.scale), strict=True))  # type: ignore[return-value]

    @staticmethod
    def _cut(picture: Tensor, top: int, left: int, side: int, scale: int) -> Tensor:
        return picture[:, scale * top : scale * (top + side), scale * left : scale * (left + side)]


def smaller(photo: Tensor, factor: int) -> Tensor:
    """uint8 [3, H, W] -> [3, H // factor, W // factor] with the antialiased cubic kernel of a = -1/2, as for published sets."""
    height, width = (size // factor * factor for size in photo.shape[1:])
    return reduced(photo[None, :, :height, :width].float(), factor)[0].round_().clamp_(0, 255).byte()


def degraded(crop: Tensor, random: np.random.Generator) -> Tensor:
    """uint8 [3, H, W] degraded like photographs on the web: sharpened or slightly blurred, noisy, resized and compressed.

    The order is random, and some are degraded twice (Wang et al. 2021, "Real-ESRGAN"); few are unchanged.
    """
    picture = crop.permute(1, 2, 0).numpy()
    steps = ((FILTERED, _filtered), (NOISY, _noisy), (RESIZED, _resized), (COMPRESSED, _compressed))
    for share in (1.0, TWICE)[: 1 + (random.random() < TWICE)]:
        for number in random.permutation(len(steps)):
            chance, step = steps[number]
            if random.random() < chance * share:
                picture = step(picture, random)
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _filtered(picture: Picture, random: np.random.Generator) -> Picture:
    soft = cv2.GaussianBlur(picture, (0, 0), random.uniform(*WIDTHS)).astype(np.float32)
    amount = random.uniform(*AMOUNTS)  # below zero: softer
    return np.rint(picture + amount * (picture - soft)).clip(0, 255).astype(np.uint8)


def _noisy(picture: Picture, random: np.random.Generator) -> Picture:
    noise = random.normal(0, random.uniform(0, MOST_NOISE), picture.shape)
    if random.random() < 0.5:
        noise = noise[..., :1]  # the same in all channels, as from cameras
    return np.rint(picture + noise).clip(0, 255).astype(np.uint8)


def _resized(picture: Picture, random: np.random.Generator) -> Picture:
    """Reduced and enlarged again, or the reverse."""
    height, width = picture.shape[:2]
    factor = random.uniform(*FACTORS)
    between = max(round(width * factor), 8), max(round(height * factor), 8)
    methods = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    there, back = (methods[number] for number in random.integers(len(methods), size=2))
    resized = cv2.resize(cv2.resize(picture, between, interpolation=there), (width, height), interpolation=back)
    return np.asarray(resized, np.uint8)


def _compressed(picture: Picture, random: np.random.Generator) -> Picture:
    quality = int(random.integers(*QUALITIES))
    sampling = random.choice([cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])
    how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, int(sampling)]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), how)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def luminance(image: Tensor) -> Tensor:
    """[B, 3, H, W] in [0, 1] -> Y of ITU-R BT.601, [B, H, W], 16 to 235 over 255."""
    return torch.einsum("bchw,c->bhw", image, image.new_tensor([65.481, 128.553, 24.966]) / 255) + 16 / 255


def _files(data: Path, public: Path | None) -> Iterator[tuple[Path, int, bool]]:
    """(picture, initial reduction, whether it is held out)."""
    photos = files_of(data)
    if not photos:
        raise FileNotFoundError(f"{data}/photos has no photographs: expected .webp")
    for number, path in enumerate(photos):
        for factor in REDUCTIONS:
            yield path, factor, number % EVERY == 0
    if public is not None:
        others = [path for part in ("train", "test") for path in sorted((public / BSDS / part).glob("*.jpg"))]
        others += sorted((public / T91).glob("*.png")) + sorted((public / T91).glob("*.bmp"))
        yield from ((path, 1, False) for path in others if path.stem not in LEFT_OUT)


def _pairs(files: list[tuple[Path, int, bool]], scale: int) -> tuple[list[Pair], list[Pair]]:
    training: list[Pair] = []
    held_out: list[Pair] = []
    for path, factor, held in files:
        large = smaller(torch.from_numpy(decoded(path)).permute(2, 0, 1), factor)
        small = smaller(large, scale)
        if min(small.shape[1:]) >= min(side for side, _ in SIZES):
            large = large[:, : small.shape[1] * scale, : small.shape[2] * scale].contiguous()
            (held_out if held else training).append((small, large))
    return training, held_out
