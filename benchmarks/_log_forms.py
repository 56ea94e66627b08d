"""Print a synthetic run as well-known programs print it: lines and progress bars; all forms with what they can hold.

A form is a function of a run and a style, and returns the files of the log by name. Rows are printed every `every`
steps, metrics on lines or in rows of their own where the real program does so. `FORMS` says what each form can hold.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from _log_curves import Curves
from _log_style import Files, Style, rows
from _log_tables import csv, json_array, json_lines, sparse_csv, stylegan, tsv


def metric_line(style: Style, step: int, metrics: Mapping[str, float]) -> str:
    """Return a line such as "Epoch 3, FID: 34.1200" for each metric, in the words that the program counts in."""
    return "".join(f"step {step} {name.upper()}: {style.number(value)}\n" for name, value in metrics.items())


def pytorch_dcgan(curves: Curves, style: Style) -> Files:
    """The example DCGAN of PyTorch; its tutorial has the same line with 50 batches in between."""
    lines = ["Namespace(batch_size=64, lr=0.0002, ngf=64)\nRandom Seed:  999\n"]
    for step, at, metrics in rows(curves):
        epoch, batch = divmod(step, style.per_epoch)
        lines.append(
            f"[{epoch}/{style.epochs}][{batch}/{style.per_epoch}]\tLoss_D: {at['d']:.4f}\tLoss_G: {at['g']:.4f}\t"
            f"D(x): {at['p_real']:.4f}\tD(G(z)): {at['p_fake']:.4f} / {at['p_fake_after']:.4f}\n"
        )
        lines.append(metric_line(style, step, metrics))
    return {"train.log": "".join(lines)}


def pytorch_gan(curves: Curves, style: Style) -> Files:
    lines = []
    for step, at, metrics in rows(curves):
        epoch, batch = divmod(step, style.per_epoch)
        lines.append(
            f"[Epoch {epoch}/{style.epochs}] [Batch {batch}/{style.per_epoch}] "
            f"[D loss: {at['d']:f}] [G loss: {at['g']:f}]\n"
        )
        lines.append(metric_line(style, step, metrics))
    return {"log.txt": "".join(lines)}


def keras_gan(curves: Curves, style: Style) -> Files:
    """Keras averages the two halves of the discriminator's loss."""
    lines = ["Using TensorFlow backend.\n_____________\nLayer (type)   Output Shape   Param #\nTotal params: 533505\n"]
    for step, at, metrics in rows(curves):
        accuracy = f", acc.: {100 * at['accuracy']:.2f}%" if "accuracy" in at else ""
        lines.append(f"{step} [D loss: {at['d'] / 2:f}{accuracy}] [G loss: {at['g']:f}]\n")
        lines.append(metric_line(style, step, metrics))
    return {"nohup.out": "".join(lines)}


def pix2pix(curves: Curves, style: Style) -> Files:
    """loss_log.txt: iterations start again in each epoch; a header per start."""
    lines = ["================ Training Loss (Mon Jan  1 10:00:00 2024) ================\n"]
    for step, at, metrics in rows(curves):
        epoch, iteration = divmod(max(0, step - 1), style.per_epoch)
        pairs = {
            f"G_{name}": value for name, value in {"GAN": at["g"], "L1": at.get("l1")}.items() if value is not None
        }
        pairs |= {"D_real": at["d_real"], "D_fake": at["d_fake"], **metrics}
        text = " ".join(f"{name}: {value:.3f}" for name, value in pairs.items())
        lines.append(f"(epoch: {epoch + 1}, iters: {iteration + 1}, time: 0.110, data: 0.002) {text} \n")
    return {"loss_log.txt": "".join(lines)}


def cyclegan(curves: Curves, style: Style) -> Files:
    lines = ["================ Training Loss (Mon Jan  1 10:00:00 2024) ================\n"]
    for step, at, _ in rows(curves):
        epoch, iteration = divmod(max(0, step - 1), style.per_epoch)
        text = " ".join(
            f"D_{game}: {at['d@' + game] / 2:.3f} G_{game}: {at['g@' + game]:.3f} "
            f"cycle_{game}: {at['cycle@' + game]:.3f} idt_{game}: {at['idt@' + game]:.3f}"
            for game in "AB"
        )
        lines.append(f"(epoch: {epoch + 1}, iters: {iteration + 1}, time: 0.606, data: 0.002) {text} \n")
    return {"loss_log.txt": "".join(lines)}


def tqdm(curves: Curves, style: Style) -> Files:
    """A progress bar that overwrites itself with carriage returns; metrics are written between."""
    text, total = [], int(curves.step.max())
    d, g = style.names
    for step, at, metrics in rows(curves):
        share = step / max(1, total)
        bar = "█" * int(10 * share)
        text.append(
            f"\r{100 * share:3.0f}%|{bar:<10}| {step}/{total} [00:{step % 60:02d}<01:40,  8.90it/s, "
            f"{d}={at['d']:.3g}, {g}={at['g']:.3g}]"
        )
        text.extend("\n" + metric_line(style, step, metrics) for _ in metrics)
    return {"train.out": "".join(text) + "\n"}


