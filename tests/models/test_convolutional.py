"""Convolutional networks for sequences, and for images that are not square."""

import re

import pytest
import torch
from torch import nn

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.errors import SettingError

NAMES = ("dcgan", "wgan", "wgan_gp", "sngan")
SHAPES = [(1, 8), (1, 64), (4, 64), (3, 100), (2, 1000), (1, 48, 96), (1, 16, 12), (3, 32, 32)]


def build(name, shape, **options):
    return catalog.build("models", name, {"width": 4, **options}).build(
        DataSpec(shape), torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_samples_have_the_shape_of_the_data(name, shape):
    model = build(name, shape)
    latent = model.latent(3, torch.Generator().manual_seed(0), None)
    samples = model.generate(model.networks, latent, None, DEFAULT_SAMPLING)
    assert samples.shape == (3, *shape)
    assert -1 <= samples.min() < samples.max() <= 1
    discriminator = model.networks["discriminator"]
    assert discriminator.logits(discriminator.features(samples), None).shape == (3,)


@pytest.mark.parametrize("name", NAMES)
def test_layers_of_sequences_are_one_dimensional(name):
    modules = [module for network in build(name, (3, 64)).networks.values() for module in network.modules()]
    assert any(isinstance(module, nn.Conv1d) for module in modules)
    assert not any(isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d) for module in modules)


@pytest.mark.parametrize("name", [*NAMES, "dcgan:lab32"])
@pytest.mark.parametrize("shape", [(2, 50), (1, 24, 40)])
def test_training_changes_both_networks(create_trainer, name, shape):
    trainer = create_trainer(name, shape=shape, width=4)
    before = {key: [weight.clone() for weight in net.parameters()] for key, net in trainer.model.networks.items()}
    record = trainer.step()
    for key, network in trainer.model.networks.items():
        changed = [not torch.equal(one, other) for one, other in zip(before[key], network.parameters(), strict=True)]
        assert any(changed), key
        assert all(weight.isfinite().all() for weight in network.parameters())
    assert record is not None


def test_every_value_of_a_padded_sample_reaches_the_discriminator():
    """A side that is no power of two is padded, not cropped, on its way into the discriminator."""
    for shape in ((1, 50), (1, 24, 40)):
        discriminator = build("dcgan", shape).networks["discriminator"]
        samples = torch.randn(1, *shape, requires_grad=True)
        discriminator.logits(discriminator.features(samples), None).sum().backward()
        assert (samples.grad != 0).all()


def test_augmentation_is_turnable_for_sequences():
    assert "augment_p" in build("dcgan", (2, 64)).turnable


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 32, 32), "with 1 to 4 channels, not 6 x 32 x 32; use --option data.channels=3"),
        ((3, 2, 2), "of 4 to 1,024 pixels a side with 1 to 4 channels, not 3 x 2 x 2; use --image-size 32"),
        ((600, 64), "not 600 x 64; use --option data.window=ROWS or data.columns=NAMES"),
    ],
)
def test_other_shapes_are_refused_with_the_setting_that_helps(name, shape, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        build(name, shape)
