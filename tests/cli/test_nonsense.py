"""Numbers that cannot be, wherever they stand: one line that names them, exit code 2, and nothing is scored by them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from equipoise.cli import main as cli
from equipoise.core import catalog
from equipoise.errors import SettingError
from equipoise.evaluation.evaluate import evaluate
from equipoise.evaluation.subject import Asked
from equipoise.experiment.settings import Experiment, PlugSpec

TINY = ("ring", "--model", "mlp", "--option", "width=4", "--steps", "2", "--batch-size", "8", "--metric", "none")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """Run a command that must fail, and give back its one line."""

    def asked(*words: object) -> str:
        code = cli.run([str(word) for word in words])
        out, err = capsys.readouterr()
        assert (code, out, err.count("\n")) == (2, "", 1), err
        return err.removeprefix("equipoise: ").rstrip("\n")

    return asked


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--threads 9999999999", "threads = 9999999999: it must be at most 1024"),
        ("--seed 99999999999999999999999", "seed = 99999999999999999999999: it must be below 2^63"),
        ("--controller random --option controller.warm_up=nan", "warm_up = nan: it must be from 0 to 1"),
        ("--controller random --option controller.pace=1e-9", "pace = 1e-09: it must be from 0.0001 to 1"),
    ],
)
def test_a_training_by_it(refused, elsewhere: Path, words: str, told: str) -> None:
    assert told in refused("train", *TINY, *words.split(" "))
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("what", ["seed", "count"])
def test_samples_by_it(refused, trained: Path, what: str) -> None:
    line = refused("sample", trained, "--out", "x.png", f"--{what}", "99999999999999999999999")
    assert line.startswith(f"{what} = 99999999999999999999999: it must be")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data = {name = 3}", "data = {'name': 3}: its name must be a word"),
        ('data = {name = "ring", options = 3}', "data = {'name': 'ring', 'options': 3}: its options must be a table"),
    ],
)
def test_a_file_with_it(refused, elsewhere: Path, text: str, told: str) -> None:
    (elsewhere / "lab.toml").write_text(text)
    assert told in refused("train", "--experiment", "lab.toml")
    with pytest.raises(SettingError, match=r"data = .*: its name must be a word"):
        Experiment(data={"name": 3})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        *(
            (f"{name}.neighbours", value)
            for name in ("precision", "recall", "density", "coverage")
            for value in (0, -1)
        ),
        *(("c_t.cells", -1), ("c_t.cells", 0), ("c_t.least", 0), ("c_t.seed", -1), ("kid.subsets", 0)),
        *(("kid.subset_size", 1), ("inception_score.splits", -1), ("inception_score.splits", 0), ("lpips.pairs", 0)),
        *(("perceptual_efficientnet_lite0.pairs", 0), ("ppl.epsilon", math.nan), ("ppl.epsilon", 0)),
        *(("ppl.trim", 0.5), ("ppl.trim", -0.1)),
    ],
)
def test_a_metric_by_it(option: str, wrong: float) -> None:
    name, _, field = option.partition(".")
    with pytest.raises(SettingError, match=f"{field} = {wrong:g}: it must be"):
        catalog.build("metrics", name, {field: wrong})


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        *(("rank.proportional", math.nan), ("rank.warm_up", -0.1), ("rank.reach", math.inf), ("rank.span", 0)),
        *(("ada.deadband", math.nan), ("ada.target", math.nan), ("ada.step", 0), ("gap_aware.fastest", math.inf)),
        *(("gap_aware.absolute", math.nan), ("random.warm_up", math.nan), ("random.pace", 0), ("ppo.rollout", 0)),
        *(("ppo.leash", math.nan), ("ppo.seed", -1)),
    ],
)
def test_a_controller_by_it(option: str, wrong: float) -> None:
    name, _, field = option.partition(".")
    with pytest.raises(SettingError, match=f"{field} = {wrong:g}: it must be"):
        catalog.build("controllers", name, {field: wrong})


def test_samples_that_are_no_numbers_are_not_judged(refused, elsewhere: Path) -> None:
    samples = np.zeros((40, 2), np.float32)
    samples[3:6] = np.nan
    np.save("spoilt.npy", samples)
    line = refused("evaluate", "spoilt.npy", "--against", "ring", "--metrics", "precision:samples,modes")
    assert line.startswith("3 of 40 samples are not finite numbers, which no metric can judge; mend the file")
    asked = Asked(samples=Path("spoilt.npy"), against="ring", metrics=("precision:samples", "modes"))
    for row in evaluate(asked).rows:
        assert math.isnan(row.value)
        assert row.warnings == ("3 of 40 samples are not finite: nothing was measured",)


def stats(*kimgs: object) -> str:
    rows = [{"Progress/kimg": {"mean": kimg}, "Loss/G/loss": {"mean": 0.5}} for kimg in kimgs]
    return "".join(json.dumps(row) + "\n" for row in rows)


STUDIO = "[INFO] > Step:     {step} Progress: {share}% x Discriminator_loss: 2.7 Generator_loss: -5.1 \n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (stats(None, "many", math.nan, math.inf, 1e300, 10**400), "none of its lines has a number for Progress/kimg"),
        (STUDIO.format(step=10**30, share="1.0"), "it counts more steps than there can be; mend that line"),
        (f"FID score (Step: {10**30}, x): 1.5\n", "it counts more steps than there can be; mend that line"),
        (f"step,loss_d\n{10**30},0.5\n", "it counts more steps than there can be; mend that line"),
    ],
)
def test_a_log_of_it(refused, elsewhere: Path, text: str, told: str) -> None:
    (elsewhere / "log").write_text(text)
    line = refused("diagnose", "log")
    assert line.startswith("log")
    assert told in line


@pytest.mark.parametrize(
    "text",
    [
        stats(0, None, "many", math.nan, 4.0),
        STUDIO.format(step=100, share="1..0") + STUDIO.format(step=200, share="20.0"),
        STUDIO.format(step=100, share="1..0"),
        "FID score (Step: 200, x): 5.6.4\n",
        f"[{'9' * 200}/{'9' * 200}][1/2]\tLoss_D: 0.5\tLoss_G: 2.5\n".replace(f"[{'9' * 200}/", "[1/"),
    ],
)
def test_a_log_that_says_more_than_that(elsewhere: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "log").write_text(text)
    assert cli.run(["diagnose", "log"]) == 0, capsys.readouterr().err


def test_what_the_plugs_need_is_within_bounds() -> None:
    """The defaults, and a choice beside them."""
    for kind in ("metrics", "controllers"):
        for name in catalog.names(kind):  # type: ignore[arg-type]
            catalog.build(kind, name)  # type: ignore[arg-type]
    assert catalog.build("metrics", "precision", {"neighbours": "1"}).neighbours == 1
    assert Experiment(data={"name": "ring", "modes": 5}).data == PlugSpec("ring", {"modes": 5})  # type: ignore[arg-type]
