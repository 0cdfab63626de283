"""psal: edit photographs at native resolution with networks whose attention is PatchMatch.

The verbs take and return numpy arrays, the attention layer torch tensors. The names below are loaded when first used, so that
`import psal_cli` and `psal --help` load neither torch nor OpenCV.

Example:
    >>> import numpy as np, psal_cli
    >>> picture = np.zeros((12, 16, 3), np.uint8)
    >>> psal_cli.upscale(picture, 2).image.shape
    (24, 32, 3)
"""

from importlib import import_module

TYPE_CHECKING = False  # typing itself takes as long to import as all else that `psal` needs before it can handle Ctrl-C
if TYPE_CHECKING:
    from psal_cli.attention import PSAttention, ps_attention
    from psal_cli.errors import CancelledError, InputError, InvalidValueError, MemoryLimitError, PsalError
    from psal_cli.verbs.colorize.api import ColorizeResult, colorize
    from psal_cli.verbs.colorize.options import ColorizeOptions
    from psal_cli.verbs.generate.api import GenerateResult, generate
    from psal_cli.verbs.generate.options import GenerateOptions
    from psal_cli.verbs.inpaint.api import InpaintResult, inpaint
    from psal_cli.verbs.inpaint.expansion import outpaint
    from psal_cli.verbs.inpaint.margins import Margins
    from psal_cli.verbs.inpaint.options import InpaintOptions
    from psal_cli.verbs.reconstruct.api import ReconstructResult, reconstruct
    from psal_cli.verbs.reconstruct.options import ReconstructOptions
    from psal_cli.verbs.upscale.api import UpscaleResult, upscale
    from psal_cli.verbs.upscale.options import UpscaleOptions
    from psal_cli.viz.field import Field

__version__ = "0.2.0"

_HOMES = {
    "PSAttention": "attention",
    "ps_attention": "attention",
    "CancelledError": "errors",
    "InputError": "errors",
    "InvalidValueError": "errors",
    "MemoryLimitError": "errors",
    "PsalError": "errors",
    "ColorizeOptions": "verbs.colorize.options",
    "ColorizeResult": "verbs.colorize.api",
    "colorize": "verbs.colorize.api",
    "GenerateOptions": "verbs.generate.options",
    "GenerateResult": "verbs.generate.api",
    "generate": "verbs.generate.api",
    "InpaintOptions": "verbs.inpaint.options",
    "InpaintResult": "verbs.inpaint.api",
    "inpaint": "verbs.inpaint.api",
    "outpaint": "verbs.inpaint.expansion",
    "Margins": "verbs.inpaint.margins",
    "ReconstructOptions": "verbs.reconstruct.options",
    "ReconstructResult": "verbs.reconstruct.api",
    "reconstruct": "verbs.reconstruct.api",
    "UpscaleOptions": "verbs.upscale.options",
    "UpscaleResult": "verbs.upscale.api",
    "upscale": "verbs.upscale.api",
    "Field": "viz.field",
}

__all__ = [
    "CancelledError",
    "ColorizeOptions",
    "ColorizeResult",
    "Field",
    "GenerateOptions",
    "GenerateResult",
    "InpaintOptions",
    "InpaintResult",
    "InputError",
    "InvalidValueError",
    "Margins",
    "MemoryLimitError",
    "PSAttention",
    "PsalError",
    "ReconstructOptions",
    "ReconstructResult",
    "UpscaleOptions",
    "UpscaleResult",
    "__version__",
    "colorize",
    "generate",
    "inpaint",
    "outpaint",
    "ps_attention",
    "reconstruct",
    "upscale",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"psal_cli.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
