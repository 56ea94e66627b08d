"""Fourier features: sine waves of random frequencies over a plane, which a style or the user can move and rotate."""

import math

import torch
from torch import Generator, Tensor, nn

from equipoise.nn.equalised import EqualLinear


class FourierFeatures(nn.Module):
    """Input of an equivariant generator: styles w (N, D) -> maps (N, C, H, H), channels-last.

    Channel c of the features is a_c sin(2π (f_c · p + φ_c)) at position p, mixed by a learned matrix. Frequencies are
    uniform in the disc of radius `bandwidth`, phases in [-1/2, 1/2). A learned affine layer of w gives a rotation and a
    translation of the plane, the identity at first (Karras et al. 2021, "Alias-Free Generative Adversarial Networks",
    sections 3.1 and 3.2 and appendix F). Positions are in sides of an image, 0 at its centre; the map covers
    size / rate of them, which is more than the image if it has a margin.

    Frequencies above `bandwidth` fade to 0 at half the sampling rate, so that no transformation causes aliasing.
    Without trained frequencies; draw all numbers with :meth:`initialise`.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, channels: int, size: int, *, rate: float, bandwidth: float, style_dim: int) -> None:
        """`size`: H. `rate`: sampling rate, in pixels per unit length. `bandwidth`: in cycles per unit length."""
        super().__init__()
        self.size, self.rate, self.bandwidth = size, rate, bandwidth
        self.weight = nn.Parameter(torch.empty(channels, channels))
        self.affine = EqualLinear(style_dim, 4)
        self.register_buffer("frequencies", torch.empty(channels, 2))
        self.register_buffer("phases", torch.empty(channels))

    @torch.no_grad()
    def initialise(self, generator: Generator) -> None:
        """Draw frequencies, phases and the mixing matrix; set the transformation to the identity for every style."""
        radius, turn, phase = torch.rand(3, len(self.phases), generator=generator, device=generator.device)
        radius, angle = self.bandwidth * radius.sqrt(), 2 * math.pi * turn
        self.frequencies.copy_(torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1))
        self.phases.copy_(phase - 0.5)
        self.weight.normal_(generator=generator)
        self.affine.weight.zero_()
        if self.affine.bias is not None:
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))

    def forward(self, styles: Tensor, transform: Tensor | None = None) -> Tensor:
        """Compute maps from styles (N, D).

        `transform`: (3, 3) or (N, 3, 3), float32, homogeneous matrices that map positions of the output to positions of
        the scene, x to the right and y down, in sides of an image; None for the identity. A translation by (t, 0) moves
        the image left by t of its side.
        """
        with torch.autocast(styles.device.type, enabled=False):  # phases need more than 16 bits
            matrix = _transformation(self.affine(styles.float()))
            if transform is not None:
                matrix = matrix @ transform
            frequencies = self.frequencies @ matrix[:, :2, :2]
            phases = self.phases + (self.frequencies @ matrix[:, :2, 2:]).squeeze(2)
            fade = (frequencies.norm(dim=2) - self.bandwidth) / (self.rate / 2 - self.bandwidth)
            turns = self._positions() @ frequencies.transpose(1, 2) + phases[:, None]
            waves = torch.sin(2 * math.pi * turns) * (1 - fade).clamp(0, 1)[:, None]
            maps: Tensor = waves @ (self.weight / math.sqrt(len(self.phases))).T
        result: Tensor = maps.unflatten(1, (self.size, self.size)).permute(0, 3, 1, 2)
        return result

    def _positions(self) -> Tensor:
        """Return the centres (H H, 2) of all pixels, x and y, row by row."""
        places = torch.arange(self.size, device=self.phases.device, dtype=torch.float32)
        centres = (places + 0.5 - self.size / 2) / self.rate
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return torch.stack([x, y], dim=2).flatten(0, 1)


def _transformation(parameters: Tensor) -> Tensor:
    """Return matrices (N, 3, 3) that translate and then rotate, from (r_c, r_s, t_x, t_y) in units of |(r_c, r_s)|.

    Karras 2021, appendix F.
    """
    cos, sin, x, y = (parameters / parameters[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rotation = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).unflatten(1, (3, 3))
    translation = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1).unflatten(1, (3, 3))
    transformation: Tensor = rotation @ translation
    return transformation
