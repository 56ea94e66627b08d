"""A denoiser with a discriminator on its features: two outputs of one network.

Yin et al. 2024, "Improved Distribution Matching Distillation for Fast Image Synthesis" (DMD2), section 4.3.
"""

from torch import Generator, Tensor, nn
from torch.nn.functional import silu

from equipoise.nn.denoiser import Denoiser
from equipoise.nn.initialize import normal_
from equipoise.nn.unet_blocks import group_normalisation


class FeatureHead(nn.Module):
    """Logits of maps: a 3 x 3 convolution, normalisation, SiLU, the mean over places, a linear layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = group_normalisation(channels)
        self.logit = nn.Linear(channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute logits (B,) of maps (B, C, h, w)."""
        hidden = silu(self.norm(self.convolution(maps))).mean(dim=(2, 3))
        logits: Tensor = self.logit(hidden)
        return logits.squeeze(1)


class FakeScore(nn.Module):
    """A denoiser that is trained on the samples of a generator, and a head that tells them from reals."""

    def __init__(self, denoiser: Denoiser, generator: Generator) -> None:
        """`generator`: random generator of the initial weights of the head."""
        super().__init__()
        self.denoiser = denoiser
        self.head = FeatureHead(denoiser.network.layout.feature_channels)
        normal_(self.head, generator)

    def forward(self, noisy: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """Denoise (B, C, H, W) at noise levels (B,)."""
        denoised: Tensor = self.denoiser(noisy, sigma, labels)
        return denoised

    def logits(self, noisy: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """Compute logits (B,) of noisy images at noise levels (B,)."""
        logits: Tensor = self.head(self.denoiser.features(noisy, sigma, labels))
        return logits

    def denoised_and_logits(self, noisy: Tensor, sigma: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute both in one pass."""
        denoised, maps = self.denoiser.forward_with_features(noisy, sigma, labels)
        return denoised, self.head(maps)
