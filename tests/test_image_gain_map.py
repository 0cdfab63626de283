"""Gain maps of JPEG files: kept where a picture is filled, filled too, found by other readers; else named."""

import io
import re
import struct

import numpy as np
import pytest
from PIL import Image, MpoImagePlugin

from psal_cli.commands import main
from psal_cli.image import Picture, read_picture, write_picture
from psal_cli.image.isobmff import read_boxes
from psal_cli.image.jxl import CONTAINER

from .pictures import TURNED

ISO = b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"
HDRGM = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" hdrgm:GainMapMax="2"/></rdf:RDF></x:xmpmeta>'
)
HOLE = np.zeros((96, 160), bool)
HOLE[32:64, 64:96] = True


def gain():
    """uint8 [24, 40], for a picture of 160x96: 200 where HOLE is, a ramp elsewhere."""
    pixels = np.tile(np.linspace(20, 60, 40).astype(np.uint8), (24, 1))
    pixels[8:16, 16:24] = 200
    return pixels


def jpeg(pixels, **arguments):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=98, **arguments)
    return out.getvalue()


def segment(data):
    return b"\xff\xe2" + struct.pack(">H", len(data) + 2) + data


def index(primary, behind):
    """MPF of two pictures, as `primary`, in front of which it is put, and `behind` will lie; little-endian, unlike psal's."""
    size = len(primary) + 90
    entries = struct.pack("<IIIHHIIIHH", 0x030000, size, 0, 0, 0, 0, len(behind), size - 10, 0, 0)
    fields = [(0xB000, 7, 4, b"0100"), (0xB001, 4, 1, struct.pack("<I", 2)), (0xB002, 7, 32, struct.pack("<I", 50))]
    body = b"".join(struct.pack("<HHI", *field[:3]) + field[3] for field in fields)
    return segment(b"MPF\0II*\0\x08\0\0\0\x03\0" + body + bytes(4) + entries)


def hdr_file(path, kind, orientation=1):
    """A picture of noise with a map, announced as Google does by XMP, as the ISO does, or as Apple does by an index alone."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    xmp = HDRGM.replace(b' hdrgm:GainMapMax="2"', b"") if kind == "XMP" else None
    whole = jpeg(pixels, exif=exif.tobytes(), extra=segment(ISO) if kind == "ISO" else b"", **({"xmp": xmp} if xmp else {}))
    packet = b"<x:xmpmeta>urn:com:apple:photo:2020:aux:hdrgainmap</x:xmpmeta>" if kind == "Apple" else HDRGM
    behind = jpeg(gain(), xmp=packet, extra=segment(ISO + b"parameters") if kind == "ISO" else b"")
    mpf = index(whole, behind) if kind == "Apple" else b""
    path.write_bytes(whole[:2] + mpf + whole[2:] + behind)
    return path


def map_of(path):
    """The second picture of a file, as Pillow's reader of MPO files finds it, and its own bytes."""
    with MpoImagePlugin.MpoImageFile(path) as image:
        assert image.n_frames == 2
        at = image.mpinfo[0xB002][1]["Size"]
        image.seek(1)
        return np.asarray(image), path.read_bytes()[-at:]


