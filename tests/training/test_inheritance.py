"""Weights that a model takes from the run that it learns from."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.errors import CheckpointError
from equipoise.models.mlp import MLP
from equipoise.training.checkpoint import Checkpoint
from equipoise.training.inheritance import averaged_weights, digest_of, inherit_weights
from equipoise.training.state import TrainingState, initial_state


def start(inherits: Mapping[str, str], frozen: Mapping[str, str], seed: int = 1) -> TrainingState:
    """Return the state of a small GAN with a copy of its generator as a frozen network."""
    model = MLP(width=4).build(DataSpec((2,)), torch.Generator().manual_seed(seed))
    other = MLP(width=4).build(DataSpec((2,)), torch.Generator().manual_seed(seed + 1))
    networks: dict[str, nn.Module] = {**model.networks, "teacher": other.networks["generator"]}
    model = replace(model, networks=networks, frozen=frozen, inherits=inherits)
    return initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator())


def saved_run() -> Checkpoint:
    """Return a checkpoint whose average differs from its weights."""
    state = start({}, {"teacher": "untrained"}, seed=7)
    for weight in state.averages["generator"].parameters():
        weight.add_(1.0)
    return Checkpoint(3, state.tensors(), {})


def weights_of(state: TrainingState, network: str) -> dict[str, Tensor]:
    return dict(state.model.networks[network].state_dict())


def test_networks_start_with_the_average_of_the_run() -> None:
    saved = saved_run()
    expected = averaged_weights(saved, "generator")
    state = start({"generator": "generator", "teacher": "generator"}, {"teacher": digest_of(expected)})
    before = weights_of(state, "discriminator")
    shares = inherit_weights(state, saved, "step-3")
    assert shares == {"generator": 1.0, "discriminator": 0.0, "teacher": 1.0}
    for network in (state.model.networks["generator"], state.model.networks["teacher"], state.averages["generator"]):
        loaded = network.state_dict()
        assert all(torch.equal(loaded[name], value) for name, value in expected.items())
    after = weights_of(state, "discriminator")
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_part_of_a_network_is_inherited() -> None:
    saved = saved_run()
    state = start({"generator": "generator"}, {"teacher": "untrained"})
    part = next(
        name for name, module in state.model.networks["generator"].named_children() if list(module.parameters())
    )
    whole = averaged_weights(saved, "generator")
    renamed = {
        f"averaged/part/{name.removeprefix(f'{part}.')}": value
        for name, value in whole.items()
        if name.startswith(f"{part}.")
    }
    state.model = replace(state.model, inherits={f"generator.{part}": "part"})
    shares = inherit_weights(state, Checkpoint(1, renamed, {}), "step-1")
    assert 0 < shares["generator"] <= 1
    loaded = weights_of(state, "generator")
    assert all(torch.equal(loaded[name], whole[name]) for name in whole if name.startswith(f"{part}."))


def test_weights_without_an_average_are_used_themselves() -> None:
    tensors = {"network/generator/weight": torch.ones(2)}
    assert averaged_weights(Checkpoint(0, tensors, {}), "generator").keys() == {"weight"}


def test_digest_depends_on_names_shapes_and_bytes_only() -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1)}
    digest = digest_of(weights)
    assert digest == digest_of(dict(reversed(list(weights.items()))))
    assert digest == digest_of({**weights, "a": weights["a"].t().contiguous().t()})
    for other in ({"a": weights["a"]}, {**weights, "a": weights["a"].reshape(3, 2)}, {**weights, "b": torch.tensor(2)}):
        assert digest != digest_of(other)


def test_teacher_with_another_digest_is_refused() -> None:
    state = start({"teacher": "generator"}, {"teacher": "0" * 64})
    with pytest.raises(CheckpointError, match=r"step-3 has other weights .* restore that checkpoint") as error:
        inherit_weights(state, saved_run(), "step-3")
    assert "\n" not in str(error.value)


def test_network_of_another_shape_is_refused() -> None:
    state = start({"generator": "generator"}, {"teacher": "untrained"})
    with pytest.raises(CheckpointError, match="step-9 belongs to another network: generator"):
        inherit_weights(state, Checkpoint(9, {"averaged/generator/weight": torch.ones(1)}, {}), "step-9")
