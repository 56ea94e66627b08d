"""Does `equipoise diagnose` say what an expert would say, on 500 logs whose truth is known?

    python benchmarks/doctor.py

The logs are made by `_log_generator.py`, which imports nothing of the package: healthy runs of twelve kinds, runs on
which nobody can judge, and 17 faults at three strengths, in the forms of 16 programs. Each log is written to a
temporary folder and read by `equipoise diagnose --json`, with no option.

A fault counts as named if one of the symptoms that an expert would name is among the findings. A false alarm is the
verdict "unhealthy" or "diverged", or a finding with a severity of 0.5 or more, on a log without a fault. Aims: at
medium strength 90 % of the faults are named, and at most 2 % of the logs without a fault raise an alarm.
"""

import contextlib
import io
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _log_faults import FAULTS, STRENGTHS
from _log_forms import FORMS
from _log_generator import Case, Truth, cases, make_log
from _log_healthy import HEALTHY, UNKNOWN
from _results import HERE, Item, Result, Results, create_parser, table, write

from equipoise.cli import main as cli

SERIOUS = 0.5
AIM_RECALL, AIM_FALSE = 0.9, 0.02
SYMPTOMS: Mapping[str, tuple[str, ...]] = {
    "discriminator overpowering": ("discriminator_overpowering",),
    "generator overpowering": ("generator_overpowering",),
    "never learned": ("never_learned",),
    "constant loss": ("saturated_loss",),
    "vanishing gradient": ("vanishing_generator_gradient",),
    "collapse": ("collapse", "mode_collapse"),
    "oscillation": ("oscillation",),
    "divergence": ("divergence",),
    "discriminator overfitting": ("discriminator_overfitting",),
    "broken metric": ("broken_metric",),
    "dead discriminator": ("dead_discriminator",),
    "plateau": ("plateau",),
    "equilibrium": ("equilibrium",),
}
"""What an expert names -> symptoms of the package that say it."""
VERDICTS = ("healthy", "unknown", "unhealthy", "diverged", "not read")


class Outcome(NamedTuple):
    """What the package said about one log."""

    case: Case
    truth: Truth
    form: str
    verdict: str
    findings: tuple[tuple[str, float], ...]
    error: str

    @property
    def names(self) -> set[str]:
        """What was found, in the words of the generator; other symptoms by their id."""
        words = {symptom: word for word, symptoms in SYMPTOMS.items() for symptom in symptoms}
        return {words.get(symptom, symptom) for symptom, _ in self.findings}

    @property
    def is_named(self) -> bool:
        """Whether one of the symptoms that an expert would name was found."""
        return bool(self.names & set(self.truth.names))

    @property
    def is_right(self) -> bool:
        """Whether an expert would give this verdict."""
        return self.verdict in self.truth.verdicts

    @property
    def is_alarm(self) -> bool:
        """Whether something was reported as a problem."""
        return self.verdict in ("unhealthy", "diverged") or any(severity >= SERIOUS for _, severity in self.findings)


def items() -> list[Item]:
    """Return one item per kind and strength."""
    return [{"kind": kind, "strength": strength} for kind, strength in dict.fromkeys(case[1:] for case in cases())]


def measure(item: Item) -> Result:
    """Diagnose all logs of one kind and strength."""
    started = time.process_time()
    outcomes = [diagnose(case) for case in cases() if case[1:] == (item["kind"], item["strength"])]
    return {"logs": outcomes, "cpu_seconds": time.process_time() - started}


def diagnose(case: Case) -> dict[str, Any]:
    """Write one log, diagnose it, and return its truth and what was said."""
    log = make_log(case)
    with tempfile.TemporaryDirectory(prefix="log-") as folder:
        for name, content in log.files.items():
            (Path(folder) / name).write_bytes(content)
        path = Path(folder) / next(iter(log.files)) if len(log.files) == 1 else folder
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            cli.run(["diagnose", str(path), "--json"])
    about = {"case": case, "truth": log.truth, "form": log.form, "changes": log.changes, "rows": log.rows}
    result = json.loads(output.getvalue() or "{}")
    if "verdict" not in result:
        error = result.get("error", errors.getvalue()).replace(folder, "FOLDER")
        return {**about, "verdict": "not read", "findings": [], "error": error[:400]}
    parts = [result, *result.get("games", [])]
    findings = [(finding["symptom"], finding["severity"]) for part in parts for finding in part.get("findings", [])]
    return {**about, "verdict": result["verdict"], "findings": sorted(set(findings)), "error": ""}


def outcome(line: Mapping[str, Any]) -> Outcome:
    findings = tuple((symptom, severity) for symptom, severity in line["findings"])
    truth = Truth(*(tuple(values) for values in line["truth"]))
    return Outcome(Case(*line["case"]), truth, line["form"], line["verdict"], findings, line["error"])


