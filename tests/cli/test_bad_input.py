"""Whatever is wrong: one line that names it and the way out, exit code 2, and nothing half-written."""

import contextlib
import errno
import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load, save

from equipoise.cli import main as cli
from equipoise.policy import files
from equipoise.policy.files import located
from equipoise.training import checkpoint

NOBODY = 65534


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets to the end of a run here has something else to show."""
    monkeypatch.setattr("equipoise.report.progress_figure.write_progress_figure", lambda run: (run.experiment(), run.lines()))
    monkeypatch.setattr("equipoise.report.film.write_film", lambda run: None)
    monkeypatch.setattr("equipoise.report.page.write_page", lambda run: run.folder / "report.html")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """Run a command that must fail, and give back its one line."""

    def asked(*words: object) -> str:
        code = cli.run([str(word) for word in words])
        out, err = capsys.readouterr()
        assert (code, out) == (2, ""), err
        assert err.startswith("equipoise: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        return err.removeprefix("equipoise: ").rstrip("\n")

    return asked


@pytest.fixture
def not_trained(refused, tiny: list[str], elsewhere: Path):
    """A training that is refused: its line, and no file anywhere."""

    def asked(*words: object) -> str:
        line = refused("train", *tiny, *words)
        assert list(elsewhere.iterdir()) == []
        return line

    return asked


@pytest.fixture
def unchanged(refused, snapshot):
    """A command on a folder that is refused: its line, and not a byte of the folder has changed."""

    def asked(folder: Path, *words: object) -> str:
        before = snapshot(folder)
        line = refused(*words)
        assert snapshot(folder) == before
        return line

    return asked


WRONG_NAMES = [
    ("--model dcgam", "GAN 'dcgam'", "'dcgan'"),
    ("--model dcgan:lab23", "'lab23'", "'lab32'"),
    ("--controller annealde", "controller 'annealde'", "'annealed'"),
    ("--metric kd_digit", "metric 'kd_digit'", "'kd_digits'"),
    ("--loss hing", "'hing'", "'hinge'"),
    ("--constraint spectral_nrom", "'spectral_nrom'", "'spectral_norm'"),
    ("--option widht=4", "'widht'", "'width'"),
    ("--option fakes=shred", "'shred'", "'shared'"),
    ("--set lr_gen=0.1", "knob 'lr_gen'", "'lr_g'"),
    ("--set augment_q=linear(0,0.5)", "knob 'augment_q'", "'augment_p'"),
    ("--set augment_p=linaer(0,0.5)", "schedule 'linaer'", "'linear'"),
    ("--stpes 5", "'--stpes'", "'--steps'"),
    ("--batchsize=5", "'--batchsize=5'", "'--batch-size'"),
    ("--precision fp17", "precision 'fp17'", "bf16"),
    ("--device cudaa", "device 'cudaa'", "--device cpu"),
    ("--model no_such_lab.gan", "'no_such_lab.gan'", "module"),
]


@pytest.mark.parametrize(("words", "named", "offered"), WRONG_NAMES, ids=[words for words, _, _ in WRONG_NAMES])
def test_a_wrong_name_is_answered_with_the_nearest_right_one(not_trained, words: str, named: str, offered: str) -> None:
    line = not_trained("--controller", "annealed", *words.split(" "))
    assert named in line
    assert offered in line


def test_an_unknown_data_set(refused, elsewhere: Path) -> None:
    assert refused("train", "digist") == "there is no data set 'digist'; did you mean 'digits'?"
    assert list(elsewhere.iterdir()) == []


def test_an_unknown_command(refused) -> None:
    assert refused("trian", "digits") == "there is no command 'trian'; did you mean 'train'?"
    assert "train" in refused("xyz")


def test_an_unknown_list(refused) -> None:
    assert "'gans'" in refused("list", "gens")


@pytest.mark.parametrize("command", ["train", "resume", "sample", "report", "list", "runs"])
def test_an_unknown_flag_of_any_command(refused, command: str) -> None:
    needed = {"resume": ["run"], "report": ["run"], "sample": ["run", "--out", "x.png"]}.get(command, [])
    line = refused(command, *needed, "--jsno")
    assert "'--jsno'" in line
    assert "'--json'" in line


@pytest.mark.parametrize(("words", "named"), [(["resume"], "RUN"), (["sample", "run"], "--out"), (["report"], "RUN")])
def test_what_is_missing_is_named(refused, words: list[str], named: str) -> None:
    line = refused(*words)
    assert named in line
    assert f"equipoise {words[0]} --help" in line


def test_no_data_at_all(refused) -> None:
    assert "equipoise train digits" in refused("train")


@pytest.mark.parametrize(
    ("text", "named", "offered"),
    [
        ('data = "digits"\nstpes = 5', "'stpes'", "'steps'"),
        ('data = "digits"\n[knobs]\nlr_q = 0.1', "'lr_q'", "'lr_"),
        ('data = "digits"\n[model]\nname = "dcgan"\nwidht = 5', "'widht'", "'width'"),
        ('data = "digits"\nsteps = "many"', "steps", "integer"),
        ("data = ", "lab.toml", "TOML"),
    ],
)
def test_a_wrong_file(refused, elsewhere: Path, text: str, named: str, offered: str) -> None:
    (elsewhere / "lab.toml").write_text(text)
    line = refused("train", "--experiment", "lab.toml")
    assert named in line
    assert offered in line
    assert [path.name for path in elsewhere.iterdir()] == ["lab.toml"]


def test_a_file_that_is_not_there(not_trained) -> None:
    assert not_trained("--experiment", "none.toml") == "there is no file none.toml"


@pytest.mark.parametrize("value", ["0.5", "constant(0.5)"])
def test_a_knob_that_does_not_act_here(not_trained, value: str) -> None:
    line = not_trained("--controller", "annealed", "--set", f"gp_weight={value}")
    assert "gp_weight does not act for dcgan" in line
    assert "r1_gamma" in line


def test_a_knob_that_is_to_stay_untouched(not_trained) -> None:
    line = not_trained("--controller", "annealed", "--untouched", "beta2", "lr_g")
    assert line == "the controller turns lr_g, which is to stay untouched; leave one of the two out"
    assert "did you mean 'lr_g'" in not_trained("--untouched", "lr_gg")


WRONG_VALUES = [
    ("--set lr_g=5", "lr_g = 5 is outside its range: 1e-06 to 0.01"),
    ("--set augment_p=-0.1", "augment_p = -0.1 is outside its range: 0 to 0.8"),
    ("--set r1_gamma=1e-9", "r1_gamma = 1e-09 is outside its range: 0 (off) or 0.0001 to 100"),
    ("--set discriminator_steps=1.5", "discriminator_steps = 1.5 is outside its range"),
    ("--set lr_g=nan", "lr_g = nan is outside its range"),
    ("--set lr_g=fast", "lr_g = 'fast': it must be a number"),
    ("--set lr_g", "--set takes name=value, not 'lr_g'"),
    ("--set =3", "--set takes name=value, not '=3'"),
    ("--set lr_g=linear(1)", "it is written linear(start: float, end: float)"),
    ("--steps many", "--steps"),
    ("--steps 1e3", "'1e3'"),
    ("--steps 0", "steps = 0: it must be at least 1"),
    ("--images 0", "images = 0: it must be at least 1"),
    ("--batch-size 0", "batch_size = 0: it must be at least 1"),
    ("--save-every -1", "save_every = -1: it must be at least 1"),
    ("--sense-every 0", "sense_every = 0: it must be at least 1"),
    ("--threads 0", "threads = 0: it must be at least 1"),
    ("--threads -2", "threads = -2: it must be at least 1"),
    ("--seconds 0", "seconds = 0: it must be above 0"),
    ("--seconds nan", "seconds = nan: it must be above 0"),
    ("--seed -1", "seed = -1: it must be at least 0"),
    ("--option width=0", "width = 0: it must be at least 1"),
    ("--option latent_dim=-3", "latent_dim = -3: it must be at least 1"),
    ("--option width=wide", "width = 'wide'"),
    ("--option penalty_interval=0", "penalty_interval = 0: it must be at least 1"),
    ("--option clip=0", "clip = 0: it must be above 0"),
    ("--device cuda:99", "there is no device 'cuda:99' here; use --device cpu"),
    ("--model mlp --option width=4", "use --model dcgan for this data"),
    ("--metric mixture_modes", "the metric 'mixture_modes' does not suit this data"),
]


@pytest.mark.parametrize(("words", "told"), WRONG_VALUES, ids=[words for words, _ in WRONG_VALUES])
def test_a_value_that_cannot_be(not_trained, words: str, told: str) -> None:
    assert told in not_trained("--controller", "annealed", *words.split(" "))


def test_fewer_images_than_a_batch(not_trained) -> None:
    line = not_trained("--batch-size", "4001")
    assert line == "there are 4000 images in 'train', fewer than a batch of 4001; use --batch-size 4000 or less"


@pytest.mark.parametrize("size", [0, 17, 48, 4096])
def test_an_image_size_that_is_not_possible(not_trained, size: int) -> None:
    assert not_trained("--image-size", size) == (
        f"image_size = {size} is not offered by 'digits'; use 16, 32, 64 or 128"
    )


@pytest.mark.parametrize("model", ["dcgan", "sngan"])
def test_images_for_data_that_are_points(refused, elsewhere: Path, model: str) -> None:
    assert "use --model mlp" in refused("train", "ring", "--model", model)
    assert list(elsewhere.iterdir()) == []


def test_a_run_folder_that_is_there_already(unchanged, tiny: list[str], run_folder: Path) -> None:
    line = unchanged(run_folder, "train", *tiny, "--out", run_folder)
    assert f"{run_folder} exists already" in line
    assert f"equipoise resume {run_folder}" in line
    assert "--out" in line


def test_a_folder_that_holds_something_else(unchanged, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    line = unchanged(tmp_path, "train", *tiny, "--out", tmp_path)
    assert f"{tmp_path} exists already" in line
    assert "--out" in line
    assert "resume" not in line


def test_a_file_in_the_way(unchanged, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    assert "exists already" in unchanged(tmp_path, "train", *tiny, "--out", tmp_path / "run")
    assert "cannot write to" in unchanged(tmp_path, "train", *tiny, "--out", tmp_path / "run" / "below")


@pytest.mark.parametrize("command", [["resume"], ["report"], ["sample", "--out", "x.png"]])
def test_a_folder_that_is_no_run(unchanged, tmp_path: Path, elsewhere: Path, command: list[str]) -> None:
    name, *flags = command
    assert "is not a run: it has no experiment.json" in unchanged(tmp_path, name, tmp_path, *flags)
    assert "is not a run" in unchanged(tmp_path, name, tmp_path / "nowhere", *flags)
    assert list(elsewhere.iterdir()) == []


def test_weights_to_start_from_that_are_not_there(not_trained) -> None:
    assert "nowhere has no checkpoint to start from" in not_trained("--from", "nowhere")


def test_weights_to_start_from_of_other_shapes(not_trained, trained: Path) -> None:
    line = not_trained("--from", trained, "--option", "width=8")
    assert (
        "step-00000012 fits 1% of the generator and 0% of the discriminator only; build the same GAN and width" in line
    )


CHECKPOINT = "checkpoints/step-00000010"
WAY_OUT = "delete that folder and the run goes on from the checkpoint before it"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json"])
def test_a_checkpoint_that_was_cut_short(unchanged, cut_off: Path, file: str, share: float) -> None:
    path = cut_off / CHECKPOINT / file
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    line = unchanged(cut_off, "resume", cut_off)
    assert f"step-00000010/{file}" in line
    assert WAY_OUT in line
    assert str(path.parent) in line


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json"])
def test_a_checkpoint_that_is_not_whole(unchanged, cut_off: Path, file: str) -> None:
    (cut_off / CHECKPOINT / file).unlink()
    line = unchanged(cut_off, "resume", cut_off)
    assert f"step-00000010/{file}" in line
    assert WAY_OUT in line


def test_that_way_out_is_one(cut_off: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once the damaged checkpoint is deleted, the run ends as it would have."""
    shutil.rmtree(cut_off / CHECKPOINT)
    assert cli.run(["resume", str(cut_off)]) == 0
    assert "going on from step 5" in capsys.readouterr().err
    assert (cut_off / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def test_a_checkpoint_of_a_newer_version(unchanged, cut_off: Path) -> None:
    edit(cut_off / CHECKPOINT / "state.json", format=checkpoint.FORMAT + 1)
    line = unchanged(cut_off, "resume", cut_off)
    assert "newer than this version reads" in line
    assert "upgrade equipoise" in line
    assert "delete" not in line


@pytest.mark.parametrize("key", ["pilot", "scaler", "draws", "step", "random/python", "best"])
def test_a_checkpoint_edited_by_hand(unchanged, cut_off: Path, key: str) -> None:
    edit(cut_off / CHECKPOINT / "state.json", **{key: None})
    line = unchanged(cut_off, "resume", cut_off)
    assert "step-00000010" in line
    assert WAY_OUT in line


def test_a_checkpoint_of_other_shapes(unchanged, cut_off: Path) -> None:
    settings = json.loads((cut_off / "experiment.json").read_text())
    settings["model"]["options"]["width"] = 8
    (cut_off / "experiment.json").write_text(json.dumps(settings))
    line = unchanged(cut_off, "resume", cut_off)
    assert "step-00000010 is of another network: generator layers.0.weight is" in line
    assert "there and" in line
    assert "build the same GAN" in line


def edit(path: Path, **values: object) -> None:
    """Set keys of a JSON file; None takes a key away."""
    content = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


COMMANDS = [["resume"], ["sample", "--out", "x.png"]]
both = pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])


