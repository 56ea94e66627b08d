"""Folders of sound as spectrograms and waveforms, and back."""

import dataclasses
import sys

import numpy as np
import pytest
import torch

from equipoise.core import catalog
from equipoise.errors import DataError, MissingPackageError, SettingError
from equipoise.experiment.data_source import detect_reader
from equipoise.inference.sample_files import write_samples

soundfile = pytest.importorskip("soundfile")
RATE = 8000


def tone(frequency, seconds=1.2, rate=RATE):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Twelve tones in two types; one of them in stereo, one at another rate, one short."""
    place = tmp_path / "sound"
    for number in range(12):
        sound, rate, ending = tone(300 + 100 * number), RATE, "wav"
        if number == 1:
            sound = np.stack([sound, np.zeros_like(sound)], 1)
        if number == 2:
            sound, rate = tone(500, rate=2 * RATE), 2 * RATE
        if number == 3:
            sound, ending = sound[:3000], "flac"
        path = place / ("low" if number < 6 else "high") / f"{number:02d}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, rate)
    return place


@pytest.fixture
def load(tmp_path):
    def create(folder, **options):
        options = {"folder": str(folder), "cache": str(tmp_path / "cache"), **options}
        data = catalog.build("data", "audio_folder", options)
        create.notes = [step.note for step in data.prepare() if step.note]
        result = data.resolve()
        assert result.resolve() == result
        assert catalog.build("data", "audio_folder", dataclasses.asdict(result)) == result
        return result

    return create


def test_folders_of_sound_are_recognised(folder):
    assert detect_reader(str(folder))[0] == "audio_folder"
    assert detect_reader(str(folder / "low" / "00.wav"))[0] == "audio_folder"


def test_spectrograms(load, folder):
    data = load(folder)
    assert data.spec.shape == (1, 64, 64)
    assert data.spec.class_names == ("high", "low")
    assert data.sample_rate == RATE
    assert data.high - data.low == pytest.approx(80)
    assert data.count("train") + data.count("held_out") == 12
    batch = data.stream("train", data.count("train"), 0).batch(0)
    assert batch.real.shape[1:] == (1, 64, 64)
    assert -1 <= batch.real.min() < batch.real.max() == 1
    # The brightest row is the band of the tone, which is further up for higher tones.
    rows = batch.real.mean(3).argmax(2).flatten()
    assert rows[batch.condition == 0].max() < rows[batch.condition == 1].min() + 3
    for text in ("with several channels, which were averaged", "shorter than a window, extended by silence"):
        assert f"1 file {text}" in load.notes
    assert any("11 at 8,000 Hz, 1 at 16,000 Hz); converted to 8,000 Hz" in note for note in load.notes)


def test_waveforms_are_restored_exactly(load, folder, tmp_path):
    data = load(folder, representation="raw", seconds=0.5)
    assert data.spec.shape == (1, 4000)
    assert data.low == -data.high
    assert data.high == pytest.approx(0.5, abs=5e-3)
    real = data.stream("train", data.count("train"), 0).batch(0).real
    write_samples(real, tmp_path / "out", data.spec)
    originals = [soundfile.read(path, dtype="int16")[0] for path in folder.glob("*/*.wav") if path.stem != "02"]
    pieces = [sound[start : start + 4000] for sound in originals if sound.ndim == 1 for start in (0, 4000)]
    matches = 0
    for path in (tmp_path / "out").glob("*.wav"):
        sound, rate = soundfile.read(path, dtype="int16")
        assert (rate, len(sound)) == (RATE, 4000)
        matches += any(np.array_equal(sound, piece) for piece in pieces)
    assert matches >= len(real) - 5  # those of the stereo, the converted and the short file differ


def test_spectrograms_become_sound_again(load, folder, tmp_path):
    data = load(folder)
    real = data.stream("train", 4, 0).batch(0).real
    write_samples(real, tmp_path / "out", data.spec, "wav")
    for index, image in enumerate(real):
        sound, rate = soundfile.read(tmp_path / "out" / f"{index:06d}.wav")
        assert (rate, len(sound)) == (RATE, 63 * 128)
        loudest = np.abs(np.fft.rfft(sound)).argmax() * rate / len(sound)
        mel = loudest * 3 / 200 if loudest < 1000 else 15 + 27 * np.log(loudest / 1000) / np.log(6.4)
        highest = 15 + 27 * np.log(4) / np.log(6.4)
        assert 63 - int(image[0].mean(1).argmax()) == pytest.approx(mel / highest * 65 - 1, abs=1.5)


def test_one_long_file_is_held_out_in_blocks(load, tmp_path):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "long.wav", np.concatenate([tone(f) for f in range(200, 3000, 100)]), RATE)
    data = load(tmp_path / "in", representation="raw", seconds=0.1, stride=0.05)
    assert data.count("held_out") > 20
    assert any("in blocks of time" in note for note in load.notes)
    assert load(tmp_path / "in" / "long.wav", representation="raw", seconds=0.1).spec.shape == (1, 800)


def test_damaged_file_is_named(load, folder):
    (folder / "low" / "00.wav").write_bytes(b"RIFFnothing")
    with pytest.raises(DataError, match=r"low/00\.wav is damaged, or no sound; repair the file, or remove it"):
        load(folder)


def test_silence_is_refused(load, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "in" / f"{number}.wav", np.zeros(9000, np.float32), RATE)
    with pytest.raises(DataError, match="is silent"):
        load(tmp_path / "in", representation="raw")


def test_missing_package_is_named(load, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'equipoise\[audio\]'"):
        load(folder)


@pytest.mark.parametrize(("option", "value"), [("seconds", 0), ("sample_rate", -1), ("held_out", 0.7)])
def test_options_out_of_range(load, folder, option, value):
    with pytest.raises(SettingError, match=f"{option} = {value}: it must be"):
        load(folder, **{option: value})


def test_streams_are_pure(load, folder):
    data = load(folder, representation="raw", seconds=0.2)
    first, second = (data.stream("train", 4, 3).batch(5) for _ in range(2))
    assert torch.equal(first.real, second.real)
    assert torch.equal(first.condition, second.condition)
