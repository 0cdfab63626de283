"""Pictures of web servers, over HTTP as servers speak it: without lengths, busy, cut off, endless."""

import subprocess
from pathlib import Path

import pytest

from psal_cli import storage, web

from .photos import ENV, process, psal, tree
from .web_server import self_signed, serving

pytest.importorskip("fsspec", reason="URLs need psal[remote]")
pytest.importorskip("aiohttp", reason="http:// needs psal[remote]")

RUN = ("inpaint", "--engine", "patch")


@pytest.fixture(scope="module")
def server():
    with serving() as both:
        yield both


@pytest.fixture
def site(server, photos, monkeypatch):
    """(the URL of a server, the server), with a picture and a mask, which lie in the working directory too."""
    address, site = server
    photos(1)
    Path("photo.png").write_bytes(min(Path("photos").rglob("*.png")).read_bytes())
    site.files = {f"/{name}": Path(name).read_bytes() for name in ("photo.png", "mask.png")}
    site.faults, site.endless, site.sent = {}, {}, 0
    site.got.clear()
    monkeypatch.setattr(web, "PAUSE", 0.0)
    return address, site


def test_pictures_and_masks_come_over_http(site):
    address, site = site
    done = psal(*RUN, f"{address}/photo.png", "--mask", f"{address}/mask.png", "-o", "out.png")
    assert done.exit_code == 0, done.stderr
    assert psal(*RUN, "photo.png", "--mask", "mask.png", "-o", "alone.png").exit_code == 0
    assert Path("out.png").read_bytes() == Path("alone.png").read_bytes()
    assert site.got == {"/photo.png": 1, "/mask.png": 2}  # the second one for the plan: whether there is one


def test_a_preview_fetches_a_picture_once(site):
    address, site = site
    assert psal(*RUN, f"{address}/photo.png", "--mask", "mask.png", "-o", "out.png", "--dry-run").exit_code == 0
    assert site.got == {"/photo.png": 1} and not Path("out.png").exists()


@pytest.mark.parametrize("faults", [[503, 500], [429], ["cut"], ["stall"]])
def test_a_server_that_fails_for_a_moment_is_asked_again(site, faults, monkeypatch):
    address, site = site
    site.faults["/photo.png"] = list(faults)
    monkeypatch.setattr(web, "WAITS", {"sock_connect": 1, "sock_read": 0.5})
    storage._filesystem.cache_clear()
    done = psal(*RUN, f"{address}/photo.png", "--mask", "mask.png", "-o", "out.png")
    storage._filesystem.cache_clear()
    assert done.exit_code == 0, done.stderr
    assert site.got["/photo.png"] == len(faults) + 1


@pytest.mark.parametrize(("status", "words"), [(404, "no such file"), (403, "Forbidden")])
def test_what_a_server_will_not_give_is_one_line_at_once(site, status, words):
    address, site = site
    site.faults["/photo.png"] = [status] * 9
    done = psal(*RUN, f"{address}/photo.png", "--mask", "mask.png", "-o", "out.png")
    assert done.exit_code == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1
    assert site.got["/photo.png"] == 1


def test_a_mask_that_a_busy_server_does_not_give_is_not_taken_for_one_that_is_missing(site):
    """With --if-masked, a picture without a mask is left alone."""
    address, site = site
    run = (*RUN, f"{address}/photo.png", "--mask", f"{address}/mask.png?of={{name}}", "--if-masked", "-o")
    site.files["/mask.png?of=photo.png"] = site.files["/mask.png"]
    site.faults["/mask.png?of=photo.png"] = [503]
    assert psal(*run, "out.png").exit_code == 0 and Path("out.png").exists()
    site.faults["/mask.png?of=photo.png"] = [503] * 9
    done = psal(*run, "other.png")
    assert done.exit_code == 2 and "cannot be looked up" in done.stderr and len(done.stderr.splitlines()) == 1
    del site.files["/mask.png?of=photo.png"], site.faults["/mask.png?of=photo.png"]
    assert "has no mask: skipped" in psal(*run, "third.png").stderr and not Path("third.png").exists()


def test_a_reply_without_end_is_left_at_the_limit(site, monkeypatch):
    address, site = site
    site.endless = {"/endless.png": None}
    monkeypatch.setattr(web, "MOST", 1 << 20)
    done = psal(*RUN, f"{address}/endless.png", "--mask", "mask.png", "-o", "out.png")
    assert done.exit_code == 2 and "it has more than" in done.stderr and len(done.stderr.splitlines()) == 1
    assert site.got["/endless.png"] == 1 and site.sent < 30 << 20  # what the system's buffers took


def test_a_length_beyond_the_limit_is_refused_before_it_comes(site):
    address, site = site
    site.endless = {"/endless.png": web.MOST + 1}
    done = psal(*RUN, f"{address}/endless.png", "--mask", "mask.png", "-o", "out.png")
    assert done.exit_code == 2 and "it has more than 4 GiB" in done.stderr and site.got["/endless.png"] == 1
    assert site.sent < 30 << 20


@pytest.mark.slow
@pytest.mark.subprocess
def test_https_holds_to_certificates(site, tmp_path, monkeypatch):
    pytest.importorskip("cryptography")
    certificate = self_signed(tmp_path / "site.pem")
    with serving(certificate) as (address, safe):
        safe.files = site[1].files
        run = (*RUN, f"{address}/photo.png", "--mask", "mask.png", "-o", "out.png")
        done = psal(*run)
        assert done.exit_code == 2 and "certificate verify failed" in done.stderr and len(done.stderr.splitlines()) == 1
        monkeypatch.setitem(ENV, "SSL_CERT_FILE", str(certificate))
        with process(*run, stderr=subprocess.PIPE, text=True) as command:
            said = command.communicate()[1]
        assert command.returncode == 0, said
    assert psal(*RUN, "photo.png", "--mask", "mask.png", "-o", "alone.png").exit_code == 0
    assert tree(".")["out.png"] == tree(".")["alone.png"]
