"""The synthetic bursts are deterministic, and each type drifts at the expected speed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_bursts.py"


@pytest.fixture(scope="module")
def bursts(load_script: Callable[[str], ModuleType]) -> ModuleType:
    """The script that writes synthetic bursts, as a module."""
    return load_script("make_bursts")


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.csv"))}


def test_counts_and_same_bytes_for_same_seed(bursts, tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path / "all"), "--size", "8", "--seed", "1"]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert process.stdout == f"258 synthetic windows in {tmp_path / 'all'}\n"
    windows = contents(tmp_path / "all")
    assert {kind: sum(path.startswith(kind) for path in windows) for kind in bursts.COUNTS} == {
        **{"type_2": 36, "type_3": 218, "type_5": 4}
    }
    assert len(set(windows.values())) == 258
    counts = {"type_2": 2, "type_3": 3, "type_5": 1}
    for name, seed in (("same_seed", 1), ("other_seed", 2)):
        assert bursts.write(tmp_path / name, counts, size=8, seed=seed) == 6
    same, other = contents(tmp_path / "same_seed"), contents(tmp_path / "other_seed")
    assert same == {path: windows[path] for path in same}
    assert all(other[path] != windows[path] for path in same)
    values = np.loadtxt(tmp_path / "all" / "type_3" / "007.csv", delimiter=",")
    assert np.array_equal(values, bursts.window("type_3", 7, size=8, seed=1))


def test_folder_that_is_not_empty_is_rejected(tmp_path):
    (tmp_path / "existing.csv").write_text("1\n")
    process = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True)
    assert process.returncode == 1
    assert str(tmp_path) in process.stderr
    assert "not empty" in process.stderr
    assert contents(tmp_path) == {"existing.csv": b"1\n"}


def test_window_depends_on_its_number_and_not_on_the_counts(bursts):
    few = dict(bursts.windows({"type_2": 1, "type_3": 2}, size=16))
    more = dict(bursts.windows({"type_2": 3, "type_3": 4, "type_5": 1}, size=16))
    assert len(more) == 8
    assert all(np.array_equal(more[path], values) for path, values in few.items())


def test_density_of_the_corona_follows_newkirk(bursts):
    """At 1.5 radii 4.2e4 x 10^2.88 = 3.186e7 electrons per cm³, which oscillate at 8.98e-3 x 5644 = 50.69 MHz."""
    assert bursts.distance(np.array(50.69)) == pytest.approx(1.5 * 695_700, rel=1e-3)


def test_beam_crosses_the_band_within_seconds(bursts):
    """Each channel peaks after the one above it, with the delay of a speed of 0.1 to 0.4 c, to within 0.25 s."""
    power = bursts.beam(np.random.RandomState(3), 128, 2.0)
    tops = power.argmax(axis=1)
    strong = power.max(axis=1) > power.max() / 10
    assert (np.diff(tops[strong]) >= 0).all()
    first, last = np.flatnonzero(strong)[[0, -1]]
    f, t = bursts.channels(128).ravel(), bursts.times(128).ravel()
    seconds = t[tops[last]] - t[tops[first]]
    kilometres = bursts.distance(f[[last]]) - bursts.distance(f[[first]])
    speed = float(kilometres[0] / seconds / bursts.LIGHT)
    assert 0.08 < speed < 0.45


def test_shock_drifts_slowly_at_a_frequency_and_its_harmonic(bursts):
    for number in range(5):
        power = bursts.type_2(np.random.RandomState(number), 256)
        f = bursts.channels(256).ravel()
        lanes = [power[(f < 45)], power[(f > 52)]]
        tops = [f[f < 45][lanes[0].argmax(axis=0)], f[f > 52][lanes[1].argmax(axis=0)]]
        first, last = tops[1][:8].mean(), tops[1][-8:].mean()
        assert 0 < first - last < 25, "MHz in 32 s"
        ratio = np.median(tops[1] / tops[0])
        assert 1.6 < ratio < 2.5, "2, apart from the split"


def test_continuum_lasts_longer_than_its_beam(bursts):
    for number in range(4):
        random = np.random.RandomState(number)
        burst, beam = bursts.type_5(random, 64), bursts.beam(np.random.RandomState(number + 50), 64, 4.0)
        late = slice(48, None)
        assert burst[40:, late].mean() > 3 * beam[40:, late].mean()


def test_noise_has_the_specified_deviation(bursts):
    quiet = [bursts.window("type_3", number, 64)[:, :4] for number in range(12)]
    steps = np.concatenate([np.diff(window, axis=1) for window in quiet])
    deviation = np.median(np.abs(steps)) / 0.6745 / 2**0.5  # of a normal difference: sigma √2 x 0.6745
    assert deviation == pytest.approx(0.8, rel=0.1)
