"""Stacked runs have the results of the same runs trained separately."""

from dataclasses import replace

import pytest
import torch

from equipoise.controllers.annealed import Annealed
from equipoise.controllers.fixed import Fixed
from equipoise.core.events import Finished, Sensed
from equipoise.errors import SettingError
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.losses.adversarial import LOSSES
from equipoise.losses.penalties import input_gradient
from equipoise.meta._stacked_networks import StackedPerceptrons
from equipoise.meta._stacked_step import StackedNetwork, adam_update
from equipoise.meta.stacked import StackedTraining, train_together
from equipoise.training.loop import train

MAX_DIFFERENCE = 1e-5
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


def train_single(experiment):
    """Train the experiment as a single run; return it and its events."""
    training = assemble(experiment, None)
    return training, list(train(training))


def experiments_with(model_options, *knobs, base=BASE):
    """Return experiments with the same model and different knobs and seeds."""
    model = PlugSpec("mlp", {"width": 8, **model_options})
    return [complete(replace(base, model=model, seed=seed, knobs=one)) for seed, one in enumerate(knobs)]


def largest_difference(first, second):
    """Return the largest difference between the states of two runs, and the name of its tensor."""
    tensors, expected = first.state.tensors(), second.state.tensors()
    assert tensors.keys() == expected.keys()
    return max((float((tensors[name].double() - expected[name].double()).abs().max()), name) for name in tensors)


def signal_values(signals):
    """Return the available signals and metrics by name."""
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


@pytest.mark.parametrize("loss", LOSSES)
def test_each_run_equals_its_single_run_after_20_steps(loss):
    activation = {"minimax": "tanh", "hinge": "relu"}.get(loss, "leaky_relu")
    experiments = experiments_with(
        {"loss": loss, "activation": activation, "depth": 3 if loss == "hinge" else 2}, *FAMILIES.get(loss, ({},))
    )
    experiments += [complete(replace(GRID, model=experiments[0].model, seed=9, knobs={"lr_d": 5e-3}))]
    for experiment, run in zip(experiments, train_together(experiments), strict=True):
        single_run, events = train_single(experiment)
        distance, tensor = largest_difference(run.training, single_run)
        assert distance < MAX_DIFFERENCE, f"{tensor} of {experiment.knobs}"
        assert run.reason == events[-1].reason == "steps"
        assert (run.training.state.step, run.training.state.images) == (20, 320)


def test_metric_values_equal_those_of_single_runs():
    experiments = [GRID, replace(GRID, seed=1), replace(GRID, evaluate_every=7)]
    for experiment, run in zip(experiments, train_together(experiments), strict=True):
        _, events = train_single(experiment)
        expected = [(event.step, event.value) for event in events if type(event).__name__ == "Evaluated"]
        assert dict(run.metric_values) == pytest.approx(dict(expected))
        assert run.value == expected[-1][1]


def test_controllers_get_the_observations_of_single_runs_and_change_only_their_run():
    """Including a reading that uses held-out reals, with instance noise."""
    experiments = experiments_with(
        {"loss": "non_saturating"}, {"instance_noise": 0.1}, {"lr_d": 1e-3}, base=replace(GRID, steps=51)
    )
    annealed = Annealed(factors={"lr_g": "linear(1, 0)", "instance_noise": "linear(1, 3)"})
    stacked = StackedTraining(experiments, [annealed, Fixed()])
    readings = list(stacked.readings())
    options = {"factors": dict(annealed.factors)}
    single = replace(experiments[0], controller=PlugSpec("annealed", options)), experiments[1]
    for number, experiment in enumerate(single):
        single_run, events = train_single(experiment)
        sensed = [event for event in events if isinstance(event, Sensed)]
        assert [decisions[number].observation.step for decisions in readings] == [event.step for event in sensed]
        for decisions, event in zip(readings, sensed, strict=True):
            assert signal_values(decisions[number].observation.signals) == pytest.approx(
                signal_values(event.signals), 1e-3, 1e-4
            )
        assert stacked.trainings[number].pilot.knobs.values() == single_run.pilot.knobs.values()
        assert largest_difference(stacked.results()[number].training, single_run)[0] < MAX_DIFFERENCE
    assert readings[-2][0].observation.signals.rank_train_held_out is not None


