"""How the native operations become torch operators."""

from collections.abc import Callable
from functools import partial
from typing import NoReturn, Protocol, TypeVar

import torch
from torch import Tensor

Kernel = TypeVar("Kernel", bound=Callable[..., object])


class Context(Protocol):
    """The context that torch passes to both functions of a gradient; the first saves in it what the second needs."""

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]: ...

    @property
    def needs_input_grad(self) -> tuple[bool, ...]: ...

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...

    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...


def operator(name: str, differentiable: bool = False) -> Callable[[Kernel], Kernel]:
    """Registers a function, whose type hints are the schema, as torch.ops.psal.<name> on the CPU and on CUDA.

    One that is differentiable gets its gradient with torch.library.register_autograd; through another, backward is refused.
    torch.library.custom_op does the same, but its first call imports torch._dynamo: a second and 70 MB of every `psal` run.
    """

    def register(function: Kernel) -> Kernel:
        full = f"psal::{name}"
        torch.library.define(full, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(full, ("cpu", "cuda"), function)
        if not differentiable:
            torch.library.register_autograd(full, partial(_refuse, full))
        return function

    return register


def _refuse(name: str, ctx: Context, *grads: Tensor) -> NoReturn:
    raise RuntimeError(f"{name} has no autograd formula: it is not differentiable")


def fake(name: str) -> Callable[[Kernel], Kernel]:
    """Registers a function as the fake kernel of psal::<name>: what shape and dtype it returns, for torch.compile."""
    register: Callable[[Kernel], Kernel] = torch.library.register_fake(f"psal::{name}")
    return register
