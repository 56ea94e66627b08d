"""A small encoder of texts that is trained along with the network that reads it: embedding, and one attention layer.

GigaGAN (Kang et al. 2023) puts such layers on a frozen text encoder of hundreds of millions of weights; for captions of
a few words from a small vocabulary, the embedding is learned with them.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, leaky_relu

from equipoise.core.tokens import END
from equipoise.nn.equalised import EqualLinear
from equipoise.nn.pixel_norm import pixel_norm

SLOPE = 0.2
"""Of the leaky ReLU."""
POSITION_SCALE = 0.1
"""Standard deviation of the embedding of positions, relative to that of words: most captions mean the same in any
order."""


class TextFeatures(NamedTuple):
    """An encoded text. `words`: (B, 1 + T, E), the summary and then each token. `is_word`: (B, 1 + T) bool.

    `summary`: (B, E), of the whole text. The summary counts as a word, so that every text has one.
    """

    words: Tensor
    is_word: Tensor
    summary: Tensor


class TextEncoder(nn.Module):
    """Encoder of token rows (B, T) int64: h = e + W_o attention(e), y = h + W_2 lrelu(W_1 h), for each token.

    e is the embedding of a token and its position; a learned vector in front of them collects the whole text (as [CLS]
    in Devlin et al. 2019). End tokens are not attended to. `words`: size of the vocabulary. `length`: T. `width`: E.
    """

    def __init__(self, words: int, length: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(words, width))
        self.position = nn.Parameter(torch.empty(length, width))
        self.start = nn.Parameter(torch.zeros(width))
        self.query_key_value = EqualLinear(width, 3 * width, bias=None)
        self.attended = EqualLinear(width, width, bias=None)
        self.hidden = EqualLinear(width, width, gain=math.sqrt(2))
        self.output = EqualLinear(width, width, bias=None)

    def forward(self, tokens: Tensor) -> TextFeatures:
        """Encode token rows (B, T) int64."""
        embedded = embedding(tokens, self.embedding) + POSITION_SCALE * self.position
        start = self.start.expand(tokens.shape[0], 1, -1)
        features = torch.cat([start, embedded], dim=1)
        is_word = torch.cat([torch.ones_like(tokens[:, :1], dtype=torch.bool), tokens != END], dim=1)
        query, key, value = self.query_key_value(features).chunk(3, dim=2)
        logits = query @ key.transpose(1, 2) / math.sqrt(query.shape[2])
        weights = torch.softmax(logits.masked_fill(~is_word[:, None, :], -math.inf), dim=2)
        features = features + self.attended(weights @ value)
        features = features + self.output(leaky_relu(self.hidden(features), SLOPE))
        return TextFeatures(features, is_word, pixel_norm(features[:, 0]))


@torch.no_grad()
def initialise_text(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the embeddings of all text encoders of a network from N(0, 1); their linear layers are equalised ones."""
    for module in network.modules():
        if isinstance(module, TextEncoder):
            module.embedding.normal_(generator=generator)
            module.position.normal_(generator=generator)
