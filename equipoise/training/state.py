"""The training state: everything that a training step changes and a checkpoint stores."""

import copy
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from equipoise.core.knobs import Knobs
from equipoise.core.model import Memory, Model, Moment
from equipoise.core.world import ALONE, World
from equipoise.training import weights
from equipoise.training.checkpoint import CheckpointValues, check_shapes
from equipoise.training.optimizers import NumberFormat, make_optimizer, make_scaler, optimizer_weights
from equipoise.training.reduction import StopSignal


@dataclass(slots=True)
class TrainingState:
    """Networks, optimizers, buffers, random state and counters of a run.

    `averages`: running averages of networks, by name. `accumulate`: number of batches per update. `draws`: number of
    batches read from the training stream. `rolled_back_images`: how many of `images` the current weights have not
    learned from because of rollbacks. `world`: the processes that train the model; each has a state of its own, equal
    but for random generators and image pools. `stop`: whether any of them wishes to stop.
    """

    model: Model[Knobs]
    averages: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]
    memory: Memory
    generator: torch.Generator
    scaler: torch.amp.GradScaler
    device: torch.device
    precision: NumberFormat
    accumulate: int = 1
    step: int = 0
    images: int = 0
    draws: int = 0
    rolled_back_images: int = 0
    seconds: float = 0.0
    world: World = ALONE
    stop: StopSignal = field(default_factory=StopSignal)

    def moment(self, knobs: Knobs, progress: float) -> Moment[Knobs]:
        """Return the current moment."""
        return Moment(self.step, self.images, progress, knobs, self.generator, self.memory)

    @property
    def sampling_networks(self) -> Mapping[str, nn.Module]:
        """The networks that generate samples: the running averages where there are any, else the trained networks."""
        return {**self.model.networks, **self.averages}

    @property
    def trained_networks(self) -> Mapping[str, nn.Module]:
        """The networks that phases update: all but the frozen ones."""
        return {name: network for name, network in self.model.networks.items() if name not in self.model.frozen}

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors of the state by path, such as "network/generator/layers.0.weight"."""
        result: dict[str, Tensor] = {}
        for kind, networks in self._stored_networks():
            for name, network in networks.items():
                result |= {f"{kind}/{name}/{key}": value for key, value in network.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for index, moments in optimizer.state_dict()["state"].items():
                result |= {f"optimizer/{name}/{index}/{key}": value for key, value in moments.items()}
        return result | self.own_tensors()

    def own_tensors(self) -> dict[str, Tensor]:
        """Return the tensors that differ between the processes of a run: buffers of the model, random generators."""
        result = {f"memory/{name}": value for name, value in self.memory.items()}
        result["random/moment"] = self.generator.get_state()
        result["random/torch"] = torch.get_rng_state()
        if self.device.type == "cuda":
            result["random/cuda"] = torch.cuda.get_rng_state(self.device)
        result["random/numpy"] = torch.from_numpy(_numpy_state()[1].astype(np.int64))
        return result

    def values(self) -> dict[str, object]:
        """Return the rest of the state, as JSON values: counters, loss scaler and random state."""
        return {
            "step": self.step,
            "images": self.images,
            "draws": self.draws,
            "rolled_back_images": self.rolled_back_images,
            "seconds": self.seconds,
            "scaler": self.scaler.state_dict(),
            **self.own_values(),
        }

    def own_values(self) -> dict[str, object]:
        """Return the JSON values that differ between the processes of a run: the rest of the random state."""
        return {"random/numpy": list(_numpy_state()[2:]), "random/python": random.getstate()}

    def restore(
        self, tensors: Mapping[str, Tensor], values: CheckpointValues, source: str, *, with_random: bool = True
    ) -> None:
        """Restore what :meth:`tensors` and :meth:`values` returned; `with_random`: also the random generators.

        Raises CheckpointError, naming `source`, if the shapes are those of other networks.
        """
        self.roll_back(tensors, source)
        if with_random:
            self._restore_random(tensors, values)
        self.scaler.load_state_dict(values["scaler"])
        self.step, self.images, self.draws = values["step"], values["images"], values["draws"]
        self.rolled_back_images, self.seconds = values["rolled_back_images"], values["seconds"]

    def _restore_random(self, tensors: Mapping[str, Tensor], values: CheckpointValues) -> None:
        self.generator.set_state(tensors["random/moment"])
        torch.set_rng_state(tensors["random/torch"])
        if self.device.type == "cuda" and "random/cuda" in tensors:  # missing if saved on a CPU
            torch.cuda.set_rng_state(tensors["random/cuda"], self.device)
        keys = tensors["random/numpy"].numpy().astype(np.uint32)
        np.random.set_state(("MT19937", keys, *values["random/numpy"]))
        version, internal, gauss = values["random/python"]
        random.setstate((version, tuple(internal), gauss))

    def roll_back(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Restore weights, averages, optimizers and buffers from what :meth:`tensors` returned, and nothing else.

        Counters, random generators and the position in the stream do not change, so that the next steps differ.
        """
        self.load_networks(tensors, source)
        for name, optimizer in self.optimizers.items():
            weights = optimizer_weights(optimizer)
            moments: dict[int, dict[str, Tensor]] = {}
            for key, value in _with_prefix(tensors, f"optimizer/{name}/").items():
                index, _, moment = key.partition("/")
                moments.setdefault(int(index), {})[moment] = _with_layout_of(weights[int(index)], value)
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        self.memory = {name: value.to(self.device) for name, value in _with_prefix(tensors, "memory/").items()}

    def load_networks(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Load only the weights of the networks and their averages. Raises CheckpointError if shapes differ."""
        for kind, networks in self._stored_networks():
            for name, network in networks.items():
                saved = _with_prefix(tensors, f"{kind}/{name}/")
                check_shapes(network.state_dict(), saved, name, source)
                network.load_state_dict(saved)

    def transfer_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, float]:
        """Load the weights of other networks that fit; returns the loaded share of each network, from 0 to 1."""
        for name, network in self.averages.items():
            weights.transfer_weights(network, _with_prefix(tensors, f"averaged/{name}/"))
        return {
            name: weights.transfer_weights(network, _with_prefix(tensors, f"network/{name}/"))
            for name, network in self.trained_networks.items()
        }

    def _stored_networks(self) -> tuple[tuple[str, Mapping[str, nn.Module]], ...]:
        """Return the networks of a checkpoint by the first part of their path."""
        return ("network", self.trained_networks), ("averaged", self.averages)


def initial_state(
    model: Model[Knobs],
    knobs: Knobs,
    device: torch.device,
    precision: NumberFormat,
    generator: torch.Generator,
    *,
    accumulate: int = 1,
    world: World = ALONE,
) -> TrainingState:
    """Create the state before the first step; moves the networks to `device`. `generator` must be on that device."""
    for name, network in model.networks.items():
        network.to(device).train(name not in model.frozen)
        if name in model.frozen:
            network.requires_grad_(False)
        network.to(memory_format=torch.channels_last)  # 20 % faster for convolutions
    averages = {name: copy.deepcopy(model.networks[name]).requires_grad_(False).eval() for name in model.averaged}
    moment = Moment(0, 0, 0.0, knobs, generator, model.memory)
    return TrainingState(
        model=model,
        averages=averages,
        optimizers={
            name: make_optimizer(network, model.optimizer(name, moment))
            for name, network in model.networks.items()
            if any(name in phase.updates for phase in model.phases)
        },
        memory={name: value.to(device) for name, value in model.memory.items()},
        generator=generator,
        scaler=make_scaler(precision, device),
        device=device,
        precision=precision,
        accumulate=accumulate,
        world=world,
    )


def _numpy_state() -> tuple[str, npt.NDArray[np.uint32], int, int, float]:
    """Return the state of numpy's global generator: name, keys, position, and a cached normal number."""
    state = np.random.get_state(legacy=True)
    assert isinstance(state, tuple)
    return state


def _with_layout_of(weight: Tensor, moment: Tensor) -> Tensor:
    """Copy a moment of Adam into the memory layout of its weight, which fused updates require."""
    return torch.empty_like(weight).copy_(moment) if moment.shape == weight.shape else moment


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
