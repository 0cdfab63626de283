"""Checks of arguments. Each function raises ValueError with the offending value and the expected one."""

from collections.abc import Sequence

from torch import Tensor

from psal_cli.native import DTYPES, SCHEDULES

SIMILARITIES = ("l2", "dot", "cosine", "key_cosine")
MAX_SIDE = 65535  # a match is packed into 16 bits for the row and 16 for the column


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _dtype(name: str, x: Tensor) -> None:
    allowed = ", ".join(str(d).removeprefix("torch.") for d in DTYPES)
    _require(x.dtype in DTYPES, f"{name} is {x.dtype}, expected one of {allowed}")


def _device(x: Tensor) -> None:
    _require(x.device.type in ("cpu", "cuda"), f"tensors are on {x.device}, expected cpu or cuda")


def features(query: Tensor, key: Tensor) -> None:
    for name, x in (("query", query), ("key", key)):
        _require(x.ndim == 4, f"{name} has shape {list(x.shape)}, expected [B, C, H, W]")
        _require(x.numel() > 0, f"{name} has shape {list(x.shape)}, expected no empty dimension")
        _require(max(x.shape[2:]) <= MAX_SIDE, f"{name} is {x.shape[3]}x{x.shape[2]}, expected sides up to {MAX_SIDE}")
    _dtype("query", query)
    _require(query.shape[0] == key.shape[0], f"query has batch {query.shape[0]}, key has {key.shape[0]}: expected the same")
    _require(query.shape[1] == key.shape[1], f"query has {query.shape[1]} channels, key has {key.shape[1]}: expected the same")
    _require(query.dtype == key.dtype, f"query is {query.dtype}, key is {key.dtype}: expected the same dtype")
    _require(query.device == key.device, f"query is on {query.device}, key is on {key.device}: expected the same device")
    _device(query)


def patch(patch_size: int, similarity: str) -> None:
    _require(1 <= patch_size <= 31 and patch_size % 2 == 1, f"patch_size is {patch_size}, expected an odd number from 1 to 31")
    _require(similarity in SIMILARITIES, f"similarity is {similarity!r}, expected one of {', '.join(SIMILARITIES)}")


def search(query: Tensor, key: Tensor, patch_size: int, k: int, iterations: int, similarity: str, schedule: str) -> None:
    patch(patch_size, similarity)
    height, width = key.shape[2:]
    _require(min(height, width) >= patch_size, f"patch_size is {patch_size}, larger than the key ({width}x{height})")
    _require(1 <= k <= 64, f"k is {k}, expected 1 to 64")
    keys = (height - patch_size + 1) * (width - patch_size + 1)
    _require(k <= keys, f"k is {k}, but a {width}x{height} key has only {keys} whole patches of size {patch_size}")
    _require(0 <= iterations <= 1000, f"iterations is {iterations}, expected 0 to 1000")
    _require(schedule in SCHEDULES, f"schedule is {schedule!r}, expected one of {', '.join(SCHEDULES)}")
    _require(not (query.is_cuda and schedule == "scan"), 'schedule "scan" runs on the CPU only, expected "jump-flood" on CUDA')


def masks(query: Tensor, key: Tensor, query_mask: Tensor | None, key_mask: Tensor | None) -> None:
    for name, mask, x in (("query_mask", query_mask, query), ("key_mask", key_mask, key)):
        if mask is None:
            continue
        expected = [x.shape[0], *x.shape[2:]]
        _require(list(mask.shape) == expected, f"{name} has shape {list(mask.shape)}, expected {expected}")
        _require(str(mask.dtype) == "torch.bool", f"{name} is {mask.dtype}, expected torch.bool")
        _require(mask.device == x.device, f"{name} is on {mask.device}, expected {x.device}")


def enough_keys(key_rows: Tensor, k: int) -> None:
    fewest = int(key_rows[:, -1].min())
    _require(fewest > 0, "key_mask leaves no valid key: no patch lies whole inside it")
    _require(k <= fewest, f"k is {k}, but key_mask leaves only {fewest} valid keys")


def init(query: Tensor, k: int, field: Tensor | None) -> None:
    if field is None:
        return
    expected = [query.shape[0], k, 2, *query.shape[2:]]
    _require(list(field.shape) == expected, f"init has shape {list(field.shape)}, expected {expected}")
    _require(str(field.dtype) == "torch.int32", f"init is {field.dtype}, expected torch.int32")
    _require(field.device == query.device, f"init is on {field.device}, expected {query.device}")


