"""Print a synthetic run as well-known programs print it: lines, progress bars, tables, JSON.

A form is a function of a run and a style, and returns the files of the log by name. Rows are printed every `every`
steps, metrics on lines or in rows of their own where the real program does so. `FORMS` says what each form can hold.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from _log_curves import Curves

Files = Mapping[str, str]

NAMES = (
    ("loss_d", "loss_g"),
    ("d_loss", "g_loss"),
    ("D_loss", "G_loss"),
    ("lossD", "lossG"),
    ("disc_loss", "gen_loss"),
    ("Loss/D", "Loss/G"),
    ("loss_discriminator", "loss_generator"),
    ("errD", "errG"),
)
"""Names of both losses in tables and records."""
COLUMN = {
    "d_real": "d_loss_real",
    "d_fake": "d_loss_fake",
    "p_real": "D(x)",
    "p_fake": "D(G(z))",
    "accuracy": "d_acc",
    "logit_real": "D_real_logits",
    "logit_fake": "D_fake_logits",
    "signs_real": "Loss/signs/real",
    "signs_fake": "Loss/signs/fake",
    "augment": "Progress/augment",
}
METRIC = {"fid": ("fid", "FID", "val_fid", "fid_score"), "is": ("inception_score", "IS", "is_mean", "IS_mean")}


class Style(NamedTuple):
    """Choices that differ between users of the same program."""

    names: tuple[str, str]
    decimals: int
    per_epoch: int
    epochs: int
    metric: Mapping[str, str]

    def number(self, value: float) -> str:
        is_plain = not np.isfinite(value) or 10.0**-self.decimals * 5 <= abs(value) < 1e6 or value == 0
        return f"{value:.{self.decimals}f}" if is_plain else f"{value:.{self.decimals}e}"

    def fixed(self, value: float) -> str:
        """Format as "%.4f" does it: small values become 0.0000."""
        return f"{value:.{self.decimals}f}" if not np.isfinite(value) or abs(value) < 1e9 else f"{value:.4e}"


def choose_style(rng: np.random.Generator, curves: Curves) -> Style:
    differences = np.diff(curves.step)
    every = int(differences[differences > 0].min()) if len(differences) else 1
    rows_per_epoch = max(1, min(len(curves.step) // 5, int(rng.integers(5, 60))))
    per_epoch = every * rows_per_epoch
    epochs = int(curves.step.max()) // per_epoch + 1
    metric = {name: str(rng.choice(names)) for name, names in METRIC.items()}
    return Style(NAMES[int(rng.integers(len(NAMES)))], int(rng.integers(4, 7)), per_epoch, epochs, metric)


def rows(curves: Curves) -> Iterator[tuple[int, dict[str, float], dict[str, float]]]:
    """Yield step, signals and others, and metrics of each row."""
    columns = {**curves.signals, **curves.others}
    for row, step in enumerate(curves.step):
        values = {name: float(column[row]) for name, column in columns.items()}
        metrics = {name: float(metric.values[row]) for name, metric in curves.metrics.items() if metric.at[row]}
        yield int(step), values, metrics


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


def columns(curves: Curves, style: Style) -> dict[str, str]:
    """Return the names of the columns of a table or a record."""
    names = {"d": style.names[0], "g": style.names[1], **COLUMN}
    result = {}
    for name in [*curves.signals, *curves.others]:
        signal, _, game = name.partition("@")
        if signal == "p_fake_after":
            continue
        result[name] = names.get(signal, signal) + (f"_{game}" if game else "")
    return result


def table(curves: Curves, style: Style, separator: str) -> str:
    """A table with empty cells where a metric was not measured."""
    names = columns(curves, style)
    lines = [separator.join(["step", *names.values(), *(style.metric[name] for name in curves.metrics)])]
    for step, at, metrics in rows(curves):
        cells = [style.number(at[name]) for name in names]
        cells += [style.number(metrics[name]) if name in metrics else "" for name in curves.metrics]
        lines.append(separator.join([str(step), *cells]))
    return "\n".join(lines) + "\n"


def csv(curves: Curves, style: Style) -> Files:
    return {"log.csv": table(curves, style, ",")}


def tsv(curves: Curves, style: Style) -> Files:
    return {"progress.tsv": table(curves, style, "\t")}


def sparse_csv(curves: Curves, style: Style) -> Files:
    """Lightning's metrics.csv: a row holds either the losses of a step or the metrics of a validation."""
    d, g = style.names
    metric_names = list(curves.metrics)
    lines = [",".join([f"{d}_step", "epoch", f"{g}_step", "step", *(style.metric[name] for name in metric_names)])]
    for step, at, metrics in rows(curves):
        epoch, empty = step // style.per_epoch, "," * len(metric_names)
        lines.append(f"{at['d']},{epoch},{at['g']},{step}{empty}")
        if metrics:
            lines.append(f",{epoch},,{step}," + ",".join(str(metrics.get(name, "")) for name in metric_names))
    return {"metrics.csv": "\n".join(lines) + "\n"}


def records(curves: Curves, style: Style) -> list[dict[str, float]]:
    names = columns(curves, style)
    return [
        {"step": step, **{names[name]: round(at[name], 8) for name in names}}
        | {style.metric[name]: value for name, value in metrics.items()}
        for step, at, metrics in rows(curves)
    ]


def json_lines(curves: Curves, style: Style) -> Files:
    return {"log.jsonl": "".join(json.dumps(record) + "\n" for record in records(curves, style))}


def json_array(curves: Curves, style: Style) -> Files:
    return {"log.json": json.dumps(records(curves, style), indent=1)}


def stylegan(curves: Curves, style: Style) -> Files:
    """The folder of StyleGAN2-ADA and StyleGAN3: statistics per tick, metrics per snapshot."""
    stats, snapshots = [], []
    signals = {
        "d": "Loss/D/loss",
        "g": "Loss/G/loss",
        "logit_real": "Loss/scores/real",
        "logit_fake": "Loss/scores/fake",
    }
    signals |= {name: COLUMN[name] for name in ("signs_real", "signs_fake", "augment")}
    for row, (step, at, metrics) in enumerate(rows(curves)):
        line = {name: {"num": 9000, "mean": at[signal], "std": 0.5} for signal, name in signals.items()}
        line["Progress/kimg"] = {"num": 1, "mean": float(step), "std": 0.0}
        line["Progress/tick"] = {"num": 1, "mean": float(row), "std": 0.0}
        stats.append(json.dumps({**line, "timestamp": 1.7e9 + 60 * row}) + "\n")
        snapshot = {"metric": "fid50k_full", "snapshot_pkl": f"network-snapshot-{step:06d}.pkl", "timestamp": 1.7e9}
        for value in metrics.values():
            snapshots.append(json.dumps({"results": {"fid50k_full": value}, **snapshot}) + "\n")
    files = {"stats.jsonl": "".join(stats), "metric-fid50k_full.jsonl": "".join(snapshots)}
    return {name: text for name, text in files.items() if text}


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