@both
@pytest.mark.parametrize("text", ["{", "", "[]", "3", "nonsense"])
def test_settings_that_are_no_settings(unchanged, run_folder: Path, command: list[str], text: str) -> None:
    (run_folder / "experiment.json").write_text(text)
    line = unchanged(run_folder, command[0], run_folder, *command[1:])
    assert str(run_folder / "experiment.json") in line
    assert "put it back as it was" in line


@both
def test_settings_with_a_key_that_does_not_exist(unchanged, run_folder: Path, command: list[str]) -> None:
    edit(run_folder / "experiment.json", stpes=3)
    line = unchanged(run_folder, command[0], run_folder, *command[1:])
    assert "experiment.json 'stpes'; did you mean 'steps'?" in line


@pytest.mark.parametrize("key", ["data", "model", "controller", "steps", "batch_size", "seed"])
def test_settings_without_a_key(unchanged, run_folder: Path, key: str) -> None:
    edit(run_folder / "experiment.json", **{key: None})
    assert f"the experiment does not say '{key}'; put it back" in unchanged(run_folder, "resume", run_folder)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"steps": "many"}, "steps = 'many'"),
        ({"steps": 0}, "steps = 0: it must be at least 1"),
        ({"batch_size": -8}, "batch_size = -8: it must be at least 1"),
        ({"seed": -1}, "seed = -1"),
        ({"threads": -1}, "threads = -1"),
        ({"model": 7}, "gan = 7"),
        ({"model": {"name": "dcgna", "options": {}}}, "did you mean 'dcgan'?"),
        ({"data": {"name": "digits", "options": {"image_size": "big"}}}, "image_size = 'big'"),
        ({"knobs": {"lr_g": 5.0}}, "lr_g = 5 is outside its range"),
        ({"knobs": {"lr_gg": 1e-3}}, "did you mean 'lr_g'?"),
        ({"precision": "fp1"}, "there is no precision 'fp1'"),
        ({"format": 99}, "newer than this version reads"),
    ],
)
def test_settings_of_a_wrong_kind(unchanged, run_folder: Path, values: dict[str, object], told: str) -> None:
    edit(run_folder / "experiment.json", **values)
    assert told in unchanged(run_folder, "resume", run_folder)


