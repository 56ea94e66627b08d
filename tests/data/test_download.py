"""Downloads: from a server on this machine, from none, and what must not be left behind."""

import functools
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from equipoise.data import _download
from equipoise.data._download import Published
from equipoise.errors import DataError

CONTENT = bytes(range(256)) * 12_000
MD5 = hashlib.md5(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/file.bin"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Tests print nothing."""


@pytest.fixture
def server(tmp_path):
    """The address of a folder `served` with a file in it."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.bin").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def fetch(target, *urls, md5=MD5):
    return list(_download.fetch([Published("file.bin", md5, urls)], target.parent))


def test_a_file_comes_whole_and_tells_how_far_it_is(server, tmp_path):
    target = tmp_path / "data" / "deep" / "file.bin"
    told = fetch(target, f"{server}/file.bin")
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
    assert told[-1].done == told[-1].total == len(CONTENT) // 1000
    assert [step.done for step in told] == sorted(step.done for step in told)
    assert len(told) == 3
    assert {step.task for step in told} == {"downloading file.bin (kB)"}


def test_the_second_place_is_tried_where_the_first_is_not_to_be_reached(server, tmp_path):
    fetch(tmp_path / "file.bin", NOWHERE, f"{server}/missing.bin", f"{server}/file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_what_cannot_be_reached_is_one_line_with_what_to_put_where(server, tmp_path):
    target = tmp_path / "data" / "file.bin"
    with pytest.raises(DataError) as error:
        fetch(target, NOWHERE, f"{server}/missing.bin")
    assert str(error.value) == (
        f"cannot download {NOWHERE}: Connection refused; {server}/missing.bin: the server answers 404 File not found; "
        f"put file.bin into {target.parent} by other means"
    )
    assert not target.exists()


def test_all_that_is_still_missing_is_named_at_once(server, tmp_path):
    files = [Published(name, MD5, (f"{server}/{name}",)) for name in ("file.bin", "second.bin", "third.bin")]
    with pytest.raises(DataError, match=r"cannot download \S+/second\.bin: .*; put second\.bin, third\.bin into"):
        list(_download.fetch(files, tmp_path / "data"))
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["file.bin"]


def test_what_is_not_the_published_file_is_not_kept(server, tmp_path):
    target = tmp_path / "data" / "file.bin"
    with pytest.raises(DataError, match=f"what came is not the published file: its MD5 is {MD5}, not {'0' * 32}; put"):
        fetch(target, f"{server}/file.bin", md5="0" * 32)
    assert list(target.parent.iterdir()) == []


def test_a_download_that_is_stopped_leaves_nothing(server, tmp_path):
    target = tmp_path / "data" / "file.bin"
    download = _download.fetch([Published("file.bin", MD5, (f"{server}/file.bin",))], target.parent)
    next(download)
    assert not target.exists()
    download.close()
    assert list(target.parent.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_in_one_line(server, tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write .*file\.bin: .*; make room there, or name another folder"):
        fetch(tmp_path / "data" / "file.bin", f"{server}/file.bin")


def test_local_copies_are_checked_by_their_digest(tmp_path):
    file = tmp_path / "file.bin"
    file.write_bytes(CONTENT)
    assert _download.content(file, MD5) == _download.content(file, None) == CONTENT
    _download.check_file(file, MD5)
    file.write_bytes(CONTENT[:-1])
    damaged = r"file\.bin is damaged or another file: its MD5 is \w{32}, not the published \w{32}; delete it to have it"
    for check in (_download.content, _download.check_file):
        with pytest.raises(DataError, match=damaged):
            check(file, MD5)
        with pytest.raises(DataError, match=r"cannot read .*none\.bin: No such file"):
            check(tmp_path / "none.bin", MD5)
