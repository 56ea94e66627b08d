"""Pictures of the explorer: those of the commands that it names, byte for byte, and errors in one line."""

import base64
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.core import catalog
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.annotations import choose_step
from equipoise.runs.folders import create_run
from equipoise.runs.labels import MarkLabel, append_label
from equipoise.runs.run import CHECKPOINTS_FOLDER
from equipoise.studio import exploration
from equipoise.studio.explorer_process import REFUSAL, ExplorerService
from equipoise.studio.frames import Frame
from equipoise.training import checkpoint

Explore = Callable[..., Frame]


@pytest.fixture
def service(tmp_path: Path) -> ExplorerService:
    folder = tmp_path / "explorer"
    folder.mkdir()
    return ExplorerService(folder)


@pytest.fixture
def explore(service: ExplorerService) -> Explore:
    """Return a function that explores a run; the answer is a picture."""

    def run(folder: Path, kind: str, **fields: object) -> Frame:
        body = json.dumps({"run": folder.name, "kind": kind, **fields}).encode()
        answer = service.answer(Frame({"action": "explore", "folder": str(folder)}, body))
        assert "error" not in answer.values, answer.values["error"]
        return answer

    return run


@pytest.fixture
def explore_error(service: ExplorerService) -> Callable[..., str]:
    """Return a function that explores a run, and returns its one line of error."""

    def run(folder: Path, kind: str, **fields: object) -> str:
        body = json.dumps({"run": folder.name, "kind": kind, **fields}).encode()
        answer = service.answer(Frame({"action": "explore", "folder": str(folder)}, body))
        assert answer.content == b""
        assert "\n" not in answer.values["error"]
        return answer.values["error"]

    return run


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def same_as_command(call, answer: Frame, folder: Path) -> bytes:
    """Run the command of an answer in `folder`, and return the file that it writes."""
    words = shlex.split(answer.values["command"])
    assert words[0] == "equipoise"
    out = words.index("--out") + 1
    words[out] = str(folder / words[out])
    code, _, err = call(*words[1:])
    assert code == 0, err
    return Path(words[out]).read_bytes()


PLAIN = [
    {"kind": "grid", "count": 9, "seed": 3},
    {"kind": "grid", "count": 5, "label": "7", "sampling": {"truncation": 1.0}, "step": 10},
    {"kind": "seeds", "samples": ["3/2", "0/17", "0/0"]},
    {"kind": "plane", "x": 2, "y": 1},
    {"kind": "plane", "x": -1.5, "y": 0.25, "label": 4},
    {"kind": "interpolate", "start": ["0/1", "2/2"], "end": ["0/3", "0/4"], "length": 3},
]


@pytest.mark.parametrize("fields", PLAIN, ids=lambda fields: fields["kind"])
def test_pictures_are_those_of_their_commands(call, explore: Explore, trained: Path, tmp_path: Path, fields) -> None:
    answer = explore(trained, **fields)
    assert answer.values["type"] == "image/png"
    assert answer.values["step"] == fields.get("step", 12)
    picture = same_as_command(call, answer, tmp_path)
    assert np.array_equal(pixels(answer.content), pixels(picture))
    if fields["kind"] in ("grid", "seeds"):
        assert answer.content == picture


STYLED = [
    {"kind": "grid", "count": 4, "sampling": {"psi": 0.5, "cutoff": 2, "noise": "none"}},
    {"kind": "plane", "x": 0.5, "y": 0.5, "sampling": {"psi": 0.5}},
    {"kind": "interpolate", "start": ["0/1"], "end": ["0/2"], "length": 3, "space": "z"},
    {"kind": "mix", "rows": ["0/1", "0/2"], "columns": ["0/3"], "layers": [0, 1]},
    {"kind": "mix", "rows": ["0/1"], "columns": ["1/3", "1/4"], "sampling": {"psi": 0.5}},
    {"kind": "directions", "components": 2, "length": 3, "start": "0/5", "layers": [1, 2], "extent": 1.5},
    {"kind": "directions", "components": 2, "length": 3},
]


@pytest.mark.parametrize("fields", STYLED, ids=lambda fields: fields["kind"])
def test_pictures_of_styles(call, explore: Explore, styled_run: Path, tmp_path: Path, fields) -> None:
    answer = explore(styled_run, **fields)
    assert np.array_equal(pixels(answer.content), pixels(same_as_command(call, answer, tmp_path)))


def test_prompts(call, explore: Explore, captioned_run: Path, tmp_path: Path) -> None:
    answer = explore(captioned_run, "prompt", prompt="red heart", count=3)
    assert answer.content == same_as_command(call, answer, tmp_path)


