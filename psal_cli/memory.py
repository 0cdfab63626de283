"""Available memory, memory of this process, and estimates for reading and writing pictures."""

import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from psal_cli.errors import InputError, MemoryLimitError

UNITS = {"": 1, **{letter: 1024**power for power, letter in enumerate("KMGT", 1)}}
UNITS |= {f"{letter}IB": UNITS[letter] for letter in "KMGT"} | {f"{letter}B": 1000**n for n, letter in enumerate("KMGT", 1)}
# Memory of the codecs besides the pixels they return or receive: bytes per pixel, measured. (tests/bench/bench_memory.py compares
# the estimates with measurements.)
DECODING = {"WEBP": 9, "AVIF": 5, "HEIF": 4, "JXL": 5, "EXR": 26}
ENCODING = {"WEBP": 8, "AVIF": 38, "HEIF": 30, "JXL": 19, "EXR": 54, "NPY": 8}
EXACT_WEBP = 16  # lossless or with alpha takes more
STREAMED = ("PNG", "TIFF")  # written a band of rows at a time
LOSSLESS = ("PNG", "TIFF", "EXR", "BMP")  # inputs in these formats are written losslessly, unless a quality is given
FIELD = 20  # bytes per pixel while a field is drawn or its offsets are computed, besides the offsets
GRAIN = 60_000_000  # bytes; the size of the libraries is rounded up to multiples
UNKNOWN = 400_000_000  # bytes of the libraries, if the system does not report it
PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


class Sized(Protocol):
    """The fields of a file's header that the memory models use; psal_cli.image.Header has them."""

    @property
    def format(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def bits(self) -> int: ...
    @property
    def alpha(self) -> bool: ...


@dataclass(frozen=True)
class Plan:
    """How a picture will be processed. bytes: peak memory of the process; reach: pixels around each hole that are used, None for
    the whole picture; text: both in words, for the user."""

    bytes: int
    reach: int | None
    text: str


def whole_plan(most: int, limit: int | None) -> Plan:
    """The plan for a picture that cannot be split. Raises MemoryLimitError if the limit is lower."""
    if limit is not None and most > limit:
        raise MemoryLimitError(f"it takes {in_words(most)}, {at_most(limit)} are allowed", most, limit)
    return Plan(most, None, in_words(most))


def parse_size(text: str) -> int:
    """Bytes from "4G", "500M", "1.5GiB" (powers of 1024), "2GB" (powers of 1000) or a plain number; raises InputError."""
    match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{0,9})?|\.\d{1,9})\s*([a-z]*)\s*", text, re.IGNORECASE | re.ASCII)
    unit = UNITS.get(match[2].upper()) if match else None
    size = int(float(match[1]) * unit) if match and unit is not None else 0
    if size <= 0:
        raise InputError(f"{text!r} is not an amount of memory: write it like 4G, 500M or 1.5GiB, or in bytes")
    return size


def in_words(size: int) -> str:
    """Required bytes as text, e.g. "1.65 GB", rounded up so that a limit of that size suffices."""
    return f"{math.ceil(size / 1e7) / 100:.2f} GB"


def at_most(size: int) -> str:
    """Available bytes as text, rounded down."""
    return f"{size // 10**7 / 100:.2f} GB" if size >= 10**7 else f"{size} bytes"


def reading(pixels: int, channels: int, itemsize: int, alpha: bool, format: str) -> int:
    """Peak bytes while a file is decoded, including the picture itself.

    channels: colour channels, without alpha; itemsize: bytes per channel; format: Pillow's name.
    """
    stored = itemsize if channels == 1 and not alpha else 4 * itemsize  # Pillow: grey, or four bytes for red, green, blue
    return pixels * (itemsize * (channels + alpha) + stored + DECODING.get(format, 0))


def reading_all(headers: Iterable[Sized]) -> tuple[int, int]:
    """(peak bytes while the files are decoded one after another, bytes of all pictures). headers: of the files."""
    most = kept = 0
    for head in headers:
        area, itemsize = head.width * head.height, head.bits // 8
        most = max(most, kept + reading(area, head.channels, itemsize, head.alpha, head.format))
        kept += area * itemsize * (head.channels + head.alpha)
    return most, kept