@pytest.mark.parametrize(
    "text", ["{", "[]", "7", '{"event": "sensed"}', '{"step": 3}', "\x00\x00", '{"event": "x", "step": "y"}']
)
@pytest.mark.parametrize("command", ["resume", "report"])
def test_a_damaged_line_among_the_events(unchanged, cut_off: Path, command: str, text: str) -> None:
    lines = (cut_off / "events.jsonl").read_text().splitlines()
    lines[3] = text
    (cut_off / "events.jsonl").write_text("\n".join(lines) + "\n")
    line = unchanged(cut_off, command, cut_off)
    assert "events.jsonl, line 4, is not an event; delete that line" in line


def test_a_last_line_that_was_cut_short_is_no_damage(cut_off: Path, trained: Path) -> None:
    with (cut_off / "events.jsonl").open("a") as file:
        file.write('{"event": "sensed", "st')
    assert cli.run(["resume", str(cut_off)]) == 0
    assert (cut_off / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def test_fewer_steps_than_are_done(unchanged, run_folder: Path) -> None:
    line = unchanged(run_folder, "resume", run_folder, "--steps", "12")
    assert "has done 12 steps already; give --steps a larger number" in line


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions do not bind root, so for as long as this lasts it is somebody else."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody can get to, and its owner alone can write to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_no_permission_to_make_a_run(trained: Path, public: Path, refused, tiny: list[str], mode: int) -> None:
    """In a folder that may only be read, and in one that may not even be looked into."""
    closed = public / "closed"
    closed.mkdir()
    closed.chmod(mode)
    with as_nobody():
        line = refused("train", *tiny, "--out", closed / "run")
    assert line == f"no permission to write to {closed / 'run'}; choose another folder with --out"
    closed.chmod(0o755)
    assert list(closed.iterdir()) == []


def test_no_permission_to_go_on(trained: Path, public: Path, unchanged) -> None:
    run = Path(shutil.copytree(trained, public / "run"))
    for path in (run, *run.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with as_nobody():
        line = unchanged(run, "resume", run)
    assert f"no permission to write to {run}" in line


@pytest.mark.parametrize("name", ["grid.png", "numbers.npy", "folder"])
def test_no_permission_to_write_samples(trained: Path, public: Path, unchanged, name: str) -> None:
    run = Path(shutil.copytree(trained, public / "run"))
    for path in run.rglob("*"):
        path.chmod(0o755)
    closed = public / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    with as_nobody():
        line = unchanged(public, "sample", run, "--out", closed / name)
    assert str(closed) in line
    assert "ermission" in line


def test_a_file_in_the_way_of_samples(trained: Path, public: Path, unchanged) -> None:
    (public / "file").write_text("in the way")
    assert str(public / "file") in unchanged(public, "sample", trained, "--out", public / "file" / "grid.png")


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(
    refused, tiny: list[str], tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system tells it, in the middle of the second checkpoint."""
    save, written = checkpoint.save_file, []

    def full(tensors: object, path: Path) -> None:
        written.append(path)
        if len(written) == 2:
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    run = tmp_path / "run"
    code, line = stopped("train", *tiny, "--out", run)
    assert code == 2
    assert line == f"equipoise: the disk that holds {run} is full; make room, then: equipoise resume {run}"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000005"]
    assert cli.run(["resume", str(run)]) == 0
    assert (run / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def stopped(*words: object) -> tuple[int, str]:
    """Exit code and last line of a run that began."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        code = cli.run([str(word) for word in words])
    assert "Traceback" not in err.getvalue()
    return code, err.getvalue().splitlines()[-1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if mount is None or os.geteuid() != 0 or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("room", [8, 110])
def test_a_disk_that_fills_up(small_disk: Path, tiny: list[str], trained: Path, room: int) -> None:
    """Whatever it is that finds no room: an event, a sample, a checkpoint."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes((512 - room) * 1024))
    run = small_disk / "run"
    code, line = stopped("train", *tiny, "--out", run)
    assert code == 2
    assert line == f"equipoise: the disk that holds {run} is full; make room, then: equipoise resume {run}"
    assert not list(run.rglob("*.partial"))
    filler.unlink()
    assert cli.run(["resume", str(run)]) == 0
    assert (run / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def test_a_disk_that_is_full_from_the_start(small_disk: Path, tiny: list[str]) -> None:
    (small_disk / "filler").write_bytes(bytes(512 * 1024))
    code, line = stopped("train", *tiny, "--out", small_disk / "run")
    assert code == 2
    assert f"the disk that holds {small_disk / 'run'} is full; make room" in line
    assert not list((small_disk / "run").rglob("*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--label 10", "there is no label 10; labels run from 0 to 9"),
        ("--label -1", "there is no label -1; labels run from 0 to 9"),
        ("--truncation 0", "truncation = 0: it must be above 0"),
        ("--truncation -1", "truncation = -1: it must be above 0"),
        ("--truncation nan", "truncation = nan: it must be above 0"),
        ("--count 0", "count = 0: it must be at least 1"),
        ("--count -5", "count = -5: it must be at least 1"),
        ("--count many", "--count"),
    ],
)
def test_samples_that_cannot_be(unchanged, trained: Path, elsewhere: Path, words: str, told: str) -> None:
    assert told in unchanged(trained, "sample", trained, "--out", "x.png", *words.split(" "))
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["x.jpg", "x.csv", "deep/x.txt"])
def test_samples_that_do_not_go_there(unchanged, trained: Path, elsewhere: Path, name: str) -> None:
    line = unchanged(trained, "sample", trained, "--out", name)
    assert f"cannot write these samples to {Path(name).name}" in line
    assert ".png or .npy" in line
    assert list(elsewhere.iterdir()) == []


def test_a_label_for_points(refused, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--steps", "1", "--batch-size", "8", "--model", "mlp", "--option", "width=4", "--json")
    assert cli.run(["train", "ring", *words, "--out", str(tmp_path / "points")]) == 0
    capsys.readouterr()
    line = refused("sample", tmp_path / "points", "--label", "1", "--out", "x.csv")
    assert line == "this generator was trained without labels; leave --label out"
    assert ".csv or .npy" in refused("sample", tmp_path / "points", "--out", "x.png")


def test_a_run_that_has_no_weights_yet(unchanged, run_folder: Path) -> None:
    shutil.rmtree(run_folder / "checkpoints")
    for name in ("generator", "discriminator"):
        (run_folder / f"{name}.safetensors").unlink()
    assert "has no weights yet" in unchanged(run_folder, "sample", run_folder, "--out", "x.png")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_weights_that_were_cut_short(unchanged, run_folder: Path, share: float) -> None:
    path = run_folder / "generator.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    line = unchanged(run_folder, "sample", run_folder, "--out", "x.png")
    assert f"{path} cannot be read; delete it and the last checkpoint is used" in line
    path.unlink()
    assert cli.run(["sample", str(run_folder), "--out", "x.png"]) == 0


ABSURD = """
data = "digits"
image_size = 16
steps = 60
batch_size = 8
precision = "fp32"
threads = 1
controller = "fixed"

[model]
name = "dcgan"
width = 4
loss = "wasserstein"
optimizer = "sgd"
knobs = { lr_g = 0.01, lr_d = 0.01, beta1 = 0.95, discriminator_steps = 10 }
"""
"""A critic that nothing holds, with momentum and ten updates a step: its weights outgrow any number in no time."""


def test_a_run_that_diverges_says_so(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "absurd.toml").write_text(ABSURD)
    assert cli.run(["train", "--experiment", "absurd.toml", "--no-repair", "--out", "run"]) == 3
    out, err = capsys.readouterr()
    assert "the run diverged at step" in out
    assert "lower lr_d and lr_g" in out
    assert "Traceback" not in err
    last = json.loads((elsewhere / "run" / "events.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["reason"], last["verdict"]) == ("finished", "diverged", "diverged")
    assert last["step"] < 60
    assert not (elsewhere / "run" / "generator.safetensors").exists()


POLICIES = [
    ("--controller ppo --policy residual", "the policy 'residual' sees the features 'residual', not 'ppo'"),
    ("--controller ppo --policy nowhere.safetensors", "there is no policy 'nowhere.safetensors': neither a file nor"),
    ("--controller ppo --policy {altered}", "does not match its digest: it was altered or damaged"),
    ("--controller ppo --policy {knobs}", "turns 'warmth', a knob that there is not"),
    ("--controller ppo --policy {features}", "was trained on other features of 'ppo' than this version has (luck)"),
    ("--controller ppo --policy {text}", "is not the file of a policy; make one with: equipoise train-policy"),
    ("--controller ppo --policy=", "is not the file of a policy; make one with: equipoise train-policy"),
    ("--controller ppo --policy ppo --option controller.knobs=warmth", "the policy 'ppo' does not turn 'warmth'; it"),
    ("--controller rank --policy ppo", "controller 'rank' follows none; add --controller learnable, ppo, time_only"),
    ("--policy ppo", "no controller is named that follows one; add --controller learnable, ppo, time_only"),
]


@pytest.mark.parametrize(("words", "told"), POLICIES, ids=[words for words, _ in POLICIES])
def test_a_policy_that_cannot_be_followed(
    not_trained, tmp_path_factory: pytest.TempPathFactory, words: str, told: str
) -> None:
    made = {name: tmp_path_factory.mktemp("policies") / name for name in ("altered", "knobs", "features", "text")}
    content = located("ppo").read_bytes()
    made["altered"].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    made["text"].write_text("no policy")
    signed_anew(content, made["knobs"], lambda values: values["heads"][0].update(knobs={"warmth": 1.0}))
    signed_anew(content, made["features"], lambda values: values["names"].append("luck"))
    assert told in not_trained(*(word.format(**made) for word in words.split(" ")))


def signed_anew(content: bytes, path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The file of a policy with something else in its JSON, and the digest of that."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    values, tensors = json.loads(header["__metadata__"]["policy"]), load(content)
    values.pop("digest")
    change(values)
    values["digest"] = files._digest(values, tensors)
    path.write_bytes(save(tensors, {"policy": json.dumps(values)}))


PLAN = """
seeds = [0]
[arms.fixed]
[tasks.ring]
data = "ring"
steps = 4
reported = "mixture_modes"
"""


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "[arms.fixed]",
            "[arms.fixd]\ncontroller = 'fixd'",
            "arm 'fixd' on 'ring': there is no controller 'fixd'; did",
        ),
        ("seeds", 'baseline = "fixd"\nseeds', "there is no arm in plan.toml for its baseline 'fixd'; did you mean"),
        ("[0]", "[]", "seeds in plan.toml: there is none; give at least one, such as [0, 1, 2]"),
        ("[arms.fixed]", "[arms.fixed]\ntuned_on = ['ring']", "arm 'fixed' was tuned on 'ring', the data that task"),
        ("steps", "stpes", "there is no setting of task 'ring' 'stpes'; did you mean 'steps'?"),
        ("seeds", "seedz", "there is no setting of plan.toml 'seedz'; did you mean 'seeds'?"),
    ],
)
def test_a_wrong_plan_of_a_comparison(refused, elsewhere: Path, before: str, after: str, told: str) -> None:
    (elsewhere / "plan.toml").write_text(PLAN.replace(before, after, 1))
    assert refused("compare", "plan.toml").startswith(told)
    assert [path.name for path in elsewhere.iterdir()] == ["plan.toml"], "nothing was begun"
