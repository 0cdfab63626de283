"""Plans of batches: which pictures, which masks, where to; and the pipeline that works through them."""

import os
import re
from pathlib import Path

import pytest

from psal_cli.batch.inputs import Item, as_path, find_inputs
from psal_cli.batch.plan import place, settle, write_list
from psal_cli.batch.sidecars import pair
from psal_cli.errors import InputError
from psal_cli.files import STDIO
from psal_cli.image import READABLE, check_format


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder to work in: photos/{b,a}.jpg, photos/deep/c.png, and files that are no pictures or hidden."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "photos/b.jpg",
        "photos/a.jpg",
        "photos/deep/c.png",
        "photos/notes.txt",
        "photos/.hidden.jpg",
        "photos/.git/d.jpg",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def find(*texts, lists=(), recursive=False):
    return find_inputs(texts, lists, recursive, READABLE)


def planned(items, several=True, output=None, suffix=None, extension=None, force=False, skip=False, **others):
    items = place(items, {**others, "output": output}, several, suffix, "_done", extension)
    settle(items, several, force, skip)
    return [str(item.output) for item in items]


def names(items):
    return [str(item.input) for item in items]


def test_folders_stand_for_their_pictures_in_order(tree):
    items, several = find("photos")
    assert several and names(items) == ["photos/a.jpg", "photos/b.jpg"]
    items, _ = find("photos/", "photos/a.jpg", "./photos/b.jpg", recursive=True)
    assert names(items) == ["photos/a.jpg", "photos/b.jpg", "photos/deep/c.png"]  # each once
    assert planned(items, output="out") == ["out/a.jpg", "out/b.jpg", "out/deep/c.png"]
    items, several = find("photos/a.jpg")
    assert not several and names(items) == ["photos/a.jpg"]
    os.symlink(tree / "photos", tree / "photos" / "loop")
    assert len(find("photos", recursive=True)[0]) == 3
    assert names(find("photos/a.jpg", str(tree / "photos/a.jpg"), "photos/deep/../a.jpg")[0]) == ["photos/a.jpg"]


def test_what_is_not_there_is_said_before_anything_about_its_mask(tree):
    items = pair(find("fotos/", "photos/none.jpg", "photos/a.jpg/b")[0], {"mask": ("photos/deep",)}, READABLE)
    assert [str(item.problem) for item in items] == [
        "fotos: no such file or folder",
        "photos/none.jpg: no such file or folder",
        "photos/a.jpg/b: no such file or folder",
    ]


def test_files_of_a_folder_that_are_no_pictures_are_counted(tree, caplog):
    for name in ("a.CR2", "b.cr2", "README", ".hidden.psd"):
        Path("photos", name).touch()
    find("photos", "photos/b.jpg")
    assert caplog.messages == ["left out files that psal does not read: 2 .cr2, 1 without extension, 1 .txt"]


def test_subfolders_come_in_order_and_suffixes_in_any_case(tree):
    for name in ("c", "a", "f", "b", "e", "d"):
        Path("trip", name).mkdir(parents=True)
        Path("trip", name, "IMG.JPG").touch()
    assert names(find("trip", recursive=True)[0]) == [f"trip/{name}/IMG.JPG" for name in "abcdef"]


def test_lists_of_files(tree):
    Path("list").write_bytes(b"photos/b.jpg\n\nphotos/./deep/c.png\r\n" + os.fsencode("w\udcffi.jpg") + b"\n")
    items, several = find(lists=["list"])
    assert several and names(items) == ["photos/b.jpg", "photos/deep/c.png", "w\udcffi.jpg"]
    assert planned(items, output="out/") == ["out/b.jpg", "out/deep/c.png", "out/w\udcffi.jpg"]
    Path("zero").write_bytes(b"two\nlines.jpg\0photos/a.jpg\0")
    assert names(find(lists=["zero"])[0]) == ["two\nlines.jpg", "photos/a.jpg"]
    Path("one").write_text("photos/./../photos/a.jpg\n")
    items, several = find(lists=["one"])
    assert several and planned(items, output="out") == ["out/a.jpg"]  # no list leads out of the output folder
    with pytest.raises(InputError, match="none: the list of files cannot be read"):
        find(lists=["none"])


