"""What every verb makes of wide profiles, 16 bits, CMYK and motion photos: kept, or one line says that it is lost."""

import io
import shutil
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from psal_cli.image import Metadata, Picture, read_picture, write_picture

from .photos import psal
from .pictures import save
from .raw_files import cmyk_profile, prophoto_profile

VIDEO = struct.pack(">I4s4sI4s", 20, b"ftyp", b"mp42", 0, b"mp42") + struct.pack(">I4s", 6008, b"mdat") + b"\7" * 6000
MOTION = (
    b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:GCamera="http://ns.google.com/photos/1.0/'
    b'camera/" xmlns:dc="http://purl.org/dc/elements/1.1/" GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" '
    b'GCamera:MotionPhotoPresentationTimestampUs="968644" dc:title="Dandelion"/></rdf:RDF></x:xmpmeta>'
)
OPTIONS = {
    "inpaint": ["--box", "10,10,8,8"],
    "upscale": ["-x", "2"],
    "colorize": ["--ref", "ref.png"],
    "generate": ["--method", "psin"],
    "reconstruct": ["--from", "ref.png"],
}


def colours(kind=np.uint8, channels=3):
    """Dull blocks, which sRGB holds too."""
    values = np.random.default_rng(5).integers(90, 150, (4, 5, channels)).repeat(8, 0).repeat(8, 1).astype(kind)
    return values * 257 + 5 if kind == np.uint16 else values


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A folder in/ with a picture of each kind, beside a reference; the verbs' outputs come there too."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "in").mkdir()
    save(folder / "ref.png", colours()[:, ::-1])
    wide = Picture(colours(np.uint16), metadata=Metadata(icc=prophoto_profile(2)))
    write_picture(wide, folder / "in/wide16.tif")
    for version in (2, 4):
        save(folder / f"in/wide{version}.jpg", colours(), icc_profile=prophoto_profile(version), quality=100, subsampling=0)
    Image.fromarray(colours(channels=4), "CMYK").save(folder / "in/inks.jpg", icc_profile=cmyk_profile(), quality=100)
    plain = save(folder / "in/motion.jpg", colours()).read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(MOTION) + 2) + MOTION
    (folder / "in/motion.jpg").write_bytes(plain[:20] + segment + plain[20:] + VIDEO)
    return folder


@pytest.fixture(scope="module")
def results(sources):
    """{verb: (its output folder, what it said)}, made when first asked for."""
    made = {}

    def of(verb):
        if verb not in made:
            out = sources / verb
            done = psal(verb, sources / "in", "-o", out, "--threads", "1", *OPTIONS[verb])
            assert done.exit_code == 0, done.stderr
            made[verb] = out, done.stderr
        return made[verb]

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(sources)
        yield of
    shutil.rmtree(sources)


def srgb(icc):
    return icc is None or "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc)))


def lightness(path):
    """L of Lab of a JPEG file, by its profile."""
    with Image.open(path) as image:
        stored = image.info.get("icc_profile")
        profile = ImageCms.ImageCmsProfile(io.BytesIO(stored)) if stored else ImageCms.createProfile("sRGB")
        lab = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("LAB"), outputMode="LAB")
    return np.asarray(lab)[..., 0].astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("verb", OPTIONS)
def test_wide_profiles_and_16_bits_are_kept_or_said(sources, results, verb):
    out, said = results(verb)
    for name in ("wide16.tif", "wide2.jpg", "wide4.jpg"):
        source, result = read_picture(sources / "in" / name), read_picture(out / name)
        assert source.metadata.icc == prophoto_profile(4 if name == "wide4.jpg" else 2)
        assert result.pixels.dtype == source.pixels.dtype
        if verb == "colorize":  # works in sRGB
            assert f"{name} has another ICC profile than sRGB, or a grey one: the result is sRGB" in said
            assert srgb(result.metadata.icc)
        elif verb == "reconstruct":  # its pixels are those of the reference
            assert srgb(result.metadata.icc)
        else:
            assert result.metadata.icc == source.metadata.icc and "ICC" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wide2.jpg", "wide4.jpg"])
def test_colorize_keeps_the_lightness_that_a_profile_means(sources, results, name):
    out, _ = results("colorize")
    difference = np.abs(lightness(out / name) - lightness(sources / "in" / name))
    assert difference.max() <= 6
    assert np.abs(np.asarray(Image.open(sources / "in" / name).convert("L"), int) - lightness(sources / "in" / name)).mean() > 10


@pytest.mark.slow
@pytest.mark.parametrize("verb", OPTIONS)
def test_inks_become_srgb_and_it_is_said(results, verb):
    out, said = results(verb)
    assert "inks.jpg is CMYK: it becomes sRGB" in said
    with Image.open(out / "inks.jpg") as image:
        assert image.mode == "RGB" and srgb(image.info.get("icc_profile"))


@pytest.mark.slow
@pytest.mark.parametrize("verb", OPTIONS)
def test_the_video_of_a_motion_photo_is_said_to_be_lost_and_nothing_points_to_it(results, verb):
    out, said = results(verb)
    assert "motion.jpg: its 7 kB behind the end of the picture is not kept" in said
    written = (out / "motion.jpg").read_bytes()
    assert b"MotionPhoto" not in written and b"ftyp" not in written
    if verb != "reconstruct":
        assert b"Dandelion" in written


def test_outside_the_mask_16_bits_of_a_wide_profile_are_exact(sources, results):
    out, _ = results("inpaint")
    before, after = read_picture(sources / "in/wide16.tif").pixels, read_picture(out / "wide16.tif").pixels
    outside = np.ones(before.shape[:2], bool)
    outside[10:18, 10:18] = False
    assert (before[outside] == after[outside]).all()
