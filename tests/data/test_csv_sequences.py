"""Tables that are sequences: long ones, series in rows, narrow windows, columns of different units."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from equipoise.core import catalog
from equipoise.data._windows.streams import time_blocks
from equipoise.errors import DataError, SettingError, UnknownNameError
from equipoise.evaluation.sources import open_for_run
from equipoise.experiment.data_source import parse_data_source
from equipoise.experiment.settings import PlugSpec
from equipoise.inference.sample_files import write_samples

RANDOM = np.random.default_rng(4)
ROWS = 1600
WAVE = 0.5 + 0.3 * np.sin(np.arange(ROWS) / 9) + 0.05 * RANDOM.normal(size=ROWS)
WAVES = np.stack([np.sin(np.arange(600) / 5), np.cos(np.arange(600) / 9)], axis=1)
CLOCK = [f"2020/01/{1 + row // 1440:02d};{row // 60 % 24:02d}:{row % 60:02d}:00" for row in range(ROWS)]


@pytest.fixture
def load(tmp_path):
    """Create the resolved data set of a folder below tmp_path, from the contents of its files by name."""

    def create(files, **options):
        folder = tmp_path / "data"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.write_text(content)
            elif name.endswith(".npy"):
                np.save(path, content)
            else:
                np.savetxt(path, content, fmt="%.4f", delimiter=",")
        data = catalog.build(
            "data", "csv_windows", {"folder": str(folder), "cache": str(tmp_path / "cache"), **options}
        )
        create.notes = [step.note for step in data.prepare() if step.note]
        result = data.resolve()
        assert result.resolve() == result
        assert catalog.build("data", "csv_windows", dataclasses.asdict(result)) == result
        return result

    return create


def all_samples(data, split="train"):
    return data.stream(split, data.count(split), 0).batch(0)


def table_of(data, tmp_path, name="000000.csv"):
    """Write the first training samples as tables; return the lines of one."""
    write_samples(all_samples(data).real[:2], tmp_path / "out", data.spec, "csv")
    return (tmp_path / "out" / name).read_text().splitlines()


def test_long_dated_table_is_cut(load, tmp_path):
    text = "date;time;price\n" + "".join(f"{time};{x:.4f}\n" for time, x in zip(CLOCK, WAVE, strict=True))
    data = load({"prices.csv": text})
    assert data.spec.shape == (1, 64)
    assert "left out: date, time (date or time)" in load.notes
    assert "cut into windows of 64 rows, one every 16 rows (data.window, data.stride)" in load.notes
    lines = table_of(data, tmp_path)
    assert lines[0] == "price"
    assert len(lines) == 65
    assert all(0 < float(line) < 1 for line in lines[1:])


def test_windows_of_one_column(load):
    data = load({"all.csv": WAVE}, window=32, stride=8)
    assert data.spec.shape == (1, 32)
    assert data.stride == 8
    windows = np.lib.stride_tricks.sliding_window_view(WAVE.round(4), 32)[::8]
    real = all_samples(data).real[:, 0].double()
    low, high = data.spec.unit
    restored = (low + (real + 1) / 2 * (high - low)).numpy()
    assert np.abs(restored[:, None] - windows[None]).max(axis=2).min(axis=1).max() < 1e-6


def test_held_out_windows_share_no_row_with_training_windows(load):
    """The rows are numbered by their values, so that windows show which rows they hold."""
    data = load(
        {"all.csv": np.stack([np.arange(ROWS) / 7, WAVE], 1)}, window=32, stride=8, columns="1", rows_are="time"
    )
    low, high = data.spec.unit

    def rows(split):
        values = low + (all_samples(data, split).real.double() + 1) / 2 * (high - low)
        return set((values * 7).round().int().flatten().tolist())

    assert len(rows("held_out")) > 100
    assert not rows("train") & rows("held_out")
    note = next(note for note in load.notes if "held out" in note)
    assert "in blocks of time" in note
    assert "that overlap them are not used" in note


@pytest.mark.parametrize(("count", "share", "gap"), [(397, 0.1, 3), (1000, 0.1, 15), (20, 0.1, 3), (8, 0.5, 0)])
def test_time_blocks(count, share, gap):
    blocks = time_blocks(count, share, gap)
    assert sum(map(len, blocks)) == round(count * share)
    assert 1 <= len(blocks) <= 5
    assert all(0 <= block.start < block.stop <= count for block in blocks)
    assert all(before.stop + gap <= after.start for before, after in itertools.pairwise(blocks))


def test_nothing_is_held_out_of_too_few_windows():
    assert time_blocks(4, 0.1, 3) == []
    assert time_blocks(40, 0.0, 3) == []


def test_rows_that_are_series(load, tmp_path):
    data = load({"all.csv": WAVE.reshape(25, 64)})
    assert data.spec.shape == (1, 64)
    assert data.count("train") + data.count("held_out") == 25
    assert "each of the 25 rows is read as one series of 64 values" in load.notes[0]
    lines = table_of(data, tmp_path, "series.csv")
    assert [len(line.split(",")) for line in lines] == [64, 64]


def test_rows_are_can_be_set(load):
    data = load({"all.csv": WAVE.reshape(100, 16)}, rows_are="time", window=20, kind="sequence")
    assert data.spec.shape == (16, 20)
    with pytest.raises(SettingError, match="set rows_are = time"):
        load({"all.csv": WAVE.reshape(100, 16)}, rows_are="series", window=20)


def test_labels_of_series(load):
    """The format of the UCR archive: the class first, then the values, separated by tabs."""
    waves = np.stack([np.sin(np.arange(48) / (4 + label) + RANDOM.random()) for label in (0, 1) for _ in range(30)])
    lines = ["\t".join([str(1 + row // 30), *(f"{x:.5f}" for x in wave)]) for row, wave in enumerate(waves)]
    data = load({"Waves_TRAIN.tsv": "\n".join(lines)})
    assert data.spec.class_names == ("1", "2")
    assert data.spec.shape == (1, 48)
    assert "2 labels: 1 30, 2 30" in load.notes
    batch = all_samples(data)
    low, high = data.spec.unit
    for sample, label in zip(batch.real, batch.condition.tolist(), strict=True):
        values = (low + (sample[0].double() + 1) / 2 * (high - low)).numpy()
        assert np.abs(waves - values).max(axis=1).argmin() // 30 == label
    assert load({}, label="none").spec.shape == (1, 49)


def test_narrow_windows_are_sequences(load, tmp_path):
    windows = {f"{i}.csv": RANDOM.normal(size=(64, 4)) for i in range(20)}
    data = load(windows)
    assert data.spec.shape == (4, 64)
    assert data.stride is None
    assert [len(line.split(",")) for line in table_of(data, tmp_path)] == [4] * 64


def test_samples_are_the_files_again(load, tmp_path):
    windows = {f"{i:02d}.csv": RANDOM.normal(size=(64, 2)) * [1, 1000] + [20, 1e5] for i in range(20)}
    data = load(windows)
    write_samples(all_samples(data).real, tmp_path / "out", data.spec, "csv")
    originals = [window.round(4) for window in windows.values()]
    for path in (tmp_path / "out").glob("*.csv"):
        written = np.loadtxt(path, delimiter=",")
        assert min(np.abs((window - written) / [1, 1000]).max() for window in originals) < 1e-5


def test_columns_of_different_units_keep_them(load, tmp_path):
    time = np.arange(16)
    files = {}
    for k in range(40):
        columns = [20 + 3 * np.sin(time / 3 + k), 101_325 + 400 * np.cos(time / 4 + k)] * 8
        rows = "".join(",".join(f"{x:.3f}" for x in row) + "\n" for row in np.stack(columns, 1))
        files[f"{k:02d}.csv"] = "temp,hpa\n" + rows
    data = load(files)
    low, high = data.spec.unit
    assert all(16.9 < value < 17.5 for value in low[::2])
    assert all(101_650 < value < 101_730 for value in high[1::2])
    real = all_samples(data).real
    assert (real.amin((0, 2)) == -1).all()
    assert (real.amax((0, 2)) == 1).all()
    lines = table_of(data, tmp_path)
    assert lines[0] == "temp,hpa"
    values = np.array([line.split(",") for line in lines[1:]], float)
    assert values.shape == (16, 16)
    assert (np.abs(values[:, ::2] - 20) < 3.1).all()
    assert (np.abs(values[:, 1::2] - 101_325) < 401).all()


def test_constant_column_is_restored(load, tmp_path):
    data = load({"a.csv": np.stack([WAVE, np.full(ROWS, 5.0), 100 * WAVE], 1)})
    assert data.spec.shape == (3, 64)
    assert (all_samples(data).real[:, 1] == 0).all()
    assert {line.split(",")[1] for line in table_of(data, tmp_path)} == {"5.0"}


def test_spectrograms_keep_one_scale(load):
    gains = np.linspace(0, 30, 64)
    data = load({f"{i}.csv": gains + RANDOM.normal(0, 3, (64, 64)) for i in range(10)})
    assert data.spec.shape == (1, 64, 64)
    assert isinstance(data.low, float)
    assert any(note.startswith("one range for all 64 columns") for note in load.notes)


def test_columns_by_name_and_number(load):
    text = "a,b,c\n" + "".join(f"{x:.4f},{2 * x:.4f},{RANDOM.normal():.4f}\n" for x in WAVE)
    assert load({"all.csv": text}, columns="c,1").names == ("c", "a")
    assert "not used: b (data.columns)" in load.notes
    with pytest.raises(UnknownNameError, match="there is no column 'bb'; did you mean 'b'"):
        load({}, columns="bb")


@pytest.mark.parametrize("order", ["alternating", "consecutive"])
def test_no_window_holds_rows_of_two_stations(load, order):
    rows = [(station, row) for station in "AB" for row in range(ROWS // 2)]
    rows.sort(key=lambda pair: (pair[1], pair[0]) if order == "alternating" else pair)
    text = "".join(f"2020-01-{1 + row // 100:02d},{name},{row / 1000 + 5 * (name == 'B'):.3f}\n" for name, row in rows)
    data = load({"all.csv": "date,station,value\n" + text})
    assert any("2 recordings by station" in note for note in load.notes)
    low, high = data.spec.unit
    values = low + (all_samples(data).real.double() + 1) / 2 * (high - low)
    assert ((values > 2.5).all(2) | (values < 2.5).all(2)).all()


def test_rows_that_are_channels(load, tmp_path):
    data = load({f"{i}.csv": RANDOM.normal(size=(3, 128)) for i in range(20)})
    assert data.spec.shape == (3, 128)
    assert [len(line.split(",")) for line in table_of(data, tmp_path)] == [128] * 3


def test_one_long_row_is_cut(load):
    assert load({"a.csv": WAVE[None]}).spec.shape == (1, 64)


def test_several_long_files_of_different_lengths(load):
    data = load({f"{i}.csv": RANDOM.normal(size=(500 + 100 * i, 3)) for i in range(4)})
    assert data.spec.shape == (3, 64)
    assert data.count("train") + data.count("held_out") < sum((436 + 100 * i) // 16 + 1 for i in range(4))


def test_ten_long_files_are_held_out_whole(load):
    data = load({f"{i}.csv": RANDOM.normal(size=(300, 1)) for i in range(10)})
    assert (data.count("train"), data.count("held_out")) == (9 * 15, 15)


def test_arrays_are_read(load):
    assert load({"long.npy": np.stack([WAVE, 3 * WAVE], 1)}).spec.shape == (2, 64)


def test_array_of_windows(tmp_path):
    np.save(tmp_path / "windows.npy", RANDOM.normal(size=(30, 50, 3)).astype(np.float32))
    options = {"folder": str(tmp_path / "windows.npy"), "cache": str(tmp_path / "cache")}
    data = catalog.build("data", "csv_windows", options).resolve()
    assert data.spec.shape == (3, 50)
    assert data.count("train") + data.count("held_out") == 30


def test_too_few_rows_are_refused(load):
    with pytest.raises(DataError, match=r"only 20 rows, too few to cut windows from; use --option data\.window=ROWS"):
        load({"a.csv": WAVE[:20]})


def test_missing_values(load):
    text = "a,b\n" + "".join(f"{x:.3f},{'' if row % 97 == 5 else 2 * x}\n" for row, x in enumerate(WAVE))
    with pytest.raises(DataError, match=r"line 7: value 2 is missing; use --option data\.missing=interpolate"):
        load({"a.csv": text})
    assert load({}, missing="interpolate").spec.shape == (2, 64)
    assert "17 missing values interpolated (data.missing)" in load.notes


def test_columns_in_another_order_are_matched_by_name(load):
    files = {f"{i}.csv": "a,b\n" + "".join(f"{x},{100 + x}\n" for x in RANDOM.random(64)) for i in range(10)}
    files["9.csv"] = "b,a\n" + "".join(f"{100 + x},{x}\n" for x in RANDOM.random(64))
    assert load(files).spec.unit[1][0] <= 1
    with pytest.raises(DataError, match=r"9\.csv, line 1: the columns are b, c, not a, b as in 0\.csv"):
        load({"9.csv": files["9.csv"].replace("b,a", "b,c")})


def test_runs_of_earlier_versions_stay_images(load):
    """Their options have no kind; the columns of their windows share a range."""
    data = load({f"{i}.csv": RANDOM.normal(size=(16, 12)) for i in range(10)})
    old = {"folder", "types", "image_size", "low", "high", "held_out", "cache", "window", "digest"}
    options = {name: value for name, value in dataclasses.asdict(data).items() if name in old}
    options["window"] = list(options["window"])
    assert catalog.build("data", "csv_windows", options).spec.shape == (1, 16, 12)
    assert catalog.build("data", "csv_windows", options).resolve().spec.shape == (1, 16, 12)


def test_streams_are_contiguous_and_float32(load):
    real = all_samples(load({"a.csv": np.stack([WAVE, 5 * WAVE], 1)})).real
    assert real.is_contiguous()
    assert real.dtype == torch.float32


def test_tests_are_never_trained_on(load):
    windows = {
        f"{split}/{kind}/{i}.csv": RANDOM.normal(size=(32, 2))
        for split in ("train", "test")
        for kind in "ab"
        for i in range(6)
    }
    data = load(windows)
    assert data.types == ("a", "b")
    assert data.count("train") + data.count("held_out") == 12
    assert "12 files of the split 'test' are not used: only 'train' is" in load.notes
    assert set(all_samples(data).condition.tolist()) == {0, 1}


def test_files_named_after_splits(load):
    rows = np.stack([np.sin(np.arange(40) / 5 + RANDOM.random()) for _ in range(30)])
    data = load({"Waves_TRAIN.csv": rows, "Waves_TEST.csv": rows + 1})
    assert data.count("train") + data.count("held_out") == 30
    assert data.high <= 1


def test_types_may_be_called_test(load):
    assert load(
        {f"{kind}/{i}.csv": RANDOM.normal(size=(32, 2)) for kind in ("test", "other") for i in range(6)}
    ).types == (
        "other",
        "test",
    )


def test_parts_of_dates_and_identifiers_are_no_numbers(load):
    rows = [
        f"{row},{2020 + row // 300},{row // 24 % 12 + 1},{row % 24},{row * 7919 % 1009},{20 + np.sin(row / 5):.3f}"
        for row in range(400)
    ]
    data = load({"a.csv": "\n".join(["No,year,month,hour,sensor_id,pm2.5", *rows])})
    assert data.resolve().names == ("pm2.5",)
    assert data.spec.shape[0] == 1


def test_numbers_of_stations_separate_recordings(load):
    rows = [f"{row // 200 + 3},{20 + np.sin(row / 5):.3f}" for row in range(600)]
    data = load({"a.csv": "\n".join(["station_id,temp", *rows])})
    assert data.resolve().names == ("temp",)
    assert any("3 recordings by station_id" in note for note in load.notes)


@pytest.mark.parametrize("head", ["id,class", "class,id"])
def test_series_with_an_index_and_a_label(load, head):
    random = np.random.default_rng(0)
    rows = []
    for row in range(60):
        values = ",".join(f"{x:.4f}" for x in np.sin(np.arange(32) / (5 + row % 2)) + random.normal(0, 0.1, 32))
        pair = f"{row + 1},{row % 2}" if head == "id,class" else f"{row % 2},{row + 1}"
        rows.append(f"{pair},{values}")
    data = load({"a.csv": "\n".join([f"{head}," + ",".join(f"t{i}" for i in range(32)), *rows])})
    assert data.spec.shape == (1, 32)
    assert data.spec.class_names == ("0", "1")


def test_files_shorter_than_a_window_are_counted(load):
    files = {f"{k:02d}.csv": "\n".join(f"{np.sin(i / 5 + k):.4f}" for i in range(300 + k)) for k in range(12)}
    files["01.csv"] = "\n".join("0.5\n0.25" for _ in range(5))
    data = load(files)
    assert "1 file shorter than a window is not used (data.window)" in load.notes
    assert data.count("train") > 50


def read_path(path, cache):
    """Read a path as `equipoise train PATH` does."""
    spec = parse_data_source(str(path))
    assert spec.name == "csv_windows"
    return catalog.build("data", spec.name, {**spec.options, "cache": str(cache)})


def test_arrays_of_series_in_one_file(tmp_path):
    """TimeGAN's x_train and x_test; channels first; nothing is dropped without a word."""
    values = np.sin(np.arange(24) / 4 + np.arange(60)[:, None])[..., None]
    np.savez(tmp_path / "a.npz", x_test=values[:7], x_train=values, y_train=np.arange(60))
    data = read_path(tmp_path / "a.npz", tmp_path / "cache")
    assert data.spec.shape == (1, 24)
    assert data.count("train") + data.count("held_out") == 60
    assert "left out: x_test, y_train (only the array x_train is used)" in [step.note for step in data.prepare()]
    np.savez(tmp_path / "b.npz", data=np.repeat(values.transpose(0, 2, 1), 3, axis=1).astype(np.float32))
    assert read_path(tmp_path / "b.npz", tmp_path / "cache").spec.shape == (3, 24)
    np.save(tmp_path / "c.npy", np.repeat(values.transpose(0, 2, 1), 3, axis=1))
    assert read_path(tmp_path / "c.npy", tmp_path / "cache").spec.shape == (3, 24)


