"""Pictures on the network: URLs where files may be given. tests/bench/bench_storage.py tries more of them, and failures."""

import json
import logging
import threading
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from psal_cli import storage
from psal_cli.batch.inputs import as_path
from psal_cli.errors import InputError, WriteError
from psal_cli.files import atomic_file, digest, open_input
from psal_cli.storage import Url

from .photos import SIZE, lines, psal, texture, tree

fsspec = pytest.importorskip("fsspec", reason="URLs need psal[remote]")

RUN = ("inpaint", "--engine", "patch")


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setenv(storage.FOR_TESTS[1], "1")


@pytest.fixture
def memory():
    """The file system of memory://, empty."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def pictures(photos, memory):
    """The same five pictures and masks in photos/ and memory://bucket/photos, masks/ and memory://bucket/masks."""
    photos(5)
    first = min(Path("photos").rglob("*.png"))
    texts = PngInfo()
    texts.add_text("Comment", "a text, which is read from the file a second time")
    Image.open(first).save(first, pnginfo=texts)
    for name, data in tree("photos").items():
        memory.pipe_file(f"/bucket/photos/{name}", data)
        memory.pipe_file(f"/bucket/masks/{name}", Path("mask.png").read_bytes())
        Path("masks", name).parent.mkdir(parents=True, exist_ok=True)
        Path("masks", name).write_bytes(Path("mask.png").read_bytes())
    memory.pipe_file("/bucket/photos/notes.txt", b"no picture")
    memory.pipe_file("/bucket/mask.png", Path("mask.png").read_bytes())
    return memory


def objects(memory, folder):
    top = f"/bucket/{folder}/"
    return {path.removeprefix(top): memory.cat_file(path) for path in memory.find(top)}


def test_a_url_keeps_its_two_slashes_whatever_is_done_with_it():
    url = as_path("S3://bucket/some/a.jpg")
    assert isinstance(url, Url) and f"{url}" == "s3://bucket/some/a.jpg"
    for other, text in [
        (url.parent, "s3://bucket/some"),
        (url.with_name("b.png"), "s3://bucket/some/b.png"),
        (url.parent / "x" / "c.png", "s3://bucket/some/x/c.png"),
        (url.parents[1], "s3://bucket"),
        (url.resolve(), "s3://bucket/some/a.jpg"),
        (as_path(str(url)), "s3://bucket/some/a.jpg"),
    ]:
        assert isinstance(other, Url) and str(other) == text
    assert not isinstance(as_path("s3:/bucket/a.jpg"), Url) and not isinstance(as_path("./memory:/a.jpg"), Url)


def test_a_url_crosses_to_another_process():
    import pickle

    url = pickle.loads(pickle.dumps(as_path("gs://bucket/a.jpg")))
    assert isinstance(url, Url) and str(url) == "gs://bucket/a.jpg"


def test_paths_are_the_same_if_they_lead_to_one_file_that_exists(memory, tmp_path):
    here, link, missing, object_ = (
        tmp_path / "a.png",
        tmp_path / "link.png",
        tmp_path / "missing.png",
        as_path("memory://in/a.png"),
    )
    here.write_bytes(b"")
    link.symlink_to(here)
    assert storage.are_same(here, link) and storage.are_same(object_, as_path("memory://in/a.png"))
    for first, second in ((here, missing), (here, Path("-")), (here, object_), (object_, as_path("memory://in/b.png"))):
        assert not storage.are_same(first, second) and not storage.are_same(second, first)


def test_a_folder_goes_through_with_its_tree_as_on_disk(pictures):
    run = (*RUN, "-r", "--json")
    done = psal(*run, "memory://bucket/photos", "--mask", "memory://bucket/masks", "-o", "memory://bucket/out")
    alone = psal(*run, "photos", "--mask", "masks", "-o", "out")
    assert done.exit_code == alone.exit_code == 0, done.stderr
    assert objects(pictures, "out") == tree("out")
    sums = {record["output"].removeprefix("memory://bucket/"): record["sha256"] for record in lines(done)}
    assert sums == {record["output"]: record["sha256"] for record in lines(alone)}
    assert "1 .txt" in done.stderr and "not kept" not in done.stderr
    assert any(b"a text, which" in data for data in tree("out").values())


