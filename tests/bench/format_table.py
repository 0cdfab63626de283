"""The table of README.md of what each format keeps, found by writing and reading pictures.

python tests/bench/format_table.py [--write-readme]
"""

import argparse
import logging
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from psal_cli.benchmarks.output import markdown_table
from psal_cli.errors import InputError, WriteError
from psal_cli.image import Metadata, Picture, check_holds, read_picture, write_picture
from psal_cli.image.formats import LONGEST_SIDE, WRITES, load_plugin, word
from psal_cli.image.gain_map import GainMap
from psal_cli.image.jpeg import Segments
from psal_cli.image.light import linear_profile, to_encoded

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
import report  # noqa: E402
from pictures import TURNED  # noqa: E402
from raw_files import cmyk_profile, profile  # noqa: E402

README = report.ROOT / "README.md"
NAMES = list(dict.fromkeys(WRITES.values()))
NO = "-"
EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0\x04\0\0\0abc\0\0\0\0\0"  # a description
FIELDS = {
    "exif": EXIF,
    "xmp": b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>',
    "iptc": b"\x1c\x02\x50\x00\x04psal",
    "dpi": (300.0, 300.0),
    "comment": b"a comment",
    "texts": ((b"tEXt", b"Title\0seeding"),),
    "chunks": ((b"tIME", bytes([7, 232, 2, 29, 12, 0, 0])), (b"sBIT", b"\5\6\5")),
    "photoshop": b"8BIM\x07\xd0\0\0\0\0\0\4path",
    "segments": Segments((80, 48), (("APP6", b"GoPro\0 data"),)),
    "cicp": bytes([9, 16, 0, 1]),
}
NEARLY = 4  # of 255
LONG = 100_000


def noise(channels: int, depth: type = np.uint8, size: tuple[int, int] = (24, 40)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(depth).max + 1, (*size, channels), dtype=depth)


def quarters() -> np.ndarray:
    """uint8 [48, 80, 3]: four plain colours, which every format and every turn leaves apart."""
    return np.array([[(250, 20, 20), (20, 250, 20)], [(20, 20, 250), (250, 250, 20)]], np.uint8).repeat(24, 0).repeat(40, 1)


def alike(picture: Picture, expected: np.ndarray) -> bool:
    """But for the edges between plain colours, which lossy files smear."""
    near = picture.size == (expected.shape[1], expected.shape[0]) and np.abs(picture.pixels.astype(int) - expected) < 40
    return bool(np.mean(near) > 0.85)


def integers(picture: Picture, dtype: type = np.uint8) -> np.ndarray:
    """The pixels; of floats what they mean in sRGB."""
    if picture.pixels.dtype != np.float32:
        return picture.pixels
    encoded = to_encoded(picture.pixels, picture.metadata.icc)
    return np.rint(encoded.clip(0, 1) * np.iinfo(dtype).max).astype(dtype)


