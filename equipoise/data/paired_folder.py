"""A folder of pairs of input and sample: side by side in one image, or in two subfolders with the same names.

Images are decoded once into a cache next to the runs, and memory-mapped from there; the folder itself is never
modified. Check the licence of your images. See docs/reference/data.md.
"""

from dataclasses import dataclass
from typing import ClassVar

from equipoise.core.data import DataSpec, Split, Stream, Suggestion
from equipoise.data._pairs import PairedStream, UnpairedStream
from equipoise.data._translation.folder import TranslationFolder
from equipoise.data._translation.images import TranslationImages

__all__ = ["PairedFolder"]


@dataclass(frozen=True, slots=True)
class PairedFolder(TranslationFolder):
    """Pairs of images (C, S, S) float32 in [-1, 1], from one file each or from two of the same name.

    Raises SettingError for an invalid option.
    """

    pairs: ClassVar[bool] = True

    source: str | None = None
    """the input: left or right half, or a subfolder; default: left, or the first of two by name"""
    target: str | None = None
    """the subfolder of the samples, if there are more than two"""
    paired: bool = True
    """whether training inputs are paired with their samples, or in an independent order; held-out ones always are"""
    held_out: float = 0.1
    """share of the pairs that is held out, selected by a hash of the content, if no folder is a split"""

    @property
    def spec(self) -> DataSpec:
        """Description of one pair; does not read the folder once resolved."""
        if self.image_size is None or self.channels is None or self.source_channels is None:
            return self.resolve().spec
        side = (self.image_size, self.image_size)
        splits: tuple[Split, ...] = ("train", "held_out") if self.paired else ("held_out",)
        source = (self.source_channels, *side)
        return DataSpec((self.channels, *side), flips=self.flips, source=source, paired=splits, unit=self._unit)

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a first result within half an hour on one core; a small folder is a single batch."""
        size, train = self.spec.shape[-1], self.count("train")
        model = f"{'pix2pix' if self.paired else 'cyclegan'}:cpu{64 if size >= 64 else 32}"
        metric = "paired_l1" if self.count("held_out") else None
        return Suggestion(model, steps=3000, batch_size=min(16, train), metric=metric, controller="annealed")

    def count(self, split: Split) -> int:
        """Return the number of pairs of a split."""
        data, images = self.open()
        return len(data._rows(images, split)[0])

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Return endless shuffled batches of a split: pairs; for training without `paired`, unrelated sets.

        Raises DataError if the split is smaller than a batch.
        """
        data, images = self.open()
        sources, targets = data._rows(images, split)
        source = images.images(images.layout.source, sources, data.source_channels or 3)
        real = images.images(images.layout.target, targets, data.channels or 3)
        stream_type = PairedStream if split in data.spec.paired else UnpairedStream
        return stream_type(real, source, None, batch_size, seed, split)

    def _rows(self, images: TranslationImages, split: Split) -> tuple[list[int], list[int]]:
        """Return the rows of the inputs and samples of a split; pairs with a common image are in the same split."""
        sources, targets = images.pairs()
        pairs = images.divide(sources, images.pair_groups(), split, self.held_out)
        return [sources[pair] for pair in pairs], [targets[pair] for pair in pairs]
