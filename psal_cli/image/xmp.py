"""XMP packets, rewritten for pixels that were turned upright and edited."""

import re

XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)([2-8])""")
# Pictures, and what is said to lie in further segments or behind the end of the file, where an edited file has nothing.
PICTURE = re.compile(rb"<(\w+:Thumbnails|GImage:Data|xmpNote:HasExtendedXMP|(?:G?Container):Directory)(?=[\s/>])[^<>]*?(/?)>")
POINTER = re.compile(
    rb"""\s(?:xmpNote:HasExtendedXMP|GImage:Data|hdrgm:\w+|GCamera:(?:MotionPhoto|MicroVideo)\w*)\s*=\s*(?:"[^"]*"|'[^']*')"""
)


def xmp_orientation(xmp: bytes | str) -> int:
    """The orientation that an XMP packet tells, 1 where it tells none."""
    match = XMP_ORIENTATION.search(xmp.encode() if isinstance(xmp, str) else xmp)
    return int(match[2]) if match else 1


def upright_xmp(xmp: bytes | str) -> bytes:
    """The XMP packet with orientation 1, without thumbnails and without what is said to lie in further JPEG segments."""
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