class Column:
    """What one format does, a method each row; its files are in `folder`."""

    def __init__(self, name: str, folder: Path):
        self.name, self.folder = name, folder
        self.suffix = next(suffix for suffix, of in WRITES.items() if of == name)
        self.path = folder / f"picture{self.suffix}"
        load_plugin(name, self.path)

    def again(self, picture: Picture) -> Picture:
        """The picture written and read."""
        write_picture(picture, self.path, force=True)
        return read_picture(self.path)

    def foreign(self, image: Image.Image, **arguments) -> bool:
        """Whether Pillow wrote the image as it is, of the same mode, to `path`."""
        form = "MPO" if self.name == "JPEG" and "save_all" in arguments else self.name
        with suppress(OSError, ValueError, NotImplementedError, KeyError):
            image.save(self.path, form, **arguments)
            with Image.open(self.path) as stored:
                return stored.mode == image.mode
        return False

    def extensions(self) -> str:
        return " ".join(f"`{suffix}`" for suffix, name in WRITES.items() if name == self.name)

    def eight_bits(self) -> str:
        far = np.abs(integers(self.again(Picture(noise(3)))).astype(int) - noise(3)).max()
        return "exact" if far == 0 else "nearly exact" if far <= NEARLY else "lossy"

    def sixteen_bits(self) -> str:
        again = integers(self.again(Picture(noise(3, np.uint16))), np.uint16)
        return "exact" if np.array_equal(again, noise(3, np.uint16)) else f"rounded to {8 * again.itemsize}"

    def floats(self) -> str:
        """Of linear light, as both formats of floats may hold it."""
        numbers = np.random.default_rng(0).normal(0.5, 9, (24, 40, 3)).astype(np.float32)
        again = self.again(Picture(numbers, metadata=Metadata(linear_profile(3)))).pixels
        return "exact" if np.array_equal(again, numbers) else f"rounded to {8 * again.itemsize}"

    def grey(self) -> str:
        return "kept" if self.again(Picture(noise(1))).pixels.shape[2] == 1 else "as RGB"

    def alpha(self) -> str:
        stored = noise(4)
        try:
            again = self.again(Picture(stored[..., :3], stored[..., 3]))
        except InputError:
            return "`--background`"
        kept = np.rint(again.alpha * 255) if again.alpha.dtype == np.float32 else again.alpha
        far = np.abs(kept.astype(int) - stored[..., 3]).max()
        return "kept" if far == 0 else "nearly exact" if far <= NEARLY else "lossy"

    def grey_alpha(self) -> str:
        stored = noise(2)
        try:
            return "kept" if self.again(Picture(stored[..., :1], stored[..., 1])).pixels.shape[2] == 1 else "as RGB"
        except InputError:
            return "`--background`"

    def profile(self, space: str = "RGB ") -> str:
        icc = profile(space)
        again = self.again(
            Picture(np.full((24, 40, len(space.strip()) if space == "RGB " else 1), 128, np.uint8), metadata=Metadata(icc))
        )
        if again.metadata.icc == icc:
            return "kept"
        if np.abs(integers(again).astype(int) - 188).max() > NEARLY:  # 128 linear is 188 in sRGB
            return "lost"
        return "to sRGB" if again.pixels.dtype == np.uint8 else "to linear light"

    def grey_profile(self) -> str:
        return self.profile("GRAY")

    def field(self, what: str) -> str:
        value = getattr(self.again(Picture(quarters(), metadata=Metadata(**{what: FIELDS[what]}))).metadata, what)
        if what == "dpi" and value:
            value = tuple(round(number) for number in value)
        if what == "exif" and value:  # laid out anew in TIFF
            block = Image.Exif()
            block.load(value)
            return "kept" if block.get(0x010E) == "abc" else NO
        return "kept" if value == FIELDS[what] else NO

    def gain_map(self) -> str:
        """The map of a picture that `inpaint` has filled nothing of."""
        Image.new("L", (20, 12)).save(self.folder / "map.jpg", xmp=b"<x:xmpmeta hdrgm:Version='1.0'></x:xmpmeta>")
        whole = GainMap((self.folder / "map.jpg").read_bytes(), 1, None, True)
        picture = Picture(quarters(), metadata=Metadata(gain_map=whole)).filled_inside(np.zeros((48, 80), bool))
        found = self.again(picture).metadata.gain_map
        return "kept" if found and found.jpeg == whole.jpeg else NO

    def orientation(self) -> str:
        """Files with each of the eight orientations, as other programs write them."""
        for number, turn in TURNED.items():
            tag = Image.Exif()
            tag[0x0112] = number
            self._turned_file(Image.fromarray(quarters()), tag.tobytes())
            picture = read_picture(self.path)
            if not alike(picture, turn(quarters())):
                return NO
            with Image.open(self.again(picture) and self.path) as stored:
                if stored.getexif().get(0x0112, 1) != 1:
                    return "tag left"
        return "applied, reset"

    def _turned_file(self, image: Image.Image, exif: bytes) -> None:
        if self.name != "JXL":
            self.foreign(image, exif=exif, quality=95)
            return
        image.save(self.folder / "turned.jpg", exif=exif, quality=95)  # only of a JPEG file its encoder takes the orientation
        with Image.open(self.folder / "turned.jpg") as jpeg:
            jpeg.save(self.path, "JXL", lossless_jpeg=True)

    def palette(self) -> str:
        image = Image.fromarray(quarters()).quantize(4)
        if not self.foreign(image):
            return NO
        return "as RGB" if np.array_equal(read_picture(self.path).pixels, np.asarray(image.convert("RGB"))) else "wrong"

    def cmyk(self) -> str:
        if not self.foreign(Image.new("CMYK", (40, 24)), icc_profile=cmyk_profile()):
            return NO
        return "to sRGB" if read_picture(self.path).pixels.min() > 240 else "wrong"  # no ink is paper

    def several(self) -> str:
        first, second = Image.fromarray(quarters()), Image.fromarray(quarters()[::-1].copy())
        if not self.foreign(first, save_all=True, append_images=[second]) or _frames(self.path) == 1:
            return NO
        return "the first" if alike(read_picture(self.path), quarters()) else "wrong"

    def atomic(self) -> str:
        """A disk that is full in the middle of the file."""
        self.again(Picture(quarters()))
        before, names = self.path.read_bytes(), sorted(self.folder.iterdir())
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            write_picture(Picture(noise(3, size=(100, 100))), self.path, force=True)
            return "no error"
        except WriteError:
            pass
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return "stays whole" if (self.path.read_bytes(), sorted(self.folder.iterdir())) == (before, names) else "damaged"

    def longest(self) -> str:
        side = LONGEST_SIDE.get(self.name, LONG)
        if self.again(Picture(np.zeros((1, side, 3), np.uint8))).size != (side, 1):
            return "wrong"
        try:
            check_holds(Picture(np.zeros((1, side + 1, 3), np.uint8)), self.path)
        except InputError:
            return f"{side:,}".replace(",", " ")
        return "more"


