"""Options that verbs share, a decorator for each group."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from psal_cli.commands.arguments import Arguments
from psal_cli.commands.parameters import FILE, LIST, PICTURE, RESULT, Cluster, Device, Memory, Pixels, Shards, Suffix
from psal_cli.commands.ranges import IntRange, Odd
from psal_cli.files import STDIO

if TYPE_CHECKING:
    from psal_cli.image import Encoding

Command = Callable[..., object]  # a function that becomes a click command, or the command
Decorator = Callable[[Command], Command]
FORMATS = ("jpg", "png", "webp", "tif", "avif", "bmp", "heic", "jxl", "exr")


def group(*options: Decorator) -> Decorator:
    def decorate(command: Command) -> Command:
        for option in reversed(options):  # in the order of --help
            command = option(command)
        return command

    return decorate


input_options = group(
    click.argument("images", type=PICTURE, nargs=-1, metavar="IMAGE..."),
    click.option(
        "-r", "--recursive", is_flag=True, help="Read the subfolders of folders too. The output folder gets the same tree."
    ),
    click.option(
        "--from-file",
        type=FILE,
        multiple=True,
        help="Read names of pictures from FILE, one per line or as find -print0 writes them; - is stdin.",
    ),
    click.option(
        "--max-pixels", type=Pixels(), default="600M", show_default=True, help="Refuse larger pictures without decoding them."
    ),
)

output_options = group(
    click.option(
        "-o",
        "--output",
        type=RESULT,
        help="Where to write: a file, whose extension sets the format; a folder, for several pictures; or - for stdout.",
    ),
    click.option("--suffix", type=Suffix(), help="Insert TEXT between the name and the extension of results, e.g. _clean."),
    click.option(
        "--format",
        type=click.Choice(FORMATS),
        help="The format on stdout, of all results in a folder, or of a result without an extension.",
    ),
    click.option("--force", is_flag=True, help="Overwrite existing files."),
    click.option("--skip-existing", is_flag=True, help="Skip pictures whose result exists. A result is never half-written."),
    click.option(
        "--quality",
        type=IntRange(1, 100),
        help="Quality of lossy formats. Default: 95; after a lossless input, WebP, HEIC and JPEG XL are "
        "lossless and AVIF has 100.",
    ),
    click.option(
        "--compression",
        type=IntRange(0, 9),
        help="Compression effort for PNG (default: 4) and TIFF (default: 5). Both are lossless.",
    ),
    click.option(
        "--background",
        metavar="COLOUR",
        help="Put this colour behind transparent pixels if the format has no alpha: white, #ff8800.",
    ),
    click.option("--strip-metadata", is_flag=True, help="Drop EXIF, XMP, IPTC, text, resolution and the ICC profile."),
)

batch_options = group(
    click.option(
        "--keep-going/--fail-fast",
        default=True,
        show_default=True,
        help="After a picture has failed, go on with the others or stop.",
    ),
    click.option(
        "--failed-list", type=LIST, help="Write the names of pictures that failed or were not reached, for --from-file."
    ),
    click.option(
        "--report",
        type=LIST,
        help="Add a line of JSON for each picture to FILE, as --json prints them, for psal batch merge. {shard} in the name is "
        "replaced, e.g. by 03of12.",
    ),
    click.option("--dry-run", is_flag=True, help="Print what would be done, with sizes, memory and seconds, and change nothing."),
    click.option(
        "--jobs",
        type=IntRange(1, 64),
        default=1,
        show_default=True,
        help="Read and write up to N - 1 pictures in the background. Each of them takes memory.",
    ),
    click.option(
        "--shard",
        type=Shards(),
        help="Work on part I of N only, on one of many machines. Each picture is in exactly one part, chosen by a hash of its "
        "path below the folder. auto takes I and N from a SLURM array, an AWS Batch array job or a Kubernetes indexed job.",
    ),
    click.option(
        "--cluster",
        type=Cluster(),
        metavar="ADDRESS",
        help="Work on a Dask cluster: the address of its scheduler, e.g. tcp://host:8786, or local:N for N processes on this "
        "machine. All machines must see the files under the same names.",
    ),
)

mask_options = group(
    click.option(
        "--mask",
        type=PICTURE,
        help="Picture of the input's size in which white marks what to fill (a grey above half counts as white), or a layer "
        "painted in one colour on transparency. One file for all pictures; a folder with the tree and names of the inputs; or "
        "a pattern with {stem}, {name} or {dir} of the input, such as {stem}_mask.png. A pattern without a folder is looked up "
        "beside the input.",
    ),
    click.option(
        "--mask-layer",
        metavar="NAME",
        help="The layer of --mask that is the mask: a layer mask, a layer or a saved selection of a PSD file, or the name or "
        "number of a page of a TIFF file. Default: the only mask of a PSD file, the first page of a TIFF file.",
    ),
    click.option("--if-masked", is_flag=True, help="Leave out pictures that have no --mask, instead of failing there."),
    click.option("--mask-invert", is_flag=True, help="Fill what is black instead."),
    click.option("--dilate", type=IntRange(0, 10_000), default=0, metavar="PX", help="Grow the hole by PX pixels."),
    click.option(
        "--feather",
        type=IntRange(0, 10_000),
        default=0,
        metavar="PX",
        help="Blend the fill into PX pixels around the hole. No other option changes pixels outside it.",
    ),
)

search_options = group(
    click.option("--patch-size", type=Odd(3, 31), default=7, show_default=True, help="Side of the patches, an odd number."),
    click.option("--iterations", type=IntRange(1, 1000), help="Rounds of search. Default: chosen for each level."),
)

offsets_options = group(
    click.option(
        "--save-offsets",
        type=RESULT,
        help="Also draw where each pixel was copied from, as colours with a legend. If FILE ends in .npy, write the offsets "
        "instead: int32 [k, 2, H, W], rows and columns (and the number of the reference, if there are several).",
    ),
    click.option("--arrows", is_flag=True, help="With --save-offsets: draw arrows on the picture instead."),
)

seed_option = click.option(
    "--seed",
    type=IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the random numbers. The same seed gives the same result.",
)

device_options = group(
    click.option(
        "--device",
        type=Device(),
        default="auto",
        show_default=True,
        help="auto, cpu, cuda or cuda:N. auto uses CUDA if it works.",
    ),
    click.option("--threads", type=IntRange(1, 1024), help="CPU threads. Default: chosen by torch."),
    click.option(
        "--max-memory",
        type=Memory(),
        metavar="SIZE",
        help="Use no more memory than SIZE, e.g. 4G (powers of 1024) or 4GB (of 1000). psal then works on one picture at a "
        "time, with a smaller plan if needed, or refuses.",
    ),
)

talk_options = group(
    click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per picture on stdout."),
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
    click.option("-v", "--verbose", count=True, help="Print more. -vv adds a traceback when something fails."),
)


def encoding(arguments: Arguments, path: Path, source: str) -> Encoding:
    """How the result `path` is written. The format is that of its extension, or else --format, or else, on stdout, the input's
    (`source`)."""
    from psal_cli.image import Encoding

    name = None if path.suffix else arguments.format or (source.lower() if path == STDIO else None)
    return Encoding(arguments.quality, arguments.compression, arguments.background, arguments.strip_metadata, name)


def written_as(option: str, path: Path, format: str | None) -> str:
    """Pillow's name for the format of a file that an option names, or "NPY" for --save-offsets. format: --format, for the result.
    Raises InputError for a format that psal does not write there."""
    from psal_cli.image import check_format

    if option == "save_offsets" and path.suffix.lower() == ".npy":
        return "NPY"
    return check_format(path, format if option == "output" else None)
