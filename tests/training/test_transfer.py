"""Transfer of weights to a similar network by order and shape of its tensors."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.training.weights import align_tensors, transfer_weights


def networks(size: int, *, channels: int = 1, classes: int = 0, seed: int = 0) -> dict[str, nn.Module]:
    recipe = catalog.build("models", "dcgan", {"width": 4, "latent_dim": 6})
    model = recipe.build(DataSpec((channels, size, size), classes=classes), torch.Generator().manual_seed(seed))
    return dict(model.networks)


def longest_common(target: list[tuple[int, ...]], source: list[tuple[int, ...]]) -> int:
    """Compute the length of the longest common subsequence by brute force."""
    for length in range(min(len(target), len(source)), 0, -1):
        subsequences = {tuple(candidate) for candidate in itertools.combinations(source, length)}
        if any(tuple(candidate) in subsequences for candidate in itertools.combinations(target, length)):
            return length
    return 0


@pytest.mark.parametrize("seed", range(20))
def test_alignment_is_a_longest_common_subsequence(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def random_shapes() -> dict[str, Tensor]:
        return {f"layers.{i}.weight": torch.zeros(int(torch.randint(1, 4, (), generator=generator))) for i in range(7)}

    target, source = random_shapes(), random_shapes()
    pairs = align_tensors(target, source)
    assert len(pairs) == longest_common(
        [tuple(v.shape) for v in target.values()], [tuple(v.shape) for v in source.values()]
    )
    assert list(pairs.values()) == sorted(pairs.values())
    assert all(target[name].shape == source[other].shape for name, other in pairs.items())


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_equal_network_is_transferred_completely(name: str) -> None:
    target, source = networks(32, classes=10)[name], networks(32, classes=10, seed=1)[name]
    assert transfer_weights(target, dict(sorted(source.state_dict().items()))) == 1.0
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value)


def test_larger_generator_gets_the_blocks_of_the_smaller_one() -> None:
    """All but the first layer and the first block, which have other widths."""
    target, source = networks(32)["generator"], networks(16, seed=1)["generator"]
    fresh = {name: value.clone() for name, value in target.state_dict().items()}
    share = transfer_weights(target, source.state_dict())
    other = source.state_dict()
    assert torch.equal(target.state_dict()["layers.9.weight"], other["layers.5.weight"])
    assert torch.equal(target.state_dict()["layers.13.weight"], other["layers.9.weight"])
    assert torch.equal(target.state_dict()["layers.0.weight"], fresh["layers.0.weight"])
    transferred = sum(other[name].numel() for name in ("layers.5.weight", "layers.9.weight", "layers.9.bias"))
    transferred += sum(other[f"layers.{index}.{kind}"].numel() for index in (2, 6) for kind in ("weight", "bias"))
    assert share == pytest.approx(transferred / sum(weight.numel() for weight in target.parameters()))


def test_outer_layers_are_not_transferred_to_other_channels() -> None:
    before, after = networks(16, channels=1), networks(16, channels=3, seed=1)
    missing = {
        name: set(after[name].state_dict()) - set(align_tensors(after[name].state_dict(), before[name].state_dict()))
        for name in after
    }
    assert missing == {"generator": {"layers.9.weight", "layers.9.bias"}, "discriminator": {"layers.0.weight"}}


def test_nothing_is_transferred_without_matching_shapes() -> None:
    target = nn.Linear(3, 4, bias=False)
    before = target.weight.clone()
    assert transfer_weights(target, {"weight": torch.zeros(4, 2)}) == 0.0
    assert torch.equal(target.weight, before)
