"""The options of `psal_cli.upscale`. Importing this loads neither torch nor OpenCV."""

from dataclasses import dataclass, replace
from os import PathLike
from typing import Protocol, TypedDict

from psal_cli.errors import InvalidValueError
from psal_cli.verbs import validation

MOST = 16  # the largest factor
MODELS = ("clean", "photo")  # "auto" chooses among them
ATTENTIONS = ("psal", "full")
STRIPS = tuple(1 << power for power in range(19, 11, -1))  # pixels of the input processed at a time


class Module(Protocol):
    """The part of torch.nn.Module that is needed, since torch is not imported here."""

    training: bool

    def __call__(self, image: object, /) -> object: ...


Weights = str | PathLike[str] | Module  # a file, the name of one, or a network


@dataclass(frozen=True)
class UpscaleOptions:
    """How `psal_cli.upscale` works (after Mei et al. 2020, arXiv 2006.01424).

    Attributes:
        model: the shipped weights: "clean" for pictures that were only reduced, "photo" for compressed, noisy or sharpened ones;
            "auto" chooses by the pixels (`psal_cli.verbs.upscale.degradation`).
        strength: blends the results of both models in this proportion: 0 is "clean", 1 is "photo"; in between both run, which
            takes twice as long. None leaves the choice to `model`. Excludes weights and the model "clean".
        weights: another network: a file of psal's own weights or CSNLN's, or of any architecture that spandrel knows
            (.safetensors, .pth), an ONNX file, the name of a file in the user's model folder, or a module on the CPU, [B, 3, H,
            W] in [0, 1] -> [B, 3, s H, s W] with a whole scale s.
        attention: "psal", or "full", whose time is quadratic in the number of pixels.
        ensemble: average over the eight rotations and reflections of the picture, at eight times the cost (Lim et al. 2017,
            arXiv 1707.02921, section 3.4).
        strip_pixels: pixels of the input processed at a time; None for as many as fit.
        width: of the result in pixels, in place of a factor. The aspect ratio is kept.
        height: likewise; with both, the result fits into width x height.
        long_side: pixels of the result's longer side.
        megapixels: size of the result in million pixels.
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
        """These options with one of the models, and no strength."""
        return replace(self, model=model, strength=None)


class UpscaleChanges(TypedDict, total=False):
    """`UpscaleOptions` as keywords."""

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
