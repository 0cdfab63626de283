"""Photoshop's image resources, including IPTC records: in segments of JPEG, a tag of TIFF, a text of PNG."""

import struct
from collections.abc import Iterator

START, SIGNATURES = b"Photoshop 3.0\0", (b"8BIM", b"8B64", b"MeSa", b"AgHg", b"PHUT", b"DCSR")
IPTC = 0x0404
IPTC_PREVIEWS = {(2, number) for number in (200, 201, 202)}
# Thumbnails; the profile, EXIF and XMP, which are stored elsewhere; the digest of IPTC and the JPEG quality, which do not hold
# for the written file.
ELSEWHERE = {0x0409, 0x040C, 0x040F, 0x0422, 0x0423, 0x0424, 0x0425, 0x0406}


def _resources(block: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yields (number, data, the whole resource). Stops at damage."""
    at = 0
    while block[at : at + 4] in SIGNATURES and at + 12 <= len(block):
        (number,), name = struct.unpack_from(">H", block, at + 4), block[at + 6]
        start = at + 6 + name + 2 - name % 2  # the name with its length is padded to an even number of bytes
        if start + 4 > len(block):
            return
        (length,) = struct.unpack_from(">I", block, start)
        end = start + 4 + length
        if end > len(block):
            return
        yield number, block[start + 4 : end], block[at:end] + bytes(length % 2)
        at = end + length % 2


def iptc_in(block: bytes) -> bytes | None:
    """The IPTC records among the resources; several blocks are concatenated. None if there are none."""
    blocks = [data.rstrip(b"\0") if data[:1] != b"\x1c" else data for number, data, _ in _resources(block) if number == IPTC]
    return b"".join(blocks) if blocks else None


def others_in(block: bytes) -> bytes | None:
    """The resources that no other field of Metadata holds and that stay valid for an edited picture."""
    return b"".join(resource for number, _, resource in _resources(block) if number not in ELSEWHERE | {IPTC}) or None


def as_block(iptc: bytes | None, others: bytes | None) -> bytes:
    """Joins the resources of both in one block."""
    if iptc is None:
        return others or b""
    head = struct.pack(">4sHHI", b"8BIM", IPTC, 0, len(iptc))
    return head + iptc + bytes(len(iptc) % 2) + (others or b"")


def without_preview(iptc: bytes) -> bytes:
    """The IPTC records without previews. Raises ValueError if they are damaged."""
    kept, at = [], 0
    while iptc[at : at + 1] == b"\x1c":
        record, number, length = struct.unpack_from(">BBH", iptc, at + 1)
        start = at + 5
        if length & 0x8000:  # the size of the length field
            start += length & 0x7FFF
            length = int.from_bytes(iptc[at + 5 : start])
        if start + length > len(iptc):
            raise ValueError("it is cut off")
        if (record, number) not in IPTC_PREVIEWS:
            kept.append(iptc[at : start + length])
        at = start + length
    if iptc[at:].strip(b"\0"):
        raise ValueError("no record where one should begin")
    return b"".join(kept)


def in_order(iptc: bytes | None) -> bytes | None:
    """Corrects the byte order: a TIFF file may declare the bytes as 32-bit numbers, which some writers then swapped."""
    if iptc and iptc[0] != 0x1C and iptc[3:4] == b"\x1c":
        return b"".join(iptc[at : at + 4][::-1] for at in range(0, len(iptc), 4))
    return iptc
