"""Write a synthetic run as a table or as records: CSV, TSV, Lightning's sparse CSV, JSON, StyleGAN's folder."""

import json

from _log_curves import Curves
from _log_style import Files, Style, rows

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
