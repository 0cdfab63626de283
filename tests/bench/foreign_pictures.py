"""What becomes of the metadata of other people's pictures, by pair of formats: a table, made with exiftool.

    python tests/bench/foreign_pictures.py gather CLONE... --to pictures/
    python tests/bench/foreign_pictures.py compare pictures/ [--most 200] [--write-readme]
    python tests/bench/foreign_pictures.py sample [--write-readme]

`gather` takes the picture files of git repositories that are already on this machine (test suites of Pillow, exiftool,
exif-samples and the like: clone them first). `compare` reads each picture with psal, writes it in each format, and asks
exiftool for the tags before and after. A tag that is gone, or says something else, is `said` where psal warned about that
file, else `silent`: those are named. Pictures stay outside the repository. `sample` does the same with a file a format, written
by Pillow with every block that it can hold; its table is in examples/formats.md.
"""

import argparse
import contextlib
import json
import logging
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from psal_cli.benchmarks.machine import where
from psal_cli.errors import PsalError
from psal_cli.image import READABLE, Encoding, read_picture, write_picture
from psal_cli.image.formats import load_plugin
from psal_cli.image.jpeg import as_bytes
from psal_cli.image.photoshop import START, as_block

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
import report  # noqa: E402
from metadata_blocks import SRGB  # noqa: E402

IPTC = b"".join(b"\x1c\x02" + bytes([kind, 0, len(text)]) + text for kind, text in ((25, b"seeds"), (90, b"Paris"), (80, b"me")))
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" xmp:Rating="4" xmp:CreatorTool="psal" photoshop:City="Paris"><dc:subject>'
    b"<rdf:Bag><rdf:li>seeds</rdf:li></rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
)
TARGETS = ("jpg", "png", "tif", "webp", "avif", "heic", "jxl")
# Groups of exiftool that describe the file or its encoding, not the picture.
ENCODING = {
    "ExifTool",
    "System",
    "File",
    "Composite",
    "JFIF",
    "PNG",
    "PNG-pHYs",
    "RIFF",
    "Adobe",
    "IFD1",
    "MPF0",
    "JFXX",
    "SubIFD",
}
ENCODING |= {"QuickTime", "Meta", "JPEG", "ICC-header", "ICC_Profile", "ICC-view", "ICC-meas", "AVI1", "Jpeg2000", "SubIFD1"}
# Tags that an edited picture has to change: orientation, size, previews, what says how the pixels are stored.
CHANGED = (
    "Orientation",
    "ImageWidth",
    "ImageHeight",
    "ImageLength",
    "ExifImage",
    "PixelXDimension",
    "PixelYDimension",
    "Thumbnail",
)
CHANGED += ("Preview", "JpgFromRaw", "Strip", "Tile", "RowsPerStrip", "Compression", "Photometric", "SamplesPerPixel", "BitsPer")
CHANGED += ("PlanarConfiguration", "YCbCr", "Predictor", "XResolution", "YResolution", "ResolutionUnit", "Subfile", "FillOrder")
CHANGED += (
    "ExtraSamples",
    "SampleFormat",
    "T4Options",
    "T6Options",
    "ColorMap",
    "FreeByte",
    "FreeOffsets",
    "ReferenceBlackWhite",
)
CHANGED += (
    "ExifOffset",
    "GPSInfo",
    "InteropOffset",
    "CurrentIPTCDigest",
    "IPTCDigest",
    "XMPToolkit",
    "OldSubfileType",
    "JPEGTables",
)
CHANGED += (
    "DisplayedUnits",
    "HasExtendedXMP",
    "PhotoshopQuality",
    "PhotoshopFormat",
    "ProgressiveScans",
    "Exif_IFD",
    "PageNumber",
    "PhotoshopThumbnail",
    "OriginalDecisionDataOffset",
)
# JPEG inside of TIFF, as TIFF 6.0 first had it.
CHANGED += ("JPEGProc", "JPEGInterchange", "JPEGRestart", "JPEGLossless", "JPEGPoint", "JPEGQ", "JPEGDC", "JPEGAC", "OtherImage")


