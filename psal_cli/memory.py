"""How much memory there is, how much this process has held, and how much a picture will take."""

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
# What the libraries hold beside the pixels that they hand over or are given: bytes a pixel, measured.
DECODING = {"WEBP": 9, "AVIF": 5, "HEIF": 4, "JXL": 5, "EXR": 26}
ENCODING = {"WEBP": 8, "AVIF": 38, "HEIF": 30, "JXL": 19, "EXR": 54, "NPY": 8}
EXACT_WEBP = 16  # more, without loss or with alpha
STREAMED = ("PNG", "TIFF")  # written a band of rows at a time
LOSSLESS = ("PNG", "TIFF", "EXR", "BMP")  # what comes from these is written without loss, unless a quality is given
FIELD = 20  # bytes a pixel while a field is drawn, or its offsets are made, beside the offsets
GRAIN = 60_000_000  # bytes: the libraries are counted in such steps
UNKNOWN = 400_000_000  # bytes of the libraries, where the system does not tell
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
    """How a picture will be worked on. bytes: the most memory that the process will hold; reach: None for the whole picture
    at once, else how many pixels around each hole are looked at; text: both in words, for the user."""

    bytes: int
    reach: int | None
    text: str


def whole_plan(most: int, limit: int | None) -> Plan:
    """The plan of what can only be worked on as a whole. Raises MemoryLimitError where the limit allows less."""
    if limit is not None and most > limit:
        raise MemoryLimitError(f"it takes {in_words(most)}, {at_most(limit)} are allowed", most, limit)
    return Plan(most, None, in_words(most))


def parse_size(text: str) -> int:
    """Bytes from "4G", "500M", "1.5GiB" (powers of 1024), "2GB" (powers of 1000) or a plain number; raises InputError."""
    match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{0,9})?|\.\d{1,9})\s*([a-z]*)\s*", text, re.IGNORECASE | re.ASCII)
    unit = UNITS.get(match[2].upper()) if match else None
    size = int(float(match[1]) * unit) if match and unit is not None else 0
    if size <= 0:
        raise InputError(f"{text!r} is no amount of memory: write it like 4G, 500M or 1.5GiB, or in bytes")
    return size


def in_words(size: int) -> str:
    """Needed bytes as text, "1.65 GB", rounded up so that a limit of that much suffices."""
    return f"{math.ceil(size / 1e7) / 100:.2f} GB"


def at_most(size: int) -> str:
    """Available bytes as text, rounded down."""
    return f"{size // 10**7 / 100:.2f} GB" if size >= 10**7 else f"{size} bytes"


def reading(pixels: int, channels: int, itemsize: int, alpha: bool, format: str) -> int:
    """The most bytes held while a file of so many pixels is decoded, the picture itself among them.

    channels of colour, without alpha; itemsize: bytes a channel; format: as Pillow names it.
    """
    stored = itemsize if channels == 1 and not alpha else 4 * itemsize  # Pillow: grey, or four bytes for red, green, blue
    return pixels * (itemsize * (channels + alpha) + stored + DECODING.get(format, 0))


def reading_all(headers: Iterable[Sized]) -> tuple[int, int]:
    """(the most bytes held while files are decoded one after another, bytes of all their pictures). headers: what the files say
    of them."""
    most = kept = 0
    for head in headers:
        area, itemsize = head.width * head.height, head.bits // 8
        most = max(most, kept + reading(area, head.channels, itemsize, head.alpha, head.format))
        kept += area * itemsize * (head.channels + head.alpha)
    return most, kept


def writing(pixels: int, channels: int, itemsize: int, alpha: bool, format: str, lossless: bool = False) -> int:
    """The most bytes held while a picture is encoded, the picture itself not among them."""
    if format in STREAMED:
        return 0
    rounded = channels + alpha if itemsize > 1 else 0
    stored = 0 if channels == 1 and not alpha else 9 if alpha else 4  # with alpha: without it, with it, and it alone
    exact = EXACT_WEBP if format == "WEBP" and (lossless or alpha) else 0
    return pixels * (rounded + stored + ENCODING.get(format, 0) + exact)


def drawing(pixels: int, format: str, k: int = 1) -> int:
    """The most bytes held while the field of so many pixels and k neighbours is drawn and encoded, or its offsets are written."""
    return FIELD * pixels + (8 * k * pixels if format == "NPY" else 3 * pixels + writing(pixels, 3, 1, False, format))


def writing_result(pixels: int, channels: int, source: Sized, formats: Mapping[str, str], k: int = 1) -> int:
    """The most bytes held while a result of so many pixels is encoded, or its field of k neighbours drawn.

    channels: of its colours; source: the header of the picture that it was made from; formats: "output", and "save_offsets"
    where there is one.
    """
    written = writing(pixels, channels, source.bits // 8, source.alpha, formats["output"], source.format in LOSSLESS)
    return max(written, drawing(pixels, formats["save_offsets"], k)) if "save_offsets" in formats else written


def available() -> int | None:
    """Bytes that this process can still take before the system swaps or kills it; None where that is unknown.

    What Linux says of itself (MemAvailable), or what the control groups around this process leave of their limits (v1
    and v2: containers, batch systems), whichever is less.
    """
    left = [room for room in (_field(PROC / "meminfo", "MemAvailable"), *_rooms()) if room is not None]
    return max(min(left), 0) if left else None


def check_available(needed: int) -> None:
    """Raises MemoryLimitError when this process cannot come to hold so many bytes, before the system kills it for trying."""
    room = available()
    most = None if room is None else room + (resident() or 0)
    if room is not None and most is not None and needed > most:
        raise MemoryLimitError(f"it takes {in_words(needed)} of memory, {at_most(room)} are free", needed, most)


def _rooms() -> Iterator[int]:
    """What is left below the limit of each control group that this process is in, from its own up to the root."""
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
    """Bytes that a process held before any picture, rounded up, so that one limit always gives one plan."""
    return -(-held // GRAIN) * GRAIN


def resident() -> int | None:
    """Bytes that this process holds in memory now; None off Linux."""
    return _field(PROC / "self/status", "VmRSS")


def held() -> int:
    """As `resident`, and a guess where the system does not tell: what a verb's libraries hold once they have run."""
    return resident() or UNKNOWN


def reset_peak() -> None:
    """Starts a new measurement of `peak`; no effect off Linux."""
    with suppress(OSError):
        (PROC / "self/clear_refs").write_text("5")


def peak() -> int | None:
    """The most bytes that this process has held in memory since `reset_peak`; None where the system does not tell (Windows)."""
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
    """Gives back to the system what the process has freed and its C library keeps between what is in use; no effect without
    glibc."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def _field(file: Path, name: str) -> int | None:
    """Bytes that a line "name: 123 kB" of a file in /proc states."""
    match = re.search(rf"^{name}:\s+(\d+) kB$", _text(file), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
