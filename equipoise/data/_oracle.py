"""The oracle of Yu 2017: an LSTM with random weights, whose sentences are the data and whose likelihoods the judge.

The weights of every gate stand one below the other in torch's order, i, f, g, o; the original names them i, f, o, c.
There is one bias a gate; torch's second one stays 0. The start is the word 0, which is also an ordinary word.
"""

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from equipoise.errors import DataError
from equipoise.nn.recurrent import Recurrent

Array = npt.NDArray[np.float32]
GATES = ("i", "f", "c", "o")
"""As torch orders them; its g is the original's c."""
DRAWN_AT_ONCE = 1000


class Weights(NamedTuple):
    """Of an oracle, float32, as the original multiplies them: a row of inputs times a matrix.

    `embedding`: (V, E); `inputs`: (E, 4 H), `states`: (H, 4 H), `biases`: (4 H,), by GATES; `exit`: (H, V), `last`: V
    """

    embedding: Array
    inputs: Array
    states: Array
    biases: Array
    exit: Array
    last: Array

    @property
    def digest(self) -> str:
        """SHA-256 of all numbers in this order, as little-endian float32."""
        content = hashlib.sha256()
        for array in self:
            content.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        return content.hexdigest()


@dataclass(frozen=True, slots=True)
class OracleLaw:
    """What an oracle gives to sentences of `length`. `parameters`: a file; None for weights drawn by `seed`."""

    words: int
    length: int
    size: int
    seed: int
    parameters: str | None = None
    digest: str | None = None

    def network(self) -> Recurrent:
        """The oracle. Raises DataError if its file is not what it was."""
        return _network(self)

    def log_probability(self, tokens: Tensor) -> Tensor:
        """(N,) float64, nats, of sentences (N, T) int64; minus infinity for one with a number of no word."""
        tokens = tokens.cpu()
        known = ((tokens >= 0) & (tokens < self.words)).all(dim=1)
        given = self.network().log_likelihood(tokens.clamp(0, self.words - 1))
        return torch.where(known, given, -torch.inf)

    def support(self) -> None:
        """Every row of words can occur."""

    def drawn(self, count: int, stream: int) -> Tensor:
        """(count, length) int64 by numpy's PCG64 from (seed, stream), the same for every version of torch."""
        source, network, made = np.random.default_rng([self.seed, stream]), self.network(), []
        for start in range(0, count, DRAWN_AT_ONCE):
            uniform = source.random((min(DRAWN_AT_ONCE, count - start), self.length), dtype=np.float32)
            made.append(_sentences(network, torch.from_numpy(uniform)))
        return torch.cat(made)


def seeded(words: int, size: int, seed: int) -> Weights:
    """N(0, 1) for every weight and bias, as the original is: numpy's PCG64, arrays in the order of Weights."""
    source = np.random.default_rng(seed)
    shapes = ((words, size), (size, 4 * size), (size, 4 * size), (4 * size,), (size, words), (words,))
    return Weights(*(source.standard_normal(shape, dtype=np.float32) for shape in shapes))


def read(path: Path) -> Weights:
    """The weights of a .npz file: E, W, U and b of each gate (Wi, Ui, bi, Wf, … Wc), Wo and bo of the words.

    The gate o and the words would share the names Wo and bo, so the gate's are Wog, Uog and bog, as the original calls
    them. Raises DataError for a file that cannot be read, lacks an array, or holds one of another shape.
    """
    names = ["E", *(f"{kind}{_named(gate)}" for kind in "WUb" for gate in GATES), "Wo", "bo"]
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            missing = [name for name in names if name not in file]
            if missing:
                raise DataError(f"{path} has no array '{missing[0]}'; an oracle has {', '.join(names)}")
            arrays = {name: np.asarray(file[name]) for name in names}
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # numpy's own words offer to unpickle the file
        raise DataError(
            f"{path} holds no arrays (.npz); write them by numpy.savez(FILE, E=..., Wi=..., ...)"
        ) from error
    _check(arrays, path)
    stacked = {kind: np.concatenate([arrays[f"{kind}{_named(gate)}"] for gate in GATES], axis=-1) for kind in "WUb"}
    whole = (arrays["E"], stacked["W"], stacked["U"], stacked["b"], arrays["Wo"], arrays["bo"])
    return Weights(*(array.astype(np.float32) for array in whole))


def _named(gate: str) -> str:
    return "og" if gate == "o" else gate


def _check(arrays: dict[str, npt.NDArray[np.generic]], path: Path) -> None:
    """Raise DataError for the first array that does not fit the others."""
    embedding = arrays["E"]
    if embedding.ndim != 2:
        raise DataError(f"{path}: E has shape {embedding.shape}; it must be (words, numbers of a word)")
    words, size = embedding.shape
    hidden = arrays["Ui"].shape[0] if arrays["Ui"].ndim == 2 else 0
    shapes = {"W": (size, hidden), "U": (hidden, hidden), "b": (hidden,)}
    wanted = {f"{kind}{_named(gate)}": shape for kind, shape in shapes.items() for gate in GATES}
    for name, shape in {**wanted, "Wo": (hidden, words), "bo": (words,)}.items():
        if arrays[name].shape != shape:
            raise DataError(
                f"{path}: {name} has shape {arrays[name].shape}, where {shape} fits E; give one oracle's own"
            )
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise DataError(f"{path}: {name} must hold finite real numbers")


@lru_cache(maxsize=4)
def _network(distribution: OracleLaw) -> Recurrent:
    weights = (
        seeded(distribution.words, distribution.size, distribution.seed)
        if distribution.parameters is None
        else read(Path(distribution.parameters))
    )
    if distribution.digest not in (None, weights.digest):
        if distribution.parameters is None:
            made = f"words = {distribution.words}, size = {distribution.size} and seed = {distribution.seed}"
            raise DataError(f"{made} do not make the oracle of this digest; leave data.digest out")
        raise DataError(f"{distribution.parameters} is not as it was when this run began; restore it, or train anew")
    return built(weights)


@torch.no_grad()
def built(weights: Weights) -> Recurrent:
    """The network of these weights, not to be trained."""
    words, size = weights.embedding.shape
    network = Recurrent(words, size, len(weights.states), ends=False).requires_grad_(False)
    embedding = torch.from_numpy(weights.embedding)
    network.embedding.weight.copy_(torch.cat([embedding, embedding[:1]]))  # the start is the word 0
    inputs, states, biases, second = network.lstm.all_weights[0]
    inputs.copy_(torch.from_numpy(weights.inputs).T)
    states.copy_(torch.from_numpy(weights.states).T)
    biases.copy_(torch.from_numpy(weights.biases))
    second.zero_()
    network.exit.weight.copy_(torch.from_numpy(weights.exit).T)
    network.exit.bias.copy_(torch.from_numpy(weights.last))
    return network


@torch.no_grad()
def _sentences(network: Recurrent, uniform: Tensor) -> Tensor:
    """(N, T) int64 of numbers (N, T) from [0, 1)."""
    state, made = network.start(len(uniform)), list[Tensor]()
    for numbers in uniform.unbind(dim=1):
        state = network.step(made[-1], state) if made else state
        made.append(network.at(state, numbers))
    return torch.stack(made, dim=1)
