"""Pictures in an S3 bucket, over its protocol (moto). tests/bench/bench_storage.py does it with 500 pictures."""

import subprocess
import time
import warnings

import pytest

from psal_cli import storage

from .buckets import fill_bucket
from .photos import ENV, lines, process, psal, tree
from .s3_server import CREDENTIALS, serving

s3fs = pytest.importorskip("s3fs", reason="s3:// needs psal[remote]")
pytest.importorskip("moto", reason="the server of these tests is moto")

from botocore.retries import standard  # noqa: E402  # s3fs has it

RUN = ("inpaint", "-r", "--engine", "patch", "--mask", "s3://bucket/mask.png")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of botocore and moto about themselves


@pytest.fixture(scope="module")
def server():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with serving() as both:
            yield both


@pytest.fixture
def bucket(server, photos, monkeypatch):
    """(the server's faults, its file system), with four pictures and a mask, which lie in the working directory too."""
    address, faults = server
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": address, "AWS_CONFIG_FILE": "none"}.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setitem(ENV, name, value)
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0.01)  # instead of seconds
    storage._filesystem.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()
    faults.reset()
    system = storage._filesystem("s3")
    photos(4)
    fill_bucket(system)
    faults.reset()
    yield faults, system
    storage._filesystem.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


def results(system, folder="out"):
    system.invalidate_cache()
    return {path.removeprefix(f"bucket/{folder}/"): system.cat_file(path) for path in system.find(f"bucket/{folder}")}


def expected():
    assert psal("inpaint", "-r", "--engine", "patch", "--mask", "mask.png", "photos", "-o", "out").exit_code == 0
    return tree("out")


def test_a_bucket_goes_through_and_is_resumed_from_one_listing(bucket):
    faults, system = bucket
    done = psal(*RUN, "s3://bucket/photos", "-o", "s3://bucket/out", "--json")
    assert done.exit_code == 0, done.stderr
    assert results(system) == expected()
    gone = sorted(results(system))[0]
    system.rm_file(f"bucket/out/{gone}")
    faults.reset()
    done = psal(*RUN, "s3://bucket/photos", "-o", "s3://bucket/out", "--skip-existing", "--json")
    assert [record["output"] for record in lines(done) if record["status"] == "done"] == [f"s3://bucket/out/{gone}"]
    assert faults.requests["PUT"] == 1 and results(system) == tree("out")


def test_a_busy_server_is_asked_again(bucket):
    faults, system = bucket
    faults.refuse = lambda method, path, number: number % 3 == 0
    done = psal(*RUN, "s3://bucket/photos", "-o", "s3://bucket/out")
    assert done.exit_code == 0 and faults.refused > 3, done.stderr
    assert results(system) == expected()


@pytest.mark.slow
def test_a_server_that_stays_busy_fails_the_picture_by_name(bucket, monkeypatch):
    faults, system = bucket
    monkeypatch.setitem(storage.S3["retries"], "max_attempts", 1)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    storage._filesystem.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()
    deadly = next(name for name in tree("photos"))
    faults.refuse = lambda method, path, number: path.endswith(deadly) and method == "PUT"
    done = psal(*RUN, "s3://bucket/photos", "-o", "s3://bucket/out")
    assert done.exit_code == 1
    assert f"s3://bucket/out/{deadly}: Please reduce your request rate" in done.stderr
    assert results(system) == {name: data for name, data in expected().items() if name != deadly}


def test_a_server_that_hangs_is_given_up_and_asked_again(bucket, monkeypatch):
    faults, system = bucket
    monkeypatch.setitem(storage.S3, "read_timeout", 1)
    storage._filesystem.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()
    hung = []

    def once(method, path, number):
        if method == "PUT" and not hung:
            hung.append(path)
            return 2.5
        return 0.0

    faults.stall = once
    done = psal(*RUN, "s3://bucket/photos", "-o", "s3://bucket/out")
    assert done.exit_code == 0 and hung, done.stderr
    assert results(system) == expected()


@pytest.mark.slow
@pytest.mark.subprocess
def test_an_upload_that_is_killed_leaves_nothing(bucket):
    faults, system = bucket
    faults.stall = lambda method, path, number: 20.0 if method == "PUT" else 0.0
    with process(*RUN, "s3://bucket/photos", "-o", "s3://bucket/out", stderr=subprocess.PIPE) as command:
        while command.poll() is None and not faults.requests["PUT"]:
            time.sleep(0.02)
        command.kill()
    assert faults.requests["PUT"] and not results(system)
    faults.reset()
    assert psal(*RUN, "s3://bucket/photos", "-o", "s3://bucket/out", "--skip-existing").exit_code == 0
    assert results(system) == expected()


def test_credentials_that_are_missing_are_one_line(bucket, monkeypatch, tmp_path):
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    storage._filesystem.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()
    done = psal(*RUN, "s3://bucket/photos", "-o", "out")
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1
    assert "no credentials for this storage: set AWS_ACCESS_KEY_ID" in done.stderr


def test_a_bucket_that_is_not_there_is_one_line(bucket):
    done = psal(*RUN, "s3://another/a.png", "-o", "out.png")
    assert done.exit_code == 2 and "s3://another/a.png: no such file" in done.stderr


def test_a_file_that_another_process_wrote_after_a_listing_is_seen(bucket):
    _, system = bucket
    url = storage.as_path("s3://bucket/out/a.bin")
    (url.parent / "b.bin").exists()
    assert storage.listing(url.parent) == ([], []) and not url.exists()
    system.pipe_file("bucket/out/b.bin", b"of this process")
    assert storage.listing(url.parent) == (["b.bin"], [])
    other = s3fs.S3FileSystem(skip_instance_cache=True)
    other.pipe_file("bucket/out/a.bin", b"of another one")
    assert url.exists() and url.is_file()
