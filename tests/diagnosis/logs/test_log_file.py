"""Files as streams: compression, encodings, line ends, damage, and files that are no texts."""

import gzip
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from equipoise.diagnosis.logs import log_file
from equipoise.diagnosis.logs.log_file import HEAD_BYTES, LogFile
from equipoise.errors import DataError

LINES = "".join(f"step {step} d_loss: 0.5 g_loss: 0.25 größe é\n" for step in range(100))


def open_bytes(content: bytes) -> LogFile:
    return LogFile(Path("train.log"), content)


def read(file: LogFile) -> str:
    return "".join(file.text_blocks())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(encoding: str) -> None:
    file = open_bytes(LINES.encode(encoding))
    assert read(file) == LINES
    assert (file.head, file.problems) == (LINES, [])


def test_utf_16_with_either_byte_order_mark() -> None:
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        assert read(open_bytes(mark + LINES.encode(encoding))) == LINES


def test_undecodable_bytes_and_nul_are_counted() -> None:
    file = open_bytes("größe: 0.5\n".encode("latin-1") + b"loss: 0.5\0\0\n")
    assert read(file) == "gr\ufffd\ufffde: 0.5\nloss: 0.5\n" or "loss: 0.5\n" in read(file)
    assert any("undecodable" in problem for problem in file.problems)
    assert "2 NUL characters were removed." in file.problems
    assert len(file.problems) == 2, "a problem is reported once, however often the file is read"


def test_line_ends_and_terminal_codes() -> None:
    content = "a 1\r\nb 2\rc 3\n\x1b[31mred 4\x1b[0m\n\x1b]0;title\x07d 5\ne\b\b\b\b\b\rf 6\x1b[2K\x1b[1Gg 7\n"
    assert read(open_bytes(content.encode())).split("\n") == [
        *("a 1", "b 2", "c 3", "red 4", "d 5", "e", "", "f 6", "g 7", ""),
    ]


def test_blocks_are_whole_lines_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"".join(b"epoch %d\tloss: 0.5\r\n" % row for row in range(200_000)))
    blocks = list(LogFile(path).text_blocks())
    assert len(blocks) > 3
    assert all(block.endswith("\n") and len(block) < 1.1 * HEAD_BYTES for block in blocks)
    assert "".join(blocks).split("\n")[:-1] == [f"epoch {row}\tloss: 0.5" for row in range(200_000)]
    assert LogFile(path).head == blocks[0]


def test_gzip_with_several_members_and_padding() -> None:
    file = open_bytes(gzip.compress(LINES.encode()) + gzip.compress(b"last 1\n") + bytes(100))
    assert read(file) == LINES + "last 1\n"
    assert file.problems == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda content: content[:-200], "truncated"),
        (lambda content: content[:3000] + b"\xff" * 50 + content[3050:], "damaged"),
        (lambda content: content + b"garbage", "followed by other bytes"),
    ],
)
def test_damaged_gzip_gives_what_precedes_the_damage(damage: object, problem: str) -> None:
    generator = np.random.default_rng(0)
    text = "".join(f"loss: {value}\n" for value in generator.random(2000))
    assert callable(damage)
    file = open_bytes(damage(gzip.compress(text.encode())))
    result = read(file)
    assert result.startswith(text[:1000])
    assert text.startswith(result) or problem == "damaged"
    assert problem in " ".join(file.problems)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
        (b"PK\x03\x04" + bytes(100), "checkpoint"),
        (b"\x80\x04\x95" + bytes(100), "pickle"),
        (bytes(10_000), "NUL"),
        (np.random.default_rng(0).integers(0, 256, 10_000, np.uint8).tobytes(), "control"),
    ],
)
def test_binary_files_are_an_error_that_names_them(content: bytes, word: str) -> None:
    with pytest.raises(DataError, match=rf"train\.log is not a text file.*{word}"):
        read(open_bytes(content))


def test_a_huge_sparse_file_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "core.log"
    with path.open("wb") as file:
        file.truncate(4 * 2**30)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="100 % NUL bytes"):
            read(LogFile(path))
        assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    finally:
        tracemalloc.stop()


def test_blocks_of_nul_after_a_power_failure_are_removed() -> None:
    file = open_bytes(LINES.encode() + bytes(2000) + LINES.encode())
    assert read(file) == LINES + LINES
    assert file.problems == ["2,000 NUL characters were removed."]


def test_decompressed_size_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "MAX_BYTES", 2 * HEAD_BYTES)
    with pytest.raises(DataError, match=r"train\.log has more than .* keep every tenth line"):
        read(open_bytes(gzip.compress(b"loss 1\n" * HEAD_BYTES)))


def test_a_stream_that_can_be_read_once_is_read_twice() -> None:
    file = LogFile.from_stream("standard input", io.BytesIO(LINES.encode()))
    assert (read(file), read(file), str(file.path)) == (LINES, LINES, "standard input")


def test_missing_file_and_folder_are_errors(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "nowhere.log", "does not exist"), (tmp_path, "cannot be read")):
        with pytest.raises(DataError, match=message):
            read(LogFile(path))


def test_the_head_of_a_binary_file_without_lines_is_an_error() -> None:
    with pytest.raises(DataError, match="is not a text file"):
        _ = open_bytes(bytes(2 * HEAD_BYTES)).head


def test_a_log_that_continues_in_utf_16_is_read() -> None:
    file = open_bytes(b"step 1 loss: 0.5\n" * 30 + ("step 2 loss: 0.25\n" * 60).encode("utf-16-le"))
    assert read(file) == "step 1 loss: 0.5\n" * 30 + "step 2 loss: 0.25\n" * 60
    assert any("NUL characters were removed" in problem for problem in file.problems)