def test_arrays_of_images_are_no_series(tmp_path):
    random = np.random.default_rng(0)
    for name, shape in {"a": (20, 16, 16), "b": (20, 16, 16, 3), "c": (20, 3, 16, 16)}.items():
        np.savez(tmp_path / f"{name}.npz", images=random.random(shape))
        assert parse_data_source(str(tmp_path / f"{name}.npz")).name == "image_folder"


@pytest.mark.parametrize("name", ["a.txt", "a.dat", "a"])
def test_numbers_in_text_files_are_tables(tmp_path, name):
    rows = "\n".join(f"{np.sin(row / 5):.4f} {np.cos(row / 7):.3e}" for row in range(900))
    (tmp_path / name).write_text(f"# two waves\n{rows}")
    assert read_path(tmp_path / name, tmp_path / "cache").spec.shape == (2, 32)
    (tmp_path / "words.txt").write_text("one of 3\n4 words\nfive\n" * 5)
    assert parse_data_source(str(tmp_path / "words.txt")).name == "text_lines"


def test_folder_of_text_files_of_numbers(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(12):
        np.savetxt(tmp_path / "in" / f"{number}.txt", np.sin(np.arange(64) / 5 + number)[:, None])
    assert read_path(tmp_path / "in", tmp_path / "cache").spec.shape == (1, 64)


def test_short_recordings_are_held_out_as_wholes(tmp_path):
    """One window of each of six files of two would be half of the data."""
    (tmp_path / "in").mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        np.savetxt(tmp_path / "in" / f"{number}.csv", random.normal(size=(130, 1)))
    options = {"folder": str(tmp_path / "in"), "cache": str(tmp_path / "cache"), "window": 64, "stride": 64}
    data = catalog.build("data", "csv_windows", options)
    assert data.count("held_out") == 2
    assert "2 of 12 windows are held out, all of 1 file" in [step.note for step in data.prepare()]


def test_series_of_classes_are_written_to_a_table_of_each_class(load, tmp_path):
    series = np.sin(np.arange(32) / 5 + np.arange(40)[:, None])
    data = load({"a.csv": np.concatenate([np.arange(40)[:, None] % 2, series], axis=1)})
    samples = torch.zeros(4, 1, 32) + torch.tensor([0.0, 0.5, 0.0, 0.5])[:, None, None]
    write_samples(samples, tmp_path / "out", data.spec, "csv", subfolders=["0", "1", "0", "1"])
    first, second = (np.loadtxt(tmp_path / "out" / name / "series.csv", delimiter=",") for name in ("0", "1"))
    assert first.shape == second.shape == (2, 32)
    assert (second > first).all()


@pytest.mark.parametrize("form", ["dated", "labelled", "channels"])
def test_samples_are_read_like_the_data_of_their_run(load, tmp_path, form):
    """Tables as `sample` writes them have neither the dates nor the labels of the data."""
    random = np.random.default_rng(0)
    if form == "dated":
        rows = [f"2020-01-01 {row // 60:02d}:{row % 60:02d},{x:.4f},{1000 * y:.2f}" for row, (x, y) in enumerate(WAVES)]
        files: dict[str, object] = {"a.csv": "\n".join(["date,a,b", *rows])}
    elif form == "labelled":
        series = np.sin(np.arange(32) / 5 + np.arange(40)[:, None]) + random.normal(0, 0.1, (40, 32))
        files = {"a.csv": np.concatenate([np.arange(40)[:, None] % 2, series], axis=1)}
    else:
        files = {f"{k}.csv": np.sin(np.arange(64) / 5 + k + np.arange(3)[:, None]) for k in range(12)}
    data = load(files)
    samples = data.stream("train", 8, 0).batch(0).real
    write_samples(samples, tmp_path / "out", data.spec, "csv")
    plug = PlugSpec("csv_windows", dataclasses.asdict(data))
    reals = open_for_run(str(tmp_path / "out"), plug, data.spec, {}, "held_out")
    assert reals.data.spec.shape == data.spec.shape
    again = reals.data.stream("train", 8, 0).batch(0).real
    distances = (again[:, None] - samples).abs().amax((2, 3)).amin(1)
    assert distances.max() < 1e-4


def test_columns_whose_range_is_that_of_few_values_are_named(load):
    values = WAVES.copy()
    values[::100, 1] = -9999
    files = {"a.csv": "\n".join(["a,b", *(f"{x:.4f},{y:.4f}" for x, y in values)])}
    load(files)
    notes = [note for note in load.notes if note.startswith("90 % of the values are within 5 % of the range (b: ")]
    assert len(notes) == 1
    assert "such as -9999, by nan" in notes[0]
    load(files, low=(-1.0, -1.0))
    assert not any("90 %" in note for note in load.notes)
    load({"a.csv": "\n".join(["a,b", *(f"{x:.4f},{y:.4f}" for x, y in WAVES)])})
    assert not any("90 %" in note for note in load.notes)
