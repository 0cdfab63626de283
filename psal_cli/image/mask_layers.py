"""Masks inside files of several layers: pages of TIFF files; layer masks, layers and channels of PSD files (psd-tools)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from psal_cli.errors import InputError
from psal_cli.files import STDIO, open_input
from psal_cli.image.formats import detect
from psal_cli.image.header import Header

if TYPE_CHECKING:
    from psd_tools import PSDImage

Values = npt.NDArray[np.uint8]  # [H, W], 255 = white
PAGE_NAME = 285  # a tag of TIFF
PSD_HEAD = struct.Struct(">4sH6xHIIHH")
SELECTIONS = (1045, 1006)  # of the image resources: names of the channels beside the colours, in Unicode and older ones
REDUCED = 1  # of the bits that say what a page of a TIFF file is: a thumbnail
SUBFILE = 254  # the tag of these bits


class Placed(Protocol):
    """A layer of psd-tools, or its mask. bbox: left, top, right and bottom in the picture."""

    @property
    def bbox(self) -> tuple[int, int, int, int]: ...

    def topil(self) -> Image.Image | None: ...


class Found(NamedTuple):
    """A layer that may be a mask. name: what it is called; read: its values, of the size of the whole picture."""

    name: str
    read: Callable[[], Values]


def psd_header(path: Path) -> Header | None:
    """What a PSD file says of its picture; None for a file of another format."""
    if path == STDIO or not path.is_file():
        return None
    with open_input(path) as file:
        head = file.read(PSD_HEAD.size)
    if detect(head.ljust(64, b"\0")) != "PSD" or len(head) < PSD_HEAD.size:
        return None
    _, _, _, height, width, bits, _ = PSD_HEAD.unpack(head)
    return Header("PSD", width, height, 1, 16 if bits > 8 else 8, True)


def read_layer(path: Path, name: str | None) -> Values:
    """The layer of a PSD or TIFF file that a name tells, or, of a PSD file, the only one that can be a mask.

    Names do not distinguish capitals; the pages of a TIFF file have numbers too, the first is 1.

    Raises:
        InputError: a file of another format, or damaged; no such layer, or, without a name, none or several.
    """
    found = list(_of_tiff(path) if psd_header(path) is None else _of_psd(path))
    names = ", ".join(each.name or "(no name)" for each in found) or "none"
    chosen = [each for each in found if name is None or each.name.lower() == name.lower()]
    if name is not None and name.isdigit() and not chosen and found and 0 < int(name) <= len(found):
        chosen = [found[int(name) - 1]]
    if not chosen:
        wanted = "no layer that can be a mask" if name is None else f"no layer called {name}"
        raise InputError(f"{path} has {wanted}; its layers: {names}")
    if len(chosen) > 1 and name is None:
        raise InputError(f"{path} has {len(chosen)} layers that can be a mask: say which ({names})")
    return chosen[0].read()


def _of_tiff(path: Path) -> Iterator[Found]:
    with open_input(path) as file:
        if detect(file.read(64)) != "TIFF":
            raise InputError(f"{path} has no layers: psal finds masks in the layers of PSD and TIFF files")
    try:
        with Image.open(path, formats=["TIFF"]) as image:
            assert isinstance(image, TiffImagePlugin.TiffImageFile)
            for page in range(image.n_frames):
                image.seek(page)
                if not int(image.tag_v2.get(SUBFILE, 0)) & REDUCED:
                    label = str(image.tag_v2.get(PAGE_NAME, "")).strip("\0 ")
                    yield Found(label, partial(_page, path, page))
    except OSError as error:
        raise InputError(f"{path} is damaged, or of a kind that psal does not read") from error


def _page(path: Path, page: int) -> Values:
    try:
        with Image.open(path, formats=["TIFF"]) as image:
            image.seek(page)
            if image.mode in ("F", "I;16", "I;16B", "I"):
                values = np.asarray(image).astype(np.float32)
                white = 1.0 if image.mode == "F" else 65535.0
                return np.asarray(np.rint((values / white).clip(0, 1) * 255), np.uint8)
            return _flat(image)
    except OSError as error:
        raise InputError(f"{path} is damaged, or of a kind that psal does not read") from error


def _flat(image: Image.Image) -> Values:
    """The alpha of what is painted in one colour, else what is light."""
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return np.asarray(layer.getchannel("A"))
    return np.asarray(image.convert("L"))


def _of_psd(path: Path) -> Iterator[Found]:
    """Layer masks, the layers that have none, and the channels that selections are saved in."""
    try:
        from psd_tools import PSDImage
    except ImportError as error:
        raise InputError(f"{path} is a PSD file, which needs a package of its own: pip install 'psal[psd]'") from error
    try:
        psd = PSDImage.open(path)
    except Exception as error:  # it raises anything on damaged files
        raise InputError(f"{path} is damaged, or of a kind that psal does not read") from error
    for layer in psd.descendants():
        if (mask := layer.mask) is not None:
            yield Found(layer.name, partial(_placed, psd, mask, mask.background_color))
        elif layer.name.lower().startswith("mask"):
            yield Found(layer.name, partial(_placed, psd, layer, 0))
    names = list(psd.image_resources.get_data(SELECTIONS[0]) or psd.image_resources.get_data(SELECTIONS[1]) or [])
    for number, name in enumerate(names):
        yield Found(str(name).rstrip("\0"), partial(_channel, psd, number - len(names)))


def _placed(psd: PSDImage, layer: Placed, around: int) -> Values:
    """A layer on a plane of the size of the picture."""
    out, image = np.full((psd.height, psd.width), around, np.uint8), layer.topil()
    if image is None:
        return out
    left, top, right, bottom = layer.bbox
    rows, columns = slice(max(top, 0), min(bottom, psd.height)), slice(max(left, 0), min(right, psd.width))
    part = _flat(image)
    out[rows, columns] = part[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return out


def _channel(psd: PSDImage, number: int) -> Values:
    """A channel of the merged picture, counted from the last."""
    planes = psd.numpy()
    return np.asarray(np.rint(planes[..., number].clip(0, 1) * 255), np.uint8)