def gather(clones: list[Path], to: Path) -> int:
    """Writes the picture files of the newest commit of each repository into a folder of its name; returns their number."""
    count = 0
    for clone in clones:
        listed = _git(clone, "ls-tree", "-r", "-z", "HEAD").split(b"\0")
        for line in listed:
            entry, _, name = line.partition(b"\t")
            path = Path(name.decode(errors="replace"))
            if path.suffix.lower() not in READABLE or entry.split()[1:2] != [b"blob"]:
                continue
            with contextlib.suppress(subprocess.CalledProcessError):  # large files may be left out of a clone
                content = _git(clone, "cat-file", "blob", entry.split()[2].decode())
                target = to / clone.resolve().name / f"{count:05d}_{path.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                count += 1
    return count


def write_sample(folder: Path) -> list[Path]:
    """A picture in each format, with all of EXIF, XMP, ICC profile, resolution, IPTC and comment that the format holds."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif.update({0x010F: "psal-cam", 0x0110: "1", 0x013B: "Bj\u00f6rk", 0x8298: "CC0", 0x010E: "dandelions"})
    exif.get_ifd(0x8769).update({0x9003: "2024:02:29 12:00:00", 0x8827: 200, 0x829D: 2.8, 0x920A: 50.0, 0xA434: "psal 50/2.8"})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)})
    files = []
    for suffix in TARGETS:
        path = folder / f"sample.{suffix}"
        load_plugin({"heic": "HEIF", "jxl": "JXL"}.get(suffix, "PNG"), path)
        blocks: dict[str, Any] = {"exif": exif.tobytes(), "xmp": XMP, "icc_profile": SRGB, "dpi": (300, 300)}
        if suffix == "jpg":
            blocks["comment"] = b"a comment"
            blocks["extra"] = as_bytes(("APP13", START + as_block(IPTC, None)))
        if suffix == "tif":
            whole = Image.Exif()
            whole.load(exif.tobytes())
            whole[700], whole[33723] = XMP, IPTC
            blocks["exif"] = whole.tobytes()
        if suffix == "png":
            blocks["pnginfo"] = PngImagePlugin.PngInfo()
            blocks["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
        if suffix == "jxl":  # its plugin takes no profile, and EXIF that begins with where TIFF begins in it
            blocks = {"exif": bytes(4) + exif.tobytes().removeprefix(b"Exif\0\0"), "xmp": XMP}
        image.save(path, **blocks)
        files.append(path)
    return files


def _git(clone: Path, *arguments: str) -> bytes:
    command = ["git", "-c", "safe.directory=*", "-C", str(clone), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def tags_of(files: list[Path]) -> dict[str, dict[str, object]]:
    """What exiftool tells of each file: "Group:Tag" -> value, without what describes its encoding."""
    if not files:
        return {}
    command = ["exiftool", "-j", "-n", "-G1", "-m", "-api", "RequestAll=0", *map(str, files)]
    listed = json.loads(subprocess.run(command, capture_output=True, text=True).stdout or "[]")
    return {file["SourceFile"]: {name: value for name, value in file.items() if is_about_the_picture(name)} for file in listed}


def is_about_the_picture(name: str) -> bool:
    group, _, tag = name.partition(":")
    return bool(tag) and group not in ENCODING and not group.startswith("ICC") and not tag.startswith(CHANGED)


class Warnings(logging.Handler):
    """The lines that psal logs while entered."""

    def __enter__(self) -> "Warnings":
        self.lines: list[str] = []
        self.logger = logging.getLogger("psal_cli")
        self.logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def compared(files: list[Path], folder: Path) -> Iterator[tuple[str, str, Counter[str], list[str]]]:
    """Yields (format of the source, of the target, counts of kept, said and silent tags, the silent ones) for each pair."""
    for path in files:
        with Warnings() as reading:
            try:
                picture = read_picture(path, 20_000_000)
            except PsalError:
                continue
        written: dict[str, list[str]] = {}
        for target in TARGETS:
            out = folder / f"out.{target}"
            with Warnings() as writing, contextlib.suppress(PsalError):
                write_picture(picture, out, True, Encoding(background="white" if target == "jpg" else None))
                written[target] = reading.lines + writing.lines
        tags = tags_of([path, *(folder / f"out.{target}" for target in written)])
        before = tags.get(str(path), {})
        for target, lines in written.items():
            after = tags.get(str(folder / f"out.{target}"), {})
            values = {str(value) for value in after.values()}
            lost = [
                name
                for name, value in before.items()
                if after.get(name) != value and not is_elsewhere(name, value, after, values)
            ]
            counts = Counter(kept=len(before) - len(lost), said=len(lost) if lines else 0, silent=0 if lines else len(lost))
            yield picture.format, target, counts, [] if lines else [f"{path.name}: {name}" for name in lost]


def is_elsewhere(name: str, value: object, after: dict[str, object], values: set[str]) -> bool:
    """Whether the tag is in another group of the new file, or exiftool only writes its value otherwise."""
    tag = name.partition(":")[2]
    return any(other.partition(":")[2] == tag and str(told) == str(value) for other, told in after.items()) or (
        len(str(value)) > 8 and str(value) in values
    )


def table(rows: dict[tuple[str, str], Counter[str]]) -> str:
    """Markdown: a row for each format of the sources, in each field tags kept, lost with a notice, lost without."""
    sources = sorted({source for source, _ in rows})
    lines = ["| from \\ to | " + " | ".join(TARGETS) + " |", "|---" * (len(TARGETS) + 1) + "|"]
    for source in sources:
        fields = []
        for target in TARGETS:
            counts = rows.get((source, target), Counter())
            fields.append(f"{counts['kept']} / {counts['said']} / {counts['silent']}" if counts else "")
        lines.append(f"| {source} | " + " | ".join(fields) + " |")
    return "\n".join(lines)


def sample_table() -> tuple[str, list[str]]:
    """The table of the sample, and its tags that are lost without a notice."""
    rows: dict[tuple[str, str], Counter[str]] = {}
    silent: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for source, target, counts, names in compared(write_sample(Path(folder)), Path(folder)):
            rows.setdefault((source, target), Counter()).update(counts)
            silent += [f"{source} to {target}: {name}" for name in names]
    return table(rows), silent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    gathering = verbs.add_parser("gather")
    gathering.add_argument("clones", type=Path, nargs="+")
    gathering.add_argument("--to", type=Path, required=True)
    sampling = verbs.add_parser("sample")
    sampling.add_argument("--write-readme", action="store_true", help="put the table into examples/formats.md")
    comparing = verbs.add_parser("compare")
    comparing.add_argument("folder", type=Path)
    comparing.add_argument("--most", type=int, default=1_000_000, help="pictures, evenly chosen")
    comparing.add_argument("--bytes", type=int, default=60_000, help="larger files are left out")
    comparing.add_argument("--write-readme", action="store_true", help="put the table into README.md beside this program")
    chosen = parser.parse_args()
    if chosen.verb == "gather":
        sys.stderr.write(f"{gather(chosen.clones, chosen.to)} pictures\n")
        return
    logging.getLogger("psal_cli").propagate = False
    if chosen.verb == "sample":
        markdown, unsaid = sample_table()
        print(markdown)
        sys.stderr.writelines(f"silent {line}\n" for line in unsaid)
        if chosen.write_readme:
            report.write_readme("pairs", markdown, report.ROOT / "examples/formats.md")
        return
    files = sorted(path for path in chosen.folder.rglob("*") if path.suffix.lower() in READABLE and path.is_file())
    files = [path for path in files if path.stat().st_size <= chosen.bytes]
    files = files[:: max(1, -(-len(files) // chosen.most))]
    rows: dict[tuple[str, str], Counter[str]] = {}
    silent: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for source, target, counts, names in compared(files, Path(folder)):
            rows.setdefault((source, target), Counter()).update(counts)
            silent += [f"{target}: {name}" for name in names]
    results = report.header("psal", "pillow") | {
        "pictures": len(files),
        "pairs": {f"{a} to {b}": n for (a, b), n in rows.items()},
    }
    results["silent"] = silent
    markdown = f"{table(rows)}\n\n{len(files)} pictures. {where(results)}"
    print(markdown)
    for line in silent:
        sys.stderr.write(f"silent {line}\n")
    if chosen.write_readme:
        report.write_json("foreign_pairs", results)
        report.write_readme("foreign-pairs", markdown)


if __name__ == "__main__":
    main()