def test_unknown_words_of_a_prompt_are_named(explore: Explore, captioned_run: Path) -> None:
    one = {"samples": ["3/2"], "prompt": "red qqq"}
    for answer in (explore(captioned_run, "prompt", prompt="red qqq"), explore(captioned_run, "seeds", **one)):
        assert answer.values["notes"].startswith("'qqq' in the prompt 'red qqq' is not a word of the training captions")
    assert explore(captioned_run, "prompt", prompt="red heart").values["notes"] == ""


def test_whole_points_of_the_plane_are_seeds(explore: Explore, trained: Path) -> None:
    for (x, y), seed in {(3, 0): 3, (2, 1): 102, (-1, 0): 2**32 - 1}.items():
        point = explore(trained, "plane", x=x, y=y)
        assert point.content == explore(trained, "seeds", samples=[f"{seed}/0"]).content
    single = pixels(explore(trained, "plane", x=0.5, y=0).content)
    grid = pixels(explore(trained, "plane", x=0.5, y=0, rows=3, columns=3, spacing=0.5).content)
    assert np.array_equal(grid[18:34, 18:34], single), "the point is in the middle"
    assert not np.array_equal(single, pixels(explore(trained, "plane", x=0.6, y=0).content))


@pytest.mark.parametrize("run", ["trained", "styled_run"])
def test_latents_are_saved(call, explore: Explore, run: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(run)
    fields = {"kind": "plane", "x": 0.5, "y": 2.25}
    saved = explore(folder, **fields, save="latents")
    (tmp_path / "latents.safetensors").write_bytes(saved.content)
    command = saved.values["command"].replace("latents.safetensors", str(tmp_path / "latents.safetensors"))
    picture = same_as_command(call, Frame({"command": command}), tmp_path)
    assert np.array_equal(pixels(picture), pixels(explore(folder, **fields).content))


def test_a_film(explore: Explore, trained: Path) -> None:
    film = explore(trained, "interpolate", start=["0/1"], end=["0/2"], length=2, save="film")
    assert film.values["type"] == "video/mp4"
    assert film.content[4:8] == b"ftyp"
    assert "--out film.mp4" in film.values["command"]


def test_films_along_directions(explore: Explore, trained: Path, styled_run: Path) -> None:
    labels = {"source": "labels", "plus": ["0/1"], "minus": ["0/2"]}
    for run, fields in ((styled_run, {"components": 2}), (trained, labels)):
        picture = explore(run, "directions", **fields)
        assert "film" in picture.values["traits"]
        film = explore(run, "directions", **fields, save="film")
        assert film.values["type"] == "video/mp4"
        assert film.content[4:8] == b"ftyp"


def test_arithmetic(explore: Explore, trained: Path) -> None:
    alone = pixels(explore(trained, "arithmetic", plus=[["0/1", "0/2"], ["0/3"]], minus=[["0/4"]]).content)
    square = explore(trained, "arithmetic", plus=[["0/1", "0/2"], ["0/3"]], minus=[["0/4"]], neighbours=True)
    assert "arithmetic" in square.values["command"]
    assert "--plus 0/1,0/2 --plus 0/3 --minus 0/4" in square.values["command"]
    assert np.array_equal(pixels(square.content)[18:34, 18:34], alone)
    same = explore(trained, "arithmetic", plus=[["0/1"]])
    assert same.content == explore(trained, "seeds", samples=["0/1"]).content


def test_directions_of_marked_samples(explore: Explore, explore_error, trained: Path, run_folder: Path) -> None:
    assert "no sample of step 12 is marked as keep" in explore_error(run_folder, "directions", source="labels")
    for number, answer in ((1, "keep"), (2, "flaw")):
        append_label(run_folder, MarkLabel(f"0/{number}", 12, answer))
    marked = explore(run_folder, "directions", source="labels", amounts=[0.5])
    named = explore(trained, "directions", source="labels", plus=["0/1"], minus=["0/2"], amounts=[0.5])
    assert marked.content == named.content
    strip = explore(run_folder, "directions", source="labels", length=5)
    assert pixels(strip.content).shape[1] == 5 * 18 - 2


def test_forms_give_what_requests_give(explore: Explore, styled_run: Path) -> None:
    """Texts of names, amounts and layers in the form of the page."""
    pairs = [
        (
            "mix",
            {"rows": "0/1, 0/2", "columns": "0/3", "first": 1, "last": 0},
            {"rows": ["0/1", "0/2"], "columns": ["0/3"], "layers": [0, 1]},
        ),
        (
            "arithmetic",
            {"plus": "0/1", "more": "0/3;0/4", "minus": "", "neighbours": False},
            {"plus": [["0/1"], ["0/3", "0/4"]]},
        ),
        ("directions", {"start": "0/5, 0/6", "amount1": 0, "amount2": 3}, {"start": "0/5", "amounts": [0, 3]}),
        ("directions", {"start": "", "amount1": 0}, {}),
    ]
    for kind, form, fields in pairs:
        answer = explore(styled_run, kind, **form)
        assert answer.content == explore(styled_run, kind, **fields).content
        sheet = "captioned film" if kind == "directions" else "captioned"
        traits = "latents" if kind == "arithmetic" or "amounts" in fields else sheet
        assert answer.values["traits"] == traits


def test_amounts_along_components(explore: Explore, styled_run: Path) -> None:
    start = explore(styled_run, "seeds", samples=["0/5"]).content
    unmoved = explore(styled_run, "directions", start="0/5", amounts=[0, 0, 0]).content
    assert np.array_equal(pixels(unmoved), pixels(start))
    assert explore(styled_run, "directions", start="0/5", amounts=[0, 3]).content != unmoved


def test_the_run_is_loaded_again_when_it_changes(explore: Explore, run_folder: Path) -> None:
    choose_step(run_folder, 5)
    first = explore(run_folder, "grid", count=2, step="chosen")
    assert first.values["step"] == 5
    choose_step(run_folder, 10)
    second = explore(run_folder, "grid", count=2, step="chosen")
    assert second.values["step"] == 10
    assert first.content != second.content


def test_what_can_be_explored(service: ExplorerService, trained: Path, styled_run: Path, captioned_run: Path) -> None:
    def describe(folder: Path) -> dict[str, object]:
        return service.answer(Frame({"action": "describe", "folder": str(folder), "step": None})).values["values"]

    plain, styled, captioned = (describe(folder) for folder in (trained, styled_run, captioned_run))

    def controls(facts: dict[str, object]) -> set[str]:
        return {control["name"] for control in facts["controls"]}

    assert (plain["model"], plain["samples"], plain["shape"]) == ("dcgan", "image", [1, 16, 16])
    assert (plain["step"], plain["layers"], controls(plain)) == (12, 0, {"label", "truncation"})
    assert [value for value, _ in plain["weights"]] == ["", "best", "chosen", "5", "10", "12"]
    assert list(plain["tabs"]) == ["plane", "grid", "interpolate", "marks", "arithmetic"]
    label, truncation = plain["controls"]
    assert label["options"][:2] == [("", "each in turn"), ("0", "0")]
    assert "more typical, less varied" in truncation["help"]
    assert (plain["space"], plain["prompt"]) == ("z", False)
    assert (styled["space"], styled["layers"] > 1, "project" in styled["tabs"]) == ("w", True, True)
    assert {"psi", "cutoff", "noise"} <= controls(styled)
    assert captioned["prompt"]
    assert captioned["captions"]


def test_one_of_a_grid_is_that_of_its_command(call, explore: Explore, trained: Path, tmp_path: Path) -> None:
    settings = {"label": 7, "sampling": {"truncation": 0.7}}
    for fields in ({}, settings, {**settings, "step": 12}):
        grid = pixels(explore(trained, "grid", count=36, seed=2, **fields).content)
        one = explore(trained, "seeds", samples=["2/27"], **fields)
        assert np.array_equal(pixels(one.content), grid[72:88, 54:70]), "row 4, column 3"
    assert one.content == same_as_command(call, one, tmp_path)
    assert "--truncation 0.7 --step 12 --label 7" in one.values["command"]


def test_pictures_are_enlarged(explore: Explore, explore_error, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (explore(trained, "seeds", samples=["0/27"], scale=scale) for scale in (1, 4))
    assert np.array_equal(pixels(large.content), pixels(small.content).repeat(4, 0).repeat(4, 1))
    assert large.values["command"] == small.values["command"]
    monkeypatch.setattr(exploration, "MAX_PIXELS", 100)
    assert "128 x 128 pixels are too many" in explore_error(trained, "seeds", samples=["0/27"], scale=8)


@pytest.mark.parametrize("run", ["trained", "styled_run"])
def test_saved_latents_are_loaded(explore: Explore, run: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(run)
    plane = {"kind": "plane", "x": 0.5, "y": 2.25}
    saved = base64.b64encode(explore(folder, **plane, save="latents").content).decode()
    name = explore(folder, "load", latents=saved, file="my seven.safetensors").values["values"]["name"]
    drawn = explore(folder, "seeds", samples=[name])
    assert np.array_equal(pixels(drawn.content), pixels(explore(folder, **plane).content))
    assert "--samples 'my seven.safetensors'" in drawn.values["command"]


def test_a_file_without_latents(explore_error, trained: Path) -> None:
    assert "my.safetensors" in explore_error(trained, "load", latents="AAAA", file="my.safetensors")


def test_a_sample_of_a_prompt(explore: Explore, explore_error, captioned_run: Path) -> None:
    one = pixels(explore(captioned_run, "seeds", samples=["3/2"], prompt="red heart").content)
    grid = pixels(explore(captioned_run, "prompt", prompt="red heart", seed=3, count=4).content)
    side = len(one)
    assert np.array_equal(one, grid[side + 2 :, :side])
    assert "one numbered sample" in explore_error(captioned_run, "seeds", samples=["3/2", "3/1"], prompt="red heart")


def png(side: int = 16) -> str:
    content = io.BytesIO()
    Image.effect_noise((side, side), 60).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def test_a_projection(service: ExplorerService, explore: Explore, explore_error, styled_run: Path) -> None:
    started = explore(styled_run, "project", image=png(), steps=3, distance="pixels")
    job = started.values["job"]

    def ask(part: str) -> Frame:
        return service.answer(Frame({"action": "job", "job": job, "part": part}))

    assert ask("describe").values["values"]["state"] == "running"
    assert "under way" in explore_error(styled_run, "project", image=png(), steps=3)
    assert "@p9 is gone" in explore_error(styled_run, "seeds", samples=["@p9"])
    for _ in range(50):
        if not service.is_busy:
            break
        service.advance()
        explore(styled_run, "grid", count=1)  # other requests are answered meanwhile
    state = ask("describe").values["values"]
    assert (state["state"], state["step"], state["steps"], state["error"]) == ("finished", 3, 3, "")
    assert state["distance"] < state["start_distance"]
    assert pixels(ask("picture").content).ndim == 3
    assert ask("latents").content
    assert pixels(explore(styled_run, "seeds", samples=[f"@{job}"]).content).shape == (16, 16)
    mixed = explore(styled_run, "mix", rows=[f"@{job}"], columns=["0/1"])
    assert f"--rows {job}.safetensors" in mixed.values["command"]
    assert ask("describe").values["values"]["state"] == "finished"


def test_a_projection_is_cancelled(service: ExplorerService, explore: Explore, styled_run: Path) -> None:
    job = explore(styled_run, "project", image=png(), steps=2000, distance="pixels").values["job"]
    service.advance()
    answer = service.answer(Frame({"action": "job", "job": job, "part": "cancel"}))
    assert answer.values["values"]["state"] == "cancelled"
    assert not service.is_busy
    assert (
        "no projection p7" in service.answer(Frame({"action": "job", "job": "p7", "part": "describe"})).values["error"]
    )


BROKEN = [
    ({"kind": "grid", "sampling": {"psi": 0.5}}, "psi has no effect in dcgan"),
    ({"kind": "grid", "sampling": {"truncation": -1}}, "truncation = -1: it must be above 0"),
    ({"kind": "grid", "label": "11"}, "label 11 does not exist"),
    ({"kind": "grid", "step": 7}, "no weights of step 7"),
    ({"kind": "grid", "step": "chosen"}, "no step of"),
    ({"kind": "prompt", "prompt": "a cat"}, "trained without captions"),
    ({"kind": "mix", "rows": ["0/1"], "columns": ["0/2"]}, "dcgan has no styles"),
    ({"kind": "directions"}, "dcgan has no styles"),
    ({"kind": "plane", "x": 0, "y": 0, "space": "w"}, "dcgan has no styles"),
    ({"kind": "plane", "x": 1e9, "y": 0}, "coordinates must be within"),
    ({"kind": "interpolate", "start": ["0/1"], "end": ["0/2", "0/3"]}, "1 starts and 2 ends"),
    ({"kind": "translate", "image": png()}, "generates images from noise"),
    ({"kind": "project", "image": png()}, "dcgan has no styles"),
]


@pytest.mark.parametrize(("fields", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_requests_that_cannot_be_met(explore_error, trained: Path, fields, message: str) -> None:
    assert message in explore_error(trained, **fields)


@pytest.mark.parametrize("image", [b"no picture", b"\x89PNG\r\n\x1a\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_an_upload_that_is_no_picture(explore_error, styled_run: Path, image: bytes) -> None:
    error = explore_error(styled_run, "project", image=base64.b64encode(image).decode())
    assert "no picture that can be read" in error


def test_an_upload_that_is_huge(explore_error, styled_run: Path) -> None:
    content = io.BytesIO()
    Image.new("1", (6000, 6000)).save(content, "PNG")
    error = explore_error(styled_run, "project", image=base64.b64encode(content.getvalue()).decode())
    assert "36,000,000 pixels; reduce it to 32,000,000" in error


def test_code_of_a_run_is_not_imported(
    service: ExplorerService, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a module nor a file that experiment.json names is run, unless the folder is trusted."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n__all__ = []\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = run_folder / "experiment.json"
    values = json.loads(path.read_text())
    body = json.dumps({"run": "run", "kind": "grid"}).encode()
    for part in ("model", "data"):
        for name in ("evil.thing", str(tmp_path / "evil.py"), "./evil.py", "../evil.py:preset", "evil/thing"):
            monkeypatch.setattr(catalog, "_refusal", [])
            catalog.refuse_custom_code(REFUSAL)
            path.write_text(json.dumps({**values, part: {"name": name, "options": {}}}))
            answer = service.answer(Frame({"action": "explore", "folder": str(run_folder)}, body))
            assert f"'{name.removesuffix(':preset')}' is custom code, which is not run here" in answer.values["error"]
            assert "--trust-code" in answer.values["error"]
            assert not (tmp_path / "ran").exists()
    monkeypatch.setattr(catalog, "_refusal", [])
    path.write_text(json.dumps({**values, "model": {"name": str(tmp_path / "evil.py"), "options": {}}}))
    answer = service.answer(Frame({"action": "explore", "folder": str(run_folder)}, body))
    assert "must name one public class" in answer.values["error"]
    assert (tmp_path / "ran").exists(), "with --trust-code it is run"


def test_nearest_training_pictures(service: ExplorerService, trained: Path, explore: Explore) -> None:
    from equipoise.evaluation.neighbours import load_drawn_images
    from equipoise.runs.artifacts import encode_png, make_grid
    from equipoise.runs.run import Run

    train = load_drawn_images(Run(trained))
    assert train.shape[1:] == (1, 16, 16)
    picture = encode_png(make_grid(train[[37]].numpy()))
    answer = service.answer(Frame({"action": "neighbours", "folder": str(trained)}, picture))
    row = pixels(answer.content)
    assert row.shape == (16, 6 * 18 - 2)
    assert np.array_equal(row[:, :16], row[:, 18:34]), "the nearest one is the picture itself"
    large = encode_png(make_grid(np.zeros((1, 1, 20, 20), np.float32)))
    answer = service.answer(Frame({"action": "neighbours", "folder": str(trained)}, large))
    assert "1 x 20 x 20, but training images are 1 x 16 x 16" in answer.values["error"]


@pytest.fixture(scope="module")
def translating_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model that translates emoji in both directions, with one checkpoint and no training. Read only."""
    options = {"width": 2, "patch": 16, "blocks": 1}
    experiment = complete(
        Experiment(
            data=PlugSpec("openmoji"),
            model=PlugSpec("cyclegan", options),
            image_size=16,
            batch_size=4,
            steps=1,
            metric=PlugSpec("none"),
        )
    )
    state = assemble(experiment, None).state
    folder = tmp_path_factory.mktemp("translating") / "run"
    create_run(folder, experiment.to_json())
    checkpoint.write(folder / CHECKPOINTS_FOLDER, checkpoint.Checkpoint(0, state.tensors(), state.values()))
    return folder


def test_a_translation(
    call, service: ExplorerService, explore: Explore, explore_error, translating_run: Path, tmp_path: Path
) -> None:
    described = service.answer(Frame({"action": "describe", "folder": str(translating_run), "step": None}))
    facts = described.values["values"]
    assert (list(facts["tabs"]), facts["controls"], facts["spaces"]) == (["translate"], [], [])
    assert [field["name"] for field in facts["tabs"]["translate"]["fields"]] == ["fit", "back"]
    picture = png(20)
    (tmp_path / "picture.png").write_bytes(base64.b64decode(picture))
    for back in (False, True):
        fields = {"image": picture, "back": back, "grey": True}
        answer = explore(translating_run, "translate", **fields)
        command = answer.values["command"].replace("picture.png", str(tmp_path / "picture.png"))
        command = command.replace("translated.png", f"translated-{back}.png")
        assert answer.content == same_as_command(call, Frame({"command": command}), tmp_path)
    assert "translates images and needs input images" in explore_error(translating_run, "grid")
