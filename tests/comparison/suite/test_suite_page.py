"""The page of the suite, written from made-up results: it says what they say, whichever way they turn out."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from equipoise.comparison.suite import power, statistics
from equipoise.comparison.suite.checks import ArmInfo
from equipoise.comparison.suite.records import SuiteLine
from equipoise.comparison.suite.tasks import Suite, load_suite
from equipoise.errors import SettingError

FOLDER = Path(__file__).parents[3] / "benchmarks"
Lines = Callable[..., list[SuiteLine]]
SEEDS = (1, 2, 3, 4, 5)
KINDS = {"constant": "constant", "annealed": "schedule", "ada": "feedback", "learned": "learned", "halving": "search"}
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "constant": {"controller": "fixed", "knobs": {"augment_p": 0.2}},
    "annealed": {"controller": "annealed", "factors": {"lr_g": 1.5}},
    "ada": {"controller": "ada", "options": {"target": 0.1}},
    "learned": {"controller": "learnable"},
    "halving": {"method": "halving", "count": 4},
}
SUITE = """
[regimes.published]
[regimes.fast]
factors = { lr_d = 4.0 }
[training]
bursts_64 = { source = "bursts", training_images = 64, steps = 200 }
bursts_400 = { source = "bursts", training_images = 400, steps = 200 }
[test]
icons_fast = { source = "icons", steps = 800, regime = "fast" }
"""


@pytest.fixture(scope="module")
def suite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of nine test tasks, one of them with mis-set knobs, and two training tasks."""
    tests = [
        f'icons_{steps} = {{ source = "icons", training_images = 64, steps = {steps} }}'
        for steps in range(200, 1000, 100)
    ]
    path = tmp_path_factory.mktemp("suite") / "suite.toml"
    path.write_text(SUITE + "\n".join(tests) + "\n")
    return path