def test_files_and_urls_may_be_mixed(pictures):
    done = psal(*RUN, "memory://bucket/photos", "--mask", "mask.png", "-o", "here")
    assert done.exit_code == 0 and psal(*RUN, "photos", "--mask", "memory://bucket/mask.png", "-o", "memory://bucket/there")
    assert tree("here") == objects(pictures, "there") != {}
    done = psal(*RUN, "memory://bucket/photos", "--mask", "memory://bucket/masks/{name}", "-o", "patterns")
    assert done.exit_code == 0 and tree("patterns") == tree("here")


def test_results_lie_beside_a_picture_on_the_network_too(pictures):
    name = next(name for name in objects(pictures, "photos") if name.endswith(".png"))
    assert psal(*RUN, f"memory://bucket/photos/{name}", "--mask", "mask.png").exit_code == 0
    assert pictures.exists(f"/bucket/photos/{name[:-4]}_inpainted.png")


@pytest.mark.parametrize(("pattern", "many"), [("photos/*.png", 0), ("photos/**/*.png", 5), ("photos/**/00[0-3].png", 4)])
def test_wildcards_are_of_the_storage(pictures, pattern, many):
    top = sum("/" not in name and name.endswith(".png") for name in objects(pictures, "photos"))
    done = psal(*RUN, f"memory://bucket/{pattern}", "--mask", "mask.png", "-o", "out")
    assert done.exit_code == 0, done.stderr
    assert len(tree("out")) == (many or top)
    assert tree("out").keys() <= tree("photos").keys()


def test_skip_existing_lists_each_folder_once_and_asks_for_no_object(pictures, monkeypatch):
    run = (*RUN, "-r", "memory://bucket/photos", "--mask", "mask.png", "-o", "memory://bucket/out", "--skip-existing")
    assert psal(*run).exit_code == 0
    gone = sorted(pictures.find("/bucket/out"))[1]
    pictures.rm_file(gone)
    listed, asked = [], []
    ls, info = type(pictures).ls, type(pictures).info
    monkeypatch.setattr(type(pictures), "ls", lambda self, path, **more: listed.append(path) or ls(self, path, **more))
    monkeypatch.setattr(type(pictures), "info", lambda self, path, **more: asked.append(path) or info(self, path, **more))
    done = psal(*run, "--json")
    assert [record["output"] for record in lines(done) if record["status"] == "done"] == [f"memory://{gone.strip('/')}"]
    assert len([path for path in listed if "/out" in path]) == len({path for path in listed if "/out" in path})
    assert {path for path in asked if "/out/" in path} <= {gone}  # the one that is written, and may not be overwritten
    assert psal(*run).exit_code == 3


def test_nothing_is_overwritten_without_force(pictures):
    run = (*RUN, "-r", "memory://bucket/photos", "--mask", "mask.png", "-o", "memory://bucket/out")
    assert psal(*run).exit_code == 0
    done = psal(*run)
    assert done.exit_code == 2 and "--force to overwrite" in done.stderr
    assert psal(*run, "--force").exit_code == 0


def test_an_object_appears_whole_or_not_at_all(memory):
    url = as_path("memory://bucket/a.bin")
    with pytest.raises(RuntimeError), atomic_file(url, force=False) as file:
        file.write(b"half")
        raise RuntimeError
    assert not url.exists()
    with atomic_file(url, force=False) as file:
        file.write(b"whole")
        assert not url.exists()
    assert memory.cat_file("/bucket/a.bin") == b"whole" and digest(url) == digest(url)
    with pytest.raises(InputError, match="exists"), atomic_file(url, force=False) as file:
        file.write(b"other")
    assert memory.cat_file("/bucket/a.bin") == b"whole"
    with atomic_file(url, force=False) as file:  # what an attempt has written whose answer was lost
        file.write(b"whole")


