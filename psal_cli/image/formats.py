"""The file formats: which are read, which extension asks for which, and what each can hold."""

from pathlib import Path

from psal_cli.errors import InputError

READS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
WRITES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}
NO_ALPHA = ("JPEG", "BMP")
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}


def check_format(path: Path) -> str:
    """The format that the output's extension asks for. Raises InputError when it is none that psal writes."""
    name = WRITES.get(path.suffix.lower())
    if name is None:
        asked = f"the extension {path.suffix}" if path.suffix else "no extension"
        raise InputError(f"{path} has {asked}: psal writes {', '.join(WRITES)}; name the output with -o")
    return name
