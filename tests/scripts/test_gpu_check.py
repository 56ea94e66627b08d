"""The check of an accelerator reports every arm, whatever happens in it."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from equipoise.core import catalog
from equipoise.errors import SettingError, UnknownNameError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def check(load_script: Callable[[str], ModuleType]) -> ModuleType:
    """The script, as a module."""
    return load_script("gpu_check")


def wait() -> dict[str, object]:
    end = time.process_time() + 30
    while time.process_time() < end:
        pass
    return {}


def fail(error: Exception) -> Callable[[], dict[str, object]]:
    def measure() -> dict[str, object]:
        raise error

    return measure


@pytest.mark.parametrize(
    ("measure", "status"),
    [
        (lambda: {"images_per_second": 3.0}, "ok"),
        (fail(UnknownNameError("model", "dcgna", ["dcgan"])), "missing"),
        (fail(SettingError("it generates images of 64 pixels")), "refused"),
        (fail(SettingError("batch_size = 8 does not fit into the memory of device cuda")), "out of memory"),
        (fail(ValueError("two\nlines")), "failed"),
        (wait, "timeout"),
    ],
)
def test_every_end_of_an_arm_is_one_line(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, measure: Callable[[], dict[str, object]], status: str
) -> None:
    handler = check.signal.signal(check.signal.SIGPROF, check.end_arm)
    try:
        result = check.run_arm(check.Arm("speed/toy/64", 0.3, measure), CPU)
    finally:
        check.signal.signal(check.signal.SIGPROF, handler)
    assert (result["arm"], result["status"]) == ("speed/toy/64", status)
    assert "\n" not in json.dumps(result)


def test_arms_of_all_groups(check: ModuleType, tmp_path: Path) -> None:
    settings = check.Settings("cpu", 2.0, 120.0, (64, 256), (), check.GROUPS, float("inf"), tmp_path)
    names = [arm.name for arm in check.arms_of(settings)]
    assert [name for name in names if name.startswith("race/")] == [f"race/{model}" for model in check.RACERS]
    for model in catalog.names("models"):
        assert {f"speed/{model}/64", f"speed/{model}/256"} <= set(names)
    assert names.index("resume/dcgan") < names.index("speed/dcgan/64") < names.index("race/dcgan")


def test_missing_model_does_not_stop_the_check(
    check: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--device", "cpu", "--seconds", "0.1", "--models", "nosuch,mlp", "--groups", "speed", "--sizes", "16"]
    handlers = {number: check.signal.getsignal(number) for number in (check.signal.SIGALRM, check.signal.SIGPROF)}
    check.main([*words, "--out", str(tmp_path / "lines.jsonl")])
    for number, handler in handlers.items():
        check.signal.signal(number, handler)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("status") for line in lines] == [None, "missing", "refused"]
    assert (tmp_path / "lines.jsonl").read_text().splitlines() == [json.dumps(line) for line in lines]


def test_emoji_of_any_size(check: ModuleType) -> None:
    data = catalog.build("data", str(check.EMOJI), {"image_size": 128})
    batch = data.stream("train", 2, 0).batch(0)
    assert batch.real.shape == (2, *data.spec.shape) == (2, 3, 128, 128)
    assert torch.equal(batch.real[:, :, ::2, ::2], batch.real[:, :, 1::2, 1::2])
    with pytest.raises(SettingError, match="multiple of 64"):
        catalog.build("data", str(check.EMOJI), {"image_size": 100})
