"""Rarer things in picture files: each is kept from file to file, or one line says that it is not."""

import io
import struct
import zlib

import pytest
from PIL import Image

from psal_cli.errors import InputError
from psal_cli.image import Metadata, Picture, read_header, read_picture, write_picture
from psal_cli.image.metadata import orientation_of
from psal_cli.image.resizing import resized

from .metadata_blocks import SRGB, THUMBNAIL, XMP, exif_block
from .pictures import blocks, save
from .raw_files import chunk


def jpeg_with(path, *segments, trailer=b""):
    """A JPEG file with segments (marker, data) behind its first, and more behind its end."""
    whole = save(path, blocks()).read_bytes()
    more = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data for marker, data in segments)
    path.write_bytes(whole[:20] + more + whole[20:] + trailer)
    return path


def png_with(path, chunks, array=None, **arguments):
    """A PNG file with chunks in front of its pixels."""
    whole = save(path, blocks() if array is None else array, **arguments).read_bytes()
    path.write_bytes(whole[:33] + b"".join(chunks) + whole[33:])
    return path


# --------------------------------------------------------------------------------------------------------- JPEG segments

OTHERS = [(0xE1, b"FLIR\0\1\0\2 thermal"), (0xE6, b"GoPro\0 DEVC"), (0xE2, b"FPXR\0\0 FlashPix"), (0xE3, b"Meta\0\0Kodak")]


def segments_of(path):
    with Image.open(path) as image:
        return [(name, data) for name, data in image.applist if not data.startswith((b"JFIF", b"Exif"))]


def test_segments_of_other_programs_stay_in_jpeg_files_of_the_same_size(tmp_path, caplog):
    picture = read_picture(jpeg_with(tmp_path / "in.jpg", *OTHERS))
    write_picture(picture, tmp_path / "out.jpg")
    assert segments_of(tmp_path / "out.jpg") == segments_of(tmp_path / "in.jpg") and len(segments_of(tmp_path / "in.jpg")) == 4
    assert caplog.text == ""
    write_picture(picture, tmp_path / "out.webp")
    named = "(APP1 FLIR, APP6 GoPro, APP2 FPXR, APP3 Meta)"
    assert f"out.webp: WebP holds no segments of other programs {named}: not kept" in caplog.text
    caplog.clear()
    larger = Picture(picture.pixels.repeat(2, 0).repeat(2, 1), metadata=resized(picture.metadata, (128, 80)))
    write_picture(larger, tmp_path / "larger.jpg")
    assert f"larger.jpg: its segments of other programs describe the old size: not kept {named}" in caplog.text
    assert segments_of(tmp_path / "larger.jpg") == []


def test_a_segment_with_a_preview_of_the_unedited_picture_is_dropped_and_said(tmp_path, caplog):
    preview = io.BytesIO()
    save(preview, blocks(16, 16), format="JPEG", comment=b"before it was edited")
    source = jpeg_with(tmp_path / "in.jpg", (0xE4, b"Maker\0" + preview.getvalue()), (0xE0, b"JFXX\0\x10" + preview.getvalue()))
    write_picture(read_picture(source), tmp_path / "out.jpg")
    assert b"before it was edited" not in (tmp_path / "out.jpg").read_bytes()
    assert "its APP4 Maker segment with a preview and JFXX thumbnail are not kept" in caplog.text


def resource(number, data):
    return b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)


def record(dataset, text):
    return b"\x1c\x02" + bytes([dataset]) + struct.pack(">H", len(text)) + text


@pytest.mark.parametrize("split", ["records", "bytes"])
def test_iptc_of_several_segments_is_joined_and_other_resources_are_kept(tmp_path, split):
    by_line, caption = record(80, b"Ann Author"), record(120, b"A caption")
    paths = resource(0x07D0, b"a clipping path")
    if split == "records":
        parts = [resource(0x0404, by_line) + resource(0x040C, THUMBNAIL), resource(0x0404, caption) + paths]
    else:  # a resource that goes on in the next segment
        whole = resource(0x0404, by_line + caption) + resource(0x040C, THUMBNAIL) + paths
        parts = [whole[:30], whole[30:]]
    source = jpeg_with(tmp_path / "0.jpg", *((0xED, b"Photoshop 3.0\0" + part) for part in parts))
    for step, suffix in enumerate(("jpg", "png", "tif", "tif", "jpg")):
        write_picture(read_picture(source), tmp_path / f"{step + 1}.{suffix}")
        source = tmp_path / f"{step + 1}.{suffix}"
        metadata = read_picture(source).metadata
        assert metadata.iptc == by_line + caption and metadata.photoshop == paths
        assert THUMBNAIL not in source.read_bytes()


# ------------------------------------------------------------------------------------------- gain maps, what lies behind


