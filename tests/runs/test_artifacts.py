"""Files of a run: image grids, and atomic writes."""

from pathlib import Path

import numpy as np
import pytest

from equipoise.runs.artifacts import make_grid, write_bytes, write_text


def samples(count: int, channels: int, value: float = 0.0) -> np.ndarray:
    return np.full((count, channels, 4, 6), value, np.float32)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "RGB"), (3, "RGB"), (4, "RGB")])
@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (4, 2, 2), (5, 3, 2), (16, 4, 4)])
def test_grid_is_almost_square(channels: int, mode: str, count: int, columns: int, rows: int) -> None:
    image = make_grid(samples(count, channels))
    assert image.mode == mode
    assert image.size == (columns * 6 + (columns - 1) * 2, rows * 4 + (rows - 1) * 2)


def test_grid_has_the_given_columns() -> None:
    assert make_grid(samples(20, 1), columns=10).size == (10 * 8 - 2, 2 * 6 - 2)
    assert make_grid(samples(3, 1), columns=10, gap=0).size == (60, 4)


def test_grid_is_filled_row_by_row_in_full_range() -> None:
    """Each image has its own shade; gaps and empty cells are grey."""
    shades = np.array([-1.0, 0.0, 1.0, -7.0, 7.0], np.float32)
    image = np.asarray(make_grid(np.broadcast_to(shades[:, None, None, None], (5, 1, 4, 6)).copy()))
    shades_in_grid = [[image[top, left] for left in (3, 11, 19)] for top in (2, 8)]
    assert shades_in_grid == [[0, 128, 255], [0, 255, 128]]
    assert image[2, 6] == 128
    assert set(np.unique(image)) == {0, 128, 255}


@pytest.mark.parametrize("channels", [2, 3])
def test_channels_keep_their_order(channels: int) -> None:
    colour = np.linspace(-1, 1, channels, dtype=np.float32)
    image = np.asarray(make_grid(np.broadcast_to(colour[None, :, None, None], (1, channels, 4, 6)).copy()))
    expected = [round((float(value) + 1) * 127.5) for value in colour] + [0] * (channels == 2)
    assert image[1, 1].tolist() == expected


def test_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "experiment.json"
    write_text(path, "first, ä")
    assert path.read_text(encoding="utf-8") == "first, ä"
    write_bytes(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["write_bytes", "replace"])
def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "experiment.json"
    write_text(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, place, full)
        with pytest.raises(OSError, match="No space left"):
            write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_kill_while_writing_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(BaseException):
        pass

    def kill(*args: object, **options: object) -> None:
        raise KilledError

    write_text(tmp_path / "experiment.json", "old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        with pytest.raises(KilledError):
            write_text(tmp_path / "experiment.json", "new")
    assert (tmp_path / "experiment.json").read_text() == "old"
