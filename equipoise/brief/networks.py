"""The brief's pair of networks: a DCGAN as in the paper (Radford 2016), for a custom training loop."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from equipoise.brief.inputs import resolve_device
from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.errors import SettingError


class GAN:
    """A generator and a discriminator for images of 16, 32, 64 or 128 pixels: Radford 2016, figure 1, N(0, 0.02).

    `generator`: module that maps z (B, nz) or (B, nz, 1, 1) of N(0, 1) to images (B, nc, img_size, img_size) in [-1,
    1]. `discriminator`: module that maps such images to logits (B,), for BCEWithLogitsLoss. Both are on `device`.
    """

    def __init__(
        self,
        nz: int = 100,
        ngf: int = 64,
        ndf: int = 64,
        nc: int = 3,
        img_size: int = 32,
        device: str | torch.device = "cpu",
    ) -> None:
        """Build both networks, with initial weights from torch's global generator.

        `nz`: length of the latent. `ngf`, `ndf`: channels of generator and discriminator at half the size. `nc`:
        channels of the images. Raises SettingError for an unsupported size or an unavailable device.
        """
        self.nz, self.device = nz, resolve_device(device)
        source = Generator().manual_seed(int(torch.randint(2**62, ())))
        if min(nz, ngf, ndf) < 1:
            raise SettingError(f"nz = {nz}, ngf = {ngf}, ndf = {ndf}: each must be at least 1")
        spec = DataSpec((nc, img_size, img_size))
        models = {
            width: catalog.build("models", "dcgan:lab32", {"width": width, "latent_dim": nz}).build(spec, source)
            for width in {ngf, ndf}
        }
        self.generator: nn.Module = _Generator(models[ngf].networks["generator"]).to(self.device)
        self.discriminator: nn.Module = _Discriminator(models[ndf].networks["discriminator"]).to(self.device)

    def noise(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw latents (count, nz) of N(0, 1) on the device; default: from torch's global generator."""
        return torch.randn(count, self.nz, generator=generator, device=self.device)

    @torch.no_grad()
    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Generate images (count, nc, img_size, img_size) in [-1, 1], with the generator in evaluation mode."""
        training = self.generator.training
        self.generator.eval()
        samples = cast(Tensor, self.generator(self.noise(count, generator)))
        self.generator.train(training)
        return samples

    def state_dict(self) -> dict[str, dict[str, object]]:
        """Return the weights of both networks."""
        return {"generator": self.generator.state_dict(), "discriminator": self.discriminator.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Mapping[str, object]]) -> None:
        """Load the weights that :meth:`state_dict` returned, into networks of the same sizes."""
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            network.load_state_dict(state_dict[name])


class _Generator(nn.Module):
    """Generator that accepts flat latents, and latents of shape (B, nz, 1, 1) as in many tutorials."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor) -> Tensor:
        """(B, nz) or (B, nz, 1, 1) -> (B, C, S, S) in [-1, 1]."""
        return cast(Tensor, self.network(latent.flatten(1), None))


class _Discriminator(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) -> logits (B,)."""
        return cast(Tensor, self.network.logits(self.network.features(images), None))