@pytest.mark.parametrize("kind", ["XMP", "ISO", "Apple"])
def test_inpaint_keeps_and_fills_the_gain_map(tmp_path, capfd, kind):
    source, out = hdr_file(tmp_path / "in.jpg", kind), tmp_path / "out.jpg"
    with pytest.raises(SystemExit) as end:
        main(["inpaint", str(source), "--box", "64,32,32,32", "--engine", "patch", "-o", str(out)])
    assert end.value.code == 0
    said = capfd.readouterr().err
    assert "gain map" not in said and "pictures" not in said
    found, own = map_of(out)
    assert found.shape == (24, 40)
    outside = np.ones((24, 40), bool)
    outside[6:18, 14:26] = False
    assert np.abs(found.astype(int) - gain())[outside].max() <= 8  # the map is encoded anew
    assert found[8:16, 16:24].min() >= 20 and found[8:16, 16:24].max() <= 70  # what shone in the hole does not any more
    assert (b"hdrgainmap" if kind == "Apple" else b'hdrgm:GainMapMax="2"') in own
    primary = out.read_bytes()[: -len(own)]
    assert (ISO in primary, ISO + b"parameters" in own) == (kind == "ISO", kind == "ISO")
    if kind == "XMP":
        assert primary.count(b'hdrgm:Version="1.0"') == 1
        assert int(re.search(rb'Item:Semantic="GainMap"[^>]*Item:Length="(\d+)"', primary)[1]) == len(own)
    assert read_picture(out).metadata.gain_map.jpeg == own


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_gain_map_is_turned_with_its_picture(tmp_path, orientation):
    picture = read_picture(hdr_file(tmp_path / "in.jpg", "XMP", orientation))
    nothing = np.zeros(picture.pixels.shape[:2], bool)
    write_picture(picture.filled_inside(nothing), tmp_path / "out.jpg")
    expected = TURNED[orientation](gain())
    found, _ = map_of(tmp_path / "out.jpg")
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 8


@pytest.mark.parametrize(("suffix", "reason"), [("jpg", "describes the picture before"), ("png", "holds no gain map")])
def test_a_gain_map_that_cannot_be_kept_is_named(tmp_path, caplog, suffix, reason):
    picture = read_picture(hdr_file(tmp_path / "in.jpg", "XMP"))
    assert not caplog.messages
    write_picture(picture if suffix == "jpg" else picture.filled_inside(HOLE), tmp_path / f"out.{suffix}")
    assert [reason in line for line in caplog.messages] == [True]
    assert read_picture(tmp_path / f"out.{suffix}").metadata.gain_map is None
    assert b"hdrgm:Version" not in (tmp_path / f"out.{suffix}").read_bytes()


def test_a_damaged_gain_map_is_named_and_stops_no_picture(tmp_path, caplog):
    source = hdr_file(tmp_path / "in.jpg", "XMP")
    data = source.read_bytes()
    source.write_bytes(data[: data.rindex(b"\xff\xdb")] + b"\xff\xd9")
    write_picture(read_picture(source).filled_inside(HOLE), tmp_path / "out.jpg")
    assert ["gain map" in line for line in caplog.messages] == [True]
    assert read_picture(tmp_path / "out.jpg").size == (160, 96)


def test_without_a_gain_map_nothing_is_put_behind_a_picture(tmp_path):
    write_picture(Picture(np.zeros((8, 8, 3), np.uint8)).filled_inside(np.ones((8, 8), bool)), tmp_path / "out.jpg")
    data = (tmp_path / "out.jpg").read_bytes()
    assert data.endswith(b"\xff\xd9") and b"MPF" not in data


def test_a_gain_map_of_jpeg_xl_is_named(tmp_path, caplog):
    source = tmp_path / "in.jxl"
    write_picture(Picture(np.zeros((40, 64, 3), np.uint8)), source)
    boxes = [(b"ftyp", b"jxl \0\0\0\0jxl "), (b"jxlc", source.read_bytes())]
    for more in ([], [(b"jhgm", bytes(4))]):
        packed = b"".join(struct.pack(">I4s", 8 + len(body), name) + body for name, body in boxes + more)
        source.write_bytes(CONTAINER + packed)
        read_picture(source)
        assert [line.partition(": ")[2] for line in caplog.messages] == ["its gain map (HDR) is not kept"] * bool(more)


@pytest.mark.parametrize("kind", ["tmap", "av01"])
def test_a_gain_map_of_avif_is_seen(kind):
    def box(name, body):
        return struct.pack(">I4s", 8 + len(body), name) + body

    items = [box(b"infe", struct.pack(">IHH4sB", 2 << 24, at, 0, name, 0)) for at, name in ((1, b"av01"), (2, kind.encode()))]
    meta = bytes(4) + box(b"pitm", bytes(5) + b"\1") + box(b"iinf", bytes(4) + struct.pack(">H", 2) + b"".join(items))
    file = io.BytesIO(box(b"ftyp", b"avif\0\0\0\0avifmif1") + box(b"meta", meta))
    assert read_boxes(file).gain_map is (kind == "tmap")
