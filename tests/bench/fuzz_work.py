"""What psal makes of one damaged file: run in a worker of fuzz_files.py, which ends it when it hangs."""

import logging
import os
import random
import resource
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

import fuzz_mutations
import fuzz_seeds
from fuzz_mutations import EXR

LIMIT = 10  # seconds
MAX_PIXELS = 50_000_000  # a header that claims more is refused: else an honest decoder may take longer than the limit
LARGEST = 500_000  # pixels of pictures that are written again
ADDRESSES = 16 << 30  # bytes: what a worker may ask for, so that a mistake does not take the machine down
SUFFIXES = (".png", ".tif", ".jpg", ".webp", ".bmp", ".avif", ".heic", ".jxl", ".exr")
OWN_LINES = ("<Python Stream>: ", "ojph ")  # of the OpenEXR library and its decoder of JPEG 2000, on stderr, before psal's line
PSAL = "import sys; from psal_cli.commands import main; sys.argv[0] = 'psal'; main()"


class Case(NamedTuple):
    """name: of the file, with what is in it; damage: how it was damaged; role: what the command takes it for; suffix: of what
    is written."""

    name: str
    data: bytes
    damage: str
    role: str
    suffix: str


class Seeds:
    """The valid files; made in the parent and in each worker alike."""

    def __init__(self):
        self.pictures, self.masks = fuzz_seeds.pictures(), fuzz_seeds.masks()

    def case(self, seed: int, part: str, number: int) -> Case:
        rng = random.Random(f"{seed} {part} {number}")
        role = "picture" if part == "library" else rng.choices(("picture", "mask", "source-mask"), (6, 3, 1))[0]
        suffix = rng.choice(SUFFIXES)
        files = self.masks if role != "picture" or rng.random() < 0.15 else self.pictures
        name, kind = rng.choice(list(files)), rng.random()
        if kind < 0.02:
            other = rng.choice(list(fuzz_seeds.NOT_PICTURES))
            return Case(f"{other}{Path(name).suffix}", fuzz_seeds.NOT_PICTURES[other], "no picture", role, suffix)
        if kind < 0.2 and role == "picture":
            return Case(*self.damaged_metadata(rng), role, suffix)
        alike = [other for other in files if Path(other).suffix == Path(name).suffix] if rng.random() < 0.8 else list(files)
        return Case(name, *fuzz_mutations.mutated(rng, files[name], files[rng.choice(alike)]), role, suffix)

    def damaged_metadata(self, rng: random.Random) -> tuple[str, bytes, str]:
        """(name, content, damage) of a valid file with one block of metadata damaged."""
        blocks = {"exif": fuzz_seeds.exif_block(rng.randrange(10)), "icc": fuzz_seeds.SRGB, "xmp": fuzz_seeds.XMP}
        kind = rng.choices(list(blocks), (3, 2, 1))[0]
        start = blocks[kind][:6] if kind == "exif" else b""  # kept, else no one would take it for EXIF
        changed, damage = fuzz_mutations.mutated(rng, blocks[kind][len(start) :], self.pictures["metadata.tif"])
        blocks[kind] = (start + changed)[:60_000]
        name = rng.choice(("metadata.jpg", "metadata.png", "metadata.webp", "metadata.tif"))
        return name, fuzz_seeds.with_metadata(name, **blocks), f"{kind}: {damage}"


def worker(pipe, folder: Path) -> None:
    """Answers (part, Case) with {"outcome", "failures", "peak_mb"} until told to end with None."""
    stderr = folder / "stderr"
    handle = os.open(stderr, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 2)  # what C libraries print arrives here too
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    logging.getLogger("psal_cli").addHandler(logging.NullHandler())
    logging.getLogger("psal_cli").propagate = False
    masks = fuzz_seeds.masks()
    for part, case in iter(pipe.recv, None):
        place = folder / "place"
        place.mkdir()
        failures: list[str] = []
        try:
            if part == "library":
                outcome = in_library(case, place, failures)
            else:
                outcome = in_command(case, place, failures, stderr, masks["grey.png"], part == "process")
            if printed := without_own_lines(stderr.read_text(errors="replace"), case):
                failures.append(f"printed on stderr: {printed[:500]}")
        except Exception:
            outcome = "failed"
            failures.append(traceback.format_exc(limit=-6))
        shutil.rmtree(place)
        os.truncate(stderr, 0)
        pipe.send({"outcome": outcome, "failures": failures, "peak_mb": peak_mb()})


def peak_mb() -> int:
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024


