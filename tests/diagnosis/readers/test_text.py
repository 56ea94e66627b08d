"""Text logs of many programs (made-up numbers): every number comes out under the name that the log gives it."""

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.diagnosis.logs.log_columns import LogColumns
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.readers.text import LogLines
from equipoise.errors import DataError

ROWS = 12


class Program(NamedTuple):
    """How a program prints step i, which values its columns have there, and the planned ends of its counters."""

    text: Callable[[int], str]
    values: Callable[[int], Mapping[str, float]]
    totals: Mapping[str, float] = {}
    percent: frozenset[str] = frozenset()


PROGRAMS = {
    "pix2pix": Program(
        lambda i: (
            f"(epoch: {1 + i}, iters: 100, time: 0.110, data: 0.002) G_GAN: 1.{i:03d} G_L1: 38.6 D_real: 0.4 "
            f"D_fake: 0.{i:02d} \n"
        ),
        lambda i: {"epoch": 1 + i, "iters": 100, "G_GAN": 1 + i / 1000, "G_L1": 38.6, "D_real": 0.4, "D_fake": i / 100},
    ),
    "Keras-GAN": Program(
        lambda i: f"{i} [D loss: 0.{i:06d}, acc.: {50 + i}.25%] [G loss: {i}.5]\n",
        lambda i: {"#1": i, "D loss": i / 1e6, "acc": 50.25 + i, "G loss": i + 0.5},
        percent=frozenset({"acc"}),
    ),
    "Keras fit": Program(
        lambda i: (
            f"Epoch {i + 1}/30\n\r 1/352 [..............................] - ETA: 5s - d_loss: 9.0 - g_loss: 9.0"
            f"\b\b\b\b\b\r352/352 [==============================] - 5s 14ms/step - d_loss: 0.{i:04d} - g_loss: 1.5\n"
        ),
        lambda i: {"Epoch": i + 1, "d_loss": i / 1e4, "g_loss": 1.5, "#1": 352},
        {"Epoch": 30, "#1": 352},
    ),
    "BasicSR": Program(
        lambda i: (
            f"2024-01-02 03:{i:02d}:04,709 INFO: [ESRGA..][epoch:  {i}, iter: {107 + i},200, lr:(1.000e-04,)] "
            "[eta: 1 day, 3:04:05, time (data): 0.400 (0.003)] "
            f"l_g_gan: 3.{i:04d}e-02 l_d_real: 1.0e-02 out_d_real: -2.5e+01 \n"
        ),
        lambda i: {
            **{"epoch": i, "iter": (107 + i) * 1000 + 200, "lr": 1e-4, "time (data)": 0.4, "time (data) 2": 0.003},
            **{"l_g_gan": float(f"3.{i:04d}e-02"), "l_d_real": 0.01, "out_d_real": -25},
        },
    ),
    "ESRGAN": Program(
        lambda i: (
            f"24-01-02 03:00:04.709 - INFO: <epoch:  0, iter: {107 + i},200, lr:2.500e-05> l_d_fake: {i}.0e-03 \n"
        ),
        lambda i: {"epoch": 0, "iter": (107 + i) * 1000 + 200, "lr": 2.5e-5, "l_d_fake": i / 1000},
    ),
    "RVC": Program(
        lambda i: (
            f"INFO:mi-test:Train Epoch: {i} [17%]\nINFO:mi-test:[{200 * i}, 9.9e-05]\n"
            f"INFO:mi-test:loss_disc=3.{i:03d}, loss_gen=3.1, loss_fm=8.2,loss_mel=28.9, loss_kl=9.000\n"
        ),
        lambda i: {"Epoch": i, "#1": 200 * i, "#2": 9.9e-5, "loss_disc": 3 + i / 1000, "loss_gen": 3.1, "loss_kl": 9},
    ),
    "so-vits-svc": Program(
        lambda i: (
            f"2023-03-01 10:{i:02d}:00,000\t44k\tINFO\tTrain Epoch: {i} [0%]\n2023-03-01 10:{i:02d}:00,001\t44k\tINFO\t"
            f"Losses: [2.{i:03d}, 2.1, 8.4, 17.2, 1.3], step: {i * 200}, lr: 9.9e-05, reference_loss: 31.5\n"
        ),
        lambda i: {"Epoch": i, "Losses": 2 + i / 1000, "Losses 2": 2.1, "Losses 5": 1.3, "step": 200 * i, "lr": 9.9e-5},
    ),
    "HiFi-GAN": Program(
        lambda i: f"Steps : {i * 5}, Gen Loss Total : 62.{i:03d}, Mel-Spec. Error : 0.913, s/b : 0.4\n",
        lambda i: {"Steps": i * 5, "Gen Loss Total": 62 + i / 1000, "Mel-Spec. Error": 0.913, "s/b": 0.4},
    ),
    "Coqui": Program(
        lambda i: (
            f"\x1b[1m   --> STEP: {i}/520 -- GLOBAL_STEP: {1000 + 25 * i}\x1b[0m\n"
            f"     | > loss_disc: 2.{i:03d}  (2.875)\n"
            "     | > loss_gen: 2.4  (2.5)\n     | > current_lr_0: 0.0002 \n"
        ),
        lambda i: {"STEP": i, "GLOBAL_STEP": 1000 + 25 * i, "loss_disc": 2 + i / 1000, "loss_disc 2": 2.875},
        {"STEP": 520},
    ),
    "FOMM": Program(
        lambda i: f"{i:08d}) perceptual - {80 - i}.5; gen_gan - 0.4; disc_gan - 0.3\n",
        lambda i: {"#1": i, "perceptual": 80.5 - i, "gen_gan": 0.4, "disc_gan": 0.3},
    ),
    "lucidrains": Program(
        lambda i: f"\r  {i}%|▍   | {50 * i}/90000 [02:46<81:43:57,  3.27s/it]G: {i}.50 | D: -0.21 | GP: nan | PL: 0.03",
        lambda i: {"#1": 50 * i, "G": i + 0.5, "D": -0.21, "GP": math.nan, "PL": 0.03},
        {"#1": 90000},
    ),
    "WGAN": Program(
        lambda i: f"[0/25][{5 * i}/1000][{i}] Loss_D: -1.5 Loss_G: 0.{i:02d} Loss_D_real: -0.7 Loss_D_fake 0.7\n",
        lambda i: {"#1": 0, "#2": 5 * i, "#3": i, "Loss_D": -1.5, "Loss_G": i / 100, "Loss_D_fake": 0.7},
        {"#1": 25, "#2": 1000},
    ),
    "improved_wgan": Program(
        lambda i: f"iter {100 * i + 99}\ttime\t0.001\ttrain disc cost\t-1.{i:03d}\n",
        lambda i: {"iter": 100 * i + 99, "time": 0.001, "train disc cost": -1 - i / 1000},
    ),
    "rosinality": Program(
        lambda i: (
            f"d: 1.{i:04d}; g: 0.8; r1: 0.01; path: 0.2; mean path: 0.1; augment: 0.0000:   5%|▌    | {i}/10000 "
            "[01:00<02:00,  3.2it/s]\n"
        ),
        lambda i: {"d": 1 + i / 1e4, "g": 0.8, "r1": 0.01, "path": 0.2, "mean path": 0.1, "augment": 0, "#1": i},
        {"#1": 10000},
    ),
    "DCGAN-tensorflow": Program(
        lambda i: f"Epoch: [ 2/200] [{i:4d}/  50] time: 18{i}.0000, d_loss: 1.{i:08d}, g_loss: 0.00000000\n",
        lambda i: {"Epoch": 2, "#1": i, "d_loss": 1 + i / 1e8, "g_loss": 0},
        {"Epoch": 200, "#1": 50},
    ),
    "PyTorch DCGAN example": Program(
        lambda i: f"[1/500][{i}/14]\tLoss_D: 0.1\tLoss_G: 4.{i:04d}\tD(x): 0.9999\tD(G(z)): 0.4000 / 0.2{i:03d}\n",
        lambda i: {"#2": i, "Loss_G": 4 + i / 1e4, "D(x)": 0.9999, "D(G(z))": 0.4, "D(G(z)) 2": 0.2 + i / 1e4},
        {"#1": 500, "#2": 14},
    ),
    "PyTorch-GAN": Program(
        lambda i: (
            f"[Epoch {i}/200] [Batch {i}/938] [D loss: 0.{i:06d}, acc: 5{i % 10}%] [G loss: 0.708] "
            f"ETA: 0:12:5{i % 10}.5\n"
        ),
        lambda i: {"Epoch": i, "Batch": i, "D loss": i / 1e6, "acc": 50 + i % 10, "G loss": 0.708},
        {"Epoch": 200, "Batch": 938},
        frozenset({"acc"}),
    ),
    "StudioGAN": Program(
        lambda i: (
            f"[INFO] 2020-09-17 20:04:38 > Step: {100 * i:7d} Progress: {i}.0% Elapsed: 1 day, 0:00:17 temperature: no "
            f"ada_p: No Discriminator_loss: -2.{i:02d} Generator_loss: {i}.5 \n"
            f"[INFO] 2020-09-17 20:11:36 > FID score (Step: {100 * i}, Using test moments): 56.{i:09d}\n"
            f"[INFO] 2020-09-17 20:11:36 > Inception score (Step: {100 * i}, 10000 generated images): 5.5\n"
        ),
        lambda i: {
            **{"Step": 100 * i, "Progress": i, "Discriminator_loss": -2 - i / 100, "Generator_loss": i + 0.5},
            **{"FID score": 56 + i / 1e9, "Inception score": 5.5},
        },
        percent=frozenset({"Progress"}),
    ),
    "TextGAN": Program(
        lambda i: (
            f"2020-01-01 10:00:00: >>> [ADV] epoch {i}: g_loss: 0.{i:04d}, d_loss: 1.25, temperature: 1.0012\n"
            f"2020-01-01 10:00:01: >>> [ADV] epoch {i} : BLEU-[2, 3, 4, 5] = [0.712, 0.466, 0.278, 0.19{i % 10}], "
            "NLL_gen = 4.2,\n"
        ),
        lambda i: {"epoch": i, "g_loss": i / 1e4, "d_loss": 1.25, "BLEU-[2, 3, 4, 5]": 0.712, "NLL_gen": 4.2},
    ),
    "SeqGAN": Program(
        lambda i: f"epoch:\t{i}\tnll:\t8.{i:03d}\n",
        lambda i: {"epoch": i, "nll": 8 + i / 1000},
    ),
    "mmengine": Program(
        lambda i: (
            f"2024/01/01 10:00:00 - mmengine - INFO - Iter(train) [{i:4d}/2000]  lr: 1.0000e-04  eta: 0:10:00  "
            f"time: 0.5{i}  data_time: 0.01  memory: 500  loss_gen: 0.{i:04d}\n"
        ),
        lambda i: {"Iter(train)": i, "lr": 1e-4, "memory": 500, "loss_gen": i / 1e4},
        {"Iter(train)": 2000},
    ),
    "loguru": Program(
        lambda i: (
            f"2024-01-01 10:00:00.000 | INFO     | __main__:train:55 - Epoch {i} | d_loss: 0.{i:03d} | g_loss 0.6\n"
        ),
        lambda i: {"Epoch": i, "d_loss": i / 1000, "g_loss": 0.6},
    ),
    "printed dictionary": Program(
        lambda i: f"{{'loss_d': 0.{i:03d}, 'loss_g': np.float32(0.7), 'step': {i}}}\n",
        lambda i: {"loss_d": i / 1000, "loss_g": 0.7, "step": i},
    ),
    "printed tensors": Program(
        lambda i: (
            f"Iteration {i}: loss_d: tensor(0.{i:04d}, device='cuda:0', grad_fn=<MeanBackward0>), "
            "loss_g: tensor([0.5], device='cuda:0')\n"
        ),
        lambda i: {"Iteration": i, "loss_d": i / 1e4, "loss_g": 0.5},
    ),
    "quotation": Program(
        lambda i: f"> **Epoch {i}** D_loss = **0.{i:03d}** | G_loss = **0.6**\n",
        lambda i: {"Epoch": i, "D_loss": i / 1000, "G_loss": 0.6},
    ),
    "headings": Program(
        lambda i: f"{i} iterations, D: real 0.{i:02d} fake 0.4; G: adv 0.7\n",
        lambda i: {"iterations": i, "D real": i / 100, "D fake": 0.4, "G adv": 0.7},
    ),
    "adversarial model": Program(
        lambda i: f"{i}:  [D loss: 0.69{i:04d}, acc: 0.527344] [A loss: 1.{i:06d}, acc: 0.25]\n",
        lambda i: {"#1": i, "D loss": 0.69 + i / 1e6, "A loss": 1 + i / 1e6, "acc": 0.527344, "acc 2": 0.25},
    ),
    "epoch-batch": Program(
        lambda i: f"{i // 9}-{i % 9} [D loss: 1.{i:06d}, acc.: 19.5%] [G loss:: 0.9] [Elapsed Time: 3.5s\n",
        lambda i: {"#1": i // 9, "#2": i % 9, "D loss": 1 + i / 1e6, "acc": 19.5, "G loss": 0.9},
        percent=frozenset({"acc"}),
    ),
    "dots": Program(
        lambda i: f"Epoch {i}/100... Discriminator Loss: 0.{i:04d}... Generator Loss: 1.75\n",
        lambda i: {"Epoch": i, "Discriminator Loss": i / 1e4, "Generator Loss": 1.75},
        {"Epoch": 100},
    ),
    "two lines a step": Program(
        lambda i: (
            f"Epoch #{i} ({i}.0% complete)\n  D: 1.{i:03d}/0.5/0.25 | G: 2.5\n"
            f"  Epoch Time: 32.5s | ETA: 0:53:2{i % 10}\n"
        ),
        lambda i: {"Epoch": i, "D": 1 + i / 1000, "D 2": 0.5, "D 3": 0.25, "G": 2.5},
    ),
    "decimal commas": Program(
        lambda i: f"Epoch {i}; loss_d: 0,{i:03d}; loss_g: 1,5\n",
        lambda i: {"Epoch": i, "loss_d": i / 1000, "loss_g": 1.5},
    ),
    "Lightning bar": Program(
        lambda i: (
            f"\rEpoch 3:  {i}%|██▌  | {i}/100 [00:10<00:12,  4.50it/s, loss=0.5, v_num=3, d_loss=0.{i:02d}, g_loss=inf]"
        ),
        lambda i: {"Epoch": 3, "#1": i, "loss": 0.5, "d_loss": i / 100, "g_loss": math.inf},
        {"#1": 100},
    ),
}


def read(text: str | bytes) -> LogColumns | None:
    return LogLines().read([LogFile(Path("train.log"), text.encode() if isinstance(text, str) else text)])


def read_columns(text: str | bytes) -> LogColumns:
    log = read(text)
    assert log is not None
    return log


def values(log: LogColumns, name: str) -> list[float]:
    return log.columns[name].values.tolist()


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("count", [ROWS, 300], ids=["excerpt", "long"])
def test_program(name: str, count: int) -> None:
    """A long log is read by templates; the result is the same as line by line."""
    program = PROGRAMS[name]
    steps = [row % 80 for row in range(count)]
    log = read_columns("".join(map(program.text, steps)))
    for column in program.values(0):
        expected = [program.values(step)[column] for step in steps]
        assert values(log, column)[-1] == pytest.approx(expected[-1], rel=1e-14, nan_ok=True), column
        result = values(log, column)
        if len(result) == count:
            np.testing.assert_allclose(result, expected, rtol=1e-14, err_msg=column)
    assert {column: log.totals[column] for column in program.totals} == program.totals
    assert log.percent == program.percent
    assert log.examples
    assert log.row_name == "line"


def test_rows_are_shared_by_lines_of_all_forms() -> None:
    log = read_columns("".join(map(PROGRAMS["StudioGAN"].text, range(ROWS))))
    assert log.columns["FID score"].rows.tolist() == list(range(1, 3 * ROWS, 3))
    assert log.columns["Step"].rows.tolist() == list(range(3 * ROWS))
    assert log.row_count == 3 * ROWS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dear diary, it trains\n" * 20,
        "We trained for 100 epochs with batch size 64 and got an FID of 12.3 on 8 GPUs.\nThen we slept.\n",
        "# Results\n\n| model | FID |\n| --- | --- |\n| ours (epoch 100) | 12.3 |\n| theirs (epoch 200) | 14.1 |\n"
        + "text\n" * 20,
        "lr: 0.0002\nbeta1: 0.5\nepochs: 200\nbatch_size: 64\nseed: 7\n",
        "step,loss_d\n1,0.5\n2,0.25\n3,0.125\n",
        "import torch\nx = torch.randn(3, 4)\ny = x.sum(dim=1)\nepochs = 5\n",
    ],
)
def test_other_texts_are_no_logs(text: str) -> None:
    assert read(text) is None


