"""The values of a verb's options: one frozen dataclass for each verb, filled from what click parsed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from psal_cli.commands.expand import Expansion
    from psal_cli.image.shapes import Box, Polygon


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The options that all verbs for pictures share; psal_cli.commands.options explains them."""

    images: tuple[str, ...]
    recursive: bool
    from_file: tuple[str, ...]
    max_pixels: int
    output: str | None
    suffix: str | None
    format: str | None
    force: bool
    skip_existing: bool
    quality: int | None
    compression: int | None
    background: str | None
    strip_metadata: bool
    keep_going: bool
    failed_list: str | None
    shard: str | None
    cluster: str | None
    report: str | None
    dry_run: bool
    jobs: int
    seed: int
    device: str
    threads: int | None
    max_memory: int | None
    save_offsets: str | None
    arrows: bool
    as_json: bool
    quiet: bool
    verbose: int


@dataclass(frozen=True, kw_only=True)
class InpaintArguments(Arguments):
    mask: str | None
    mask_layer: str | None
    box: tuple[Box, ...]
    polygon: tuple[Polygon, ...]
    polygon_file: str | None
    polygon_label: tuple[str, ...]
    strokes: str | None
    results: int
    sheet: str | None
    expand: Expansion | None
    if_masked: bool
    mask_invert: bool
    dilate: int
    feather: int
    engine: str
    attention: str
    weights: str | None
    painter: str | None
    painter_size: int | None
    source_mask: str | None
    patch_size: int
    iterations: int | None
    no_blend: bool
    compare: str | None


@dataclass(frozen=True, kw_only=True)
class ColorizeArguments(Arguments):
    ref: tuple[str, ...]
    hints: str | None
    auto: bool
    previous: bool
    ignore_color: bool
    engine: str
    strength: float
    features: str
    attention: str
    iterations: int | None
    weights: str | None
    confidence: str | None
    compare: str | None


@dataclass(frozen=True, kw_only=True)
class UpscaleArguments(Arguments):
    scale: float | None
    width: int | None
    height: int | None
    long_side: int | None
    megapixels: float | None
    model: str
    strength: float | None
    attention: str
    weights: str | None
    ensemble: bool
    compare: str | None


@dataclass(frozen=True, kw_only=True)
class GenerateArguments(Arguments):
    """size: (width, height), as typed."""

    results: int
    size: tuple[int, int] | None
    method: str
    levels: int | None
    coherence: bool
    wrap: bool
    keep: str | None
    box: tuple[Box, ...]
    polygon: tuple[Polygon, ...]
    sheet: str | None
    patch_size: int
    iterations: int


@dataclass(frozen=True, kw_only=True)
class ReconstructArguments(Arguments):
    """source: --from, a word that Python keeps for itself."""

    source: str
    attention: str
    patch_size: int
    k: int
    iterations: int
    temperature: float


Made = TypeVar("Made", bound=Arguments)


def into(make: Callable[..., Made]) -> Callable[[Callable[[Made], None]], Callable[..., None]]:
    """Decorator for a command's function that passes click's values as one argument, built by `make`."""

    def decorate(command: Callable[[Made], None]) -> Callable[..., None]:
        @wraps(command)
        def callback(**values: object) -> None:
            command(make(**values))

        return callback

    return decorate
