"""Signals after a request to stop: which of them only repeat it, and which end the command at once."""

import signal
from collections.abc import Iterator

import pytest

from equipoise.cli import signals
from equipoise.cli.signals import REPEAT_SECONDS, interruptible


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the clock by a list with the seconds."""
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture(autouse=True)
def actions() -> Iterator[None]:
    """Let no signal be ignored, as under nohup, or end the tests."""
    before = {number: signal.signal(number, signals._raise_interrupt) for number in signals.STOP_SIGNALS}
    yield
    for number, action in before.items():
        signal.signal(number, action)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_that_is_repeated_is_one_request(first: int, second: int, clock: list[float]) -> None:
    with interruptible(is_quiet=True) as request:
        request.defer()
        signal.raise_signal(first)
        assert request()
        for _ in range(3):
            clock[0] += REPEAT_SECONDS / 4
            signal.raise_signal(second)
    signal.raise_signal(second)  # the run is saved, and the command prints so
    clock[0] += REPEAT_SECONDS
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(second)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize(("second", "wait"), [(signal.SIGINT, 0.0), (signal.SIGTERM, REPEAT_SECONDS)])
def test_ctrl_c_and_a_late_sigterm_end_at_once(first: int, second: int, wait: float, clock: list[float]) -> None:
    with interruptible(is_quiet=True) as request:
        request.defer()
        signal.raise_signal(first)
        clock[0] += wait
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)


def test_the_first_signal_before_a_request_can_be_deferred_ends_at_once(clock: list[float]) -> None:
    with interruptible(is_quiet=True), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
