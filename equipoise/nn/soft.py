"""A recurrent network that writes sentences from a latent vector, word by word or as mixtures of words."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.core.tokens import END
from equipoise.nn.recurrent import State


class SoftWriter(nn.Module):
    """An LSTM that sees a latent vector at every step and gives back what it wrote (Zhang 2017, TextGAN, section 2.2).

    h_0 = tanh(C z + b), c_0 = 0. The words of the embedding are those of the exit: logits = W (V h). Nothing is drawn:
    all that is random is the latent. `ends`: token 0 ends a sentence.
    """

    def __init__(self, words: int, embedding: int, hidden: int, latent: int, *, ends: bool) -> None:
        super().__init__()
        self.words, self.ends = words, ends
        self.embedding = nn.Embedding(words + 1, embedding)  # the last row is the start
        self.entry = nn.Linear(latent, hidden)
        self.cell = nn.LSTMCell(embedding + latent, hidden)
        self.exit = nn.Linear(hidden, embedding)

    def soft(self, latent: Tensor, length: int, sharpness: float) -> Tensor:
        """Sentences (B, T, V) of mixtures: softmax(L logits), which goes on as the mean of its words (equation 8)."""
        state, word, words, made = self._start(latent), self._first(latent), self._words(), []
        for _ in range(length):
            state = self._step(word, latent, state)
            made.append((sharpness * (self.exit(state.hidden) @ words.T)).softmax(dim=1))
            word = made[-1] @ words
        return torch.stack(made, dim=1)

    @torch.no_grad()
    def written(self, latent: Tensor, length: int) -> Tensor:
        """Sentences (B, T) int64: the likeliest word at each step, which is what mixtures sharpen to."""
        state, word, words, made = self._start(latent), self._first(latent), self._words(), list[Tensor]()
        for _ in range(length):
            state = self._step(word, latent, state)
            best = (self.exit(state.hidden) @ words.T).argmax(dim=1)
            made.append(torch.where(made[-1] == END, END, best) if self.ends and made else best)
            word = self.embedding(made[-1])
        return torch.stack(made, dim=1)

    def surprise(self, latent: Tensor, tokens: Tensor) -> Tensor:
        """-log p of the tokens of sentences (B, T), given the latent and those before them: a mean over all, scalar."""
        state, word, result = self._start(latent), self._first(latent), []
        for place in tokens.unbind(dim=1):
            state = self._step(word, latent, state)
            result.append(state.hidden)
            word = self.embedding(place)
        logits = self.exit(torch.stack(result, dim=1)) @ self._words().T
        return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())

    def _start(self, latent: Tensor) -> State:
        hidden = self.entry(latent).tanh()
        return State(hidden, torch.zeros_like(hidden))

    def _first(self, latent: Tensor) -> Tensor:
        return self.embedding.weight[self.words].expand(latent.shape[0], -1)

    def _step(self, word: Tensor, latent: Tensor, state: State) -> State:
        return State(*self.cell(torch.cat([word, latent], dim=1), tuple(state)))

    def _words(self) -> Tensor:
        """(V, E): the embedding without the start."""
        return self.embedding.weight[: self.words]
