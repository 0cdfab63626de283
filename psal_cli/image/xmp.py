"""Rewrites XMP packets for pixels that were turned upright and edited."""

import re

XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)([2-8])""")
# Thumbnails, and references to further segments or data after the picture, which an edited file does not have.
PICTURE = re.compile(rb"<(\w+:Thumbnails|GImage:Data|xmpNote:HasExtendedXMP|(?:G?Container):Directory)(?=[\s/>])[^<>]*?(/?)>")
POINTER = re.compile(
    rb"""\s(?:xmpNote:HasExtendedXMP|GImage:Data|hdrgm:\w+|GCamera:(?:MotionPhoto|MicroVideo)\w*)\s*=\s*(?:"[^"]*"|'[^']*')"""
)


def xmp_orientation(xmp: bytes | str) -> int:
    """The orientation in an XMP packet, 1 if it has none."""
    match = XMP_ORIENTATION.search(xmp.encode() if isinstance(xmp, str) else xmp)
    return int(match[2]) if match else 1


def upright_xmp(xmp: bytes | str) -> bytes:
    """The XMP packet with orientation 1, without thumbnails and references to further JPEG segments."""
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    xmp = XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
    xmp = POINTER.sub(b"", xmp)
    kept: list[bytes] = []
    at = 0
    while start := PICTURE.search(xmp, at):
        close = b"" if start[2] else b"</%s>" % start[1]
        end = xmp.find(close, start.end())
        if end < 0:
            raise ValueError(f"{start[1].decode()} has no end")
        kept.append(xmp[at : start.start()])
        at = end + len(close)
    return b"".join(kept) + xmp[at:]
