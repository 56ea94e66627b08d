"""The file of a policy: safetensors with its weights, and in their metadata, as JSON, all else that is to be known.

    policy = {"format": 1, "features": "residual", "names": […], "heads": [{"name": …, "kind": …, "knobs": {…}, …}],
              "base": "rank", "every": 0.025, "networks": {"actor": {"layers": 2, "squash": "tanh"}},
              "training": {…}, "digest": "sha256 of all the others and of the weights"}

One file, so that it is whole or not there. Nothing in it is ever unpickled.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from equipoise.errors import SettingError, UnknownNameError
from equipoise.policy.actions import Head, check_heads, knobs_of
from equipoise.policy.features import FeatureSet, feature_set
from equipoise.policy.network import Floats, Network

FORMAT = 1
SUFFIX = ".safetensors"
SHIPPED = Path(__file__).parents[1] / "controllers" / "policies"
LARGEST = 16 * 2**20
"""Bytes; the policies here have some ten thousand."""

Base = Literal["fixed", "annealed", "rank"]


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy: `features` it sees, `heads` it turns, `actor` between them, on top of the controller `base`.

    `every`: when it decides; below 1 a share of the run, from 1 on a number of steps. `critic` and `log_std` (k,), the
    logarithms of the deviations of its actions while it learns, belong to policies that were learned by PPO.
    `training`: how it came to be, as JSON has it.
    """

    features: str
    heads: tuple[Head, ...]
    actor: Network
    base: Base = "fixed"
    every: float = 1 / 40
    critic: Network | None = None
    log_std: Floats | None = None
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sees(self) -> FeatureSet:
        """The set of its features."""
        return feature_set(self.features)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its features, in order."""
        return self.sees.named([head.name for head in self.heads])

    @property
    def knobs(self) -> frozenset[str]:
        """The knobs that its heads turn."""
        return knobs_of(self.heads)


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A policy from a file, and the SHA-256 of what it holds."""

    policy: Policy
    digest: str


def encoded(policy: Policy) -> bytes:
    """The bytes of a policy's file: the same policy gives the same bytes."""
    from safetensors.numpy import save

    values, tensors = _values(policy), _tensors(policy)
    values["digest"] = _digest(values, tensors)
    return save(tensors, {"policy": json.dumps(values, sort_keys=True)})


def located(policy: str) -> Path:
    """The file that a word stands for: a shipped policy by its name, else a path."""
    shipped = SHIPPED / f"{policy}{SUFFIX}"
    return shipped if "/" not in policy and os.path.isfile(shipped) else Path(policy)  # False for names too long, too


def rooted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a controller, or of the links of a chain, that mean the same in every folder.

    The file of a policy by its full path; shipped ones, and words that name no file, as they are.
    """
    result = dict(options)
    for name, value in options.items():
        if isinstance(value, Mapping):
            result[name] = rooted(value)
        elif name == "policy" and isinstance(value, str) and located(value) == Path(value) and os.path.isfile(value):
            result[name] = str(Path(value).resolve())
    return result


def shipped() -> list[str]:
    """The names of the policies that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}"))


def read(word: str) -> Read:
    """The policy of a name or a path. Raises SettingError if there is none, or it is damaged or of another version."""
    path = located(word)
    try:
        stamp = path.stat()
    except OSError as error:
        known = ", ".join(shipped())
        raise SettingError(
            f"there is no policy '{word}': neither a file nor one of those that are shipped ({known}); "
            "make one with: equipoise train-policy PLAN.toml"
        ) from error
    if not path.is_file() or stamp.st_size > LARGEST:
        raise SettingError(f"{path} is not the file of a policy; make one with: equipoise train-policy PLAN.toml")
    return _read(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=32)
def _read(path: Path, changed: int, size: int) -> Read:
    """`changed` and `size` are those of the file, so that another one is read anew."""
    values, tensors = _content(path)
    if values.get("format") != FORMAT:
        raise SettingError(f"{path} has format {values.get('format')}, this version reads {FORMAT}; upgrade equipoise")
    digest = values.pop("digest", None)
    if digest != _digest(values, tensors):
        raise SettingError(f"{path} does not match its digest: it was altered or damaged; fetch or train it again")
    try:
        policy = _policy(values, tensors)
    except (KeyError, TypeError, ValidationError) as error:
        raise SettingError(f"{path} is not the file of a policy as this version knows it: {_first(error)}") from error
    _check(policy, values["names"], str(path))
    return Read(policy, digest)


