"""Memory that runs out in training, and torch.compile, answered by one line."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.core.model import StyleSpace
from equipoise.errors import SettingError
from equipoise.experiment import launch
from equipoise.experiment.completion import complete
from equipoise.experiment.memory_errors import describe_exhaustion, memory_errors
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.training import loop
from equipoise.training.compilation import compilation_errors, compile_generators

RING = Experiment(data=PlugSpec("ring"), model=PlugSpec("mlp", {"width": 8}), steps=3, batch_size=64, metric="none")  # type: ignore[arg-type]
CPU_FAILURE = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to …"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(CPU_FAILURE), MemoryError()]
)
def test_failed_allocation_names_a_batch_size(error: Exception) -> None:
    with (
        pytest.raises(SettingError, match=r"batch_size = 64 does not fit .*--batch-size 32 --accumulate 2"),
        memory_errors(RING),
    ):
        raise error


def test_other_errors_are_raised_unchanged() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_errors(RING):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "half", "batches"), [(64, None, 32, 2), (100, 2, 48, 5), (7, 1, 3, 3), (2, None, 1, 2)]
)
def test_half_of_the_batch_and_updates_of_at_least_the_same_size(
    batch_size: int, accumulate: int | None, half: int, batches: int
) -> None:
    message = describe_exhaustion(Experiment(batch_size=batch_size, accumulate=accumulate))
    assert f"--batch-size {half} --accumulate {batches} " in message
    assert half * batches >= batch_size * (accumulate or 1)
    assert "\n" not in message


@pytest.mark.parametrize(("batch_size", "devices", "half"), [(12, 4, 4), (256, 4, 128), (6, 2, 2), (5 * 4, 4, 8)])
def test_half_of_the_batch_can_be_divided_among_the_processes(batch_size: int, devices: int, half: int) -> None:
    message = describe_exhaustion(Experiment(batch_size=batch_size, devices=devices))
    assert f"--batch-size {half} --accumulate" in message


def test_batch_of_one_needs_a_smaller_model() -> None:
    for experiment in (Experiment(batch_size=1), Experiment(batch_size=2, devices=2)):
        assert "use a smaller model or image size" in describe_exhaustion(experiment)


def test_training_that_exhausts_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(loop, "run_step", exhaust)
    with pytest.raises(SettingError, match="--batch-size 32 --accumulate 2"):
        list(launch.start_settled(complete(RING), tmp_path / "run"))


def test_compilation_keeps_names_and_discriminators() -> None:
    training = launch.assemble(complete(RING), None)
    networks = training.state.model.networks
    before = {name: list(network.state_dict()) for name, network in networks.items()}
    compile_generators(training.state)
    assert {name: list(network.state_dict()) for name, network in networks.items()} == before
    assert networks["generator"]._compiled_call_impl is not None
    assert networks["discriminator"]._compiled_call_impl is None
    assert training.state.averages["generator"]._compiled_call_impl is None


STYLES = StyleSpace(*[lambda *arguments: torch.ones(1)] * 3)


@pytest.mark.parametrize("field", [{"measured_at": (0.1, 0.9)}, {"styles": STYLES}])
def test_generators_that_grow_or_are_called_in_parts_are_not_compiled(field: dict[str, Any]) -> None:
    training = launch.assemble(complete(RING), None)
    training.state.model = dataclasses.replace(training.state.model, **field)
    with pytest.raises(SettingError, match=r"compile = true: mlp does not call .* omit --compile"):
        compile_generators(training.state)
    assert training.state.model.networks["generator"]._compiled_call_impl is None


def test_gradients_that_cannot_be_compiled() -> None:
    message = "torch.compile with aot_autograd does not currently support double backward"
    with pytest.raises(SettingError, match=r"compile = true: .* omit --compile"), compilation_errors(is_compiled=True):
        raise RuntimeError(message)
    with pytest.raises(RuntimeError, match="double backward"), compilation_errors(is_compiled=False):
        raise RuntimeError(message)
    with pytest.raises(RuntimeError, match="shapes"), compilation_errors(is_compiled=True):
        raise RuntimeError("shapes differ")
