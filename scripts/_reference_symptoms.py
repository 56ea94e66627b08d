"""Generated parts on diagnosis: every symptom from its record, and every log format from its reader."""

from _reference_knobs import format_change
from _reference_tables import markdown_table

from equipoise.diagnosis.adjustments import Rung
from equipoise.diagnosis.columns.column_names import classify_name
from equipoise.diagnosis.columns.column_words import METRICS, STEP_COLUMNS, WORDS
from equipoise.diagnosis.readers import log_readers
from equipoise.diagnosis.symptom import Repair, Symptom
from equipoise.diagnosis.symptoms import SYMPTOMS

BETTER = ("lower", "higher")
OUTPUTS = {
    "output_real": "`probability_real`, or `logit_real` by its values",
    "output_fake": "`probability_fake`, or `logit_fake` by its values",
    "bare_real": "`loss_d_real`, `probability_real` or `logit_real` by its values",
    "bare_fake": "`loss_d_fake`, `probability_fake` or `logit_fake` by its values",
}
EXAMPLES = (
    *("loss_d", "Loss_D", "D loss", "errD", "Discriminator_loss", "train/d_loss", "loss/critic", "disc cost", "D_A"),
    *(
        "loss_g",
        "Loss_G",
        "G loss",
        "errG",
        "Generator_loss",
        "train/g_loss",
        "gen_loss",
        "G_GAN",
        "loss_g_adv",
        "l_g_gan",
    ),
    *("D_real", "D_fake", "loss_D_real", "loss_D_fake", "d_loss_real", "d_loss_fake", "l_d_real", "l_d_fake"),
    *("D(x)", "D(G(z))", "real_prob", "fake_prob", "real_score", "fake_score", "out_d_real", "out_d_fake"),
    *("logits_real", "logits_fake", "Loss/scores/real", "Loss/scores/fake", "Loss/signs/real", "Loss/signs/fake"),
    *("d_accuracy", "acc_real", "Progress/augment", "ada_p", "grad_norm_g", "grad_norm_d"),
)
"""Names of columns in the logs of well-known programs."""


def symptoms(_: str) -> str:
    """Return a section for each symptom: meaning, test, signals, severity, source, advice and repair."""
    overview = [(f"[`{name}`](#{name})", symptom.meaning) for name, symptom in SYMPTOMS.items()]
    sections = (f"### {name}\n\n{_describe(symptom)}" for name, symptom in SYMPTOMS.items())
    return "\n".join((markdown_table(("symptom", "meaning"), overview), *sections))


def loop_changes(_: str) -> str:
    """Return every change of a training loop that a symptom recommends, with its code."""
    changes = dict.fromkeys(change for symptom in SYMPTOMS.values() for change in symptom.loop_advice)
    return "\n".join(f"{change.action}:\n\n```python skip\n{change.code}\n```\n" for change in changes)


def log_formats(_: str) -> str:
    """Return the table of log formats, in the order in which their readers are tried."""
    return markdown_table(("form", "what is read"), [(reader.name, reader.contents) for reader in log_readers()])


def column_names(_: str) -> str:
    """Return the tables of column names: examples for each signal, metrics, counters, and the words of each role."""
    groups: dict[str, list[str]] = {}
    for name in EXAMPLES:
        meaning = classify_name(name)
        target = meaning.name if meaning.kind == "signal" else f"{meaning.kind}: {meaning.name}"
        groups.setdefault(OUTPUTS.get(target, f"`{target}`"), []).append(f"`{name}`")
    examples = [(target, ", ".join(names)) for target, names in groups.items()]
    directions = {better: sorted({name for name, other in METRICS.values() if other == better}) for better in BETTER}
    metrics = [(better, ", ".join(f"`{name}`" for name in names)) for better, names in directions.items()]
    units = dict.fromkeys(STEP_COLUMNS.values())
    counters = [(unit, ", ".join(f"`{n}`" for n, other in STEP_COLUMNS.items() if other == unit)) for unit in units]
    words = [(role, " ".join(sorted(known))) for role, known in WORDS.items()]
    return "\n".join(
        (
            markdown_table(("signal", "examples of names"), examples),
            markdown_table(("better", "metrics"), metrics),
            markdown_table(("unit", "counters"), counters),
            markdown_table(("role", "words"), words),
        )
    )


def _describe(symptom: Symptom) -> str:
    lines = (
        f"{symptom.meaning[0].upper()}{symptom.meaning[1:]}.",
        "",
        f"- **Test:** {symptom.test}.",
        *([f"- **Reads:** {', '.join(f'`{name}`' for name in symptom.reads)}."] if symptom.reads else []),
        f"- **Source:** {symptom.source}.",
        "- **In a PyTorch training loop:**",
        *(f"    {number}. {change.action}." for number, change in enumerate(symptom.loop_advice, start=1)),
        f"- **With Equipoise:** {symptom.advice}.",
        f"- **Repair:** {_describe_repair(symptom.repair)}.",
    )
    scales = [(name, *(f"{value:.3g}".replace("-", "−") for value in scale)) for name, scale in symptom.scales.items()]
    table = markdown_table(("severity by", "0.2 at", "0.5 at", "1 at"), scales) if scales else ""
    return "\n".join((*lines, "", table)).rstrip() + "\n"


def _describe_repair(repair: Repair | None) -> str:
    """Describe how repair treats a symptom, rung by rung."""
    if repair is None:
        return "none"
    rollback = "rolls back to an earlier checkpoint" if repair.rolls_back else "does not roll back"
    rungs = "; ".join(f"({number}) {_describe_rung(rung)}" for number, rung in enumerate(repair.ladder, start=1))
    return f"{rollback}; {rungs or 'changes no knob'}"


def _describe_rung(rung: Rung) -> str:
    """Describe the change of each knob on a rung."""
    knobs = dict.fromkeys(adjustment.knob for adjustment in rung)
    return ", ".join(f"`{knob}` {format_change(knob, rung)}" for knob in knobs)
