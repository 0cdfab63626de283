"""The options of `psal_cli.inpaint`. Importing this loads neither torch nor OpenCV."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypedDict

from psal_cli.errors import InvalidValueError
from psal_cli.verbs import validation

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ENGINES = ("combined", "patch", "network")
ATTENTIONS = ("psal", "aggregation", "original", "original-sum")


class Paint(Protocol):
    """From a picture, float32 [H, W, 3] in [0, 1], black in the hole, and the hole, bool [H, W]: the picture with it filled."""

    def __call__(self, image: "npt.NDArray[np.float32]", hole: "npt.NDArray[np.bool_]", /) -> "npt.NDArray[np.float32]": ...


@dataclass(frozen=True)
class InpaintOptions:
    """How `psal_cli.inpaint` works.

    Attributes:
        engine: "combined" copies patches, guided by the features that a network gives to each place; "patch" copies patches;
            "network" takes what another network draws as it is.
        attention: of the network that draws: "psal", "aggregation" (PSAL with aggregation), or "original", that of Yu et al.
            2018, whose memory grows with the square of the picture; "original-sum" is the same as in its PyTorch port since
            2020. With "combined" any but "psal" lets what that network draws guide the search.
        weights: a file of other weights, .safetensors, .pt or .pth, of a network that guides or of one that draws, for instance
            a published one of Yu et al.
        painter: what draws in place of the shipped network: the file of a network that fills a picture given a mask, see
            `psal_cli.foreign.painters`; or a function of a picture, float32 [H, W, 3] in [0, 1], black in the hole, and the hole,
            bool [H, W], that returns the picture with it filled. With "combined" the search follows it, with "network" what it
            draws is kept. It runs on the CPU, and limits of memory do not count it.
        painter_size: pixels of the longer side that it sees, 64 to 4096; None for the size that it was made for, as far as that
            is known, else 512.
        patch_size: side of the patches, odd, 3 to 31.
        iterations: rounds of search and vote at each level, with engine "network" of search in its attention, 1 to 1000; None
            for more at coarse levels than at fine ones, and 5.
        blend: remove the seams between copies, and differences of light at the edge of the hole, in the gradient domain.
            Without it the fill is made of exact copies.
        reach: each hole is filled from so many pixels around it, which takes memory for those only; None for the whole picture.
            Holes whose surroundings overlap are filled together.
        seed: of the random search, 0 to 2^32 - 1. The same seed gives the same picture for any number of threads.
        device: of the network, "cpu", "cuda" or "cuda:N". The search of patches runs on the CPU, so that engine "patch" takes
            "cpu" only.

    Raises:
        InvalidValueError: a value out of range, or an option of another engine.

    Example:
        >>> InpaintOptions(engine="patch").patch_size
        7
    """

    engine: str = "combined"
    attention: str = "psal"
    weights: str | None = None
    painter: str | Paint | None = None
    painter_size: int | None = None
    patch_size: int = 7
    iterations: int | None = None
    blend: bool = True
    reach: int | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        validation.one_of("engine", self.engine, ENGINES)
        validation.one_of("attention", self.attention, ATTENTIONS)
        validation.odd("patch_size", self.patch_size, 3, 31)
        if self.iterations is not None:
            validation.within("iterations", self.iterations, 1, 1000)
        if self.reach is not None and self.reach < 1:
            raise InvalidValueError("reach", self.reach, "at least 1 pixel")
        validation.seed(self.seed)
        validation.device(self.device)
        if self.engine == "patch" and self.weights is not None:
            raise InvalidValueError("weights", self.weights, 'engine "combined" or "network" with it')
        if self.painter is not None and (self.engine == "patch" or self.weights is not None):
            raise InvalidValueError("painter", self.painter, 'engine "combined" or "network" with it, and no weights')
        if self.painter_size is not None:
            validation.within("painter_size", self.painter_size, 64, 4096)
            if self.painter is None:
                raise InvalidValueError("painter_size", self.painter_size, "a painter with it")
        if self.engine == "patch" and self.device != "cpu":
            raise InvalidValueError("device", self.device, 'cpu with engine "patch": no GPU is faster at its many small searches')


class InpaintChanges(TypedDict, total=False):
    """The same as keywords."""

    engine: str
    attention: str
    weights: str | None
    painter: str | Paint | None
    painter_size: int | None
    patch_size: int
    iterations: int | None
    blend: bool
    reach: int | None
    seed: int
    device: str
