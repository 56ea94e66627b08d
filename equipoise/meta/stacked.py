"""Training of many small runs in one process: perceptrons on points in the plane, with stacked weights.

    results = train_together([replace(experiment, seed=seed) for seed in range(64)])

Each run has its own seed, data, knobs and controller, and uses the same random numbers and batches as a single run. Its
final state equals that of a single run except for the rounding of batched products.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor

from equipoise.core.controller import AnyController
from equipoise.core.data import Stream
from equipoise.diagnosis.sample_statistics import MAX_SAMPLES
from equipoise.diagnosis.signals import SignalWindow
from equipoise.errors import SettingError
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, build_recipe, require
from equipoise.losses.adversarial import LOSSES
from equipoise.meta._stacked_losses import StackedKnobs, StackedLosses, unsupported_option
from equipoise.meta._stacked_networks import StackedPerceptrons
from equipoise.meta._stacked_step import Stack, StackedNetwork, run_step, window_of_run
from equipoise.models.mlp import MLP
from equipoise.pilot.pilot import Pilot
from equipoise.pilot.step import Decision
from equipoise.training import probe
from equipoise.training.loop import Training
from equipoise.training.plan import MetricEvaluation

MAX_STACK = 64
"""Default number of runs in one stack; larger stacks exceed the cache of a core and are not faster."""


@dataclass(frozen=True, slots=True)
class StackedRun:
    """Result of one run.

    `training`: networks, averages, optimizers and pilot, in the same form as for a single run. `metric_values`: (step,
    value) of each evaluation of the metric.
    """

    training: Training
    reason: Literal["steps", "diverged"]
    metric_values: tuple[tuple[int, float], ...]

    @property
    def value(self) -> float | None:
        """The metric after the last step; None if the run diverged, or has no metric."""
        return self.metric_values[-1][1] if self.metric_values and self.reason == "steps" else None


def train_together(
    experiments: Sequence[Experiment],
    controllers: Sequence[AnyController] | None = None,
    *,
    max_stack: int = MAX_STACK,
) -> list[StackedRun]:
    """Train experiments in stacks of up to `max_stack` runs; return the results in their order.

    All must use the model `mlp` with the same options, batch size and number of steps; data, seed, knobs, controller
    and metric may differ. `controllers`: one per experiment, instead of the controllers of the experiments. Diverged
    runs are removed from the stack. Raises SettingError for an experiment that cannot be stacked, naming the setting.
    """
    result: list[StackedRun] = []
    for start in range(0, max(1, len(experiments)), max_stack):
        rows = slice(start, start + max_stack)
        training = StackedTraining(experiments[rows], None if controllers is None else controllers[rows])
        for _ in training.readings():
            pass
        result.extend(training.results())
    return result


class StackedTraining:
    """Training of one stack of runs, executed once by :meth:`readings`. Mutable.

    `trainings`: one per run. `run_numbers`: for each row of the stack, the number of its run.
    """

    def __init__(self, experiments: Sequence[Experiment], controllers: Sequence[AnyController] | None = None) -> None:
        """Prepare the runs; see :func:`train_together`."""
        completed = [experiment if experiment.versions else complete(experiment) for experiment in experiments]
        validate_stackable(completed)
        self.trainings = [assemble(experiment, None) for experiment in completed]
        for training, controller in zip(self.trainings, controllers or (), strict=controllers is not None):
            training.pilot = pilot_with_controller(training, controller)
        if any(training.streams.held_out is None for training in self.trainings):
            raise SettingError(
                "stacked runs need at least one batch of held-out data, and these data have less; reduce the batch size"
            )
        self.stack = _create_stack(self.trainings, cast(MLP, build_recipe(completed[0])))
        self.run_numbers = list(range(len(self.trainings)))
        self._diverged: set[int] = set()
        self._metric_values: list[list[tuple[int, float]]] = [[] for _ in self.trainings]

    def readings(self) -> Iterator[Mapping[int, Decision]]:
        """Train to the end; at each reading, yield the decision of each run that has not diverged, by its number."""
        pilot, steps = self.trainings[0].pilot, self.trainings[0].plan.steps
        while self.run_numbers and self.stack.step < steps:
            is_due = pilot.is_due(self.stack.step + 1)
            run_step(self.stack, measure=is_due)
            if is_due:
                decisions = self._read()
                yield decisions
                self._apply(decisions)
            self._evaluate(is_last=self.stack.step == steps)
        self._remove(range(len(self.run_numbers)))

    def results(self) -> list[StackedRun]:
        """Return the results of all runs, in order."""
        return [
            StackedRun(
                training, "diverged" if number in self._diverged else "steps", tuple(self._metric_values[number])
            )
            for number, training in enumerate(self.trainings)
        ]

    def _read(self) -> dict[int, Decision]:
        stack, pilots = self.stack, [self.trainings[number].pilot for number in self.run_numbers]
        windows = [window_of_run(stack.window, row) for row in range(len(pilots))]
        if stack.step % pilots[0].sense_every == 0:
            windows = self._add_probes(windows)
        stack.window = SignalWindow()
        readings = zip(self.run_numbers, pilots, windows, strict=True)
        return {number: pilot.read(window, stack.step, stack.images) for number, pilot, window in readings}

    def _apply(self, decisions: Mapping[int, Decision]) -> None:
        """Remove diverged runs, and set the knobs of the others to the values that their pilots decided."""
        has_diverged = [decisions[number].observation.health.verdict == "diverged" for number in self.run_numbers]
        if any(has_diverged):
            rows = [row for row, is_diverged in enumerate(has_diverged) if is_diverged]
            self._diverged |= {self.run_numbers[row] for row in rows}
            self._remove(rows)
        if self.run_numbers:
            knobs = [self.trainings[number].pilot.knobs for number in self.run_numbers]
            self.stack.knobs = StackedKnobs.stack(knobs, self.stack.averaged.device)

    def _remove(self, rows: Sequence[int]) -> None:
        """Copy rows of the stack to the states of their runs, and remove them."""
        for row in rows:
            _copy_to_training(self.stack, row, self.trainings[self.run_numbers[row]])
        remaining = sorted(set(range(len(self.run_numbers))) - set(rows))
        self.run_numbers = [self.run_numbers[row] for row in remaining]
        self.stack.keep(remaining)

    @torch.no_grad()
    def _add_probes(self, windows: Sequence[SignalWindow]) -> list[SignalWindow]:
        """Add logits of training and held-out reals, reals and samples to the windows, as training.probe does."""
        stack, trainings = self.stack, [self.trainings[number] for number in self.run_numbers]
        number, device = stack.step // trainings[0].pilot.sense_every, stack.averaged.device
        train = _probe_reals([training.streams.train for training in trainings], number, stack)
        held_out = _probe_reals([cast(Stream, training.streams.held_out) for training in trainings], number, stack)
        discriminator, weights = stack.losses.discriminator, stack.networks["discriminator"].weights
        train_logits, held_out_logits = (
            discriminator.logits(weights, _add_probe_noise(reals, number, stack)).logit for reals in (train, held_out)
        )
        latents = torch.stack([training.preview[0][:MAX_SAMPLES] for training in trainings]).to(device)
        fakes = stack.losses.generator.forward(stack.averaged, latents)
        rows = zip(windows, train_logits, held_out_logits, train, fakes, held_out, strict=True)
        return [
            replace(window, probe_train=on_train, probe_held_out=on_held_out, real=real, fake=fake, held_out=unused)
            for window, on_train, on_held_out, real, fake, unused in rows
        ]

    @torch.no_grad()
    def _evaluate(self, is_last: bool) -> None:
        """Compute the metric of each run for which it is due."""
        step = self.stack.step
        numbered = enumerate(self.run_numbers)
        rows = [row for row, number in numbered if is_evaluation_due(self.trainings[number], step, is_last)]
        if not rows:
            return
        evaluations = [cast(MetricEvaluation, self.trainings[self.run_numbers[row]].evaluation) for row in rows]
        latents = torch.stack([evaluation.latents for evaluation in evaluations]).to(self.stack.averaged.device)
        generated = self.stack.losses.generator.forward(self.stack.averaged[rows], latents).cpu()
        for row, evaluation, samples in zip(rows, evaluations, generated, strict=True):
            training = self.trainings[self.run_numbers[row]]
            value = evaluation.metric.value(evaluation.statistics, samples)
            training.pilot.record_metric(evaluation.name, value, self.stack.images, evaluation.metric.better)
            training.best.update(value, step, evaluation.metric)
            self._metric_values[self.run_numbers[row]].append((step, value))


def validate_stackable(experiments: Sequence[Experiment]) -> None:
    """Raise SettingError if completed experiments cannot be trained in one stack."""
    if not experiments:
        raise SettingError("there are no experiments to train; pass at least one")
    for experiment in experiments:
        for name in ("images", "seconds", "start_from"):
            if getattr(experiment, name) is not None:
                raise SettingError(f"stacked runs do not support '{name}'; omit it")
        if experiment.repair or experiment.stop_at_equilibrium:
            raise SettingError("stacked runs support neither repair nor stop_at_equilibrium; set both to false")
        if experiment.precision not in ("auto", "fp32"):
            raise SettingError(
                f"stacked runs support precision fp32 only, not {experiment.precision}; omit 'precision'"
            )
        model = require(experiment.model, "model")
        if model.name.partition(":")[0] != "mlp":
            raise SettingError(
                f"only runs of the model 'mlp' can be stacked, not '{model.name}'; train them separately"
            )
        if option := unsupported_option(model.options):
            raise SettingError(f"runs with {option} = {model.options[option]} cannot be stacked; train them separately")
    for name in ("steps", "batch_size", "device"):
        _validate_same(name, [getattr(experiment, name) for experiment in experiments])
    options = [require(experiment.model, "model").options for experiment in experiments]
    for name in sorted(options[0].keys() - {"knobs"}):
        _validate_same(name, [values[name] for values in options])


def _validate_same(name: str, values: Sequence[object]) -> None:
    if different := [value for value in values if value != values[0]]:
        raise SettingError(
            f"runs with {name} = {values[0]} and {different[0]} cannot be stacked; train them separately"
        )


def pilot_with_controller(training: Training, controller: AnyController) -> Pilot:
    """Return the pilot of a run before its first step, with another controller and without repair."""
    pilot = training.pilot
    return Pilot(controller, steps=pilot.settings.steps, knobs=pilot.base, model_info=pilot.model_info)


def is_evaluation_due(training: Training, step: int, is_last: bool = False) -> bool:
    """Whether the metric is computed after this step; always True after the last step."""
    every = training.plan.evaluate_every
    return training.evaluation is not None and every is not None and (is_last or step % every == 0)


def _create_stack(trainings: Sequence[Training], recipe: MLP) -> Stack:
    """Stack runs before their first step."""
    states = [training.state for training in trainings]
    names = ("generator", "discriminator")
    networks = {name: _stack_networks([state.model.networks[name] for state in states]) for name in names}
    generator, discriminator = (StackedPerceptrons.from_network(states[0].model.networks[name]) for name in names)
    return Stack(
        losses=StackedLosses(LOSSES[recipe.loss], generator, discriminator),
        probability=states[0].model.probability,
        networks=networks,
        averaged=networks["generator"].weights.clone(),
        memory={key: torch.stack([state.memory[key] for state in states]) for key in states[0].memory},
        knobs=StackedKnobs.stack([training.pilot.knobs for training in trainings], states[0].device),
        generators=[state.generator for state in states],
        streams=[training.streams.train for training in trainings],
        batch_size=trainings[0].plan.batch_size,
        draws=torch.zeros(len(states), dtype=torch.int64),
        window=SignalWindow(),
    )


def _stack_networks(networks: Sequence[torch.nn.Module]) -> StackedNetwork:
    with torch.no_grad():
        weights = torch.stack([torch.nn.utils.parameters_to_vector(network.parameters()) for network in networks])
    updates = torch.zeros(len(networks), dtype=torch.int64, device=weights.device)
    return StackedNetwork(weights, torch.zeros_like(weights), torch.zeros_like(weights), updates)


def _copy_to_training(stack: Stack, row: int, training: Training) -> None:
    """Copy a row of the stack to the state of a run."""
    state = training.state
    for name, stacked in stack.networks.items():
        network = state.model.networks[name]
        torch.nn.utils.vector_to_parameters(stacked.weights[row].clone(), network.parameters())
        shapes = [weight.shape for weight in network.parameters()]
        sizes = [shape.numel() for shape in shapes]
        moments = [
            {"step": stacked.updates[row].float(), "exp_avg": mean.view(shape), "exp_avg_sq": square.view(shape)}
            for shape, mean, square in zip(
                shapes, torch.split(stacked.mean[row], sizes), torch.split(stacked.square[row], sizes), strict=True
            )
        ]
        optimizer = state.optimizers[name]
        optimizer.load_state_dict({**optimizer.state_dict(), "state": dict(enumerate(moments))})
    torch.nn.utils.vector_to_parameters(stack.averaged[row].clone(), state.averages["generator"].parameters())
    state.memory = {key: value[row].clone() for key, value in stack.memory.items()}
    state.step, state.images, state.draws = stack.step, stack.images, int(stack.draws[row])


def _probe_reals(streams: Sequence[Stream], number: int, stack: Stack) -> Tensor:
    """Return the reals (R, N, D) of probe number `number`."""
    batches = [probe.real_samples(probe.draw_batches(stream, number, stack.batch_size)) for stream in streams]
    return torch.stack([cast(Tensor, batch) for batch in batches]).to(stack.averaged.device)


def _add_probe_noise(points: Tensor, number: int, stack: Stack) -> Tensor:
    """Add instance noise to reals (R, N, D); its random seed is the number of the probe, the same for all runs."""
    std = stack.knobs["instance_noise"].to(points.dtype)
    if not std.any():
        return points
    generator = torch.Generator(points.device).manual_seed(number)
    shape = (stack.batch_size, points.shape[2])
    count = points.shape[1] // stack.batch_size
    noise = [torch.randn(shape, generator=generator, device=points.device) for _ in range(count)]
    return points + std[:, None, None] * torch.cat(noise)
