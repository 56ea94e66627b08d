"""Batches that other processes read: the same bytes with any number of them, errors in one line, a clean end."""

import dataclasses
import io
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.core.world import World
from equipoise.data.image_shards import ImageShards
from equipoise.errors import DataError
from equipoise.training.load_ahead import AheadStream, load_ahead
from equipoise.training.ranks import own_stream

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    with tarfile.open(folder / "a.tar", "w") as archive:
        for number in range(40):
            content = io.BytesIO()
            Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)).save(content, "PNG")
            info = tarfile.TarInfo(f"{number}.png")
            info.size = len(content.getvalue()) if number else 1
            content.seek(0)
            archive.addfile(info, content)
    return ImageShards(str(folder), cache=str(folder / "cache")).resolve()


def processes_of(ahead):
    """Return the process numbers of the readers."""
    return [reader.process.pid for reader in ahead.stream.processes]


def test_bytes_do_not_depend_on_the_number_of_processes(data):
    stream = data.stream("train", 8, 3)
    expected = [stream.batch(index) for index in range(12)]
    for count in (1, 2):
        with load_ahead(stream, CPU, count) as ahead:
            for index in (0, 1, 2, 7, 8, 3, 11):
                assert torch.equal(ahead.batch(index).real, expected[index].real)
            pids = processes_of(ahead)
        assert len(pids) == count
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
    assert list(stream.damaged()) == ["a.tar/0.png"], "found by several processes, recorded once"


def test_each_rank_gets_its_share(data):
    stream = data.stream("train", 4, 3)
    for rank in range(2):
        with load_ahead(stream, CPU, 1, lambda whole, rank=rank: own_stream(whole, World(rank, 2))) as ahead:
            assert torch.equal(ahead.batch(3).real, stream.batch(6 + rank).real)


def test_without_processes_nothing_changes(data):
    stream = data.stream("train", 4, 3)
    with load_ahead(stream, CPU) as same:
        assert same is stream


def test_data_that_is_in_memory_is_read_without_processes():
    from equipoise.data.digits import Digits

    stream = Digits().stream("train", 4, 0)
    with load_ahead(stream, CPU, 2) as same:
        assert same is stream


def test_an_error_in_a_process_is_raised_in_one_line(data, tmp_path):
    stream = data.stream("train", 4, 3)
    elsewhere = dataclasses.replace(stream, reader=dataclasses.replace(stream.reader, root=tmp_path))
    with load_ahead(elsewhere, CPU, 1) as ahead, pytest.raises(DataError, match=r"a.tar is no longer there"):
        ahead.batch(0)


def test_a_process_that_is_killed_ends_the_run_in_one_line(data):
    with load_ahead(data.stream("train", 4, 3), CPU, 1) as ahead:
        ahead.batch(0)
        for pid in processes_of(ahead):
            os.kill(pid, 9)
        with pytest.raises(DataError, match=r"a process that reads data has ended .* fewer --data-workers"):
            ahead.batch(50)


def test_processes_start_without_torch():
    modules = "equipoise.training.batch_reading, equipoise.data._shards.reader"
    script = f"import sys, {modules}; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_several_batches_are_read_ahead(data):
    stream = data.stream("train", 4, 3)
    with load_ahead(stream, CPU, 1) as ahead:
        assert isinstance(ahead, AheadStream)
        ahead.batch(5)
        assert sorted(ahead._pending) == [6, 7]
        ahead.batch(20)
        assert sorted(ahead._pending) == [21, 22]
