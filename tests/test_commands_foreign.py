"""RAW files, URLs and pictures of floating-point numbers are named as what they are, with the cure."""

from pathlib import Path

import pytest
from PIL import Image

from .photos import psal, texture


@pytest.fixture
def folder(photos):
    photos(2)
    Image.fromarray(texture(0)).save("preview.tif")
    Path("preview.tif").rename("photo.nef")  # a RAW file is a TIFF file around a small preview
    Path("scene.pfm").write_bytes(b"PF\n" + bytes(100))
    Path("scene.hdr").write_bytes(b"#?RADIANCE\n" + bytes(100))


@pytest.mark.parametrize("output", [[], ["-o", "out.png"], ["-o", "new.nef"]])
def test_a_raw_file_is_named_before_its_extension_as_an_output(folder, output):
    done = psal("inpaint", "photo.nef", "--mask", "mask.png", *output)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "photo.nef is a camera RAW file" in done.stderr and "darktable-cli photo.nef photo.tif" in done.stderr


def test_a_raw_file_among_others_stops_no_other(folder):
    done = psal("inpaint", "photo.nef", "photos/000.png", "--mask", "mask.png", "-o", "out")
    assert done.exit_code == 1 and "is a camera RAW file" in done.stderr and Path("out/000.png").exists()


@pytest.mark.parametrize("option", [("inpaint", "--mask"), ("colorize", "--ref"), ("reconstruct", "--from")])
@pytest.mark.parametrize(
    ("name", "words"),
    [("photo.nef", "is a camera RAW file"), ("scene.pfm", "numbers (PFM)"), ("scene.hdr", "numbers (Radiance HDR)")],
)
def test_a_mask_or_reference_is_named_too(folder, option, name, words):
    verb, flag = option
    done = psal(verb, "photos/000.png", flag, name, "-o", "out.png")
    assert done.exit_code == 2 and name in done.stderr and words in done.stderr and done.stderr.count("\n") == 1
    assert not Path("out.png").exists()


@pytest.mark.parametrize(("name", "kind"), [("scene.pfm", "PFM"), ("scene.hdr", "Radiance HDR")])
def test_floating_point_is_refused_in_one_line(folder, name, kind):
    done = psal("inpaint", name, "--mask", "mask.png")
    cure = "which psal reads from TIFF and OpenEXR only: export it as a TIFF file, of floats or of 16 bits"
    assert done.exit_code == 2 and done.stderr == f"psal: {name} has floating-point numbers ({kind}), {cure}\n"


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("ftp://example.org/a.jpg", "copy it to a file or to one of these"),
        ("SSH://host/a.jpg", "copy it to a file or to one of these"),
        ("file:///tmp/a.jpg", "give the path alone, /tmp/a.jpg"),
    ],
)
def test_a_url_that_psal_does_not_read_is_named_as_one_wherever_a_file_is_read(folder, url, cure):
    for args in (
        ["inpaint", url, "--mask", "mask.png"],
        ["inpaint", "photos/000.png", "--mask", url],
        ["inpaint", "photos/000.png", "--mask", "mask.png", "--source-mask", url],
        ["colorize", "photos/000.png", "--ref", url],
        ["reconstruct", "photos/000.png", "--from", url],
        ["generate", "photos/000.png", "--keep", url],
    ):
        done = psal(*args)
        assert done.exit_code == 2 and done.stderr.count("\n") == 1 and url in done.stderr and cure in done.stderr


@pytest.mark.parametrize("option", ["-o", "--compare", "--save-offsets"])
def test_what_can_only_be_read_is_no_place_to_write(folder, option):
    done = psal("inpaint", "photos/000.png", "--mask", "mask.png", option, "https://example.org/a.png")
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "https://example.org/a.png: https:// can only be read: write a file, or to s3:// or gs://" in done.stderr
    assert not Path("photos/000_inpainted.png").exists()


@pytest.mark.parametrize("option", ["--failed-list", "--report", "--from-file", "--weights"])
def test_files_that_are_psals_own_are_local(folder, option):
    done = psal("inpaint", "photos/000.png", "--mask", "mask.png", option, "s3://bucket/a.jsonl")
    assert done.exit_code == 2 and "only a local file can be given here: download it first" in done.stderr


def test_a_url_in_a_list_is_found_before_any_work(folder):
    Path("list.txt").write_text("photos/000.png\nftp://host/a.jpg\n")
    done = psal("inpaint", "--from-file", "list.txt", "--mask", "mask.png", "-o", "out")
    assert done.exit_code == 2 and "ftp://host/a.jpg: psal knows no ftp://" in done.stderr and not Path("out").exists()
