"""The file of a policy: safetensors with its weights, and JSON metadata with everything else.

    policy = {"format": 1, "features": "residual", "names": […], "heads": [{"name": …, "kind": …, "knobs": {…}, …}],
              "base": "rank", "every": 0.025, "networks": {"actor": {"layers": 2, "squash": "tanh"}},
              "training": {…}, "digest": "sha256 of all the others and of the weights"}

A single file is either complete or absent. It contains no pickled objects.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import TypeAdapter, ValidationError

from equipoise.errors import SettingError, UnknownNameError
from equipoise.policy.actions import Head, check_heads, head_knobs
from equipoise.policy.features import FeatureSet, feature_set
from equipoise.policy.network import FloatArray, PolicyNetwork, Squash, count_outputs

FORMAT = 1
SUFFIX = ".safetensors"
SHIPPED = Path(__file__).parents[1] / "controllers" / "policies"
MAX_BYTES = 16 * 2**20
"""Maximum size of a file in bytes; shipped policies have about 10,000."""

BaseController = Literal["fixed", "annealed", "rank"]


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy: `actor` maps `features` to positions of `heads`, which modify the knobs of the controller `base`.

    `every`: interval between decisions, a share of the run if below 1, else a number of steps. `critic` and `log_std`
    (k,), the log standard deviations of exploration, belong to policies trained by PPO. `training`: how it was trained,
    as JSON values.
    """

    features: str
    heads: tuple[Head, ...]
    actor: PolicyNetwork
    base: BaseController = "fixed"
    every: float = 1 / 40
    critic: PolicyNetwork | None = None
    log_std: FloatArray | None = None
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def feature_set(self) -> FeatureSet:
        """The feature set of the policy."""
        return feature_set(self.features)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the features, in order."""
        return self.feature_set.all_names([head.name for head in self.heads])

    @property
    def knobs(self) -> frozenset[str]:
        """The knobs that the heads change."""
        return head_knobs(self.heads)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPolicy:
    """A policy from a file, and the SHA-256 digest of its content."""

    policy: Policy
    digest: str


class NamedTask(Protocol):
    """A task of a comparison, as far as it identifies its data."""

    @property
    def name(self) -> str:
        """Name of the task."""

    @property
    def source(self) -> str:
        """Name of its data."""


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Metadata of a network: number of layers, and function of the last layer's output."""

    layers: int
    squash: Squash


@dataclass(frozen=True, slots=True)
class PolicyMetadata:
    """Metadata of a file, without format and digest. `names`: names of the features."""

    features: str
    names: list[str]
    heads: tuple[Head, ...]
    base: BaseController
    every: float
    networks: Mapping[str, NetworkShape]
    training: Mapping[str, object]


def encode_policy(policy: Policy) -> bytes:
    """Return the content of a policy's file; the same policy gives the same bytes."""
    from safetensors.numpy import save

    values, tensors = _metadata_of(policy), _tensors_of(policy)
    values["digest"] = _digest(values, tensors)
    return save(tensors, {"policy": json.dumps(values, sort_keys=True)})


def policy_path(name: str) -> Path:
    """Return the path of a policy: the shipped file for the name of a shipped policy, otherwise `name` as a path."""
    path = SHIPPED / f"{name}{SUFFIX}"
    return path if "/" not in name and os.path.isfile(path) else Path(name)  # isfile: False for names too long


def resolve_policy_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a controller, or of the controllers of a chain, with absolute paths of policy files.

    Names of shipped policies, and paths that do not exist, are not changed.
    """
    result = dict(options)
    for name, value in options.items():
        if isinstance(value, Mapping):
            result[name] = resolve_policy_paths(value)
        elif name == "policy" and isinstance(value, str) and policy_path(value) == Path(value):
            result[name] = str(Path(value).resolve()) if os.path.isfile(value) else value
    return result


def shipped_policies() -> list[str]:
    """Return the names of the policies that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}"))


def load_policy(name: str) -> LoadedPolicy:
    """Load a policy by name or path.

    Raises SettingError if there is none, or if its file is damaged or of another version.
    """
    path = policy_path(name)
    try:
        status = path.stat()
    except OSError as error:
        raise SettingError(
            f"there is no policy '{name}': neither a file nor a shipped policy ({', '.join(shipped_policies())}); "
            "train one with: equipoise train-policy PLAN.toml"
        ) from error
    if not path.is_file() or status.st_size > MAX_BYTES:
        raise _not_a_policy(path)
    return _load(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=32)
def _load(path: Path, modified: int, size: int) -> LoadedPolicy:
    """Load a file; `modified` and `size` make the cache reload a file that has changed."""
    values, tensors = _read_content(path)
    if values.get("format") != FORMAT:
        raise SettingError(
            f"{path} has format {values.get('format')}, but this version reads {FORMAT}; upgrade equipoise"
        )
    digest = values.pop("digest", None)
    if digest != _digest(values, tensors):
        raise SettingError(
            f"{path} does not match its digest: it was modified or is damaged; download or train it again"
        )
    try:
        metadata = TypeAdapter(PolicyMetadata).validate_python(values)
        policy = _build_policy(metadata, tensors)
    except (KeyError, ValidationError) as error:
        raise SettingError(f"{path} is not a policy that this version can read: {_first_error(error)}") from error
    _check(policy, metadata.names, str(path))
    return LoadedPolicy(policy, str(digest))


