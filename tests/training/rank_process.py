"""One of two processes that train together in tests: reads the name of a check and of a model per line, prints results.

python rank_process.py FOLDER RANK        see rank_server.py
"""

import dataclasses
import errno
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from rank_server import SIZE, digest, is_shared, serve
from torch import Tensor, distributed
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from equipoise.core.data import Batch
from equipoise.core.model import Loss, OptimizerSettings
from equipoise.core.world import ALONE, World
from equipoise.errors import SettingError
from equipoise.models import _seqgan_rewards
from equipoise.training import ranks
from equipoise.training.checkpoint import Checkpoint
from equipoise.training.state import TrainingState, initial_state
from equipoise.training.step import run_step

WHOLE = 16
"""Samples of a batch; half of a share is the smallest number of samples that a model draws."""
BATCHES = 20
TOLERANCE = 1e-4
"""Largest relative difference of a gradient; rounding makes about 1e-6."""
SEEDS = (0, 1, 2)
PROGRESS = (0.0, 0.5, 0.95)
"""Progress of the steps, so that growing networks grow."""


def load_contract() -> ModuleType:
    """Import the contract test of the models, for its small models and data."""
    path = Path(__file__).parents[1] / "contract" / "test_models.py"
    spec = importlib.util.spec_from_file_location("contract_of_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["contract_of_models"] = module
    spec.loader.exec_module(module)
    module.BATCH = WHOLE
    return module


contract = load_contract()


def repeat_sentences(network: object, tokens: Tensor, count: int, generator: object) -> Tensor:
    """Take the place of rollouts, whose number of random numbers depends on the sentences."""
    return tokens.expand(tokens.shape[1] - 1, count, *tokens.shape)


_seqgan_rewards.roll_out = repeat_sentences


@dataclasses.dataclass(frozen=True)
class Shares:
    """Rows rank, rank + size, … of whole batches: groups of a minibatch deviation lie within a share."""

    whole: Any
    world: World
    batches: list[Batch] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.batches.extend(self.whole.batch(index) for index in range(BATCHES))  # outside of WholeDraws

    def batch(self, index: int) -> Batch:
        batch = self.batches[index]
        if self.whole.spec.captions is not None:  # alike, because mismatched captions depend on the order
            batch = dataclasses.replace(batch, condition=batch.condition[:1].repeat(WHOLE, 1))
        fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
        rows = slice(self.world.rank, None, self.world.size)
        return type(batch)(**{name: None if value is None else value[rows] for name, value in fields.items()})


class WholeDraws(TorchDispatchMode):
    """Lets each process draw the random numbers of the whole batch and take those of its rows."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.removeprefix("aten::")
        if name == "randperm":
            return self.permutation(function, args[0], kwargs or {})
        if name not in ("rand", "randn", "randint") or self.world.size == 1:
            return function(*args, **(kwargs or {}))
        *bounds, size = args
        axis = self.axis_of_batch(size)
        if axis is None:
            return function(*args, **kwargs)
        whole = [side * self.world.size if index == axis else side for index, side in enumerate(size)]
        rows = torch.arange(self.world.rank, whole[axis], self.world.size)
        return function(*bounds, whole, **kwargs).index_select(axis, rows)

    def axis_of_batch(self, size: list[int]) -> int | None:
        share = WHOLE // self.world.size
        if size and size[0] and size[0] % (share // 2) == 0:
            return 0
        return 1 if len(size) > 1 and size[1] == share else None

    def permutation(self, function: Any, count: int, kwargs: Any) -> Tensor:
        """Permutations of the shares, which make up that of the whole."""
        part = count if self.world.size > 1 else count // SIZE
        orders = [function(part, **kwargs) for _ in range(SIZE)]
        if self.world.size > 1:
            return orders[self.world.rank]
        result = torch.empty(count, dtype=torch.int64)
        for rank, order in enumerate(orders):
            result[rank::SIZE] = order * SIZE + rank
        return result


@contextmanager
def recorded_gradients() -> Iterator[list[Tensor]]:
    """Collect the gradient of every update in the context, as one vector each."""
    result: list[Tensor] = []

    def record(optimizer: Any, args: object, kwargs: object) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        result.append(torch.cat([gradient.flatten().double() for gradient in gradients]))

    handle = register_optimizer_step_pre_hook(record)
    try:
        yield result
    finally:
        handle.remove()


def start(name: str, world: World, *, seed: int = 0, sgd: bool = False) -> tuple[TrainingState, Shares]:
    """Return a small training of a model; `sgd`: updates proportional to gradients, so that noise is not amplified."""
    torch.manual_seed(seed)
    model, spec = contract.build_smallest(name)
    if sgd:
        model = dataclasses.replace(model, optimizer=lambda network, moment: OptimizerSettings("sgd", 1e-3))
    source = torch.Generator().manual_seed(seed)
    state = initial_state(model, model.knobs, torch.device("cpu"), "fp32", source, world=world)
    return state, Shares(contract.Reals(spec), world)


def train(state: TrainingState, shares: Shares, progress: tuple[float, ...]) -> list[Any]:
    """Train with all terms that are off by default."""
    terms = {name: value for name, value in contract.ADDITIONAL_TERMS.items() if name in state.model.turnable}
    knobs = state.model.knobs.with_values(terms)
    return [run_step(state, shares, knobs, share) for share in progress]


def parity(name: str, world: World) -> dict[str, object]:
    """Compare the gradients of two processes with those of the whole batch, on rank 0; see :func:`compare`.

    With another seed, if a number lies so near to the kink of a ReLU that its gradient depends on rounding.
    """
    result: dict[str, object] = {}
    for seed in SEEDS:
        result = compare(name, world, seed)
        if world.share_text(str(result.get("is_close"))) == "True":
            break
    return result


def compare(name: str, world: World, seed: int) -> dict[str, object]:
    """Return the relative differences of the gradients of all updates, the largest one of a buffer, and facts.

    `limits`: TOLERANCE; or three times the difference that rounding makes of the weights of one process, where that is
    more, because the gradients of the model depend on rounding.
    """
    if world.rank:
        gradients_of(name, world, seed)
        return {}
    whole, shared = gradients_of(name, ALONE, seed), gradients_of(name, world, seed)
    expected = whole.gradients
    differences = [difference(*pair) for pair in zip(expected, shared.gradients, strict=True)]
    limits = [TOLERANCE] * len(expected)
    if max(differences) >= TOLERANCE:
        others = [gradients_of(name, ALONE, seed, rounding=trial).gradients for trial in (1, 2)]
        limits = [
            max(TOLERANCE, *(3 * difference(gradient, other[index]) for other in others))
            for index, gradient in enumerate(expected)
        ]
    return {
        "gradients": differences,
        "limits": limits,
        "is_close": all(value < limit for value, limit in zip(differences, limits, strict=True)),
        "buffers": max((difference(*pair) for pair in zip(whole.buffers, shared.buffers, strict=True)), default=0.0),
        "logits": sorted(shared.logit_counts),
        "images": shared.images,
    }


class Outcome(NamedTuple):
    """Gradients of all updates, buffers afterwards, images seen, and numbers of logits of fakes."""

    gradients: list[Tensor]
    buffers: list[Tensor]
    images: int
    logit_counts: set[int]


def gradients_of(name: str, world: World, seed: int, rounding: int = 0) -> Outcome:
    """Train with random numbers of the whole batch. `rounding`: a seed to change all weights by a relative 1e-7."""
    state, shares = start(name, world, seed=seed, sgd=True)
    if rounding:
        source = torch.Generator().manual_seed(rounding)
        with torch.no_grad():
            for weight in (weight for network in state.trained_networks.values() for weight in network.parameters()):
                weight.mul_(1 + 1e-7 * torch.randn(weight.shape, generator=source))
    with recorded_gradients() as gradients, WholeDraws(world):
        records = train(state, shares, PROGRESS)
    buffers = [buffer.double() for network in state.trained_networks.values() for buffer in network.buffers()]
    phases = [phase for record in records for phase in record.phases.values()]
    return Outcome(gradients, buffers, state.images, {len(p.logit_fake) for p in phases if p.logit_fake is not None})


def difference(expected: Tensor, found: Tensor) -> float:
    """Return |difference| / |expected|."""
    return float((found - expected).norm() / expected.norm().clamp_min(1e-12))


def agreement(name: str, world: World) -> dict[str, object]:
    """Train with random numbers of each rank's own; return digests of what must be equal, and after a restoration."""
    state, shares = start(name, world)
    state.generator.manual_seed(world.rank)
    train(state, shares, PROGRESS[:2])
    if world.rank:
        world.share_text("")  # the message that rank 0 saves
    others, values = ranks.collect_states(state) if world.rank else ranks.gather_states(state)
    shared = {name: value.clone() for name, value in world.share_tensors({**state.tensors(), **others}).items()}
    texts = world.share_text(json.dumps({**state.values(), **values}))
    train(state, shares, PROGRESS[2:])
    restored, _ = start(name, world, seed=7)
    own = ranks.of_rank(Checkpoint(state.step, shared, json.loads(texts)), world, reseed=False)
    restored.restore(own.tensors, own.values, "the checkpoint")
    train(restored, shares, PROGRESS[2:])
    return {
        "shared": digest({name: value for name, value in state.tensors().items() if is_shared(name)}),
        "own": digest(state.own_tensors()),
        "resumed": digest(restored.tensors()) == digest(state.tensors()),
    }


def sums(world: World) -> dict[str, object]:
    """Add up tensors of growing and falling sizes and several dtypes in shared memory; compare with gloo's sums."""
    source, equal = torch.Generator().manual_seed(world.rank), []
    for count, dtype in [(20_000, torch.float32), (70_000, torch.float64), (40_000, torch.bfloat16)] * 3:
        numbers = torch.randn(count, 2, generator=source, dtype=torch.float64).to(dtype)
        expected = numbers.clone()
        distributed.all_reduce(expected)
        equal.append(torch.equal(world.add(numbers), expected))
    return {"equal": equal, "shared": not world._sums.is_impossible, "half": world._sums.half}


def sums_without_memory(world: World) -> dict[str, object]:
    """Do the same where rank 1 cannot map memory: no process may wait for it there."""
    create = os.memfd_create

    def fail(name: str) -> int:
        if world.rank:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(name)

    os.memfd_create = fail
    try:
        return sums(world)
    finally:
        os.memfd_create = create


def error_of(function: Callable[[], object]) -> str:
    """Return the message of the SettingError that a function raises."""
    try:
        function()
    except SettingError as error:
        return str(error)
    return "no error"


def different_sums(where: str, world: World) -> dict[str, object]:
    """Add up tensors of different sizes: after a larger sum, before one, and small ones; `where`: shared memory or not.

    Also a sum that both processes take afterwards.
    """
    if where == "messages":
        world._sums.is_impossible = True
    messages = []
    for counts in ((40_000, 50_000), (100_000, 40_000), (10, 20)):
        if len(messages) == 0:
            world.add(torch.ones(60_000))
        messages.append(error_of(partial(world.add, torch.ones(counts[world.rank]))))
    return {"messages": messages, "total": float(world.add(torch.tensor(world.rank + 1.0)))}


def message_and_sum(world: World) -> dict[str, object]:
    """Let process 0 send a text while the other one adds up."""
    return {"error_of": error_of(lambda: world.add(torch.ones(1)) if world.rank else world.share_text("a"))}


def texts(world: World) -> dict[str, object]:
    """Return the lengths of texts from process 1."""
    sent = ["a" * length if world.rank else "" for length in (0, 1, 4031, 4032, 10_000)]
    return {"lengths": [len(world.gather_texts(text)[1]) for text in sent]}


def different_phases(name: str, difference: str, world: World) -> dict[str, object]:
    """Train two steps, and a third one with phases that differ on process 1; return the error."""
    state, shares = start(name, world)
    train(state, shares, PROGRESS[:2])
    discriminator, generator = state.model.phases[0], state.model.phases[-1]
    is_other, usual = world.rank == 1, generator.loss

    def loss(networks: Any, batch: Any, moment: Any) -> Loss:
        result = usual(networks, batch, moment)
        if difference == "terms":
            return dataclasses.replace(result, terms={"own" if is_other else "other": result.total.detach()})
        return dataclasses.replace(result, logit_fake=None if is_other else torch.zeros(len(batch)))

    match difference:
        case "when":
            discriminator = dataclasses.replace(discriminator, when=lambda moment: not is_other)
        case "repeats":
            discriminator = dataclasses.replace(discriminator, repeats=lambda moment: 1 if is_other else 2)
        case "last":
            generator = dataclasses.replace(generator, when=lambda moment: not is_other)
        case _:
            generator = dataclasses.replace(generator, loss=loss)
    state.model = dataclasses.replace(state.model, phases=(discriminator, generator))

    def step() -> None:
        train(state, shares, PROGRESS[2:])
        world.share_text("the message after a step")

    done = state.step
    return {"error_of": error_of(step), "step": done}


def not_finite(name: str, world: World) -> dict[str, object]:
    """Return whether a process knows of a number that is not finite in the data of rank 1."""
    state, shares = start(name, world)

    class Broken:
        def batch(self, index: int) -> Batch:
            batch = shares.batch(index)
            return dataclasses.replace(batch, real=batch.real * (torch.nan if world.rank else 1.0))

    (record,) = [run_step(state, Broken(), state.model.knobs, 0.0)]
    return {"non_finite": bool(record.non_finite)}


def stop(name: str, world: World) -> dict[str, object]:
    """Return whether a process knows that rank 1 wishes to stop, before and after the next step."""
    state, shares = start(name, world)
    answers = []
    for wish in (False, True):
        state.stop.is_requested = wish and world.rank == 1
        train(state, shares, (0.0,))
        answers.append(state.stop.is_set())
    return {"stops": answers}


CHECKS: dict[str, Callable[..., dict[str, object]]] = {
    "parity": parity,
    "agreement": agreement,
    "sums": sums,
    "sums_without_memory": sums_without_memory,
    "different_sums": different_sums,
    "message_and_sum": message_and_sum,
    "texts": texts,
    "different_phases": different_phases,
    "not_finite": not_finite,
    "stop": stop,
}


if __name__ == "__main__":
    serve(CHECKS)
