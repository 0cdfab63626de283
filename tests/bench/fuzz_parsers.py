"""Fuzzes psal's own parsers of metadata with coverage: atheris (libFuzzer) changes inputs towards lines that none has reached.

    pip install atheris
    nice python tests/bench/fuzz_parsers.py pictures/ --work fuzz/ --seconds 3600

`pictures/` gives the first inputs: small files, and the blocks of EXIF, XMP, IPTC and Photoshop in them; `fuzz_seeds.py` makes
OpenEXR files. A finding is an exception that no caller expects, more than --slow seconds for one input, a promise that is broken
(see the targets), or a crash. Each finding is kept once in --work with its traceback; inputs that reached new lines are
kept there too and used by the next run.
"""

import argparse
import io
import itertools
import logging
import os
import re
import struct
import sys
import time
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["psal_cli.image"]):
    from psal_cli.image import chunks, exif, exr_header, isobmff, jpeg, jxl, photoshop, png, tiff_exif, xmp
    from psal_cli.image.metadata import Metadata
    from psal_cli.image.picture import Picture
    from psal_cli.image.reading import read_header, read_picture
    from psal_cli.image.writing import Encoding, write_picture

import fuzz_seeds  # not before: it imports psal_cli.image too

from psal_cli.errors import PsalError

EXPECTED = (ValueError, LookupError, struct.error, zlib.error, OverflowError)  # of a parser: its callers say "damaged"
LONGEST = 60_000  # bytes of a file or block
FOLDER = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp", f"psal-fuzz-{os.getpid()}")
BLOCK = re.compile(rb"II\*\0|MM\0\*|8BIM|<x:xmpmeta|\x1c\x02|Nikon\0|OLYMPUS?\0")


def read_exif(data: bytes) -> None:
    """What is upright says so, once more means the same, and nothing is longer than before."""
    exif.resolution_in(data)
    exif.without_orientation(data)
    upright = exif.upright_exif(data, (9, 7))
    assert exif.orientation_in(upright) in (None, 1), "still turned"
    assert len(upright) <= len(data) + 6, "longer"
    whole = exif.without_lost_values(upright)
    assert exif.without_lost_values(whole) == whole, "values are lost twice"


def read_tiff(data: bytes) -> None:
    block = tiff_exif.tiff_exif(io.BytesIO(data))
    if block:
        exif.without_lost_values(exif.upright_exif(block, (9, 7)))


def read_png(data: bytes) -> None:
    found = chunks.read_chunks(io.BytesIO(data))
    chunks.lost_chunks(io.BytesIO(data))
    png.late_exif(io.BytesIO(data))
    for read in (lambda: chunks.xmp_block(found), lambda: chunks.raw_block(found, b"exif", b"APP1", b"iptc", b"8bim")):
        try:
            read()
        except EXPECTED:
            continue


def read_jpeg(data: bytes) -> None:
    behind = jpeg.behind_the_end(io.BytesIO(data))
    assert behind in data, "what lies behind is not of the file"


def read_photoshop(data: bytes) -> None:
    """Records and resources are found again where they are written."""
    iptc, others = photoshop.iptc_in(data), photoshop.others_in(data)
    again = photoshop.as_block(iptc, others)
    assert photoshop.others_in(again) == others, "other resources"
    photoshop.in_order(data)
    photoshop.without_preview(iptc or data)


def read_xmp(data: bytes) -> None:
    upright = xmp.upright_xmp(data)
    assert xmp.xmp_orientation(upright) == 1, "still turned"


def keep_metadata(data: bytes) -> None:
    """A picture with damaged blocks is written as JPEG, PNG and TIFF, and each is read again."""
    picture = Picture(np.zeros((4, 5, 3), np.uint8), metadata=_metadata(data))
    for suffix in ("jpg", "png", "tif"):
        path = FOLDER / f"kept.{suffix}"
        write_picture(picture, path, True)
        assert read_picture(path).size == (5, 4), suffix


def _metadata(data: bytes) -> Metadata:
    """The input as an EXIF block, as XMP and as Photoshop's resources, as a reader would hand them over."""
    found: dict[str, bytes] = {}
    try:
        found["exif"] = exif.without_lost_values(exif.upright_exif(data, (5, 4)))
        found["xmp"] = xmp.upright_xmp(data)
        found["photoshop"] = photoshop.others_in(data) or b""
    except EXPECTED:
        pass
    return Metadata(**{name: value for name, value in found.items() if value})


