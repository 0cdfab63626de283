"""The recipes of examples/masks.md, run with the tools that make the masks where they are installed."""

import importlib
import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from psal_cli.image.outlines import read_outlines

from .photos import ENV, psal

EXAMPLES = Path(__file__).parent.parent / "examples"
SIZE = (240, 160)  # width, height
OBJECT = (slice(60, 110), slice(150, 200))


def photograph(path):
    """A grey-green texture with a yellow square."""
    pixels = np.random.default_rng(0).integers(70, 110, (*SIZE[::-1], 3), np.uint8)
    pixels[OBJECT] = (250, 230, 20)
    Image.fromarray(pixels).save(path)
    return pixels


def read(path):
    return np.asarray(Image.open(path))


def test_the_outlines_of_the_example_mark_what_they_are_called():
    document = json.loads((EXAMPLES / "dandelions.json").read_text())
    (image,) = document["images"]
    with Image.open(EXAMPLES / image["file_name"]) as photo:
        assert photo.size == (image["width"], image["height"])
        light = np.asarray(photo.convert("L"), np.float32)
    regions = {
        label: np.asarray(read_outlines(EXAMPLES / "dandelions.json", photo.size, labels=[label]))
        for label in ("in focus", "blurred")
    }
    assert regions["in focus"][476, 778] and regions["blurred"][1012, 1486]  # the large flower, and a small one
    assert not (regions["in focus"] & regions["blurred"]).any()
    for region in regions.values():
        around = cv2.dilate(region.astype(np.uint8), np.ones((41, 41))) > 0
        assert light[region].mean() > light[around & ~region].mean() + 15  # flowers are lighter than the meadow


@pytest.mark.subprocess
def test_the_mask_of_rembg_removes_the_foreground(tmp_path):
    """By its command, with a network that takes yellow for the foreground in place of the one that it downloads."""
    onnx = pytest.importorskip("onnx", reason="pip install onnx")
    rembg = shutil.which("rembg")
    if rembg is None:
        pytest.skip("rembg is not on the path: pip install 'rembg[cpu,cli]', in an environment of its own")
    yellow = onnx.numpy_helper.from_array(np.array([1, 1, -2], np.float32).reshape(1, 3, 1, 1), "weight")
    node = onnx.helper.make_node("Conv", ["picture", "weight"], ["mask"])
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, "h", "w"])
        for name, channels in (("picture", 3), ("mask", 1))
    ]
    graph = onnx.helper.make_graph([node], "yellow", ends[:1], ends[1:], [yellow])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    place = tmp_path / "models/bria-rmbg/bria-rmbg.onnx"  # where the command keeps the network that it uses by default
    place.parent.mkdir(parents=True)
    onnx.save(model, place)
    photo, mask_file = tmp_path / "photo.png", tmp_path / "mask.png"
    before = photograph(photo)
    environment = ENV | {"U2NET_HOME": str(tmp_path), "MODEL_CHECKSUM_DISABLED": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([rembg, "i", "-om", photo, mask_file], check=True, capture_output=True, env=environment, timeout=600)
    hole = read(mask_file) > 127
    assert hole[OBJECT].mean() > 0.9 and hole.mean() < 0.1
    done = psal("inpaint", photo, "--mask", mask_file, "--dilate", "12", "-o", tmp_path / "background.png")
    assert done.exit_code == 0, done.stderr
    background = read(tmp_path / "background.png")
    assert background[OBJECT].max() < 150 and np.array_equal(background[:, :130], before[:, :130])
    ImageChops.invert(Image.open(mask_file).convert("L")).save(tmp_path / "source.png")
    more = ("--box", "90,60,60,50", "--no-blend", "--source-mask", tmp_path / "source.png")  # beside the foreground
    done = psal("inpaint", photo, *more, "-o", tmp_path / "clean.png")
    assert done.exit_code == 0, done.stderr
    assert read(tmp_path / "clean.png")[60:110, 90:150].max() < 150


def small_segmenter():
    """A network of Segment Anything with all its parts, small and untrained."""
    modeling = importlib.import_module("segment_anything.modeling")
    torch.manual_seed(0)
    size, patch, width = 256, 16, 16  # of its input, and channels between its parts
    encoder = modeling.ImageEncoderViT(
        depth=1,
        embed_dim=32,
        img_size=size,
        num_heads=2,
        patch_size=patch,
        use_rel_pos=True,
        global_attn_indexes=[0],
        out_chans=width,
    )
    grid = size // patch
    prompts = modeling.PromptEncoder(width, (grid, grid), (size, size), 8)
    transformer = modeling.TwoWayTransformer(depth=1, embedding_dim=width, num_heads=2, mlp_dim=32)
    return modeling.Sam(encoder, prompts, modeling.MaskDecoder(transformer_dim=width, transformer=transformer)).eval()


@pytest.mark.parametrize("form", ["generator", "SA-1B"])
def test_masks_that_segment_anything_writes_are_read_to_the_pixel(tmp_path, form):
    """By its own generator, as a list and as the files of its data set hold the same records."""
    try:
        sam = importlib.import_module("segment_anything")
        importlib.import_module("torchvision.ops")
    except (ImportError, RuntimeError) as error:  # the second: a torchvision for another torch
        pytest.skip(f"segment-anything is not usable here: {error}")
    pixels, network = photograph(tmp_path / "photo.png"), small_segmenter()
    every = {"points_per_side": 4, "pred_iou_thresh": -9.0, "stability_score_thresh": -9.0, "box_nms_thresh": 0.99}
    masks = [made["segmentation"] for made in sam.SamAutomaticMaskGenerator(network, **every).generate(pixels)]
    records = sam.SamAutomaticMaskGenerator(network, output_mode="coco_rle", **every).generate(pixels)
    if form == "SA-1B":
        image = {"image_id": 7, "width": SIZE[0], "height": SIZE[1], "file_name": "photo.png"}
        records = {"image": image, "annotations": [{"id": 100 + number} | record for number, record in enumerate(records)]}
        assert np.array_equal(read_outlines(written(tmp_path, records), SIZE, labels=["100"]), masks[0])
    assert np.any(masks, 0).any()
    assert np.array_equal(read_outlines(written(tmp_path, records), SIZE), np.any(masks, 0))


def written(folder, records):
    (folder / "masks.json").write_text(json.dumps(records))
    return folder / "masks.json"
