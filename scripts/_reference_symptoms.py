"""Generated parts on diagnosis: every symptom from its record, and every log format from its reader."""

from _reference_knobs import format_change
from _reference_tables import markdown_table

from equipoise.diagnosis.adjustments import Rung
from equipoise.diagnosis.readers import log_readers
from equipoise.diagnosis.symptom import Repair, Symptom
from equipoise.diagnosis.symptoms import SYMPTOMS


def symptoms(_: str) -> str:
    """Return a section for each symptom: meaning, test, signals, severity, source, advice and repair."""
    overview = [(f"[`{name}`](#{name})", symptom.meaning) for name, symptom in SYMPTOMS.items()]
    sections = (f"### {name}\n\n{_describe(symptom)}" for name, symptom in SYMPTOMS.items())
    return "\n".join((markdown_table(("symptom", "meaning"), overview), *sections))


def log_formats(_: str) -> str:
    """Return the table of log formats, in the order in which their readers are tried."""
    return markdown_table(("program", "what is read"), [(reader.name, reader.contents) for reader in log_readers()])


def _describe(symptom: Symptom) -> str:
    lines = (
        f"{symptom.meaning[0].upper()}{symptom.meaning[1:]}.",
        "",
        f"- **Test:** {symptom.test}.",
        f"- **Reads:** {', '.join(f'`{name}`' for name in symptom.reads)}.",
        f"- **Source:** {symptom.source}.",
        f"- **What to change:** {symptom.advice}.",
        "- **In a custom training loop:**",
        *(f"    - {change.action}" for change in symptom.loop_advice),
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