@pytest.mark.parametrize(
    ("segments", "trailer", "said"),
    [
        ([(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta hdrgm:Version="1.0"></x:xmpmeta>')], b"", "gain map (HDR) is"),
        ([(0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0")], b"", "gain map (HDR) is"),
        ([], b"\xff\xd8\xff\xe1 hdrgm:GainMapMax", "gain map (HDR) is"),
        ([], b"\0\0\0\x18ftypmp42" + bytes(5000) + b"mdat", "6 kB behind the end of the picture is"),
        ([], bytes(3000), None),
    ],
)
def test_gain_maps_and_what_lies_behind_the_picture_are_said(tmp_path, caplog, segments, trailer, said):
    metadata = read_picture(jpeg_with(tmp_path / "in.jpg", *segments, trailer=trailer)).metadata
    assert caplog.messages == ([f"{tmp_path / 'in.jpg'}: its {said} not kept"] if said else [])
    assert b"hdrgm:" not in (metadata.xmp or b"")


def test_xmp_does_not_point_to_what_is_gone():
    from psal_cli.image.xmp import upright_xmp

    packet = (
        b'<x:xmpmeta><rdf:Description dc:title="Dandelion" GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="4000"'
        b' hdrgm:Version="1.0">'
        b"<Container:Directory><rdf:Seq><rdf:li Item:Length='9'/></rdf:Seq></Container:Directory></rdf:Description></x:xmpmeta>"
    )
    assert upright_xmp(packet) == b'<x:xmpmeta><rdf:Description dc:title="Dandelion"></rdf:Description></x:xmpmeta>'


# ------------------------------------------------------------------------------------------------------------------ AVIF


@pytest.mark.parametrize("cicp", [(9, 16), (12, 13), (9, 18), (12, 16)])
def test_the_colours_of_avif_without_a_profile_are_kept_or_named(tmp_path, caplog, cicp):
    told = bytes([*cicp, 0, 1])
    write_picture(Picture(blocks(), metadata=Metadata(cicp=told)), tmp_path / "0.avif")
    picture = read_picture(tmp_path / "0.avif")
    assert picture.metadata.cicp == told
    for suffix in ("avif", "png"):
        write_picture(picture, tmp_path / f"1.{suffix}")
        assert read_picture(tmp_path / f"1.{suffix}").metadata.cicp == told
    assert caplog.text == ""
    write_picture(picture, tmp_path / "1.webp")
    assert "1.webp: WebP holds no cICP: not kept" in caplog.text


@pytest.mark.parametrize("icc", [None, SRGB])
def test_avif_of_srgb_says_nothing_of_colours(tmp_path, icc):
    write_picture(Picture(blocks(), metadata=Metadata(icc=icc)), tmp_path / "in.avif")
    assert read_picture(tmp_path / "in.avif").metadata.cicp is None


def test_exif_of_a_turned_avif_keeps_its_bytes(tmp_path):
    """Pillow composes the block anew where the container turns the picture and the EXIF does not say so."""
    composed, out = Image.Exif(), io.BytesIO()
    composed[0x010F], composed[0x0112] = "a maker's name, and room for what it wrote by hand", 6
    Image.fromarray(blocks()).save(out, "AVIF", exif=composed)
    written = out.getvalue()
    assert b"irot" in written
    at = written.index(b"MM\0*")
    end = written.index(b"by hand\0", at) + 8
    own = b"MM\0*" + struct.pack(">IHHHI", 8, 1, 0x010F, 2, 4) + b"abc\0" + bytes(4) + b"at a place of its own"
    own = own.ljust(end - at, b".")
    (tmp_path / "in.avif").write_bytes(written[:at] + own + written[end:])
    picture = read_picture(tmp_path / "in.avif")
    assert picture.size == (40, 64) and picture.metadata.exif.rstrip(b".\0") == b"Exif\0\0" + own.rstrip(b".")


# ------------------------------------------------------------------------------------------------------------ PNG chunks

RGB_CHUNKS = [
    (b"sBIT", b"\5\6\5"),
    (b"bKGD", struct.pack(">HHH", 255, 0, 128)),
    (b"tIME", struct.pack(">HBBBBB", 2024, 2, 29, 12, 0, 0)),
    (b"pHYs", struct.pack(">IIB", 3, 2, 0)),
    (b"sPLT", b"suggested\0\x08" + bytes(6)),
    (b"vpAg", b"private, safe to copy"),
]


def test_ancillary_png_chunks_stay_in_png_and_are_named_elsewhere(tmp_path, caplog):
    source = png_with(tmp_path / "in.png", [chunk(*of) for of in RGB_CHUNKS])
    write_picture(read_picture(source), tmp_path / "out.png")
    written = (tmp_path / "out.png").read_bytes()
    assert all(chunk(*of) in written for of in RGB_CHUNKS) and caplog.text == ""
    write_picture(read_picture(source), tmp_path / "out.jpg")
    assert "JPEG holds no PNG chunks (sBIT, bKGD, tIME, pHYs, sPLT, vpAg): not kept" in caplog.text


def test_png_chunks_that_no_edited_picture_keeps_are_said(tmp_path, caplog):
    read_picture(png_with(tmp_path / "in.png", [chunk(b"hIST", bytes(4)), chunk(b"dSIG", b"signature"), chunk(b"caBX", b"c2pa")]))
    assert "its chunk hIST and chunk dSIG and Content Credentials are not kept" in caplog.text


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_aspect_ratio_turns_with_the_pixels(tmp_path, orientation):
    source = png_with(tmp_path / "in.png", [chunk(*RGB_CHUNKS[3])], exif=exif_block(orientation))
    write_picture(read_picture(source), tmp_path / "out.png")
    ratio = (3, 2) if orientation < 5 else (2, 3)
    assert chunk(b"pHYs", struct.pack(">IIB", *ratio, 0)) in (tmp_path / "out.png").read_bytes()


def test_png_chunks_follow_the_pixels_they_describe(tmp_path, caplog):
    """A palette that becomes RGB with alpha, grey that becomes RGB."""
    indexed = Image.fromarray(blocks()).quantize(16)
    indexed.save(tmp_path / "indexed.png", transparency=3)
    whole, palette = (tmp_path / "indexed.png").read_bytes(), indexed.getpalette("RGB")
    more = chunk(b"sBIT", b"\5\6\5") + chunk(b"bKGD", b"\2")
    (tmp_path / "indexed.png").write_bytes(whole[:33] + more + whole[33:])
    write_picture(read_picture(tmp_path / "indexed.png"), tmp_path / "rgb.png")
    written = (tmp_path / "rgb.png").read_bytes()
    assert chunk(b"sBIT", b"\5\6\5\x08") in written and chunk(b"bKGD", struct.pack(">HHH", *palette[6:9])) in written
    grey = read_picture(png_with(tmp_path / "grey.png", [chunk(b"sBIT", b"\4")], blocks(channels=1)))
    coloured = Picture(grey.pixels.repeat(3, 2), metadata=grey.metadata)
    write_picture(coloured, tmp_path / "coloured.png")
    assert "coloured.png: its sBIT describes other pixels: not kept" in caplog.text
    with Image.open(tmp_path / "coloured.png") as raw:
        raw.load()


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("kind", ["exif", "APP1"])
def test_header_and_picture_agree_on_an_orientation_in_text(tmp_path, kind, place):
    block = exif_block(6)
    text = b"\n%s\n%8d\n%s\n" % (kind.lower().encode(), len(block), block.hex().encode())
    text_chunk = chunk(b"zTXt", b"Raw profile type %s\0\0" % kind.encode() + zlib.compress(text))
    whole = save(tmp_path / "in.png", blocks()).read_bytes()
    cut = 33 if place == "before" else len(whole) - 12
    (tmp_path / "in.png").write_bytes(whole[:cut] + text_chunk + whole[cut:])
    header, picture = read_header(tmp_path / "in.png"), read_picture(tmp_path / "in.png")
    assert (header.width, header.height) == picture.size == (40, 64)


# ------------------------------------------------------------------------------------------------------------------ TIFF


def test_signed_eight_bits_are_refused(tmp_path):
    save(tmp_path / "in.tif", blocks(channels=1), tiffinfo={339: 2})
    for read in (read_picture, read_header):
        with pytest.raises(InputError, match="has signed numbers of 8 bits, which psal does not read"):
            read(tmp_path / "in.tif")


def test_tiff_tags_are_kept_or_said(tmp_path, caplog):
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[297], tags[318], tags[319] = (2, 5), (0.3127, 0.329), (0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
    tags.tagtype[42112], tags.tagtype[65000] = 2, 4
    tags[42112], tags[65000] = "<GDALMetadata/>", 7
    picture = read_picture(save(tmp_path / "in.tif", blocks(), tiffinfo=tags))
    assert caplog.messages == [f"{tmp_path / 'in.tif'}: its GDAL metadata and tag 65000 are not kept"]
    write_picture(picture, tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as raw:
        assert raw.tag_v2[297] == (2, 5)
        assert raw.tag_v2[319] == pytest.approx(tags[319]) and raw.tag_v2[318] == pytest.approx(tags[318])


def test_an_orientation_in_xmp_alone_makes_no_exif(tmp_path):
    picture = read_picture(save(tmp_path / "in.jpg", blocks(), xmp=XMP))
    assert picture.size == (40, 64) and picture.metadata.exif is None
    image = Image.new("RGB", (8, 8))
    image.format, image.info["xmp"] = "JPEG", picture.metadata.xmp
    assert orientation_of(image) == 1