def lucidrains(curves: Curves, style: Style) -> Files:
    text, total = [], int(curves.step.max())
    for step, at, metrics in rows(curves):
        text.append(
            f"{100 * step // max(1, total)}% {step}/{total} [02:46<81:43:57,  3.27s/it]"
            f"G: {at['g']:.2f} | D: {at['d']:.2f} | GP: {at.get('gp', 0.05):.2f}\n"
        )
        text.append(metric_line(style, step, metrics))
    return {"output.log": "".join(text)}


def studiogan(curves: Curves, style: Style) -> Files:
    lines, total = [], int(curves.step.max())
    for step, at, metrics in rows(curves):
        minutes = f"2021-01-01 {8 + step // 60 % 12:02d}:{step % 60:02d}:00"
        lines.append(
            f"[INFO] {minutes} > Step: {step:7d} Progress: {100 * step / max(1, total):.1f}% Elapsed: 0:00:53 "
            f"temperature: no ada_p: No Discriminator_loss: {at['d']:.6g} Generator_loss: {at['g']:.6g} \n"
        )
        if "fid" in metrics:
            lines.append(f"[INFO] {minutes} > FID score (Step: {step}, Using test moments): {metrics['fid']}\n")
        if "is" in metrics:
            lines.append(
                f"[INFO] {minutes} > Inception score (Step: {step}, 50000 generated images): {metrics['is']}\n"
            )
    return {"train.log": "".join(lines)}


def pairs(curves: Curves, style: Style) -> Files:
    """`name=value` with the prefix of Python's logging; metrics in lines of their own with the same counter."""
    d, g = style.names
    lines = []
    for number, (step, at, metrics) in enumerate(rows(curves)):
        prefix = f"2024-03-05 {number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d},120 INFO trainer: "
        lines.append(f"{prefix}step={step} {d}={style.number(at['d'])} {g}={style.number(at['g'])} lr=0.0002\n")
        if metrics:
            text = " ".join(f"{style.metric[name]}={style.number(value)}" for name, value in metrics.items())
            lines.append(f"{prefix}step={step} {text}\n")
    return {"run.log": "".join(lines)}


def basicsr(curves: Curves, style: Style) -> Files:
    """Parts of the discriminator's loss, no total; thousands with a comma."""
    lines = []
    for step, at, metrics in rows(curves):
        values = {"l_g_gan": at["g"], "l_d_real": at["d_real"], "l_d_fake": at["d_fake"]}
        values |= {"D_real": at["logit_real"], "D_fake": at["logit_fake"], **metrics}
        text = " ".join(f"{name}: {value:.4e}" for name, value in values.items())
        epoch = step // style.per_epoch
        lines.append(f"24-01-02 03:00:04.709 - INFO: <epoch:{epoch:3d}, iter:{step:8,d}, lr:1.000e-04> {text} \n")
    return {"train_esrgan.log": "".join(lines)}


class Form(NamedTuple):
    """How a log is printed, and which runs it can hold: signals that it needs, and metrics that it prints.

    `weight`: how often it is chosen, relative to others; programs for special models are chosen for these.
    """

    write: Callable[[Curves, Style], Files]
    needs: frozenset[str]
    metrics: frozenset[str] = frozenset({"fid", "is"})
    weight: float = 1.0

    def can_hold(self, curves: Curves) -> bool:
        """Return whether all that matters is printed."""
        has_signs = "signs_real" in curves.signals and not self.needs & {"signs_real"}
        is_table = self.write in (csv, tsv, json_lines, json_array)
        return (
            self.needs <= set(curves.signals)
            and set(curves.metrics) <= self.metrics
            and (is_table or not has_signs)
            and (is_table or "d@A" not in curves.signals or "d@A" in self.needs)
        )


BOTH, PARTS = frozenset({"d", "g"}), frozenset({"g", "d_real", "d_fake"})
FORMS: Mapping[str, Form] = {
    "PyTorch DCGAN": Form(pytorch_dcgan, BOTH | {"p_real", "p_fake", "p_fake_after"}),
    "PyTorch-GAN": Form(pytorch_gan, BOTH),
    "Keras-GAN": Form(keras_gan, BOTH),
    "pix2pix": Form(pix2pix, PARTS),
    "CycleGAN": Form(cyclegan, frozenset({"d@A"}), frozenset(), 8.0),
    "tqdm": Form(tqdm, BOTH),
    "lucidrains": Form(lucidrains, BOTH),
    "StudioGAN": Form(studiogan, BOTH),
    "name=value": Form(pairs, BOTH),
    "BasicSR": Form(basicsr, PARTS | {"logit_real", "logit_fake"}),
    "CSV": Form(csv, frozenset()),
    "TSV": Form(tsv, frozenset()),
    "sparse CSV": Form(sparse_csv, BOTH),
    "JSON lines": Form(json_lines, frozenset()),
    "JSON array": Form(json_array, frozenset()),
    "StyleGAN": Form(stylegan, frozenset({"signs_real", "logit_real"}), frozenset({"fid"}), 8.0),
}