def test_documents_of_this_repository_are_no_logs() -> None:
    root = Path(__file__).parents[3]
    files = [root / "README.md", *root.glob("docs/reference/*.md"), *root.glob("equipoise/core/metric*.py")]
    assert len(files) > 10
    assert [path.name for path in files if LogLines().read([LogFile(path)]) is not None] == []


def test_settings_and_layers_before_the_log_are_no_columns() -> None:
    before = (
        "Namespace(lr=0.0002, n_epochs=200, batch_size=64, beta1=0.5)\nTotal params: 1,234,567\nversion 1.13.1\n"
        "  (0): Conv2d(3, 64, kernel_size=(4, 4), stride=(2, 2))\nload checkpoints/netG_100.pth\n"
    )
    log = read_columns(before + "".join(map(PROGRAMS["HiFi-GAN"].text, range(ROWS))))
    assert set(log.columns) == {"Steps", "Gen Loss Total", "Mel-Spec. Error", "s/b"}
    assert any("do not recur" in note for note in log.notes)


def test_lines_without_names_are_counted() -> None:
    log = read_columns("0.5 0.25 0.125\n" * 3 + "".join(map(PROGRAMS["HiFi-GAN"].text, range(ROWS))))
    assert "3 lines with numbers have no names for them, such as '0.5 0.25 0.125'." in log.notes


