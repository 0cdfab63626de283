"""What a picture carries beside its pixels and EXIF comes out with it: profile, XMP, IPTC, comment, texts, resolution."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.IptcImagePlugin import getiptcinfo
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from psal_cli.image import Metadata, Picture, check_format, read_picture, write_picture
from psal_cli.image.exif import orientation_in, upright_exif
from psal_cli.image.keeping import HOLDS
from psal_cli.image.metadata import orientation_of, read_metadata, upright_xmp

from .metadata_blocks import SRGB, THUMBNAIL, XMP, exif_block
from .pictures import blocks, save
from .raw_files import chunk

LOSSLESS = ["png", "tif", "webp"]


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


@pytest.mark.parametrize("suffix", ["tif", "jpg", "png", "webp", "bmp"])
def test_a_resolution_that_cannot_be_stops_no_picture(tmp_path, suffix):
    path = save(tmp_path / "in.bmp", blocks(), dpi=(300, 300))
    whole = bytearray(path.read_bytes())
    whole[38:46] = b"\xff\xff\xff\x7f" * 2  # pixels a metre
    path.write_bytes(whole)
    write_picture(read_picture(path), tmp_path / f"out.{suffix}")
    assert read_picture(tmp_path / f"out.{suffix}").metadata.dpi is None


def test_a_large_profile_comes_back_from_png(tmp_path):
    large = Picture(blocks(), metadata=Metadata(icc=SRGB + np.random.default_rng(0).bytes(1_500_000)))
    write_picture(large, tmp_path / "out.png")
    assert read_picture(tmp_path / "out.png").metadata.icc == large.metadata.icc


def test_what_has_no_place_is_said(tmp_path, caplog):
    layers = ImageFileDirectory_v2()
    layers.tagtype[37724], layers.tagtype[34735] = 7, 3
    layers[37724], layers[34735] = b"Adobe Photoshop Document Data Block\0", (1, 1, 0, 0)
    read_picture(save(tmp_path / "in.tif", blocks(), tiffinfo=layers))
    extension = b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)
    jumbf = b"JP\0\1\0\0\0\1\0\0\0\x40jumb" + bytes(40)
    segments = b"".join(
        marker + struct.pack(">H", len(data) + 2) + data for marker, data in ((b"\xff\xe1", extension), (b"\xff\xeb", jumbf))
    )
    path = save(tmp_path / "in.jpg", blocks())
    whole = path.read_bytes()
    path.write_bytes(whole[:2] + segments + whole[2:])
    read_picture(path)
    assert caplog.messages == [
        f"{tmp_path / 'in.tif'}: its Photoshop layers and GeoTIFF are not kept",
        f"{path}: its extended XMP and Content Credentials are not kept",
    ]


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


@pytest.mark.parametrize("beyond", [0, 1])
def test_what_just_fits_a_jpeg_segment_is_kept_and_more_is_named(tmp_path, caplog, beyond):
    """A segment has 65,533 bytes; XMP has 29 of them in front. IPTC may take several."""
    size, packet = 65_533 + beyond, 65_504 + beyond
    block, dataset = upright_exif(exif_block(), (64, 40)), b"\x1c\x02\x78" + struct.pack(">HI", 0x8004, 200_000 - 9)
    single = {"exif": block.ljust(size, b"\0"), "xmp": b"x" * packet, "comment": b"z" * size}
    iptc = dataset.ljust(200_000, b"y")
    write_picture(Picture(blocks(), metadata=Metadata(**single, iptc=iptc)), tmp_path / "out.jpg")
    again = read_picture(tmp_path / "out.jpg").metadata
    assert {name: getattr(again, name) for name in single} == (dict.fromkeys(single) if beyond else single)
    assert again.iptc == iptc
    assert all((f"kB of {name}" in caplog.text) == bool(beyond) for name in ("EXIF", "XMP", "comment"))


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


def test_compressed_blocks_of_jpeg_xl_are_named(tmp_path, caplog):
    save(tmp_path / "plugin.png", blocks())
    write_picture(read_picture(tmp_path / "plugin.png"), tmp_path / "plugin.jxl")  # loads it
    exif, xmp = bytes(4) + exif_block()[6:], XMP + b" " * 1000
    save(tmp_path / "in.jxl", blocks(), lossless=True, exif=exif, xmp=xmp, compress_metadata=True)
    picture = read_picture(tmp_path / "in.jxl")
    assert np.array_equal(picture.pixels, blocks())
    assert "in.jxl: psal does not read EXIF and XMP that is compressed with Brotli: not kept" in caplog.text


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


@pytest.mark.slow
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
