"""The options of `psal_cli.generate`. Importing this loads neither torch nor OpenCV."""

from dataclasses import dataclass
from typing import TypedDict

from psal_cli.errors import InvalidValueError
from psal_cli.verbs import validation

METHODS = ("psinot", "psin")
LONGEST = 65535  # pixels: the longest side that the engine can index


@dataclass(frozen=True)
class GenerateOptions:
    """How `psal_cli.generate` works (Cherel et al., "A patch-based algorithm for diverse and high fidelity single image
    generation", ICIP 2022).

    Attributes:
        size: (height, width) of the sample; None for that of the reference.
        method: "psinot" uses all parts of the reference about equally often; "psin" is freer.
        levels: of the pyramid, 1 to 16, each half the size of the one before. More levels keep larger structures of the
            reference. None: the fewest levels with at most 800 patches at the coarsest ("psin") or 400 ("psinot").
        patch_size: side of the patches, odd, 3 to 31.
        iterations: the most rounds of search and vote per level, 1 to 1000.
        coherence: prefer matches that continue those of their neighbours: larger pieces of the reference, fewer seams.
        wrap: make a tile that repeats without a seam in both directions.
        seed: 0 to 2^32 - 1. Each seed gives another sample, the same for any number of threads.
        device: only "cpu".

    Raises:
        InvalidValueError: a value out of range.

    Example:
        >>> GenerateOptions(size=(100, 300), wrap=True).method
        'psinot'
    """

    size: tuple[int, int] | None = None
    method: str = "psinot"
    levels: int | None = None
    patch_size: int = 11
    iterations: int = 10
    coherence: bool = False
    wrap: bool = False
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.size is not None and not all(0 < side <= LONGEST for side in self.size):
            raise InvalidValueError("size", self.size, f"sides from 1 to {LONGEST}")
        validation.one_of("method", self.method, METHODS)
        if self.levels is not None:
            validation.within("levels", self.levels, 1, 16)
        validation.odd("patch_size", self.patch_size, 3, 31)
        validation.within("iterations", self.iterations, 1, 1000)
        validation.seed(self.seed)
        if self.device != "cpu":
            raise InvalidValueError("device", self.device, "cpu: the method runs on the CPU only")


class GenerateChanges(TypedDict, total=False):
    """`GenerateOptions` as keywords."""

    size: tuple[int, int] | None
    method: str
    levels: int | None
    patch_size: int
    iterations: int
    coherence: bool
    wrap: bool
    seed: int
    device: str
