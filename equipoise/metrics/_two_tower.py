"""Two networks that map emoji and their captions to one space: features for the retrieval metrics.

`scripts/train_two_tower.py` reproduces the weights from the training pairs shipped with the package, apart from any
generator. Image and text are compared by the cosine of their features (Radford et al. 2021, CLIP, section 2.3).
"""

import json
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load as read_tensors
from torch import Tensor, nn
from torch.nn.functional import embedding, interpolate, normalize

from equipoise.core.captions import Captions
from equipoise.core.digests import read_shipped
from equipoise.core.tokens import END, Vocabulary
from equipoise.metrics._digits_classifier import block
from equipoise.metrics._transparency import on_background

FILE = Path(__file__).with_name("two_tower.safetensors")
DIGEST = "57157bd5f5c8adee7b49c00b23ddc04bdd5e3c08114b5cd1aeaefade2d389e3a"
SIZE = 32
FEATURES = 64
BATCH_SIZE = 250


class ImageTower(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> unit vectors (B, FEATURES) float32; images are resized to 32 x 32.

    Grey images are repeated; transparent ones are laid on white.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            block(3, 32, kernel=4, stride=2),
            block(32, 64),
            nn.MaxPool2d(2),
            block(64, 96),
            nn.MaxPool2d(2),
            block(96, 128),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(128 * 4 * 4, FEATURES),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Compute features."""
        colour = on_background(images.float())
        colour = colour.expand(-1, 3, -1, -1) if colour.shape[1] == 1 else colour
        if tuple(colour.shape[2:]) != (SIZE, SIZE):
            colour = interpolate(colour, size=(SIZE, SIZE), mode="bilinear", antialias=True)
        features: Tensor = self.body(colour)
        return normalize(features, dim=1)


class TextTower(nn.Module):
    """Captions (B, T) int64 -> unit vectors (B, FEATURES): the sum of a vector per word. `words`: of the vocabulary.

    Without the order of the words, which has no meaning in captions such as "smiling cat face".
    """

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(words, FEATURES))

    def forward(self, captions: Tensor) -> Tensor:
        """Compute features; zeros for a caption without words."""
        vectors = embedding(captions, self.embedding) * (captions != END)[..., None]
        return normalize(vectors.sum(dim=1), dim=1)


class TwoTowers(nn.Module):
    """Both towers, and the scale of their cosine in the loss of training."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.image, self.text = ImageTower(), TextTower(words)
        self.log_scale = nn.Parameter(torch.tensor(2.3))


class ShippedTowers(nn.Module):
    """The shipped networks, frozen. `words`: of their captions, the end token first."""

    def __init__(self, towers: TwoTowers, words: tuple[str, ...]) -> None:
        super().__init__()
        self.towers, self.words = towers, words

    def encode_images(self, images: Tensor) -> Tensor:
        """Compute features of images, in batches on the CPU: (N, FEATURES) float32."""
        with torch.inference_mode():
            return torch.cat([self.towers.image(batch.cpu()) for batch in torch.split(images, BATCH_SIZE)])

    def encode_captions(self, captions: Tensor, vocabulary: Vocabulary) -> Tensor:
        """Compute features of captions (N, T) in a vocabulary: (N, FEATURES) float32; words not known are ignored."""
        own = Captions(Vocabulary(self.words), captions.shape[1], ())
        with torch.inference_mode():
            features: Tensor = self.towers.text(own.encode(vocabulary.decode(row) for row in captions.tolist()))
            return features


@lru_cache(maxsize=1)
def load() -> ShippedTowers:
    """Load the shipped networks on the CPU. Raises DataError if the shipped file is missing or damaged."""
    return _read(FILE)


def _read(file: Path) -> ShippedTowers:
    """Load the networks from a file. Raises DataError if it is not the shipped one."""
    content = read_shipped(file, DIGEST)
    with safe_open(file, "pt") as opened:
        words = tuple(json.loads(opened.metadata()["about"])["words"])
    with torch.device("meta"):
        towers = TwoTowers(len(words))
    towers.load_state_dict({name: tensor.float() for name, tensor in read_tensors(content).items()}, assign=True)
    return ShippedTowers(towers.eval().requires_grad_(False), words)
