import socket

import pytest

from equipoise.studio.guard import MAX_BODY, Access, allowed_hosts, is_loopback

from .conftest import HOST, PORT, TOKEN, Browser

RUNS = "/api/runs"


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"[::1]:{PORT}", f"LOCALHOST:{PORT}"])
def test_own_hosts_are_answered(host: str, browser: Browser) -> None:
    assert browser.get(RUNS, host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *(None, "", "127.0.0.1", "localhost", f"localhost.:{PORT}", "127.0.0.1:80", "127.0.0.1:8766"),
        *(f"evil.example:{PORT}", f"127.0.0.1.evil.example:{PORT}", f"127.0.0.1:{PORT}, evil", f"0.0.0.0:{PORT}"),
    ],
)
def test_foreign_hosts_are_refused(host: str | None, browser: Browser) -> None:
    answer = browser.get(RUNS, host=host)
    assert answer.status == 421
    assert "not a host of this studio" in answer.json["error"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:8766", f"https://{HOST}", ""])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_foreign_origins_are_refused_for_every_method(method: str, origin: str, browser: Browser) -> None:
    body = b"{}" if method == "POST" else None
    assert browser.request(method, RUNS, body, {"origin": origin}).status == 403


@pytest.mark.parametrize(
    ("site", "status"), [(None, 200), ("none", 200), ("same-origin", 200), ("same-site", 403), ("cross-site", 403)]
)
def test_requests_that_another_site_caused_are_refused(site: str | None, status: int, browser: Browser) -> None:
    assert browser.get(RUNS, sec_fetch_site=site, origin=f"http://{HOST}").status == status


@pytest.mark.parametrize("target", ["/", "/static/main.js", RUNS, "/api/stream", "/nowhere", "/api/runs/ring"])
@pytest.mark.parametrize("cookie", [None, "", "a=b", f"equipoise-{PORT}=x", "other={session}", "{name}={session}x"])
def test_nothing_is_shown_without_the_cookie(target: str, cookie: str | None, browser: Browser) -> None:
    names = {"name": browser.access.cookie, "session": browser.access.session}
    answer = browser.get(target, cookie=cookie and cookie.format(**names))
    assert answer.status == 401
    assert b"open the address that `equipoise studio` has printed" in answer.body


def test_the_token_is_exchanged_for_a_cookie_and_leaves_the_address(browser: Browser) -> None:
    answer = browser.get(f"/?token={TOKEN}", cookie=None)
    assert (answer.status, answer.headers["location"], answer.body) == (303, "/", b"")
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert attributes == ["HttpOnly", "SameSite=Strict", "Path=/"]
    assert TOKEN not in cookie
    assert str(PORT) in cookie
    assert browser.get("/", cookie=f"a=b; {cookie}").status == 200


@pytest.mark.parametrize("token", ["", "x", f"{TOKEN}x", TOKEN[:-1], "%FF", "ä"])
def test_a_wrong_token_is_refused(token: str, browser: Browser) -> None:
    answer = browser.get(f"/?token={token}", cookie=None)
    assert answer.status == 401
    assert "set-cookie" not in answer.headers
    assert b"not the token" in answer.body


def test_the_token_opens_no_other_address(browser: Browser) -> None:
    assert browser.get(f"{RUNS}?token={TOKEN}", cookie=None).status == 401
    assert browser.request("GET", f"/?token={TOKEN}", None, {"cookie": None, "host": "evil.example"}).status == 421
    assert browser.get(f"/?token={TOKEN}", cookie=None, origin="http://evil.example").status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_refused(method: str, browser: Browser) -> None:
    assert browser.request(method, RUNS).status == 405


@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"],
)
@pytest.mark.parametrize("target", [f"{RUNS}/ring/requests", "/api/diagnose", "/nowhere"])
def test_a_body_that_a_form_can_send_is_refused(kind: str | None, target: str, browser: Browser) -> None:
    answer = browser.request("POST", target, b"{}", {"content-type": kind})
    assert answer.status == 415
    assert "application/json" in answer.json["error"] if target.startswith("/api") else True


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), None, "0", "-1", "x"])
def test_a_large_body_is_refused_whatever_its_header_says(length: str | None, browser: Browser) -> None:
    body = b'"' + b"x" * MAX_BODY + b'"'
    answer = browser.request("POST", f"{RUNS}/ring/requests", body, {"content-length": length})
    assert answer.status == 413
    assert "64 KiB" in answer.json["error"]


def test_a_body_of_the_largest_size_is_read(browser: Browser) -> None:
    body = b'{"action": "note", "text": "' + b"x" * (MAX_BODY - 30) + b'"}'
    assert len(body) == MAX_BODY
    assert browser.request("POST", f"{RUNS}/ring/requests", body).status == 422


@pytest.mark.parametrize("target", ["/", "/static/main.js", RUNS, "/nowhere", "/api/runs/nowhere", "/?token=x"])
@pytest.mark.parametrize("host", [HOST, "evil.example"])
def test_every_answer_has_the_headers(target: str, host: str, browser: Browser) -> None:
    headers = browser.get(target, host=host).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "target",
    [
        *("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..%2fapp.py", "/static/"),
        *("/static/%2fetc%2fpasswd", "/..%2f..%2fpyproject.toml", "/static/vendor/../../guard.py"),
        *(f"{RUNS}/..%2fruns%2fring", f"{RUNS}/%2e%2e", f"{RUNS}/%2fetc", f"{RUNS}/ring%00", f"{RUNS}//etc/timeline"),
        *(f"{RUNS}/ring/samples/..%2f..%2fx.png", f"{RUNS}/ring/samples/-1.png", f"{RUNS}/ring/samples/0x1.png"),
    ],
)
def test_no_address_leads_out_of_the_folders(target: str, browser: Browser) -> None:
    answer = browser.get(target)
    assert answer.status == 404
    assert b"import" not in answer.body


def test_cookies_of_two_studios_differ_and_survive_a_restart_with_the_same_token() -> None:
    hosts = allowed_hosts("127.0.0.1", PORT)
    first, second = Access(hosts, PORT), Access(hosts, PORT)
    assert first.cookie != second.cookie
    assert first.session != second.session
    assert len(first.token) >= 32
    again = Access(hosts, PORT, first.token)
    assert (again.cookie, again.session) == (first.cookie, first.session)


def test_hosts_of_other_addresses() -> None:
    assert "localhost" in allowed_hosts("127.0.0.1", 80)
    assert "192.168.0.7:9000" in allowed_hosts("192.168.0.7", 9000)
    assert "[fd00::1]:9000" in allowed_hosts("fd00::1", 9000)
    everywhere = allowed_hosts("0.0.0.0", 9000)
    assert f"{socket.gethostname().lower()}:9000" in everywhere
    assert "evil.example:9000" not in everywhere


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.8.8.8", True), ("0.0.0.0", False), ("box", False)],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