def nnf(query: Tensor, field: Tensor) -> None:
    shape = list(field.shape)
    expected = [query.shape[0], "k", 2, *query.shape[2:]]
    _require(
        field.ndim == 5 and [shape[0], *shape[2:]] == [expected[0], *expected[2:]], f"nnf has shape {shape}, expected {expected}"
    )
    _require(str(field.dtype) == "torch.int32", f"nnf is {field.dtype}, expected torch.int32")
    _require(field.device == query.device, f"nnf is on {field.device}, expected {query.device}")


def inside_key(field: Tensor, key_size: Sequence[int]) -> None:
    """Checks a field on CUDA; on the CPU the library does."""
    row, column = field.unbind(2)
    height, width = key_size
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    outside = ~(inside | ((row == -1) & (column == -1)))
    if bool(outside.any()):
        at = outside.nonzero()[0]
        first = tuple(int(plane[tuple(at)]) for plane in (row, column))
        bounds = f"(0, 0) to ({height - 1}, {width - 1}), or (-1, -1) where there is no match"
        raise ValueError(f"nnf holds (row, column) = {first}, expected {bounds}")


def value(key: Tensor, value: Tensor, value_scale: int) -> None:
    _require(value.ndim == 4, f"value has shape {list(value.shape)}, expected [B, C, H, W]")
    (height, width), (key_height, key_width) = value.shape[2:], key.shape[2:]
    expected = (value_scale * key_height, value_scale * key_width)
    why = f"the key is {key_width}x{key_height}, value_scale {value_scale}"
    _require((height, width) == expected, f"value is {width}x{height}, expected {expected[1]}x{expected[0]}: {why}")


def aggregate(value: Tensor, field: Tensor, weight: Tensor, patch_size: int, value_scale: int) -> None:
    patch(patch_size, "l2")
    _require(value.ndim == 4, f"value has shape {list(value.shape)}, expected [B, C, H, W]")
    _dtype("value", value)
    _device(value)
    _require(field.ndim == 5 and field.shape[2] == 2, f"nnf has shape {list(field.shape)}, expected [B, k, 2, H, W]")
    _require(str(field.dtype) == "torch.int32", f"nnf is {field.dtype}, expected torch.int32")
    expected = [field.shape[0], field.shape[1], *field.shape[3:]]
    _require(list(weight.shape) == expected, f"weight has shape {list(weight.shape)}, expected {expected}")
    term = "torch.float64" if str(value.dtype) == "torch.float64" else "torch.float32"
    _require(str(weight.dtype) == term, f"weight is {weight.dtype}, expected {term} with a {value.dtype} value")
    _require(value.shape[0] == field.shape[0], f"value has batch {value.shape[0]}, nnf has {field.shape[0]}: expected the same")
    devices = f"{value.device}, {field.device} and {weight.device}"
    _require(value.device == field.device == weight.device, f"value, nnf and weight are on {devices}: expected one device")
    _require(value_scale in (1, 2, 3, 4), f"value_scale is {value_scale}, expected 1, 2, 3 or 4")
    height, width = value.shape[2:]
    divisible = height % value_scale == 0 and width % value_scale == 0
    _require(divisible, f"value is {width}x{height}, expected sides that are multiples of value_scale {value_scale}")


def dense_attention(
    query: Tensor, key: Tensor, value: Tensor, patch_size: int, similarity: str = "dot", temperature: float = 1.0
) -> None:
    """Checks the arguments of the layers that PSAL is compared with."""
    features(query, key)
    patch(patch_size, similarity)
    _require(str(query.dtype) in ("torch.float32", "torch.float64"), f"query is {query.dtype}, expected float32 or float64")
    _require(similarity in ("l2", "dot"), f"similarity is {similarity!r}, expected l2 or dot")
    _require(temperature > 0, f"temperature is {temperature}, expected a number above 0")
    _require(value.ndim == 4, f"value has shape {list(value.shape)}, expected [B, C, H, W]")
    _require(value.shape[2:] == key.shape[2:], f"value is {value.shape[3]}x{value.shape[2]}, expected the size of the key")
    _require(value.shape[0] == key.shape[0], f"value has batch {value.shape[0]}, key has {key.shape[0]}: expected the same")
    _require(value.dtype == key.dtype, f"value is {value.dtype}, key is {key.dtype}: expected the same dtype")
    height, width = key.shape[2:]
    _require(min(height, width) >= patch_size, f"patch_size is {patch_size}, larger than the key ({width}x{height})")


def same_size(query: Tensor, key: Tensor) -> None:
    """For a window around each place."""
    sizes = f"query is {query.shape[3]}x{query.shape[2]}, key is {key.shape[3]}x{key.shape[2]}"
    _require(query.shape == key.shape, f"{sizes}: expected the same, for a window around each place")


def window(window: int, patch_size: int) -> None:
    expected = f"expected an odd number, at least patch_size {patch_size}"
    _require(window % 2 == 1 and window >= patch_size, f"window is {window}, {expected}")
