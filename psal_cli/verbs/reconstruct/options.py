"""The options of `psal_cli.reconstruct`. Importing this loads neither torch nor OpenCV."""

from dataclasses import dataclass
from typing import TypedDict

from psal_cli.verbs import validation

ATTENTIONS = ("psal", "aggregation", "full")


@dataclass(frozen=True)
class ReconstructOptions:
    """How `psal_cli.reconstruct` works (Cherel et al., arXiv 2202.03163, section 4.2).

    Attributes:
        attention: "psal": the k nearest patches (equation 5); "aggregation": also the matches of neighbouring pixels (equation
            10); "full": all patches (equation 1), in time proportional to the product of both sizes.
        patch_size: side of the patches, odd, 1 to 31.
        k: number of nearest patches per pixel, 1 to 64.
        iterations: rounds of search, 0 to 1000.
        temperature: divisor of the squared patch distances (white = 1) before the softmax, > 0.
        seed: of the random search, 0 to 2^32 - 1. The same seed gives the same picture for any number of threads.
        device: "cpu", "cuda" or "cuda:N".

    Raises:
        InvalidValueError: a value out of range.

    Example:
        >>> ReconstructOptions(k=1).attention
        'psal'
    """

    attention: str = "psal"
    patch_size: int = 7
    k: int = 3
    iterations: int = 5
    temperature: float = 0.1
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        validation.one_of("attention", self.attention, ATTENTIONS)
        validation.odd("patch_size", self.patch_size, 1, 31)
        validation.within("k", self.k, 1, 64)
        validation.within("iterations", self.iterations, 0, 1000)
        validation.above_zero("temperature", self.temperature)
        validation.seed(self.seed)
        validation.device(self.device)


class ReconstructChanges(TypedDict, total=False):
    """`ReconstructOptions` as keywords."""

    attention: str
    patch_size: int
    k: int
    iterations: int
    temperature: float
    seed: int
    device: str
