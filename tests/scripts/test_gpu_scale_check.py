"""The check of several GPUs lists its arms, skips what a machine cannot measure, and reports each arm in a line."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="module")
def check(load_script: Callable[[str], ModuleType]) -> ModuleType:
    """The script, as a module."""
    return load_script("gpu_scale_check")


def settings(check: ModuleType, *words: str) -> object:
    return check.settings_of(check.parse_arguments(list(words)))


def test_arms_of_all_groups(check: ModuleType) -> None:
    names = [arm[0] for arm in check.names_of_arms(settings(check))]
    assert names[:3] == ["nccl/exchanges/dcgan/64", "ranks/gradients/dcgan/64", "ranks/gradients/r3gan/64"]
    assert names.count("ranks/resume/dcgan/64") == 1
    assert "speed/images/dcgan:celeba64/64" in names
    chosen = settings(check, "--models", "r3gan", "--sizes", "16", "32", "--groups", "speed,nccl")
    assert [arm[0] for arm in check.names_of_arms(chosen)] == [
        *("speed/images/r3gan/16", "speed/images/r3gan/32", "nccl/exchanges/r3gan/16")
    ]
    with pytest.raises(SystemExit, match="there is no group tpu"):
        settings(check, "--groups", "tpu")


def test_what_needs_more_gpus_is_skipped(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    reason = check.reason_to_skip("ranks/speed", gpu, 1)
    assert reason == "2 GPUs are needed, and this machine has 1"
    assert not check.reason_to_skip("ranks/speed", gpu, 2)
    assert not check.reason_to_skip("ranks/speed", cpu, 0), "a rehearsal"
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    assert "pip install 'equipoise[ray]'" in check.reason_to_skip("share/ray", gpu, 1)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('print("a note"); print(\'{"status": "ok", "value": 3}\')', {"status": "ok", "value": 3}),
        ("raise SystemExit(7)", {"status": "failed", "reason": "exit code 7"}),
        (
            "import time; print('{\"part\": 1}', flush=True); time.sleep(60)",
            {"status": "timeout", "reason": "3 s are over", "part": 1},
        ),
    ],
)
def test_an_arm_is_a_line_however_it_ends(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: dict[str, object]
) -> None:
    (tmp_path / "arm.py").write_text(script)
    monkeypatch.setattr(check, "__file__", str(tmp_path / "arm.py"))
    monkeypatch.setitem(check.KINDS, "nccl/exchanges", check.Kind(lambda *_: {}, 3, 0))
    line = check.run_in_process("nccl/exchanges/dcgan/64", "nccl/exchanges", [], 0.0)
    assert {name: line.get(name) for name in expected} == expected


def test_flags_of_an_arm(check: ModuleType) -> None:
    assert check.without(["--out", "a", "--seconds", "2"], "--out") == ["--seconds", "2"]
    assert check.without(["--seconds", "2", "--out=a"], "--out") == ["--seconds", "2"]