def test_a_metric_that_is_measured_once_is_read() -> None:
    line = "FID score (Step: 300, Using test moments): 43.25\n"
    log = read_columns("".join(f"Step: {step} d_loss: 0.5 g_loss: 0.25\n" for step in range(100, 1200, 100)) + line)
    assert values(log, "FID score") == [43.25]


def test_one_line_is_enough_if_nothing_else_is_there() -> None:
    log = read_columns("[Epoch 1/200] [Batch 3/938] [D loss: 0.693147, acc: 50%] [G loss: 0.708]")
    assert (values(log, "D loss"), log.totals["Batch"]) == ([0.693147], 938)


@pytest.mark.parametrize(
    "name", sorted(PROGRAMS.keys() - {"Keras fit", "lucidrains", "Lightning bar", "decimal commas"})
)
def test_a_cut_last_line_is_left_out_and_reported(name: str) -> None:
    program = PROGRAMS[name]
    text = "".join(map(program.text, range(30))).rstrip("\n")
    complete, whole = read_columns(f"{text}\n"), read_columns(text)
    for column in complete.columns:
        np.testing.assert_array_equal(whole.columns[column].values, complete.columns[column].values)
    start = text.rfind("\n") + 1
    for end in range(start + 12, len(text), 11):
        log = read_columns(text[:end])
        for column, (rows, numbers) in log.columns.items():
            expected = complete.columns[column].values[: len(rows)]
            np.testing.assert_array_equal(numbers, expected, err_msg=f"{column} of {text[start:end]}")


