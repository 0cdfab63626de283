"""How a file codes its pixels: with or without loss, and with how many bits."""

from typing import IO

from PIL import Image

from psal_cli.image import jxl

HEAD = 1 << 16  # bytes that contain an AVIF file's header


def is_lossless(file: IO[bytes], image: Image.Image) -> bool:
    """Whether the file is lossless. This cannot be told for HEIC and AVIF, which are assumed to be lossy."""
    if image.format == "WEBP":
        return not _webp_is_lossy(file)
    if image.format == "JXL":
        return not (jxl.read_head(file).lossy or getattr(image, "jpeg", False))
    return image.format in ("PNG", "TIFF", "BMP")


def _webp_is_lossy(file: IO[bytes]) -> bool:
    """Whether any chunk of pixels in a WebP file, including those of animation frames, is lossy."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        if head[:4] == b"VP8 ":
            return True
        length = int.from_bytes(head[4:], "little")
        # A frame contains its chunks after 16 bytes of its own.
        file.seek(16 if head[:4] == b"ANMF" else length + length % 2, 1)
    return False


def avif_bits(file: IO[bytes]) -> int:
    """The bits per channel of an AVIF file."""
    file.seek(0)
    head = file.read(HEAD)
    at = head.find(b"av1C")  # decoder configuration: its third byte has the bit depth
    flags = head[at + 6] if 0 <= at < len(head) - 6 else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
