"""The options of a run as JSON: in stroke files and in requests of the page of `psal paint`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from psal_cli.errors import InvalidValueError
from psal_cli.foreign import folder
from psal_cli.verbs.inpaint.options import InpaintOptions
from psal_cli.verbs.validation import whole, within

MOST_FEATHER = 10_000  # pixels


@dataclass(frozen=True)
class Recorded:
    """The checked record of a run. options: with device "cpu"; feather: pixels of a soft edge.

    A painter is recorded by its name in the user's model folder. No record can name another file, which might carry code.
    """

    options: InpaintOptions
    feather: int = 0


def recorded(record: Mapping[str, object]) -> Recorded:
    """Reads the options in a record; all others keep their defaults.

    Raises:
        InvalidValueError: a value of another type, or out of range.
        InputError: the model folder holds no painter of that name.

    Example:
        >>> recorded({"engine": "patch", "seed": 3, "feather": 2}).options.seed
        3
    """
    feather = whole(record, "feather", 0)
    within("feather", feather, 0, MOST_FEATHER)
    iterations = None if record.get("iterations") is None else whole(record, "iterations", 1)
    engine, attention = _name(record, "engine", InpaintOptions.engine), _name(record, "attention", InpaintOptions.attention)
    painter, blend = record.get("painter"), record.get("blend", True)
    if not isinstance(blend, bool):
        raise InvalidValueError("blend", repr(blend), "true or false")
    options = InpaintOptions(
        engine=engine,
        attention=attention,
        painter=None if painter is None else str(folder.named(_name(record, "painter", ""))),
        patch_size=whole(record, "patch_size", InpaintOptions.patch_size),
        iterations=iterations,
        blend=blend,
        seed=whole(record, "seed", 0),
    )
    return Recorded(options, feather)


def record_of(run: Recorded) -> dict[str, object]:
    """The record that `recorded` reads."""
    own = run.options
    network = {} if own.painter is None else {"painter": Path(str(own.painter)).name}
    return {
        "engine": own.engine,
        "attention": own.attention,
        **network,
        "patch_size": own.patch_size,
        "iterations": own.iterations,
        "blend": own.blend,
        "seed": own.seed,
        "feather": run.feather,
    }


def _name(record: Mapping[str, object], name: str, default: str) -> str:
    value = record.get(name, default)
    if not isinstance(value, str):
        raise InvalidValueError(name, repr(value), "a name")
    return value
