"""What a step changes: everything that a checkpoint must hold."""

import copy
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from equipoise.core.knobs import Knobs
from equipoise.core.model import Memory, Model, Moment
from equipoise.training import optimizers as optimizing
from equipoise.training import transfer
from equipoise.training.checkpoint import check_shapes
from equipoise.training.precision import Precision, scaler


@dataclass(slots=True)
class TrainingState:
    """The players and all that moves with them. `draws` counts batches taken from the stream.

    `unlearnt`: images of `images` that the weights as they are have not learnt from, for they were rolled back.
    """

    model: Model[Any]
    averaged: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]
    memory: Memory
    generator: torch.Generator
    scaler: torch.amp.GradScaler
    device: torch.device
    precision: Precision
    step: int = 0
    images: int = 0
    draws: int = 0
    unlearnt: int = 0
    seconds: float = 0.0

    def moment(self, knobs: Knobs, progress: float) -> Moment[Any]:
        """Now."""
        return Moment(self.step, self.images, progress, knobs, self.generator, self.memory)

    @property
    def playing(self) -> Mapping[str, nn.Module]:
        """The networks that samples come from: the averages where there are, else the players themselves."""
        return {**self.model.networks, **self.averaged}

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by a name that tells what it is."""
        result: dict[str, Tensor] = {}
        for kind, networks in (("network", self.model.networks), ("averaged", self.averaged)):
            for name, network in networks.items():
                result |= {f"{kind}/{name}/{key}": value for key, value in network.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for index, moments in optimizer.state_dict()["state"].items():
                result |= {f"optimizer/{name}/{index}/{key}": value for key, value in moments.items()}
        result |= {f"memory/{name}": value for name, value in self.memory.items()}
        result["random/moment"] = self.generator.get_state()
        result["random/torch"] = torch.get_rng_state()
        result["random/numpy"] = torch.from_numpy(_numpy_random()[1].astype(np.int64))
        return result

    def values(self) -> dict[str, Any]:
        """Everything else, for JSON."""
        return {
            "step": self.step,
            "images": self.images,
            "draws": self.draws,
            "unlearnt": self.unlearnt,
            "seconds": self.seconds,
            "scaler": self.scaler.state_dict(),
            "random/numpy": list(_numpy_random()[2:]),
            "random/python": random.getstate(),
        }

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any], source: str) -> None:
        """Go on from what :meth:`tensors` and :meth:`values` gave.

        Raises CheckpointError, naming `source`, if the shapes are those of other networks.
        """
        self.go_back(tensors, source)
        self.generator.set_state(tensors["random/moment"])
        torch.set_rng_state(tensors["random/torch"])
        keys = tensors["random/numpy"].numpy().astype(np.uint32)
        np.random.set_state(("MT19937", keys, *values["random/numpy"]))
        version, internal, gauss = values["random/python"]
        random.setstate((version, tuple(internal), gauss))
        self.scaler.load_state_dict(values["scaler"])
        self.step, self.images, self.draws = values["step"], values["images"], values["draws"]
        self.unlearnt, self.seconds = values["unlearnt"], values["seconds"]

    def go_back(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Take weights, averages, optimizers and buffers from what :meth:`tensors` gave, and nothing else.

        Clocks, random generators and the position in the stream go on: what comes next is new.
        """
        self.load_networks(tensors, source)
        for name, optimizer in self.optimizers.items():
            mine = _under(tensors, f"optimizer/{name}/")
            weights = optimizing.weights_of(optimizer)
            moments: dict[int, dict[str, Tensor]] = {}
            for key, value in mine.items():
                index, _, what = key.partition("/")
                moments.setdefault(int(index), {})[what] = _laid_out_as(weights[int(index)], value)
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        self.memory = {name: value.to(self.device) for name, value in _under(tensors, "memory/").items()}

    def load_networks(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Take over the weights alone: the players' and their averages'."""
        for kind, networks in (("network", self.model.networks), ("averaged", self.averaged)):
            for name, network in networks.items():
                theirs = _under(tensors, f"{kind}/{name}/")
                check_shapes(network.state_dict(), theirs, name, source)
                network.load_state_dict(theirs)

    def transfer_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, float]:
        """Take over what fits of the weights of other networks: the share of each player's weights, from 0 to 1."""
        for name, network in self.averaged.items():
            transfer.transfer_weights(network, _under(tensors, f"averaged/{name}/"))
        networks = self.model.networks.items()
        return {
            name: transfer.transfer_weights(network, _under(tensors, f"network/{name}/")) for name, network in networks
        }


def begin(
    model: Model[Any], knobs: Knobs, device: torch.device, precision: Precision, generator: torch.Generator
) -> TrainingState:
    """The state before the first step; moves the networks to `device`. `generator` must live there already."""
    for network in model.networks.values():
        network.to(device).train()
        network.to(memory_format=torch.channels_last)  # a fifth faster where there are convolutions
    averaged = {name: copy.deepcopy(model.networks[name]).requires_grad_(False).eval() for name in model.averaged}
    moment = Moment(0, 0, 0.0, knobs, generator, model.memory)
    return TrainingState(
        model=model,
        averaged=averaged,
        optimizers={
            name: optimizing.make(network, model.optimizer(name, moment))
            for name, network in model.networks.items()
            if any(name in phase.updates for phase in model.phases)
        },
        memory={name: value.to(device) for name, value in model.memory.items()},
        generator=generator,
        scaler=scaler(precision, device),
        device=device,
        precision=precision,
    )


def _laid_out_as(weight: Tensor, moment: Tensor) -> Tensor:
    """A moment of Adam in the memory layout of its weight: fused updates walk through both as they lie."""
    return torch.empty_like(weight).copy_(moment) if moment.shape == weight.shape else moment


def _numpy_random() -> Any:
    return np.random.get_state(legacy=True)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
