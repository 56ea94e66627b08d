"""The suite file: the shipped one, and one clear line for each kind of bad input."""

from pathlib import Path

import pytest

from equipoise.comparison.suite.tasks import load_suite
from equipoise.errors import SettingError, UnknownNameError

SHIPPED = Path(__file__).parents[3] / "benchmarks" / "control" / "suite.toml"
REGIMES = """
[regimes.published]
[regimes.fast]
factors = { lr_d = 4.0 }
options = { width = 4 }
[defaults]
batch_size = 16
options = { width = 8, latent = 2 }
"""


def write_suite(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(REGIMES + text)
    return path


def test_the_shipped_suite_has_the_promised_tasks() -> None:
    suite = load_suite(SHIPPED)
    assert len(suite.tasks) >= 24
    assert len(suite.half("training")) + len(suite.half("test")) == len(suite.tasks)
    assert {task.training_images for task in suite.half("test")} == {64, 400, None}
    assert {task.regime for task in suite.half("test")} == {task.regime for task in suite.half("training")}
    assert {task.model.partition(":")[0] for task in suite.half("test")} == {"dcgan", "sngan", "wgan_gp", "mlp"}
    assert not {task.source for task in suite.half("training")} & {task.source for task in suite.half("test")}


def test_a_task_has_defaults_and_the_changes_of_its_regime(tmp_path: Path) -> None:
    path = write_suite(tmp_path, '[training]\na = { source = "emoji", steps = 9, regime = "fast" }\n')
    task = load_suite(path).task("a")
    assert (task.half, task.batch_size, task.factors) == ("training", 16, {"lr_d": 4.0})
    assert task.options == {"width": 4, "latent": 2}
    assert task.data_options(draw=3) == {"source": "emoji", "image_size": 16, "training_images": None, "draw": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[training]\na = { source = "emoji", steps = 9 }\n[test]\na = { source = "icons", steps = 9 }\n',
            r"task 'a' is in \[training\] and in \[test\]; a task belongs to one half",
        ),
        (
            '[training]\na = { source = "emoji", steps = 9 }\n[test]\nb = { source = "emoji", steps = 9 }\n',
            r"the source 'emoji' is in \[training\] and in \[test\]; tasks of one source belong to one half",
        ),
        ('[training]\na = { source = "emoji" }\n', "task 'a' has no steps"),
        ('[training]\na = { source = "emoji", steps = 9, pages = 3 }\n', "task 'a' has no setting 'pages'; it has"),
        (
            '[training]\na = { source = "emoji", steps = 9, regime = "slow" }\n',
            r"task 'a' has the regime 'slow', which is not in \[regimes\]",
        ),
        ("[validation]\n", "there is no section 'validation'; a suite has regimes, defaults, training, test"),
        ("[training\n", "is not valid TOML"),
    ],
)
def test_one_clear_line_for_bad_input(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        load_suite(write_suite(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"cannot read .*nothing\.toml: No such file"):
        load_suite(tmp_path / "nothing.toml")


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(UnknownNameError, match="digits_64_lon"):
        load_suite(SHIPPED).task("digits_64_lon")
