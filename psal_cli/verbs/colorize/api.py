"""`psal_cli.colorize`: gives a grey picture the colours of references."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np
import numpy.typing as npt

from psal_cli.errors import InvalidValueError
from psal_cli.image.arrays import Layers, Pixels, joined, split
from psal_cli.verbs.colorize import borders, coarse_to_fine, film, memory_model, paper, workload
from psal_cli.verbs.colorize import hints as painted
from psal_cli.verbs.colorize.options import PAPER_ITERATIONS, ColorizeChanges, ColorizeOptions
from psal_cli.verbs.hooks import Cancel, Meter, Progress, watched
from psal_cli.viz.field import Field
from psal_cli.viz.rich import Shown


@dataclass(frozen=True, eq=False)
class ColorizeResult(Shown):
    """What `psal_cli.colorize` returns.

    Attributes:
        image: [H, W, 3], or [H, W, 4] if the picture has alpha, with its dtype.
        field: where in the references each colour was found, at the size that was searched; `source_index` is the number of the
            reference. None with engine "paper".
        confidence: float32 [h, w] at the same size, 1 = taken from a reference or a hint, 0 = guessed. None with engine "paper".
        overruled: the share of the hints that contradict the references; None without hints, 0 without references.

    Example:
        >>> import numpy as np
        >>> ColorizeResult(np.zeros((1, 2, 3), np.uint8), None, np.array([[1, 0.2]], np.float32)).guessed
        0.5
    """

    image: Pixels
    field: Field | None
    confidence: npt.NDArray[np.float32] | None
    overruled: float | None = None

    @property
    def guessed(self) -> float | None:
        """The share of the picture whose confidence is below one half."""
        return None if self.confidence is None else float((self.confidence < 0.5).mean())


class UnusableReferenceError(InvalidValueError):
    """A reference without colours. number: its index, from 0."""

    def __init__(self, number: int, value: str):
        super().__init__(f"references[{number}]", value, "a picture with colours")
        self.number = number


def colorize(
    image: npt.ArrayLike,
    references: Sequence[npt.ArrayLike] = (),
    options: ColorizeOptions | None = None,
    *,
    hints: npt.ArrayLike | None = None,
    previous: npt.ArrayLike | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    max_memory: int | None = None,
    **changes: Unpack[ColorizeChanges],
) -> ColorizeResult:
    """Colours a grey picture from references of a similar scene, from painted hints, or by a guess.

    The luminance is kept, except for rounding. Engine "psal" matches patches in both directions with PatchMatch (Barnes et al.
    2009) and fuses the matches with a network; engine "paper" is that of Cherel et al. (arXiv 2202.03163, section 4.3).

    Args:
        image: [H, W], [H, W, 3] or [H, W, 4], uint8, uint16 or float32, sRGB; or anything that `np.asarray` turns into such an
            array. Only luminance and alpha are used. Floats below 0 or above 1 keep their luminance and stay grey.
        references: colour pictures, [h, w, 3] or [h, w, 4], of any size and any of these dtypes. Pixels that are mostly
            transparent are ignored. May be empty if there are hints, or with the option `auto`.
        hints: strokes of colour on a transparent layer, [H, W, 4], the size of the picture. They keep their colours, spread to
            similar pixels up to the edges, and override the references.
        previous: for a film, the previous frame as coloured by this function, [H, W, 3], the size of the picture. Its colours are
            carried over by optical flow, which prevents flicker.
        options: see `ColorizeOptions`; changes: single options by name, which override `options`.
        progress: called several times per level with the share of the work done, 0 to 1, and the name of the current step.
        cancel: called as often; if it returns True, CancelledError is raised.
        max_memory: most bytes that the process may use. Colours are then searched at the largest size that fits.

    Raises:
        InvalidValueError: a picture or an option that cannot be used, or a reference without colours.
        InputError: weights that cannot be read or do not fit; missing packages for semantic features.
        MemoryLimitError: even the smallest size takes more than max_memory.
        CancelledError: `cancel` returned True.

    Example:
        >>> import numpy as np
        >>> ramp = np.linspace(0, 255, 64).astype(np.uint8)[None].repeat(48, 0)
        >>> reference = np.stack([ramp, ramp // 2, 255 - ramp], 2)
        >>> result = colorize(ramp, [reference], seed=1)
        >>> result.image.shape, result.image.dtype, result.field.source_size
        ((48, 64, 3), dtype('uint8'), ((48, 64),))
    """
    options = replace(options or ColorizeOptions(), **changes)
    target, sources = split(image), [split(x, f"references[{number}]") for number, x in enumerate(references)]
    strokes = None if hints is None else split(hints, "hints")
    before = None if previous is None else split(previous, "previous")
    _check(target, sources, strokes, options)
    if before is not None and before.pixels.shape != (*target.pixels.shape[:2], 3):
        expected = f"[{target.header.height}, {target.header.width}, 3], the frame before in colour"
        raise InvalidValueError("previous", f"an array of shape {list(before.pixels.shape)}", expected)
    if max_memory is not None:
        plan = memory_model.plan(
            target.header,
            [source.header for source in sources],
            {"output": "PNG"},
            attention=options.attention if options.engine == "paper" else None,
            semantic=options.features == "semantic",
            beside=[x.header for x in (strokes, before) if x is not None],
            limit=max_memory,
            at_most=options.longest_side,
        )
        options = replace(options, longest_side=plan.longest)
    applying = workload.APPLY * target.pixels[..., 0].size
    meter = Meter(watched(progress, cancel), _cost(target, sources, options) + applying)
    colours = borders.emptied(_estimate(target, sources, options, meter))
    if before is not None:
        colours = film.carried(colours, before.pixels, options.strength)
    overruled = None
    if strokes is not None:
        colours, contradicting = painted.hinted(colours, strokes, _certainty(colours, bool(sources) or options.auto))
        overruled = contradicting if sources else 0.0
    meter.begin(applying, f"{target.header.width}x{target.header.height}")
    pixels = coarse_to_fine.applied(target.pixels, colours, options.strength, meter)
    if strokes is not None:
        painted.held(pixels, target.pixels, strokes, options.strength)
    field = None
    if colours.origin is not None:
        index, *place = np.moveaxis(colours.origin, 2, 0)
        sizes = tuple(source.pixels.shape[:2] for source in sources)
        field = Field(np.stack(place)[None], sizes, np.ascontiguousarray(index) if len(sizes) > 1 else None)
    return ColorizeResult(joined(pixels, target.alpha), field, colours.confidence, overruled)


def _check(target: Layers, sources: Sequence[Layers], strokes: Layers | None, options: ColorizeOptions) -> None:
    if strokes is not None:
        painted.check(strokes, target.pixels.shape[:2])
    elif not sources and not options.auto:
        raise InvalidValueError("references", "empty", "at least one picture, hints, or the option auto")
    for number, source in enumerate(sources):
        visible = source.visible
        if visible is not None and not visible.any():
            raise UnusableReferenceError(number, "wholly transparent")
        if coarse_to_fine.is_grey(source.pixels, visible):
            raise UnusableReferenceError(number, "grey")
    if options.engine == "paper" and options.attention == "local":
        sizes = [source.pixels.shape[:2] for source in sources]
        if sizes != [target.pixels.shape[:2]]:
            height, width = target.pixels.shape[:2]
            listed = ", ".join(f"{w}x{h}" for h, w in sizes)
            raise InvalidValueError(
                "references", listed, f'one of {width}x{height}, the size of the picture, with attention "local"'
            )


def _cost(target: Layers, sources: Sequence[Layers], options: ColorizeOptions) -> float:
    """The cost of finding or guessing the colours."""
    if not sources:
        return workload.GUESS * options.auto
    if options.engine == "paper":
        pixels = [x.pixels[..., 0].size for x in (target, *sources)]
        return workload.paper_cost(pixels[0], sum(pixels[1:]), options.attention, options.iterations or PAPER_ITERATIONS)
    sizes = [(source.header.height, source.header.width) for source in sources]
    size, semantic = (target.header.height, target.header.width), options.features == "semantic"
    return coarse_to_fine.search_cost(size, sizes, options.longest_side, semantic)


def _lent(source: Layers) -> npt.NDArray[np.bool_] | None:
    """bool [H, W], which pixels of a reference lend colours: opaque ones, without the border of a scan. None if all do."""
    visible, photograph = source.visible, borders.photograph(source.pixels)
    if visible is None or photograph is None or not (visible & photograph).any():
        return photograph if visible is None else visible
    return np.asarray(visible & photograph)


def _estimate(target: Layers, sources: Sequence[Layers], options: ColorizeOptions, meter: Meter) -> coarse_to_fine.ChromaEstimate:
    """Colours found in the references, guessed, or none."""
    if sources:
        return _search(target, sources, options, meter)
    if not options.auto:
        return coarse_to_fine.blank(target.pixels, options.longest_side)
    meter.begin(workload.GUESS, "guessing")
    guesses = coarse_to_fine.guessed(target.pixels, options.longest_side, options.device)
    meter.spend(workload.GUESS)
    return guesses


def _certainty(colours: coarse_to_fine.ChromaEstimate, found: bool) -> npt.NDArray[np.float32]:
    """float32 [h, w], how much an estimate weighs beside hints. found: whether it has colours."""
    if not found:
        return np.zeros_like(colours.light)
    return np.ones_like(colours.light) if colours.confidence is None or colours.origin is None else colours.confidence


def _search(target: Layers, sources: Sequence[Layers], options: ColorizeOptions, meter: Meter) -> coarse_to_fine.ChromaEstimate:
    pixels, visible = [source.pixels for source in sources], [_lent(source) for source in sources]
    if options.engine == "paper":
        meter.begin(_cost(target, sources, options), f"{target.header.width}x{target.header.height}")
        return paper.colorize(
            target.pixels,
            pixels,
            visible=visible,
            attention=options.attention,
            iterations=options.iterations or PAPER_ITERATIONS,
            weights=options.weights,
            seed=options.seed,
            device=options.device,
        )
    return coarse_to_fine.colorize(
        target.pixels,
        pixels,
        visible=visible,
        seed=options.seed,
        longest=options.longest_side,
        device=options.device,
        semantic=options.features == "semantic",
        meter=meter,
    )
