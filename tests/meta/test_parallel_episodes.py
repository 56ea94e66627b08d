"""Episodes through a backend: the same results as in this process, and errors in one line."""

import dataclasses
from collections.abc import Iterable

import pytest

from equipoise.core import catalog
from equipoise.errors import RunError
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.jobs.backend import Call, RunningCall, execute_call
from equipoise.meta import parallel_episodes
from equipoise.meta.episodes import EpisodeResult, play_episodes
from equipoise.meta.parallel_episodes import EpisodePlayer

IMAGES = Experiment(
    data=PlugSpec("digits", {"image_size": 16}),
    model=PlugSpec("sngan", {"width": 2}),
    metric=PlugSpec("fd_pixels"),
    steps=2,
    batch_size=4,
    evaluate_every=2,
    repair=False,
    threads=1,
)


@dataclasses.dataclass(eq=False)
class Ended:
    exit_code: int

    def terminate(self) -> None:
        pass

    def join(self) -> float:
        return 2.5


@dataclasses.dataclass
class InThisProcess:
    """Executes calls when they are started. `code`: what they end with, None for their own."""

    slots: int = 2
    code: int | None = None
    is_remote: bool = False
    started: int = 0

    def start(self, call: Call) -> Ended:
        self.started += 1
        call.output.write_text("" if self.code is None else "ValueError: broken\n")
        return Ended(execute_call(call, lambda: False) if self.code is None else self.code)

    def wait(self, running: Iterable[RunningCall]) -> None:
        pass


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(experiments, controllers) -> list[EpisodeResult]:
        return [EpisodeResult(((one.steps, one.steps / 3),), one.steps > 9) for one in experiments]

    monkeypatch.setattr(parallel_episodes, "play_episodes", play)


def test_results_and_their_order_do_not_depend_on_the_backend(cheap: None) -> None:
    experiments = [dataclasses.replace(IMAGES, steps=steps) for steps in (3, 10, 2)]
    controllers = [catalog.build("controllers", "fixed")] * 3
    backend = InThisProcess()
    player = EpisodePlayer(backend)
    assert player.play(experiments, controllers) == EpisodePlayer().play(experiments, controllers)
    assert backend.started == 3
    assert (player.take_cpu(), player.take_cpu()) == (7.5, 0.0)


def test_stacked_episodes_stay_in_this_process(cheap: None) -> None:
    backend = InThisProcess()
    points = dataclasses.replace(IMAGES, data=PlugSpec("ring"), model=PlugSpec("mlp"), metric=PlugSpec("none"))
    EpisodePlayer(backend).play([points] * 2, [catalog.build("controllers", "fixed")] * 2)
    EpisodePlayer(InThisProcess(slots=1, code=1)).play([IMAGES], [catalog.build("controllers", "fixed")])
    assert backend.started == 0


@pytest.mark.parametrize("code", [1, -9])
def test_a_failed_process_is_named(cheap: None, code: int) -> None:
    player = EpisodePlayer(InThisProcess(code=code))
    with pytest.raises(RunError, match="episode 0 failed: ValueError: broken; completed parts are saved"):
        player.play([IMAGES], [catalog.build("controllers", "fixed")])


def test_a_real_episode_survives_its_file() -> None:
    controller = catalog.build("controllers", "fixed")
    assert EpisodePlayer(InThisProcess()).play([IMAGES], [controller]) == play_episodes([IMAGES], [controller])
