"""The options of `psal_cli.colorize`. Importing this loads neither torch nor OpenCV."""

from dataclasses import dataclass
from typing import TypedDict

from psal_cli.errors import InvalidValueError
from psal_cli.verbs import validation

ENGINES = ("psal", "paper")
ATTENTIONS = ("aggregation", "psal3", "psal1", "full", "local")
FEATURES = ("local", "semantic")
COARSE = 448  # pixels, the longer side: the networks were trained with pictures of this size
LARGEST = 3  # the finest size at which colours are searched, in multiples of COARSE
PAPER_ITERATIONS = 5


@dataclass(frozen=True)
class ColorizeOptions:
    """How `psal_cli.colorize` works.

    Attributes:
        engine: "psal" matches at six scales and judges its matches; "paper" is the network of the PSAL paper.
        strength: of the colours, 0 (grey) to 2; 1 leaves them as they were found.
        features: of engine "psal": what it compares. "local": lightness and texture around a place, at six scales.
            "semantic": also what EfficientNet-Lite0 recognises there, which needs the packages of `psal[semantic]`.
        attention: of engine "paper": its layer, with the weights trained for it: "aggregation", "psal3", "psal1", "full",
            "local".
        iterations: of engine "paper": rounds of search, 1 to 1000; None for 5.
        weights: of engine "paper": a file of other weights, .safetensors, .pt or .pth.
        longest_side: of engine "psal": the longer side in pixels at which colours are searched, at most. Chroma is then upsampled
            along the edges of the picture.
        seed: of the random search, 0 to 2^32 - 1. The same seed gives the same colours for any number of threads.
        device: "cpu", "cuda" or "cuda:N".

    Raises:
        InvalidValueError: a value out of range, or an option of the other engine.

    Example:
        >>> ColorizeOptions(strength=0.8).engine
        'psal'
    """

    engine: str = "psal"
    strength: float = 1.0
    features: str = "local"
    attention: str = "aggregation"
    iterations: int | None = None
    weights: str | None = None
    longest_side: int = COARSE * LARGEST
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        validation.one_of("engine", self.engine, ENGINES)
        validation.within("strength", self.strength, 0, 2)
        validation.one_of("features", self.features, FEATURES)
        validation.one_of("attention", self.attention, ATTENTIONS)
        if self.iterations is not None:
            validation.within("iterations", self.iterations, 1, 1000)
        if self.longest_side < 1:
            raise InvalidValueError("longest_side", self.longest_side, "at least 1 pixel")
        validation.seed(self.seed)
        validation.device(self.device)
        if self.engine != "paper" and self.weights is not None:
            raise InvalidValueError("weights", self.weights, 'engine "paper" with it')
        if self.engine == "paper" and self.features != FEATURES[0]:
            raise InvalidValueError("features", self.features, 'engine "psal" with it')


class ColorizeChanges(TypedDict, total=False):
    """The same as keywords."""

    engine: str
    strength: float
    features: str
    attention: str
    iterations: int | None
    weights: str | None
    longest_side: int
    seed: int
    device: str
