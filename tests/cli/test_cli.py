"""The command line, command by command: what it prints, what it writes, how it ends."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import equipoise
from equipoise.cli import main as cli
from equipoise.core.observations import Finding, Health
from equipoise.experiment.estimates import Estimate
from equipoise.experiment.settings import from_values
from equipoise.pilot import pilot
from equipoise.runs.run_folder import Run


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    """One command in this process: exit code, standard output, standard error."""

    def called(*words: object) -> tuple[int, str, str]:
        code = cli.run([str(word) for word in words])
        return code, *capsys.readouterr()

    return called


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run that trains no steps to see how long they take."""
    monkeypatch.setattr("equipoise.experiment.estimates.estimate", lambda experiment: Estimate(1.0, 2**30))


@pytest.fixture
def pictures() -> None:
    """Asked for by tests that want the report as it is."""


@pytest.fixture(autouse=True)
def without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody else can do without: figures take longer than the runs do."""
    if "pictures" not in request.fixturenames:

        def write(run: Run) -> Path:
            (run.folder / "report.html").write_text("a report")
            return run.folder / "report.html"

        monkeypatch.setattr("equipoise.report.progress_figure.write_progress_figure", lambda run: (run.experiment(), run.lines()))
        monkeypatch.setattr("equipoise.report.film.write_film", lambda run: None)
        monkeypatch.setattr("equipoise.report.page.write_page", write)


def without(words: list[str], *flags: str) -> list[str]:
    """The words but for these flags and their values."""
    kept, skipping = [], False
    for word in words:
        skipping = word in flags or (skipping and not word.startswith("--"))
        kept += [] if skipping else [word]
    return kept


@pytest.fixture(scope="module")
def shown(tiny: list[str], tmp_path_factory: pytest.TempPathFactory):
    """A run trained by the command itself, and what it printed."""
    folder = tmp_path_factory.mktemp("shown") / "run"
    words = [sys.executable, "-m", "equipoise", "train", *tiny, "--seed", "5", "--out", str(folder)]
    return folder, subprocess.run(words, capture_output=True, text=True, timeout=120)


def test_help_is_for_those_who_type_nothing_else(call) -> None:
    code, out, err = call("--help")
    assert (code, err) == (0, "")
    assert all(command in out for command in cli.COMMANDS)
    assert "equipoise train digits" in out
    assert call()[:2] == (2, out)
    assert call("-h")[:2] == (0, out)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.run([command, "--help"])
    out = capsys.readouterr().out
    assert left.value.code == 0
    assert f"equipoise {command}" in out
    assert "--json" in out


def test_the_flags_that_are_relied_on_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.run(["train", "--help"])
    out = capsys.readouterr().out
    flags = (
        "gan steps batch-size image-size seed out controller set loss constraint experiment precision device threads"
    )
    assert all(f"--{flag}" in out for flag in [*flags.split(), "from", "dry-run"])


def test_version(call) -> None:
    code, out, _ = call("--version")
    assert code == 0
    assert out.strip()[0].isdigit()


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys; from equipoise import cli; cli.run(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_a_run_says_what_it_does_and_ends_with_its_report(shown) -> None:
    folder, ended = shown
    assert ended.returncode == 0, ended.stderr
    film = folder / "film" / "training_progress.mp4"
    assert ended.stdout.splitlines() == [f"film: {film}", f"report: {folder / 'report.html'}"]
    assert "12 steps, batches of 8, fp32" in ended.stderr
    assert "kd_digits" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_run_leaves_everything_in_its_folder(shown) -> None:
    folder, _ = shown
    files = {path.name for path in folder.iterdir()}
    expected = {"experiment.json", "events.jsonl", "checkpoints", "samples", "figures", "film", "report.html"}
    assert expected | {"generator.safetensors", "discriminator.safetensors"} <= files
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        f"step-000000{step}" for step in ("05", "10", "12")
    ]
    assert [line["step"] for line in Run(folder).named("sampled")] == [0, 6, 12]
    assert Run(folder).lines()[-1]["reason"] == "steps"


def test_the_folder_alone_is_enough_to_run_it_again(shown, call, tmp_path: Path) -> None:
    """The same settings as a file, the same bytes of weights: in another process, too."""
    folder, _ = shown
    settings = json.loads((folder / "experiment.json").read_text())
    *_, last = equipoise.start(from_values(settings, "settings"), tmp_path / "again")
    assert last.reason == "steps"
    for name in ("generator", "discriminator"):
        file = f"{name}.safetensors"
        assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes()


def test_train_answers_in_json(call, tiny: list[str], tmp_path: Path) -> None:
    code, out, err = call("train", *tiny, "--out", "run", "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["run"] == "run"
    assert (answer["step"], answer["images"], answer["reason"], answer["verdict"]) == (12, 96, "steps", "healthy")
    assert Path(answer["report"]).exists()


def test_without_out_runs_are_numbered(call, tiny: list[str], tmp_path: Path) -> None:
    names = [json.loads(call("train", *tiny, "--steps", "2", "--json")[1])["run"] for _ in range(2)]
    assert names == ["runs/digits-dcgan-1", "runs/digits-dcgan-2"]


def test_a_dry_run_writes_nothing(call, tiny: list[str], elsewhere: Path) -> None:
    code, out, _ = call("train", *tiny, "--dry-run")
    assert code == 0
    assert "would go to runs/digits-dcgan-1, take about" in out
    assert '"width": 4' in out
    assert list(elsewhere.iterdir()) == []


def test_a_dry_run_answers_in_json(call, tiny: list[str], elsewhere: Path) -> None:
    code, out, _ = call("train", *tiny, "--dry-run", "--json", "--out", "there")
    answer = json.loads(out)
    assert code == 0
    assert answer["out"] == "there"
    assert answer["seconds"] > 0
    assert answer["memory"] > 0
    assert answer["experiment"]["model"]["options"]["width"] == 4
    assert list(elsewhere.iterdir()) == []


def dry(call, *words: str) -> dict:
    """The experiment that these words ask for."""
    code, out, err = call("train", *words, "--dry-run", "--json")
    assert code == 0, err
    return json.loads(out)["experiment"]


def test_set_takes_numbers_again_and_again(call, unmeasured, tiny: list[str]) -> None:
    result = dry(call, *tiny, "--set", "lr_g=1e-3", "augment_p=0.2", "--set", "lr_d=0.002")
    assert result["knobs"] == {"lr_g": 1e-3, "augment_p": 0.2, "lr_d": 0.002}


def test_set_takes_schedules(call, tiny: list[str], tmp_path: Path) -> None:
    words = ("--controller", "annealed", "--set", "augment_p=linear(0.1, 0.5)", "lr_g=1e-3")
    result = dry(call, *tiny, *words)
    assert result["controller"]["options"]["schedules"] == {"augment_p": "linear(0.1, 0.5)"}
    assert result["knobs"] == {"lr_g": 1e-3}
    assert call("train", *tiny, *words, "--out", "run")[0] == 0
    turned = [line for line in Run(tmp_path / "run").named("turned") if line["knob"] == "augment_p"]
    assert turned[0]["from"] == 0.0
    assert turned[0]["to"] == 0.1
    assert turned[-1]["to"] == pytest.approx(0.5)
    assert turned[-1]["by"] == "annealed"


def test_a_knob_that_is_set_stands_there_from_the_start(call, tiny: list[str], tmp_path: Path) -> None:
    call("train", *tiny, "--steps", "1", "--controller", "fixed", "--set", "lr_g=1e-3", "--out", "run")
    assert Run(tmp_path / "run").named("started")[0]["knobs"]["lr_g"] == 1e-3


@pytest.mark.parametrize(
    ("words", "where", "value"),
    [
        (["--loss", "hinge"], ("model", "options", "loss"), "hinge"),
        (["--constraint", "spectral_norm"], ("model", "options", "constraint"), "spectral_norm"),
        (["--model", "wgan_gp"], ("model", "name"), "wgan_gp"),
        (["--model", "dcgan:lab32"], ("model", "options", "discriminator_norm"), "batch"),
        (["--controller", "fixed"], ("controller", "name"), "fixed"),
        (["--seed", "9"], ("seed",), 9),
        (["--images", "64"], ("images",), 64),
        (["--seconds", "1.5"], ("seconds",), 1.5),
        (["--stop-at-equilibrium"], ("stop_at_equilibrium",), True),
        (["--device", "cpu"], ("device",), "cpu"),
        (["--threads", "1"], ("threads",), 1),
        (["--precision", "bf16"], ("precision",), "bf16"),
        (["--option", "fakes=fresh"], ("model", "options", "fakes"), "fresh"),
    ],
)
def test_flags_reach_the_experiment(
    call, unmeasured, tiny: list[str], words: list[str], where: tuple, value: object
) -> None:
    result = dry(call, *tiny, *words)
    for key in where:
        result = result[key]
    assert result == value


def test_options_are_those_of_the_gan_that_suits_the_data(call, unmeasured, tiny: list[str]) -> None:
    assert dry(call, *without(tiny, "--model"))["model"]["options"]["width"] == 4


def test_an_experiment_file_and_flags_over_it(call, unmeasured, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(
        'data = "digits"\nimage_size = 16\nsteps = 99\n[model]\nname = "sngan"\nwidth = 4\n'
    )
    result = dry(call, "--experiment", "lab.toml", "--steps", "4", "--threads", "1", "--batch-size", "8")
    assert (result["model"]["name"], result["steps"], result["data"]["name"]) == ("sngan", 4, "digits")


@pytest.mark.parametrize(
    ("rule", "reason", "steps"), [(["--images", "40"], "images", 5), (["--seconds", "0.001"], "seconds", 1)]
)
def test_other_rules_stop_a_run(call, tiny: list[str], rule: list[str], reason: str, steps: int) -> None:
    code, out, _ = call("train", *tiny, *rule, "--out", "run", "--json")
    answer = json.loads(out)
    assert code == 0
    assert (answer["reason"], answer["step"]) == (reason, steps)


def test_from_starts_with_the_weights_of_another_run(call, tiny: list[str], trained: Path, tmp_path: Path) -> None:
    """The average after one step with no rate to speak of is still the other's."""
    still = ("--controller", "fixed", "--set", "lr_g=1e-6", "lr_d=1e-6", "--steps", "1")
    code, _, err = call("train", *tiny, *still, "--from", trained, "--out", "next")
    assert code == 0, err
    mine, theirs = (equipoise.load(folder).networks["generator"] for folder in ("next", trained))
    weight = dict(theirs.named_parameters())
    for name, value in mine.named_parameters():
        torch.testing.assert_close(value, weight[name], atol=1e-2, rtol=0)
    assert json.loads((tmp_path / "next" / "experiment.json").read_text())["start_from"] == str(
        trained.resolve() / "checkpoints" / "step-00000012"
    )