def read_file(data: bytes) -> None:
    """What a file's header says is what its picture is, and the picture can be written and read again."""
    path = FOLDER / "file.bin"
    path.write_bytes(data)
    try:
        header, picture = read_header(path, 200_000), read_picture(path, 200_000)
    except PsalError:
        return
    assert (header.width, header.height) == picture.size, "another size than the header said"
    for suffix in ("jpg", "tif"):
        out = FOLDER / f"again.{suffix}"
        write_picture(picture, out, True, Encoding(background="white" if suffix == "jpg" else None))
        assert read_picture(out).size == picture.size, suffix


def read_exr_header(data: bytes) -> None:
    """What the header says has a size, and channels of colour are its own."""
    head = exr_header.read_head(io.BytesIO(data))
    assert min(head.size) >= 1, "no size"
    exr_header.check_whole(io.BytesIO(data), head)
    chosen = exr_header.colours_of(head.channels)
    assert chosen is None or {channel.name for channel in head.channels}.issuperset(chosen.colours), "channels from nowhere"


TARGETS: list[Callable[[bytes], object]] = [
    read_exif,
    read_tiff,
    read_png,
    read_jpeg,
    lambda data: jxl.read_head(io.BytesIO(data)),
    lambda data: isobmff.read_boxes(io.BytesIO(data)),
    read_photoshop,
    read_xmp,
    lambda data: tiff_exif.moved_note(data, "<", 100, 5000),
    keep_metadata,
    read_file,
    read_exr_header,
]


def seeds(pictures: Path, corpus: Path) -> int:
    """Writes the first inputs: a byte that names the target, and a file or block; returns their number."""
    kinds = {b"II*\0": (1,), b"MM\0*": (1,), b"\x89PNG": (2,), b"\xff\xd8\xff": (3,), b"\0\0\0\x0c": (4,), b"\xff\x0a": (4,)}
    kinds[exr_header.MAGIC] = (11,)
    found_files = [path for path in sorted(pictures.rglob("*")) if path.is_file() and 0 < path.stat().st_size < LONGEST]
    made = {name: data for name, data in fuzz_seeds.pictures().items() if name.endswith(".exr")}
    for name, data in itertools.chain(((path.name, path.read_bytes()) for path in found_files), made.items()):
        targets = next((found for start, found in kinds.items() if data.startswith(start)), (5,) if data[4:8] == b"ftyp" else ())
        inputs = [(target, data) for target in (*targets, 10) if targets]
        for found in list(BLOCK.finditer(data))[:4]:
            block = data[found.start() : found.start() + 6000]
            numbers = (
                (0, 9)
                if found[0][1:2] in (b"I", b"M")
                else (6, 9)
                if found[0] == b"8BIM"
                else (7,)
                if found[0][:1] == b"<"
                else (8,)
            )
            inputs += [(number, block) for number in numbers]
        for target, body in inputs:
            (corpus / f"{name}-{target}-{zlib.crc32(body):08x}").write_bytes(bytes([target]) + body)
    return len(list(corpus.iterdir()))


class Watch:
    """Runs an input; keeps findings, each kind once."""

    def __init__(self, work: Path, slow: float):
        self.work, self.slow, self.runs, self.found = work, slow, 0, set[str]()

    def __call__(self, data: bytes) -> None:
        if len(data) < 2:
            return
        self.runs += 1
        target = TARGETS[data[0] % len(TARGETS)]
        began = time.process_time()
        try:
            target(bytes(data[1:]))
        except EXPECTED as error:
            if target in (keep_metadata, read_file):
                self.keep(data, error)
        except Exception as error:
            self.keep(data, error)
        if (seconds := time.process_time() - began) > self.slow:
            self.note(data, f"slow {data[0] % len(TARGETS)}", f"{seconds:.1f} s")

    def keep(self, data: bytes, error: Exception) -> None:
        at = traceback.extract_tb(error.__traceback__)[-1]
        self.note(data, f"{type(error).__name__} {at.name} {at.lineno}", "".join(traceback.format_exception(error, limit=-6)))

    def note(self, data: bytes, kind: str, text: str) -> None:
        if kind not in self.found:
            self.found.add(kind)
            name = f"finding-{kind.replace(' ', '-')}"
            (self.work / name).write_bytes(data)
            (self.work / f"{name}.txt").write_text(text)
            sys.stderr.write(f"FINDING {kind}: {text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--slow", type=float, default=3.0, help="CPU seconds of one input that count as a finding")
    chosen = parser.parse_args()
    corpus = chosen.work / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    FOLDER.mkdir(exist_ok=True)
    logging.disable(logging.CRITICAL)
    sys.stderr.write(f"{seeds(chosen.pictures, corpus)} inputs\n")
    watch = Watch(chosen.work, chosen.slow)
    flags = [f"-max_total_time={chosen.seconds}", f"-max_len={LONGEST}", "-timeout=60", "-rss_limit_mb=3000", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix={chosen.work}/", str(corpus)], watch)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
