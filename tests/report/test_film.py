import io
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image, ImageColor, ImageDraw

from equipoise import runs
from equipoise.errors import RunError
from equipoise.events import Evaluated, Event, Finished, Remedied, Resumed, Sampled, Sensed
from equipoise.observations import Finding, Health, Override, Reading, Signals
from equipoise.report import encoding, film, lettering, page, samples, scenes, stage, tracks
from equipoise.report import history as histories
from equipoise.report.axes import BLUE
from equipoise.report.history import Turns
from equipoise.report.lettering import Words
from equipoise.report.samples import Samples
from equipoise.runs import Run

from .conftest import BATCH, EXPERIMENT, Maker, folder_of, full, pictures, points, sensed, started, turned

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two frames a second: everything else is as ever."""
    monkeypatch.setattr(film, "RATE", 2)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page whose figures cost nothing."""
    figure = runs.png(Image.new("L", (2, 2)))
    monkeypatch.setattr("equipoise.report.figures.png", lambda make: figure)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all that can happen, and its film. Not to be changed."""
    run = folder_of(list(full()), tmp_path_factory.mktemp("filmed") / "run-1", EXPERIMENT)
    path = film.make(run)
    assert path == run.folder / "film" / "training_progress.mp4"
    return path


def said_of(path: Path) -> str:
    """What ffmpeg reads in a film."""
    return subprocess.run([get_ffmpeg_exe(), "-hide_banner", "-i", str(path)], capture_output=True, text=True).stderr


def decoded(path: Path) -> Pixels:
    """All frames (T, 720, 1280, 3)."""
    command = [get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    content = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(content, np.uint8).reshape(-1, 720, 1280, 3)


def scene_of(run: Run) -> scenes.Scene:
    history = histories.read(run)
    seen = [samples.seen(run, line) for line in history.named("sampled")]
    return scenes.scene(history, stage.of(reversed(seen)))


def first_frame(run: Run, step: float) -> Image.Image:
    line = [line for line in run.named("sampled") if line["step"] <= step][-1]
    return next(scene_of(run).frames([(step, samples.seen(run, line))]))


def spoken(words: list[Words]) -> str:
    return " ".join(f"{word.text} {word.value}".strip() for word in words)


def test_a_film_is_what_browsers_and_players_take(filmed: Path) -> None:
    said = said_of(filmed)
    assert re.search(r"Video: h264 \(High\).*yuv420p\(tv, bt709.*\), 1280x720", said), said
    duration = re.search(r"Duration: 00:00:(\d+\.\d+)", said)
    assert duration is not None
    assert float(duration[1]) == pytest.approx(film.SHORTEST, abs=0.1)
    assert "creation_time" not in said
    content = filmed.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "players may begin before they have it all"
    assert len(content) < 20e6
    assert {file.name for file in filmed.parent.iterdir()} == {"training_progress.mp4", "poster.png"}


def test_the_last_frame_is_held_and_is_the_poster(filmed: Path) -> None:
    frames = decoded(filmed)
    held = round(film.HOLD * film.RATE)
    assert len(frames) == round(film.SHORTEST * film.RATE)
    with Image.open(filmed.with_name("poster.png")) as image:
        poster = np.asarray(image).astype(float)
    # Colours are halved in resolution and everything is compressed: alike, not equal.
    errors = np.abs(frames[-held - 3 :] - poster).mean(axis=(1, 2, 3))
    assert errors[-held:].max() < 1.5
    assert np.abs(frames[0] - poster).mean() > 3


@pytest.mark.usefixtures("brief")
def test_the_same_folder_gives_the_same_bytes(written: Maker) -> None:
    run = written(list(full()))
    contents = []
    for _ in range(2):
        path = film.make(run)
        assert path is not None
        contents.append((path.read_bytes(), path.with_name("poster.png").read_bytes()))
    assert contents[0] == contents[1]


@pytest.mark.parametrize("count", [1, 2, 34, 100, 142, 143, 100_000])
def test_films_take_8_to_30_seconds_and_show_the_whole_run(count: int) -> None:
    steps = film._steps(1200, count)
    seconds = len(steps) / film.RATE + film.HOLD
    assert film.SHORTEST - 0.1 <= seconds <= film.LONGEST + 0.1
    assert seconds == pytest.approx(min(30, max(8, 0.2 * count + 1.5)), abs=0.1)
    assert (steps[0], steps[-1]) == (0, 1200)


def test_each_frame_shows_the_samples_last_taken() -> None:
    lines = [{"event": "sampled", "step": step} for step in (0, 10, 100)]
    assert film._shown(lines, [0, 9.9, 10, 99, 100, 200]) == [0, 0, 1, 1, 2, 2]
    assert film._shown(lines[1:], [0, 10]) == [0, 0]


def test_noise_stays_within_the_rate_that_bounds_a_film(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    frames = (Image.fromarray(np.roll(noise, 97 * shift, axis=1)) for shift in range(30))
    encoding.write(tmp_path / "noise.mp4", frames, (1280, 720), 15)
    seconds, buffered = 2, 1
    assert (tmp_path / "noise.mp4").stat().st_size < (seconds + buffered) * encoding.RATE / 8
    assert (film.LONGEST + buffered) * encoding.RATE / 8 < 18e6


def test_what_is_past_is_drawn_and_what_is_ahead_is_faint(written: Maker) -> None:
    run = written([event for event in full() if not isinstance(event, Resumed)])
    scene = scene_of(run)
    frame, past, ahead = (np.asarray(picture) for picture in (first_frame(run, 200), scene.past, scene.ahead))
    cursor = int(scene.places[0].axes.transData.transform((200, 0))[0])
    panels = slice(scenes.TOP + scenes.TITLE, scenes.TOP + scenes.TITLE + 40)
    before, after = (panels, slice(scenes.START, cursor - 6)), (panels, slice(cursor + 6, scenes.WIDTH))
    assert np.array_equal(frame[before], past[before])
    assert np.array_equal(frame[after], ahead[after])
    dark = [int((picture.min(axis=2) < 120).sum()) for picture in (past[after], ahead[after])]
    assert dark[0] > 20 > dark[1]


def test_images_are_shown_pixel_by_pixel(written: Maker) -> None:
    run = written([started(), pictures(0)])
    frame = np.asarray(first_frame(run, 0))
    with Image.open(run.folder / "samples" / "step-00000000.png") as image:
        sheet = np.asarray(image)  # four by four images of 8 pixels: 38 pixels, which fit 16 times
    scale = min(stage.WIDTH, stage.HEIGHT) // 38
    large = np.kron(sheet, np.ones((scale, scale), np.uint8))
    left, top = stage.LEFT + (stage.WIDTH - len(large)) // 2, stage.TOP + (stage.HEIGHT - len(large)) // 2
    shown = frame[top : top + len(large), left : left + len(large)]
    assert np.array_equal(shown, np.repeat(large[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("count", "shape", "columns", "scale", "shown"),
    [
        (80, (1, 32, 32), 10, 2, (10, 8)),
        (64, (3, 64, 64), None, 1, (8, 8)),
        (64, (3, 128, 128), None, 1, (5, 4)),
        (64, (1, 28, 28), None, 2, (8, 8)),
        (400, (3, 16, 16), 20, 3, (12, 11)),
        (12, (3, 20, 40), 3, 5, (3, 4)),
        (1, (3, 512, 512), None, 1, (1, 1)),
        (4, (3, 1024, 1024), None, 1, (1, 1)),
    ],
)
def test_sheets_are_as_large_as_they_can_be_read(
    count: int, shape: tuple[int, int, int], columns: int | None, scale: int, shown: tuple[int, int]
) -> None:
    noise = np.random.default_rng(count).uniform(-1, 1, (count, *shape)).astype(np.float32)
    sheet = runs.grid(noise, columns)
    cell = stage._cell(sheet)
    assert cell == (shape[2], shape[1])
    assert stage._fitting(sheet, cell) == (scale, *shown)
    picture, (left, top) = stage._arranged(sheet, cell)
    assert left >= stage.LEFT
    assert top >= stage.TOP
    assert left + picture.width <= stage.LEFT + stage.WIDTH
    assert top + picture.height <= stage.TOP + stage.HEIGHT
    caption = stage.Stage(cell).caption(Samples(5, 0, sheet=sheet))
    part = shown[0] * shown[1] < count
    assert caption.endswith(f"step 5: {shown[0] * shown[1]} of {count}" if part else "step 5")


def test_points_stand_where_they_are_and_cover_one_another() -> None:
    board = stage.Stage(points=True, bounds=(-2.0, 2.0))
    left, top, width, height = board.square
    frame = Image.new("RGB", scenes.SIZE, "white")
    place = np.array([[1.0, 1.0], [-1.0, 0.0], [-1.0, 0.0], [math.nan, 0.0], [50.0, 50.0]])
    board.paint(frame, Samples(0, 0, values=place))
    blue, seen = np.array(ImageColor.getrgb(BLUE)), np.asarray(frame)
    for (x, y), covers in (((1, 1), 1), ((-1, 0), 2)):
        pixel = seen[top + height - 1 - round((y + 2) / 4 * height), left + round((x + 2) / 4 * width)]
        expected = blue + (255 - blue) * (1 - stage.COVER) ** covers
        assert pixel == pytest.approx(expected, abs=2)
    assert seen[top, left] == pytest.approx([255] * 3)
    dots = ((seen != 255).any(axis=2)).sum()
    assert dots < 2.2 * math.pi * (stage.DOT + 1) ** 2, "nothing else is painted"


def test_numbers_are_bars_on_axes_that_stay() -> None:
    many, few = np.zeros((30, 1)), np.linspace(-1, 1, 10)[:, None]
    board = stage.of([Samples(2, 2, values=few), Samples(1, 1, values=many)])
    assert board.tallest == 30
    frame = Image.new("RGB", scenes.SIZE, "white")
    board.paint(frame, Samples(1, 1, values=many))
    _, _, _, height = board.square
    column = (np.asarray(frame) == ImageColor.getrgb(BLUE)).all(axis=2).sum(axis=0).max()
    assert column == round(height / 1.05)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(
    "events",
    [
        [started(), sensed(1), pictures(0)],
        [pictures(3)],
        [started(), points(0), sensed(5), points(5)],
        [started(), points(0, (50, 1)), sensed(5), points(5, (50, 3, 3))],
        [started(), pictures(0), sensed(5), Finished(5, 5 * BATCH, "interrupted", "healthy", 2.0)],
        [started(), pictures(0), sensed(5), pictures(5), Resumed(2, 2 * BATCH), sensed(4), pictures(6)],
        [started(), pictures(0), Evaluated(0, 0, "m", math.nan, "lower", 9, 0.1), turned(0, "x$_{", 0.0, math.nan)],
    ],
    ids=["one sheet", "nothing else", "points", "odd shapes", "interrupted", "resumed", "odd numbers"],
)
def test_little_or_odd_is_filmed_too(written: Maker, events: list[Event]) -> None:
    path = film.make(written(events))
    assert path is not None
    assert len(decoded(path)) == 16


@pytest.mark.usefixtures("brief")
def test_a_run_that_diverged_is_filmed_to_its_end(written: Maker) -> None:
    lost = Reading(math.nan, math.nan, math.nan, math.nan)
    found = Health((Finding("divergence", 1.0, {}, since=20),))
    losses = {"discriminator.total": lost, "generator.total": lost}
    last = Sensed(20, 20 * BATCH, 0.05, 2.0, losses, Signals(), found)
    run = written([started(), pictures(0), sensed(10), last, Finished(20, 20 * BATCH, "diverged", "diverged", 2.0)])
    assert film.make(run) is not None
    clock = scene_of(run).clock
    assert "healthy" in spoken(clock.words(12)[1])
    assert "ended diverged" in spoken(clock.words(20)[1])
    loss = tracks.plots(histories.read(run))[0]
    assert spoken(loss.say(20)) == "discriminator – generator –"


def test_without_samples_there_is_no_film(written: Maker) -> None:
    run = written([started(), sensed(1)])
    assert film.make(run) is None
    assert not (run.folder / "film").exists()
    with pytest.raises(RunError, match="not a run"):
        film.make(Run(run.folder / "none"))


@pytest.mark.usefixtures("brief")
def test_damaged_samples_leave_a_note(written: Maker) -> None:
    run = written([started(), pictures(0), sensed(5), pictures(5)])
    (run.folder / "samples" / "step-00000000.png").write_bytes(b"\x89PNG")
    assert film.make(run) is not None
    whole, noted = (np.asarray(first_frame(run, step))[stage.TOP : stage.TOP + 400, : stage.WIDTH] for step in (5, 0))
    assert 0 < (noted < 128).mean() < 0.05 < (whole < 128).mean()


def test_the_clock_tells_time_images_and_health(written: Maker) -> None:
    scene = scene_of(written(list(full())))
    now, below = scene.clock.words(100)
    assert spoken(now) == "step 100 of 400"
    assert spoken(below) == "6,400 images 10 s healthy"
    assert "ailing" in spoken(scene.clock.words(205)[1])
    assert "ailing" not in spoken(scene.clock.words(235)[1])
    assert spoken(scene.clock.words(400)[1]) == "25,600 images 1 min 23 s ended healthy"


def test_panels_say_what_is_true_at_a_step(written: Maker) -> None:
    history = histories.read(written(list(full())))
    plots = {plot.title: plot for plot in tracks.plots(history)}
    assert list(plots)[:3] == ["Loss", "D tells reals from", "kd_digits"]
    level = 0.7 + 0.2 * math.sin(100 / 40)
    assert spoken(plots["Loss"].say(109)) == f"discriminator {level:.3g} generator {2 - level:.3g}"
    assert spoken(plots["kd_digits"].say(399)) == "(lower is better) last 0.0625"
    assert spoken(plots["kd_digits"].say(5)) == "(lower is better) last –"
    assert spoken(plots["Findings"].say(180)) == "discriminator overpowering 80%"
    assert spoken(plots["Findings"].say(300)) == "none now"
    assert spoken(plots["Knob"].say(130)) in ("beta2 0.99", "discriminator_steps 3", "r1_gamma 0.3")


@pytest.mark.usefixtures("plain")
def test_what_was_done_about_a_finding_is_on_film_and_page(written: Maker) -> None:
    finding = Finding("divergence", 1.0, {"non_finite": 3}, since=55)
    held = (Override("lr_d", 5e-5, 2e-4, 90),)
    events = [
        *(started(), pictures(0), sensed(50), sensed(60, health=Health((finding,)))),
        Remedied(60, 60 * BATCH, finding, 1, 40, 20, held, 90),
        *(sensed(70), sensed(100), pictures(100)),
    ]
    run = written(events)
    plot = next(plot for plot in tracks.plots(histories.read(run)) if plot.title == "Findings")
    assert spoken(plot.say(60)) == "divergence 100% back to step 40"
    assert spoken(plot.say(70)) == "back to step 40"
    assert spoken(plot.say(95)) == "none now"
    text = page.write(run).read_text()
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.partition("What was done about it")[2]))
    assert "60 divergence those of step 40 lr_d 5e-5 90" in said


def test_knobs_that_move_alike_share_a_panel() -> None:
    steps = (0.0, 50.0, 100.0)
    fine, coarse = (Turns(name, steps, (1, 2e-3, 1e-3, 5e-4), ("a",) * 3, "") for name in ("lr_g", "lr_d"))
    other = Turns("augment_p", steps, (0, 0.1, 0.2, 0.1), ("a",) * 3, "")
    groups = tracks._together([fine, coarse, other], 200)
    assert [[one.knob for one in group] for group in groups] == [["lr_g", "lr_d"], ["augment_p"]]
    at, heights = tracks._course(fine, 200)
    assert list(at) == [0, 50, 100, 200]
    assert heights == pytest.approx([1, 0.5, 0, 0]), "on a logarithmic scale, and not from where a turn at 0 began"


def test_only_so_many_knobs_are_shown_and_the_rest_counted(written: Maker) -> None:
    events = [turned(step, f"knob_{i}", step, step + i) for i in range(7) for step in range(i + 1)]
    history = histories.read(written([started(), pictures(0), sensed(9), *events]))
    knobs = [plot for plot in tracks.plots(history) if plot.low]
    assert len(knobs) == tracks.MOST_KNOBS
    assert tracks.left_out(history) == 7 - tracks.MOST_KNOBS
    assert [spoken(plot.say(9)).split()[0] for plot in knobs] == ["knob_6", "knob_5", "knob_4", "knob_3"]


def test_words_are_cut_where_room_ends_and_values_stay_in_place() -> None:
    def drawn(parts: list[Words], width: float) -> Pixels:
        picture = Image.new("RGB", (400, 30), "white")
        lettering.row(ImageDraw.Draw(picture), 10, 20, parts, width)
        return np.asarray(picture)

    long = drawn([Words("a very long name that nobody can read in full")], 120)
    assert (long[:, 132:] == 255).all()
    assert (long[:, :130] < 128).any()
    ends = [np.nonzero((drawn([Words("x", "0" * n), Words("|")], 380) < 99).any(axis=(0, 2)))[0].max() for n in (1, 5)]
    assert ends[0] == ends[1]


def missing(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    return "ffmpeg is not there; install it with: pip install imageio-ffmpeg"


def absent(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    return "cannot be started: No such file or directory"


def failing(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(encoding, "_tool", lambda: "/bin/false")
    return "ffmpeg failed: it ended with 1"


def speaking(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(encoding, "QUALITY", "no number")
    return "ffmpeg failed: "


@pytest.mark.usefixtures("brief", "plain")
@pytest.mark.parametrize("spoil", [missing, absent, failing, speaking])
def test_a_film_that_fails_is_one_line_and_takes_nothing_with_it(
    written: Maker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[pytest.MonkeyPatch], str],
) -> None:
    from equipoise import cli

    run = written([started(), pictures(0), sensed(5)])
    expected = spoil(monkeypatch)
    assert cli.run(["report", str(run.folder)]) == 0
    out, err = capsys.readouterr()
    assert out == f"report: {run.folder / 'report.html'}\n"
    assert err.startswith("equipoise: no film: ")
    assert err.count("\n") == 1
    assert expected in err
    assert (run.folder / "report.html").exists()
    assert not list((run.folder / "film").glob("*")), "nothing partial is left"


@pytest.mark.usefixtures("brief")
def test_an_old_film_stays_when_a_new_one_fails(written: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    run = written([started(), pictures(0), sensed(5)])
    path = film.make(run)
    assert path is not None
    before = path.read_bytes()

    def torn(self: scenes.Scene, moments: object) -> Iterator[Image.Image]:
        yield Image.new("RGB", scenes.SIZE)
        raise KeyboardInterrupt

    monkeypatch.setattr(scenes.Scene, "frames", torn)
    with pytest.raises(KeyboardInterrupt):
        film.make(run)
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {"training_progress.mp4", "poster.png"}


@pytest.mark.usefixtures("brief", "plain")
def test_the_command_makes_film_and_page(written: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    from equipoise import cli

    run = written([started(), pictures(0), sensed(5)])
    assert cli.run(["report", str(run.folder), "--no-film"]) == 0
    assert not (run.folder / "film").exists()
    assert "<video" not in (run.folder / "report.html").read_text()
    assert cli.run(["report", str(run.folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"film: {run.folder / 'film' / 'training_progress.mp4'}",
        f"report: {run.folder / 'report.html'}",
    ]


@pytest.mark.usefixtures("plain")
def test_a_page_has_the_film_beside_it_and_its_poster_within(filmed: Path) -> None:
    text = page.write(Run(filmed.parents[1])).read_text()
    video = re.search(r"<video [^>]*>", text)
    assert video is not None
    assert 'src="film/training_progress.mp4"' in video[0]
    assert 'preload="none"' in video[0]
    assert "media-src file: 'self'" in text
    assert text.count('<a href="film/training_progress.mp4">') == 1
    poster = film.poster(Run(filmed.parents[1]))
    assert poster is not None
    with Image.open(io.BytesIO(poster)) as mine, Image.open(filmed.with_name("poster.png")) as theirs:
        assert np.array_equal(np.asarray(mine), np.asarray(theirs))


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n", "small"])
def test_a_poster_that_cannot_be_read_is_left_out(written: Maker, content: bytes | str | None) -> None:
    run = written([started()])
    folder = run.folder / "film"
    folder.mkdir()
    (folder / "training_progress.mp4").write_bytes(b"a film")
    if content == "small":
        Image.new("RGB", (9, 9)).save(folder / "poster.png")
    elif isinstance(content, bytes):
        (folder / "poster.png").write_bytes(content)
    assert film.poster(run) is None


def test_what_cannot_be_written_is_told(written: Maker) -> None:
    run = written([started(), Sampled(0, 0, np.zeros((4, 1, 8, 8), np.float32))])
    (run.folder / "film").write_text("in the way")
    with pytest.raises(RunError, match="no film: cannot write to"):
        film.make(run)
