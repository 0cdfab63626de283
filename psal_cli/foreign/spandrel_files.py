"""Networks in .pth and .safetensors files, of any architecture that spandrel recognises from the tensors."""

import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from torch import Tensor, nn

from psal_cli.errors import InputError, is_out_of_memory
from psal_cli.foreign.info import ENLARGES, INPAINTS, NetworkInfo, digest, licence_in, safetensors_metadata
from psal_cli.foreign.network import Sizes

if TYPE_CHECKING:
    from spandrel import ArchRegistry, ModelDescriptor

TASKS = {
    "SR": ENLARGES,
    "Inpainting": INPAINTS,
    "FaceSR": "the restoration of faces",
    "Restoration": "the restoration of pictures at their own size",
}
EXTRA = "pip install 'psal[models]'"
VISION = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")

_lock = Lock()


class Described(nn.Module):
    """Calls a network as spandrel does, but without clamping to [0, 1], which would stop gradients."""

    def __init__(self, model: nn.Module, call: Callable[..., Tensor]):
        super().__init__()
        self.model, self.call = model, call

    def forward(self, *images: Tensor) -> Tensor:
        return self.call(self.model, *images)


def load(path: Path, state: dict[str, Tensor], name: str) -> tuple[nn.Module, NetworkInfo, Sizes, int]:
    """Loads a network: (network, facts, accepted sizes, channels).

    Args:
        path: of the file; state: its tensors; name: for errors.

    Raises:
        InputError: an architecture unknown to spandrel, or tensors that do not fit it; spandrel is not installed.
    """
    with _imported(name) as spandrel, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about initial values, which are then overwritten
        try:
            loader = spandrel.ModelLoader(registry=_registry(spandrel))
            descriptor: ModelDescriptor = loader.load_from_state_dict(spandrel.canonicalize_state_dict(dict(state)))
        except spandrel.UnsupportedModelError as error:
            raise InputError(
                f"{name} is not a network that psal or spandrel knows: give another file, or export it as ONNX"
            ) from error
        except Exception as error:  # an architecture recognised by a few names may fail in any way on the others
            if is_out_of_memory(error):
                raise
            what = " ".join(str(error).split())[:120]
            raise InputError(
                f"{name} does not fit the architecture that its tensors' names belong to ({what}): give another file"
            ) from error
    model = descriptor.model.float().eval().requires_grad_(False)
    if bad := [key for key, x in model.state_dict().items() if not x.isfinite().all()]:
        raise InputError(f"{name} contains NaN or infinity in {bad[0]}: it was saved from a failed training")
    info = NetworkInfo(
        source=name,
        architecture=descriptor.architecture.name,
        task=TASKS.get(descriptor.purpose, descriptor.purpose),
        scale=descriptor.scale,
        parameters=sum(x.numel() for x in model.parameters()),
        details=tuple(descriptor.tags),
        licence=licence_in(safetensors_metadata(path)) if path.suffix == ".safetensors" else None,
        sha256=digest(path),
    )
    needs = descriptor.size_requirements
    sizes = Sizes(max(needs.minimum, 1), needs.multiple_of, needs.square)
    channels = descriptor.input_channels if descriptor.input_channels == descriptor.output_channels else 0
    return Described(model, descriptor._call_fn), info, sizes, channels


@contextmanager
def _imported(name: str) -> Iterator[types.ModuleType]:
    """Imports spandrel on first use, which takes seconds.

    It imports torchvision for three functions of networks that do not enlarge, and fails if torchvision is missing or built for
    another torch. In that case, empty modules stand in during the import and are removed afterwards.
    """
    with _lock:
        made = [] if "spandrel" in sys.modules or _has_vision() else _stand_ins()
        try:
            import spandrel
        except ImportError as error:
            if error.name not in ("spandrel", "einops"):  # another error inside torchvision
                raise
            raise InputError(f"{name} is not a network that psal itself knows; others need spandrel: {EXTRA}") from error
        finally:
            for module in made:
                sys.modules.pop(module, None)
    yield spandrel


def _registry(spandrel: types.ModuleType) -> "ArchRegistry":
    """The architectures of spandrel, with MAT and others of restrictive licences if their package is installed."""
    known: ArchRegistry = spandrel.MAIN_REGISTRY
    try:
        from spandrel_extra_arches import EXTRA_REGISTRY
    except ImportError:  # it is not there, or lacks torchvision
        return known
    known = known.copy()  # spandrel's own belongs to the host program
    known.add(*EXTRA_REGISTRY, ignore_duplicates=True)
    return known


def _has_vision() -> bool:
    try:
        import torchvision.transforms.functional  # noqa: F401
    except Exception:  # torchvision for another torch raises RuntimeError
        return False
    return True


def _stand_ins() -> list[str]:
    for module in VISION:
        sys.modules[module] = types.ModuleType(module)
    functional = sys.modules[VISION[-1]]
    for function in ("rotate", "normalize", "InterpolationMode"):
        setattr(functional, function, None)
    return list(VISION)
