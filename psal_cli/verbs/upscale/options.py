"""The options of `psal_cli.upscale`. Importing this loads neither torch nor OpenCV."""

from dataclasses import dataclass, replace
from os import PathLike
from typing import Protocol, TypedDict

from psal_cli.errors import InvalidValueError
from psal_cli.verbs import validation

MOST = 16  # the largest factor
MODELS = ("clean", "photo")  # "auto" chooses among them
ATTENTIONS = ("psal", "full")
STRIPS = tuple(1 << power for power in range(19, 11, -1))  # pixels of the input that may be worked on at a time


class Module(Protocol):
    """What of a torch.nn.Module is asked for: torch is not imported here."""

    training: bool

    def __call__(self, image: object, /) -> object: ...


Weights = str | PathLike[str] | Module  # a file, the name of one, or a network


@dataclass(frozen=True)
class UpscaleOptions:
    """How `psal_cli.upscale` works.

    Attributes:
        model: which of the weights that ship: "clean" for pictures that were reduced and nothing else, "photo" for compressed,
            noisy or sharpened ones; "auto" chooses by the pixels (`psal_cli.verbs.upscale.degradation`).
        strength: blends the results of both models: 0 is "clean", 1 is "photo", between them both run, which takes twice the
            time, and their results are mixed in this proportion. None leaves the choice to `model`. Not with weights, nor with
            the model "clean".
        weights: another network: a file of psal's own weights or CSNLN's, or of any architecture that spandrel knows
            (.safetensors, .pth), an ONNX file, the name of one in the user's model folder, or a module on the CPU,
            [B, 3, H, W] in [0, 1] -> the same a whole number of times larger. Its scale is used.
        attention: "psal", or "full", whose time grows with the square of the picture.
        ensemble: the mean of the results for the picture turned and mirrored in all eight ways, at eight times the cost.
        strip_pixels: pixels of the input that are worked on at a time; None for as many as fit.
        width: pixels of the result, in place of a factor. The proportions stay.
        height: the same; with both the result fits into them.
        long_side: pixels of its longer side.
        megapixels: how many million pixels it has.
        seed: of the random search, 0 to 2^32 - 1. The same seed gives the same picture for any number of threads.
        device: "cpu", "cuda" or "cuda:N".

    Raises:
        InvalidValueError: a value out of range.

    Example:
        >>> UpscaleOptions(model="photo").ensemble
        False
    """

    model: str = "auto"
    strength: float | None = None
    weights: Weights | None = None
    attention: str = "psal"
    ensemble: bool = False
    strip_pixels: int | None = None
    width: int | None = None
    height: int | None = None
    long_side: int | None = None
    megapixels: float | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        validation.one_of("model", self.model, ("auto", *MODELS))
        if self.strength is not None:
            validation.within("strength", self.strength, 0, 1)
            if self.weights is not None:
                raise InvalidValueError("strength", self.strength, "none beside weights: it blends the models that ship")
            if self.model == "clean":
                raise InvalidValueError("strength", self.strength, "none beside the model clean, or the model auto or photo")
        validation.one_of("attention", self.attention, ATTENTIONS)
        for name in ("strip_pixels", "width", "height", "long_side"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidValueError(name, value, "at least 1")
        if self.megapixels is not None:
            validation.above_zero("megapixels", self.megapixels)
        validation.seed(self.seed)
        validation.device(self.device)

    @property
    def blended(self) -> bool:
        """Whether both models run."""
        return self.strength is not None and 0 < self.strength < 1

    def of(self, model: str) -> "UpscaleOptions":
        """The same with one of the models, and no strength."""
        return replace(self, model=model, strength=None)


class UpscaleChanges(TypedDict, total=False):
    """The same as keywords."""

    model: str
    strength: float | None
    weights: Weights | None
    attention: str
    ensemble: bool
    strip_pixels: int | None
    width: int | None
    height: int | None
    long_side: int | None
    megapixels: float | None
    seed: int
    device: str
