"""Networks in ONNX files, run by onnxruntime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from psal_cli.errors import InputError, is_out_of_memory
from psal_cli.foreign.info import ENLARGES, NetworkInfo, digest, licence_in
from psal_cli.foreign.network import Sizes
from psal_cli.foreign.protobuf import parameters

if TYPE_CHECKING:
    import onnxruntime

EXTRA = "pip install 'psal[onnx]'"
NUMBERS: dict[str, type[np.floating]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
TRIED = 64  # pixels: side of the picture that probes the scale
SMALLEST = 48  # pixels: the smallest fixed size; smaller pieces are mostly border
SILENT = 4  # of onnxruntime: errors only, which are also raised


class Graph(nn.Module):
    """Wraps a graph as a module without parameters: [B, C, H, W] -> [B, C, scale * H, scale * W]. Threads may share it."""

    def __init__(self, session: onnxruntime.InferenceSession, dtype: type[np.floating]):
        super().__init__()
        self.session, self.dtype = session, dtype
        self.input = session.get_inputs()[0].name
        self.output = session.get_outputs()[0].name

    def forward(self, image: Tensor) -> Tensor:
        """Runs one picture after another: many graphs accept only a batch of one."""
        made = [self._run_single(np.ascontiguousarray(each.detach().cpu().numpy())) for each in image.split(1)]
        return torch.cat(made) if len(made) > 1 else made[0]

    def __deepcopy__(self, memo: dict[int, object]) -> Graph:
        return self  # a session cannot be copied, and is immutable

    def _run_single(self, picture: np.ndarray) -> Tensor:
        try:
            (made,) = self.session.run([self.output], {self.input: picture.astype(self.dtype, copy=False)})
        except Exception as error:
            if is_out_of_memory(error):
                raise MemoryError from error
            raise
        return torch.from_numpy(np.asarray(made, np.float32))


def load(path: Path, name: str) -> tuple[nn.Module, NetworkInfo, Sizes, int]:
    """Loads a graph with one picture as input and output; see `spandrel_files.load`.

    Raises:
        InputError: not an ONNX file, other inputs or outputs, an unusable size; onnxruntime is not installed.
    """
    session = session_of(path, name)
    channels, fixed, dtype = _input(session, name)
    graph = Graph(session, dtype)
    scale = _scale(graph, channels, fixed, name)
    meta = session.get_modelmeta()
    architecture = meta.graph_name if meta.graph_name not in ("", "main_graph", "torch_jit", "torch-jit-export") else ""
    info = NetworkInfo(
        source=name,
        architecture=f"ONNX {architecture}".strip(),
        task=ENLARGES if scale > 1 else "the restoration of pictures at their own size",
        scale=scale,
        parameters=parameters(path.read_bytes()),
        details=(f"{fixed[1]}x{fixed[0]} at a time",) if fixed else (),
        licence=licence_in(meta.custom_metadata_map),
        sha256=digest(path),
    )
    return graph, info, Sizes(fixed=fixed), channels


def session_of(path: Path, name: str) -> onnxruntime.InferenceSession:
    """A session for a graph on the CPU. Raises InputError if the file is not a valid graph."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{name} is ONNX, which needs a package of its own: {EXTRA}") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_cpu_mem_arena = False  # it would keep the memory of the largest piece
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        what = " ".join(str(error).split())[:160]
        raise InputError(f"{name} is not an ONNX file that onnxruntime runs ({what})") from error


def _input(session: onnxruntime.InferenceSession, name: str) -> tuple[int, tuple[int, int] | None, type[np.floating]]:
    """(channels, fixed size if any, dtype) of a graph's single input picture."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        takes = f"inputs {', '.join(x.name for x in inputs)} and outputs {', '.join(x.name for x in outputs)}"
        raise InputError(f"{name} has {takes}: expected a network for super-resolution, with one input and one output")
    shape, kind = inputs[0].shape, inputs[0].type
    if kind not in NUMBERS:
        raise InputError(f"{name} takes numbers of type {kind[7:-1]}: export it with float32 or float16 input")
    if len(shape) != 4 or (isinstance(shape[0], int) and shape[0] > 1):
        raise InputError(f"{name} takes input of shape {_in_words(shape)}: expected [1, 3, height, width]")
    if shape[1] not in (1, 3):
        raise InputError(f"{name} takes {_in_words(shape)}, {_channels(shape[1])}: export it with [1, 3, height, width]")
    sides = [side if isinstance(side, int) and side > 0 else None for side in shape[2:]]
    if sides[0] is None and sides[1] is None:
        return shape[1], None, NUMBERS[kind]
    if sides[0] is None or sides[1] is None or min(sides[0], sides[1]) < SMALLEST:
        cure = f"export it with free sizes, or both fixed and at least {SMALLEST}"
        raise InputError(f"{name} takes pictures of {_in_words(shape)} only, which do not fit: {cure}")
    return shape[1], (sides[0], sides[1]), NUMBERS[kind]


def _scale(graph: Graph, channels: int, fixed: tuple[int, int] | None, name: str) -> int:
    """The scale of a graph, probed with a picture."""
    height, width = fixed or (TRIED, TRIED)
    try:
        with torch.no_grad():
            out = graph(torch.full((1, channels, height, width), 0.5))
    except MemoryError:
        raise
    except Exception as error:
        what = " ".join(str(error).split())[:160]
        raise InputError(f"{name} does not run on a picture of {width}x{height} ({what}): export it with free sizes") from error
    if out.ndim == 4 and out.shape[1] == channels:
        scale = out.shape[2] // height
        if scale >= 1 and tuple(out.shape) == (1, channels, scale * height, scale * width):
            return int(scale)
    raise InputError(
        f"{name} makes {list(out.shape)} of a picture [1, {channels}, {height}, {width}], so it is not a network for "
        "super-resolution: give one that enlarges both sides by the same whole number"
    )


def _in_words(shape: list[int | str | None]) -> str:
    return f"[{', '.join(str(x) if isinstance(x, int) else 'any' for x in shape)}]"


def _channels(count: int | str | None) -> str:
    return f"{count} channels" if isinstance(count, int) else "any number of channels"