@pytest.fixture(scope="module")
def page(suite_file: Path) -> Iterator[ModuleType]:
    """The script that writes the page, with the small suite."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.syspath_prepend(str(FOLDER / "control"))
        import _suite_defaults
        import _suite_page
        import _suite_study

        patch.setattr(_suite_study, "SUITE_FILE", suite_file)
        patch.setattr(_suite_defaults, "SUITE_FILE", suite_file)
        yield _suite_page
    for name in set(sys.modules) - before:
        if name.startswith(("_suite", "_results")):
            del sys.modules[name]


@pytest.fixture(scope="module")
def suite(suite_file: Path) -> Suite:
    """The small suite."""
    return load_suite(suite_file)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 100)
    monkeypatch.setattr(power, "SIMULATIONS", 10)


@pytest.fixture
def noise_file(suite: Suite, tmp_path: Path) -> Path:
    """Noise of all sources of the suite."""
    path = tmp_path / "noise.json"
    path.write_text(json.dumps({f"{task.source}_{task.image_size}": 0.004 for task in suite.tasks}))
    return path


def arms_of(names: Mapping[str, float], trials: int = 64) -> dict[str, ArmInfo]:
    return {name: ArmInfo(SETTINGS[name], KINDS[name], trials, effect) for name, effect in names.items()}


def store_of(*parts: list[SuiteLine]) -> SimpleNamespace:
    lines = [line for part in parts for line in part]
    return SimpleNamespace(results={str(number): {**line, "date": "2026-11-29"} for number, line in enumerate(lines)})


def gate_lines(make: Lines, tasks: list[str], seeds: tuple[int, ...]) -> list[SuiteLine]:
    """Lines of the 24 constants: number 5 is best everywhere."""
    from _suite_arms import constants

    settings = {f"c{number}": values for number, values in enumerate(constants())}
    effects = {name: 0.3 - 0.8 * (name == "c5") for name in settings}
    return make(tasks, effects, seeds, settings=settings)


def names_of_test_tasks(suite: Suite) -> list[str]:
    return [task.name for task in suite.half("test")]


def write(
    page: ModuleType, suite: Suite, make: Lines, effects: Mapping[str, float], folder: Path, noise_file: Path
) -> str:
    """Write the page of arms with these effects and return it."""
    tasks = names_of_test_tasks(suite)
    training = [task.name for task in suite.half("training")]
    store = store_of(
        make(tasks, effects, SEEDS, settings=SETTINGS),
        gate_lines(make, tasks, (0, *SEEDS)),
        make(training, effects, (100, 101), settings=SETTINGS),
    )
    path: Path = page.write_page(store, arms_of(effects), folder=folder, noise_file=noise_file)
    return path.read_text()


EFFECTS = {"constant": 0.0, "annealed": 0.0, "ada": -0.3, "learned": 0.0, "halving": 0.3}


def test_the_page_has_all_tables_and_pictures(
    page: ModuleType, suite: Suite, made_up_lines: Lines, tmp_path: Path, noise_file: Path
) -> None:
    text = write(page, suite, made_up_lines, EFFECTS, tmp_path, noise_file)
    answer = text.split("\n\n")[1]
    assert answer.startswith("**Quality**: relative to one constant that was tuned on other data it is 0.99")
    assert "The feedback rule `ada` beats the tuned schedule `annealed` (0.7" in text
    assert "the learned policy `learned` does not differ from the tuned schedule" in text
    assert "0 of 45 (`ada`)" in answer
    assert [part.split(":")[0] for part in answer.split("**")[1::2]] == ["Quality", "Efficiency", "Stability"]
    assert "Of 4 arms, `ada` wins against the constant, `halving` loses, and 2 show no difference" in text
    assert "**passed**" in text
    assert "the training tasks select `ada`" in text
    assert all(f"| {name} |" in text for name in (*EFFECTS, "oracle"))
    assert all(task.name.replace("_", " ") in text for task in suite.half("test"))
    assert "Incomplete" not in text
    for name in ("suite_ratios.png", "suite_curves.png"):
        assert f"({name})" in text
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_page_says_so_where_adaptive_control_loses_or_is_no_better(
    page: ModuleType, suite: Suite, made_up_lines: Lines, tmp_path: Path, noise_file: Path
) -> None:
    effects = {"constant": 0.0, "annealed": -0.2, "ada": 0.2}
    text = write(page, suite, made_up_lines, effects, tmp_path, noise_file)
    assert "The feedback rule `ada` loses to the tuned schedule" in text
    assert "`annealed` wins against the constant, `ada` loses, and 0 show no difference" in text


def test_missing_runs_are_named(page: ModuleType, suite: Suite, made_up_lines: Lines, noise_file: Path) -> None:
    effects = {"constant": 0.0, "annealed": 0.0}
    lines = made_up_lines(names_of_test_tasks(suite), effects, SEEDS, settings=SETTINGS)
    path = page.write_page(store_of(lines[:-3]), arms_of(effects), folder=noise_file.parent, noise_file=noise_file)
    text = path.read_text()
    assert "**Incomplete: constant lacks 1, annealed lacks 2 runs.**" in text
    assert "power is unknown" in text
    assert "**not passed**" in text, "no constant of the gate ran"


def test_an_unfair_arm_is_refused_before_anything_is_written(
    page: ModuleType, suite: Suite, made_up_lines: Lines, noise_file: Path
) -> None:
    arms = {**arms_of({"constant": 0.0, "annealed": 0.0}), "ada": ArmInfo(SETTINGS["ada"], "feedback", 96)}
    with pytest.raises(SettingError, match="arm 'ada' was tuned with 96 trials, others with 64"):
        page.write_page(store_of([]), arms, folder=noise_file.parent, noise_file=noise_file)
    assert not (noise_file.parent / "suite.md").exists()


def test_the_oracles_that_need_fresh_seeds_are_listed(
    page: ModuleType, suite: Suite, made_up_lines: Lines, noise_file: Path
) -> None:
    from _suite_arms import constants

    tasks = names_of_test_tasks(suite)
    store = store_of(gate_lines(made_up_lines, tasks, (0,)))
    result = page.oracle_settings(store, arms_of({"constant": 0.0}), noise_file)
    expected = [json.dumps(constants()[number], sort_keys=True) for number in (5, 0)]
    assert result == dict.fromkeys(tasks, expected)


def test_the_gate_needs_the_constant_only(
    page: ModuleType, suite: Suite, made_up_lines: Lines, noise_file: Path
) -> None:
    tasks, effects = names_of_test_tasks(suite), {"constant": 0.0}
    store = store_of(
        made_up_lines(tasks, effects, SEEDS, settings=SETTINGS), gate_lines(made_up_lines, tasks, (0, *SEEDS))
    )
    report = page.gate_report(store, arms_of(effects), noise_file)
    assert "**passed**" in report
    assert "| icons_fast | 5: " in report


def test_power_needs_training_tasks_only(
    page: ModuleType, suite: Suite, made_up_lines: Lines, noise_file: Path
) -> None:
    effects = {"constant": 0.0, "annealed": 0.1}
    training = [task.name for task in suite.half("training")]
    store = store_of(made_up_lines(training, effects, (100, 101, 102), settings=SETTINGS))
    report = page.power_report(store, arms_of(effects), noise_file)
    assert "| seeds needed with 9 tasks | " in report
    assert "simulated power of the sign-flip test for a ratio of 0.9" in report


def test_the_answer_replaces_the_one_before_on_the_explanation_page(
    page: ModuleType, suite: Suite, made_up_lines: Lines, noise_file: Path
) -> None:
    effects = {"constant": 0.0, "annealed": 0.1}
    lines = made_up_lines(names_of_test_tasks(suite), effects, SEEDS, settings=SETTINGS)
    opened = page.open_page(store_of(lines), arms_of(effects), noise_file=noise_file)
    path = noise_file.with_name("control.md")
    path.write_text("# Control\n\n<!-- answer -->\nOld.\n<!-- end of the answer -->\n\nMore.\n")
    for _ in range(2):
        page.write_answer(page.answer(opened), path)
        text = path.read_text()
        assert text.startswith(
            "# Control\n\n<!-- answer -->\n**Quality**: relative to one constant that was tuned on other data"
        )
        assert text.endswith("times its best distance.\n<!-- end of the answer -->\n\nMore.\n")
    assert page.EXPLANATION.read_text().count("<!-- answer -->") == 1


def test_controllers_on_published_settings_are_compared_with_no_control(
    page: ModuleType, suite: Suite, made_up_lines: Lines, noise_file: Path
) -> None:
    """The default of `train`: the policy is better, the schedule worse; seeds without all runs are left out."""
    import _suite_defaults

    comparison = _suite_defaults.on_published_settings()
    settings = {name: dict(values) for name, values in comparison.settings.items()}
    effects = dict.fromkeys(settings, 0.0) | {"learnable:suite": -0.5, "annealed": 0.3}
    tasks = names_of_test_tasks(suite)
    store = store_of(made_up_lines(tasks, effects, SEEDS, settings=settings))
    assert comparison.missing(store) == []
    table = "\n".join(_suite_defaults.default_sections(store, noise_file))
    rows = [line.split(" | ")[0].strip("| ") for line in table.splitlines() if line.startswith("| ")]
    assert (rows[2], rows[-1]) == ("learnable:suite", "annealed")
    assert f"{len(tasks)} tasks, {len(SEEDS)} seeds" in table
    sentence = _suite_defaults.untuned_quality(store, noise_file)
    assert "has 0.46 [0.45, 0.48] times" in sentence  # exp(-0.8) and the noise of the task
    del store.results["0"]
    assert len(comparison.missing(store)) == 1
    assert f"{len(SEEDS) - 1} seeds" in "\n".join(_suite_defaults.default_sections(store, noise_file))