def test_each_object_is_fetched_once_for_a_picture(pictures, monkeypatch):
    fetched = []
    cat = type(pictures).cat_file
    monkeypatch.setattr(type(pictures), "cat_file", lambda self, path, **more: fetched.append(path) or cat(self, path, **more))
    name = next(name for name in objects(pictures, "photos") if name.endswith(".png"))
    fetched.clear()
    assert psal(*RUN, f"memory://bucket/photos/{name}", "--mask", "memory://bucket/mask.png", "-o", "a.png").exit_code == 0
    assert sorted(fetched) == ["memory://bucket/mask.png", f"memory://bucket/photos/{name}"]


def test_what_is_kept_is_of_one_thread(memory):
    memory.pipe_file("/bucket/a.bin", b"first")
    url, seen = as_path("memory://bucket/a.bin"), []
    with storage.kept():
        assert storage.read(url) == b"first"
        memory.pipe_file("/bucket/a.bin", b"second")
        thread = threading.Thread(target=lambda: seen.append(storage.read(url)))
        thread.start()
        thread.join()
        assert storage.read(url) == b"first" and seen == [b"second"]
    assert storage.read(url) == b"second"


class NoCredentialsError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError("Unable to locate credentials"), "no credentials for this storage: set AWS_ACCESS_KEY_ID"),
        (PermissionError("Access Denied"), "no permission"),
        (ValueError("a storage\nof strange errors"), "a storage of strange errors"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_what_the_storage_says_is_one_line(pictures, monkeypatch, error, words):
    def broken(self, *_, **__):
        raise error

    name = next(name for name in objects(pictures, "photos") if name.endswith(".png"))
    monkeypatch.setattr(type(pictures), "cat_file", broken)
    monkeypatch.setattr(type(pictures), "pipe_file", broken)
    done = psal(*RUN, f"memory://bucket/photos/{name}", "--mask", "mask.png", "-o", "a.png")
    assert done.exit_code == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1
    with pytest.raises(WriteError, match=words), atomic_file(as_path("memory://bucket/b"), force=True) as file:
        file.write(b"data")


def test_what_the_clients_of_storages_log_is_not_said(pictures, monkeypatch):
    def broken(self, *_, **__):
        logging.getLogger("gcsfs").warning("out of retries", exc_info=ValueError("a traceback"))
        raise ValueError("once")

    name = next(name for name in objects(pictures, "photos") if name.endswith(".png"))
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's, which a shell does not have
    monkeypatch.setattr(type(pictures), "cat_file", broken)
    done = psal(*RUN, f"memory://bucket/photos/{name}", "--mask", "mask.png", "-o", "a.png")
    assert done.exit_code == 2 and "once" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("", "smb://host/a.jpg", "knows no smb:// but s3://, gs:// and https://"),
        ("", "s3:///a.jpg", "names no bucket"),
        ("-o", "https://a.org/b.png", "https:// can only be read"),
        ("--report", "memory://bucket/r.jsonl", "only a local file can be given here"),
        ("--from-file", "memory://bucket/list.txt", "only a local file can be given here"),
        ("--mask", "ftp://a.org/b.png", "knows no ftp://"),
    ],
)
def test_urls_that_are_of_no_use_are_refused_in_one_line(photos, option, text, words):
    photos(1)
    done = psal(*RUN, "photos", "--mask", "mask.png", *([option, text] if option else [text]))
    assert done.exit_code == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_package_that_is_missing_is_named(photos, monkeypatch):
    photos(1)
    monkeypatch.setattr(storage.importlib.util, "find_spec", lambda name: None)
    done = psal(*RUN, "s3://bucket/a.jpg", "--mask", "mask.png", "-o", "b.jpg")
    assert done.exit_code == 2 and "pip install 'psal[remote]'" in done.stderr


def test_a_picture_over_https_needs_an_output_elsewhere(photos, memory):
    done = psal(*RUN, "https://a.org/b.jpg?size=large", "--mask", "mask.png")
    assert done.exit_code == 2 and "can only be read" in done.stderr