def test_a_written_list_finds_the_same_pictures_and_trees(tree):
    items, _ = find("photos", recursive=True)
    for extra in ([], [Item(Path("two\nlines.jpg"), Path("two\nlines.jpg"), "two\nlines.jpg")]):
        write_list(Path("failed"), items + extra)
        again, _ = find(lists=["failed"])
        assert [(item.input, item.tree) for item in again] == [(item.input, item.tree) for item in items + extra]
    items, _ = find(f"/.{tree}/photos")
    write_list(Path("failed"), items)
    assert names(find(lists=["failed"])[0]) == names(items) == [f"{tree}/photos/a.jpg", f"{tree}/photos/b.jpg"]


def test_dash_is_stdin_and_a_file_called_so_has_a_folder(tree):
    assert as_path("-") == STDIO and as_path("./-") == tree / "-"
    [item], several = find("-")
    assert item.input == STDIO and not several and planned([item], several) == ["-"]
    assert planned([item], several, output="out.png") == ["out.png"]
    with pytest.raises(InputError, match=r"what comes from stdin has no name"):
        planned([item], several, output="photos")


def test_names_of_results(tree):
    single, _ = find("photos/a.jpg")
    assert planned(single, False) == ["photos/a_done.jpg"]
    assert planned(single, False, suffix="-x") == ["photos/a-x.jpg"]
    assert planned(single, False, output="photos/deep") == ["photos/deep/a.jpg"]
    assert planned(single, True, output="new/", suffix="-x", extension=".png") == ["new/a-x.png"]
    assert planned(single, False, output="new.webp") == ["new.webp"]
    for name, extension in (("a.JPEG", ".jpg"), ("a.tiff", ".tif"), ("a.heif", ".heic")):
        assert planned([Item(Path(name), Path(name), name)], True, output="new", extension=extension) == [f"new/{name}"]
    assert planned(single, False, suffix="", force=True) == ["photos/a.jpg"]
    assert not Path("new").exists()  # made when there is something to write
    both, _ = find("photos")
    assert planned(both, compare="cmp", output="out") == ["out/a.jpg", "out/b.jpg"]
    assert [list(item.outputs.items()) for item in both][1] == [("compare", Path("cmp/b.jpg")), ("output", Path("out/b.jpg"))]


def test_one_file_is_no_place_for_several(tree):
    both, _ = find("photos")
    for output, words in (("out.png", "for a folder write out.png/"), ("photos/notes.txt", "output is photos/notes.txt, a file")):
        with pytest.raises(InputError, match=words):
            planned(both, output=output)


