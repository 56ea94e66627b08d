"""The synthetic bursts: the same seed gives the same bytes, and each type drifts as it should."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_bursts.py"


@pytest.fixture(scope="module")
def bursts() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_bursts", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.csv"))}


def test_as_many_as_it_says_and_the_same_bytes_for_the_same_seed(bursts, tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path / "all"), "--size", "8", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"258 synthetic windows in {tmp_path / 'all'}\n"
    whole = contents(tmp_path / "all")
    assert {kind: sum(path.startswith(kind) for path in whole) for kind in bursts.COUNTS} == {
        **{"type_2": 36, "type_3": 218, "type_5": 4}
    }
    assert len(set(whole.values())) == 258
    few = {"type_2": 2, "type_3": 3, "type_5": 1}
    for name, seed in (("again", 1), ("other", 2)):
        assert bursts.write(tmp_path / name, few, size=8, seed=seed) == 6
    again, other = contents(tmp_path / "again"), contents(tmp_path / "other")
    assert again == {path: whole[path] for path in again}
    assert all(other[path] != whole[path] for path in again)
    values = np.loadtxt(tmp_path / "all" / "type_3" / "007.csv", delimiter=",")
    assert np.array_equal(values, bursts.window("type_3", 7, size=8, seed=1))


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.csv").write_text("1\n")
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "is not empty; name a new folder" in done.stderr
    assert contents(tmp_path) == {"mine.csv": b"1\n"}


def test_a_window_depends_on_its_number_and_not_on_how_many_there_are(bursts):
    few = dict(bursts.windows({"type_2": 1, "type_3": 2}, size=16))
    more = dict(bursts.windows({"type_2": 3, "type_3": 4, "type_5": 1}, size=16))
    assert len(more) == 8
    assert all(np.array_equal(more[path], values) for path, values in few.items())


def test_the_corona_is_newkirks(bursts):
    """At 1.5 radii 4.2e4 x 10^2.88 = 3.186e7 electrons a cm³, which oscillate at 8.98e-3 x 5644 = 50.69 MHz."""
    assert bursts.distance(np.array(50.69)) == pytest.approx(1.5 * 695_700, rel=1e-3)


def test_a_beam_falls_through_the_band_within_seconds(bursts):
    """Each channel peaks after the one above it, as late as a speed of 0.1 to 0.4 c has it, to a moment of 0.25 s."""
    power = bursts.beam(np.random.RandomState(3), 128, 2.0)
    tops = power.argmax(axis=1)
    strong = power.max(axis=1) > power.max() / 10
    assert (np.diff(tops[strong]) >= 0).all()
    first, last = np.flatnonzero(strong)[[0, -1]]
    f, t = bursts.channels(128).ravel(), bursts.moments(128).ravel()
    seconds = t[tops[last]] - t[tops[first]]
    kilometres = bursts.distance(f[[last]]) - bursts.distance(f[[first]])
    speed = float(kilometres[0] / seconds / bursts.LIGHT)
    assert 0.08 < speed < 0.45


def test_a_shock_drifts_slowly_at_a_frequency_and_at_twice_that(bursts):
    for number in range(5):
        power = bursts.type_2(np.random.RandomState(number), 256)
        f = bursts.channels(256).ravel()
        lanes = [power[(f < 45)], power[(f > 52)]]
        tops = [f[f < 45][lanes[0].argmax(axis=0)], f[f > 52][lanes[1].argmax(axis=0)]]
        first, last = tops[1][:8].mean(), tops[1][-8:].mean()
        assert 0 < first - last < 25, "MHz in 32 s"
        ratio = np.median(tops[1] / tops[0])
        assert 1.6 < ratio < 2.5, "2 but for the split"


def test_a_continuum_outlasts_its_beam(bursts):
    for number in range(4):
        random = np.random.RandomState(number)
        burst, beam = bursts.type_5(random, 64), bursts.beam(np.random.RandomState(number + 50), 64, 4.0)
        late = slice(48, None)
        assert burst[40:, late].mean() > 3 * beam[40:, late].mean()


def test_types_look_different_and_noise_is_as_said(bursts):
    quiet = [bursts.window("type_3", number, 64)[:, :4] for number in range(12)]
    steps = np.concatenate([np.diff(window, axis=1) for window in quiet])
    middle = np.median(np.abs(steps)) / 0.6745 / 2**0.5  # of a normal difference: sigma √2 x 0.6745
    assert middle == pytest.approx(0.8, rel=0.1)
