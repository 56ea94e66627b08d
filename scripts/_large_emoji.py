"""The emoji of `openmoji` at any multiple of their 64 pixels, for measuring speed: there is no new detail in them."""

from dataclasses import dataclass, replace
from typing import Any

from torch.nn.functional import interpolate

from equipoise.core.data import DataSpec, NoPreparation, Split, Stream, Suggestion
from equipoise.data.openmoji import OpenMoji
from equipoise.errors import SettingError

__all__ = ["LargeEmoji"]

SIDE = 64


@dataclass(frozen=True, slots=True)
class LargeEmoji(NoPreparation):
    """Emoji (3, S, S) and outlines (1, S, S), float32 in [-1, 1], each pixel repeated; S is a multiple of 64."""

    image_size: int = 256

    def __post_init__(self) -> None:
        if self.image_size < SIDE or self.image_size % SIDE:
            raise SettingError(f"image_size = {self.image_size}: it must be a multiple of {SIDE}")

    @property
    def spec(self) -> DataSpec:
        """That of the emoji, with other sides."""
        spec, sides = OpenMoji(SIDE).spec, (self.image_size, self.image_size)
        return replace(spec, shape=(3, *sides), source=(1, *sides))

    @property
    def suggestion(self) -> Suggestion:
        """That of the emoji."""
        return OpenMoji(SIDE).suggestion

    def count(self, split: Split) -> int:
        """Return the number of emoji of a split."""
        return OpenMoji(SIDE).count(split)

    def stream(self, split: Split, batch_size: int, seed: int) -> "LargeStream":
        """Return a stream of pairs."""
        return LargeStream(OpenMoji(SIDE).stream(split, batch_size, seed), self.image_size)


@dataclass(frozen=True, slots=True)
class LargeStream:
    """Batches of a stream of pairs, enlarged to `side` pixels."""

    stream: Stream
    side: int

    def batch(self, index: int) -> Any:
        """Return batch number `index`."""
        batch = self.stream.batch(index)
        real, source = (interpolate(part, size=(self.side, self.side)) for part in (batch.real, batch.source))
        return replace(batch, real=real, source=source)