def test_resume_finishes_what_was_cut_off(call, cut_off: Path, trained: Path) -> None:
    code, out, err = call("resume", cut_off)
    assert code == 0
    assert out.strip().endswith("report.html")
    assert "going on from step 10" in err
    assert (cut_off / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def test_resume_makes_a_run_longer(call, run_folder: Path) -> None:
    code, out, _ = call("resume", run_folder, "--steps", "15", "--json")
    answer = json.loads(out)
    assert (code, answer["step"], answer["reason"]) == (0, 15, "steps")
    assert json.loads((run_folder / "experiment.json").read_text())["steps"] == 15


def test_resuming_a_finished_run_changes_no_weight(call, run_folder: Path, trained: Path) -> None:
    assert call("resume", run_folder)[0] == 0
    assert (run_folder / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def test_samples_go_into_a_grid(call, trained: Path) -> None:
    code, out, _ = call("sample", trained, "--count", "6", "--out", "deep/grid.png")
    assert (code, out) == (0, "6 samples in deep/grid.png\n")
    with Image.open("deep/grid.png") as grid:
        assert grid.size == (3 * 18 - 2, 2 * 18 - 2)


def test_samples_go_into_numbers(call, trained: Path) -> None:
    code, out, _ = call("sample", trained, "--count", "5", "--out", "all.npy", "--json")
    assert code == 0
    assert json.loads(out) == {"count": 5, "path": "all.npy"}
    numbers = np.load("all.npy", allow_pickle=False)
    assert (numbers.shape, numbers.dtype) == ((5, 1, 16, 16), np.float32)
    assert np.abs(numbers).max() <= 1


def test_samples_go_into_single_images(call, trained: Path, tmp_path: Path) -> None:
    assert call("sample", trained, "--count", "3", "--out", "folder")[0] == 0
    files = sorted((tmp_path / "folder").iterdir())
    assert [file.name for file in files] == ["000000.png", "000001.png", "000002.png"]
    with Image.open(files[0]) as image:
        assert image.size == (16, 16)


def drawn(call, run: Path, *words: str) -> np.ndarray:
    assert call("sample", run, "--count", "10", "--out", "drawn.npy", *words)[0] == 0
    return np.load("drawn.npy", allow_pickle=False)


def test_the_same_seed_draws_the_same_samples(call, trained: Path) -> None:
    assert np.array_equal(drawn(call, trained, "--seed", "3"), drawn(call, trained, "--seed", "3"))
    assert not np.array_equal(drawn(call, trained, "--seed", "3"), drawn(call, trained, "--seed", "4"))


def test_a_label_is_that_of_all_samples(call, trained: Path) -> None:
    """Sample number i has label i unless one is asked for."""
    each, sevens = drawn(call, trained), drawn(call, trained, "--label", "7")
    assert [np.allclose(a, b, atol=1e-6) for a, b in zip(each, sevens, strict=True)] == [i == 7 for i in range(10)]


def test_truncation_draws_samples_together(call, trained: Path) -> None:
    free, close = (drawn(call, trained, "--label", "1", *words) for words in ((), ("--truncation", "0.1")))
    assert close.std(axis=0).mean() < 0.5 * free.std(axis=0).mean()


def test_a_report_can_be_made_again(call, pictures, run_folder: Path) -> None:
    code, out, _ = call("report", run_folder, "--json")
    assert code == 0
    page = Path(json.loads(out)["report"])
    assert page == run_folder / "report.html"
    assert "dcgan" in page.read_text()
    assert (run_folder / "figures" / "training_progress.png").is_file()


def test_the_list_of_everything(call) -> None:
    code, out, _ = call("list")
    assert code == 0
    assert all(word in out for word in ("gans:", "data:", "controllers:", "metrics:", "dcgan:lab32", "kd_digits"))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models", {"dcgan", "dirac", "mlp", "wgan", "wgan_gp", "sngan"}),
        ("data", {"digits", "ring", "grid"}),
        ("controllers", {"fixed", "annealed"}),
        ("metrics", {"kd_digits", "mixture_modes"}),
    ],
)
def test_one_kind_of_the_list(call, kind: str, names: set[str]) -> None:
    code, out, _ = call("list", kind, "--json")
    result = json.loads(out)
    assert code == 0
    assert result.keys() == {kind}
    assert names <= result[kind].keys()
    assert all(about["summary"] for about in result[kind].values())
    assert all(name in call("list", kind)[1] for name in names)


