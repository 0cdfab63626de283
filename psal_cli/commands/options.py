"""Options that verbs share, each group a decorator, and what they mean."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from psal_cli.commands.arguments import Arguments
from psal_cli.errors import InputError, PsalError
from psal_cli.files import STDIO
from psal_cli.memory import parse_size

if TYPE_CHECKING:
    from psal_cli.image import Encoding

    Text = click.ParamType[str]
    Number = click.ParamType[int]
    Pair = click.ParamType[tuple[int, int]]
else:
    Text = Number = Pair = click.ParamType  # older versions of click have no generic one

Command = Callable[..., Any]  # a function that click makes a command of, or the command
Decorator = Callable[[Command], Command]
FORMATS = ("jpg", "png", "webp", "tif", "avif", "bmp", "heic", "jxl")
LONGEST = 65535  # pixels: the longest side that can be searched
PIXELS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


class File(Text):
    """The name of a file or folder. Whether it is one is found out when it is read, in the same words for every file."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return (
            str(value) if value else self.fail("the name is empty", param, ctx)
        )  # an unset variable of a script is not this folder

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


PICTURE = File()


class Suffix(Text):
    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if os.sep in value or "\0" in value:
            self.fail(f"{value!r} is no part of a name: it goes between name and extension", param, ctx)
        return str(value)


class Pixels(Number):
    name = "pixels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)", str(value).lower())
        number = round(float(found[1]) * PIXELS[found[2]]) if found else 0
        return number or self.fail(f"{value!r} is no number of pixels: e.g. 600M", param, ctx)


class Finite(click.FloatRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        return number if number == number else self.fail(f"{value} is no number", param, ctx)


class Device(Text):
    name = "auto|cpu|cuda[:N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value):
            return str(value)
        self.fail(f"{value!r} is no device: auto, cpu, cuda or cuda:N", param, ctx)


class Odd(click.IntRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = super().convert(value, param, ctx)
        if number % 2 == 0:
            self.fail(
                f"{number} is even: give an odd number, e.g. {number + 1 if number != self.max else number - 1}", param, ctx
            )
        return number


class Size(Pair):
    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(value).lower())
        size = (int(found[1]), int(found[2])) if found else (0, 0)
        if not all(0 < side <= LONGEST for side in size):
            self.fail(f"{value!r} is no size: width x height in pixels, e.g. 1024x512, each at most {LONGEST}", param, ctx)
        return size


def group(*options: Decorator) -> Decorator:
    def decorate(command: Command) -> Command:
        for option in reversed(options):  # the order of the list is that of --help
            command = option(command)
        return command

    return decorate


class Memory(Number):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_size(str(value))
        except InputError as error:
            self.fail(str(error), param, ctx)


input_options = group(
    click.argument("images", type=PICTURE, nargs=-1, metavar="IMAGE..."),
    click.option("-r", "--recursive", is_flag=True, help="Take the pictures in subfolders of folders too; the tree is kept."),
    click.option(
        "--from-file",
        type=PICTURE,
        multiple=True,
        help="A list of pictures, one a line or as find -print0 writes them; - is stdin.",
    ),
    click.option("--max-pixels", type=Pixels(), default="600M", show_default=True, help="Refuse larger pictures unopened."),
)

output_options = group(
    click.option(
        "-o",
        "--output",
        type=PICTURE,
        help="Where to write: a file, whose extension says the format; a folder, for several pictures; - is stdout.",
    ),
    click.option("--suffix", type=Suffix(), help="Put this between name and extension of the results, e.g. _clean."),
    click.option(
        "--format",
        type=click.Choice(FORMATS),
        help="The format on stdout, of all results in a folder, or of a result without extension.",
    ),
    click.option("--force", is_flag=True, help="Overwrite outputs that exist."),
    click.option("--skip-existing", is_flag=True, help="Leave out pictures whose output exists: results are always whole."),
    click.option(
        "--quality",
        type=click.IntRange(1, 100),
        help="Of lossy formats (default 95; of an input without loss, WebP, HEIC and JPEG XL lose nothing and AVIF has 100).",
    ),
    click.option("--compression", type=click.IntRange(0, 9), help="Effort for PNG (default 4) and TIFF (5), both lossless."),
    click.option("--background", metavar="COLOUR", help="Lay alpha over it where the format has none: white, #ff8800."),
    click.option("--strip-metadata", is_flag=True, help="Drop EXIF, XMP, IPTC, texts, resolution and the ICC profile."),
)

batch_options = group(
    click.option(
        "--keep-going/--fail-fast", default=True, show_default=True, help="After a failure: go on, or begin no further picture."
    ),
    click.option("--failed-list", type=PICTURE, help="Write the pictures that failed or were not reached, for --from-file."),
    click.option("--dry-run", is_flag=True, help="Print what would be done, with sizes, memory and seconds, and do nothing."),
    click.option(
        "--jobs",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        help="Read and write up to N - 1 pictures beside the work, each of which takes memory.",
    ),
)

mask_options = group(
    click.option(
        "--mask",
        type=PICTURE,
        help="Picture of the input's size: white = fill (from half on); or a layer painted in one colour on transparency. One "
        "for all; a folder with the inputs' tree and names; or a pattern with {stem}, {name} or {dir} of the input, such as "
        "{stem}_mask.png, which is beside it when no folder is named.",
    ),
    click.option("--if-masked", is_flag=True, help="Leave out pictures that have no --mask, instead of failing there."),
    click.option("--mask-invert", is_flag=True, help="Black = fill."),
    click.option("--dilate", type=click.IntRange(0, 10_000), default=0, metavar="PX", help="Grow the hole by PX pixels."),
    click.option(
        "--feather",
        type=click.IntRange(0, 10_000),
        default=0,
        metavar="PX",
        help="Let the fill fade into PX pixels around the hole: the only option that changes pixels outside it.",
    ),
)

search_options = group(
    click.option("--patch-size", type=Odd(3, 31), default=7, show_default=True, help="Side of the patches, odd, 3 to 31."),
    click.option("--iterations", type=click.IntRange(1, 1000), help="Rounds of search; default: chosen level by level."),
)

offsets_options = group(
    click.option(
        "--save-offsets",
        type=PICTURE,
        help="Also draw where what is at each pixel comes from, as a colour wheel with a legend; or, for a name that ends in "
        ".npy, write the offsets, int32 [k, 2, H, W], rows and columns (and the number of the reference, of several).",
    ),
    click.option("--arrows", is_flag=True, help="With --save-offsets: draw arrows instead, on the picture."),
)

seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Same seed, same result."
)

