"""The brief's pair of networks: a DCGAN as in the paper (Radford 2016), to be trained by a loop of one's own."""

from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from equipoise.brief.told import device_of
from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.errors import SettingError


class GAN:
    """A generator and a discriminator for images of 16, 32, 64 or 128 pixels: Radford 2016, figure 1, N(0, 0.02).

    `generator(z)`: z (B, nz) or (B, nz, 1, 1) of N(0, 1) -> images (B, nc, img_size, img_size) in [-1, 1].
    `discriminator(x)`: such images -> logits (B,), for BCEWithLogitsLoss. Both are modules, on `device`.
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
        """`nz`: length of the latent. `ngf`, `ndf`: channels of each player at half the size. `nc`: of images.

        First weights are drawn from torch's global generator, as those of any module. Raises SettingError for sizes
        that there are no networks for, or a device that is not here.
        """
        self.nz, self.device = nz, device_of(device)
        source = Generator().manual_seed(int(torch.randint(2**62, ())))
        if min(nz, ngf, ndf) < 1:
            raise SettingError(f"nz = {nz}, ngf = {ngf}, ndf = {ndf}: each must be at least 1")
        spec = DataSpec((nc, img_size, img_size))
        built = {
            width: catalog.build("models", "dcgan:lab32", {"width": width, "latent_dim": nz}).build(spec, source)
            for width in {ngf, ndf}
        }
        self.generator: nn.Module = _Generator(built[ngf].networks["generator"]).to(self.device)
        self.discriminator: nn.Module = _Discriminator(built[ndf].networks["discriminator"]).to(self.device)

    def noise(self, count: int, generator: Generator | None = None) -> Tensor:
        """`count` latents, (count, nz) of N(0, 1) on the device; from torch's global generator if none is given."""
        return torch.randn(count, self.nz, generator=generator, device=self.device)

    @torch.no_grad()
    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """`count` images of the generator at rest, (count, nc, img_size, img_size) in [-1, 1]."""
        training = self.generator.training
        self.generator.eval()
        made = cast(Tensor, self.generator(self.noise(count, generator)))
        self.generator.train(training)
        return made

    def state_dict(self) -> dict[str, Any]:
        """The weights of both."""
        return {"generator": self.generator.state_dict(), "discriminator": self.discriminator.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave, to networks of the same sizes."""
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            network.load_state_dict(state_dict[name])


class _Generator(nn.Module):
    """Noise as tutorials shape it, (B, nz, 1, 1), or flat."""

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
        return cast(Tensor, self.network.judge(self.network.features(images), None))
