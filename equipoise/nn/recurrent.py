"""Recurrent language model, and sampling of sentences from it."""

import copy
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from equipoise.core.tokens import END
from equipoise.core.world import batch_world
from equipoise.nn.layers import dropout
from equipoise.nn.token_sampling import sample_tokens, sample_tokens_likeliest_first

IGNORE_INDEX = -1
"""Target of tokens that the loss ignores."""
CHUNK_LOGITS = 320_000
"""Number of logits computed at once, in whole rows, so that they fit into the cache of a core."""


class LSTMState(NamedTuple):
    """State of an LSTM: `hidden` and `cell`, (N, H) each."""

    hidden: Tensor
    cell: Tensor

    def select(self, rows: Tensor) -> "LSTMState":
        """Return the states of some rows."""
        return LSTMState(self.hidden[rows], self.cell[rows])


class Recurrent(nn.Module):
    """Language model p(y_t | y_1 … y_{t-1}): embedding, LSTM (Hochreiter and Schmidhuber 1997) and linear layer.

    The last row of the embedding is the start of a sentence. `ends`: token 0 ends a sentence; only token 0 follows it.
    """

    def __init__(self, words: int, embedding: int, hidden: int, *, ends: bool) -> None:
        super().__init__()
        self.words, self.ends = words, ends
        self.embedding = nn.Embedding(words + 1, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.exit = nn.Linear(hidden, words)

    def forward(self, tokens: Tensor, p: float = 0.0, generator: Generator | None = None) -> Tensor:
        """Compute logits (B, T, V) of each token of sentences (B, T), given the previous tokens.

        `p`: probability of dropout before and after the LSTM (Zaremba 2014); no dropout without a generator.
        """
        inputs = torch.cat([tokens.new_full((len(tokens), 1), self.words), tokens[:, :-1]], dim=1)
        hidden, _ = self.lstm(dropout(self.embedding(inputs), p, generator))
        logits: Tensor = self.exit(dropout(hidden, p, generator))
        return logits

    def log_probabilities(self, tokens: Tensor) -> Tensor:
        """Compute log p (B, T) of each token of sentences (B, T), given the previous tokens; 0 after an end."""
        logits = self(tokens)
        result = -F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none").view(tokens.shape)
        return result * self.choice_mask(tokens)

    def negative_log_likelihood(self, tokens: Tensor, p: float = 0.0, generator: Generator | None = None) -> Tensor:
        """Compute the mean of -log p over the tokens of sentences (B, T) up to their ends, given previous tokens."""
        logits = self(tokens, p, generator)
        targets = tokens.masked_fill(self.choice_mask(tokens) == 0, IGNORE_INDEX) if self.ends else tokens
        mean = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX)
        world = batch_world()
        if world.size == 1:
            return mean
        count = (targets != IGNORE_INDEX).sum().float()  # shares of a batch differ in it
        return mean * (count / world.mean(count))

    @torch.no_grad()
    def log_likelihood(self, tokens: Tensor) -> Tensor:
        """Compute log p (N,) of sentences (N, T), float64, in nats."""
        rows = max(1, CHUNK_LOGITS // (self.words * tokens.shape[1]))
        sums = [self.log_probabilities(chunk).double().sum(dim=1) for chunk in torch.split(tokens, rows)]
        return torch.cat(sums)

    def at_temperature(self, temperature: float) -> "Recurrent":
        """Return a copy whose logits are divided by `temperature`; below 1, likely words become more frequent."""
        network = copy.deepcopy(self)
        with torch.no_grad():
            for weight in network.exit.parameters():
                weight.div_(temperature)
        return network

    def choice_mask(self, tokens: Tensor) -> Tensor:
        """Return (B, T) float: 1 for tokens of sentences (B, T) up to and including the first end, else 0."""
        if not self.ends:
            return torch.ones(tokens.shape, device=tokens.device)
        is_open = torch.cat([torch.ones_like(tokens[:, :1]), tokens[:, :-1]], dim=1) != END
        return is_open.float()  # all tokens after an end are ends

    def open_after(self, tokens: Tensor) -> Tensor:
        """Return whether the sentence continues after each of these tokens: bool, of the same shape."""
        return tokens != END if self.ends else torch.ones_like(tokens, dtype=torch.bool)

    def start(self, count: int) -> LSTMState:
        """Return the state (count, H) before the first token."""
        weight = self.exit.weight
        zeros = weight.new_zeros(count, self.lstm.hidden_size)
        return self.step(torch.full((count,), self.words, device=weight.device), LSTMState(zeros, zeros))

    def step(self, tokens: Tensor, state: LSTMState) -> LSTMState:
        """Return the state after one more token (N,)."""
        return LSTMState(*torch.lstm_cell(self.embedding(tokens), list(state), *self.lstm.all_weights[0]))

    def states(self, tokens: Tensor) -> list[LSTMState]:
        """Return the states after 0, 1, …, T - 1 tokens of sentences (B, T)."""
        result = [self.start(len(tokens))]
        for position in range(tokens.shape[1] - 1):
            result.append(self.step(tokens[:, position], result[-1]))
        return result

    @torch.no_grad()
    def sample_next(self, state: LSTMState, generator: Generator) -> Tensor:
        """Sample the next token (N,) of each state."""
        uniform = torch.rand(len(state.hidden), generator=generator, device=state.hidden.device)
        return self.next_token(state, uniform)

    @torch.no_grad()
    def next_token(self, state: LSTMState, uniform: Tensor) -> Tensor:
        """Return the next token (N,) of each state, selected by uniform numbers (N,) in [0, 1)."""
        rows = max(1, CHUNK_LOGITS // self.words)
        chunks = zip(torch.split(state.hidden, rows), torch.split(uniform, rows), strict=True)
        return torch.cat([sample_tokens(self.exit(hidden), numbers) for hidden, numbers in chunks])

    @torch.no_grad()
    def sentences(self, count: int, length: int, generator: Generator) -> Tensor:
        """Sample sentences (count, length) int64."""
        state, sentence = self.start(count), list[Tensor]()
        for position in range(length):
            sentence.append(self._after_end(self.sample_next(state, generator), sentence))
            state = self.step(sentence[-1], state) if position < length - 1 else state
        return torch.stack(sentence, dim=1)

    @torch.no_grad()
    def from_latent(self, uniform: Tensor) -> Tensor:
        """Generate sentences (N, T) int64 from uniform numbers (N, T): u_t selects token t, the most likely first.

        Numbers below p select among the most likely words with a total probability of p (Holtzman 2020: nucleus
        sampling).
        """
        state, sentence = self.start(uniform.shape[0]), list[Tensor]()
        for numbers in uniform.unbind(dim=1):
            state = self.step(sentence[-1], state) if sentence else state
            sentence.append(self._after_end(sample_tokens_likeliest_first(self.exit(state.hidden), numbers), sentence))
        return torch.stack(sentence, dim=1)

    def _after_end(self, tokens: Tensor, sentence: list[Tensor]) -> Tensor:
        """Replace tokens that follow an end by an end."""
        return torch.where(sentence[-1] == END, END, tokens) if self.ends and sentence else tokens


@torch.no_grad()
def roll_out(network: Recurrent, tokens: Tensor, count: int, generator: Generator) -> Tensor:
    """Continue every prefix of sentences (B, T) `count` times: (T - 1, count, B, T) int64, by length of the prefix.

    Monte-Carlo search of Yu 2017 (SeqGAN), equation 4, for all prefixes at once: one pass over the sentences computes
    the state after each prefix, and at position t all prefixes of up to t tokens sample their next token together. This
    takes B count T (T - 1) / 2 samples in T - 1 steps, the minimum for independent continuations.
    """
    batch, length = tokens.shape
    continued = tokens.expand(length - 1, count, batch, length).clone()
    states = network.states(tokens)
    running = LSTMState(*(part.new_empty(length - 1, count, batch, part.shape[1]) for part in states[0]))
    for position in range(1, length):
        for part, start in zip(running, states[position], strict=True):
            part[position - 1] = start
        active = LSTMState(*(part[:position].flatten(0, 2) for part in running))
        sampled = continued[:position, ..., position].flatten()
        is_open = network.open_after(continued[:position, ..., position - 1].flatten())
        sampled = sampled.masked_fill_(~is_open, END) if network.ends else sampled
        rows = is_open.nonzero().squeeze(1)
        sampled[rows] = network.sample_next(active.select(rows), generator) if len(rows) else sampled[rows]
        continued[:position, ..., position] = sampled.view(position, count, batch)
        if position < length - 1:
            for part, after in zip(running, network.step(sampled, active), strict=True):
                part[:position] = after.view(position, count, batch, -1)
    return continued
