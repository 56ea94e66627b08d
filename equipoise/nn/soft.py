"""Recurrent generator of sentences from a latent vector, as tokens or as mixtures of words."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.core.tokens import END
from equipoise.nn.recurrent import LSTMState


class SoftGenerator(nn.Module):
    """LSTM with the latent vector and the previous word as input (Zhang 2017, TextGAN, section 2.2).

    h_0 = tanh(C z + b), c_0 = 0. Input and output share the word embedding W: logits = W (V h). The output is a
    deterministic function of the latent. `ends`: token 0 ends a sentence.
    """

    def __init__(self, words: int, embedding: int, hidden: int, latent: int, *, ends: bool) -> None:
        super().__init__()
        self.words, self.ends = words, ends
        self.embedding = nn.Embedding(words + 1, embedding)  # the last row is the start of a sentence
        self.entry = nn.Linear(latent, hidden)
        self.cell = nn.LSTMCell(embedding + latent, hidden)
        self.exit = nn.Linear(hidden, embedding)

    def soft(self, latent: Tensor, length: int, sharpness: float) -> Tensor:
        """Generate soft sentences (B, T, V): softmax(L logits), whose mean embedding is the next input (equation 8)."""
        state, word, words, outputs = (
            self._initial_state(latent),
            self._start_embedding(latent),
            self._word_embeddings(),
            [],
        )
        for _ in range(length):
            state = self._step(word, latent, state)
            outputs.append((sharpness * (self.exit(state.hidden) @ words.T)).softmax(dim=1))
            word = outputs[-1] @ words
        return torch.stack(outputs, dim=1)

    @torch.no_grad()
    def tokens(self, latent: Tensor, length: int) -> Tensor:
        """Generate sentences (B, T) int64: the most likely word at each step, the limit of soft sentences."""
        state, word, words, outputs = (
            self._initial_state(latent),
            self._start_embedding(latent),
            self._word_embeddings(),
            list[Tensor](),
        )
        for _ in range(length):
            state = self._step(word, latent, state)
            best = (self.exit(state.hidden) @ words.T).argmax(dim=1)
            outputs.append(torch.where(outputs[-1] == END, END, best) if self.ends and outputs else best)
            word = self.embedding(outputs[-1])
        return torch.stack(outputs, dim=1)

    def negative_log_likelihood(self, latent: Tensor, tokens: Tensor) -> Tensor:
        """Compute -log p of the tokens of sentences (B, T), given the latent and previous tokens: mean over tokens."""
        state, word, hidden = self._initial_state(latent), self._start_embedding(latent), list[Tensor]()
        for column in tokens.unbind(dim=1):
            state = self._step(word, latent, state)
            hidden.append(state.hidden)
            word = self.embedding(column)
        logits = self.exit(torch.stack(hidden, dim=1)) @ self._word_embeddings().T
        return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())

    def _initial_state(self, latent: Tensor) -> LSTMState:
        hidden = self.entry(latent).tanh()
        return LSTMState(hidden, torch.zeros_like(hidden))

    def _start_embedding(self, latent: Tensor) -> Tensor:
        return self.embedding.weight[self.words].expand(latent.shape[0], -1)

    def _step(self, word: Tensor, latent: Tensor, state: LSTMState) -> LSTMState:
        return LSTMState(*self.cell(torch.cat([word, latent], dim=1), tuple(state)))

    def _word_embeddings(self) -> Tensor:
        """Return the embedding (V, E) without the start of a sentence."""
        return self.embedding.weight[: self.words]