def check_policy_tasks(policy: Policy, test_tasks: Iterable[NamedTask], owner: str) -> None:
    """Raise SettingError if a policy was trained on one of the tasks, or on data of the same source.

    `owner`: the name of the policy in the message.
    """
    trained, sources = (set(policy.training.get(name, ())) for name in ("tasks", "sources"))
    sources |= set(policy.training.get("plan", {}).get("vary", {}).get("data.shape", ()))
    for task in test_tasks:
        if task.name in trained or task.source in sources:
            on = f"task '{task.name}'" if task.name in trained else f"other tasks of '{task.source}'"
            raise SettingError(
                f"the policy '{owner}' cannot be compared on task '{task.name}': it was trained on {on}; remove the "
                "task or choose another policy"
            )


def _read_content(path: Path) -> tuple[dict[str, object], dict[str, FloatArray]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            values = json.loads((file.metadata() or {})["policy"])
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _not_a_policy(path) from error
    if not isinstance(values, dict):
        raise _not_a_policy(path)
    return values, tensors


def _not_a_policy(path: Path) -> SettingError:
    return SettingError(f"{path} is not the file of a policy; train one with: equipoise train-policy PLAN.toml")


def _check(policy: Policy, names: Sequence[str], owner: str) -> None:
    """Raise SettingError if the features differ from those of this version, or if shapes do not fit."""
    try:
        expected = policy.feature_names
    except UnknownNameError as error:
        raise SettingError(f"{owner} needs a feature set that this version does not have: {error}") from error
    if list(names) != list(expected):
        different = sorted(set(names) ^ set(expected)) or ["their order"]
        raise SettingError(
            f"{owner} was trained on features of '{policy.features}' that differ from this version "
            f"({', '.join(different)}); train it again"
        )
    check_heads(policy.heads, owner)
    sizes, outputs = policy.actor.sizes, count_outputs(len(policy.heads), policy.actor.squash)
    if (sizes[0], sizes[-1]) != (len(expected), outputs):
        raise SettingError(
            f"{owner} maps {sizes[0]} numbers to {sizes[-1]}, not {len(expected)} to {outputs}; train it again"
        )


def _metadata_of(policy: Policy) -> dict[str, object]:
    networks = {"actor": policy.actor} | ({} if policy.critic is None else {"critic": policy.critic})
    return {
        "format": FORMAT,
        "features": policy.features,
        "names": list(policy.feature_names),
        "heads": [asdict(head) for head in policy.heads],
        "base": policy.base,
        "every": policy.every,
        "networks": {
            name: {"layers": len(network.biases), "squash": network.squash} for name, network in networks.items()
        },
        "training": dict(policy.training),
    }


def _tensors_of(policy: Policy) -> dict[str, FloatArray]:
    result: dict[str, FloatArray] = {}
    for name, network in (("actor", policy.actor), ("critic", policy.critic)):
        if network is not None:
            result |= {f"{name}.{number}.weight": weight for number, weight in enumerate(network.weights)}
            result |= {f"{name}.{number}.bias": bias for number, bias in enumerate(network.biases)}
    if policy.log_std is not None:
        result["log_std"] = policy.log_std
    return {name: np.ascontiguousarray(tensor, np.float64) for name, tensor in result.items()}


def _build_policy(metadata: PolicyMetadata, tensors: Mapping[str, FloatArray]) -> Policy:
    networks: dict[str, PolicyNetwork] = {}
    for name, shape in metadata.networks.items():
        weights = tuple(tensors[f"{name}.{number}.weight"] for number in range(shape.layers))
        biases = tuple(tensors[f"{name}.{number}.bias"] for number in range(shape.layers))
        networks[name] = PolicyNetwork(weights, biases, shape.squash)
    return Policy(
        features=metadata.features,
        heads=metadata.heads,
        actor=networks["actor"],
        base=metadata.base,
        every=metadata.every,
        critic=networks.get("critic"),
        log_std=tensors.get("log_std"),
        training=_migrate_training(metadata.training),
    )


def _migrate_training(training: Mapping[str, object]) -> dict[str, object]:
    """Return the description of a training with the present names: plans of older files call the model `gan`."""
    plan = training.get("plan")
    if not isinstance(plan, dict) or not isinstance(plan.get("task"), dict):
        return dict(training)
    tables = {
        table: {
            ("model" + name[3:] if name.partition(".")[0] == "gan" else name): value for name, value in part.items()
        }
        for table, part in plan.items()
        if table in ("task", "vary", "check") and isinstance(part, dict)
    }
    return {**training, "plan": {**plan, **tables}}


def _digest(values: Mapping[str, object], tensors: Mapping[str, FloatArray]) -> str:
    """Return the SHA-256 of the JSON with sorted keys, and of name, shape, dtype and bytes of all tensors by name."""
    result = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name in sorted(tensors):
        result.update(f"{name} {tensors[name].shape} {tensors[name].dtype}".encode())
        result.update(np.ascontiguousarray(tensors[name]).tobytes())
    return result.hexdigest()


def _first_error(error: Exception) -> str:
    """Format the first error in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    return f"it lacks {error}"
