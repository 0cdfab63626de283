"""What a picture carries beside its pixels comes out with it, and says that they are upright."""

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.IptcImagePlugin import getiptcinfo
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from psal_cli.image import Metadata, Picture, check_format, read_picture, write_picture
from psal_cli.image.exif import orientation_in, upright_exif
from psal_cli.image.metadata import HOLDS, orientation_of, read_metadata, upright_xmp

from .pictures import blocks, finest, save

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="Dandelion"/></x:xmpmeta>'
THUMBNAIL = b"\xff\xd8 the picture before it was edited \xff\xd9"
TURNED = {  # how a stored picture with this orientation is looked at
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
LOSSLESS = ["png", "tif", "webp"]


def exif_block(orientation=1, order="<"):
    """An EXIF block as cameras write it: maker's note, picture size, GPS, and a thumbnail in a second directory."""

    def directory(at, entries, following):
        """Entries: (tag, type, count, number or bytes); returns the directory with what does not fit in it behind it."""
        head, tail = struct.pack(order + "H", len(entries)), b""
        behind = at + 2 + 12 * len(entries) + 4
        for tag, kind, count, value in entries:
            if isinstance(value, bytes):
                value, tail = behind + len(tail), tail + value
            field = struct.pack(order + ("HH" if kind == 3 else "I"), *([value, 0] if kind == 3 else [value]))
            head += struct.pack(order + "HHI", tag, kind, count) + field
        return head + struct.pack(order + "I", following) + tail

    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    first = [(0x010F, 2, 9, b"psal-cam\0"), (0x0112, 3, 1, orientation), (0x8769, 4, 1, 100), (0x8825, 4, 1, 200)]
    body = directory(8, first, 300).ljust(92, b"\0")
    body += directory(100, [(0x927C, 7, 8, b"\1secret\2"), (0xA002, 4, 1, 8), (0xA003, 3, 1, 5)], 0).ljust(100, b"\0")
    body += directory(200, [(0x0001, 2, 2, ord("N") if order == "<" else ord("N") << 24)], 0).ljust(100, b"\0")
    body += directory(300, [(0x0201, 4, 1, 400), (0x0202, 4, 1, len(THUMBNAIL))], 0).ljust(100, b"\0")
    return b"Exif\0\0" + start + body + THUMBNAIL


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", *LOSSLESS])
def test_orientation_is_applied_and_the_tag_reset(tmp_path, suffix, orientation):
    stored = blocks()
    source = save(tmp_path / f"in.{suffix}", stored, exif=exif_block(orientation), **finest(suffix))
    picture = read_picture(source)
    expected = TURNED[orientation](stored)
    assert picture.pixels.shape == expected.shape
    tolerance = 4 if suffix == "jpg" else 0
    assert np.abs(picture.pixels.astype(int) - expected).max() <= tolerance
    write_picture(picture, tmp_path / f"out.{suffix}")
    again = read_picture(tmp_path / f"out.{suffix}")
    assert again.pixels.shape == expected.shape
    with Image.open(tmp_path / f"out.{suffix}") as raw:
        assert raw.getexif().get(0x0112, 1) == 1
        assert raw.getexif()[0x010F] == "psal-cam"
        details = raw.getexif().get_ifd(0x8769)
        assert details[0x927C] == b"\1secret\2"
        assert (details[0xA002], details[0xA003]) == (expected.shape[1], expected.shape[0])
        assert raw.getexif().get_ifd(0x8825)[1] == "N"
    assert THUMBNAIL not in (tmp_path / f"out.{suffix}").read_bytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_kept_byte_for_byte_but_for_what_changed(tmp_path, order):
    picture = read_picture(save(tmp_path / "in.jpg", blocks(), exif=exif_block(6, order)))
    upright = exif_block(1, order)
    assert len(picture.metadata.exif) == len(upright) - len(THUMBNAIL)
    different = [i for i, (a, b) in enumerate(zip(picture.metadata.exif, upright, strict=False)) if a != b]
    assert len(different) <= 4  # width, height (5x8 became 40x64's turn) and the way to the thumbnail
    assert struct.unpack_from(order + "I", picture.metadata.exif, 6 + 8 + 2 + 4 * 12) == (0,)  # the way to the thumbnail


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_survives_a_chain_of_formats(tmp_path, order):
    save(tmp_path / "0.jpg", blocks(), exif=exif_block(8, order), **finest("jpg"))
    for step, suffix in enumerate(["tif", "png", "webp", "tif", "tif", "jpg"]):
        [source] = tmp_path.glob(f"{step}.*")
        write_picture(read_picture(source), tmp_path / f"{step + 1}.{suffix}")
    with Image.open(tmp_path / "6.jpg") as raw:
        exif = raw.getexif()
        assert (exif[0x010F], exif.get_ifd(0x8769)[0x927C], exif.get_ifd(0x8825)[1]) == ("psal-cam", b"\1secret\2", "N")


@pytest.mark.parametrize("suffix", ["jpg", *LOSSLESS])
@pytest.mark.parametrize("target", ["jpg", *LOSSLESS])
def test_profile_xmp_and_resolution_are_kept(tmp_path, suffix, target):
    arguments = {"icc_profile": SRGB, "dpi": (300, 300)}
    if suffix == "png":
        arguments["pnginfo"] = PngInfo()
        arguments["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    elif suffix == "tif":
        arguments["tiffinfo"] = {700: XMP}
    else:
        arguments["xmp"] = XMP
    picture = read_picture(save(tmp_path / f"in.{suffix}", blocks(), **arguments))
    write_picture(picture, tmp_path / f"out.{target}")
    with Image.open(tmp_path / f"out.{target}") as raw:
        assert raw.info["icc_profile"] == SRGB
        assert b'dc:title="Dandelion"' in raw.info["xmp"]
        assert raw.getexif().get(0x0112, 1) == 1  # Pillow looks into the XMP for it too
        if "webp" not in (suffix, target):
            assert raw.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize(
    "block", [b"Exif\0\0garbage", exif_block(6).replace(b"II*", b"II("), b"Exif\0\0II*\0\xff\xff\xff\x7f", exif_block(6)[:40]]
)
def test_a_damaged_exif_block_costs_the_block_not_the_picture(tmp_path, caplog, block):
    picture = read_picture(save(tmp_path / "in.jpg", blocks(), exif=block))
    assert picture.pixels.size == blocks().size
    assert picture.metadata.exif is None
    assert "in.jpg: its EXIF block is unusable and not kept" in caplog.text and len(caplog.records) == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_values_outside_the_exif_block_are_dropped_and_the_rest_kept(tmp_path, caplog, order):
    """A TIFF file with such an entry in its first directory would not open; in another, pixels would be its value."""
    block = exif_block(6, order)
    for tag, kind, count in ((0x010F, 2, 9), (0x927C, 7, 8)):
        entry = struct.pack(order + "HHI", tag, kind, count)
        at = block.index(entry) + 8
        block = block[:at] + struct.pack(order + "I", 100_000) + block[at + 4 :]
    picture = read_picture(save(tmp_path / "in.png", blocks(), exif=block))
    assert "in.png: its EXIF block is damaged: values that lie outside it are not kept" in caplog.text
    assert len(caplog.records) == 1 and len(picture.metadata.exif) == len(block) - len(THUMBNAIL)
    for suffix in ("tif", "jpg"):
        write_picture(picture, tmp_path / f"out.{suffix}")
        with Image.open(tmp_path / f"out.{suffix}") as raw:
            assert raw.size == (40, 64) and 0x010F not in raw.getexif() and raw.getexif().get(0x0112, 1) == 1
            assert raw.getexif().get_ifd(0x8769) == {0xA002: 40, 0xA003: 64} and raw.getexif().get_ifd(0x8825)[1] == "N"


def test_a_side_that_its_field_cannot_hold_costs_no_exif():
    exif = Image.Exif()
    exif.load(upright_exif(exif_block(), (70_000, 70_000)))
    assert exif.get_ifd(0x8769) == {0x927C: b"\1secret\2", 0xA002: 70_000, 0xA003: 5}  # the height has 16 bits


def test_a_lost_gps_directory_costs_that_alone(tmp_path, caplog):
    block = exif_block(6).replace(struct.pack("<HHII", 0x8825, 4, 1, 200), struct.pack("<HHII", 0x8825, 4, 1, 434))
    picture = read_picture(save(tmp_path / "in.png", blocks(), exif=block))
    assert "values that lie outside it are not kept" in caplog.text
    write_picture(picture, tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as raw:
        assert raw.getexif()[0x010F] == "psal-cam" and 0x8825 not in raw.getexif()


def test_an_orientation_of_a_damaged_type_becomes_upright(tmp_path):
    block = exif_block(6).replace(struct.pack("<HHI", 0x0112, 3, 1), struct.pack("<HHI", 0x0112, 0xFF, 7))
    picture = read_picture(save(tmp_path / "in.jpg", blocks(), exif=block))
    again = Image.Exif()
    again.load(picture.metadata.exif)
    assert again[0x0112] == 1 and again[0x010F] == "psal-cam"


def iptc(*records):
    """IIM records: (dataset, value); the long form of the length where it asks for it."""
    out = b""
    for dataset, value in records:
        length = struct.pack(">H", len(value)) if len(value) < 0x8000 else struct.pack(">HI", 0x8004, len(value))
        out += b"\x1c\x02" + bytes([dataset]) + length + value
    return out


def photoshop(**resources):
    """Photoshop's resources, e.g. r0404=b"..." of IPTC, each with an even number of bytes and the second with a name."""
    out = b""
    for place, (number, data) in enumerate(resources.items()):
        name = b"\x04name\0" if place else b"\0\0"
        out += b"8BIM" + bytes.fromhex(number[1:]) + name + struct.pack(">I", len(data)) + data + bytes(len(data) % 2)
    return out


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


RECORDS = [(80, "Françoise".encode()), (25, b"weeds"), (25, b"dandelion"), (120, b"caption " * 1500)]
CREDITS, PREVIEWED = iptc(*RECORDS), iptc(*RECORDS[:1], (202, THUMBNAIL * 1000), *RECORDS[1:])


@pytest.mark.parametrize("kind", ["iptc", "8bim", "plain"])
@pytest.mark.parametrize("suffix", ["jpg", "tif", "png"])
def test_iptc_is_kept_without_its_preview(tmp_path, suffix, kind):
    block = photoshop(r0425=b"digest", r0404=PREVIEWED, r040c=THUMBNAIL)
    source = tmp_path / f"in.{suffix}"
    if suffix == "jpg":
        save(source, blocks(), extra=segment(0xED, b"Photoshop 3.0\0" + block))
    elif suffix == "tif":
        value = PREVIEWED + bytes(-len(PREVIEWED) % 4)
        if kind == "plain":
            value = b"".join(value[at : at + 4][::-1] for at in range(0, len(value), 4))
        directory = ImageFileDirectory_v2()
        directory.tagtype[33723] = 7
        directory[33723] = value
        save(source, blocks(), tiffinfo=directory)
        if kind != "iptc":  # Photoshop says that these are 32-bit numbers
            entry, numbers = (struct.pack("<HHI", 33723, *of) for of in ((7, len(value)), (4, len(value) // 4)))
            source.write_bytes(source.read_bytes().replace(entry, numbers))
    else:
        profile = PREVIEWED if kind == "plain" else block
        digits = profile.hex()
        lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
        info = PngInfo()
        name = "8bim" if kind == "8bim" else "iptc"
        info.add_text(f"Raw profile type {name}", f"\n{name}\n{len(profile):8}\n{lines}\n", zip=True)
        save(source, blocks(), pnginfo=info)
    for step, target in enumerate(("jpg", "png", "tif", "png", "jpg", "tif")):
        write_picture(read_picture(source), tmp_path / f"{step}.{target}")
        source = tmp_path / f"{step}.{target}"
        assert read_picture(source).metadata.iptc == CREDITS
        assert b"before it was edited" not in source.read_bytes()
        if target != "png":
            with Image.open(source) as raw:
                records = getiptcinfo(raw)
            assert records[(2, 80)] == "Françoise".encode() and records[(2, 25)] == [b"weeds", b"dandelion"]
            assert records[(2, 120)] == b"caption " * 1500


@pytest.mark.parametrize("block", [CREDITS[:-9], CREDITS + b"rubbish", b"\x1c", b"\x1c\x02\x50\xff\xff", b"rubbish"])
def test_damaged_iptc_costs_the_block_not_the_picture(tmp_path, caplog, block):
    source = save(tmp_path / "in.jpg", blocks(), extra=segment(0xED, b"Photoshop 3.0\0" + photoshop(r0404=block)))
    assert read_picture(source).metadata.iptc is None
    assert "in.jpg: its IPTC block is unusable and not kept" in caplog.text


def test_a_turned_picture_has_its_resolution_turned_and_no_exif_is_made_up(tmp_path):
    assert read_picture(save(tmp_path / "in.jpg", blocks(), exif=exif_block(6), dpi=(300, 150))).metadata.dpi == (150, 300)
    assert read_picture(save(tmp_path / "in.tif", blocks())).metadata.exif is None
    assert read_picture(save(tmp_path / "one.tif", blocks(), dpi=(1, 1))).metadata.dpi is None  # says that nobody knows


def test_a_jpeg_file_without_a_resolution_gets_none(tmp_path):
    """Pillow says 72 of those that have EXIF; where the file says 72 itself, it stays."""
    told = Image.Exif()
    told[0x011A], told[0x011B], told[0x0128] = 72.0, 72.0, 2
    for exif, arguments, dpi in ((exif_block(), {}, None), (exif_block(), {"dpi": (72, 72)}, (72, 72)), (told, {}, (72, 72))):
        picture = read_picture(save(tmp_path / "in.jpg", blocks(), exif=exif, **arguments))
        assert picture.metadata.dpi == dpi
        write_picture(picture, tmp_path / "out.png", force=True)
        with Image.open(tmp_path / "out.png") as raw:
            assert ("dpi" in raw.info) == (dpi is not None)


def test_an_exif_directory_that_contains_itself_costs_the_block(tmp_path, caplog):
    block = exif_block(6).replace(struct.pack("<HHII", 0x8769, 4, 1, 100), struct.pack("<HHII", 0x8769, 4, 1, 8))
    picture = read_picture(save(tmp_path / "in.jpg", blocks(), exif=block))
    assert picture.size == (40, 64) and picture.metadata.exif is None
    assert "a directory that contains itself" in caplog.text


def test_what_pillow_has_not_looked_at(tmp_path, caplog):
    """XMP in the text form of ImageMagick; a colour code beside a profile; XMP beside a container that says upright."""
    packet = upright_xmp(XMP)
    raw = b"\nxmp\n%8d\n%s00ff\n" % (len(packet), packet.hex().encode())
    text = chunk(b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(raw))
    assert read_picture(png_with(tmp_path / "in.png", before=text)).metadata.xmp == packet
    huge = png_with(tmp_path / "huge.png", before=TEXTS[0], after=chunk(b"tEXt", b"Title\0" + bytes(1 << 24)))
    assert read_picture(huge).metadata.texts == ()
    assert "huge.png: its texts are unusable and not kept (a text of 17 MB)" in caplog.text
    image = Image.new("RGB", (8, 8))
    image.format, image.info["icc_profile"] = "HEIF", SRGB
    image.info["nclx_profile"] = {"color_primaries": 12, "transfer_characteristics": 13}
    assert read_metadata(image, 1, (8, 8), "in.heic").cicp is None
    image = Image.new("RGB", (8, 8))
    image.format, image.info["xmp"] = "AVIF", XMP
    assert orientation_of(image) == 1
    image.info["exif"] = exif_block(1).replace(struct.pack("<H", 0x0112), struct.pack("<H", 0x0111))
    assert orientation_of(image) == 1
    image.format = "JPEG"
    assert orientation_of(image) == 6
    image.info["xmp"] = XMP.replace(b"/>", b"><xmp:Thumbnails>/>")
    assert read_metadata(image, 1, (8, 8), "in.jpg").xmp is None and "xmp:Thumbnails has no end" in caplog.text


def test_comments_go_from_jpeg_to_png_and_back(tmp_path):
    save(tmp_path / "two.jpg", blocks(), comment="zweite, größer".encode(), extra=segment(0xFE, b"first"))
    save(tmp_path / "latin.jpg", blocks(), comment=b"caf\xe9")
    for name, kept, text in (("two", "first\nzweite, größer".encode(), "first\nzweite, größer"), ("latin", b"caf\xe9", "café")):
        for first, then in (("jpg", "png"), ("png", "jpg")):
            write_picture(read_picture(tmp_path / f"{name}.jpg"), tmp_path / f"{name}1.{first}")
            write_picture(read_picture(tmp_path / f"{name}1.{first}"), tmp_path / f"{name}2.{then}")
            with Image.open(tmp_path / f"{name}{1 if first == 'jpg' else 2}.jpg") as raw:
                assert raw.info["comment"] == (kept if first == "jpg" else text.encode())
            with Image.open(tmp_path / f"{name}{2 if first == 'jpg' else 1}.png") as raw:
                assert raw.text == {"Comment": text}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(path, before=b"", after=b""):
    """A PNG file with chunks of its own before its pixels and behind them."""
    whole = save(path, blocks()).read_bytes()
    path.write_bytes(whole[:33] + before + whole[33:-12] + after + whole[-12:])
    return path


TEXTS = [
    chunk(b"tEXt", b"Title\0Dandelion"),
    chunk(b"zTXt", b"Description\0\0" + zlib.compress(b"yellow " * 1000)),
    chunk(b"iTXt", b"Author\0\1\0de\0Autor\0" + zlib.compress("Jürgen".encode())),
    chunk(b"iTXt", b"Title\0\0\0cs\0\0" + "Pampeliška".encode()),
]


def test_png_texts_stay_in_png_and_are_named_elsewhere(tmp_path, caplog):
    stale = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 4\n00000000\n"))
    source = png_with(tmp_path / "in.png", before=TEXTS[0] + stale + TEXTS[1], after=TEXTS[2] + TEXTS[3])
    write_picture(read_picture(source), tmp_path / "out.png")
    out = (tmp_path / "out.png").read_bytes()
    assert all(text in out for text in TEXTS) and b"Raw profile" not in out
    with Image.open(tmp_path / "out.png") as raw:
        assert (raw.text["Author"], raw.text["Author"].lang, raw.text["Author"].tkey) == ("Jürgen", "de", "Autor")
    caplog.clear()
    write_picture(read_picture(tmp_path / "out.png"), tmp_path / "out.webp")
    assert "out.webp: WebP holds no PNG texts (Title, Description, Author, Title): not kept" in caplog.text


def test_texts_that_explode_cost_the_text_not_the_memory(tmp_path, caplog):
    bomb = chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(1 << 25)))
    image = Image.open(png_with(tmp_path / "in.png"))
    png_with(tmp_path / "in.png", before=TEXTS[0] + bomb)
    metadata = read_metadata(image, 1, image.size, str(tmp_path / "in.png"))
    assert metadata.comment is None and len(metadata.texts) == 1
    assert "its comment is unusable and not kept (a text of more than 17 MB)" in caplog.text
    image.close()


GAMMA = chunk(b"gAMA", (100_000).to_bytes(4))
PRIMARIES = chunk(b"cHRM", b"".join(n.to_bytes(4) for n in (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)))


def test_what_png_says_about_colour_stays_in_png_and_is_named_elsewhere(tmp_path, caplog):
    for name, chunks, said in (
        ("linear", GAMMA, "gAMA"),
        ("p3", chunk(b"gAMA", (45455).to_bytes(4)) + PRIMARIES, "gAMA nor cHRM"),
        ("bt2020", chunk(b"cICP", bytes([9, 16, 0, 1])), "cICP"),
        ("srgb", chunk(b"sRGB", b"\0") + chunk(b"gAMA", (45455).to_bytes(4)), None),
    ):
        picture = read_picture(png_with(tmp_path / f"{name}.png", before=chunks))
        write_picture(picture, tmp_path / f"{name}_out.png")
        assert chunks in (tmp_path / f"{name}_out.png").read_bytes()
        caplog.clear()
        write_picture(picture, tmp_path / f"{name}.jpg")
        assert (f"{name}.jpg: JPEG holds no {said}: not kept" in caplog.text) if said else caplog.text == ""
        profiled = replace(picture, metadata=replace(picture.metadata, icc=SRGB))
        write_picture(profiled, tmp_path / f"{name}_icc.png")
        counts = said == "cICP"  # else the profile says it all
        assert (chunks in (tmp_path / f"{name}_icc.png").read_bytes()) == counts
        write_picture(profiled, tmp_path / f"{name}_icc.jpg")
        assert "not kept" not in caplog.text.replace(f"{said}: not kept", "", 1)


def test_the_colours_of_heic_without_a_profile_are_kept_or_named(tmp_path, caplog):
    p3 = replace(read_picture(save(tmp_path / "in.png", blocks())), lossless=False)
    p3 = replace(p3, metadata=replace(p3.metadata, cicp=bytes([12, 13, 0, 1])))
    write_picture(p3, tmp_path / "p3.heic")
    with Image.open(tmp_path / "p3.heic") as raw:
        assert (raw.info["nclx_profile"]["color_primaries"], raw.info["nclx_profile"]["transfer_characteristics"]) == (12, 13)
    write_picture(read_picture(tmp_path / "p3.heic"), tmp_path / "p3.png")
    assert chunk(b"cICP", bytes([12, 13, 0, 1])) in (tmp_path / "p3.png").read_bytes()
    assert caplog.text == ""
    write_picture(read_picture(tmp_path / "p3.heic"), tmp_path / "p3.jpg")
    assert "p3.jpg: JPEG holds no cICP: not kept" in caplog.text
    for name, icc in (("srgb", None), ("profiled", SRGB)):
        write_picture(replace(p3, metadata=replace(p3.metadata, cicp=None, icc=icc)), tmp_path / f"{name}.heic")
        assert read_picture(tmp_path / f"{name}.heic").metadata.cicp is None


def test_thumbnails_in_xmp_and_previews_in_makers_notes_are_dropped(tmp_path):
    jpeg = io.BytesIO()
    save(jpeg, blocks(16, 16), format="JPEG", exif=exif_block(), comment=b"before it was edited")
    preview = jpeg.getvalue()
    note = b"Maker\0" + preview + b"after" + b"\xff\xd8\xff no picture"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = note
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description dc:title="Dandelion" xmpNote:HasExtendedXMP="0123" '
        b"GImage:Data='before it was edited'><xmp:Thumbnails><rdf:li a='b'/>before it was edited</xmp:Thumbnails>"
        b'<a:b/><xap:Thumbnails rdf:resource="before it was edited"/><c:d/></rdf:Description></x:xmpmeta>'
    )
    save(tmp_path / "in.jpg", blocks(), exif=exif, xmp=xmp)
    write_picture(read_picture(tmp_path / "in.jpg"), tmp_path / "out.jpg")
    written = (tmp_path / "out.jpg").read_bytes()
    assert b"before it was edited" not in written and written.count(b"\xff\xd8\xff") == 2  # its own, and no picture
    with Image.open(tmp_path / "out.jpg") as raw:
        assert raw.getexif().get_ifd(0x8769)[0x927C] == note.replace(preview, bytes(len(preview)))
        described = b'<rdf:Description dc:title="Dandelion"><a:b/><c:d/></rdf:Description>'
        assert described in raw.info["xmp"]


@pytest.mark.parametrize("beyond", [0, 1])
def test_what_just_fits_a_jpeg_segment_is_kept_and_more_is_named(tmp_path, caplog, beyond):
    size = 65_502 + beyond
    block, dataset = upright_exif(exif_block(), (64, 40)), b"\x1c\x02\x78" + struct.pack(">HI", 0x8004, size - 9)
    full = {"exif": block.ljust(size, b"\0"), "xmp": b"x" * size, "iptc": dataset.ljust(size, b"y"), "comment": b"z" * size}
    write_picture(Picture(blocks(), metadata=Metadata(**full)), tmp_path / "out.jpg")
    again = read_picture(tmp_path / "out.jpg").metadata
    assert {name: getattr(again, name) for name in full} == (dict.fromkeys(full) if beyond else full)
    assert ("kB of EXIF" in caplog.text) == ("kB of IPTC" in caplog.text) == bool(beyond)


def test_a_preview_that_is_cut_off_is_dropped_too(tmp_path):
    jpeg = io.BytesIO()
    save(jpeg, blocks(64, 64), format="JPEG")
    cut = jpeg.getvalue()[:-40]
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = b"Maker\0" + cut
    save(tmp_path / "in.jpg", blocks(), exif=exif)
    kept = read_picture(tmp_path / "in.jpg").metadata.exif
    assert b"Maker\0" in kept and cut[-40:] not in kept


MODERN = ["avif", "heic", "jxl"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", MODERN)
def test_modern_formats_keep_exif_xmp_and_profile(tmp_path, suffix, order):
    exif = exif_block(6, order)
    picture = read_picture(save(tmp_path / "in.png", blocks(), exif=exif, icc_profile=SRGB))
    picture = replace(picture, metadata=replace(picture.metadata, xmp=upright_xmp(XMP)))
    write_picture(picture, tmp_path / f"out.{suffix}")
    again = read_picture(tmp_path / f"out.{suffix}")
    assert again.pixels.shape == picture.pixels.shape
    assert b'dc:title="Dandelion"' in again.metadata.xmp
    if suffix != "jxl":  # its decoder makes a profile of its own
        assert again.metadata.icc == SRGB
    if suffix == "avif":  # the container says upright, so the tag is gone; all else has its place
        assert orientation_in(again.metadata.exif) is None
        assert len(again.metadata.exif) == len(picture.metadata.exif)
        assert again.metadata.exif[100:] == picture.metadata.exif[100:]
        make, details = struct.unpack_from(order + "H", again.metadata.exif, 16)[0], again.metadata.exif.count(b"psal-cam\0")
        assert (make, details) == (0x010F, 1)
        assert b"Exif\0\0" + picture.metadata.exif[6:10] not in (tmp_path / "out.avif").read_bytes()
    else:
        assert again.metadata.exif == picture.metadata.exif
    if suffix == "jxl":  # a number says where TIFF begins behind it
        assert b"Exif\0\0\0\0" + picture.metadata.exif[6:] in (tmp_path / "out.jxl").read_bytes()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("suffix", MODERN)
def test_modern_formats_are_turned_once(tmp_path, suffix, orientation):
    """HEIC and AVIF turn in the container, where their writers put what EXIF says; JPEG XL in the codestream, EXIF is ignored."""
    write_picture(Picture(blocks()), tmp_path / f"plugin.{suffix}")  # loads it
    stored, best = Image.fromarray(blocks()), {"lossless": True, "xmp": XMP} if suffix == "jxl" else {"quality": 100}
    stored.save(tmp_path / f"in.{suffix}", exif=exif_block(orientation)[6 * (suffix == "jxl") :], **best)
    picture = read_picture(tmp_path / f"in.{suffix}")
    expected = blocks() if suffix == "jxl" else TURNED[orientation](blocks())
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels.astype(int) - expected)[4::8, 4::8].mean() < 10
    assert (orientation_in(picture.metadata.exif) or 1) == 1
    write_picture(picture, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as raw:
        assert raw.size == picture.size and raw.getexif().get(0x0112, 1) == 1


def test_compressed_blocks_of_jpeg_xl_are_named(tmp_path, caplog):
    save(tmp_path / "plugin.png", blocks())
    write_picture(read_picture(tmp_path / "plugin.png"), tmp_path / "plugin.jxl")  # loads it
    exif, xmp = bytes(4) + exif_block()[6:], XMP + b" " * 1000
    save(tmp_path / "in.jxl", blocks(), lossless=True, exif=exif, xmp=xmp, compress_metadata=True)
    picture = read_picture(tmp_path / "in.jxl")
    assert np.array_equal(picture.pixels, blocks())
    assert "in.jxl: psal does not read EXIF and XMP that is compressed with Brotli: not kept" in caplog.text


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from("<>"),
    st.lists(st.tuples(st.integers(0, 420), st.binary(min_size=1, max_size=6)), max_size=8),
    st.integers(0, 500),
)
def test_no_exif_block_stops_a_picture(order, changes, end):
    block = bytearray(exif_block(6, order)[6:])
    for at, data in changes:
        block[at : at + len(data)] = data
    image = Image.new("RGB", (8, 8))
    image.format, image.info["exif"] = "JPEG", b"Exif\0\0" + bytes(block[:end])
    assert orientation_of(image) in range(1, 9)
    kept = read_metadata(image, 6, (8, 8), "mutated.jpg").exif
    assert kept is None or len(kept) <= len(image.info["exif"])
    image.info["exif"] = kept
    assert orientation_of(image) == 1


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300).map(str.encode)
any_metadata = st.fixed_dictionaries(
    {
        "icc": st.sampled_from([None, SRGB]),
        "exif": st.sampled_from([None, *(upright_exif(exif_block(6, order), (8, 16)) for order in "<>")]),
        "xmp": words.map(lambda text: b"<x:xmpmeta>" + text + b"</x:xmpmeta>"),
        "iptc": st.lists(st.tuples(st.sampled_from([5, 25, 120]), st.binary(max_size=20_000)), max_size=3).map(
            lambda r: iptc(*r) or None
        ),
        "comment": st.none() | words,
        "dpi": st.sampled_from([None, (300.0, 150.0)]),
        "texts": st.lists(words.map(lambda text: (b"iTXt", b"Title\0\0\0\0\0" + text)), max_size=3).map(tuple),
    }
)


@settings(max_examples=40, deadline=None)
@given(wanted=any_metadata)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "avif", "heic", "jxl", "bmp"])
def test_whatever_a_format_holds_comes_back_from_it(tmp_path_factory, suffix, wanted):
    target = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    picture = Picture(np.zeros((16, 8, 3), np.uint8), metadata=Metadata(**wanted))
    write_picture(picture, target, force=True)
    again = read_picture(target).metadata
    holds = HOLDS[check_format(target)]
    repeated = "dpi" not in holds and "exif" in holds and wanted["exif"] is None  # in a block of its own
    for what, value in wanted.items():
        if what == "exif" and (suffix in ("avif", "tif") or repeated):  # composed anew, without the tag or by Pillow
            assert tags(again.exif) == tags(value)
        elif what == "dpi":
            assert again.dpi == (pytest.approx(value, abs=0.02) if value and (what in holds or repeated) else None)
        elif what != "icc" or suffix != "jxl":  # its decoder makes a profile of its own
            assert getattr(again, what) == (value if what in holds else getattr(Metadata(), what))


def tags(block):
    """What an EXIF block says, but for the orientation, which is 1, and the resolution, which a TIFF file has there."""
    exif = Image.Exif()
    exif.load(block or b"")
    first = {tag: value for tag, value in exif.items() if tag not in (0x0112, 282, 283, 296, 0x8769, 0x8825)}
    return first, dict(exif.get_ifd(0x8769)), dict(exif.get_ifd(0x8825))
