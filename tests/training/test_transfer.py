"""Weights taken over by a network that is alike: found by order and shape, whatever the layers are called."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.training.transfer import aligned, transfer_weights


def networks(size: int, *, channels: int = 1, classes: int = 0, seed: int = 0) -> dict[str, nn.Module]:
    recipe = catalog.build("models", "dcgan", {"width": 4, "latent_dim": 6})
    model = recipe.build(DataSpec((channels, size, size), classes=classes), torch.Generator().manual_seed(seed))
    return dict(model.networks)


def longest(mine: list[tuple[int, ...]], theirs: list[tuple[int, ...]]) -> int:
    """The length of the longest common subsequence, by trying all of them."""
    for length in range(min(len(mine), len(theirs)), 0, -1):
        others = {tuple(chosen) for chosen in itertools.combinations(theirs, length)}
        if any(tuple(chosen) in others for chosen in itertools.combinations(mine, length)):
            return length
    return 0


@pytest.mark.parametrize("seed", range(20))
def test_as_many_tensors_as_can_be_are_found_in_order(seed: int) -> None:
    source = torch.Generator().manual_seed(seed)

    def drawn() -> dict[str, Tensor]:
        return {f"layers.{i}.weight": torch.zeros(int(torch.randint(1, 4, (), generator=source))) for i in range(7)}

    mine, theirs = drawn(), drawn()
    pairs = aligned(mine, theirs)
    assert len(pairs) == longest([tuple(v.shape) for v in mine.values()], [tuple(v.shape) for v in theirs.values()])
    assert list(pairs.values()) == sorted(pairs.values())
    assert all(mine[name].shape == theirs[other].shape for name, other in pairs.items())


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_an_equal_network_is_taken_over_whole_however_its_tensors_are_ordered(name: str) -> None:
    mine, theirs = networks(32, classes=10)[name], networks(32, classes=10, seed=1)[name]
    assert transfer_weights(mine, dict(sorted(theirs.state_dict().items()))) == 1.0
    for key, value in theirs.state_dict().items():
        assert torch.equal(mine.state_dict()[key], value)


def test_a_larger_generator_gets_the_stages_that_the_smaller_one_has() -> None:
    """All but the entry, and that stage's normalisation and first convolution, which are of other widths."""
    mine, theirs = networks(32)["generator"], networks(16, seed=1)["generator"]
    fresh = {name: value.clone() for name, value in mine.state_dict().items()}
    share = transfer_weights(mine, theirs.state_dict())
    other = theirs.state_dict()
    assert torch.equal(mine.state_dict()["layers.9.weight"], other["layers.5.weight"])
    assert torch.equal(mine.state_dict()["layers.13.weight"], other["layers.9.weight"])
    assert torch.equal(mine.state_dict()["layers.0.weight"], fresh["layers.0.weight"])
    taken = sum(other[name].numel() for name in ("layers.5.weight", "layers.9.weight", "layers.9.bias"))
    taken += sum(other[f"layers.{index}.{kind}"].numel() for index in (2, 6) for kind in ("weight", "bias"))
    assert share == pytest.approx(taken / sum(weight.numel() for weight in mine.parameters()))


def test_another_count_of_channels_leaves_the_outer_layers_anew() -> None:
    before, after = networks(16, channels=1), networks(16, channels=3, seed=1)
    missing = {
        name: set(after[name].state_dict()) - set(aligned(after[name].state_dict(), before[name].state_dict()))
        for name in after
    }
    assert missing == {"generator": {"layers.9.weight", "layers.9.bias"}, "discriminator": {"layers.0.weight"}}


def test_nothing_in_common_takes_nothing_over() -> None:
    mine = nn.Linear(3, 4, bias=False)
    before = mine.weight.clone()
    assert transfer_weights(mine, {"weight": torch.zeros(4, 2)}) == 0.0
    assert torch.equal(mine.weight, before)
