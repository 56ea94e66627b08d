"""The oracle of Yu et al. 2017: an LSTM with random weights that generates the sentences and gives their likelihood.

Gate weights are stacked in torch's order, i, f, g, o; the original names them i, f, o, c. There is one bias per gate;
torch's second one is 0. The start token is word 0, which is also an ordinary word.
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

OracleArray = npt.NDArray[np.float32]
GATES = ("i", "f", "c", "o")
"""In torch's order; its g is the original's c."""
SAMPLE_BATCH = 1000


class OracleWeights(NamedTuple):
    """Weights of an oracle, float32, for row vectors times matrices, as in the original.

    `embedding`: (V, E). `inputs`: (E, 4 H), `states`: (H, 4 H), `biases`: (4 H,), in the order of GATES. `exit`: (H,
    V). `last`: (V,).
    """

    embedding: OracleArray
    inputs: OracleArray
    states: OracleArray
    biases: OracleArray
    exit: OracleArray
    last: OracleArray

    @property
    def digest(self) -> str:
        """SHA-256 of all values in this order, as little-endian float32."""
        content = hashlib.sha256()
        for array in self:
            content.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        return content.hexdigest()


@dataclass(frozen=True, slots=True)
class OracleDistribution:
    """Distribution of an oracle over sentences of `length`. `parameters`: a file; None for weights from `seed`."""

    words: int
    length: int
    size: int
    seed: int
    parameters: str | None = None
    digest: str | None = None

    def network(self) -> Recurrent:
        """Return the oracle. Raises DataError if its file was changed."""
        return _network(self)

    def log_probability(self, tokens: Tensor) -> Tensor:
        """Return log-probabilities (N,) float64 in nats of sentences (N, T) int64; -inf for invalid tokens."""
        tokens = tokens.cpu()
        is_valid = ((tokens >= 0) & (tokens < self.words)).all(dim=1)
        values = self.network().log_likelihood(tokens.clamp(0, self.words - 1))
        return torch.where(is_valid, values, -torch.inf)

    def support(self) -> None:
        """Return None, because every sequence of words is possible."""

    def sample(self, count: int, stream: int) -> Tensor:
        """Sample (count, length) int64 with numpy's PCG64 and (seed, stream), independent of the version of torch."""
        rng, network, batches = np.random.default_rng([self.seed, stream]), self.network(), []
        for start in range(0, count, SAMPLE_BATCH):
            uniform = rng.random((min(SAMPLE_BATCH, count - start), self.length), dtype=np.float32)
            batches.append(_sentences(network, torch.from_numpy(uniform)))
        return torch.cat(batches)


def random_weights(words: int, size: int, seed: int) -> OracleWeights:
    """Sample all weights and biases from N(0, 1), as the original does: numpy's PCG64, in the order of the fields."""
    rng = np.random.default_rng(seed)
    shapes = ((words, size), (size, 4 * size), (size, 4 * size), (4 * size,), (size, words), (words,))
    return OracleWeights(*(rng.standard_normal(shape, dtype=np.float32) for shape in shapes))


def read_weights(path: Path) -> OracleWeights:
    """Read the weights of a .npz file: E, W, U and b of each gate (Wi, Ui, bi, Wf, … Wc), Wo and bo of the words.

    The gate o and the words would share the names Wo and bo, so the gate's are Wog, Uog and bog, as in the original.
    Raises DataError for a file that cannot be read, lacks an array, or has one of another shape.
    """
    names = ["E", *(f"{kind}{_gate_name(gate)}" for kind in "WUb" for gate in GATES), "Wo", "bo"]
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            missing = [name for name in names if name not in file]
            if missing:
                raise DataError(f"{path} lacks the array '{missing[0]}'; an oracle consists of {', '.join(names)}")
            arrays = {name: np.asarray(file[name]) for name in names}
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # numpy's message suggests unpickling the file.
        raise DataError(
            f"{path} is not a file of arrays (.npz); write it with numpy.savez(FILE, E=..., Wi=..., ...)"
        ) from error
    _check_arrays(arrays, path)
    stacked = {kind: np.concatenate([arrays[f"{kind}{_gate_name(gate)}"] for gate in GATES], axis=-1) for kind in "WUb"}
    parts = (arrays["E"], stacked["W"], stacked["U"], stacked["b"], arrays["Wo"], arrays["bo"])
    return OracleWeights(*(array.astype(np.float32) for array in parts))


def _gate_name(gate: str) -> str:
    return "og" if gate == "o" else gate


def _check_arrays(arrays: dict[str, npt.NDArray[np.generic]], path: Path) -> None:
    """Raise DataError for the first array that does not fit the others."""
    embedding = arrays["E"]
    if embedding.ndim != 2:
        raise DataError(f"{path}: E has shape {embedding.shape}; it must be (words, embedding size)")
    words, size = embedding.shape
    hidden = arrays["Ui"].shape[0] if arrays["Ui"].ndim == 2 else 0
    shapes = {"W": (size, hidden), "U": (hidden, hidden), "b": (hidden,)}
    expected = {f"{kind}{_gate_name(gate)}": shape for kind, shape in shapes.items() for gate in GATES}
    for name, shape in {**expected, "Wo": (hidden, words), "bo": (words,)}.items():
        if arrays[name].shape != shape:
            raise DataError(
                f"{path}: {name} has shape {arrays[name].shape}, expected {shape} from E; use the arrays of one oracle"
            )
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise DataError(f"{path}: {name} must contain finite real numbers; use the arrays of one oracle")


@lru_cache(maxsize=4)
def _network(distribution: OracleDistribution) -> Recurrent:
    weights = (
        random_weights(distribution.words, distribution.size, distribution.seed)
        if distribution.parameters is None
        else read_weights(Path(distribution.parameters))
    )
    if distribution.digest not in (None, weights.digest):
        if distribution.parameters is None:
            options = f"words = {distribution.words}, size = {distribution.size} and seed = {distribution.seed}"
            raise DataError(f"{options} do not give the oracle of this digest; remove data.digest")
        raise DataError(f"{distribution.parameters} changed since this run started; restore it, or start a new run")
    return build_network(weights)


@torch.no_grad()
def build_network(weights: OracleWeights) -> Recurrent:
    """Return the frozen network of these weights."""
    words, size = weights.embedding.shape
    network = Recurrent(words, size, len(weights.states), ends=False).requires_grad_(False)
    embedding = torch.from_numpy(weights.embedding)
    network.embedding.weight.copy_(torch.cat([embedding, embedding[:1]]))  # the start token is word 0
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
    """Generate sentences (N, T) int64 from uniform numbers (N, T) in [0, 1)."""
    state, tokens = network.start(len(uniform)), list[Tensor]()
    for numbers in uniform.unbind(dim=1):
        state = network.step(tokens[-1], state) if tokens else state
        tokens.append(network.next_token(state, numbers))
    return torch.stack(tokens, dim=1)