def test_presets_are_listed_as_they_are_typed(call) -> None:
    assert {"lab32", "celeba64"} <= set(json.loads(call("list", "models", "--json")[1])["models"]["dcgan"]["presets"])


def test_runs_stand_as_they_are(call, trained: Path, cut_off: Path, tmp_path: Path) -> None:
    result = json.loads(call("runs", trained.parent, "--json")[1])
    assert result == [
        {
            "name": "run",
            "model": "dcgan",
            "data": "digits",
            "step": 12,
            "steps": 12,
            "state": "finished (steps, healthy)",
        }
    ]
    code, out, _ = call("runs", cut_off.parent)
    assert code == 0
    assert "unfinished" in out
    assert "10 of 12" in " ".join(out.split())


def test_no_runs_are_none(call, tmp_path: Path) -> None:
    assert call("runs", "nowhere") == (0, "there are no runs in nowhere\n", "")
    assert json.loads(call("runs", "nowhere", "--json")[1]) == []


def test_runs_in_a_folder_that_holds_a_damaged_one(call, run_folder: Path) -> None:
    (run_folder / "experiment.json").write_text("{")
    code, out, _ = call("runs", run_folder.parent)
    assert code == 0
    assert "damaged" in out


def test_points_go_into_a_table(call, tmp_path: Path) -> None:
    words = ("--steps", "3", "--batch-size", "8", "--option", "width=4", "--model", "mlp", "--out", "points", "--json")
    assert call("train", "ring", *words)[0] == 0
    assert call("sample", "points", "--count", "4", "--out", "points.csv")[0] == 0
    with open("points.csv", newline="") as file:
        rows = [[float(value) for value in row] for row in csv.reader(file)]
    assert [len(row) for row in rows] == [2] * 4
    assert call("sample", "points", "--count", "4", "--out", "folder")[0] == 0
    assert (tmp_path / "folder" / "points.csv").read_text() == Path("points.csv").read_text()