def test_a_cut_number_is_not_taken_for_a_whole_one() -> None:
    rows = "".join(f"step {step} d_loss: 0.{step:04d} g_loss: 12.3456\n" for step in range(1, 21))
    log = read_columns(f"{rows}step 21 d_loss: 0.0021 g_loss: 1")
    assert values(log, "step")[-1] == 20
    assert (
        "The last line was cut while it was written and was left out: 'step 21 d_loss: 0.0021 g_loss: 1'." in log.notes
    )
    assert values(read_columns(f"{rows}step 21 d_loss: 0.0021 g_loss: 12.3457"), "g_loss")[-1] == 12.3457


def test_a_word_in_the_place_of_a_number_is_no_value() -> None:
    text = "".join(f"step {step} d_loss: {'---' if step == 150 else 0.5} g_loss: 0.25\n" for step in range(300))
    log = read_columns(text)
    assert len(log.columns["d_loss"].values) == 299
    assert np.isfinite(log.columns["d_loss"].values).all()


def test_new_forms_in_the_middle_of_a_long_log_are_read() -> None:
    first = "".join(f"step {step} d_loss: 0.5 g_loss: 0.25\n" for step in range(40_000))
    second = "".join(f"step {step} | D {step / 1000} | G 0.5 | fid=12.5\n" for step in range(40_000, 60_000))
    log = read_columns(first + second)
    assert values(log, "step") == list(range(60_000))
    assert values(log, "D") == [step / 1000 for step in range(40_000, 60_000)]
    assert log.columns["fid"].rows.tolist() == list(range(40_000, 60_000))


