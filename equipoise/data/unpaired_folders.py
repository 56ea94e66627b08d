"""Two folders of images of your own that have nothing to do with each other but what they show: inputs and samples.

Decoded once into a cache beside the runs, from where batches are mapped into memory; the folders themselves are only
read. Their licence is yours to know. See docs/reference/data.md.
"""

from dataclasses import dataclass
from typing import ClassVar

from equipoise.core.data import DataSpec, Split, Stream, Suggestion
from equipoise.data import _cache
from equipoise.data._pairs import Apart
from equipoise.data._sides import Found
from equipoise.data._two_sided import TwoSided

__all__ = ["UnpairedFolders"]


@dataclass(frozen=True, slots=True)
class UnpairedFolders(TwoSided):
    """Images (C, S, S) float32 in [-1, 1] of two subfolders of one folder, both with all that lies below them.

    Raises SettingError for a value that cannot be.
    """

    pairs: ClassVar[bool] = False

    source: str | None = None
    """the subfolder of the inputs; left out: the first of two by name, or trainA"""
    target: str | None = None
    """the subfolder of the samples; left out: the other one, or trainB"""
    held_out: float = 0.1
    """share of the images of each that is never trained on, chosen by content"""

    @property
    def spec(self) -> DataSpec:
        """What one sample and one input are; once settled, without a look at the folder."""
        if self.image_size is None or self.channels is None or self.source_channels is None:
            return self.resolve().spec
        side = (self.image_size, self.image_size)
        return DataSpec((self.channels, *side), flips=self.flips, source=(self.source_channels, *side))

    @property
    def suggestion(self) -> Suggestion:
        """A first result within an hour on one core; of a small folder the batch is all there is."""
        preset = f"cyclegan:cpu{64 if self.spec.shape[-1] >= 64 else 32}"
        return Suggestion(preset, steps=3000, batch_size=min(8, self.count("train")), controller="annealed:cyclegan")

    def count(self, split: Split) -> int:
        """How many samples a split has; of inputs there may be more or fewer."""
        data, result = self.ready()
        return len(data._rows(result, result.layout.target, split))

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Endless batches of a split, inputs and samples each shuffled in an order of their own.

        Raises DataError if the split has fewer samples than a batch, or no inputs.
        """
        data, result = self.ready()
        sides = (result.layout.target, result.layout.source)
        real, source = (
            result.images(side, data._rows(result, side, split), channels or 3)
            for side, channels in zip(sides, (data.channels, data.source_channels), strict=True)
        )
        return Apart(real, source, None, batch_size, seed, split)

    def _rows(self, result: Found, side: str, split: Split) -> list[int]:
        """Rows of one side that belong to a split, by the content of its own images."""
        own = result.rows(side)
        train, aside = _cache.held_out([result.kept.digests[row] for row in own], self.held_out)
        return [own[place] for place in (aside if split == "held_out" else train)]
