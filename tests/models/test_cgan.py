"""Labels in the discriminator: cgan, and the option conditioning of dcgan and sngan."""

import pytest
import torch
from torch.nn.functional import leaky_relu

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.errors import SettingError
from equipoise.models._labels import LABEL_WIDTH

LABELLED = DataSpec((1, 16, 16), classes=3)


def build(name, spec=LABELLED, seed=0, **options):
    return catalog.build("models", name, {"width": 4, "latent_dim": 6, **options}).build(
        spec, torch.Generator().manual_seed(seed)
    )


def samples(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("name", ["cgan", "acgan"])
@pytest.mark.parametrize("shape", [(1, 16, 16), (4, 24, 40), (2, 8, 8), (3, 64, 16), (2, 48)])
def test_samples_have_the_shape_of_the_data(name, shape):
    model = build(name, DataSpec(shape, classes=3))
    latent, labels = model.latent(3, torch.Generator().manual_seed(0), None), torch.arange(3)
    generated = model.networks["generator"](latent, labels)
    assert generated.shape == (3, *shape)
    discriminator = model.networks["discriminator"]
    assert discriminator.logits(discriminator.features(generated), labels).shape == (3,)
    assert model.num_classes == 3


@pytest.mark.parametrize("name", ["cgan", "acgan"])
def test_data_without_labels_raise(name):
    with pytest.raises(SettingError, match=f"{name} needs labels, but the data has none; use --model dcgan"):
        build(name, DataSpec((1, 16, 16)))


def test_labels_join_the_features_in_a_hidden_layer():
    """One after the other, from the weights of the layers (Mirza 2014, section 4.1)."""
    discriminator = build("cgan").networks["discriminator"]
    features, labels = discriminator.features(samples(3, 1, 16, 16)), torch.tensor([2, 0, 2])
    embedded = discriminator.joint.embedding.weight[labels]
    assert embedded.shape == (3, LABEL_WIDTH)
    maps = torch.cat([features, embedded[:, :, None, None].repeat(1, 1, 4, 4)], dim=1)
    hidden = leaky_relu(discriminator.joint.convolution(maps), 0.2)
    expected = (hidden * discriminator.last.weight).sum((1, 2, 3)) + discriminator.last.bias
    torch.testing.assert_close(discriminator.logits(features, labels), expected)


@pytest.mark.parametrize(("name", "options"), [("cgan", {}), ("dcgan", {}), ("dcgan", {"conditioning": "concat"})])
def test_both_networks_read_the_label(name, options):
    model = build(name, **options)
    discriminator = model.networks["discriminator"]
    features = discriminator.features(samples(1, 1, 16, 16)).expand(3, -1, -1, -1)
    assert len(discriminator.logits(features, torch.arange(3)).unique()) == 3
    latent = model.latent(1, torch.Generator().manual_seed(0), None).expand(3, -1)
    generated = model.networks["generator"].eval()(latent, torch.arange(3))
    assert not torch.equal(generated[0], generated[1])


def test_projection_of_zero_is_the_unconditional_discriminator_exactly():
    discriminator = build("dcgan").networks["discriminator"]
    features = discriminator.features(samples(3, 1, 16, 16))
    torch.nn.init.zeros_(discriminator.projection.weight)
    assert torch.equal(discriminator.logits(features, torch.arange(3)), discriminator.logits(features, None))


def test_another_label_changes_the_logit_by_the_inner_product():
    """D(x, a) - D(x, b) = <v_a - v_b, f(x)>: Miyato and Koyama 2018, equation 3."""
    discriminator = build("dcgan").networks["discriminator"]
    features = discriminator.features(samples(2, 1, 16, 16))
    difference = discriminator.logits(features, torch.tensor([0, 2])) - discriminator.logits(
        features, torch.tensor([2, 0])
    )
    v = discriminator.projection.weight
    inner = (features.flatten(1) * (v[[0, 2]] - v[[2, 0]])).sum(1)
    torch.testing.assert_close(difference, inner)


def test_default_conditioning_keeps_weights_and_samples():
    """The option has no effect on existing runs."""
    one, other = build("dcgan"), build("dcgan", conditioning="projection")
    for network in one.networks:
        states = one.networks[network].state_dict(), other.networks[network].state_dict()
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("name", ["dcgan", "sngan"])
@pytest.mark.parametrize("conditioning", ["concat", "projection", "auxiliary"])
def test_conditioning_of_other_models(create_trainer, name, conditioning):
    trainer = create_trainer(name, classes=3, conditional=True, conditioning=conditioning)
    discriminator = trainer.model.networks["discriminator"]
    layers = {"concat": discriminator.joint, "projection": discriminator.projection}
    layers["auxiliary"] = discriminator.classifier
    assert [layer for layer, module in layers.items() if module is not None] == [conditioning]
    assert ("class_weight" in trainer.model.turnable) == (conditioning == "auxiliary")
    weights = list(layers[conditioning].parameters())
    before = [weight.detach().clone() for weight in weights]
    trainer.step()
    assert all(not torch.equal(one, two) for one, two in zip(before, weights, strict=True))


@pytest.mark.parametrize("conditioning", ["concat", "auxiliary"])
def test_conditioning_without_labels_has_no_layers(conditioning):
    model = build("dcgan", DataSpec((1, 16, 16)), conditioning=conditioning)
    discriminator = model.networks["discriminator"]
    assert discriminator.joint is discriminator.classifier is discriminator.projection is None
    assert "class_weight" not in model.turnable


@pytest.mark.parametrize("name", ["dcgan", "sngan", "cgan", "acgan"])
def test_sides_up_to_1024(name):
    options = {"width": 1, "latent_dim": 2}
    model = build(name, DataSpec((1, 16, 1024), classes=2), **options)
    labels = torch.arange(2) if model.num_classes else None
    assert model.networks["generator"](torch.randn(2, 2), labels).shape == (2, 1, 16, 1024)
    with pytest.raises(SettingError, match="4 to 1,024 pixels a side"):
        build(name, DataSpec((1, 16, 1032), classes=2), **options)