def _content(path: Path) -> tuple[dict[str, Any], dict[str, Floats]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as opened:
            values = json.loads((opened.metadata() or {})["policy"])
            names = opened.keys()
            tensors = {name: opened.get_tensor(name) for name in names}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise SettingError(
            f"{path} is not the file of a policy; make one with: equipoise train-policy PLAN.toml"
        ) from error
    if not isinstance(values, dict):
        raise SettingError(f"{path} is not the file of a policy; make one with: equipoise train-policy PLAN.toml")
    return values, tensors


def _check(policy: Policy, names: Sequence[str], owner: str) -> None:
    """Raise SettingError for features that are not those of this version, or shapes that do not fit."""
    try:
        known = policy.names
    except UnknownNameError as error:
        raise SettingError(f"{owner} sees features of a kind that this version has not: {error}") from error
    if list(names) != list(known):
        odd = sorted(set(names) ^ set(known)) or ["their order"]
        raise SettingError(
            f"{owner} was trained on other features of '{policy.features}' than this version has "
            f"({', '.join(odd)}); train it again"
        )
    check_heads(policy.heads, owner)
    sizes = policy.actor.sizes
    if (sizes[0], sizes[-1]) != (len(known), len(policy.heads)):
        raise SettingError(f"{owner} maps {sizes[0]} numbers to {sizes[-1]}, not {len(known)} to {len(policy.heads)}")


def _values(policy: Policy) -> dict[str, Any]:
    networks = {"actor": policy.actor} | ({} if policy.critic is None else {"critic": policy.critic})
    return {
        "format": FORMAT,
        "features": policy.features,
        "names": list(policy.names),
        "heads": [asdict(head) for head in policy.heads],
        "base": policy.base,
        "every": policy.every,
        "networks": {name: {"layers": len(one.biases), "squash": one.squash} for name, one in networks.items()},
        "training": dict(policy.training),
    }


def _tensors(policy: Policy) -> dict[str, Floats]:
    result: dict[str, Floats] = {}
    for name, network in (("actor", policy.actor), ("critic", policy.critic)):
        if network is not None:
            result |= {f"{name}.{number}.weight": weight for number, weight in enumerate(network.weights)}
            result |= {f"{name}.{number}.bias": bias for number, bias in enumerate(network.biases)}
    if policy.log_std is not None:
        result["log_std"] = policy.log_std
    return {name: np.ascontiguousarray(tensor, np.float64) for name, tensor in result.items()}


def _policy(values: Mapping[str, Any], tensors: Mapping[str, Floats]) -> Policy:
    networks: dict[str, Network] = {}
    for name, shape in values["networks"].items():
        layers = range(int(shape["layers"]))
        weights = tuple(tensors[f"{name}.{number}.weight"] for number in layers)
        biases = tuple(tensors[f"{name}.{number}.bias"] for number in layers)
        networks[name] = Network(weights, biases, shape["squash"])
    heads: tuple[Head, ...] = TypeAdapter(tuple[Head, ...]).validate_python(values["heads"])
    base: Base = TypeAdapter(Base).validate_python(values["base"])
    return Policy(
        features=str(values["features"]),
        heads=heads,
        actor=networks["actor"],
        base=base,
        every=float(values["every"]),
        critic=networks.get("critic"),
        log_std=tensors.get("log_std"),
        training=values["training"],
    )


def _digest(values: Mapping[str, Any], tensors: Mapping[str, Floats]) -> str:
    """SHA-256 of the JSON with sorted keys, and of every tensor's name, shape and bytes in order of their names."""
    result = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name in sorted(tensors):
        result.update(f"{name} {tensors[name].shape} {tensors[name].dtype}".encode())
        result.update(np.ascontiguousarray(tensors[name]).tobytes())
    return result.hexdigest()


def _first(error: Exception) -> str:
    """The first thing wrong, in few words."""
    if isinstance(error, ValidationError):
        one = error.errors()[0]
        return f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}"
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
