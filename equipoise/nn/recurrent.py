"""A recurrent network that predicts the next token, and what it takes to draw sentences from it."""

import copy
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from equipoise.core.tokens import END
from equipoise.nn.drawing import draw, draw_likeliest_first
from equipoise.nn.dropout import dropout

NOT_COUNTED = -1
NUMBERS = 320_000
"""Logits that are looked at together, in whole rows: they stay in a core's cache."""


class State(NamedTuple):
    """Of an LSTM: `hidden` and `cell`, (N, H) each."""

    hidden: Tensor
    cell: Tensor

    def of(self, rows: Tensor) -> "State":
        """The states of some rows."""
        return State(self.hidden[rows], self.cell[rows])


class Recurrent(nn.Module):
    """p(y_t | y_1 … y_{t-1}) by one LSTM layer (Hochreiter and Schmidhuber 1997) between an embedding and a linear map.

    The last row of the embedding stands for the start. `ends`: token 0 ends a sentence, so that nothing follows it.
    """

    def __init__(self, words: int, embedding: int, hidden: int, *, ends: bool) -> None:
        super().__init__()
        self.words, self.ends = words, ends
        self.embedding = nn.Embedding(words + 1, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.exit = nn.Linear(hidden, words)

    def forward(self, tokens: Tensor, share: float = 0.0, generator: Generator | None = None) -> Tensor:
        """Logits (B, T, V) of each token of sentences (B, T), given those before it.

        `share` of what goes into the recurrent layer and comes out of it is dropped (Zaremba 2014), with a generator.
        """
        before = torch.cat([tokens.new_full((len(tokens), 1), self.words), tokens[:, :-1]], dim=1)
        hidden, _ = self.lstm(dropout(self.embedding(before), share, generator))
        logits: Tensor = self.exit(dropout(hidden, share, generator))
        return logits

    def log_probabilities(self, tokens: Tensor) -> Tensor:
        """log p of each token of sentences (B, T), given those before it: (B, T); 0 behind an end, which is certain."""
        logits = self(tokens)
        result = -F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none").view(tokens.shape)
        return result * self.counted(tokens)

    def surprise(self, tokens: Tensor, share: float = 0.0, generator: Generator | None = None) -> Tensor:
        """-log p of the tokens of sentences (B, T), given those before them: a mean over those counted, scalar."""
        logits = self(tokens, share, generator)
        chosen = tokens.masked_fill(self.counted(tokens) == 0, NOT_COUNTED) if self.ends else tokens
        return F.cross_entropy(logits.flatten(0, 1), chosen.flatten(), ignore_index=NOT_COUNTED)

    @torch.no_grad()
    def log_likelihood(self, tokens: Tensor) -> Tensor:
        """log p of sentences (N, T): (N,) float64, in nats."""
        each = max(1, NUMBERS // (self.words * tokens.shape[1]))
        pieces = [self.log_probabilities(piece).double().sum(dim=1) for piece in torch.split(tokens, each)]
        return torch.cat(pieces)

    def at_temperature(self, temperature: float) -> "Recurrent":
        """A copy whose logits are divided by `temperature`: below 1 it writes what is likely more often."""
        copied = copy.deepcopy(self)
        with torch.no_grad():
            for weight in copied.exit.parameters():
                weight.div_(temperature)
        return copied

    def counted(self, tokens: Tensor) -> Tensor:
        """(B, T) float: 1 for the tokens of sentences (B, T) that are a choice, the first end included, else 0."""
        if not self.ends:
            return torch.ones(tokens.shape, device=tokens.device)
        open_ = torch.cat([torch.ones_like(tokens[:, :1]), tokens[:, :-1]], dim=1) != END
        return open_.float()  # behind an end stand ends alone

    def open_after(self, tokens: Tensor) -> Tensor:
        """Whether something can follow each of these tokens: bool, of their shape."""
        return tokens != END if self.ends else torch.ones_like(tokens, dtype=torch.bool)

    def start(self, count: int) -> State:
        """The state (count, H) before the first token."""
        weight = self.exit.weight
        nothing = weight.new_zeros(count, self.lstm.hidden_size)
        return self.step(torch.full((count,), self.words, device=weight.device), State(nothing, nothing))

    def step(self, tokens: Tensor, state: State) -> State:
        """The state after one more token (N,)."""
        return State(*torch.lstm_cell(self.embedding(tokens), list(state), *self.lstm.all_weights[0]))

    def states(self, tokens: Tensor) -> list[State]:
        """The states after 0, 1, …, T - 1 tokens of sentences (B, T): in each the next token is chosen."""
        result = [self.start(len(tokens))]
        for place in range(tokens.shape[1] - 1):
            result.append(self.step(tokens[:, place], result[-1]))
        return result

    @torch.no_grad()
    def drawn(self, state: State, generator: Generator) -> Tensor:
        """The next token (N,) of each state, by its probability."""
        uniform = torch.rand(len(state.hidden), generator=generator, device=state.hidden.device)
        return self.at(state, uniform)

    @torch.no_grad()
    def at(self, state: State, uniform: Tensor) -> Tensor:
        """The next token (N,) of each state, by numbers (N,) from [0, 1)."""
        each = max(1, NUMBERS // self.words)
        rows = zip(torch.split(state.hidden, each), torch.split(uniform, each), strict=True)
        return torch.cat([draw(self.exit(hidden), numbers) for hidden, numbers in rows])

    @torch.no_grad()
    def sentences(self, count: int, length: int, generator: Generator) -> Tensor:
        """(count, length) int64 drawn from the model."""
        state, made = self.start(count), list[Tensor]()
        for place in range(length):
            made.append(self._after_end(self.drawn(state, generator), made))
            state = self.step(made[-1], state) if place < length - 1 else state
        return torch.stack(made, dim=1)

    @torch.no_grad()
    def from_latent(self, uniform: Tensor) -> Tensor:
        """Sentences (N, T) int64 of numbers (N, T) from [0, 1): token t is where u_t falls, the likeliest first.

        Numbers below p choose among the likeliest words that share p of the probability (Holtzman 2020: nucleus).
        """
        state, made = self.start(uniform.shape[0]), list[Tensor]()
        for numbers in uniform.unbind(dim=1):
            state = self.step(made[-1], state) if made else state
            made.append(self._after_end(draw_likeliest_first(self.exit(state.hidden), numbers), made))
        return torch.stack(made, dim=1)

    def _after_end(self, tokens: Tensor, made: list[Tensor]) -> Tensor:
        """The tokens, but an end behind an end."""
        return torch.where(made[-1] == END, END, tokens) if self.ends and made else tokens


@torch.no_grad()
def roll_out(network: Recurrent, tokens: Tensor, count: int, generator: Generator) -> Tensor:
    """Every prefix of sentences (B, T) continued `count` times: (T - 1, count, B, T) int64, by the prefix's length.

    Monte-Carlo search of Yu 2017 (SeqGAN), equation 4, with all prefixes at once: one pass over the sentences keeps
    the state after each prefix, and at place t all prefixes of up to t tokens take their next token together. That is
    B count T (T - 1) / 2 draws in T - 1 steps, the fewest that independent continuations need.
    """
    batch, length = tokens.shape
    made = tokens.expand(length - 1, count, batch, length).clone()
    states = network.states(tokens)
    going = State(*(part.new_empty(length - 1, count, batch, part.shape[1]) for part in states[0]))
    for place in range(1, length):
        for part, reached in zip(going, states[place], strict=True):
            part[place - 1] = reached
        active = State(*(part[:place].flatten(0, 2) for part in going))
        chosen = made[:place, ..., place].flatten()
        open_ = network.open_after(made[:place, ..., place - 1].flatten())
        chosen = chosen.masked_fill_(~open_, END) if network.ends else chosen
        rows = open_.nonzero().squeeze(1)
        chosen[rows] = network.drawn(active.of(rows), generator) if len(rows) else chosen[rows]
        made[:place, ..., place] = chosen.view(place, count, batch)
        if place < length - 1:
            for part, after in zip(going, network.step(chosen, active), strict=True):
                part[:place] = after.view(place, count, batch, -1)
    return made