def test_a_diverged_run_is_removed_and_does_not_affect_the_others():
    diverging = replace(BASE, data=complete(replace(BASE, data=PlugSpec("ring", {"radius": 1e38}))).data)
    experiments = [BASE, diverging, replace(BASE, seed=2)]
    results = train_together(experiments)
    single_runs = [train_single(experiment) for experiment in experiments]
    assert [run.reason for run in results] == ["steps", "diverged", "steps"]
    assert isinstance(end := single_runs[1][1][-1], Finished)
    assert (end.reason, end.step) == ("diverged", results[1].training.state.step)
    assert results[1].value is None
    for place in (0, 2):
        assert largest_difference(results[place].training, single_runs[place][0])[0] < MAX_DIFFERENCE


def test_all_runs_can_diverge():
    diverging = replace(BASE, data=complete(replace(BASE, data=PlugSpec("ring", {"radius": 1e38}))).data)
    assert [run.reason for run in train_together([diverging, replace(diverging, seed=1)])] == ["diverged", "diverged"]


def test_results_do_not_depend_on_the_stack_size():
    experiments = [replace(BASE, seed=seed) for seed in range(5)]
    one_stack, three_stacks = train_together(experiments), train_together(experiments, max_stack=2)
    assert len(three_stacks) == 5
    for one, other in zip(one_stack, three_stacks, strict=True):
        assert largest_difference(one.training, other.training)[0] < MAX_DIFFERENCE


def test_stacked_training_is_deterministic():
    first, second = (train_together([BASE, replace(BASE, seed=1)]) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert largest_difference(one.training, other.training)[0] == 0


def test_a_run_can_be_continued_as_a_single_run():
    """Its final state includes random generators and the position in the data stream."""
    (run,) = train_together([BASE])
    run.training.plan = replace(run.training.plan, steps=30)
    assert list(train(run.training))[-1].reason == "steps"
    single_run = assemble(replace(BASE, steps=30), None)
    list(train(single_run))
    assert largest_difference(run.training, single_run)[0] < MAX_DIFFERENCE


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh"])
def test_stacked_perceptrons_equal_the_networks(activation):
    """Features, logits, and the gradient of logits with respect to samples."""
    options = {"activation": activation, "depth": 3}
    models = [assemble(experiment, None).state.model for experiment in experiments_with(options, {}, {})]
    networks = [model.networks["discriminator"] for model in models]
    points = torch.randn(2, 50, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = torch.stack([torch.nn.utils.parameters_to_vector(network.parameters()) for network in networks])
    stacked = StackedPerceptrons.from_network(networks[0])
    features, logit = stacked.logits(weights.detach(), points)
    (gradient,) = torch.autograd.grad(logit.sum(), points)
    for row, network in enumerate(networks):
        assert torch.allclose(features[row], network.features(points[row]), atol=1e-6)
        assert torch.allclose(logit[row], network.logits(network.features(points[row]), None), atol=1e-6)
        expected = input_gradient(lambda x, network=network: network.logits(network.features(x), None), points[row])
        assert torch.allclose(gradient[row], expected, atol=1e-6)


def test_adam_equals_torch_with_changing_settings_per_run():
    source = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 5, generator=source)
    zeros = torch.zeros_like(weights)
    network = StackedNetwork(weights.clone(), zeros.clone(), zeros.clone(), torch.zeros(3, dtype=torch.int64))
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
        adam_update(network, gradient, lr, beta1, beta2)
    assert torch.allclose(network.weights, torch.stack([row.detach() for row in rows]), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "there are no experiments"),
        ([{"repair": True}], "repair"),
        ([{"seconds": 9.0}], "'seconds'"),
        ([{"precision": "bf16"}], "fp32 only, not bf16"),
        ([{}, {"steps": 21}], "steps = 20 and 21"),
        ([{}, {"batch_size": 8}], "batch_size = 16 and 8"),
        ([{}, {"model": PlugSpec("mlp", {"width": 9})}], "width = 8 and 9"),
        ([{"model": PlugSpec("mlp", {"optimizer": "sgd"})}], "optimizer = sgd"),
        ([{"model": PlugSpec("mlp", {"constraint": "spectral_norm"})}], "constraint = spectral_norm"),
        (
            [{"data": PlugSpec("origin"), "model": PlugSpec("dirac"), "metric": None}],
            "'mlp' can be stacked, not 'dirac'",
        ),
    ],
)
def test_experiments_that_cannot_be_stacked_raise(changes, message):
    with pytest.raises(SettingError, match=message):
        train_together([complete(replace(BASE, **change)) for change in changes])
