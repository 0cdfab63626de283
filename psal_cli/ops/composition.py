"""Fills of copied pixels, on numpy arrays, on the CPU: moving their seams (ext/cpu/seams.cpp) and removing them
(ext/cpu/compose.cpp)."""

import numpy as np
import torch

from psal_cli import native


def place_seams(
    pixels: np.ndarray,
    barred: np.ndarray,
    unknown: np.ndarray,
    nnf: np.ndarray,
    weight: np.ndarray,
    origin: np.ndarray,
    corner: tuple[int, int],
    patch_size: int,
    doubt: float,
    length: float,
    sweeps: int,
) -> np.ndarray:
    """Moves the seams of a fill to where the pieces beside them agree.

    Minimises a sum over the pixels and their neighbours, by iterated conditional modes (Besag 1986, "On the statistical analysis
    of dirty pictures"). A pixel costs `doubt` times the share of the patches over it, by weight, that paste something else there.
    Two neighbours whose sources are not neighbours cost `length` and the differences of the two pieces at both (Kwatra et al.
    2003, "Graphcut textures", equation 1). The hole's edge costs twice the difference from the known pixel. A difference counts
    at most 0.5. The result is the same for any number of threads.

    Args:
        pixels: float32 [H, W, C] in any memory layout, white = 1; C 1 to 4.
        barred: bool [H, W], pixels that may not be copied from.
        unknown: bool [h, w], the pixels to be filled, of the box with this corner (row, column).
        nnf: int32 [2, h, w], the (row, column) that the patch around each place matches, row -1 where it matches none.
        weight: float32 [h, w], at least 0, the weight of each patch.
        origin: int32 [n, 2], the (row, column) that each of the n unknown pixels is copied from at first, in raster order.
        patch_size: of the patches, odd; above 7x7, only patches centred within 3 pixels count.
        doubt, length: see above, at least 0.
        sweeps: at most 127; fewer where nothing changes any more.

    Returns:
        int32 [n, 2], where each is copied from now: never from a barred pixel, unless it was so before.

    Raises:
        ValueError: shapes or dtypes that do not fit, an origin outside the picture.
        RuntimeError: no memory is left.

    Example:
        >>> pixels = np.zeros((8, 8, 1), np.float32)
        >>> barred = np.zeros((8, 8), bool)
        >>> barred[3:5, 3:5] = True
        >>> unknown, nnf = np.ones((2, 2), bool), np.zeros((2, 2, 2), np.int32)
        >>> origin = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32)  # one piece: there is no seam to move
        >>> weight = np.ones((2, 2), np.float32)
        >>> placed = place_seams(pixels, barred, unknown, nnf, weight, origin, (3, 3), 3, doubt=0.0, length=0.1, sweeps=4)
        >>> bool((placed == origin).all())
        True
    """
    _check(pixels, barred, unknown, origin, corner)
    if pixels.dtype != np.float32:
        raise ValueError(f"pixels are {pixels.dtype}, expected float32")
    if nnf.shape != (2, *unknown.shape) or nnf.dtype != np.int32:
        raise ValueError(f"nnf is {nnf.dtype} {list(nnf.shape)}, expected int32 {[2, *unknown.shape]}")
    if weight.shape != unknown.shape or weight.dtype != np.float32:
        raise ValueError(f"weight is {weight.dtype} {list(weight.shape)}, expected float32 {list(unknown.shape)}")
    if not (doubt >= 0 and length >= 0 and 0 <= sweeps <= 127 and patch_size % 2 == 1):
        raise ValueError(f"doubt {doubt}, length {length}, sweeps {sweeps} or patch_size {patch_size} is out of range")
    barred, unknown, nnf, weight = (np.ascontiguousarray(x) for x in (barred, unknown, nnf, weight))
    placed = np.array(origin, order="C")
    cpu = torch.device("cpu")
    args = native.SeamArgs(
        native.place(cpu), *pixels.shape, *corner, *unknown.shape, patch_size // 2, sweeps, doubt, length,
        *(stride // pixels.itemsize for stride in pixels.strides),
        *(x.ctypes.data for x in (pixels, barred, unknown, nnf, weight, placed)),
    )  # fmt: skip
    native.kernel("place_seams", cpu)(args)
    return placed


def compose(
    pixels: np.ndarray,
    barred: np.ndarray,
    unknown: np.ndarray,
    origin: np.ndarray,
    corner: tuple[int, int],
    fidelity: float,
    steps: int,
    tolerance: float,
) -> np.ndarray:
    """Computes the unknown pixels of a box with the seams between copied pixels removed.

    Minimises `sum w |grad u - g|^2 + fidelity * sum |u - copy|^2` over the unknown pixels, the known ones fixed (Perez et al.
    2003, "Poisson image editing"). `g` is the step between the copies where their sources are neighbours. At a seam it is, of
    the two sources' own steps, the one nearer to the step between the copies. At the hole's edge it is the step of the unknown
    pixel's source. At both `w` falls with the difference between `g` and the step that is there: a large one is an edge of the
    subject. The result is the same for any number of threads.

    Args:
        pixels: [H, W, C], uint8, uint16 or float32 in any memory layout; C 1 to 4.
        barred: bool [H, W], pixels that may not be copied from: their gradients are not used.
        unknown: bool [h, w], the pixels to be filled, of the box with this corner (row, column).
        origin: int32 [n, 2], the (row, column) that each of the n unknown pixels is copied from, in raster order.
        fidelity: weight of the copies' own colours, above 0.
        steps: the most steps of conjugate gradients; tolerance: of the residual's norm relative to the right-hand side.

    Returns:
        float32 [n, C], about 0 to 1, not clipped; integers are divided by their largest value.

    Raises:
        ValueError: shapes that do not fit, an unknown dtype, an origin outside the picture, fidelity not above 0.
        RuntimeError: no memory is left.

    Example:
        >>> ramp = np.linspace(0, 1, 16, dtype=np.float32)[None, :, None].repeat(12, 0)  # [12, 16, 1]
        >>> barred = np.zeros((12, 16), bool)
        >>> barred[4:8, 6:10] = True
        >>> unknown = np.ones((4, 4), bool)
        >>> origin = (np.argwhere(unknown) + (0, 6)).astype(np.int32)  # four rows above the hole
        >>> out = compose(ramp, barred, unknown, origin, (4, 6), fidelity=1e-6, steps=100, tolerance=1e-4)
        >>> bool(abs(out.reshape(4, 4) - ramp[4:8, 6:10, 0]).max() < 1e-3)
        True
    """
    _check(pixels, barred, unknown, origin, corner)
    if not fidelity > 0:
        raise ValueError(f"fidelity is {fidelity}, expected a number above 0")
    height, width, channels = pixels.shape
    barred, unknown, origin = (np.ascontiguousarray(x) for x in (barred, unknown, origin))
    out = np.empty((len(origin), channels), np.float32)
    cpu = torch.device("cpu")
    args = native.ComposeArgs(
        native.place(cpu), native.PIXELS[pixels.dtype.name], height, width, channels, *corner, *unknown.shape, steps,
        fidelity, tolerance, *(stride // pixels.itemsize for stride in pixels.strides),
        *(x.ctypes.data for x in (pixels, barred, unknown, origin, out)),
    )  # fmt: skip
    native.kernel("compose", cpu)(args)
    return out


def _check(
    pixels: np.ndarray,
    barred: np.ndarray,
    unknown: np.ndarray,
    origin: np.ndarray,
    corner: tuple[int, int],
) -> None:
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4 or pixels.dtype.name not in native.PIXELS:
        raise ValueError(f"pixels are {pixels.dtype} {list(pixels.shape)}, expected uint8, uint16 or float32 [H, W, 1 to 4]")
    if barred.shape != pixels.shape[:2] or barred.dtype != bool:
        raise ValueError(f"barred is {barred.dtype} {list(barred.shape)}, expected bool {list(pixels.shape[:2])}")
    if unknown.ndim != 2 or unknown.dtype != bool:
        raise ValueError(f"unknown is {unknown.dtype} {list(unknown.shape)}, expected bool [h, w]")
    ends = [start + side for start, side in zip(corner, unknown.shape, strict=True)]
    if min(corner) < 0 or any(end > side for end, side in zip(ends, pixels.shape[:2], strict=True)):
        raise ValueError(f"a box of {list(unknown.shape)} at {list(corner)} is not inside a picture of {list(pixels.shape[:2])}")
    if origin.shape != (np.count_nonzero(unknown), 2) or origin.dtype != np.int32:
        raise ValueError(f"origin is {origin.dtype} {list(origin.shape)}, expected int32 [{np.count_nonzero(unknown)}, 2]")
    if len(origin) and not ((origin >= 0) & (origin < pixels.shape[:2])).all():
        raise ValueError(f"origin leads outside a picture of {list(pixels.shape[:2])}")
