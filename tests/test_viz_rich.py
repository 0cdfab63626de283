"""What notebooks show: results and fields as pictures, and the notebook of examples/ from its first cell to its last."""

import ast
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import psal_cli
from psal_cli.viz.field import Field
from psal_cli.viz.rich import png_of

EXAMPLES = Path(__file__).parent.parent / "examples"
RESULTS = ("ColorizeResult", "GenerateResult", "InpaintResult", "ReconstructResult", "UpscaleResult")


def shown(result):
    with Image.open(io.BytesIO(result._repr_png_())) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@pytest.mark.parametrize("name", RESULTS)
def test_the_results_of_all_verbs_show_their_picture(name):
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    result = object.__new__(getattr(psal_cli, name))
    object.__setattr__(result, "image", image)
    np.testing.assert_array_equal(shown(result), image)


def test_a_field_shows_its_drawing():
    field = Field(np.stack(np.indices((40, 60), np.int32))[None] // 2, ((20, 30),))
    np.testing.assert_array_equal(shown(field), field.draw())


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((3, 4), 65535, np.uint16), [255]),
        (np.full((3, 4, 3), 0.5, np.float32), [128, 128, 128]),
        (np.full((3, 4, 3), 1.7, np.float32), [255, 255, 255]),
        (np.full((3, 4, 2), 100, np.uint8), [100, 100]),
        (np.full((3, 4, 4), 514, np.uint16), [2, 2, 2, 2]),
    ],
)
def test_every_depth_is_shown_with_eight_bits_and_its_alpha(image, expected):
    with Image.open(io.BytesIO(png_of(image))) as seen:
        assert np.asarray(seen).reshape(12, -1)[5].tolist() == expected


def test_a_large_picture_is_reduced_and_a_small_one_is_not_enlarged():
    for size, expected in (((100, 2048), (50, 1024)), ((3000, 2), (1024, 1)), ((9, 8), (9, 8))):
        with Image.open(io.BytesIO(png_of(np.zeros(size, np.uint8)))) as image:
            assert image.size == expected[::-1]


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_is_stored_in_it(monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    cells = json.loads(Path("notebook.ipynb").read_text())["cells"]
    names, kinds = {}, []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "notebook.ipynb", "exec"), names)
        value = None if last is None else eval(compile(ast.Expression(last.value), "notebook.ipynb", "eval"), names)
        (stored,) = [output["data"] for output in cell["outputs"]]
        if hasattr(value, "_repr_png_"):
            kinds.append(type(value).__name__)
            with Image.open(io.BytesIO(value._repr_png_())) as image:
                assert max(image.size) <= 1024 and len(image.getcolors(1 << 20)) > 1000
            assert "image/jpeg" in stored
        else:
            assert repr(value) == "".join(stored["text/plain"])
    assert {"InpaintResult", "Field", "Image"} <= set(kinds)
    assert names["bar"].n == pytest.approx(1, abs=0.01)
