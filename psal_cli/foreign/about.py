"""Facts about a network file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ENLARGES, INPAINTS = "super-resolution", "inpainting"
BLOCK = 1 << 20  # bytes hashed at a time
MOST_HEADER = 100_000_000  # bytes, the limit of safetensors itself
LICENCES = ("modelspec.license", "license", "licence")


@dataclass(frozen=True)
class About:
    """What is known about a network file.

    Attributes:
        source: the file, or the type of a module, for messages.
        architecture: its name, "ONNX" if only the graph is known.
        task: "super-resolution", "inpainting" or another task, in words.
        scale: the factor by which it enlarges.
        parameters: their number.
        details: its size in the architecture's own terms, such as "64nf".
        licence: as stated in the file, None if there is none.
        sha256: of the file, None for a module.
    """

    source: str
    architecture: str
    task: str
    scale: int
    parameters: int
    details: tuple[str, ...] = ()
    licence: str | None = None
    sha256: str | None = None

    @property
    def text(self) -> str:
        """A summary in one line."""
        size = f"{self.parameters / 1e6:.2f} M parameters" if self.parameters >= 10_000 else f"{self.parameters} parameters"
        licence = f"licence {self.licence}" if self.licence else "the file states no licence"
        return ", ".join([f"{self.architecture} x{self.scale}", *self.details, size, licence])


def digest(path: Path) -> str:
    """The sha256 of a file, recomputed only after the file has changed."""
    facts = path.stat()
    return _digest(path.resolve(), facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=256)
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def licence_in(metadata: Mapping[str, str]) -> str | None:
    """The licence in the metadata of a file."""
    told = {key.lower(): value for key, value in metadata.items()}
    return next((" ".join(told[key].split()) for key in LICENCES if told.get(key, "").strip()), None)


def safetensors_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, empty if it has none or is damaged."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER:
            return {}
        try:
            metadata = json.loads(file.read(length)).get("__metadata__", {})
        except (ValueError, RecursionError, AttributeError):
            return {}
    return {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}
