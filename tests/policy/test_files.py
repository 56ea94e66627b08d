"""The file of a policy: the same bytes for the same policy, and one clear line for whatever is wrong with it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from equipoise.errors import SettingError, UnknownNameError
from equipoise.policy import files
from equipoise.policy.blank import KINDS, blank
from equipoise.policy.files import Policy, encoded, located, read, rooted, shipped
from equipoise.policy.network import Network


def some(kind: str = "residual") -> Policy:
    policy = blank(kind)
    row = np.random.default_rng(3).standard_normal(policy.actor.flat().size)
    training = {"method": "none", "check": {"mean": 0.5}}
    return dataclasses.replace(policy, actor=policy.actor.with_flat(row), training=training)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(encoded(some()))
    return path


def altered(path: Path, change: Any, *, sign: bool = True) -> Path:
    """The same file with something else in its JSON, signed anew or not."""
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
def test_what_is_written_is_read(kind: str, tmp_path: Path) -> None:
    critic = Network.start((3, 5, 1), "none", np.random.default_rng(1))
    policy = dataclasses.replace(some(kind), critic=critic, log_std=np.array([-1.0, 0.5]))
    (tmp_path / "p.safetensors").write_bytes(encoded(policy))
    result = read(str(tmp_path / "p.safetensors")).policy
    assert (result.features, result.heads, result.base, result.every) == (
        policy.features,
        policy.heads,
        policy.base,
        policy.every,
    )
    assert result.training == policy.training
    assert result.critic is not None
    assert result.log_std is not None
    for mine, theirs in ((result.actor, policy.actor), (result.critic, critic)):
        assert np.array_equal(mine.flat(), theirs.flat())
        assert mine.squash == theirs.squash
    assert result.log_std.tolist() == [-1.0, 0.5]
    assert encoded(result) == encoded(policy)


def test_a_file_that_was_changed_is_read_anew(file: Path) -> None:
    before = read(str(file))
    file.write_bytes(encoded(blank("residual")))
    assert read(str(file)).digest != before.digest


def test_the_shipped_ones_are_whole_and_say_how_they_came_to_be() -> None:
    assert shipped() == sorted(KINDS)
    for name in shipped():
        policy = read(name).policy
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


def test_a_name_is_a_shipped_policy_or_a_path(file: Path) -> None:
    assert located("residual").parent == files.SHIPPED
    assert located(str(file)) == file
    with pytest.raises(
        SettingError, match=r"there is no policy 'resdual': neither a file nor one .*residual.*train-pol"
    ):
        read("resdual")
    with pytest.raises(SettingError, match="is not the file of a policy"):
        read(str(file.parent))
    with pytest.raises(SettingError, match="there is no policy 'xxx"):
        read("x" * 400)


def test_options_mean_the_same_in_every_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shipped policies, and words that name no file, stay as they are."""
    monkeypatch.chdir(file.parent)
    same = {"policy": "residual", "settings": {"ppo": {"policy": "greedy"}}, "long": {"policy": "x" * 400}, "seed": 3}
    assert rooted(same) == same
    assert rooted({"settings": {"learnable": {"policy": file.name}}}) == {
        "settings": {"learnable": {"policy": str(file)}}
    }


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"\x80\x04N.", save({"a": np.zeros(2)}), save({}, {"policy": "["})]
)
def test_what_is_no_policy_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(SettingError, match="p is not the file of a policy; make one with: equipoise train-policy"):
        read(str(tmp_path / "p"))


def test_a_wrong_digest_is_told(file: Path) -> None:
    def change(values: Any, tensors: Any) -> None:
        tensors["actor.0.bias"][0] += 1

    altered(file, change, sign=False)
    with pytest.raises(SettingError, match=r"mine.safetensors does not match its digest: it was altered or damaged"):
        read(str(file))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda v, t: v["names"].append("luck"),
            r"trained on other features of 'residual' than this version has \(luck\)",
        ),
        (lambda v, t: v["names"].reverse(), r"trained on other features .* \(their order\)"),
        (lambda v, t: v.update(features="weather"), "sees features of a kind that this version has not: .*'weather'"),
        (lambda v, t: v["heads"][0]["knobs"].update(lr_x=1.0), "turns 'lr_x', a knob that there is not"),
        (lambda v, t: v["heads"].pop(), "trained on other features"),
        (lambda v, t: v.update(base="luck"), "is not the file of a policy as this version knows it"),
        (lambda v, t: v.pop("heads"), "is not the file of a policy as this version knows it: it lacks 'heads'"),
        (lambda v, t: v.update(format=2), "has format 2, this version reads 1; upgrade equipoise"),
        (lambda v, t: t.update({"actor.0.weight": np.zeros((4, 5))}), "maps 5 numbers to 4, not 23 to 4"),
    ],
)
def test_what_does_not_suit_is_told(change: Any, line: str, file: Path) -> None:
    altered(file, change)
    with pytest.raises(SettingError, match=line):
        read(str(file))


def test_a_kind_that_there_is_not_is_told() -> None:
    with pytest.raises(UnknownNameError, match="there is no kind of policy 'residul'; did you mean 'residual'"):
        blank("residul")