def test_in_python_a_run_is_loaded_and_sampled(trained: Path) -> None:
    generator = equipoise.load(trained)
    made = generator.sample(8)
    assert made.shape == (8, 1, 16, 16)
    assert generator.step == 12
    assert torch.equal(made, equipoise.load(str(trained)).sample(8, seed=0))


def test_what_cannot_be_written_to_is_no_traceback(trained: Path) -> None:
    """As in `equipoise --help | head -1`: a reader that goes away."""
    listing = subprocess.Popen(
        [sys.executable, "-m", "equipoise", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert listing.stdout is not None
    assert listing.stderr is not None
    listing.stdout.close()
    assert b"Traceback" not in listing.stderr.read()
    listing.stderr.close()
    assert listing.wait(60) == 0


@pytest.mark.skipif(not Path(sys.executable).with_name("equipoise").exists(), reason="not installed as a command")
def test_the_installed_command_is_the_module() -> None:
    command = str(Path(sys.executable).with_name("equipoise"))
    environment = {**os.environ, "COLUMNS": "100"}
    outs = [
        subprocess.run([*words, "--help"], capture_output=True, timeout=60, env=environment).stdout
        for words in ([command], [sys.executable, "-m", "equipoise"])
    ]
    assert outs[0] == outs[1] != b""


def test_a_run_that_ends_ailing_says_so_last_and_in_its_exit_code(
    call, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = Finding("mode_collapse", 0.9, {"diversity": 0.1}, since=3)
    monkeypatch.setattr(pilot, "diagnose", lambda history, *_: (Health((result,)), history))
    code, out, _ = call("train", *tiny, "--no-repair", "--out", "sick")
    assert code == 3
    assert out.splitlines()[-1] == "the run ended unhealthy: mode collapse; see equipoise diagnose sick"


def test_what_is_done_about_a_finding_is_told(call, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    result = Finding("mode_collapse", 0.9, {"diversity": 0.1}, since=3)
    healths = iter([Health()] * 4 + [Health((result,))])
    monkeypatch.setattr(pilot, "diagnose", lambda history, *_: (next(healths, Health()), history))
    code, _, err = call("train", *tiny, "--set", "lr_d=1e-2", "--out", "mended")
    assert code == 0
    (line,) = (line for line in err.splitlines() if line.startswith("step 5: mode collapse: "))
    assert "lr_d 0.01 → 0.002" in line
    assert line.endswith(" until step 12")
