"""Chooses the device for --device and sets the number of CPU threads."""

import warnings

from psal_cli.errors import InputError, PsalError


def choose_device(name: str) -> tuple[str, str]:
    """The torch device for an option's value ("cpu" or "cuda:N") and why.

    Raises InputError if it is not available, PsalError if psal's own library does not load.
    """
    from psal_cli import native

    try:
        native.library()
    except (ImportError, OSError) as error:
        raise PsalError(f"psal's native library does not load: {error}") from error
    if name == "cpu":
        return "cpu", "asked for"
    missing = _why_no_cuda()
    if name == "auto":
        return ("cpu", missing) if missing else ("cuda:0", "the first CUDA device")
    if missing:
        raise InputError(f"--device {name}: {missing}; --device cpu works everywhere")
    import torch

    index, count = int(name.partition(":")[2] or 0), torch.cuda.device_count()
    if index >= count:
        raise InputError(f"--device {name}: there are {count} CUDA devices, numbered from 0; --device cuda takes the first")
    return f"cuda:{index}", "asked for"


def _why_no_cuda() -> str:
    """Why psal or torch cannot use CUDA; empty if they can."""
    import torch

    from psal_cli import libraries, native

    try:
        if not native.cuda_architectures():
            return libraries.NO_CUDA
    except ImportError as error:
        return str(error)
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing driver, which our message covers
        available = torch.cuda.is_available()
    return "" if available else "torch sees no CUDA device"


def set_threads(count: int | None) -> int:
    """Sets the CPU threads of torch, psal's library (which obeys torch) and OpenCV; returns how many are used."""
    import torch

    if count is not None:
        import cv2

        torch.set_num_threads(count)
        cv2.setNumThreads(count)
    return torch.get_num_threads()