def writing(pixels: int, channels: int, itemsize: int, alpha: bool, format: str, lossless: bool = False) -> int:
    """Peak bytes while a picture is encoded, without the picture itself."""
    if format in STREAMED:
        return 0
    rounded = channels + alpha if itemsize > 1 else 0
    stored = 0 if channels == 1 and not alpha else 9 if alpha else 4  # with alpha: RGB, RGBA and the alpha alone
    exact = EXACT_WEBP if format == "WEBP" and (lossless or alpha) else 0
    return pixels * (rounded + stored + ENCODING.get(format, 0) + exact)


def drawing(pixels: int, format: str, k: int = 1) -> int:
    """Peak bytes while a field with k neighbours per pixel is drawn and encoded, or its offsets are written."""
    return FIELD * pixels + (8 * k * pixels if format == "NPY" else 3 * pixels + writing(pixels, 3, 1, False, format))


def writing_result(pixels: int, channels: int, source: Sized, formats: Mapping[str, str], k: int = 1) -> int:
    """Peak bytes while a result is encoded, or its field with k neighbours per pixel is drawn.

    channels: colour channels of the result; source: the header of the input picture; formats: "output" and optionally
        "save_offsets" -> Pillow's name of the format.
    """
    written = writing(pixels, channels, source.bits // 8, source.alpha, formats["output"], source.format in LOSSLESS)
    return max(written, drawing(pixels, formats["save_offsets"], k)) if "save_offsets" in formats else written


def available() -> int | None:
    """Bytes that this process can still allocate before the system swaps or kills it; None if unknown.

    The lesser of Linux's MemAvailable and what the limits of this process's control groups leave (v1 and v2: containers, batch
    systems).
    """
    left = [room for room in (_field(PROC / "meminfo", "MemAvailable"), *_rooms()) if room is not None]
    return max(min(left), 0) if left else None


def check_available(needed: int) -> None:
    """Raises MemoryLimitError if this process cannot grow to so many bytes, before the system kills it for trying."""
    room = available()
    most = None if room is None else room + (resident() or 0)
    if room is not None and most is not None and needed > most:
        raise MemoryLimitError(f"it takes {in_words(needed)} of memory, {at_most(room)} are free", needed, most)


def _rooms() -> Iterator[int]:
    """The bytes left below the limit of each control group of this process, from its own up to the root."""
    for line in _text(PROC / "self/cgroup").splitlines():
        _, controllers, place = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = CGROUPS / "memory" if controllers else CGROUPS
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        folder = top / place.strip("/")
        while True:  # inside a container the path is that of the host, and the root is the container's own group
            limit, used = (_text(folder / name).strip() for name in names)
            if limit.isdigit() and used.isdigit():
                cached = re.search(r"^(?:total_)?inactive_file (\d+)", _text(folder / "memory.stat"), re.MULTILINE)
                yield int(limit) - int(used) + (int(cached[1]) if cached else 0)
            if folder == top:
                break
            folder = folder.parent


def libraries(held: int) -> int:
    """Bytes of the process before any picture is loaded, rounded up so that the same limit always gives the same plan."""
    return -(-held // GRAIN) * GRAIN


def resident() -> int | None:
    """Resident bytes of this process; None if not on Linux."""
    return _field(PROC / "self/status", "VmRSS")


def held() -> int:
    """As `resident`, or else an estimate of what a verb's libraries hold after a first run."""
    return resident() or UNKNOWN


def reset_peak() -> None:
    """Starts a new measurement of `peak`; no effect off Linux."""
    with suppress(OSError):
        (PROC / "self/clear_refs").write_text("5")


def peak() -> int | None:
    """Peak resident bytes of this process since `reset_peak`; None if the system does not report it (Windows)."""
    most = _field(PROC / "self/status", "VmHWM")
    if most is not None:
        return most
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def give_back() -> None:
    """Returns freed memory that the C library still holds to the system (malloc_trim); no effect without glibc."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def _field(file: Path, name: str) -> int | None:
    """The bytes in a line "name: 123 kB" of a file in /proc."""
    match = re.search(rf"^{name}:\s+(\d+) kB$", _text(file), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
