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
from PIL import Image

from equipoise.core.events import Evaluated, Event, Finished, Resumed, Sampled, Sensed
from equipoise.core.observations import Finding, Health, ScalarStats, Signals
from equipoise.errors import RunError
from equipoise.report import film, film_frames, film_panels, film_samples, page, video_encoding
from equipoise.report.run_history import read_history
from equipoise.runs.run import Run

from .conftest import (
    BATCH,
    EXPERIMENT,
    Maker,
    first_frame,
    folder_of,
    full,
    pictures,
    points,
    renderer_of,
    sensed,
    started,
    text_of,
    turned,
)

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def low_frame_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render two frames per second, which is faster."""
    monkeypatch.setattr(film, "FRAME_RATE", 2)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every kind of event, and its film. Read only."""
    run = folder_of(list(full()), tmp_path_factory.mktemp("filmed") / "run-1", EXPERIMENT)
    path = film.write_film(run)
    assert path == run.folder / "film" / "training_progress.mp4"
    return path


def ffmpeg_info(path: Path) -> str:
    """Return what ffmpeg prints about a film."""
    return subprocess.run([get_ffmpeg_exe(), "-hide_banner", "-i", str(path)], capture_output=True, text=True).stderr


def decoded(path: Path) -> Pixels:
    """All frames (T, 720, 1280, 3)."""
    command = [get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    content = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(content, np.uint8).reshape(-1, 720, 1280, 3)


def test_film_format_is_supported_by_browsers_and_players(filmed: Path) -> None:
    info = ffmpeg_info(filmed)
    assert re.search(r"Video: h264 \(High\).*yuv420p\(tv, bt709.*\), 1280x720", info), info
    duration = re.search(r"Duration: 00:00:(\d+\.\d+)", info)
    assert duration is not None
    assert float(duration[1]) == pytest.approx(film.MIN_SECONDS, abs=0.1)
    assert "creation_time" not in info
    content = filmed.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "players may begin before they have it all"
    assert len(content) < 20e6
    assert {file.name for file in filmed.parent.iterdir()} == {"training_progress.mp4", "poster.png"}


def test_the_last_frame_is_repeated_and_is_the_poster(filmed: Path) -> None:
    frames = decoded(filmed)
    hold = round(film.HOLD_SECONDS * film.FRAME_RATE)
    assert len(frames) == round(film.MIN_SECONDS * film.FRAME_RATE)
    with Image.open(filmed.with_name("poster.png")) as image:
        poster = np.asarray(image).astype(float)
    # Colours have half the resolution and frames are compressed, so they are similar but not equal.
    errors = np.abs(frames[-hold - 3 :] - poster).mean(axis=(1, 2, 3))
    assert errors[-hold:].max() < 1.5
    assert np.abs(frames[0] - poster).mean() > 3


@pytest.mark.usefixtures("low_frame_rate")
def test_film_is_deterministic(write_run: Maker) -> None:
    run = write_run(list(full()))
    contents = []
    for _ in range(2):
        path = film.write_film(run)
        assert path is not None
        contents.append((path.read_bytes(), path.with_name("poster.png").read_bytes()))
    assert contents[0] == contents[1]


@pytest.mark.parametrize("count", [1, 2, 34, 100, 142, 143, 100_000])
def test_film_takes_8_to_30_seconds_and_covers_all_steps(count: int) -> None:
    steps = film._frame_steps(1200, count)
    seconds = len(steps) / film.FRAME_RATE + film.HOLD_SECONDS
    assert film.MIN_SECONDS - 0.1 <= seconds <= film.MAX_SECONDS + 0.1
    assert seconds == pytest.approx(min(30, max(8, 0.2 * count + 1.5)), abs=0.1)
    assert (steps[0], steps[-1]) == (0, 1200)


def test_frames_show_the_latest_samples() -> None:
    lines = [{"event": "sampled", "step": step} for step in (0, 10, 100)]
    assert film._sample_indices(lines, [0, 9.9, 10, 99, 100, 200]) == [0, 0, 1, 1, 2, 2]
    assert film._sample_indices(lines[1:], [0, 10]) == [0, 0]


def test_bit_rate_is_limited(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    frames = (Image.fromarray(np.roll(noise, 97 * shift, axis=1)) for shift in range(30))
    video_encoding.write_video(tmp_path / "noise.mp4", frames, (1280, 720), 15)
    seconds, buffered = 2, 1
    assert (tmp_path / "noise.mp4").stat().st_size < (seconds + buffered) * video_encoding.MAX_BIT_RATE / 8
    assert (film.MAX_SECONDS + buffered) * video_encoding.MAX_BIT_RATE / 8 < 18e6


@pytest.mark.usefixtures("low_frame_rate")
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
def test_film_of_sparse_or_malformed_runs(write_run: Maker, events: list[Event]) -> None:
    path = film.write_film(write_run(events))
    assert path is not None
    assert len(decoded(path)) == 16


@pytest.mark.usefixtures("low_frame_rate")
def test_film_of_a_diverged_run(write_run: Maker) -> None:
    lost = ScalarStats(math.nan, math.nan, math.nan, math.nan)
    result = Health((Finding("divergence", 1.0, {}, since=20),))
    losses = {"discriminator.total": lost, "generator.total": lost}
    last = Sensed(20, 20 * BATCH, 0.05, 2.0, losses, Signals(), result)
    run = write_run([started(), pictures(0), sensed(10), last, Finished(20, 20 * BATCH, "diverged", "diverged", 2.0)])
    assert film.write_film(run) is not None
    clock = renderer_of(run).clock
    assert "healthy" in text_of(clock.text_at(12)[1])
    assert "ended diverged" in text_of(clock.text_at(20)[1])
    loss = film_panels.film_panels(read_history(run))[0]
    assert text_of(loss.text_at(20)) == "discriminator – generator –"


def test_run_without_samples_has_no_film(write_run: Maker) -> None:
    run = write_run([started(), sensed(1)])
    assert film.write_film(run) is None
    assert not (run.folder / "film").exists()
    with pytest.raises(RunError, match="not a run"):
        film.write_film(Run(run.folder / "none"))


@pytest.mark.usefixtures("low_frame_rate")
def test_damaged_samples_leave_a_note(write_run: Maker) -> None:
    run = write_run([started(), pictures(0), sensed(5), pictures(5)])
    (run.folder / "samples" / "step-00000000.png").write_bytes(b"\x89PNG")
    assert film.write_film(run) is not None
    intact, damaged = (
        np.asarray(first_frame(run, step))[film_samples.TOP : film_samples.TOP + 400, : film_samples.WIDTH]
        for step in (5, 0)
    )
    assert 0 < (damaged < 128).mean() < 0.05 < (intact < 128).mean()


def missing(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    return "pip install imageio-ffmpeg"


def absent(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    return "cannot be started: No such file or directory"


def failing(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(video_encoding, "_find_ffmpeg", lambda: "/bin/false")
    return "ffmpeg failed: exit code 1"


def invalid_option(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(video_encoding, "QUALITY", "no number")
    return "ffmpeg failed: "


@pytest.mark.usefixtures("low_frame_rate", "empty_figures")
@pytest.mark.parametrize("damage", [missing, absent, failing, invalid_option])
def test_failed_film_prints_one_line_and_the_report_is_written(
    write_run: Maker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[pytest.MonkeyPatch], str],
) -> None:
    from equipoise.cli import main as cli

    run = write_run([started(), pictures(0), sensed(5)])
    expected = damage(monkeypatch)
    assert cli.run(["report", str(run.folder)]) == 0
    out, err = capsys.readouterr()
    assert out == f"report: {run.folder / 'report.html'}\n"
    assert err.startswith("equipoise: no film: ")
    assert err.count("\n") == 1
    assert expected in err
    assert (run.folder / "report.html").exists()
    assert not list((run.folder / "film").glob("*")), "no partial file is left"


@pytest.mark.usefixtures("low_frame_rate")
def test_failed_film_keeps_the_previous_one(write_run: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run([started(), pictures(0), sensed(5)])
    path = film.write_film(run)
    assert path is not None
    before = path.read_bytes()

    def torn(self: film_frames.FilmRenderer, moments: object) -> Iterator[Image.Image]:
        yield Image.new("RGB", film_frames.SIZE)
        raise KeyboardInterrupt

    monkeypatch.setattr(film_frames.FilmRenderer, "frames", torn)
    with pytest.raises(KeyboardInterrupt):
        film.write_film(run)
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {"training_progress.mp4", "poster.png"}


@pytest.mark.usefixtures("low_frame_rate", "empty_figures")
def test_report_command_writes_film_and_page(write_run: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    from equipoise.cli import main as cli

    run = write_run([started(), pictures(0), sensed(5)])
    assert cli.run(["report", str(run.folder), "--no-film"]) == 0
    assert not (run.folder / "film").exists()
    assert "<video" not in (run.folder / "report.html").read_text()
    assert cli.run(["report", str(run.folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"film: {run.folder / 'film' / 'training_progress.mp4'}",
        f"report: {run.folder / 'report.html'}",
    ]


@pytest.mark.usefixtures("empty_figures")
def test_page_links_the_film_and_embeds_its_poster(filmed: Path) -> None:
    text = page.write_page(Run(filmed.parents[1])).read_text()
    video = re.search(r"<video [^>]*>", text)
    assert video is not None
    assert 'src="film/training_progress.mp4"' in video[0]
    assert 'preload="none"' in video[0]
    assert "media-src file: 'self'" in text
    assert text.count('<a href="film/training_progress.mp4">') == 1
    poster = film.read_poster(Run(filmed.parents[1]))
    assert poster is not None
    with Image.open(io.BytesIO(poster)) as embedded, Image.open(filmed.with_name("poster.png")) as file:
        assert np.array_equal(np.asarray(embedded), np.asarray(file))


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n", "small"])
def test_unreadable_poster_is_ignored(write_run: Maker, content: bytes | str | None) -> None:
    run = write_run([started()])
    folder = run.folder / "film"
    folder.mkdir()
    (folder / "training_progress.mp4").write_bytes(b"a film")
    if content == "small":
        Image.new("RGB", (9, 9)).save(folder / "poster.png")
    elif isinstance(content, bytes):
        (folder / "poster.png").write_bytes(content)
    assert film.read_poster(run) is None


def test_unwritable_folder_raises(write_run: Maker) -> None:
    run = write_run([started(), Sampled(0, 0, np.zeros((4, 1, 8, 8), np.float32))])
    (run.folder / "film").write_text("in the way")
    with pytest.raises(RunError, match="no film: cannot write to"):
        film.write_film(run)
