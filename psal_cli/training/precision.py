"""Finds the precision and memory format that train fastest on this machine; processors differ by a factor of two."""

import contextlib
import json
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn

from psal_cli.benchmarks.machine import facts

SECONDS = 30  # for all settings together


@dataclass(frozen=True)
class Setting:
    """How a network is trained. dtype: of the convolutions ("float32" or "bfloat16"); channels_last: the memory format."""

    dtype: str
    channels_last: bool

    def autocast(self, device: str) -> contextlib.AbstractContextManager[object]:
        if self.dtype == "float32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(device).type, getattr(torch, self.dtype))

    def place(self, network: nn.Module, device: str) -> nn.Module:
        """Moves the network to the device, in the memory format."""
        format_ = torch.channels_last if self.channels_last else torch.contiguous_format
        return network.to(device, memory_format=format_)  # type: ignore[call-overload, no-any-return]


def fastest(
    network: nn.Module, loss: Callable[[nn.Module], Tensor], device: str, cache: Path, seconds: float = SECONDS
) -> Setting:
    """Measures steps of a copy of the network in each setting. Remembers the result for this processor and thread count.

    Args:
        loss: network -> the loss of one batch. cache: a JSON file, read and written.
        seconds: total time of measuring.
    """
    machine = facts("torch")["machine"]
    key = f"{machine['processor']}, {torch.get_num_threads()} threads, torch {torch.__version__}, {device}"
    known = json.loads(cache.read_text()) if cache.exists() else {}
    if key in known:
        return Setting(**known[key])
    settings = [Setting(*chosen) for chosen in product(("float32", "bfloat16"), (True, False))]
    if torch.device(device).type == "mps":
        settings = [setting for setting in settings if setting.dtype == "float32"]
    times = {setting: _seconds_of_a_step(setting, network, loss, device, seconds / len(settings)) for setting in settings}
    best = min(times, key=times.__getitem__)
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps(known | {key: asdict(best)}, indent=1) + "\n")
    return best


def _seconds_of_a_step(
    setting: Setting, network: nn.Module, loss: Callable[[nn.Module], Tensor], device: str, seconds: float
) -> float:
    """The shortest time of a step: other load only makes steps longer."""
    copy = setting.place(deepcopy(network), device)
    times: list[float] = []
    end = time.monotonic() + seconds
    while len(times) < 3 or time.monotonic() < end:  # the first step also sets up the kernels
        start = time.process_time() if device == "cpu" else time.monotonic()
        with setting.autocast(device):
            error = loss(copy)
        error.backward()  # type: ignore[no-untyped-call]
        copy.zero_grad()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append((time.process_time() if device == "cpu" else time.monotonic()) - start)
    return min(times[1:])
