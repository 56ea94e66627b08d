"""Forms of lines as programs and launchers print them: counters, units and names; all numbers are made up."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from equipoise.diagnosis.readers import read_games

ROWS = 24


class Form(NamedTuple):
    """A form of lines: `line(i)` is what the log has for row `i`; `sources`: signal or metric -> its columns."""

    name: str
    line: Callable[[int], str]
    steps: Sequence[int]
    unit: str
    sources: dict[str, str]


def value(row: int, typical: float = 0.6) -> str:
    return f"{typical * (1 + 0.1 * ((row * 7) % 5)):.4f}"


LOSSES = {"loss_d": "d_loss", "loss_g": "g_loss"}
TENS = range(0, 10 * ROWS, 10)
COUNTS = range(ROWS)
FORMS = [
    Form(
        "docker compose",
        lambda i: f"train_1  | [{i // 6}/9][{i % 6}/6] d_loss: {value(i)} g_loss: {value(i, 1)}",
        COUNTS,
        "step",
        LOSSES,
    ),
    Form(
        "blocks of pix2pix-tensorflow",
        lambda i: (
            f"progress  epoch 1  step {i * 50}  image/sec {value(i, 5)}  remaining {99 - i}m\n"
            f"discrim_loss {value(i)}\ngen_loss_GAN {value(i, 1)}\ngen_loss_L1 {value(i, 2)}"
        ),
        range(0, 50 * ROWS, 50),
        "step",
        {"loss_d": "discrim_loss", "loss_g": "gen_loss_GAN", "adversarial_g": "gen_loss_GAN"},
    ),
    Form(
        "panels of rich",
        lambda i: f"╭──── step {i} ────╮\n│ d_loss   {value(i)}   │\n│ g_loss   {value(i, 1)}   │\n╰────────────────╯",
        COUNTS,
        "step",
        LOSSES,
    ),
    Form(
        "blocks of the logger of OpenAI, with the step at the end",
        lambda i: (
            f"-----------\n| d_loss | {value(i)} |\n| g_loss | {value(i, 1)} |\n| step   | {i * 10} |\n-----------"
        ),
        TENS,
        "step",
        LOSSES,
    ),
    Form(
        "names before the step",
        lambda i: f"discriminator loss at step {i * 10}: {value(i)}\nadversarial loss at step {i * 10}: {value(i, 1)}",
        TENS,
        "step",
        {"loss_d": "discriminator loss", "loss_g": "adversarial loss", "adversarial_g": "adversarial loss"},
    ),
    Form(
        "one loss a line, and no counter",
        lambda i: f"---------\nGEN Loss: [{value(i, 1)}] [{value(i, 1)}]\nDIS Loss: [{value(i)}] [{value(i)}]",
        range(1, 2 * ROWS + 1),
        "row",
        {"loss_d": "DIS Loss", "loss_g": "GEN Loss"},
    ),
    Form(
        "lists of VITS behind the prefix of a logging module",
        lambda i: (
            f"2023-05-20 12:00:00,000\tx\tINFO\tTrain Epoch: {i + 1} [{i}%]\n"
            f"2023-05-20 12:00:00,000\tx\tINFO\t[{value(i, 2.3)}, {value(i, 2.5)}, {value(i, 8)}, {value(i, 20.3)}, "
            f"{value(i, 1.7)}, {value(i, 1)}, {i * 10}, 0.0002]"
        ),
        TENS,
        "step",
        {"loss_d": "#1", "loss_g": "#2", "adversarial_g": "#2"},
    ),
    Form(
        "brackets within names",
        lambda i: f"{i}: recon loss: 0.02 | discr (scale 1) loss: {value(i)} | discr (scale 0.5) loss: {value(i)}",
        COUNTS,
        "step",
        {"loss_d": "discr (scale 1) loss + discr (scale 0.5) loss"},
    ),
    Form(
        "names in brackets",
        lambda i: (
            f"Batch {i * 10} [l_gen] {value(i, 1)} [l_image_dis] {value(i)} [l_video_dis] {value(i)}. Took  12.34"
        ),
        TENS,
        "step",
        {"loss_d": "l_image_dis + l_video_dis", "loss_g": "l_gen"},
    ),
    Form(
        "a bar without an end",
        lambda i: f"L1: 0.05, Percep: 0.7 | Fake: {value(i)}, Real: {value(i)}: : {i}it [02:03,  1.02s/it]",
        COUNTS,
        "step",
        {"loss_d": "Real + Fake", "loss_d_real": "Real", "loss_d_fake": "Fake"},
    ),
    Form(
        "two counters in one bracket",
        lambda i: f"[ 0 : {i * 10:6d}] loss G : {value(i, 1)} loss D : {value(i)}",
        TENS,
        "step",
        {"loss_d": "loss D", "loss_g": "loss G"},
    ),
    Form(
        "counters before their names (ESPnet)",
        lambda i: (
            f"(trainer:702) INFO: {i // 4 + 1}epoch:train:{i % 4 * 10 + 1}-{i % 4 * 10 + 10}batch: iter_time=0.1, "
            f"discriminator_loss={value(i)}, generator_loss={value(i, 9)}"
        ),
        range(10, 10 * ROWS + 1, 10),
        "step",
        {"loss_d": "discriminator_loss", "loss_g": "generator_loss"},
    ),
    Form(
        "a speed is no counter (GANomaly)",
        lambda i: (
            f">> Training model. Epoch {i + 1}/100\n   Loss: [{i + 1}/100] err_d: {value(i)} err_g: {value(i, 5)}\n"
            f"   Avg Run Time (ms/batch): {value(i, 5)} AUC: {value(i)}"
        ),
        range(1, ROWS + 1),
        "epoch",
        {"loss_d": "err_d", "loss_g": "err_g"},
    ),
    Form(
        "names aligned by spaces",
        lambda i: f"Epoch {i}\n~~Discriminator loss: {value(i)}\n~~Generator     loss: {value(i, 1)}",
        COUNTS,
        "epoch",
        {"loss_d": "Discriminator loss", "loss_g": "Generator loss"},
    ),
    Form(
        "the inception score in capitals",
        lambda i: f"Iteration {i * 10}: IS {value(i, 5)}+/-0.1, FID {value(i, 50)}, D {value(i)}, G {value(i, 1)}",
        TENS,
        "step",
        {"loss_d": "D", "loss_g": "G", "is": "IS", "fid": "FID"},
    ),
    Form(
        "decibels",
        lambda i: (
            f"<epoch: 0, iter: {i * 10}> d_loss: {value(i)} g_loss: {value(i, 1)} PSNR: {value(i, 25)}dB SSIM: 0.7"
        ),
        TENS,
        "step",
        {**LOSSES, "psnr": "PSNR", "ssim": "SSIM"},
    ),
    Form(
        "lines of several processes, numbered by srun",
        lambda i: "\n".join(f"{rank}: step {i * 10} d_loss {value(i)} g_loss {value(i, 1)}" for rank in (1, 0, 2, 3)),
        TENS,
        "step",
        LOSSES,
    ),
    Form(
        "lines of several processes, numbered by torchrun",
        lambda i: "\n".join(f"[rank{rank}]: step {i * 10} d_loss {value(i)} g_loss {value(i, 1)}" for rank in range(4)),
        TENS,
        "step",
        LOSSES,
    ),
    Form(
        "lines of several processes, numbered by mpirun",
        lambda i: "\n".join(f"[1,{rank}]<stdout>:step {i} d_loss {value(i)} g_loss {value(i, 1)}" for rank in range(2)),
        COUNTS,
        "step",
        LOSSES,
    ),
]


@pytest.mark.parametrize("form", FORMS, ids=[form.name for form in FORMS])
def test_form_of_lines(form: Form, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("\n".join(map(form.line, range(ROWS))) + "\n")
    (log,) = read_games(path)
    assert {name: " + ".join(columns) for name, columns in log.sources.items()} == form.sources
    assert (log.steps.tolist(), log.unit) == (list(form.steps), form.unit)


def test_the_bar_of_a_validation_does_not_count_epochs(tmp_path: Path) -> None:
    lines = []
    for epoch in range(1, 7):
        lines += [
            f"[{epoch}/100] Loss_D: {value(batch)} Loss_G: 1.{batch}: 9%|█  | {batch}/262 [00:10<01:00, 2it/s]"
            for batch in range(2, 263, 26)
        ]
        lines.append(
            f"[converting images] PSNR: {20 + epoch}.1 dB SSIM: 0.{epoch}: 100%|████| 425/425 [00:12<00:00, 8.1it/s]"
        )
    path = tmp_path / "train.log"
    path.write_text("\n".join(lines) + "\n")
    (log,) = read_games(path)
    assert log.steps[-1] == 6 * 262
    assert log.total == 26_200
    assert log.metrics["ssim"].series.steps.tolist() == [262 * epoch for epoch in range(1, 7)]
    assert not log.notes


def test_processes_that_alternate_are_mentioned(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("".join(f"{i % 4}: step {i // 4} d_loss {value(i)} g_loss {value(i)}\n" for i in range(80)))
    (log,) = read_games(path)
    assert any("several processes (#1) alternate" in note for note in log.notes)


def test_a_last_line_without_numbers_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("".join(f"step {i} d_loss {value(i)} g_loss {value(i)}\n" for i in COUNTS) + "Done.")
    (log,) = read_games(path)
    assert not log.notes
