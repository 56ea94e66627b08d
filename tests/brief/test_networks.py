"""The pair of networks of the brief: shapes, sizes and invalid sizes."""

import pytest
import torch

from equipoise import GAN
from equipoise.errors import SettingError


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (64, 3)])
def test_noise_becomes_images_and_images_logits(size: int, channels: int) -> None:
    model = GAN(nz=10, ngf=4, ndf=6, nc=channels, img_size=size)
    images = model.generator(torch.randn(5, 10, 1, 1))
    assert images.shape == model.sample(5).shape == (5, channels, size, size)
    assert model.discriminator(images).shape == (5,)
    assert images.abs().max() <= 1
    assert torch.equal(model.generator(torch.ones(2, 10)), model.generator(torch.ones(2, 10, 1, 1)))


def test_it_is_the_dcgan_of_the_paper() -> None:
    """Weights counted by hand for 32 x 32: each layer in × out × 16, two per channel for batch norm (Radford 2016)."""
    model = GAN(nz=100, ngf=64, ndf=64, nc=3, img_size=32)
    counts = [sum(w.numel() for w in player.parameters()) for player in (model.generator, model.discriminator)]
    generator = 16 * (100 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * (256 + 128 + 64)
    discriminator = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256) + 2 * (128 + 256)
    assert counts == [generator, discriminator]
    convolution = next(m for m in model.discriminator.modules() if isinstance(m, torch.nn.Conv2d))
    assert convolution.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_each_player_has_its_own_width() -> None:
    model = GAN(ngf=8, ndf=4, img_size=16, nc=1)
    narrow = GAN(ngf=4, ndf=4, img_size=16, nc=1)
    assert [w.shape for w in model.discriminator.parameters()] == [w.shape for w in narrow.discriminator.parameters()]
    assert [w.shape for w in model.generator.parameters()] != [w.shape for w in narrow.generator.parameters()]


def test_weights_follow_the_global_seed_and_can_be_restored() -> None:
    torch.manual_seed(3)
    first = GAN(ngf=4, ndf=4, img_size=16)
    torch.manual_seed(3)
    again, other = GAN(ngf=4, ndf=4, img_size=16), GAN(ngf=4, ndf=4, img_size=16)
    source = torch.Generator().manual_seed(0)
    images = first.sample(3, source)
    assert torch.equal(images, again.sample(3, source.manual_seed(0)))
    assert not torch.equal(images, other.sample(3, source.manual_seed(0)))
    other.load_state_dict(first.state_dict())
    assert torch.equal(images, other.sample(3, source.manual_seed(0)))
    assert first.generator.training, "sampling does not change the mode"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"img_size": 2}, "images of 4 to 1,024 pixels a side"),
        ({"ngf": 0}, "ngf = 0"),
        ({"nz": 0}, "nz = 0"),
        ({"device": "nowhere"}, "there is no device 'nowhere' on this machine"),
    ],
)
def test_invalid_sizes_are_refused(wrong, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        GAN(**wrong)