def in_library(case: Case, place: Path, failures: list[str]) -> str:
    """Reads a file as header, picture, region and mask; what was read is written and read again. "read" or "refused"."""
    from psal_cli.image import read_header, read_mask, read_picture, read_region

    path = place / case.name
    path.write_bytes(case.data)
    limit = {"max_pixels": MAX_PIXELS}
    header, picture = attempt(failures, path, read_header, **limit), attempt(failures, path, read_picture, **limit)
    size = (header.width, header.height) if header else (fuzz_seeds.WIDTH, fuzz_seeds.HEIGHT)
    attempt(failures, path, read_region, size, **limit)
    attempt(failures, path, read_mask, size, dilate=1, feather=1, **limit)
    if picture:
        says = (*picture.size, picture.pixels.shape[2], 8 * picture.pixels.itemsize, picture.alpha is not None)
        if header is None or header[1:] != says:
            failures.append(f"read_header says {header}, the picture is {says}")
        if picture.size[0] * picture.size[1] <= LARGEST:
            write_again(picture, place / f"again{case.suffix}", failures)
    if left := {file.name for file in place.iterdir()} - {case.name, f"again{case.suffix}"}:
        failures.append(f"left behind: {left}")
    return "read" if picture else "refused"


def attempt(failures: list[str], path: Path, function, *arguments, **options):
    """function(path, ...), None where it is refused."""
    from psal_cli.errors import InputError

    try:
        return function(path, *arguments, **options)
    except InputError as error:
        if path.name not in str(error) or "\n" in str(error):
            failures.append(f"{function.__name__}: does not name the file on one line: {error!r}")
    except BaseException:
        failures.append(f"{function.__name__}: {traceback.format_exc(limit=-6)}")
    return None


def write_again(picture, path: Path, failures: list[str]) -> None:
    from psal_cli.image import Encoding, read_picture, write_picture

    encoding = Encoding(background="white") if path.suffix in (".jpg", ".bmp") else Encoding()
    attempt(failures, path, lambda path: write_picture(picture, path, encoding=encoding))
    if not path.exists():
        return
    again = attempt(failures, path, read_picture)
    exact = (".tif",) if picture.pixels.dtype.kind == "f" else (".png", ".tif")
    if again is None or again.size != picture.size:
        failures.append(f"{path.name} was written and is not read as such: {again and again.size}")
    elif path.suffix in exact and again.pixels.tobytes() != picture.pixels.tobytes():
        failures.append(f"{path.name} has other pixels than were written")


def in_command(case: Case, place: Path, failures: list[str], stderr: Path, mask: bytes, process: bool) -> str:
    """Runs `psal inpaint` with the damaged file in its role. "done" or "refused"."""
    names = {role: f"{role}.png" for role in ("picture", "mask", "source-mask")} | {case.role: case.name}
    files = {names["picture"]: fuzz_seeds.good_picture(), names["mask"]: mask} | {case.name: case.data}
    for name, data in files.items():
        (place / name).write_bytes(data)
    output = place / f"out{case.suffix}"
    arguments = ["inpaint", str(place / names["picture"]), "--mask", str(place / names["mask"]), "-o", str(output)]
    arguments += ["--max-pixels", str(MAX_PIXELS)]
    arguments += ["--source-mask", str(place / case.name)] if case.role == "source-mask" else []
    arguments += ["--background", "white"] if case.suffix in (".jpg", ".bmp") else []
    code, said, printed = run_process(arguments) if process else run_here(arguments, stderr)
    if code not in (0, 2):
        failures.append(f"exit code {code}")
    said = without_own_lines(said, case)
    if "Traceback" in said or not all(line.startswith("psal: ") for line in said.splitlines()):
        failures.append(f"said on stderr: {said[:2000]}")
    if printed:
        failures.append(f"printed on stdout: {printed[:200]}")
    if code == 2 and not any(name in said for name in files):
        failures.append(f"names no file: {said[:500]}")
    if (code == 0) != output.exists():
        failures.append(f"exit code {code}, but output {'exists' if output.exists() else 'is missing'}")
    if output.exists():
        from psal_cli.image import read_picture

        attempt(failures, output, read_picture)
    if left := {file.name for file in place.iterdir()} - {*files, output.name}:
        failures.append(f"left behind: {left}")
    return "done" if code == 0 else "refused"


def without_own_lines(said: str, case: Case) -> str:
    """What was said on stderr, less what the OpenEXR library says there of a damaged file, as the guide to formats warns."""
    lines = said.splitlines(True)
    return "".join(line for line in lines if not (case.data.startswith(EXR) and line.startswith(OWN_LINES)))


def run_here(arguments: list[str], stderr: Path) -> tuple[int, str, str]:
    """(exit code, stderr, stdout) of the command in this process."""
    import contextlib
    import io

    from psal_cli.commands import main

    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            main(arguments)
        code = 0
    except SystemExit as stop:
        code = stop.code
    sys.stderr.flush()
    said = stderr.read_text(errors="replace")
    os.truncate(stderr, 0)
    return code, said, printed.getvalue()


def run_process(arguments: list[str]) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-P", "-c", PSAL, *arguments], capture_output=True, text=True, errors="replace")
    return done.returncode, done.stderr, done.stdout