def share(part: int, whole: int) -> str:
    return f"{part} of {whole}" + (f" ({100 * part / whole:.1f} %)" if whole else "")


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the table of aims."""
    sound = [it for it in outcomes if not it.truth.names]
    rows = []
    for strength in STRENGTHS:
        faults = [it for it in outcomes if it.case.strength == strength]
        aim = f"≥ {100 * AIM_RECALL:.0f} %" if strength == "medium" else ""
        rows.append((f"faults named, {strength}", share(sum(it.is_named for it in faults), len(faults)), aim))
        rows.append((f"verdict right, {strength}", share(sum(it.is_right for it in faults), len(faults)), ""))
    alarms = sum(it.is_alarm for it in sound)
    rows.append(("false alarms on logs without a fault", share(alarms, len(sound)), f"≤ {100 * AIM_FALSE:.0f} %"))
    rows.append(("verdict right on logs without a fault", share(sum(it.is_right for it in sound), len(sound)), ""))
    unread = sum(it.verdict == "not read" for it in outcomes)
    rows.append(("not read", share(unread, len(outcomes)), "0"))
    return table(("", "logs", "aim"), rows)


def verdict_table(outcomes: Sequence[Outcome]) -> str:
    """Return the right verdict × the verdict."""
    counts = Counter((" or ".join(it.truth.verdicts), it.verdict) for it in outcomes)
    truths = sorted({truth for truth, _ in counts}, key=lambda truth: (truth.count(" or "), truth))
    return table(
        ("right", *(f"said {verdict}" for verdict in VERDICTS)),
        [(truth, *(counts[truth, verdict] or "" for verdict in VERDICTS)) for truth in truths],
    )


def recall_table(outcomes: Sequence[Outcome]) -> str:
    """Return how many logs of each fault were named, and on how many of them the verdict is right."""
    rows = []
    for kind in FAULTS:
        cells = []
        for strength in STRENGTHS:
            group = [it for it in outcomes if it.case[1:] == (kind, strength)]
            cells.append(f"{sum(it.is_named for it in group)}, {sum(it.is_right for it in group)} of {len(group)}")
        rows.append((kind, *cells))
    return table(("fault", *(f"{strength}: named, verdict right" for strength in STRENGTHS)), rows)


def sound_table(outcomes: Sequence[Outcome]) -> str:
    """Return false alarms and verdicts by kind of run without a fault."""
    rows = []
    for kind in (*HEALTHY, *UNKNOWN):
        group = [it for it in outcomes if it.case.kind == kind]
        named = Counter(symptom for it in group for symptom, severity in it.findings if severity >= SERIOUS)
        hints = Counter(symptom for it in group for symptom, severity in it.findings if severity < SERIOUS)
        lists = [", ".join(f"{name} ×{count}" for name, count in counter.most_common()) for counter in (named, hints)]
        alarms, right = sum(it.is_alarm for it in group), sum(it.is_right for it in group)
        rows.append((kind, len(group), alarms, f"{right} of {len(group)}", *lists))
    return table(("kind", "logs", "false alarms", "verdict right", "serious findings", "hints"), rows)


def confusion_table(outcomes: Sequence[Outcome]) -> str:
    """Return kind × what was found, at medium and strong; what an expert names or may name is in bold."""
    logs = [it for it in outcomes if it.case.strength != "weak"]
    found = sorted({name for it in logs for name in it.names})
    rows = []
    for kind in (*FAULTS, "no fault"):
        group = [it for it in logs if (it.case.kind == kind if kind in FAULTS else not it.truth.names)]
        counts = Counter(name for it in group for name in it.names)
        right = {name for it in group for name in (*it.truth.names, *it.truth.also)}
        cells = [("**{}**" if name in right else "{}").format(counts[name]) if counts[name] else "" for name in found]
        nothing = sum(not it.names for it in group)
        rows.append((kind, len(group), *cells, nothing or ""))
    return table(("truth", "logs", *found, "nothing"), rows)


def form_table(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for form in FORMS:
        group = [it for it in outcomes if it.form == form]
        unread = [it for it in group if it.verdict == "not read"]
        rows.append((form, len(group), len(unread), f"log {unread[0].case.number}" if unread else ""))
    return table(("form", "logs", "not read", "for example"), rows)


def strength_table() -> str:
    rows = [(kind, " ".join((fault.make.__doc__ or "").split())) for kind, fault in FAULTS.items()]
    return table(("fault", "what it is, and its size when weak, medium, strong"), rows)


def pages(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield summary(outcomes)
    yield "## Faults"
    yield recall_table(outcomes)
    yield "## Logs without a fault"
    yield sound_table(outcomes)
    yield "## Truth and findings, medium and strong"
    yield "Bold: what an expert names or may name as well."
    yield confusion_table(outcomes)
    yield "## Verdicts"
    yield verdict_table(outcomes)
    yield "## Forms"
    yield form_table(outcomes)
    yield "## The faults"
    yield strength_table()


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="only part I of N")
    parser.add_argument("--log", type=int, help="print the truth and the result of one log, and keep its files")
    args = parser.parse_args()
    if args.log is not None:
        show(cases()[args.log])
        return
    results = Results(args.out / "results" / "doctor.jsonl")
    part, parts = args.part
    for item in () if args.table else items()[part::parts]:  # in this thread: standard output is captured
        if results.result(item) is None:
            results.append(item, measure(item))
            print(f"finished: {item['kind']} {item['strength']}", flush=True)
    found = [result for item in items() if (result := results.result(item))]
    outcomes = sorted((outcome(line) for result in found for line in result["logs"]), key=lambda it: it.case.number)
    seconds = sum(result["cpu_seconds"] for result in found)
    notes = HERE / "doctor_notes.md"
    write(
        args.out / "doctor.md",
        "# Diagnosis of synthetic logs with known truth",
        f"{results.provenance(items())} {seconds:.0f} CPU seconds.",
        "The logs are made" + (__doc__ or "").partition("The logs are made")[2].rstrip(),
        *pages(outcomes),
        *([notes.read_text().strip()] if notes.exists() else []),
    )


def show(case: Case) -> None:
    """Print one case, for an inspection of its files."""
    log = make_log(case)
    folder = Path(tempfile.mkdtemp(prefix=f"log-{case.number}-"))
    for name, content in log.files.items():
        (folder / name).write_bytes(content)
    print(f"{case}\n{log.truth}\n{log.form}, {log.rows} rows, {', '.join(log.changes) or 'as it is'}\n{folder}")


if __name__ == "__main__":
    main()
