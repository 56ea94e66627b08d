"""Two folders of unrelated images of two domains: inputs and samples.

Images are decoded once into a cache next to the runs, and memory-mapped from there; the folders themselves are never
modified. Check the licence of your images. See docs/reference/data.md.
"""

from dataclasses import dataclass
from typing import ClassVar

from equipoise.core.data import DataSpec, Split, Stream, Suggestion
from equipoise.data._pairs import UnpairedStream
from equipoise.data._translation.folder import TranslationFolder
from equipoise.data._translation.images import TranslationImages

__all__ = ["UnpairedFolders"]


@dataclass(frozen=True, slots=True)
class UnpairedFolders(TranslationFolder):
    """Images (C, S, S) float32 in [-1, 1] of two subfolders of one folder, each with all its subfolders.

    Raises SettingError for an invalid option.
    """

    pairs: ClassVar[bool] = False

    source: str | None = None
    """the subfolder of the inputs; default: the first of two by name, or trainA"""
    target: str | None = None
    """the subfolder of the samples; default: the other one, or trainB"""
    held_out: float = 0.1
    """share of the images of each side that is held out, selected by a hash of the content, if no folder is a split"""

    @property
    def spec(self) -> DataSpec:
        """Description of one sample and one input; does not read the folder once resolved."""
        if self.image_size is None or self.channels is None or self.source_channels is None:
            return self.resolve().spec
        side = (self.image_size, self.image_size)
        source = (self.source_channels, *side)
        return DataSpec((self.channels, *side), flips=self.flips, source=source, unit=self._unit)

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a first result within an hour on one core; a small folder is a single batch."""
        preset = f"cyclegan:cpu{64 if self.spec.shape[-1] >= 64 else 32}"
        return Suggestion(preset, steps=3000, batch_size=min(8, self.count("train")), controller="annealed:cyclegan")

    def count(self, split: Split) -> int:
        """Return the number of samples of a split; there may be more or fewer inputs."""
        data, images = self.open()
        return len(data._rows(images, images.layout.target, split))

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Return endless batches of a split, inputs and samples each in an independent random order.

        Raises DataError if the split has fewer samples than a batch, or no inputs.
        """
        data, images = self.open()
        sides = (images.layout.target, images.layout.source)
        real, source = (
            images.images(side, data._rows(images, side, split), channels or 3)
            for side, channels in zip(sides, (data.channels, data.source_channels), strict=True)
        )
        return UnpairedStream(real, source, None, batch_size, seed, split)

    def _rows(self, images: TranslationImages, side: str, split: Split) -> list[int]:
        """Return the rows of one side that belong to a split, by the content of its own images."""
        rows = images.rows(side)
        digests = [images.cached.digests[row] for row in rows]
        return [rows[index] for index in images.divide(rows, digests, split, self.held_out)]
