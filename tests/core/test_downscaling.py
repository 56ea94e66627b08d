"""Inputs that are made of the images themselves."""

import dataclasses

import torch

from equipoise.core.data import Batch, DataSpec, DecodingStream, NoPreparation, PairedBatch, Suggestion, without_balance
from equipoise.core.downscaling import DownscaledInputs, downscale, with_downscaled_inputs


@dataclasses.dataclass(frozen=True)
class Pictures(NoPreparation):
    """Ten pictures, and a stream of two."""

    shape: tuple[int, ...] = (3, 8, 12)
    balance: bool = False

    @property
    def spec(self) -> DataSpec:
        return DataSpec(self.shape, classes=2, class_names=("a", "b"), flips=True)

    @property
    def suggestion(self) -> Suggestion:
        return Suggestion("dcgan", 10, 2)

    def count(self, split: str) -> int:
        return 10

    def stream(self, split: str, batch_size: int, seed: int) -> "Pictures":
        return self

    def batch(self, index: int) -> Batch:
        source = torch.Generator().manual_seed(index)
        return Batch(torch.rand(2, *self.shape, generator=source), torch.zeros(2, dtype=torch.int64))


@dataclasses.dataclass(frozen=True)
class Enlarging:
    """A recipe that needs smaller images."""

    downscaling: int = 4


def test_a_pixel_is_the_mean_of_those_that_it_covers() -> None:
    images = torch.arange(2 * 8 * 4, dtype=torch.float32).reshape(1, 2, 8, 4)
    assert torch.equal(downscale(images, 4)[0, 1, 1, 0], images[0, 1, 4:8, :4].mean())
    assert downscale(images, 4).shape == (1, 2, 2, 1)


def test_spec_and_batches_are_pairs_without_labels() -> None:
    data = with_downscaled_inputs(Pictures(), Enlarging())
    assert isinstance(data, DownscaledInputs)
    assert (data.spec.source, data.spec.paired) == ((3, 2, 3), ("train", "held_out"))
    assert (data.spec.classes, data.spec.class_names, data.spec.flips) == (0, (), True)
    batch = data.resolve().stream("train", 2, 0).batch(3)
    assert isinstance(batch, PairedBatch)
    assert torch.equal(batch.real, Pictures().batch(3).real)
    assert torch.equal(batch.source, downscale(batch.real, 4))
    assert batch.condition is None
    assert (data.count("train"), data.suggestion.model, list(data.prepare())) == (10, "dcgan", [])


def test_a_stream_that_decodes_can_be_read_by_other_processes() -> None:
    """As image_shards does: the reader is that of the images, and the batches are those of the plain stream."""

    @dataclasses.dataclass(frozen=True)
    class Decoding(Pictures):
        @property
        def reader(self) -> "Decoding":
            return self

        def read(self, index: int) -> int:
            return index

        def assemble(self, read: int) -> Batch:
            return self.batch(read)

        def damaged(self) -> dict[str, str]:
            return {"a.png": "truncated"}

        def stream(self, split: str, batch_size: int, seed: int) -> "Decoding":
            return self

    stream = DownscaledInputs(Decoding(), 4).stream("train", 2, 0)
    assert isinstance(stream, DecodingStream)
    expected = DownscaledInputs(Pictures(), 4).stream("train", 2, 0).batch(3)
    for batch in (stream.batch(3), stream.assemble(stream.reader.read(3))):
        assert torch.equal(batch.real, expected.real)
        assert torch.equal(batch.source, expected.source)
    assert stream.damaged() == {"a.png": "truncated"}
    assert not isinstance(DownscaledInputs(Pictures(), 4).stream("train", 2, 0), DecodingStream)


def test_other_models_and_other_data_get_their_own_inputs() -> None:
    images = Pictures()
    assert with_downscaled_inputs(images, object()) is images
    points = Pictures(shape=(2,))
    assert with_downscaled_inputs(points, Enlarging()) is points


def test_metrics_see_the_images_without_balance() -> None:
    data = without_balance(with_downscaled_inputs(Pictures(balance=True), Enlarging()))
    assert data == DownscaledInputs(Pictures(), 4)
