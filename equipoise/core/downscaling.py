"""Inputs of super-resolution, made from the samples themselves: a data set whose inputs are its images, made smaller.

A model that needs them says so with an attribute `downscaling`, the factor; any data set of images serves.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn.functional import avg_pool2d

from equipoise.core.data import (
    BatchReader,
    DataSet,
    DataSpec,
    DecodingStream,
    PairedBatch,
    Preparation,
    Split,
    Stream,
    Suggestion,
)


def downscale(images: Tensor, factor: int) -> Tensor:
    """Average images (N, C, H, W) over squares of `factor` x `factor` pixels: (N, C, H / factor, W / factor)."""
    return avg_pool2d(images, factor)


@dataclass(frozen=True, slots=True)
class DownscaledStream:
    """Batches of a stream of images, with the images made smaller as inputs."""

    images: Stream
    factor: int

    def batch(self, index: int) -> PairedBatch:
        """Return batch number `index`: real (B, C, H, W), source (B, C, H / factor, W / factor), without labels."""
        return _pair_with_small_image(self.images.batch(index).real, self.factor)


@dataclass(frozen=True, slots=True)
class DownscaledDecodingStream:
    """The same for a stream that decodes files when they are drawn, so that other processes may do that here, too."""

    images: DecodingStream[object]
    factor: int

    def batch(self, index: int) -> PairedBatch:
        """Return batch number `index`; see DownscaledStream."""
        return self.assemble(self.reader.read(index))

    @property
    def reader(self) -> BatchReader[object]:
        """That of the images."""
        return self.images.reader

    def assemble(self, read: object) -> PairedBatch:
        """Return the batch of what the reader returned."""
        return _pair_with_small_image(self.images.assemble(read).real, self.factor)

    def damaged(self) -> Mapping[str, str]:
        """Return the damaged files of the images."""
        return self.images.damaged()


def _pair_with_small_image(images: Tensor, factor: int) -> PairedBatch:
    """Return images (N, C, H, W) with themselves, made smaller, as inputs."""
    return PairedBatch(images, source=downscale(images, factor))


@dataclass(frozen=True, slots=True)
class DownscaledInputs:
    """A data set of images as pairs of an input, smaller by `factor`, and the image; other inputs are replaced."""

    images: DataSet
    factor: int

    def prepare(self) -> Iterator[Preparation]:
        """Prepare the images."""
        return self.images.prepare()

    def resolve(self) -> "DownscaledInputs":
        """Return the data set with the options of the images filled in."""
        return replace(self, images=self.images.resolve())

    @property
    def spec(self) -> DataSpec:
        """That of the images, with inputs."""
        spec = self.images.spec
        channels, height, width = spec.shape
        source = (channels, height // self.factor, width // self.factor)
        return replace(spec, classes=0, class_names=(), captions=None, source=source, paired=("train", "held_out"))

    @property
    def suggestion(self) -> Suggestion:
        """That of the images."""
        return self.images.suggestion

    def count(self, split: Split) -> int | None:
        """Return the number of images of a split."""
        return self.images.count(split)

    def stream(self, split: Split, batch_size: int, seed: int) -> DownscaledStream | DownscaledDecodingStream:
        """Return endless shuffled batches of pairs."""
        images = self.images.stream(split, batch_size, seed)
        if isinstance(images, DecodingStream):
            return DownscaledDecodingStream(images, self.factor)
        return DownscaledStream(images, self.factor)


def with_downscaled_inputs(data: DataSet, recipe: object) -> DataSet:
    """Return the data set with the inputs that a model needs: smaller images if its recipe has `downscaling`.

    Data that are no images are returned unchanged: the model refuses them.
    """
    factor: int | None = getattr(recipe, "downscaling", None)
    return data if factor is None or not data.spec.is_image else DownscaledInputs(data, factor)