device_options = group(
    click.option(
        "--device",
        type=Device(),
        default="auto",
        show_default=True,
        metavar=Device.name,
        help="auto takes CUDA where it can be used.",
    ),
    click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads; default: as many as torch takes."),
    click.option(
        "--max-memory",
        type=Memory(),
        metavar="SIZE",
        help="Choose a plan that needs no more than e.g. 4G (of 1024s; 4GB: of 1000s), a picture at a time, or refuse.",
    ),
)

talk_options = group(
    click.option("--json", "as_json", is_flag=True, help="One line of JSON a picture on stdout."),
    click.option("-q", "--quiet", is_flag=True, help="Errors only."),
    click.option("-v", "--verbose", count=True, help="Say more; -vv: a traceback when something fails."),
)


def choose_device(name: str) -> tuple[str, str]:
    """The torch device for an option's value ("cpu" or "cuda:N") and why.

    Raises InputError when it cannot be had, PsalError when psal's own library does not load.
    """
    from psal_cli.native import cuda_architectures

    try:
        architectures = cuda_architectures()
    except (ImportError, OSError) as error:
        raise PsalError(f"psal's native library does not load ({error}): install psal anew with `pip install .`") from error
    if name == "cpu":
        return "cpu", "asked for"
    missing = _why_no_cuda() if architectures else "psal's library was built without CUDA"
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
    """What stands in torch's way to CUDA, or an empty string."""
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing driver: said in our line
        found = torch.cuda.is_available()
    return "" if found else "torch sees no CUDA device"


def set_threads(count: int | None) -> int:
    """Sets the CPU threads of torch, psal's library (which obeys torch) and OpenCV; returns how many are used."""
    import torch

    if count is not None:
        import cv2

        torch.set_num_threads(count)
        cv2.setNumThreads(count)
    return torch.get_num_threads()


def encoding(arguments: Arguments, path: Path, source: str) -> Encoding:
    """How `path`, the result, is written: psal_cli.image.Encoding. Its extension counts; where it has none, --format, and on
    stdout without that the input's format, `source`."""
    from psal_cli.image import Encoding

    name = None if path.suffix else arguments.format or (source.lower() if path == STDIO else None)
    return Encoding(arguments.quality, arguments.compression, arguments.background, arguments.strip_metadata, name)


def written_as(option: str, path: Path, format: str | None) -> str:
    """The format of a file that an option names, as Pillow names it, or, of --save-offsets, "NPY". format: of the result, where
    it is said. Raises InputError when it is none that psal writes there."""
    from psal_cli.image import check_format

    if option == "save_offsets" and path.suffix.lower() == ".npy":
        return "NPY"
    return check_format(path, format if option == "output" else None)
