"""File formats: signatures, extensions, capabilities and decoders."""

import importlib
from pathlib import Path

import PIL

from psal_cli.errors import Cure, InputError, InvalidValueError
from psal_cli.files import STDIO

WRITES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".apng": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".dib": "BMP",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".hif": "HEIF",
    ".jxl": "JXL",
    ".exr": "EXR",
}
READABLE = frozenset(WRITES)
WORDS = {"WEBP": "WebP", "HEIF": "HEIC", "JXL": "JPEG XL", "EXR": "OpenEXR"}  # names for users, if Pillow's differ
# module, extra that installs it
PLUGINS = {"HEIF": ("pillow_heif", "heif"), "JXL": ("pillow_jxl", "jxl"), "EXR": ("OpenEXR", "exr")}

DEEP = ("PNG", "TIFF")
NO_ALPHA = ("JPEG", "BMP")
NO_GREY = ("WEBP",) if int(PIL.__version__.split(".")[0]) >= 13 else ("WEBP", "AVIF")  # Pillow 13 writes grey AVIF
NO_GREY_WITH_ALPHA = ("WEBP", "AVIF", "HEIF")
NO_PROFILE = ("BMP", "JXL")  # JPEG XL can hold one, but its Pillow plugin does not write it
MOST_PIXELS = {"AVIF": 1 << 28}  # that decoders accept
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "AVIF": 32_768, "HEIF": 16_384}
NARROW, LONG = 32, 4096  # sides: x265, which encodes HEIC, refuses lossy pictures with one side below and the other above

RAW = {
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mef", ".mos",
    ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
}  # fmt: skip
FLOATS = {"HDR": "Radiance HDR", "PFM": "PFM"}  # formats of floating-point numbers
FLOAT_SUFFIXES = {".hdr": "HDR", ".pfm": "PFM"}

AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    b"\xff\x0a": "JXL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JXL",
    b"GIF8": "GIF",
    b"8BPS": "PSD",
    b"\x76\x2f\x31\x01": "EXR",
    b"#?RADIANCE": "HDR",
    b"#?RGBE": "HDR",
    b"PF\n": "PFM",
    b"Pf\n": "PFM",
}


def word(name: str) -> str:
    """The user's name of the format that Pillow calls `name`."""
    return WORDS.get(name, name)


def holds_grey(name: str, alpha: bool) -> bool:
    return name not in (NO_GREY_WITH_ALPHA if alpha else NO_GREY)


def kind(suffix: str) -> str:
    """Pillow's name of the format of a suffix; the suffix itself if it is unknown."""
    return WRITES.get(suffix.lower(), suffix.lower())


def foreign(path: Path, head: bytes) -> str | None:
    """The error and cure for camera RAW files and floating-point formats; None for any other file.

    head: its first bytes. Most RAW files are TIFF files by content, in which a decoder would find a small preview.
    """
    suffix, name = path.suffix.lower(), detect(head)
    if suffix in RAW and name in (None, "TIFF"):
        cure = f"develop it to TIFF first, e.g. darktable-cli {path.name} {path.stem}.tif"
        return f"{path} is a camera RAW file, which psal does not read: {cure}"
    if name in FLOATS or (suffix in FLOAT_SUFFIXES and name is None):
        return floating_point(path, FLOATS[name or FLOAT_SUFFIXES[suffix]])
    return None


def floating_point(path: Path, what: str) -> str:
    """The error for a floating-point file. what: its format and kind."""
    cure = "export it as a TIFF file, of floats or of 16 bits"
    return f"{path} has floating-point numbers ({what}), which psal reads from TIFF and OpenEXR only: {cure}"


def readable() -> str:
    return ", ".join(word(name) for name in dict.fromkeys(WRITES.values()))


def detect(head: bytes) -> str | None:
    """Pillow's name of the format of a file that begins with `head` (64 bytes or more); None if unknown."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        length = min(int.from_bytes(head[:4]), len(head))
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))}
        return "AVIF" if brands & AVIF_BRANDS else "HEIF" if brands & HEIF_BRANDS else None
    return next((name for start, name in STARTS.items() if head.startswith(start)), None)


def load_plugin(name: str, path: Path) -> None:
    """Loads the package for `name`, late because the import is slow. Raises InputError if it is not installed."""
    if name not in PLUGINS:
        return
    module, extra = PLUGINS[name]
    try:
        plugin = importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{path} is {word(name)}, which needs a package of its own: pip install 'psal[{extra}]'") from error
    if name == "HEIF":
        plugin.register_heif_opener(thumbnails=False)


def check_format(path: Path, format: str | None = None) -> str:
    """Pillow's name of the format to write: the given one (an extension without its dot), or else that of the path's extension.

    Raises InputError if psal does not write it, or its plugin is not installed.
    """
    name = WRITES.get(f".{format.lower()}" if format else path.suffix.lower())
    known = ", ".join(WRITES) if not format else ", ".join(suffix[1:] for suffix in WRITES)
    if name is None and format:
        raise InvalidValueError("format", format, f"one that psal writes: {known}")
    if name is None and path == STDIO:
        raise InputError("- writes to stdout, which has no extension", Cure.SAY_FORMAT)
    if name is None:
        extension = f"the extension {path.suffix}" if path.suffix else "no extension"
        raise InputError(f"{path} has {extension}: psal writes {known}", Cure.EXTENSION)
    load_plugin(name, path)
    return name
