"""Who may ask the server of `psal paint`: other pages, other names, no token, too much."""

import numpy as np
import pytest
from PIL import Image

from .painting import BASE, PORT, TOKEN, application, client, session

GOOD = {"x-psal-token": TOKEN}


@pytest.fixture
def served(tmp_path):
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "photo.png")
    found = session(tmp_path / "photo.png", states=tmp_path / "state")
    yield found
    found.close()


PATHS = ["/api/pictures", "/api/pictures/0", "/api/pictures/0/tiles/current/0/0/0", "/api/pictures/0/job"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x"])
def test_nothing_is_told_without_the_token(served, path, token):
    answer = client(served, {} if token is None else {"x-psal-token": token}).get(path)
    assert answer.status_code == 403 and answer.json() == {
        "error": "the token is missing or wrong: open the address that psal paint printed"
    }


@pytest.mark.parametrize("path", [*PATHS, "/", "/static/main.js"])
@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1:1", "127.0.0.1", f"192.168.0.7:{PORT}", ""])
def test_another_name_for_this_server_is_refused(served, path, host):
    """DNS rebinding: a page of evil.example whose name now means 127.0.0.1."""
    assert client(served).get(path, headers={"host": host}).status_code == 403


@pytest.mark.parametrize("path", [*PATHS, "/", "/static/main.js"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_another_page_is_refused(served, path, headers):
    answer = client(served).get(path, headers=headers)
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers


def test_the_page_itself_is_let_in(served):
    for host in (f"127.0.0.1:{PORT}", f"localhost:{PORT}"):
        own = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
        assert client(served).get("/api/pictures", headers=own).json()["names"] == ["photo.png"]
    preflight = client(served).options("/api/pictures", headers={"origin": BASE, "access-control-request-method": "POST"})
    assert "access-control-allow-origin" not in preflight.headers


def test_what_is_asked_of_another_machine_needs_an_address_or_its_name(served, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Studio")
    from starlette.testclient import TestClient

    open_to_all = TestClient(application(served, PORT, TOKEN, anywhere=True), base_url=BASE, headers=GOOD)
    for host, status in ((f"192.168.0.7:{PORT}", 200), (f"studio:{PORT}", 200), (f"evil.example:{PORT}", 403)):
        assert open_to_all.get("/api/pictures", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    "path", ["/", "/static/main.js", "/static/vendor/openseadragon/openseadragon.min.js", "/api/pictures", "/x"]
)
def test_every_answer_says_what_the_page_may_load(served, path):
    headers = client(served).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src 'self'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_the_page_has_no_code_in_it(served):
    text = client(served, {}).get("/").text
    assert "onclick" not in text and "style=" not in text and "http://" not in text and "https://" not in text
    assert all("src=" in tag for tag in text.split("<script")[1:])


def test_a_body_beyond_the_limit_is_refused_with_and_without_its_length(served):
    asked = client(served)
    large = b" " * (1 << 20) + b"{}"
    for body in (large, iter([large[: 1 << 19]] * 3)):
        answer = asked.post("/api/pictures/0/strokes", content=body)
        assert answer.status_code == 413 and answer.json() == {"error": "the request is too large"}


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fapp.py", "/api/pictures/../../x"]
)
def test_no_path_leads_out_of_the_page(served, path):
    assert client(served).get(path).status_code in (403, 404)


@pytest.mark.parametrize("number", ["1", "-1", "99999999999999999999", "photo.png", "0.0"])
def test_pictures_are_numbers(served, number):
    assert client(served).get(f"/api/pictures/{number}").status_code in (404, 422)
