"""`psal inpaint`: fill the masked part of a picture."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click

from psal_cli.commands import options
from psal_cli.commands.talk import Talk
from psal_cli.errors import InputError

EXAMPLE = "psal inpaint examples/dandelions.jpg --mask examples/dandelions_mask.png -o clean.jpg"


@click.command(short_help="Remove something from a photograph.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@click.argument("image", type=options.PICTURE)
@options.mask_options
@options.output_options
@click.option(
    "--engine", type=click.Choice(["patch"]), default="patch", show_default=True, help="patch: copies patches, untrained."
)
@click.option("--source-mask", type=options.PICTURE, help="Picture of the input's size: white = may be copied from.")
@options.search_options
@click.option("--no-blend", is_flag=True, help="Leave the light of the copied pixels as it is.")
@options.device_options
@click.option("--save-offsets", type=options.PICTURE, help="Also draw where each pixel was copied from, as a colour wheel.")
@click.option("--compare", type=options.PICTURE, help="Also write input, mask and result side by side.")
@options.talk_options
def inpaint(**chosen) -> None:
    """Fill the masked part of IMAGE with what fits from the rest of it, at full resolution.

    Writes IMAGE_inpainted beside IMAGE, or OUTPUT. Pixels outside the mask stay bit for bit (JPEG and lossy WebP then
    encode the whole picture again). Orientation, ICC profile, EXIF, XMP and alpha are kept. An empty mask copies the
    input.
    """
    want = SimpleNamespace(**chosen)
    with Talk(want.quiet, want.verbose, want.as_json) as talk:
        want.device, why = options.choose_device(want.device)
        threads = options.set_threads(want.threads)
        talk.detail(f"device {want.device} ({why}), {threads} CPU threads")
        _one(want, want.image, want.output or default_output(want.image), talk)


def default_output(image: Path) -> Path:
    return image.parent / f"{image.stem}_inpainted{image.suffix}"


def _one(want: SimpleNamespace, path: Path, target: Path, talk: Talk) -> None:
    """One picture from file to file. Raises PsalError."""
    record = {"input": str(path), "output": str(target), "seed": want.seed, "engine": want.engine, "device": want.device}
    with talk.report(record | {"sha256": None}) as record:
        for output in _outputs(want, path, target):
            _check(output, want.force)
        record["status"] = _fill(want, path, target, talk)
        with target.open("rb") as file:
            record["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    talk.say(f"{target}: {record['status']} in {record['seconds']:.1f} s")


def _outputs(want: SimpleNamespace, path: Path, target: Path) -> Iterator[Path]:
    """The paths to be written; raises InputError for one that is another output or an input besides the picture."""
    used = {os.path.realpath(file): "an input" for file in (want.mask, want.source_mask) if file}
    for output in (target, want.save_offsets, want.compare):
        if output is None:
            continue
        place = os.path.realpath(output)
        if place in used:
            raise InputError(f"{output} is {used[place]} of the same command: give another name")
        used |= {place: "another output", os.path.realpath(path): "an input"}  # only the result may replace the picture
        yield output


def _check(output: Path, force: bool) -> None:
    from psal_cli.files import check_output
    from psal_cli.image import check_format

    check_format(output)
    check_output(output, force)


def _fill(want: SimpleNamespace, path: Path, target: Path, talk: Talk) -> str:
    """Reads, fills and writes; returns the status for the report."""
    from psal_cli.image import check_holds, read_mask, read_picture, write_picture

    picture = read_picture(path)
    check_holds(picture, target)
    mask = read_mask(want.mask, picture.size, want.mask_invert, want.dilate, want.feather)
    source = _source(want, picture)
    if not mask.hole.any():
        talk.say(f"{want.mask} marks nothing to fill (white = fill): {path} is copied, no offsets or comparison are written")
        _copy(want, picture, path, target)
        return "copied"
    talk.detail(f"{path}: {picture.format}, {picture.size[0]}x{picture.size[1]}, {mask.hole.sum()} pixels to fill")
    with talk.progress(path.name) as progress:
        filled = _inpaint(want, path, picture, mask.hole, source, progress)
    result = picture.replaced(filled.image, mask.hole, mask.soft)
    write_picture(result, target, want.force, want.quality)
    _write_about(want, picture, mask.hole, filled.nnf, result)
    return "done"


def _source(want: SimpleNamespace, picture):
    """bool [H, W], what may be copied from, or None for everything: --source-mask, less what is wholly transparent."""
    from psal_cli.image import read_region

    source = None
    if want.source_mask:
        source = read_region(want.source_mask, picture.size)
        if not source.any():
            raise InputError(f"{want.source_mask} allows nothing to be copied from: paint white what may be")
    if picture.alpha is not None and not picture.alpha.all():
        visible = picture.alpha > 0
        source = visible if source is None else source & visible
    return source


def _copy(want: SimpleNamespace, picture, path: Path, target: Path) -> None:
    from psal_cli.files import copy_file
    from psal_cli.image import check_format, write_picture

    if picture.format == check_format(target) and want.quality is None:
        copy_file(path, target, want.force)
    else:
        write_picture(picture, target, want.force, want.quality)


def _inpaint(want: SimpleNamespace, path: Path, picture, hole, source, progress):
    """The library call. Raises InputError for what the engine refuses."""
    import torch

    from psal_cli.tasks.inpaint import inpaint as fill

    def on_device(region):
        return None if region is None else torch.from_numpy(region).to(want.device)

    try:
        return fill(
            picture.tensor().to(want.device),
            on_device(hole),
            source_mask=on_device(source),
            patch_size=want.patch_size,
            iterations=want.iterations,
            seed=want.seed,
            blend=not want.no_blend,
            progress=progress,
        )
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _write_about(want: SimpleNamespace, picture, hole, nnf, result) -> None:
    if not (want.save_offsets or want.compare):
        return
    from psal_cli.drawing import offset_wheel, side_by_side
    from psal_cli.image import write_picture

    if want.save_offsets:
        write_picture(offset_wheel(nnf.cpu().numpy(), hole, picture), want.save_offsets, want.force)
    if want.compare:
        write_picture(side_by_side(picture, hole, result), want.compare, want.force)
