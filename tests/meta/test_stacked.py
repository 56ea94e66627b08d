"""Runs trained together are the runs that each would be alone."""

from dataclasses import replace

import pytest
import torch

from equipoise.controllers.annealed import Annealed
from equipoise.controllers.fixed import Fixed
from equipoise.core.events import Finished, Sensed
from equipoise.errors import SettingError
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec, complete
from equipoise.losses.penalties import input_gradient
from equipoise.meta._perceptrons import Perceptrons
from equipoise.meta._stacked_step import Player, adam
from equipoise.meta.stacked import Group, train_together
from equipoise.training.loop import train

CLOSE = 1e-5
BASE = complete(
    Experiment(
        data=PlugSpec("ring"),
        model=PlugSpec("mlp", {"width": 8}),
        controller=PlugSpec("fixed"),
        steps=20,
        batch_size=16,
        seed=0,
        threads=1,
        precision="fp32",
        device="cpu",
        repair=False,
        evaluate_every=10,
    )
)
GRID = complete(replace(BASE, data=PlugSpec("grid", {"training_points": 40}), metric=PlugSpec("mixture_modes")))


def alone(experiment):
    """The lone twin, trained, and its events."""
    training = launch.assemble(experiment, None)
    return training, list(train(training))


def of(gan_options, *knobs, base=BASE):
    """Experiments of one shape, a seed each."""
    model = PlugSpec("mlp", {"width": 8, **gan_options})
    return [complete(replace(base, model=model, seed=seed, knobs=one)) for seed, one in enumerate(knobs)]


def furthest(training, other):
    """The largest difference between the states of two runs: weights, averages, moments, buffers; and where it is."""
    mine, theirs = training.state.tensors(), other.state.tensors()
    assert mine.keys() == theirs.keys()
    return max((float((mine[name].double() - theirs[name].double()).abs().max()), name) for name in mine)


def numbers(signals):
    """The signals that there are, metrics among them, by name."""
    values = {name: getattr(signals, name) for name in signals.__dataclass_fields__ if name != "metrics"}
    values |= {name: reading.value for name, reading in signals.metrics.items()}
    return {name: value for name, value in values.items() if value is not None}


FAMILIES = {
    "relativistic": ({}, {"r1_gamma": 0.0}, {"lr_g": 1e-3, "beta1": 0.5, "ema_half_life": 0.0}, {"r2_gamma": 0.0}),
    "non_saturating": (
        {"instance_noise": 0.3, "lecam_weight": 0.01},
        {"real_label_low": 0.8, "real_label_high": 1.1},
        {"feature_matching_weight": 1.0, "fake_label_high": 0.2},
    ),
    "minimax": ({}, {"lecam_weight": 0.1}),
    "least_squares": ({"feature_matching_weight": 0.5, "instance_noise": 0.1}, {"instance_noise": 0.2}),
    "hinge": ({}, {"beta2": 0.9}),
    "wasserstein": ({"r1_gamma": 1.0}, {"discriminator_steps": 3}, {"generator_steps": 2}),
}


@pytest.mark.parametrize("loss", FAMILIES)
def test_after_20_steps_each_run_is_its_lone_twin(loss):
    activation = {"minimax": "tanh", "hinge": "relu"}.get(loss, "leaky_relu")
    experiments = of({"loss": loss, "activation": activation, "depth": 3 if loss == "hinge" else 2}, *FAMILIES[loss])
    experiments += [complete(replace(GRID, model=experiments[0].model, seed=9, knobs={"lr_d": 5e-3}))]
    for experiment, run in zip(experiments, train_together(experiments), strict=True):
        twin, events = alone(experiment)
        distance, where = furthest(run.training, twin)
        assert distance < CLOSE, f"{where} of {experiment.knobs}"
        assert run.reason == events[-1].reason == "steps"
        assert (run.training.state.step, run.training.state.images) == (20, 320)


def test_it_measures_what_the_lone_twin_measures_and_when():
    experiments = [GRID, replace(GRID, seed=1), replace(GRID, evaluate_every=7)]
    for experiment, run in zip(experiments, train_together(experiments), strict=True):
        _, events = alone(experiment)
        expected = [(event.step, event.value) for event in events if type(event).__name__ == "Evaluated"]
        assert dict(run.measured) == pytest.approx(dict(expected))
        assert run.value == expected[-1][1]


def test_controllers_see_what_they_would_see_alone_and_turn_their_own_run_only():
    """Also at a reading that looks at held-out reals, and with noise on what it looks at."""
    experiments = of({"loss": "non_saturating"}, {"instance_noise": 0.1}, {"lr_d": 1e-3}, base=replace(GRID, steps=51))
    annealed = Annealed(factors={"lr_g": "linear(1, 0)", "instance_noise": "linear(1, 3)"})
    group = Group(experiments, [annealed, Fixed()])
    seen = list(group.readings())
    options = {"factors": dict(annealed.factors)}
    chosen = replace(experiments[0], controller=PlugSpec("annealed", options)), experiments[1]
    for number, experiment in enumerate(chosen):
        twin, events = alone(experiment)
        sensed = [event for event in events if isinstance(event, Sensed)]
        assert [decisions[number].observation.step for decisions in seen] == [event.step for event in sensed]
        for decisions, event in zip(seen, sensed, strict=True):
            assert numbers(decisions[number].observation.signals) == pytest.approx(numbers(event.signals), 1e-3, 1e-4)
        assert group.trainings[number].pilot.knobs.values() == twin.pilot.knobs.values()
        assert furthest(group.results()[number].training, twin)[0] < CLOSE
    assert seen[-2][0].observation.signals.rank_train_held_out is not None


