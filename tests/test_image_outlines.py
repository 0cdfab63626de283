"""Masks that other programs write as JSON: COCO, Segment Anything, labelme; and `psal inpaint --polygon-file`."""

import builtins
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from psal_cli.errors import InputError
from psal_cli.image.mask import read_region
from psal_cli.image.outlines import from_runs, read_outlines, unpacked

from .photos import SIZE, lines, psal
from .pictures import pixels_of

WIDTH, HEIGHT = SIZE
SQUARE = [4, 3, 10, 3, 10, 8, 4, 8]  # as COCO has corners: columns 4 to 9, rows 3 to 7


def square(rows=slice(3, 8), columns=slice(4, 10)):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[rows, columns] = True
    return mask


def runs(mask):
    """Lengths of runs down each column, the first of what is unmarked."""
    flat = np.concatenate([[False], mask.T.ravel()])
    starts = np.concatenate([[0], np.flatnonzero(np.diff(flat)), [mask.size]])
    return np.diff(starts).tolist()


def packed(counts):
    """As COCO packs them, by its description: differences from the third on, five bits a character, signed."""
    text = ""
    for number, count in enumerate(counts):
        left = count - counts[number - 2] if number > 2 else count
        while True:
            bits, left = left & 31, left >> 5
            done = left == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if done else bits | 32))
            if done:
                break
    return text


def write(content, name="marks.json"):
    Path(name).write_text(json.dumps(content))
    return name


@pytest.fixture(autouse=True)
def _folder(photos):
    photos(2)  # photos/000.png, photos/001.png


def coco(*annotations):
    images = [{"id": 7 + n, "file_name": f"some/{n:03}.png", "width": WIDTH, "height": HEIGHT} for n in range(2)]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    return {"images": images, "annotations": list(annotations), "categories": categories}


