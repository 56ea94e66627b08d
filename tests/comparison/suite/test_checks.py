"""What makes a verdict unfair is refused in one line: halves, trials, held-out reals, policies."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from equipoise.comparison.suite.checks import ArmInfo, check_suite
from equipoise.comparison.suite.tasks import Suite, SuiteTask
from equipoise.errors import SettingError
from equipoise.policy.files import encode_policy
from equipoise.policy.kinds import untrained_policy

TASKS = (
    SuiteTask("bursts_64", "training", "bursts", steps=9, training_images=64),
    SuiteTask("icons_64", "test", "icons", steps=9, training_images=64),
)
SUITE = Suite(TASKS)
FIXED: Mapping[str, object] = {"controller": "fixed"}
WITHOUT_HELD_OUT = '''
"""Data without held-out reals."""

from dataclasses import dataclass

from equipoise.comparison.suite.data import SuiteData

__all__ = ["Lonely"]


@dataclass(frozen=True)
class Lonely(SuiteData):
    """Bursts, all of them for training."""

    def count(self, split):
        """Return the number of samples of a split."""
        return 0 if split == "held_out" else 64
'''


def arms_of(**trials: int) -> dict[str, ArmInfo]:
    return {name: ArmInfo(FIXED, "feedback", number) for name, number in trials.items()}


def write_policy(folder: Path, **training: list[str]) -> str:
    path = folder / "mine.safetensors"
    path.write_bytes(encode_policy(dataclasses.replace(untrained_policy("residual"), training=training)))
    return str(path)


def follow(policy: str) -> dict[str, ArmInfo]:
    return {"learned": ArmInfo({"controller": "learnable", "options": {"policy": policy}}, "learned")}


def test_a_fair_suite_passes() -> None:
    check_suite(SUITE, arms_of(constant=64, ada=64, untuned=0, hasty=20))


@pytest.mark.parametrize("trials", [{"constant": 64, "ada": 64, "mine": 96}, {"constant": 64, "mine": 65}])
def test_an_arm_with_more_trials_than_others_is_refused(trials: dict[str, int]) -> None:
    with pytest.raises(
        SettingError,
        match=rf"^arm 'mine' was tuned with {trials['mine']} trials, others with 64; tune all with the same",
    ):
        check_suite(SUITE, arms_of(**trials))


def test_a_constant_with_more_trials_than_the_arms_is_refused_as_well() -> None:
    with pytest.raises(SettingError, match=r"^arm 'constant' was tuned with 96 trials, others with 64"):
        check_suite(SUITE, arms_of(constant=96, ada=64, rank=64))


def test_a_task_without_held_out_reals_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lonely.py").write_text(WITHOUT_HELD_OUT)
    monkeypatch.chdir(tmp_path)
    task = dataclasses.replace(TASKS[0], data="./lonely.py")
    with pytest.raises(SettingError, match=r"^task 'bursts_64' has no held-out reals, so no arm can select its best"):
        check_suite(Suite((task, TASKS[1])), arms_of(constant=64))


def test_a_task_with_its_data_in_both_halves_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^the source 'bursts' is in \[training\] and in \[test\]"):
        Suite((TASKS[0], dataclasses.replace(TASKS[0], name="other", half="test")))
    with pytest.raises(SettingError, match=r"^task 'bursts_64' is in \[training\] and in \[test\]"):
        Suite((TASKS[0], dataclasses.replace(TASKS[0], source="icons", half="test")))


@pytest.mark.parametrize("training", [{"tasks": ["icons_64"]}, {"tasks": ["other"], "sources": ["icons"]}])
def test_a_policy_trained_on_a_test_task_or_its_data_is_refused(tmp_path: Path, training: dict[str, list[str]]) -> None:
    policy = write_policy(tmp_path, **training)
    with pytest.raises(
        SettingError, match="'learned' cannot be compared on task 'icons_64': it was trained on"
    ) as caught:
        check_suite(SUITE, follow(policy))
    assert "\n" not in str(caught.value)


def test_a_policy_within_a_chain_is_checked_as_well(tmp_path: Path) -> None:
    policy = write_policy(tmp_path, tasks=["icons_64"])
    options = {"of": ["annealed", "learnable"], "settings": {"learnable": {"policy": policy}}}
    with pytest.raises(SettingError, match="icons_64"):
        check_suite(SUITE, {"both": ArmInfo({"controller": "chain", "options": options}, "learned")})


def test_a_policy_trained_on_training_tasks_passes(tmp_path: Path) -> None:
    check_suite(SUITE, follow(write_policy(tmp_path, tasks=["bursts_64"], sources=["bursts"])))
    check_suite(SUITE, follow("residual"))
