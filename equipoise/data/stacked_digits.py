"""Three random digits as the three channels of an image: 1,000 modes that can be counted.

Stacked MNIST (Metz, Poole, Pfau and Sohl-Dickstein 2017, "Unrolled generative adversarial networks", section 3.3; Lin,
Khetan, Fanti and Oh 2018, "PacGAN", section 4.2), composed of the digits shipped with the package: see `digits` for
their licence.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.data import Batch, DataSpec, NoPreparation, Split, Suggestion
from equipoise.data._arrays import check_batch_size, generator_for
from equipoise.data._digits import SIZES, split_arrays
from equipoise.errors import SettingError

__all__ = ["StackedDigits"]

CHANNELS = 3
PLACE_VALUES = torch.tensor([100, 10, 1])


@dataclass(frozen=True, slots=True)
class StackedDigits(NoPreparation):
    """Stacks (3, S, S) float32 in [-1, 1], sampled without end; the label is the number that the channels form.

    The digits a, b and c in the first, second and third channel have the label 100a + 10b + c. Training stacks consist
    of training digits, held-out ones of held-out digits. The papers train without labels and at 28 pixels, on 60,000
    digits or more; here there are 4,000 and 1,000. Raises SettingError for an unsupported size.
    """

    image_size: int = 32
    """pixels a side: 16, 32, 64 or 128"""

    def __post_init__(self) -> None:
        if self.image_size not in SIZES:
            raise SettingError(
                f"image_size = {self.image_size} is not supported by 'stacked_digits'; use 16, 32, 64 or 128"
            )

    @property
    def spec(self) -> DataSpec:
        """Images of three channels and 1,000 classes; mirrored digits are not valid."""
        return DataSpec((CHANNELS, self.image_size, self.image_size), classes=10**CHANNELS, flips=False)

    @property
    def suggestion(self) -> Suggestion:
        """Settings of the papers: a DCGAN without labels, which would reveal the modes."""
        return Suggestion(model="dcgan:lab32", steps=2000, batch_size=64, metric="stacked_modes")

    def count(self, split: Split) -> None:
        """Return None: the data is endless."""

    def stream(self, split: Split, batch_size: int, seed: int) -> "StackStream":
        """Return endless new stacks of a split's digits.

        Raises SettingError for an empty batch, DataError if the shipped file is missing or damaged.
        """
        return StackStream(*split_arrays(self.image_size, split), batch_size, seed, split)


@dataclass(frozen=True, slots=True, eq=False)
class StackStream:
    """Stream of stacks of three random `images`, (N, 1, S, S) uint8, with `labels` (N,)."""

    images: Tensor
    labels: Tensor
    batch_size: int
    seed: int
    split: Split

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, 3, S, S) float32 in [-1, 1], condition (B,) int64 from 0 to 999."""
        generator = generator_for(self.seed, self.split, index)
        indices = torch.randint(len(self.images), (self.batch_size, CHANNELS), generator=generator)
        real = self.images[indices, 0].float().div_(127.5).sub_(1.0)
        return Batch(real, (self.labels[indices] * PLACE_VALUES).sum(dim=1))
