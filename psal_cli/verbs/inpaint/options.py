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
    """(picture float32 [H, W, 3] in [0, 1], black in the hole; hole bool [H, W]) -> the filled picture."""

    def __call__(self, image: "npt.NDArray[np.float32]", hole: "npt.NDArray[np.bool_]", /) -> "npt.NDArray[np.float32]": ...


@dataclass(frozen=True)
class InpaintOptions:
    """How `psal_cli.inpaint` works.

    Attributes:
        engine: "combined" copies patches, guided by the features of a network; "patch" copies patches without a network;
            "network" returns the drawing of another network as it is.
        attention: of the network that draws: "psal", "aggregation" (PSAL with aggregation) or "original", that of Yu et al. 2018,
            whose memory is quadratic in the number of pixels; "original-sum" is its variant in the PyTorch port since 2020. With
            "combined", any but "psal" makes that network's drawing guide the search.
        weights: a file of other weights, .safetensors, .pt or .pth, for the network that guides or the one that draws, for
            instance those published by Yu et al.
        painter: replaces the shipped network: the file of a network that fills a picture given a mask, see
            `psal_cli.foreign.painters`, or a function (picture, hole) -> filled picture. The picture is float32 [H, W, 3] in [0,
            1], black in the hole; the hole is bool [H, W]. With "combined" the search follows the drawing, with "network" the
            drawing is the result. It runs on the CPU, and memory limits do not count it.
        painter_size: the most pixels of the longer side that the painter sees, 64 to 4096; None for the size that it was made
            for, if known, else 512.
        patch_size: side of the patches, odd, 3 to 31.
        iterations: rounds of search and vote per level or, with engine "network", rounds of search in its attention, 1 to 1000.
            None: more at coarse levels than at fine ones, and 5 for the attention.
        blend: remove the seams between copies, and differences in brightness at the edge of the hole, in the gradient domain
            (Perez et al. 2003). Without it the fill consists of exact copies.
        reach: fill each hole from this many pixels around it, which takes memory for those only; None for the whole picture.
            Holes whose surroundings overlap are filled together.
        seed: of the random search, 0 to 2^32 - 1. The same seed gives the same picture for any number of threads.
        device: of the network, "cpu", "cuda" or "cuda:N". The patch search runs on the CPU, so engine "patch" accepts "cpu" only.

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
            raise InvalidValueError("device", self.device, 'cpu with engine "patch", which runs on the CPU only')


class InpaintChanges(TypedDict, total=False):
    """`InpaintOptions` as keywords."""

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
