"""The file of a policy: the same bytes for the same policy, and a clear message for every error."""

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load, save

from equipoise.errors import SettingError, UnknownNameError
from equipoise.policy import files
from equipoise.policy.files import (
    Policy,
    check_policy_tasks,
    encode_policy,
    load_policy,
    policy_path,
    resolve_policy_paths,
    shipped_policies,
)
from equipoise.policy.kinds import KINDS, untrained_policy
from equipoise.policy.network import PolicyNetwork


def random_policy(kind: str = "residual") -> Policy:
    policy = untrained_policy(kind)
    row = np.random.default_rng(3).standard_normal(policy.actor.flat().size)
    training = {"method": "none", "check": {"mean": 0.5}}
    return dataclasses.replace(policy, actor=policy.actor.with_flat(row), training=training)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(encode_policy(random_policy()))
    return path


def alter(path: Path, change: Any, *, sign: bool = True) -> Path:
    """Change the JSON or the tensors of a file, with a new digest or the old one."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    values, tensors = json.loads(header["__metadata__"]["policy"]), load(content)
    values.pop("digest") if sign else None
    change(values, tensors)
    if sign:
        values["digest"] = files._digest(values, tensors)
    path.write_bytes(save(tensors, {"policy": json.dumps(values)}))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_survives_its_file(kind: str, tmp_path: Path) -> None:
    critic = PolicyNetwork.start((3, 5, 1), "none", np.random.default_rng(1))
    policy = dataclasses.replace(random_policy(kind), critic=critic, log_std=np.array([-1.0, 0.5]))
    (tmp_path / "p.safetensors").write_bytes(encode_policy(policy))
    result = load_policy(str(tmp_path / "p.safetensors")).policy
    assert (result.features, result.heads, result.base, result.every) == (
        policy.features,
        policy.heads,
        policy.base,
        policy.every,
    )
    assert result.training == policy.training
    assert result.critic is not None
    assert result.log_std is not None
    for loaded, saved in ((result.actor, policy.actor), (result.critic, critic)):
        assert np.array_equal(loaded.flat(), saved.flat())
        assert loaded.squash == saved.squash
    assert result.log_std.tolist() == [-1.0, 0.5]
    assert encode_policy(result) == encode_policy(policy)


def test_a_changed_file_is_reloaded(file: Path) -> None:
    before = load_policy(str(file))
    file.write_bytes(encode_policy(untrained_policy("residual")))
    assert load_policy(str(file)).digest != before.digest


def test_shipped_policies_are_complete_and_document_their_training() -> None:
    assert shipped_policies() == sorted(KINDS)
    for name in shipped_policies():
        policy = load_policy(name).policy
        kind = KINDS[name]
        assert (policy.features, policy.heads, policy.base, policy.every) == (
            kind.features,
            kind.heads,
            kind.base,
            kind.every,
        )
        assert policy.training["plan"]["kind"] == name
        assert np.abs(policy.actor.flat()).max() > 0, "it was trained"
        assert policy.training["check"].keys() >= {"mean", "low"}


class Task(NamedTuple):
    name: str
    source: str


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (Task("emoji_64", "emoji"), "trained on task 'emoji_64'; remove the task or choose another policy"),
        (Task("emoji_400", "emoji"), "trained on other tasks of 'emoji'; remove"),
    ],
)
def test_a_policy_is_not_compared_on_its_training_tasks(task: Task, reason: str) -> None:
    training = {"tasks": ["emoji_64"], "sources": ["emoji"]}
    policy = dataclasses.replace(untrained_policy("suite"), training=training)
    check_policy_tasks(policy, [Task("digits_64", "digits")], "mine")
    with pytest.raises(SettingError, match=rf"'mine' cannot be compared on task '{task.name}': it was {reason}"):
        check_policy_tasks(policy, [Task("digits_64", "digits"), task], "mine")
    check_policy_tasks(untrained_policy("suite"), [task], "an older file without tasks")
    with pytest.raises(SettingError, match="'residual' cannot be compared on task 'spirals_64'"):
        check_policy_tasks(load_policy("residual").policy, [Task("spirals_64", "spirals")], "residual")


def test_a_name_is_a_shipped_policy_or_a_path(file: Path) -> None:
    assert policy_path("residual").parent == files.SHIPPED
    assert policy_path(str(file)) == file
    with pytest.raises(SettingError, match=r"there is no policy 'resdual': neither a file nor .*residual.*train-pol"):
        load_policy("resdual")
    with pytest.raises(SettingError, match="is not the file of a policy"):
        load_policy(str(file.parent))
    with pytest.raises(SettingError, match="there is no policy 'xxx"):
        load_policy("x" * 400)


def test_paths_of_policies_become_absolute(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of shipped policies, and names without a file, do not change."""
    monkeypatch.chdir(file.parent)
    same = {"policy": "residual", "settings": {"ppo": {"policy": "greedy"}}, "long": {"policy": "x" * 400}, "seed": 3}
    assert resolve_policy_paths(same) == same
    assert resolve_policy_paths({"settings": {"learnable": {"policy": file.name}}}) == {
        "settings": {"learnable": {"policy": str(file)}}
    }


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"\x80\x04N.", save({"a": np.zeros(2)}), save({}, {"policy": "["})]
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(SettingError, match="p is not the file of a policy; train one with: equipoise train-policy"):
        load_policy(str(tmp_path / "p"))


def test_a_wrong_digest_is_refused(file: Path) -> None:
    def change(values: Any, tensors: Any) -> None:
        tensors["actor.0.bias"][0] += 1

    alter(file, change, sign=False)
    with pytest.raises(
        SettingError, match=r"mine.safetensors does not match its digest: it was modified or is damaged"
    ):
        load_policy(str(file))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda v, t: v["names"].append("luck"),
            r"trained on features of 'residual' that differ from this version \(luck\)",
        ),
        (lambda v, t: v["names"].reverse(), r"trained on features .* \(their order\)"),
        (lambda v, t: v.update(features="weather"), "needs a feature set that this version does not have: .*'weather'"),
        (lambda v, t: v["heads"][0]["knobs"].update(lr_x=1.0), "changes 'lr_x', which is not a knob"),
        (lambda v, t: v["heads"].pop(), "trained on features"),
        (lambda v, t: v.update(base="luck"), "is not a policy that this version can read: base"),
        (lambda v, t: v.pop("heads"), "is not a policy that this version can read: heads: field required"),
        (lambda v, t: v.update(format=2), "has format 2, but this version reads 1; upgrade equipoise"),
        (lambda v, t: t.update({"actor.0.weight": np.zeros((4, 5))}), "maps 5 numbers to 4, not 23 to 4"),
    ],
)
def test_incompatible_files_are_refused(change: Any, line: str, file: Path) -> None:
    alter(file, change)
    with pytest.raises(SettingError, match=line):
        load_policy(str(file))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="there is no kind of policy 'residul'; did you mean 'residual'"):
        untrained_policy("residul")


def test_policies_of_the_suite_say_what_they_were_trained_on() -> None:
    """And none of it is a test task: see benchmarks/control/suite.toml."""
    suite = tomllib.loads((Path(__file__).parents[2] / "benchmarks" / "control" / "suite.toml").read_text())
    tests = [Task(name, task["source"]) for name, task in suite["test"].items()]
    for name in ("suite", "ppo_suite"):
        policy = load_policy(name).policy
        check_policy_tasks(policy, tests, name)
        assert policy.training["tasks"]
        assert policy.training["check"]["low"] < policy.training["check"]["mean"] < policy.training["check"]["high"]
    assert set(load_policy("suite").policy.training["tasks"]) <= set(suite["training"])