def test_lists_of_urls_and_of_what_failed(pictures):
    names = [f"memory://bucket/photos/{name}" for name in objects(pictures, "photos") if name.endswith(".png")]
    pictures.pipe_file("/bucket/photos/damaged.png", b"\x89PNG\r\n\x1a\n")
    Path("list.txt").write_text("\n".join([*names, "memory://bucket/photos/damaged.png", "memory://bucket/photos/gone.png"]))
    done = psal(*RUN, "--from-file", "list.txt", "--mask", "mask.png", "-o", "out", "--failed-list", "failed.txt")
    assert done.exit_code == 1 and "memory://bucket/photos/gone.png: no such file" in done.stderr
    failed = Path("failed.txt").read_text().split()
    assert failed == ["memory://bucket/photos/damaged.png", "memory://bucket/photos/gone.png"]
    assert psal(*RUN, "--from-file", "failed.txt", "--mask", "mask.png", "-o", "out").exit_code == 1


def test_previews_and_sheets(pictures):
    done = psal(*RUN, "-r", "memory://bucket/photos", "--mask", "mask.png", "-o", "memory://bucket/out", "--dry-run", "--json")
    assert done.exit_code == 0 and all(
        (record["width"], record["height"]) == SIZE for record in map(json.loads, done.stdout.splitlines())
    )
    name = next(name for name in objects(pictures, "photos") if name.endswith(".png"))
    sheet = ("-n", 2, "--sheet", "memory://bucket/sheet.png")
    done = psal(*RUN, f"memory://bucket/photos/{name}", "--mask", "mask.png", "-o", "memory://bucket/fills/", *sheet)
    assert done.exit_code == 0, done.stderr
    with open_input(as_path("memory://bucket/sheet.png")) as file:
        assert Image.open(file).size[0] > 2 * SIZE[0] or Image.open(file).size[1] > SIZE[1]
    assert len(objects(pictures, "fills")) == 2 and texture(0).shape[:2] == SIZE[::-1]


