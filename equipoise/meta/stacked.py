"""Many small runs at once: perceptrons on points in the plane, their weights stacked, trained in one process.

    results = train_together([replace(experiment, seed=seed) for seed in range(64)])

Each run has its own seed, data, knobs and controller, draws the numbers that it would draw alone, and sees what it
would see alone; at the end it is left as the lone loop would have left it, but for the rounding of batched products.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor

from equipoise.core.data import Stream
from equipoise.core.observations import Controller
from equipoise.diagnosis.likeness import COMPARED
from equipoise.diagnosis.signals import Window
from equipoise.errors import SettingError
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, complete, recipe_of, require
from equipoise.losses.adversarial import LOSSES
from equipoise.meta._perceptrons import Perceptrons
from equipoise.meta._stacked_game import Dials, StackedGame, unsupported
from equipoise.meta._stacked_step import Player, Stack, of_run, run_step
from equipoise.models.mlp import MLP
from equipoise.pilot.pilot import Decision, Pilot
from equipoise.training import probe
from equipoise.training.loop import Evaluation, Training

AT_ONCE = 64
"""Runs in one stack: more of them gain nothing on one core, and leave its cache."""


@dataclass(frozen=True, slots=True)
class StackedRun:
    """What became of one run. `training`: its networks, averages, optimizers and pilot, as the lone loop leaves them.

    `measured`: (step, value) of the metric, as often as the experiment wants it.
    """

    training: Training
    reason: Literal["steps", "diverged"]
    measured: tuple[tuple[int, float], ...]

    @property
    def value(self) -> float | None:
        """The metric after the last step; None if the run diverged, or measured nothing."""
        return self.measured[-1][1] if self.measured and self.reason == "steps" else None


def train_together(
    experiments: Sequence[Experiment], controllers: Sequence[Controller] | None = None, *, at_once: int = AT_ONCE
) -> list[StackedRun]:
    """Train experiments of one shape, `at_once` of them at a time; results in their order.

    They must be of the GAN `mlp` with the same options, batch size and length, and may differ in data, seed, knobs,
    controller and metric. `controllers`: one for each, instead of those that the experiments name. A run that diverges
    leaves the stack. Raises SettingError for what cannot be stacked, naming the setting.
    """
    result: list[StackedRun] = []
    for start in range(0, max(1, len(experiments)), at_once):
        rows = slice(start, start + at_once)
        group = Group(experiments[rows], None if controllers is None else controllers[rows])
        for _ in group.readings():
            pass
        result.extend(group.results())
    return result


class Group:
    """Runs in one stack, and where each of them stands. Mutable, and trained once by :meth:`readings`."""

    def __init__(self, experiments: Sequence[Experiment], controllers: Sequence[Controller] | None = None) -> None:
        """As in :func:`train_together`."""
        completed = [one if one.versions else complete(one) for one in experiments]
        check_alike(completed)
        self.trainings = [launch.assemble(experiment, None) for experiment in completed]
        for training, controller in zip(self.trainings, controllers or (), strict=controllers is not None):
            training.pilot = piloted(training, controller)
        if any(training.streams.held_out is None for training in self.trainings):
            raise SettingError(
                "stacked runs look at held-out reals, of which this data has not a batch; make it smaller"
            )
        self.stack = _stacked(self.trainings, cast(MLP, recipe_of(completed[0])))
        self.places = list(range(len(self.trainings)))
        self._diverged: set[int] = set()
        self._measured: list[list[tuple[int, float]]] = [[] for _ in self.trainings]

    def readings(self) -> Iterator[Mapping[int, Decision]]:
        """Train to the end, yielding at each reading what came of it, by number of the run, those that go on or end."""
        pilot, steps = self.trainings[0].pilot, self.trainings[0].plan.steps
        while self.places and self.stack.step < steps:
            due = pilot.is_due(self.stack.step + 1)
            run_step(self.stack, measure=due)
            if due:
                decisions = self._read()
                yield decisions
                self._after(decisions)
            self._measure(last=self.stack.step == steps)
        self._leave(range(len(self.places)))

    def results(self) -> list[StackedRun]:
        """What became of each run, in their order."""
        return [
            StackedRun(training, "diverged" if number in self._diverged else "steps", tuple(self._measured[number]))
            for number, training in enumerate(self.trainings)
        ]

    def _read(self) -> dict[int, Decision]:
        stack, pilots = self.stack, [self.trainings[number].pilot for number in self.places]
        windows = [of_run(stack.window, row) for row in range(len(pilots))]
        if stack.step % pilots[0].sense_every == 0:
            windows = self._probed(windows)
        stack.window = Window()
        readings = zip(self.places, pilots, windows, strict=True)
        return {number: pilot.read(window, stack.step, stack.images) for number, pilot, window in readings}

    def _after(self, decisions: Mapping[int, Decision]) -> None:
        """Let go of what has diverged, and set the knobs of the others to where their pilots want them."""
        lost = [decisions[number].observation.health.verdict == "diverged" for number in self.places]
        if any(lost):
            self._diverged |= {number for number, is_lost in zip(self.places, lost, strict=True) if is_lost}
            self._leave([row for row, is_lost in enumerate(lost) if is_lost])
        if self.places:
            knobs = [self.trainings[number].pilot.knobs for number in self.places]
            self.stack.dials = Dials.of(knobs, self.stack.averaged.device)

    def _leave(self, rows: Sequence[int]) -> None:
        """Write runs back into their own states, and go on without them."""
        for row in rows:
            _write_back(self.stack, row, self.trainings[self.places[row]])
        kept = sorted(set(range(len(self.places))) - set(rows))
        self.places = [self.places[row] for row in kept]
        self.stack.keep(kept)

    @torch.no_grad()
    def _probed(self, windows: Sequence[Window]) -> list[Window]:
        """The windows with a look at reals, seen in training and not, and at a few samples, as the lone loop has it."""
        stack, trainings = self.stack, [self.trainings[number] for number in self.places]
        turn, device = stack.step // trainings[0].pilot.sense_every, stack.averaged.device
        train = _reals([one.streams.train for one in trainings], turn, stack)
        held_out = _reals([cast(Stream, one.streams.held_out) for one in trainings], turn, stack)
        layers = stack.game.discriminator.layers(stack.players["discriminator"].weights)
        seen, unseen = (
            stack.game.discriminator.judge(layers, _shown(reals, turn, stack)).logit for reals in (train, held_out)
        )
        latents = torch.stack([one.preview[0][:COMPARED] for one in trainings]).to(device)
        fakes = stack.game.generator.make(stack.game.generator.layers(stack.averaged), latents)
        looks = zip(windows, seen, unseen, train, fakes, held_out, strict=True)
        return [
            replace(window, probe_train=mine, probe_held_out=other, real=real, fake=fake, held_out=fresh)
            for window, mine, other, real, fake, fresh in looks
        ]

    @torch.no_grad()
    def _measure(self, last: bool) -> None:
        """The metric of each run that wants it now, or at the last step."""
        step = self.stack.step
        rows = [row for row, number in enumerate(self.places) if is_measured(self.trainings[number], step, last)]
        if not rows:
            return
        evaluations = [cast(Evaluation, self.trainings[self.places[row]].evaluation) for row in rows]
        latents = torch.stack([evaluation.latents for evaluation in evaluations]).to(self.stack.averaged.device)
        generator = self.stack.game.generator
        made = generator.make(generator.layers(self.stack.averaged[rows]), latents).cpu()
        for row, evaluation, samples in zip(rows, evaluations, made, strict=True):
            training = self.trainings[self.places[row]]
            value = evaluation.metric.value(evaluation.statistics, samples)
            training.pilot.measured(evaluation.name, value, self.stack.images, evaluation.metric.better)
            training.best.update(value, step, evaluation.metric)
            self._measured[self.places[row]].append((step, value))


def check_alike(experiments: Sequence[Experiment]) -> None:
    """Raise SettingError for completed experiments that cannot be trained in one stack."""
    if not experiments:
        raise SettingError("there is no experiment to train; give at least one")
    for experiment in experiments:
        for name in ("images", "seconds", "start_from"):
            if getattr(experiment, name) is not None:
                raise SettingError(f"stacked runs know nothing of '{name}'; leave it out")
        if experiment.repair or experiment.stop_at_equilibrium:
            raise SettingError("stacked runs are neither repaired nor stopped early; say repair = false")
        if experiment.precision not in ("auto", "fp32"):
            raise SettingError(f"stacked runs compute in fp32, not in {experiment.precision}; leave 'precision' out")
        model = require(experiment.model, "model")
        if model.name.partition(":")[0] != "mlp":
            raise SettingError(f"only runs of the GAN 'mlp' can be stacked, not '{model.name}'; train it alone")
        if option := unsupported(model.options):
            raise SettingError(f"runs with {option} = {model.options[option]} cannot be stacked; train them alone")
    for name in ("steps", "batch_size", "device"):
        _check_same(name, [getattr(experiment, name) for experiment in experiments])
    options = [require(experiment.model, "model").options for experiment in experiments]
    for name in sorted(options[0].keys() - {"knobs"}):
        _check_same(name, [one[name] for one in options])


def _check_same(name: str, values: Sequence[Any]) -> None:
    if other := [value for value in values if value != values[0]]:
        raise SettingError(f"runs with {name} = {values[0]} and {other[0]} cannot be stacked; train them apart")


def piloted(training: Training, controller: Controller) -> Pilot:
    """The pilot of a run that has not begun, with another controller, and without repair."""
    pilot = training.pilot
    return Pilot(controller, steps=pilot.steps, knobs=pilot.base, rules=pilot.rules)


def is_measured(training: Training, step: int, last: bool = False) -> bool:
    """Whether the metric is due after this step; it is after the last."""
    every = training.plan.evaluate_every
    return training.evaluation is not None and every is not None and (last or step % every == 0)


def _stacked(trainings: Sequence[Training], recipe: MLP) -> Stack:
    """The stack of runs that have not begun."""
    states = [training.state for training in trainings]
    players = {
        name: _player([state.model.networks[name] for state in states]) for name in ("generator", "discriminator")
    }
    shapes = [Perceptrons.like(network) for network in states[0].model.networks.values()]
    return Stack(
        game=StackedGame(LOSSES[recipe.loss], *shapes),
        probability=states[0].model.probability,
        players=players,
        averaged=players["generator"].weights.clone(),
        memory={key: torch.stack([state.memory[key] for state in states]) for key in states[0].memory},
        dials=Dials.of([training.pilot.knobs for training in trainings], states[0].device),
        generators=[state.generator for state in states],
        streams=[training.streams.train for training in trainings],
        batch_size=trainings[0].plan.batch_size,
        draws=torch.zeros(len(states), dtype=torch.int64),
        window=Window(),
    )


def _player(networks: Sequence[torch.nn.Module]) -> Player:
    with torch.no_grad():
        weights = torch.stack([torch.nn.utils.parameters_to_vector(network.parameters()) for network in networks])
    updates = torch.zeros(len(networks), dtype=torch.int64, device=weights.device)
    return Player(weights, torch.zeros_like(weights), torch.zeros_like(weights), updates)


def _write_back(stack: Stack, row: int, training: Training) -> None:
    """Leave the state of a run as the lone loop would have."""
    state = training.state
    for name, player in stack.players.items():
        network = state.model.networks[name]
        torch.nn.utils.vector_to_parameters(player.weights[row].clone(), network.parameters())
        shapes = [weight.shape for weight in network.parameters()]
        sizes = [shape.numel() for shape in shapes]
        moments = [
            {"step": player.updates[row].float(), "exp_avg": mean.view(shape), "exp_avg_sq": square.view(shape)}
            for shape, mean, square in zip(
                shapes, torch.split(player.mean[row], sizes), torch.split(player.square[row], sizes), strict=True
            )
        ]
        optimizer = state.optimizers[name]
        optimizer.load_state_dict({**optimizer.state_dict(), "state": dict(enumerate(moments))})
    torch.nn.utils.vector_to_parameters(stack.averaged[row].clone(), state.averaged["generator"].parameters())
    state.memory = {key: value[row].clone() for key, value in stack.memory.items()}
    state.step, state.images, state.draws = stack.step, stack.images, int(stack.draws[row])


def _reals(streams: Sequence[Stream], turn: int, stack: Stack) -> Tensor:
    """(R, N, D): what is looked at in one turn."""
    batches = [probe.reals(probe.batches(stream, turn, stack.batch_size)) for stream in streams]
    return torch.stack([cast(Tensor, batch) for batch in batches]).to(stack.averaged.device)


def _shown(points: Tensor, turn: int, stack: Stack) -> Tensor:
    """Reals (R, N, D) as discriminators see them in training; the noise is drawn by the turn, the same for all runs."""
    std = stack.dials["instance_noise"].to(points.dtype)
    if not std.any():
        return points
    generator = torch.Generator(points.device).manual_seed(turn)
    shape = (stack.batch_size, points.shape[2])
    count = points.shape[1] // stack.batch_size
    noise = [torch.randn(shape, generator=generator, device=points.device) for _ in range(count)]
    return points + std[:, None, None] * torch.cat(noise)