def test_masks_for_all_by_folder_and_by_pattern(tree):
    for name in ("masks/a.jpg", "masks/b.png", "masks/b.txt", "masks/deep/c.png", "photos/a_mask.png", "photos/deep/c_mask.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()

    def masks(text, recursive=True):
        items = pair(find("photos", recursive=recursive)[0], {"mask": (text,)}, READABLE)
        return {str(item.input): str(item.sidecars["mask"][0] if "mask" in item.sidecars else item.problem) for item in items}

    assert set(masks("masks/a.jpg").values()) == {"masks/a.jpg"}
    Path("photos/a_mask.png").rename("a_mask.png")
    Path("photos/deep/c_mask.png").rename("c_mask.png")
    assert masks("masks") == {
        "photos/a.jpg": "masks/a.jpg",
        "photos/b.jpg": "masks/b.png",
        "photos/deep/c.png": "masks/deep/c.png",
    }
    Path("a_mask.png").rename("photos/a_mask.png")
    Path("c_mask.png").rename("photos/deep/c_mask.png")
    paired = masks("{stem}_mask.png")  # a mask is not a picture to work on
    assert paired.pop("photos/b.jpg").startswith("photos/b.jpg: no photos/b_mask.png: each picture needs its mask")
    assert paired == {"photos/a.jpg": "photos/a_mask.png", "photos/deep/c.png": "photos/deep/c_mask.png"}
    assert masks("{dir}/{stem}_mask.png", False)["photos/a.jpg"] == "photos/a_mask.png"
    assert masks("masks/{name}", False)["photos/a.jpg"] == "masks/a.jpg"
    for pattern in ("{stm}.png", "{0}.png", "{stem.x}.png", "{stem"):
        with pytest.raises(InputError, match=r"a pattern, which may hold \{stem\}"):
            masks(pattern)


def test_masks_that_are_missing_or_not_clear(tree):
    Path("masks").mkdir()
    Path("masks/a.jpg").touch()

    def problems(text):
        return {str(item.input): str(item.problem) for item in pair(find("photos")[0], {"mask": (text,)}, READABLE)}

    assert problems("masks")["photos/a.jpg"] == "None"
    assert "no masks/b with any suffix" in problems("masks")["photos/b.jpg"]
    Path("masks/b.jpeg.png").touch()
    Path("masks/a.png").touch()
    assert problems("masks")["photos/a.jpg"] == "None"  # the same name goes first
    Path("masks/a.jpg").rename("masks/a.JPG")
    assert "masks/a.JPG and masks/a.png both fit" in problems("masks")["photos/a.jpg"]
    assert "photos/a.jpg is the picture itself" in problems("photos")["photos/a.jpg"]
    [alone] = pair(find("photos/a.jpg")[0], {"mask": ("photos/a.jpg",)}, READABLE)
    assert str(alone.sidecars["mask"][0]) == "photos/a.jpg"  # asked for by name


def test_brackets_in_names_are_no_pattern(tree):
    for name in ("photos/a[1].jpg", "masks/a[1].png", "masks/a1.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    [item] = pair(find("photos/a[1].jpg")[0], {"mask": ("masks",)}, READABLE)
    assert str(item.sidecars["mask"][0]) == "masks/a[1].png"


def test_names_that_look_like_others(tree):
    """IMG.edit is no IMG, a list of BMW/ no picture, a file with brackets no pattern; all suffixes of a format go by its name."""
    Path("masks").mkdir()
    for name in ("IMG", "IMG.edit"):
        Path("photos", f"{name}.jpg").touch()
        Path("masks", f"{name}.png").touch()
    items = pair(find("photos/IMG.jpg", "photos/IMG.edit.jpg")[0], {"mask": ("masks",)}, READABLE)
    assert [str(item.sidecars["mask"][0]) for item in items] == ["masks/IMG.png", "masks/IMG.edit.png"]
    Path("m{1}.png").touch()
    assert pair(items, {"mask": ("m{1}.png",)}, READABLE)[0].sidecars["mask"][0] == Path("m{1}.png")
    Path("list.txt").write_text("BMW/x.jpg\n")
    assert names(find(lists=["list.txt"])[0]) == ["BMW/x.jpg"]
    for suffix, other in ((".jfif", ".jpg"), (".apng", ".png"), (".hif", ".heic"), (".dib", ".bmp")):
        Path("photos", f"x{suffix}").touch()
        item = find(f"photos/x{suffix}")[0]
        assert planned(item, output="out", extension=other) == [f"out/x{suffix}"]
        assert check_format(item[0].output) == check_format(Path(f"x{other}"))


def test_masks_below_the_photos_are_no_photos(tree):
    for name in ("photos/masks/a.jpg", "photos/masks/b.jpg", "photos/masks/left_over.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    items = pair(find("photos", recursive=True)[0], {"mask": ("photos/masks",)}, READABLE)
    assert names(items) == ["photos/a.jpg", "photos/b.jpg", "photos/deep/c.png"]


def test_results_of_an_earlier_run_are_no_input(tree, caplog):
    Path("photos/a_done.jpg").touch()
    assert planned(find("photos")[0], skip=True) == ["photos/a_done.jpg", "photos/b_done.jpg"]
    assert "photos/a_done.jpg is the result of other pictures here: left out" in caplog.text
    assert planned(find("photos")[0], output="photos", force=True) == ["photos/a.jpg", "photos/a_done.jpg", "photos/b.jpg"]


@pytest.mark.parametrize(
    ("texts", "options", "words"),
    [
        (["photos/a.jpg", "other/a.jpg"], {"output": "out"}, r"for photos/a.jpg and for other/a.jpg: .* top/\./a.jpg"),
        (["photos/a.jpg", "a.png"], {"output": "out", "extension": ".png"}, "out/a.png would .* keep the formats"),
        (["photos/a.jpg", "photos/b.jpg"], {"output": "-"}, "- would be written for .* name a folder"),
        (["photos/a.jpg"], {"output": "o.png", "compare": "o.png", "several": False}, "o.png is another output"),
        (["photos/a.jpg"], {"output": "o.png", "compare": "photos/a.jpg", "several": False, "force": True}, "is an input of"),
        (["photos/a.jpg", "x/b.jpg"], {"output": "photos", "force": True}, "photos/b.jpg is an input of the same command"),
        (["photos/a.jpg", "photos/b.jpg"], {"output": "out"}, r"out/a.jpg and 1 more exist: allow to overwrite, or skip"),
        (["photos/a.jpg", "q.jpg"], {"output": "out"}, r"out/a.jpg exists: allow to overwrite"),
        (["q.jpg", "r.jpg"], {"output": "photos/notes.txt/"}, "output is photos/notes.txt/, a file"),
        (["q.jpg", "r.jpg"], {"output": "photos/notes.txt/new/"}, "notes.txt is a file, where a folder is needed"),
        (["q.jpg", "r.jpg"], {"output": "new", "compare": "linked/new"}, "^new/q.jpg is another output"),
        (["x/b.jpg", "photos/b.jpg"], {"output": "linked/photos", "suffix": ""}, "is an input of the same command"),
        (["photos/a.jpg"], {"output": "none/a.jpg", "several": False}, "the folder .* does not exist"),
    ],
)
def test_collisions_are_found_before_any_work(tree, texts, options, words):
    for name in ("out/a.jpg", "out/b.jpg", "other/a.jpg", "x/b.jpg", "q.jpg", "r.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    os.symlink(tree, "linked")
    if words.startswith("photos/b.jpg is an input"):
        texts = [*texts, "photos/b.jpg"]
    items, _ = find(*texts)
    with pytest.raises(InputError, match=words):
        planned(items, **options)


def test_a_mask_is_never_overwritten(tree):
    items = pair(find("photos")[0], {"mask": ("photos/deep/c.png",)}, READABLE)
    with pytest.raises(InputError, match=r"photos/deep/c.png is an input"):
        planned(items[:1], False, output="photos/deep/c.png", force=True)


def test_existing_results_are_skipped_or_overwritten(tree):
    Path("out").mkdir()
    Path("out/a.jpg").touch()
    items, _ = find("photos")
    assert planned(items, output="out", force=True) and [item.skipped for item in items] == [False, False]
    assert planned(items, output="out", skip=True) and [item.skipped for item in items] == [True, False]
    Path("out/b.jpg").mkdir()
    with pytest.raises(InputError, match=r"out/b.jpg is a folder"):  # no result, whatever its name
        planned(items, output="out", skip=True)


def test_the_old_result_of_a_picture_without_a_mask_stops_no_other(tree):
    for name in ("masks/a.jpg", "out/b.jpg"):
        Path(name).parent.mkdir()
        Path(name).touch()
    items = pair(find("photos")[0], {"mask": ("masks",), "source_mask": ("none/{name}",)}, READABLE)
    assert planned(items[1:], output="out") == ["out/b.jpg"]
    assert "no masks/b with any suffix" in str(items[1].problem)  # the first of two


def test_a_folder_that_cannot_be_read_is_a_failure_with_a_name(tree, monkeypatch):
    def closed(path):  # as root, no mode forbids reading
        if os.fspath(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    scan = os.scandir
    monkeypatch.setattr(os, "scandir", closed)
    items, _ = find("photos", recursive=True)
    assert names(items) == ["photos/a.jpg", "photos/b.jpg", "photos/deep"]
    assert str(items[2].problem) == "photos/deep: the folder cannot be read: Permission denied"
    write_list(Path("failed"), items[2:])
    monkeypatch.undo()
    monkeypatch.chdir(tree)
    [item] = find(lists=["failed"])[0]
    assert (str(item.input), str(item.tree), item.listed) == ("photos/deep/c.png", "deep/c.png", "photos/./deep/c.png")


def test_names_that_a_file_system_does_not_tell_apart_are_one_place(tree, monkeypatch):
    """As on macOS and Windows: what is asked of the system, files of two names, is answered as they do."""
    Path("photos/B.jpg").touch()
    items = find("photos/b.jpg", "photos/B.jpg")[0]
    assert planned(items, output="out") == ["out/b.jpg", "out/B.jpg"]  # here they are two
    probed, lexists = [], os.path.lexists

    def ignores_case(path):
        probed.append(os.fspath(path))
        return any(name.casefold() == os.path.basename(path).casefold() for name in os.listdir(os.path.dirname(path)))

    monkeypatch.setattr(os.path, "lexists", ignores_case)
    with pytest.raises(InputError, match=r"out/B\.jpg would be written for photos/b\.jpg and for"):
        planned(find("photos/b.jpg", "photos/B.jpg")[0], output="out")
    monkeypatch.setattr(os.path, "lexists", lexists)
    assert probed and sorted(os.listdir(tree)) == ["photos"]  # tried out, and nothing left


@pytest.mark.parametrize("beside", ["MASK.png", "mask.PNG"])
def test_an_output_does_not_overwrite_the_mask_under_another_case(tree, monkeypatch, beside):
    Path("mask.png").touch()
    items = pair(find("photos/a.jpg")[0], {"mask": ("mask.png",)}, READABLE)
    assert planned(items, several=False, output=beside) == [beside]
    samefile = os.path.samefile
    monkeypatch.setattr(
        os.path, "samefile", lambda first, second: first.casefold() == second.casefold() or samefile(first, second)
    )
    with pytest.raises(InputError, match=f"{beside} is an input of the same command"):
        planned(pair(find("photos/a.jpg")[0], {"mask": ("mask.png",)}, READABLE), several=False, output=beside, force=True)


def test_each_folder_is_listed_and_no_file_is_looked_up(tmp_path, monkeypatch):
    """Planning many files costs no call of the system for each of them."""
    monkeypatch.chdir(tmp_path)
    for folder in ("in", "masks", "out"):
        Path(folder).mkdir()
    for number in range(200):
        Path(f"in/{number}.jpg").touch()
        Path(f"masks/{number}.png").touch()
    calls, stat, lstat = [], os.stat, os.lstat
    monkeypatch.setattr(os, "stat", lambda path, *args, **kwargs: calls.append(path) or stat(path, *args, **kwargs))
    monkeypatch.setattr(os, "lstat", lambda path, *args, **kwargs: calls.append(path) or lstat(path, *args, **kwargs))
    items, several = find("in")
    items = pair(items, {"mask": ("masks",)}, READABLE)
    assert planned(items, output="out", several=several)[:2] == ["out/0.jpg", "out/1.jpg"]
    assert len(calls) < 100


@pytest.mark.parametrize("pattern", ["{stem:>2000000000}.png", "{stem!r}.png", "{name:x}.png"])
def test_a_pattern_with_a_width_is_refused_at_once(tree, pattern):
    with pytest.raises(InputError, match=re.escape("a pattern, which may hold {stem}, {name} and {dir}")):
        raise_problem(pair(find("photos/a.jpg")[0], {"mask": (pattern,)}, READABLE))


def raise_problem(items):
    raise items[0].problem or AssertionError("accepted")