def test_colorize_takes_urls_for_all_of_its_files(pair, quick_colours, memory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, pixels in zip(("grey", "ref"), pair(64), strict=True):
        picture = Image.fromarray((pixels[0] * 255).byte().permute(1, 2, 0).numpy())
        (picture.convert("L") if name == "grey" else picture).save(f"{name}.png")
        memory.pipe_file(f"/bucket/{name}.png", Path(f"{name}.png").read_bytes())
    done = psal("colorize", "memory://bucket/grey.png", "--ref", "memory://bucket/ref.png", "-o", "memory://bucket/out.png")
    assert done.exit_code == 0, done.stderr
    assert psal("colorize", "grey.png", "--ref", "memory://bucket/ref.png", "-o", "out.png").exit_code == 0
    assert memory.cat_file("/bucket/out.png") == Path("out.png").read_bytes()
    done = psal("colorize", "memory://bucket/ref.png", "--ref", "memory://bucket/ref.png", "-o", "other.png")
    assert done.exit_code == 2 and "is the picture itself" in done.stderr


@pytest.mark.parametrize("scheme", ["memory", "MEMORY"])
def test_names_of_objects_do_not_lead_out_of_the_output_folder(pictures, scheme):
    data = pictures.cat_file("/bucket/mask.png")
    pictures.store.clear()
    for name in ("top/a.png", "top/in/b.png"):
        pictures.pipe_file(f"/bucket/{name}", data)
    for name in ("/bucket/top/in/../../../../c.png", "/bucket/top//d/e.png"):
        pictures.store[name] = type(pictures.store["/bucket/top/a.png"])(pictures, name, data)  # a bucket takes any name
    done = psal(*RUN, f"{scheme}://bucket/top/**/*.png", "--mask", "mask.png", "-o", "deep/down/out")
    assert tree("deep").keys() == {"down/out/a.png", "down/out/in/b.png"}
    assert done.exit_code == 1 and "c.png: a name with .. or //" in done.stderr, done.stderr


def test_secrets_of_urls_are_shown_nowhere_but_in_lists(pictures, monkeypatch):
    def refused(_):
        raise PermissionError("https://user:secret@a.org/b.jpg?sig=secret")

    monkeypatch.setattr(storage, "_fetched", refused)
    url = "https://user:secret@a.org/b.jpg?sig=secret"
    lists = ("--json", "--report", "r.jsonl", "--failed-list", "f.txt")
    done = psal(*RUN, "-vv", url, "photos", "--mask", "mask.png", "-o", "out", *lists)
    assert done.exit_code == 1 and "https://a.org/b.jpg" in done.stderr and "Traceback" in done.stderr
    assert "secret" not in done.stderr + done.stdout + Path("r.jsonl").read_text()
    assert Path("f.txt").read_text() == f"{url}\n"


@pytest.mark.parametrize(
    "url",
    ["memory://bucket/a//b.png", "https://a.org/get?url=https://b.org/a.png", "https://a.org/pictures/", "s3://bucket//a.png"],
)
def test_urls_that_a_path_would_change_are_refused(photos, url):
    photos(1)
    done = psal(*RUN, url, "--mask", "mask.png", "-o", "out.png")
    assert done.exit_code == 2 and "a URL with //" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_storage_of_one_process_is_for_tests(photos, memory, monkeypatch):
    photos(1)
    memory.pipe_file("/bucket/a.png", min(Path("photos").rglob("*.png")).read_bytes())
    run = (*RUN, "memory://bucket/a.png", "--mask", "mask.png", "-o", "out.png")
    assert psal(*run).exit_code == 0
    monkeypatch.delenv(storage.FOR_TESTS[1])
    done = psal(*run, "--force")
    assert done.exit_code == 2 and "knows no memory:// but s3://" in done.stderr and len(done.stderr.splitlines()) == 1


def counted(monkeypatch, system):
    """The names of objects that are fetched whole, as they are."""
    fetched, cat = [], type(system).cat_file
    monkeypatch.setattr(type(system), "cat_file", lambda self, path, **more: fetched.append(path) or cat(self, path, **more))
    return fetched


def test_a_sheet_fetches_each_object_once(pictures, monkeypatch):
    name = next(name for name in objects(pictures, "photos") if name.endswith(".png"))
    run = (*RUN, f"memory://bucket/photos/{name}", "--mask", "memory://bucket/mask.png", "-n", 2, "-o")
    assert psal(*run, "memory://bucket/alone/").exit_code == 0
    fetched = counted(monkeypatch, pictures)
    assert psal(*run, "memory://bucket/fills/").exit_code == 0
    alone = Counter(fetched)
    fetched.clear()
    assert psal(*run, "memory://bucket/more/", "--sheet", "sheet.png").exit_code == 0
    more = Counter(path.replace("/more/", "/fills/") for path in fetched) - alone
    assert len(more) == 4 and set(more.values()) == {1}  # the picture, its mask and two fills


def test_what_is_kept_has_a_limit(memory, monkeypatch):
    monkeypatch.setattr(storage, "MOST_KEPT", 10)
    for name in "abc":
        memory.pipe_file(f"/bucket/{name}", name.encode() * 6)
    fetched = counted(monkeypatch, memory)
    with storage.kept():
        for name in "aabbab":
            assert storage.read(as_path(f"memory://bucket/{name}")) == name.encode() * 6
    assert [path[-1] for path in fetched] == list("abab")


def test_outlines_on_the_network_are_parsed_once_until_they_change(pictures, monkeypatch):
    outlines = {"shapes": [{"label": "hole", "points": [[10, 8], [20, 8], [20, 16], [10, 16]]}]}
    pictures.pipe_file("/bucket/outlines.json", json.dumps(outlines).encode())
    fetched = counted(monkeypatch, pictures)
    run = ("inpaint", "photos", "-r", "--polygon-file", "memory://bucket/outlines.json", "--engine", "patch", "-o")
    done = psal(*run, "out")
    assert done.exit_code == 0, done.stderr
    assert len(tree("out")) == 5 and len(fetched) == 1
    outlines["shapes"][0]["points"][2:] = [[30, 20], [10, 20]]
    pictures.pipe_file("/bucket/outlines.json", json.dumps(outlines).encode())
    assert psal(*run, "wider").exit_code == 0 and len(fetched) == 2
    assert tree("wider") != tree("out")


def test_digests_that_nobody_asks_for_do_not_pile_up(memory, monkeypatch):
    monkeypatch.setattr(storage, "RECENT", 3)
    for number in range(10):
        storage.write(as_path(f"memory://bucket/{number}.bin"), b"data", force=False)
    assert len(storage._DIGESTS) <= 3