def test_polygons_of_a_coco_data_set_are_those_of_the_picture_and_label():
    marks = coco(
        {"id": 50, "image_id": 7, "category_id": 1, "segmentation": [SQUARE, [20, 20, 24, 20, 24, 22, 20, 22]]},
        {"id": 51, "image_id": 7, "category_id": 2, "segmentation": [[30, 1, 32, 1, 32, 3, 30, 3]]},
        {"id": 52, "image_id": 8, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
    )
    path = write(marks)
    person, dog = square() | square(slice(20, 22), slice(20, 24)), square(slice(1, 3), slice(30, 32))
    np.testing.assert_array_equal(read_outlines(path, SIZE, "000.png"), person | dog)
    np.testing.assert_array_equal(read_outlines(path, SIZE, "000.png", ["person"]), person)
    np.testing.assert_array_equal(read_outlines(path, SIZE, "000.png", ["51"]), dog)
    np.testing.assert_array_equal(read_outlines(path, SIZE, "001.png"), square(slice(0, 2), slice(0, 2)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("form", ["list", "packed", "generator", "single"])
def test_runs_of_segment_anything(form, seed):
    mask = square() if seed == 0 else np.random.default_rng(seed).random((HEIGHT, WIDTH)) < (0.02, 0.5, 0.999)[seed - 1]
    counts = runs(mask) if form == "list" else packed(runs(mask))
    segmentation = {"size": [HEIGHT, WIDTH], "counts": counts}
    content = {
        "list": {
            "image": {"image_id": 3, "width": WIDTH, "height": HEIGHT},
            "annotations": [{"id": 9, "segmentation": segmentation}],
        },
        "packed": {
            "image": {"image_id": 3, "width": WIDTH, "height": HEIGHT},
            "annotations": [{"id": 9, "segmentation": segmentation}],
        },
        "generator": [{"segmentation": segmentation, "area": int(mask.sum())}],
        "single": segmentation,
    }[form]
    np.testing.assert_array_equal(read_outlines(write(content), SIZE, "any.png"), mask)


def test_runs_are_packed_as_coco_packs_them():
    """One by hand, and where they are installed, what COCO's own tools make of random ones."""
    assert unpacked("52203") == [5, 2, 2, 2, 5] and packed([5, 2, 2, 2, 5]) == "52203"
    coco_masks = pytest.importorskip("pycocotools.mask")
    for seed in range(20):
        mask = np.random.default_rng(seed).random((HEIGHT, WIDTH)) < seed / 20
        text = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        np.testing.assert_array_equal(from_runs(unpacked(text), SIZE), mask)


def test_shapes_of_labelme():
    shapes = [
        {"label": "sign", "shape_type": "polygon", "points": [[4, 3], [10, 3], [10, 8], [4, 8]]},
        {"label": "wire", "shape_type": "rectangle", "points": [[24, 22], [20, 20]]},
    ]
    path = write({"version": "5.4.1", "shapes": shapes, "imageHeight": HEIGHT, "imageWidth": WIDTH})
    np.testing.assert_array_equal(read_outlines(path, SIZE), square() | square(slice(20, 22), slice(20, 24)))
    np.testing.assert_array_equal(read_outlines(path, SIZE, labels=["wire"]), square(slice(20, 22), slice(20, 24)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (coco(), "no picture called other.png, and 2 in all"),
        ([{"segmentation": {"size": [HEIGHT, WIDTH + 1], "counts": [1]}}], "is about a picture of 41x30, this one is 40x30"),
        ([{"segmentation": {"size": [HEIGHT, WIDTH], "counts": [1, 2]}}], "or is damaged"),
        ([{"segmentation": {"size": [HEIGHT, WIDTH], "counts": "5é"}}], "or is damaged"),
        ([{"segmentation": {"size": [HEIGHT, WIDTH], "counts": [1 << 62] * 4 + [HEIGHT * WIDTH]}}], "or is damaged"),
        ([{"segmentation": None}], "or is damaged"),
        ([{"segmentation": [[1, 2, 3, 4, 5]]}], "or is damaged"),
        ({"shapes": [{"label": "a", "points": {}}]}, "or is damaged"),
        ({"shapes": [{"label": "a", "points": [[1, 2], [3, 4]]}]}, "at least 3 corners"),
        ({"shapes": [{"label": "a", "shape_type": "circle", "points": [[1, 2], [3, 4]]}]}, "has a circle called a"),
        ({"shapes": [], "imageWidth": 3, "imageHeight": 4}, "is about a picture of 3x4"),
        ({"a": 1}, "is not a COCO data set"),
        ("text", "is not a COCO data set"),
    ],
)
def test_refusals_name_the_file(content, words):
    with pytest.raises(InputError, match=words) as refusal:
        read_outlines(write(content), SIZE, "other.png")
    assert "marks.json" in str(refusal.value)


def test_parts_without_a_pixel_mark_nothing():
    tiny, short, outside = [5.1, 5.1, 5.2, 5.1, 5.2, 5.2], [1, 2, 3, 4], [90, 3, 99, 3, 99, 8]
    np.testing.assert_array_equal(read_outlines(write([{"segmentation": [tiny, SQUARE, short, outside]}]), SIZE), square())


def test_shapes_that_no_label_chose_may_be_of_any_kind():
    shapes = [
        {"label": "eye", "shape_type": "point", "points": [[4, 3]]},
        {"label": "sign", "shape_type": "polygon", "points": [[4, 3], [10, 3], [10, 8], [4, 8]]},
    ]
    np.testing.assert_array_equal(read_outlines(write({"shapes": shapes}), SIZE, labels=["sign"]), square())


def test_a_number_is_packed_into_few_characters():
    with pytest.raises(ValueError):
        unpacked("P" * 100 + "0")


def test_a_file_is_parsed_once_until_it_changes(monkeypatch):
    parsed, loads = [], json.loads
    monkeypatch.setattr("psal_cli.image.outlines.json.loads", lambda text: parsed.append(text) or loads(text))
    path = write([{"segmentation": [SQUARE]}])
    for _ in range(3):
        np.testing.assert_array_equal(read_outlines(path, SIZE), square())
    assert len(parsed) == 1
    write([{"segmentation": [SQUARE, [20, 20, 24, 20, 24, 22, 20, 22]]}])
    np.testing.assert_array_equal(read_outlines(path, SIZE), square() | square(slice(20, 22), slice(20, 24)))


def test_a_file_that_is_too_large_is_not_called_damaged(monkeypatch):
    monkeypatch.setattr("psal_cli.image.outlines.MOST_BYTES", 20)
    with pytest.raises(InputError, match=r"marks\.json has more than 20 bytes"):
        read_outlines(write([{"segmentation": [SQUARE]}]), SIZE)


def test_the_command_fills_what_the_file_marks_in_each_picture():
    marks = coco(
        {"id": 50, "image_id": 7, "category_id": 1, "segmentation": [SQUARE]},
        {"id": 52, "image_id": 8, "category_id": 2, "segmentation": [[20, 20, 26, 20, 26, 26, 20, 26]]},
    )
    run = ("inpaint", "photos", "-r", "--polygon-file", write(marks), "-o", "out", "--engine", "patch")
    assert psal(*run).exit_code == 0
    for name, hole in (("000.png", square()), ("001.png", square(slice(20, 26), slice(20, 26)))):
        changed = (pixels_of(f"out/{name}") != pixels_of(f"photos/{name}")).any(2)
        assert not (changed & ~hole).any()
        expected = psal(*("inpaint", f"photos/{name}", "--engine", "patch", "--force", "-o", "one.png"), *box_of(hole))
        assert expected.exit_code == 0 and Path("one.png").read_bytes() == Path(f"out/{name}").read_bytes()
    done = psal(*run, "--force", "--polygon-label", "dog", "--json")
    assert [line["status"] for line in lines(done)] == ["failed", "done"] and "nothing called dog, only person" in done.stdout
    assert "requires --polygon-file" in psal("inpaint", "photos/000.png", "--box", "1,1,4,4", "--polygon-label", "dog").stderr


def box_of(hole):
    rows, columns = np.nonzero(hole)
    return "--box", f"{columns.min()},{rows.min()},{np.ptp(columns) + 1},{np.ptp(rows) + 1}"


# ------------------------------------------------------------------------------------------------------------------ layers


def pages(path, *layers):
    """A TIFF file with a page for each (name, picture)."""
    first, *rest = [Image.fromarray(picture) for _, picture in layers]
    for image, (name, _) in zip((first, *rest), layers, strict=True):
        image.encoderinfo = {"tiffinfo": {285: name}}
    first.save(path, save_all=True, append_images=rest, tiffinfo={285: layers[0][0]})


def test_a_page_of_a_layered_tiff_is_the_mask():
    photo = np.asarray(Image.open("photos/000.png"))
    painted = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    painted[square()] = 200, 30, 30, 255
    pages("photo.tif", ("Background", photo), ("Mask", painted), ("deep", square().astype(np.uint16) * 65535))
    given = ("inpaint", "photos/000.png", "--engine", "patch", "--mask", "photo.tif", "--force", "-o", "out.png")
    expected = psal(*given[:4], *box_of(square()), "-o", "one.png")
    assert expected.exit_code == 0
    for layer in ("mask", "2", "deep", "3"):
        done = psal(*given, "--mask-layer", layer)
        assert done.exit_code == 0, done.stderr
        assert Path("out.png").read_bytes() == Path("one.png").read_bytes()
    done = psal(*given, "--mask-layer", "other")
    assert done.exit_code == 2 and "no layer called other; its layers: Background, Mask, deep" in done.stderr
    done = psal(*given[:4], "--mask", "photos/000.png", "--mask-layer", "a")
    assert done.exit_code == 2 and "has no layers" in done.stderr
    assert "--mask-layer requires --mask" in psal(*given[:4], "--box", "1,1,4,4", "--mask-layer", "a").stderr


@pytest.mark.slow
def test_layer_masks_and_painted_layers_of_psd():
    psd_tools = pytest.importorskip("psd_tools")
    psd = psd_tools.PSDImage.new("RGB", (WIDTH, HEIGHT))
    psd.create_pixel_layer(Image.open("photos/000.png"), name="Background")
    painted = np.zeros((5, 6, 4), np.uint8)
    painted[..., 3] = 255
    psd.create_pixel_layer(Image.fromarray(painted), name="mask of a sign", top=3, left=4)
    psd.save("photo.psd")
    given = ("inpaint", "photos/000.png", "--engine", "patch", "-o", "out.png", "--force")
    assert psal(*given, *box_of(square())).exit_code == 0
    expected = Path("out.png").read_bytes()
    for more in ((), ("--mask-layer", "Mask of a sign")):
        done = psal(*given, "--mask", "photo.psd", *more)
        assert done.exit_code == 0, done.stderr
        assert Path("out.png").read_bytes() == expected
    done = psal(*given, "--mask", "photo.psd", "--mask-layer", "Background")
    assert done.exit_code == 2 and "its layers: mask of a sign" in done.stderr


def black_and_white():
    return np.repeat(square()[..., None] * np.uint8(255), 3, 2)


def test_an_opaque_page_is_read_by_its_light():
    opaque = np.dstack([black_and_white(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    pages("photo.tif", ("Background", black_and_white()), ("Mask", opaque))
    np.testing.assert_array_equal(read_region("photo.tif", SIZE, layer="Mask"), square())


def layered_psd(*layers, path="photo.psd"):
    """A PSD file with layers (name, picture, left, top)."""
    psd_tools = pytest.importorskip("psd_tools")
    psd = psd_tools.PSDImage.new("RGB", SIZE)
    for name, picture, left, top in layers:
        psd.create_pixel_layer(Image.fromarray(picture), name=name, left=left, top=top)
    psd.save(path)
    return path


def painted(width=6, height=5):
    return np.full((height, width, 4), (0, 0, 0, 255), np.uint8)


@pytest.mark.parametrize("where", ["url", "stdin"])
@pytest.mark.parametrize("form", ["PSD", "TIFF"])
def test_layers_are_read_from_urls_and_stdin(form, where, monkeypatch):
    name = "mask"
    if form == "PSD":
        data = Path(layered_psd((name, painted(), 4, 3))).read_bytes()
    else:
        pages("photo.tif", ("Background", black_and_white()), (name, black_and_white()))
        data = Path("photo.tif").read_bytes()
    if where == "url":
        path = f"memory://layers/photo.{form.lower()}"
        pytest.importorskip("fsspec").filesystem("memory").pipe_file(path, data)
    else:
        path = "-"
        monkeypatch.setattr("psal_cli.files._read_stdin", lambda: data)
    np.testing.assert_array_equal(read_region(path, SIZE, layer=name), square())


def test_a_layer_of_another_size_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    pages("photo.tif", ("Background", black_and_white()), ("Mask", np.zeros((HEIGHT, WIDTH + 1, 4), np.uint8)))
    with pytest.raises(InputError, match="its layer Mask is 41x30, the picture is 40x30"):
        read_region("photo.tif", SIZE, layer="2")


def test_a_layer_of_psd_may_reach_beyond_the_picture_up_to_the_limit():
    path = layered_psd(("mask", painted(100, 50), -90, -42), ("mask far", painted(), 4, 90), ("mask above", painted(), 4, -25))
    np.testing.assert_array_equal(read_region(path, SIZE, layer="mask"), square(slice(0, 8), slice(0, 10)))
    assert not read_region(path, SIZE, layer="mask far").any() and not read_region(path, SIZE, layer="mask above").any()
    with pytest.raises(InputError, match="its layer mask is 100x50, more than the limit"):
        read_region(path, SIZE, max_pixels=4999, layer="mask")


@pytest.mark.parametrize("form", ["PSD", "TIFF"])
def test_damaged_layers_are_refused(form):
    if form == "PSD":
        data = Path(layered_psd(("mask", painted(), 4, 3))).read_bytes()
    else:
        pages("photo.tif", ("Background", black_and_white()), ("mask", black_and_white()))
        data = Path("photo.tif").read_bytes()
    refused, rng = 0, np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data[: rng.integers(20, len(data))])
        damaged[rng.integers(8, len(damaged))] ^= 0xFF
        Path("damaged").write_bytes(damaged)
        try:
            read_region("damaged", SIZE, layer="mask")
        except InputError as refusal:
            refused += str(refusal).startswith("damaged")
    assert refused > 5  # the rest reads past what is damaged


def test_layers_of_one_name_are_told_apart_by_capitals_or_number():
    empty = black_and_white() * np.uint8(0)
    pages("photo.tif", ("Background", empty), ("mask", black_and_white()), ("mask", empty), ("Mask", empty))
    with pytest.raises(InputError, match=r"has 2 layers called mask: give the number of one \(2, 3\)"):
        read_region("photo.tif", SIZE, layer="mask")
    assert not read_region("photo.tif", SIZE, layer="Mask").any()
    np.testing.assert_array_equal(read_region("photo.tif", SIZE, layer="2"), square())


def test_a_mask_without_permission_is_one_line(monkeypatch):
    Path("mask.png").write_bytes(Path("photos/000.png").read_bytes())
    allowed = builtins.open

    def refuse(path, *args, **more):
        if str(path).endswith("mask.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return allowed(path, *args, **more)

    monkeypatch.setattr(builtins, "open", refuse)
    done = psal("inpaint", "photos/000.png", "--mask", "mask.png", "-o", "out.png")
    assert done.exit_code == 2 and "mask.png: no permission to read it" in done.stderr


def test_psd_without_its_package_names_the_cure(monkeypatch):
    Path("photo.psd").write_bytes(
        b"8BPS\0\1" + bytes(6) + b"\0\3" + HEIGHT.to_bytes(4) + WIDTH.to_bytes(4) + b"\0\x08\0\3" + bytes(40)
    )
    monkeypatch.setitem(__import__("sys").modules, "psd_tools", None)
    done = psal("inpaint", "photos/000.png", "--mask", "photo.psd", "-o", "out.png")
    assert done.exit_code == 2 and "pip install 'psal[psd]'" in done.stderr
