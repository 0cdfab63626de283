"""Small valid picture files of every format, depth and colour mode that psal reads, with metadata; what fuzz_files.py mutates."""

import io
import struct
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, features

from psal_cli.image import Metadata, Picture, write_picture

WIDTH, HEIGHT = 40, 32
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="1"/></x:xmpmeta>'
NOT_PICTURES = {
    "txt": b"a text file\n" * 40,
    "empty": b"",
    "zeros": bytes(4096),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
}


def _pixels(channels: int, dtype=np.uint8) -> np.ndarray:
    """[H, W, C]: smooth colours with some noise, alpha (the channel after 1 or 3) opaque, half and clear in stripes."""
    noise = np.random.default_rng(0).integers(0, 40, (HEIGHT, WIDTH, channels))
    out = noise + np.linspace(0, 200, WIDTH)[None, :, None] * np.linspace(0.3, 1, channels)
    if channels in (2, 4):
        out[..., -1] = np.array([255, 128, 0, 255])[np.arange(WIDTH) * 4 // WIDTH]
    return (out * (np.iinfo(dtype).max // 255)).astype(dtype)


def _image(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(_pixels(1, np.uint16)[..., 0])
    if mode in ("1", "L", "F"):
        return Image.fromarray(_pixels(1)[..., 0]).convert(mode)
    if mode in ("P", "CMYK"):
        return Image.fromarray(_pixels(3)).convert(mode)
    return Image.fromarray(_pixels(len(mode)), mode)


def exif_block(orientation: int = 6, thumbnail: bool = True) -> bytes:
    """With a few text and rational tags, the Exif and GPS directories, a maker's note, and a thumbnail."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A], exif[0x0131] = orientation, "Maker", 300.0, "psal fuzz"
    exif.get_ifd(0x8769).update({0x829A: (1, 250), 0x927C: b"Maker\0\0\1II*\0" + bytes(30), 0xA002: WIDTH, 0xA003: HEIGHT})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 24.0)})
    block = exif.tobytes()
    if not thumbnail:
        return block
    small = io.BytesIO()
    _image("RGB").resize((16, 12)).save(small, "JPEG")
    data, order = bytearray(block[6:]), "<" if block[6:8] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    struct.pack_into(order + "I", data, at + 2 + 12 * count, len(data))  # the next directory, of the thumbnail, comes last
    entries = ((0x0103, 3, 6), (0x0201, 4, len(data) + 2 + 3 * 12 + 4), (0x0202, 4, small.tell()))
    data += struct.pack(order + "H", 3) + b"".join(
        struct.pack(order + "HHII", tag, kind, 1, value) for tag, kind, value in entries
    )
    return b"Exif\0\0" + bytes(data) + bytes(4) + small.getvalue()


def cmyk_profile():
    """A small but valid ICC profile: CMYK to Lab through a table of 2x2x2x2 colours."""
    table = []
    for index in range(16):
        c, m, y, k = (index >> shift & 1 for shift in (3, 2, 1, 0))
        light = 255 * (1 - k) * (1 - 0.2 * (c + m + y))
        table += [light, 128 + 70 * (m - c) * (1 - k), 128 + 70 * (y - m / 2 - c / 2) * (1 - k)]
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *[65536 if i % 4 == 0 else 0 for i in range(9)])
    lut += ramp * 4 + bytes(int(value) for value in table) + ramp * 3
    lut += bytes(-len(lut) % 4)
    head = struct.pack(">I4sI4s4s4s12x4s", 144 + len(lut), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut


def saved(image: Image.Image, format: str, **arguments) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **arguments)
    return out.getvalue()


def with_metadata(name: str, exif: bytes, icc: bytes, xmp: bytes) -> bytes:
    """A valid picture file of the name's format around metadata that need not be valid."""
    format = Image.registered_extensions()[Path(name).suffix]
    if format == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode("latin-1"))
        info.add_text("Comment", "a text chunk", zip=True)
        return saved(_image("RGB"), "PNG", pnginfo=info, exif=exif, icc_profile=icc)
    if format == "TIFF":  # its EXIF is its directory, which Pillow would parse
        return saved(_image("RGB"), "TIFF", icc_profile=icc, tiffinfo={700: xmp})
    return saved(_image("RGB"), format, exif=exif, icc_profile=icc, xmp=xmp)


def _cv2(suffix: str, pixels: np.ndarray, *options: int) -> bytes:
    """A file of 16 bits, which Pillow does not write in colour."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(pixels.shape[2], [0])
    return cv2.imencode(suffix, pixels[..., order], list(options))[1].tobytes()


def _psal_tiff(exif: bytes) -> bytes:
    """As psal writes it, with the directories of the EXIF, in its order of bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "psal.tif")
        write_picture(Picture(_pixels(3, np.uint16), _pixels(1, np.uint16)[..., 0], Metadata(SRGB, exif, XMP)), path)
        return path.read_bytes()


def _frames() -> dict:
    return {"save_all": True, "append_images": [_image("RGB").rotate(180)]}


def _plain() -> dict[str, bytes]:
    """The formats that every Pillow reads."""
    exif = exif_block()
    told = {"exif": exif, "icc_profile": SRGB}
    files = {
        "grey.jpg": saved(_image("L"), "JPEG", quality=90),
        "colour.jpg": saved(_image("RGB"), "JPEG", quality=95, subsampling=0, xmp=XMP, comment="psal", **told),
        "progressive.jpg": saved(_image("RGB"), "JPEG", progressive=True, optimize=True, restart_marker_rows=1),
        "cmyk.jpg": saved(_image("CMYK"), "JPEG", icc_profile=cmyk_profile()),
        "mpo.jpg": saved(_image("RGB"), "MPO", **_frames()),
        "rgb16.png": _cv2(".png", _pixels(3, np.uint16)),
        "rgba16.png": _cv2(".png", _pixels(4, np.uint16)),
        "metadata.png": with_metadata("x.png", exif, SRGB, XMP),
        "transparent_palette.png": saved(_image("P"), "PNG", transparency=bytes([0, 128] * 20)),
        "transparent_colour.png": saved(_image("RGB"), "PNG", transparency=(0, 0, 0)),
        "animated.png": saved(_image("RGB"), "PNG", **_frames()),
        "rgb16.tif": _cv2(".tif", _pixels(3, np.uint16), cv2.IMWRITE_TIFF_COMPRESSION, 5),
        "rgba16.tif": _cv2(".tif", _pixels(4, np.uint16), cv2.IMWRITE_TIFF_COMPRESSION, 1),
        "metadata.tif": saved(_image("RGB"), "TIFF", compression="tiff_lzw", tiffinfo={700: XMP, 274: 6}, icc_profile=SRGB),
        "psal.tif": _psal_tiff(exif_block(1)),
        "psal_mm.tif": _psal_tiff(b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\1\0\0\0\0\0\0"),
        "cmyk.tif": saved(_image("CMYK"), "TIFF", icc_profile=cmyk_profile()),
        "big.tif": saved(_image("RGB"), "TIFF", big_tiff=True),
        "pages.tif": saved(_image("RGB"), "TIFF", **_frames()),
        "float.tif": saved(_image("F"), "TIFF"),
        "lossy.webp": saved(_image("RGB"), "WEBP", quality=80, xmp=XMP, **told),
        "lossless.webp": saved(_image("RGBA"), "WEBP", lossless=True),
        "alpha.webp": saved(_image("RGBA"), "WEBP", quality=80),
        "animated.webp": saved(_image("RGB"), "WEBP", **_frames()),
    }
    files |= {f"{mode.replace(';', '')}.png": saved(_image(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")}
    files |= {f"{mode.replace(';', '')}.tif": saved(_image(mode), "TIFF") for mode in ("L", "LA", "P", "RGBA", "I;16")}
    files |= {
        f"{name}.tif": saved(_image("RGB"), "TIFF", compression=name) for name in ("tiff_adobe_deflate", "packbits", "jpeg")
    }
    files |= {f"{name}.tif": saved(_image("1"), "TIFF", compression=name) for name in ("group3", "group4")}
    files |= {f"{mode}.bmp": saved(_image(mode), "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")}
    return files


def _modern() -> dict[str, bytes]:
    """AVIF where Pillow has it, HEIC and JPEG XL where their plugins are installed."""
    told = {"exif": exif_block(), "icc_profile": SRGB}
    files = {}
    if features.check("avif"):
        files["colour.avif"] = saved(_image("RGB"), "AVIF", subsampling="4:4:4", xmp=XMP, **told)
        files["alpha.avif"] = saved(_image("RGBA"), "AVIF", quality=60)
        files["grey.avif"] = saved(_image("L"), "AVIF", subsampling="4:0:0")
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
        files["colour.heic"] = saved(_image("RGB"), "HEIF", xmp=XMP, **told)
        files["alpha.heic"] = saved(_image("RGBA"), "HEIF")
    try:
        import pillow_jxl  # noqa: F401, registers itself
    except ImportError:
        return files
    files["lossy.jxl"] = saved(_image("RGB"), "JXL", quality=90, exif=exif_block())
    files["lossless.jxl"] = saved(_image("RGBA"), "JXL", lossless=True)
    jpeg = saved(_image("RGB"), "JPEG", quality=90, exif=exif_block())
    files["jpeg.jxl"] = saved(Image.open(io.BytesIO(jpeg)), "JXL", lossless_jpeg=True)
    return files


def _openexr() -> dict[str, bytes]:
    """Where its package is installed: each of its compressions, 16 and 32 bits, and the files of renderers."""
    try:
        import OpenEXR
    except ImportError:
        return {}

    def file(names: str | tuple[str, ...] = "RGB", dtype: type = np.float16, **header: object) -> bytes:
        out, pixels = io.BytesIO(), _pixels(len(names)).astype(dtype) / dtype(200)
        planes = {name: np.ascontiguousarray(pixels[..., number]) for number, name in enumerate(names)}
        with OpenEXR.File({"type": OpenEXR.scanlineimage} | header, planes) as exr:
            exr.write(out)
        return out.getvalue()

    kinds = {name.split("_")[0]: getattr(OpenEXR, name) for name in dir(OpenEXR) if name.endswith("_COMPRESSION")}
    files = {f"{name}.exr": file(compression=kind) for name, kind in kinds.items()}
    tiles = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    names = ("Beauty.R", "Beauty.G", "Beauty.B", "Depth.Z")
    parts = [OpenEXR.Part({"name": name}, {"Y": _pixels(1)[..., 0].astype(np.float32)}) for name in "ab"]
    with OpenEXR.File(parts) as several:
        several.write(out := io.BytesIO())
    told = {"comments": "psal fuzz", "exposure": 2.0, "chromaticities": (0.7, 0.3, 0.2, 0.8, 0.1, 0.1, 0.31, 0.33)}
    return files | {
        "attributes.exr": file(dtype=np.float32, **told),
        "alpha.exr": file("RGBA", np.float32),
        "grey.exr": file("Y"),
        "tiled.exr": file(**tiles),
        "layers.exr": file(names),
        "parts.exr": out.getvalue(),
    }


def good_picture() -> bytes:
    return saved(_image("RGB"), "PNG")


def pictures() -> dict[str, bytes]:
    """{name with extension: content}, 40x32 pixels each."""
    return _plain() | _modern() | _openexr()


def masks() -> dict[str, bytes]:
    """Masks for `pictures`: a white rectangle, in the formats and modes that masks come in."""
    hole = np.zeros((HEIGHT, WIDTH), np.uint8)
    hole[10:20, 12:26] = 255
    grey = Image.fromarray(hole)
    painted = Image.merge("RGBA", (grey, Image.new("L", grey.size), Image.new("L", grey.size), grey))
    deep = Image.fromarray(hole.astype(np.uint16) * 257)
    return {
        "grey.png": saved(grey, "PNG"),
        "bits.png": saved(grey.convert("1"), "PNG"),
        "palette.png": saved(grey.convert("P"), "PNG"),
        "painted.png": saved(painted, "PNG"),
        "deep.png": saved(deep, "PNG"),
        "colour.jpg": saved(grey.convert("RGB"), "JPEG", quality=95),
        "bits.tif": saved(grey.convert("1"), "TIFF", compression="group4"),
        "colour.bmp": saved(grey.convert("RGB"), "BMP"),
        "painted.webp": saved(painted, "WEBP", lossless=True),
    }
