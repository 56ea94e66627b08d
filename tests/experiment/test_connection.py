"""What a process of a run knows about the others: who has ended, who says so, and when to end without a request."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import distributed

from equipoise.core.world import World
from equipoise.errors import FailedProcessError, RunError
from equipoise.experiment import connection as connections
from equipoise.experiment import rendezvous
from equipoise.experiment.connection import ENDED, PROBLEM, Connection
from equipoise.experiment.processes import RENDEZVOUS


class Texts:
    """A store in memory. `is_full`: whether writing fails, as on a full disk."""

    def __init__(self, *keys: str, is_full: bool = False) -> None:
        self.texts, self.is_full = dict.fromkeys(keys, b"no such file"), is_full

    def check(self, keys: list[str]) -> bool:
        return all(key in self.texts for key in keys)

    def get(self, key: str) -> bytes:
        return self.texts[key]

    def set(self, key: str, text: str) -> None:
        if self.is_full:
            raise RuntimeError("No space left on device")
        self.texts[key] = text.encode()

    def add(self, key: str, count: int) -> int:
        self.set(key, str(int(self.texts.get(key, b"0")) + count))
        return int(self.texts[key])


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REPORT_TIMEOUT", 0.3)


@pytest.fixture
def connection(tmp_path: Path) -> Callable[..., Connection]:
    def make(rank: int, store: Texts, **fields: object) -> Connection:
        (tmp_path / "run" / "checkpoints").mkdir(parents=True, exist_ok=True)
        return Connection(World(rank, 2), store, folder=tmp_path / "run", **fields)

    return make


@pytest.fixture
def ended_child() -> "subprocess.Popen[bytes]":
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    child.wait()
    return child


def test_process_0_that_lives_reports_its_own_error(connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a full disk keeps it from saying so."""
    assert not connection(1, Texts(ENDED)).has_to_report()
    assert not connection(1, Texts(ENDED), parent=-1).has_to_report()
    monkeypatch.setenv(RENDEZVOUS, "store")
    assert not connection(1, Texts(), parent=os.getppid()).has_to_report()
    assert connection(1, Texts(), parent=-1).has_to_report()
    assert connection(1, Texts(is_full=True), parent=-1).has_to_report()


def test_one_process_reports_the_end_of_process_0(connection) -> None:
    store = Texts()
    assert [connection(rank, store).has_to_report() for rank in (1, 2)] == [True, False]


def test_what_is_said_about_a_process_that_has_ended(connection, ended_child, tmp_path: Path) -> None:
    then = f"; resume with: equipoise resume {tmp_path / 'run'}"
    assert str(connection(0, Texts(), children=[ended_child]).loss_error()) == (
        f"process 1 of 2 ended with exit code 3{then}"
    )
    assert str(connection(0, Texts()).loss_error()) == f"another of the 2 processes of this run has ended{then}"
    assert str(connection(1, Texts()).loss_error()) == f"process 0 of 2 has ended{then}"


def test_an_error_of_another_process_is_reported_in_its_words(connection) -> None:
    """Its message names the way out: resuming would fail in the same way."""
    store = Texts()
    connection(1, store).report("data.py, line 15: ValueError: bad value; correct it, then run the command again", 1)
    error = connection(0, store).loss_error()
    assert isinstance(error, FailedProcessError)
    assert str(error) == (
        "process 1 of 2: data.py, line 15: ValueError: bad value; correct it, then run the command again"
    )
    assert error.exit_code == 1


def test_processes_that_are_gone_are_known_without_an_exchange(connection, ended_child) -> None:
    """Exchanges between GPUs do not notice the end of a process."""
    assert not connection(0, Texts(ENDED)).has_lost()
    assert connection(0, Texts(PROBLEM)).has_lost()
    assert connection(0, Texts(), children=[ended_child]).has_lost()
    assert connection(1, Texts(ENDED)).has_lost()
    assert connection(1, Texts(), parent=-1).has_lost()
    assert not connection(1, Texts(PROBLEM), parent=os.getppid()).has_lost()


def test_a_process_does_not_depend_on_the_one_from_which_the_user_started_it(
    connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `nohup equipoise train … &`, the shell may end."""
    alone = connection(0, Texts())
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert not alone.has_lost()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_ends_itself_where_its_exchange_would_wait_for_ever(
    rank: int, connection, ended_child, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    has_left = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: (codes.append(code), has_left.set()))
    lost = {"children": [ended_child]} if rank == 0 else {"parent": -1}
    connections.watch(connection(rank, Texts(), **lost), has_left)
    assert codes == [2]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"equipoise: process {1 - rank} of 2")
    assert "; resume with: equipoise resume " in line


def test_process_0_that_ends_itself_takes_the_others_along(
    connection, ended_child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would report the end of process 0 as a second cause, and its temporary folder would stay."""
    has_left, store = threading.Event(), Texts()
    monkeypatch.setattr(os, "_exit", lambda code: has_left.set())
    (folder := tmp_path / "rendezvous").mkdir()
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    connections.watch(connection(0, store, children=[ended_child, waiting], rendezvous_folder=folder), has_left)
    assert waiting.wait() < 0
    assert store.check([ENDED])
    assert not folder.exists()


def test_a_process_that_leaves_by_itself_is_not_ended(
    connection, ended_child, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("ended"))
    has_left = threading.Event()
    threading.Timer(1.1, has_left.set).start()
    connections.watch(connection(0, Texts(), children=[ended_child]), has_left)
    assert not capsys.readouterr().err


def test_a_second_connection_in_one_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    with (
        pytest.raises(RunError, match=r"already connected to others by torch\.distributed; start a new process"),
        rendezvous.connect(2),
    ):
        pass


@pytest.mark.parametrize(("error", "closes"), [(None, True), (KeyboardInterrupt, False)])
def test_connections_between_gpus_are_not_closed_after_an_error(
    error: type[BaseException] | None, closes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: closed.append(True))
    rendezvous._Disconnection(uses_nccl=True)(error, None, None)
    assert closed == [True] * closes
    rendezvous._Disconnection(uses_nccl=False)(error, None, None)
    assert len(closed) == closes + 1
