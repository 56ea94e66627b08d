"""Downloads from a local server and from none; a failed download leaves no file."""

import functools
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from equipoise.data import _download
from equipoise.data._download import PublishedFile
from equipoise.errors import DataError

CONTENT = bytes(range(256)) * 12_000
MD5 = hashlib.md5(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/file.bin"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Suppress the log of requests."""


@pytest.fixture
def server(tmp_path):
    """URL of a local server for the folder `served`, which contains one file."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.bin").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def fetch(target, *urls, md5=MD5):
    return list(_download.download([PublishedFile("file.bin", md5, urls)], target.parent))


def test_download_reports_progress(server, tmp_path):
    target = tmp_path / "data" / "deep" / "file.bin"
    message = fetch(target, f"{server}/file.bin")
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
    assert message[-1].done == message[-1].total == len(CONTENT) // 1000
    assert [step.done for step in message] == sorted(step.done for step in message)
    assert len(message) == 3
    assert {step.task for step in message} == {"downloading file.bin (kB)"}


def test_second_url_is_tried(server, tmp_path):
    fetch(tmp_path / "file.bin", NOWHERE, f"{server}/missing.bin", f"{server}/file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_unreachable_file_names_the_remedy(server, tmp_path):
    target = tmp_path / "data" / "file.bin"
    with pytest.raises(DataError) as error:
        fetch(target, NOWHERE, f"{server}/missing.bin")
    assert str(error.value) == (
        f"cannot download {NOWHERE}: Connection refused; {server}/missing.bin: the server answers 404 File not found; "
        f"put file.bin into {target.parent} yourself"
    )
    assert not target.exists()


def test_all_missing_files_are_named(server, tmp_path):
    files = [PublishedFile(name, MD5, (f"{server}/{name}",)) for name in ("file.bin", "second.bin", "third.bin")]
    with pytest.raises(DataError, match=r"cannot download \S+/second\.bin: .*; put second\.bin, third\.bin into"):
        list(_download.download(files, tmp_path / "data"))
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["file.bin"]


def test_wrong_download_is_discarded(server, tmp_path):
    target = tmp_path / "data" / "file.bin"
    with pytest.raises(
        DataError, match=f"the download is not the published file: its MD5 is {MD5}, not {'0' * 32}; put"
    ):
        fetch(target, f"{server}/file.bin", md5="0" * 32)
    assert list(target.parent.iterdir()) == []


def test_interrupted_download_leaves_no_file(server, tmp_path):
    target = tmp_path / "data" / "file.bin"
    download = _download.download([PublishedFile("file.bin", MD5, (f"{server}/file.bin",))], target.parent)
    next(download)
    assert not target.exists()
    download.close()
    assert list(target.parent.iterdir()) == []


def test_unwritable_folder_is_reported(server, tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write .*file\.bin: .*; free some space, or choose another folder"):
        fetch(tmp_path / "data" / "file.bin", f"{server}/file.bin")


def test_local_copies_are_checked_by_their_digest(tmp_path):
    file = tmp_path / "file.bin"
    file.write_bytes(CONTENT)
    assert _download.read_file(file, MD5) == _download.read_file(file, None) == CONTENT
    _download.check_file(file, MD5)
    file.write_bytes(CONTENT[:-1])
    damaged = r"file\.bin is damaged, or is another file: its MD5 is \w{32}, not the published \w{32}; delete it"
    for check in (_download.read_file, _download.check_file):
        with pytest.raises(DataError, match=damaged):
            check(file, MD5)
        with pytest.raises(DataError, match=r"cannot read .*none\.bin: No such file"):
            check(tmp_path / "none.bin", MD5)
