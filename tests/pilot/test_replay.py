"""A log alone reproduces every knob of its run."""

from pathlib import Path

from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.pilot.replay import observations, replay
from equipoise.runs.run_folder import Run

SCHEDULES = {"lr_d": "cosine(1e-3, 1e-5)", "beta1": "step(0.9, 0.1, 0.5)", "instance_noise": "linear(0.3, 0)"}


def _run(folder: Path) -> Run:
    controller = PlugSpec("annealed", {"schedules": SCHEDULES})
    experiment = Experiment(data=PlugSpec("ring"), controller=controller, steps=120, batch_size=8, options={"width": 4})
    for _ in launch.start(experiment, folder):
        pass
    return Run(folder)


def test_the_log_reproduces_every_knob_exactly(tmp_path: Path) -> None:
    run = _run(tmp_path / "run")
    seen = list(observations(run, AdversarialKnobs()))
    controller = catalog.build("controllers", "annealed", {"schedules": SCHEDULES})
    base = AdversarialKnobs().with_values(run.named("started")[0]["knobs"])
    again = replay(controller, seen, base)
    assert [knobs.values() for knobs in again[:-1]] == [observation.knobs.values() for observation in seen[1:]]
    assert len({knobs.lr_d for knobs in again}) == len(seen), "the learning rate was turned at every reading"
    assert seen[-1].progress == 100 / 120
    assert seen[0].signals.rank_train_fake is not None


def test_another_controller_says_what_it_would_have_turned(tmp_path: Path) -> None:
    run = _run(tmp_path / "run")
    seen = list(observations(run, AdversarialKnobs()))
    base = AdversarialKnobs()
    assert set(replay(catalog.build("controllers", "fixed"), seen, base)) == {base}


def test_a_reading_covers_all_steps_since_the_last(tmp_path: Path) -> None:
    """The step that is read is also the one that is measured more closely; the others must count as much."""
    readings = [line["loss"]["generator.total"] for line in _run(tmp_path / "run").named("sensed")]
    assert all(reading["min"] == reading["max"] for reading in readings), "each of the first hundred is read"
    longer = Experiment(data=PlugSpec("ring"), steps=150, batch_size=8, options={"width": 4})
    for _ in launch.start(longer, tmp_path / "longer"):
        pass
    last = Run(tmp_path / "longer").named("sensed")[-1]["loss"]["generator.total"]
    assert last["min"] < last["mean"] < last["max"], "fifty steps are in the last"
