"""The hole of each picture of `psal inpaint`: which pixels to fill, and which may be copied from, by its options."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from psal_cli.batch.inputs import Item
from psal_cli.commands.arguments import InpaintArguments
from psal_cli.commands.strokes import repeated, typed_options
from psal_cli.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from psal_cli.image.mask import Mask
    from psal_cli.image.strokes import Strokes
    from psal_cli.verbs.inpaint.margins import Margins


class Holes:
    """Reads the masks, shapes and strokes of pictures, and places them on the canvas of --expand. Sizes are (width, height) of
    the original pictures.
    """

    def __init__(self, arguments: InpaintArguments):
        self.arguments, self.typed = arguments, typed_options()
        self._read = lru_cache(maxsize=4)(_read)  # every step of a picture asks for its strokes

    def arguments_for(self, item: Item) -> InpaintArguments:
        """The arguments, with those saved in the item's strokes unless they were typed."""
        strokes = self._strokes(item)
        return self.arguments if strokes is None else repeated(self.arguments, strokes, self.typed)

    def margins(self, size: tuple[int, int]) -> Margins:
        """The margins of a picture's canvas. Raises InvalidValueError if the picture is larger than --expand allows."""
        from psal_cli.verbs.inpaint.margins import Margins

        return self.arguments.expand.margins(size) if self.arguments.expand else Margins()

    def files(self, item: Item) -> list[Path]:
        """Those of the item's sidecar files that are pictures."""
        return [path for name in ("mask", "source_mask") for path in item.sidecars.get(name, ())]

    def decoding(self, item: Item, size: tuple[int, int]) -> int:
        """Peak bytes per pixel while one of the masks is decoded. Raises InputError for a mask of another size."""
        from psal_cli import memory
        from psal_cli.image.mask import check_mask_size, mask_header

        headers = [mask_header(path, self.arguments.max_pixels) for path in self.files(item)]
        for path, head in zip(self.files(item), headers, strict=True):
            check_mask_size(head.width, head.height, size, path)  # before decoding the picture, which may be large
        decoding = (memory.reading(1, head.channels, head.bits // 8, head.alpha, head.format) for head in headers)
        return max(decoding, default=0)

    def mask(self, item: Item, size: tuple[int, int]) -> Mask:
        """The hole on the canvas: bool and float32 of its size. Raises InputError."""
        mask, margins = self._mask(item, size), self.margins(size)
        soft = None if mask.soft is None else margins.around(mask.soft, 1)
        return mask._replace(hole=margins.around(mask.hole, True), soft=soft)

    def _mask(self, item: Item, size: tuple[int, int]) -> Mask:
        from psal_cli.image import read_mask
        from psal_cli.image.strokes import read_strokes

        arguments, path, strokes = self.arguments_for(item), _file(item, "mask"), _file(item, "strokes")
        return read_mask(
            path,
            size,
            arguments.mask_invert,
            arguments.dilate,
            arguments.feather,
            arguments.max_pixels,
            (*arguments.box, *arguments.polygon),
            () if strokes is None else read_strokes(strokes, size).strokes,
            arguments.mask_layer,
            self._outlines(item, size),
        )

    def _outlines(self, item: Item, size: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
        """The region of the original picture that --polygon-file marks."""
        from psal_cli.image.outlines import read_outlines

        path = _file(item, "polygon_file")
        return None if path is None else read_outlines(path, size, item.input.name, self.arguments.polygon_label)

    def source(self, item: Item, size: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
        """The part of the canvas that may be copied from, by --source-mask or strokes; None for all. Raises InputError."""
        source = self._source(item, size)
        return None if source is None else self.margins(size).around(source, False)

    def _source(self, item: Item, size: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
        from psal_cli.image import read_region
        from psal_cli.image.painting import source_region

        path = _file(item, "source_mask")
        if path is None:
            strokes = self._strokes(item)
            return None if strokes is None else source_region(strokes.strokes, size)
        source = read_region(path, size, self.arguments.max_pixels)
        if not source.any():
            raise InputError(f"{path} allows nothing to be copied from: paint white what may be")
        return source

    def _strokes(self, item: Item) -> Strokes | None:
        path = _file(item, "strokes")
        return None if path is None else self._read(path)


def _read(path: Path) -> Strokes:
    from psal_cli.image.strokes import read_strokes

    return read_strokes(path)


def _file(item: Item, option: str) -> Path | None:
    return item.sidecars[option][0] if option in item.sidecars else None
