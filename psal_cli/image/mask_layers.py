"""Masks inside files of several layers: pages of TIFF files; layer masks, layers and channels of PSD files (psd-tools)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from PIL import Image, TiffImagePlugin

from psal_cli.errors import Cure, InputError
from psal_cli.image.header import Header
from psal_cli.image.reading import MAX_PIXELS, opened

if TYPE_CHECKING:
    from psd_tools import PSDImage

Pixels = tuple[np.ndarray, np.ndarray | None]  # uint8 [H, W, C] and alpha [H, W], of the whole picture's size
PAGE_NAME = 285  # a tag of TIFF
PSD_HEAD = struct.Struct(">4sH6xHIIHH")
SELECTIONS = (1045, 1006)  # image resources: names of the alpha channels, in Unicode and in the older form
REDUCED = 1  # the bit of a TIFF page that marks a thumbnail
SUBFILE = 254  # the tag of that bit


class Placed(Protocol):
    """A layer of psd-tools, or its mask. bbox: left, top, right and bottom in the picture."""

    @property
    def bbox(self) -> tuple[int, int, int, int]: ...

    def topil(self) -> Image.Image | None: ...


class Found(NamedTuple):
    """A layer that may be a mask. name: its name; size: width and height as stored, known before decoding."""

    name: str
    size: tuple[int, int]
    read: Callable[[], Pixels]


def psd_header(path: Path) -> Header | None:
    """The header of a PSD file; None for a file of another format. Raises InputError as `read_header` does."""
    with opened(path, layered=True) as (file, name):
        if name != "PSD":
            return None
        _, _, _, height, width, bits, _ = PSD_HEAD.unpack(file.read(PSD_HEAD.size))
    return Header("PSD", width, height, 3, 16 if bits > 8 else 8, True)


def read_layer(path: Path, name: str | None, size: tuple[int, int], max_pixels: int = MAX_PIXELS) -> Pixels:
    """Reads a layer of a PSD or TIFF file by name, or the only layer of a PSD file that can be a mask.

    Case matters only between names that differ in nothing else. Layers also have numbers, from 1.

    Args:
        path: a file, a URL, or - for stdin.
        name: the name or number of the layer.
        size: (width, height) of the picture, which a page of a TIFF file must have.
        max_pixels: the largest layer of a PSD file; layers may extend beyond the picture.

    Raises:
        InputError: a file of another format, or damaged; no such layer, or several; without a name, none or several; a layer that
            is too large or has another size (checked before decoding).
    """
    with opened(path, layered=True) as (file, kind):
        if kind not in ("PSD", "TIFF"):
            raise InputError(f"{path} has no layers: psal finds masks in the layers of PSD and TIFF files")
        layer = _chosen(list(_of_tiff(file) if kind == "TIFF" else _of_psd(file, path)), name, path)
        width, height = layer.size
        called = f"{path}: its layer {layer.name or name or '(no name)'} is {width}x{height}"
        if kind == "TIFF" and layer.size != size:
            raise InputError(f"{called}, the picture is {size[0]}x{size[1]}: give a mask of the same size")
        if width * height > max_pixels:
            raise InputError(f"{called}, more than the limit of {max_pixels / 1e6:g} megapixels", Cure.MORE_PIXELS)
        return layer.read()


def _chosen(found: list[Found], name: str | None, path: Path) -> Found:
    names = ", ".join(each.name or "(no name)" for each in found) or "none"
    if name is None:
        if not found:
            raise InputError(f"{path} has no layer that can be a mask; its layers: {names}")
        if len(found) > 1:
            raise InputError(f"{path} has {len(found)} layers that can be a mask: say which ({names})")
        return found[0]
    alike = [n for n, each in enumerate(found) if each.name.lower() == name.lower()]
    same = [n for n in alike if found[n].name == name] or alike
    if len(same) > 1:
        numbers = ", ".join(str(n + 1) for n in same)
        raise InputError(f"{path} has {len(same)} layers called {name}: give the number of one ({numbers}); its layers: {names}")
    if same:
        return found[same[0]]
    if name.isdecimal() and 0 < int(name) <= len(found):
        return found[int(name) - 1]
    raise InputError(f"{path} has no layer called {name}; its layers: {names}")


def _of_tiff(file: IO[bytes]) -> Iterator[Found]:
    """The pages that are not thumbnails. They are read from the file, which must stay open."""
    image = Image.open(file, formats=["TIFF"])
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    for page in range(image.n_frames):
        image.seek(page)
        if not int(image.tag_v2.get(SUBFILE, 0)) & REDUCED:
            label = str(image.tag_v2.get(PAGE_NAME, "")).strip("\0 ")
            yield Found(label, image.size, partial(_page, image, page))


def _page(image: Image.Image, page: int) -> Pixels:
    image.seek(page)
    if image.mode in ("F", "I;16", "I;16B", "I"):
        values = np.asarray(image).astype(np.float32)
        white = 1.0 if image.mode == "F" else 65535.0
        return np.asarray(np.rint((values / white).clip(0, 1) * 255), np.uint8)[..., None], None
    return _split(image)


def _split(image: Image.Image) -> Pixels:
    if image.has_transparency_data:
        layer = np.asarray(image.convert("RGBA"))
        return layer[..., :3], layer[..., 3]
    return np.asarray(image.convert("L"))[..., None], None


def _of_psd(file: IO[bytes], path: Path) -> Iterator[Found]:
    """Layer masks, layers without a mask, and the channels of saved selections."""
    try:
        from psd_tools import PSDImage
    except ImportError as error:
        raise InputError(f"{path} is a PSD file, which needs a package of its own: pip install 'psal[psd]'") from error
    psd = PSDImage.open(file)
    size = psd.width, psd.height
    for layer in psd.descendants():
        if (mask := layer.mask) is not None:
            yield Found(layer.name, _extent(mask), partial(_layer_mask, size, mask, mask.background_color))
        elif layer.name.lower().startswith("mask"):
            yield Found(layer.name, _extent(layer), partial(_painted, size, layer))
    names = list(psd.image_resources.get_data(SELECTIONS[0]) or psd.image_resources.get_data(SELECTIONS[1]) or [])
    for number, name in enumerate(names):
        yield Found(str(name).rstrip("\0"), size, partial(_channel, psd, number - len(names)))


def _extent(layer: Placed) -> tuple[int, int]:
    left, top, right, bottom = layer.bbox
    return right - left, bottom - top


def _layer_mask(size: tuple[int, int], mask: Placed, around: int) -> Pixels:
    out = np.full((size[1], size[0], 1), around, np.uint8)
    if (image := mask.topil()) is not None:
        _place(np.asarray(image.convert("L"))[..., None], mask, out)
    return out, None


def _painted(size: tuple[int, int], layer: Placed) -> Pixels:
    """The pixels of a layer on the whole picture, transparent outside the layer."""
    out = np.zeros((size[1], size[0], 4), np.uint8)
    if (image := layer.topil()) is not None:
        _place(np.asarray(image.convert("RGBA")), layer, out)
    return out[..., :3], out[..., 3]


def _place(part: np.ndarray, layer: Placed, out: np.ndarray) -> None:
    """Copies the part of a layer [h, w, C] inside the picture to a plane [H, W, C]."""
    left, top, right, bottom = layer.bbox
    rows, columns = slice(max(top, 0), min(bottom, out.shape[0])), slice(max(left, 0), min(right, out.shape[1]))
    if rows.start < rows.stop and columns.start < columns.stop:
        out[rows, columns] = part[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def _channel(psd: PSDImage, number: int) -> Pixels:
    """A channel of the merged picture, counted from the end."""
    planes = psd.numpy()
    return np.asarray(np.rint(planes[..., number, None].clip(0, 1) * 255), np.uint8), None