LINES = tuple(program.text(7) for program in PROGRAMS.values())
names = st.from_regex(r"[A-Za-z]{2,8}(_[a-z]{1,6})?", fullmatch=True).filter(
    lambda name: not {"nan", "inf", "info", "epoch"} & set(name.lower().split("_"))
)
numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: float(f"{value:.6g}"))


@settings(max_examples=30, deadline=None)
@given(
    columns=st.lists(names, min_size=2, max_size=5, unique_by=lambda name: name.lower()),
    mark=st.sampled_from([": ", "=", " = ", ":", " - "]),
    separator=st.sampled_from([", ", " | ", "; ", "\t", "  "]),
    rows=st.lists(st.lists(numbers, min_size=5, max_size=5), min_size=10, max_size=30),
)
def test_generated_lines_give_their_numbers(
    columns: list[str], mark: str, separator: str, rows: list[list[float]]
) -> None:
    lines = []
    for epoch, row in enumerate(rows):
        pairs = (f"{name}{mark}{value:.6g}" for name, value in zip(columns, row, strict=False))
        lines.append(separator.join([f"Epoch {epoch}/99", *pairs]))
    log = read_columns("\n".join(lines) + "\n")
    assert values(log, "Epoch") == list(range(len(rows)))
    for place, name in enumerate(columns):
        assert values(log, name) == [row[place] for row in rows]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.sampled_from([*LINES, "loss: 0.5", "(", "[", "1", "\t", "\n", " ", "-", "=", "nan", "x(", "é", "0,5"]),
        max_size=40,
    ).map("".join)
)
def test_any_text_is_a_log_or_none_or_binary(text: str) -> None:
    with contextlib.suppress(DataError):
        read(text.encode("utf-8", "replace"))


@pytest.mark.parametrize("line", ["FID: 12.3", "step 5 FID: 60.2\n", "loss_D 0.55, loss_G 0.66, 1045 examples/sec"])
def test_one_line_with_known_names_is_a_row(line: str) -> None:
    assert read_columns(line).row_count == 1


def test_a_last_line_of_another_form_is_not_cut() -> None:
    text = "".join(f"step {row} d_loss 0.{row} g_loss 1.{row} FID: {row + 50}.5\n" for row in range(9))
    assert not read_columns(f"{text}Finished after 12 hours").notes
    assert read_columns(f"{text}FID: 42.5").columns["FID"].values.tolist()[-1] == 42.5
    assert "cut" in read_columns(f"{text}step 10 d_loss 0.1 g_lo").notes[0]
