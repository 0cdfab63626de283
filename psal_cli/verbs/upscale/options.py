"""The options of `psal_cli.upscale`. Importing this loads neither torch nor OpenCV."""

from dataclasses import dataclass
from typing import TypedDict

from psal_cli.errors import InvalidValueError
from psal_cli.verbs import validation

SCALES = (2, 3, 4, 8)
MODELS = ("clean", "photo")
ATTENTIONS = ("psal", "full")
STRIPS = tuple(1 << power for power in range(19, 11, -1))  # pixels of the input that may be worked on at a time


@dataclass(frozen=True)
class UpscaleOptions:
    """How `psal_cli.upscale` works.

    Attributes:
        model: which of the weights that ship: "clean" for pictures that were reduced and nothing else, "photo" for compressed,
            noisy or sharpened ones.
        weights: a file of other weights, .safetensors, or a published .pt or .pth of CSNLN.
        attention: "psal", or "full", whose time grows with the square of the picture.
        ensemble: the mean of the results for the picture turned and mirrored in all eight ways, at eight times the cost.
        strip_pixels: pixels of the input that are worked on at a time; None for as many as fit.
        seed: of the random search, 0 to 2^32 - 1. The same seed gives the same picture for any number of threads.
        device: "cpu", "cuda" or "cuda:N".

    Raises:
        InvalidValueError: a value out of range.

    Example:
        >>> UpscaleOptions(model="photo").ensemble
        False
    """

    model: str = "clean"
    weights: str | None = None
    attention: str = "psal"
    ensemble: bool = False
    strip_pixels: int | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        validation.one_of("model", self.model, MODELS)
        validation.one_of("attention", self.attention, ATTENTIONS)
        if self.strip_pixels is not None and self.strip_pixels < 1:
            raise InvalidValueError("strip_pixels", self.strip_pixels, "at least 1")
        validation.seed(self.seed)
        validation.device(self.device)


class UpscaleChanges(TypedDict, total=False):
    """The same as keywords."""

    model: str
    weights: str | None
    attention: str
    ensemble: bool
    strip_pixels: int | None
    seed: int
    device: str
