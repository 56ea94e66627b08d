"""The cache of decoded files: which files are listed, when they are read again, and recovery from a kill."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.data._files import cache_writer as cache_writer_module
from equipoise.data._files.cache import describe_changes, fill_cache, load_cached, open_cached
from equipoise.data._files.decoding import Decoded, Decoding
from equipoise.data._files.listing import content_digest, list_files
from equipoise.data._files.sources import FolderStorage, open_folder
from equipoise.data._splits import split_by_digest
from equipoise.errors import DataError

KEY = {"data": "test", "decoder": 1}
ENDINGS = (".num", ".txt")


def write(folder, contents):
    """Write files of four bytes each; keys are relative paths."""
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def numbered(count):
    return {f"{number:03d}.num": number.to_bytes(4, "big") for number in range(count)}


def decode(content, path):
    """Decode the four bytes as a row of four; raise an error for fewer."""
    if len(content) != 4:
        raise DataError(f"{len(content)} bytes")
    return Decoded(np.frombuffer(content, np.uint8), {"odd": content[3] % 2})


def fail(content, path):
    raise AssertionError(f"{path} is decoded again")


def filled(folder, cache, decode=decode, **options):
    source = open_folder(folder, ENDINGS)
    decoding = Decoding(KEY, decode, (4,), "uint8", "reading", **options)
    messages = list(fill_cache(source, cache, decoding))
    assert [one.done for one in messages] == sorted(one.done for one in messages)
    assert messages[-1].done == messages[-1].total == len(source.files)
    return load_cached(source, cache, KEY)


def entries(cache):
    return sorted(path.name for path in cache.iterdir() if path.name != "index")


def load(folder, cache, key=KEY):
    return load_cached(open_folder(folder, ENDINGS), cache, key)


def test_list_files_is_sorted_relative_and_skips_hidden_files(tmp_path):
    write(
        tmp_path,
        dict.fromkeys(
            ("b.num", "A.NUM", "sub/ü 漢字 .txt", "sub/deep/c.num", ".hidden.num", ".git/d.num", "sub/e.csv"), b"1"
        ),
    )
    result = list_files(tmp_path, ENDINGS)
    assert [file.path for file in result] == ["A.NUM", "b.num", "sub/deep/c.num", "sub/ü 漢字 .txt"]
    assert all(file.size == 1 for file in result)
    assert result[1].modified == (tmp_path / "b.num").stat().st_mtime_ns


def test_run_folders_are_skipped(tmp_path):
    write(tmp_path, dict.fromkeys(("a.num", "runs/x/samples/b.num"), b"1"))
    write(tmp_path, dict.fromkeys(("runs/x/experiment.json", "runs/x/events.jsonl"), b"{}"))
    assert [file.path for file in list_files(tmp_path, ENDINGS)] == ["a.num"]


def test_links_are_followed_without_endless_loops(tmp_path):
    other = write(tmp_path / "elsewhere", {"a.num": b"1"})
    folder = write(tmp_path / "folder", {"b.num": b"1"})
    (folder / "link").symlink_to(other)
    (folder / "self").symlink_to(folder)
    (folder / "nowhere.num").symlink_to(tmp_path / "gone.num")
    assert [file.path for file in list_files(folder, ENDINGS)] == ["b.num", "link/a.num"]


def test_invalid_folders_are_refused(tmp_path):
    write(tmp_path, {"file.num": b"1", "empty/other.csv": b"1"})
    with pytest.raises(DataError, match=r"gone does not exist"):
        list_files(tmp_path / "gone", ENDINGS)
    with pytest.raises(DataError, match=r"file.num is a file; pass the folder"):
        list_files(tmp_path / "file.num", ENDINGS)
    with pytest.raises(DataError, match=r"empty contains no files with the extension .num, .txt"):
        list_files(tmp_path / "empty", ENDINGS)


def test_rows_are_in_order_of_files(tmp_path):
    folder = write(tmp_path / "in", numbered(300))
    result = filled(folder, tmp_path / "cache")
    expected = torch.arange(300).view(-1, 1) // torch.tensor([2**24, 2**16, 2**8, 1]) % 256
    assert torch.equal(result.array, expected.byte())
    assert result.paths == tuple(numbered(300))
    assert len(set(result.digests)) == 300
    assert result.facts == {"odd": 150}
    assert (result.notes, result.skipped) == ((), {})


def test_file_may_contain_several_rows_or_none(tmp_path):
    folder = write(tmp_path / "in", {"a.num": b"", "b.num": b"abc", "c.num": b"d"})
    files = open_folder(folder, ENDINGS)

    def letters(content, path):
        return np.frombuffer(content, np.uint8).astype(np.float32).reshape(-1, 1, 1) * 0.5

    assert list(fill_cache(files, tmp_path / "c", Decoding(KEY, letters, (1, 1), np.float32, "reading")))
    result = load_cached(files, tmp_path / "c", KEY)
    assert result.array.dtype == torch.float32
    assert (result.array.flatten() * 2).tolist() == list(b"abcd")
    assert result.paths == ("b.num", "b.num", "b.num", "c.num")
    assert result.digests[0] == result.digests[1] != result.digests[3]


def test_rows_are_memory_mapped(tmp_path):
    result = filled(write(tmp_path / "in", numbered(5)), tmp_path / "cache")
    if not Path("/proc/self/maps").exists():
        pytest.skip("only Linux tells what is mapped")
    (entry,) = entries(tmp_path / "cache")
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if entry in line]
    assert any(
        int(start, 16) <= result.array.data_ptr() < int(end, 16)
        for start, _, end in (line[0].partition("-") for line in lines)
    )


def test_second_start_reads_no_file(tmp_path, monkeypatch):
    folder = write(tmp_path / "in", numbered(20))
    first = filled(folder, tmp_path / "cache")
    monkeypatch.setattr(FolderStorage, "open", lambda _, path: pytest.fail(f"{path} is read again"))
    second = load(folder, tmp_path / "cache")
    assert (second.digest, second.paths) == (first.digest, first.paths)
    assert torch.equal(second.array, first.array)
    assert describe_changes(open_folder(folder, ENDINGS), tmp_path / "cache", first.digest) is None


def test_copied_or_touched_files_are_hashed_but_not_decoded(tmp_path):
    folder, cache = write(tmp_path / "in", numbered(20)), tmp_path / "cache"
    first = filled(folder, cache)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert load(copy, cache) is None
    assert filled(copy, cache, fail).digest == first.digest
    os.utime(copy / "003.num", ns=(1, 1))
    assert load(copy, cache) is None
    assert filled(copy, cache, fail).digest == first.digest
    assert len(entries(cache)) == 1


def test_entry_depends_on_content_names_and_options(tmp_path):
    folder, cache = write(tmp_path / "in", numbered(3)), tmp_path / "cache"
    digests = {filled(folder, cache).digest}
    write(folder, {"001.num": b"\0\0\0\7"})
    os.utime(folder / "001.num", ns=(1, 1))
    assert load(folder, cache) is None
    digests.add(filled(folder, cache).digest)
    (folder / "001.num").rename(folder / "009.num")
    assert load(folder, cache) is None
    digests.add(filled(folder, cache).digest)
    assert len(digests) == len(entries(cache)) == 3
    assert load(folder, cache, {**KEY, "decoder": 2}) is None


def test_interrupted_write_leaves_no_entry(tmp_path):
    folder, cache = write(tmp_path / "in", numbered(50)), tmp_path / "cache"
    filling = fill_cache(open_folder(folder, ENDINGS), cache, Decoding(KEY, decode, (4,), "uint8", "reading"))
    for _ in range(30):
        next(filling)
    filling.close()
    assert entries(cache) == []
    assert load(folder, cache) is None
    assert len(filled(folder, cache).array) == 50


def test_abandoned_entries_are_ignored_and_removed(tmp_path):
    folder, cache = write(tmp_path / "in", numbered(5)), tmp_path / "cache"
    old, new = (write(cache / f".filling-{name}", {"array.raw": b"0000"}) for name in ("old", "new"))
    for path in (old, old / "array.raw"):
        os.utime(path, ns=(1, 1))
    filled(folder, cache)
    assert not old.exists()
    assert new.exists(), "another process may be writing to it"


@pytest.mark.parametrize("name", ["array.raw", "about.json"])
def test_damaged_entry_is_rebuilt(tmp_path, name):
    folder, cache = write(tmp_path / "in", numbered(5)), tmp_path / "cache"
    first = filled(folder, cache)
    (entry,) = entries(cache)
    damaged = cache / entry / name
    damaged.write_bytes(damaged.read_bytes()[:-3])
    assert load(folder, cache) is None
    second = filled(folder, cache)
    assert torch.equal(second.array, torch.arange(5).view(-1, 1).byte() * torch.tensor([0, 0, 0, 1]).byte())
    assert entries(cache) == [entry]
    assert second.digest == first.digest


def test_damaged_index_is_rebuilt(tmp_path):
    folder, cache = write(tmp_path / "in", numbered(5)), tmp_path / "cache"
    filled(folder, cache)
    (index,) = (cache / "index").iterdir()
    for text in ("[]", "{", '{"000.num": 3}'):
        index.write_text(text)
        assert load(folder, cache) is None
        assert filled(folder, cache, fail) is not None


def test_concurrent_writes_are_safe(tmp_path):
    folder, cache = write(tmp_path / "in", numbered(40)), tmp_path / "cache"
    files = open_folder(folder, ENDINGS)
    both = [fill_cache(files, cache, Decoding(KEY, decode, (4,), "uint8", "reading")) for _ in range(2)]
    steps = [list(pair) for pair in zip(*both, strict=True)]
    assert len(steps) == 40
    assert len(entries(cache)) == 1
    assert len(load(folder, cache).array) == 40


def test_few_bad_files_are_reported_and_skipped(tmp_path):
    folder = write(tmp_path / "in", numbered(100) | {f"{n:03d}.num": b"bad" for n in (3, 50, 70, 99)} | {"x.num": b""})
    result = filled(folder, tmp_path / "cache")
    assert result.skipped == dict.fromkeys(("003.num", "050.num", "070.num", "099.num"), "3 bytes") | {
        "x.num": "0 bytes"
    }
    assert result.notes == (
        "5 of 101 files were skipped: 003.num, 050.num, 070.num and 1 more (3 bytes), x.num (0 bytes)",
    )
    assert len(result.array) == len(result.paths) == len(result.digests) == 96
    assert "003.num" not in result.paths


def test_too_many_bad_files_are_refused(tmp_path):
    folder = write(tmp_path / "in", numbered(100) | {f"{n:03d}.num": b"bad" for n in range(6)})
    with pytest.raises(DataError) as error:
        filled(folder, tmp_path / "cache")
    assert str(error.value) == (
        f"6 of 100 files in {folder} cannot be used, more than 5%: 000.num, 001.num, 002.num and 3 more "
        "(3 bytes); repair or remove them"
    )
    assert entries(tmp_path / "cache") == []


def test_zero_tolerance_reports_the_first_bad_file(tmp_path):
    folder = write(tmp_path / "in", numbered(3) | {"001.num": b"bad", "002.num": b""})
    with pytest.raises(DataError, match=r"^3 bytes$"):
        filled(folder, tmp_path / "cache", tolerance=0)


def test_unreadable_file_is_skipped_and_retried(tmp_path, monkeypatch):
    folder, cache, open_file = write(tmp_path / "in", numbered(30)), tmp_path / "cache", FolderStorage.open

    def refuse(storage, path):
        if path == "007.num":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open_file(storage, path)

    with monkeypatch.context() as patch:
        patch.setattr(FolderStorage, "open", refuse)
        result = filled(folder, cache)
        assert result.skipped == {"007.num": "cannot be read: Permission denied"}
        assert load(folder, cache).digest == result.digest
        with pytest.raises(DataError, match=r"007.num cannot be read: Permission denied$"):
            filled(write(tmp_path / "other", numbered(8)), cache, tolerance=0)
    assert load(folder, cache) is None
    assert len(filled(folder, cache).array) == 30


def test_duplicate_files_are_counted(tmp_path):
    folder = write(tmp_path / "in", numbered(5) | {"x.num": b"\0\0\0\1", "y.num": b"\0\0\0\1", "z.num": b"\0\0\0\2"})
    result = filled(folder, tmp_path / "cache")
    assert result.notes == ("3 files have the same content as another; all are used",)
    assert len(result.array) == 8
    assert result.digests[1] == result.digests[5] == result.digests[6] != result.digests[2] == result.digests[7]


def test_files_with_equal_rows_are_duplicates(tmp_path):
    folder = write(tmp_path / "in", {"a.num": b"A", "b.num": b"a", "c.num": b"b"})
    files = open_folder(folder, ENDINGS)
    decoding = Decoding(KEY, lambda c, _: np.frombuffer(c.lower(), np.uint8), (1,), "uint8", "")
    lower = fill_cache(files, tmp_path / "c", decoding)
    assert len(list(lower)) == 3
    result = load_cached(files, tmp_path / "c", KEY)
    assert result.digests[0] == result.digests[1] == min(content_digest(b"A"), content_digest(b"a"))
    assert result.notes == ("1 file has the same content as another; all are used",)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, r"^the disk that holds the cache .*cache is full; free some space$"),
        (
            errno.EROFS,
            r"^no permission to write to the cache .*cache; choose another folder with --option data.cache=FOLDER$",
        ),
        (errno.EIO, r"^cannot write to the cache .*cache: "),
    ],
)
def test_write_errors_are_reported_in_one_line(tmp_path, monkeypatch, number, words):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache_writer_module.CacheWriter, "add", refuse)
    with pytest.raises(DataError, match=words):
        filled(write(tmp_path / "in", numbered(3)), tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_file_in_place_of_the_cache_is_reported(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(DataError, match=r"cannot write to the cache .*cache: File exists"):
        filled(write(tmp_path / "in", numbered(3)), tmp_path / "cache")


def test_changes_are_described(tmp_path):
    folder, cache = write(tmp_path / "in", numbered(6)), tmp_path / "cache"
    first = filled(folder, cache)
    write(folder, {"004.num": b"\0\0\0\x55", "new 1.num": b"0000", "new 2.num": b"0001"})
    os.utime(folder / "004.num", ns=(1, 1))
    (folder / "000.num").unlink()
    assert describe_changes(open_folder(folder, ENDINGS), cache, first.digest) == (
        "2 files were added (new 1.num, …), 1 file was removed (000.num), 1 file was modified (004.num)"
    )
    shutil.rmtree(cache)
    assert describe_changes(open_folder(folder, ENDINGS), cache, first.digest) == "its files differ"


def test_entry_opens_without_the_folder(tmp_path):
    folder, cache = write(tmp_path / "in", numbered(6)), tmp_path / "cache"
    first = filled(folder, cache)
    shutil.rmtree(folder)
    assert torch.equal(open_cached(cache, first.digest, KEY).array, first.array)
    assert open_cached(cache, first.digest, {**KEY, "decoder": 2}) is None


@pytest.mark.parametrize(("count", "share", "expected"), [(100, 0.1, 10), (20, 0.1, 2), (4, 0.1, 1), (1, 0.5, 0)])
def test_share_is_held_out(count, share, expected):
    train, out = split_by_digest([f"{n * 7919 % 1000:03d}" for n in range(count)], share)
    assert len(out) == expected
    assert sorted(train + out) == list(range(count))
    assert (train, out) == (sorted(train), sorted(out))


def test_held_out_depends_only_on_content():
    digests = [content_digest(bytes([n])) for n in range(200)]
    _, out = split_by_digest(digests, 0.2)
    _, backward = split_by_digest(digests[::-1], 0.2)
    assert {digests[row] for row in out} == {digests[::-1][row] for row in backward}
    assert {digests[row] for row in out} == set(sorted(digests)[:40])


def test_equal_content_stays_together():
    digests = [f"{n // 4:02d}" for n in range(40)]
    train, out = split_by_digest(digests, 0.1)
    assert out == [0, 1, 2, 3]
    assert not {digests[row] for row in train} & {digests[row] for row in out}


def test_neither_split_is_empty():
    assert split_by_digest(["a"] * 9 + ["b"], 0.1) == (list(range(9)), [9])
    assert split_by_digest(["a", "b"], 0.5) == ([1], [0])
    assert split_by_digest(["a"] * 9, 0.5) == (list(range(9)), [])
    assert split_by_digest(["a", "b"], 0) == ([0, 1], [])


@pytest.mark.parametrize("damage", ["zeroed", "flipped"])
def test_damaged_bytes_are_noticed(tmp_path, damage):
    folder, cache = write(tmp_path / "in", numbered(50)), tmp_path / "cache"
    first = filled(folder, cache).array.clone()
    (entry,) = entries(cache)
    content = bytearray((cache / entry / "array.raw").read_bytes())
    content[80:120] = bytes(40) if damage == "zeroed" else bytes(byte ^ 1 for byte in content[80:120])
    (cache / entry / "array.raw").write_bytes(content)
    assert load(folder, cache) is None
    decoding = Decoding(KEY, decode, (4,), "uint8", "reading")
    notes = [message.note for message in fill_cache(open_folder(folder, ENDINGS), cache, decoding) if message.note]
    assert notes == [f"the cache {cache} was damaged: {folder} is decoded again"]
    assert torch.equal(load(folder, cache).array, first)
