"""The log of a run reproduces every knob."""

from pathlib import Path

from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.pilot.replay import replay
from equipoise.runs.observations import read_observations
from equipoise.runs.run import Run

SCHEDULES = {"lr_d": "cosine(1e-3, 1e-5)", "beta1": "step(0.9, 0.1, 0.5)", "instance_noise": "linear(0.3, 0)"}


def _run(folder: Path) -> Run:
    controller = PlugSpec("annealed", {"schedules": SCHEDULES})
    experiment = Experiment(data=PlugSpec("ring"), controller=controller, steps=120, batch_size=8, options={"width": 4})
    for _ in launch.start(experiment, folder):
        pass
    return Run(folder)


def test_the_log_reproduces_every_knob_exactly(tmp_path: Path) -> None:
    run = _run(tmp_path / "run")
    observations = list(read_observations(run, AdversarialKnobs()))
    controller = catalog.build("controllers", "annealed", {"schedules": SCHEDULES})
    base = AdversarialKnobs().with_values(run.lines("started")[0]["knobs"])
    again = replay(controller, observations, base)
    assert [knobs.values() for knobs in again[:-1]] == [observation.knobs.values() for observation in observations[1:]]
    assert len({knobs.lr_d for knobs in again}) == len(observations), "the learning rate changed at every reading"
    assert observations[-1].progress == 100 / 120
    assert observations[0].signals.rank_train_fake is not None


def test_another_controller_can_be_replayed(tmp_path: Path) -> None:
    run = _run(tmp_path / "run")
    observations = list(read_observations(run, AdversarialKnobs()))
    base = AdversarialKnobs()
    assert set(replay(catalog.build("controllers", "fixed"), observations, base)) == {base}


def test_a_reading_covers_all_steps_since_the_last(tmp_path: Path) -> None:
    """The step of a reading is also measured in more detail; the others must have the same weight."""
    readings = [line["loss"]["generator.total"] for line in _run(tmp_path / "run").lines("sensed")]
    assert all(reading["min"] == reading["max"] for reading in readings), "each of the first hundred is read"
    longer = Experiment(data=PlugSpec("ring"), steps=150, batch_size=8, options={"width": 4})
    for _ in launch.start(longer, tmp_path / "longer"):
        pass
    last = Run(tmp_path / "longer").lines("sensed")[-1]["loss"]["generator.total"]
    assert last["min"] < last["mean"] < last["max"], "fifty steps are in the last"
