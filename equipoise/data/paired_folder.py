"""A folder of pairs of your own, input and sample: side by side in one image, or two subfolders with the same names.

Decoded once into a cache beside the runs, from where batches are mapped into memory; the folder itself is only read.
Its licence is yours to know. See docs/reference/data.md.
"""

from dataclasses import dataclass
from typing import ClassVar

from equipoise.core.data import DataSpec, Split, Stream, Suggestion
from equipoise.data import _cache
from equipoise.data._pairs import Apart, Pairs
from equipoise.data._sides import Found
from equipoise.data._two_sided import TwoSided

__all__ = ["PairedFolder"]


@dataclass(frozen=True, slots=True)
class PairedFolder(TwoSided):
    """Pairs of images (C, S, S) float32 in [-1, 1], from one file each or from two of the same name.

    Raises SettingError for a value that cannot be.
    """

    pairs: ClassVar[bool] = True

    source: str | None = None
    """the input: left or right of images side by side, or a subfolder; left out: left, or the first of two by name"""
    target: str | None = None
    """the subfolder of the samples, if there are more than two"""
    paired: bool = True
    """whether inputs to train on come with their own samples, or in an order of their own; those held out always do"""
    held_out: float = 0.1
    """share of the pairs that is never trained on, chosen by content"""

    @property
    def spec(self) -> DataSpec:
        """What one pair is; once settled, without a look at the folder."""
        if self.image_size is None or self.channels is None or self.source_channels is None:
            return self.resolve().spec
        side = (self.image_size, self.image_size)
        splits: tuple[Split, ...] = ("train", "held_out") if self.paired else ("held_out",)
        return DataSpec((self.channels, *side), flips=self.flips, source=(self.source_channels, *side), paired=splits)

    @property
    def suggestion(self) -> Suggestion:
        """A first result within half an hour on one core; of a small folder the batch is all there is."""
        size, train = self.spec.shape[-1], self.count("train")
        model = f"{'pix2pix' if self.paired else 'cyclegan'}:cpu{64 if size >= 64 else 32}"
        metric = "paired_l1" if self.count("held_out") else None
        return Suggestion(model, steps=3000, batch_size=min(16, train), metric=metric, controller="annealed")

    def count(self, split: Split) -> int:
        """How many pairs a split has."""
        data, result = self.ready()
        return len(data._rows(result, split)[0])

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Endless shuffled batches of a split: pairs, or, to train on, both sides apart if they are not to be paired.

        Raises DataError if the split is smaller than a batch.
        """
        data, result = self.ready()
        sources, targets = data._rows(result, split)
        source = result.images(result.layout.source, sources, data.source_channels or 3)
        real = result.images(result.layout.target, targets, data.channels or 3)
        kind = Pairs if split in data.spec.paired else Apart
        return kind(real, source, None, batch_size, seed, split)

    def _rows(self, result: Found, split: Split) -> tuple[list[int], list[int]]:
        """Rows of inputs and of samples, pair by pair; pairs of equal inputs, or of equal samples, lie in one split."""
        sources, targets = result.pairs()
        train, aside = _cache.held_out(result.alike(), self.held_out)
        chosen = aside if split == "held_out" else train
        return [sources[place] for place in chosen], [targets[place] for place in chosen]