def _frames(path: Path) -> int:
    with Image.open(path) as image:
        return getattr(image, "n_frames", 1)


ROWS: dict[str, Callable[[Column], str]] = {
    "extensions": Column.extensions,
    "8 bits a channel, from a lossless file": Column.eight_bits,
    "16 bits a channel": Column.sixteen_bits,
    "floating-point numbers": Column.floats,
    "grey": Column.grey,
    "alpha": Column.alpha,
    "grey with alpha": Column.grey_alpha,
    "ICC profile": Column.profile,
    "grey ICC profile": Column.grey_profile,
    "EXIF": lambda column: column.field("exif"),
    "XMP": lambda column: column.field("xmp"),
    "IPTC": lambda column: column.field("iptc"),
    "resolution": lambda column: column.field("dpi"),
    "Photoshop resources but thumbnails": lambda column: column.field("photoshop"),
    "JPEG segments of other programs, size unchanged": lambda column: column.field("segments"),
    "gain map (HDR), by `inpaint`": Column.gain_map,
    "colours told by numbers (cICP, nclx)": lambda column: column.field("cicp"),
    "comment": lambda column: column.field("comment"),
    "PNG texts": lambda column: column.field("texts"),
    "other PNG chunks": lambda column: column.field("chunks"),
    "orientation in the file": Column.orientation,
    "palette in the file": Column.palette,
    "CMYK with a profile in the file": Column.cmyk,
    "several pictures in the file": Column.several,
    "old file when writing fails": Column.atomic,
    "longest side, pixels": Column.longest,
}


def table() -> str:
    """The markdown table, a column a format; notices that psal would print are silent."""
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the plugins, about what they do with JPEG files
            columns = []
            for name in NAMES:
                (Path(folder) / name).mkdir()
                columns.append(Column(name, Path(folder) / name))
            rows = [[title, *(cell(column) for column in columns)] for title, cell in ROWS.items()]
    finally:
        logging.disable(logging.NOTSET)
    return markdown_table(["", *map(word, NAMES)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write-readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--readme", type=Path, default=README, help="another file to put it into")
    chosen = parser.parse_args()
    markdown = table()
    print(markdown)
    if chosen.write_readme:
        report.write_readme("formats", markdown, chosen.readme)


if __name__ == "__main__":
    main()