def test_a_run_that_diverges_leaves_and_its_neighbours_do_not_feel_it():
    lost = replace(BASE, data=complete(replace(BASE, data=PlugSpec("ring", {"radius": 1e38}))).data)
    experiments = [BASE, lost, replace(BASE, seed=2)]
    results = train_together(experiments)
    twins = [alone(experiment) for experiment in experiments]
    assert [run.reason for run in results] == ["steps", "diverged", "steps"]
    assert isinstance(end := twins[1][1][-1], Finished)
    assert (end.reason, end.step) == ("diverged", results[1].training.state.step)
    assert results[1].value is None
    for place in (0, 2):
        assert furthest(results[place].training, twins[place][0])[0] < CLOSE


def test_all_may_diverge():
    lost = replace(BASE, data=complete(replace(BASE, data=PlugSpec("ring", {"radius": 1e38}))).data)
    assert [run.reason for run in train_together([lost, replace(lost, seed=1)])] == ["diverged", "diverged"]


def test_in_which_stack_a_run_is_does_not_matter():
    experiments = [replace(BASE, seed=seed) for seed in range(5)]
    together, apart = train_together(experiments), train_together(experiments, at_once=2)
    assert len(apart) == 5
    for one, other in zip(together, apart, strict=True):
        assert furthest(one.training, other.training)[0] < CLOSE


def test_the_same_stack_gives_the_same_bytes():
    first, second = (train_together([BASE, replace(BASE, seed=1)]) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert furthest(one.training, other.training)[0] == 0


def test_a_run_can_be_gone_on_with_alone():
    """What it is left as is a state of the lone loop, down to its generators and the place in its stream."""
    (run,) = train_together([BASE])
    run.training.plan = replace(run.training.plan, steps=30)
    assert list(train(run.training))[-1].reason == "steps"
    twin = launch.assemble(replace(BASE, steps=30), None)
    list(train(twin))
    assert furthest(run.training, twin)[0] < CLOSE


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh"])
def test_the_input_gradient_is_that_of_automatic_differentiation(activation):
    model = launch.assemble(of({"activation": activation, "depth": 3}, {})[0], None).state.model
    network = model.networks["discriminator"]
    shape = Perceptrons.like(network)
    points = torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(0))
    layers = shape.layers(torch.nn.utils.parameters_to_vector(network.parameters())[None].detach())
    expected = input_gradient(lambda x: network.judge(network.features(x), None), points[0])
    assert torch.allclose(shape.input_gradient(layers, shape.judge(layers, points))[0], expected, atol=1e-6)


def test_adam_is_that_of_torch_with_settings_of_its_own_for_each_row_turned_on_the_way():
    source = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 5, generator=source)
    zeros = torch.zeros_like(weights)
    player = Player(weights.clone(), zeros.clone(), zeros.clone(), torch.zeros(3, dtype=torch.int64))
    rows = [torch.nn.Parameter(row.clone()) for row in weights]
    optimizers = [torch.optim.Adam([row]) for row in rows]
    for step in range(6):
        lr = torch.tensor([1e-3, 1e-2, 5e-2], dtype=torch.float64) / (1 + step)
        beta1 = torch.tensor([0.0, 0.5, 0.9 - 0.1 * step], dtype=torch.float64)
        beta2 = torch.tensor([0.99, 0.999, 0.9], dtype=torch.float64)
        gradient = torch.randn(3, 5, generator=source)
        for number, (row, optimizer) in enumerate(zip(rows, optimizers, strict=True)):
            row.grad = gradient[number].clone()
            betas = (beta1[number].item(), beta2[number].item())
            optimizer.param_groups[0].update(lr=lr[number].item(), betas=betas)
            optimizer.step()
        adam(player, gradient, lr, beta1, beta2)
    assert torch.allclose(player.weights, torch.stack([row.detach() for row in rows]), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "there is no experiment to train; give at least one"),
        ([{"repair": True}], "stacked runs are neither repaired nor stopped early; say repair = false"),
        ([{"seconds": 9.0}], "stacked runs know nothing of 'seconds'; leave it out"),
        ([{"precision": "bf16"}], "stacked runs compute in fp32, not in bf16; leave 'precision' out"),
        ([{}, {"steps": 21}], "runs with steps = 20 and 21 cannot be stacked; train them apart"),
        ([{}, {"batch_size": 8}], "runs with batch_size = 16 and 8 cannot be stacked; train them apart"),
        (
            [{}, {"model": PlugSpec("mlp", {"width": 9})}],
            "runs with width = 8 and 9 cannot be stacked; train them apart",
        ),
        (
            [{"model": PlugSpec("mlp", {"optimizer": "sgd"})}],
            "runs with optimizer = sgd cannot be stacked; train them alone",
        ),
        (
            [{"model": PlugSpec("mlp", {"constraint": "spectral_norm"})}],
            "runs with constraint = spectral_norm cannot be stacked; train them alone",
        ),
        (
            [{"data": PlugSpec("origin"), "model": PlugSpec("dirac"), "metric": None}],
            "only runs of the GAN 'mlp' can be stacked, not 'dirac'; train it alone",
        ),
    ],
)
def test_what_cannot_be_stacked_is_told_in_a_line(changes, message):
    with pytest.raises(SettingError) as error:
        train_together([complete(replace(BASE, **change)) for change in changes])
    assert str(error.value) == message
