"""Diagnoses as JSON, as text for a terminal, and as Markdown."""

import dataclasses
import html
import re

import pytest
from markdown_it import MarkdownIt

from equipoise.core.observations import Finding
from equipoise.core.printing import printable
from equipoise.diagnosis.diagnose import RunDiagnosis
from equipoise.diagnosis.episodes import SymptomEpisode
from equipoise.diagnosis.history import MetricPoint
from equipoise.diagnosis.rendering.markdown import code_span, escape, format_diagnoses_as_markdown
from equipoise.diagnosis.rendering.summary import (
    RUN_FORM,
    LogDiagnosis,
    by_importance,
    describe_period,
    describe_verdict,
    diagnoses_to_dict,
)
from equipoise.diagnosis.rendering.terminal_text import format_diagnoses

EVIL = "\x1b[31m`a|b` <img src=x> @user #12 [x](http://e.vil) *b* $x$\n# head"


def episode(symptom: str, since: int = 100, until: int | None = None, severity: float = 0.8) -> SymptomEpisode:
    return SymptomEpisode(Finding(symptom, severity, {"loss_g": 46.3}, since, 0.9), until)


def log_diagnosis(*episodes: SymptomEpisode, verdict: str = "unhealthy", **changes: object) -> LogDiagnosis:
    best = {"fid": MetricPoint(40_000, 27.4)}
    diagnosis = RunDiagnosis(episodes, 60, 60_000, verdict, best=best)  # type: ignore[arg-type]
    return dataclasses.replace(LogDiagnosis(log="train.log", form="table", diagnosis=diagnosis), **changes)


def test_first_causes_come_first_and_information_last() -> None:
    episodes = [
        *(episode("equilibrium", severity=0), episode("plateau", severity=0.2), episode("collapse", until=300)),
        *(episode("mode_collapse"), episode("divergence", until=500, severity=1)),
    ]
    names = [entry.finding.symptom for entry in by_importance(episodes)]
    assert names == ["divergence", "mode_collapse", "plateau", "collapse", "equilibrium"]


def test_verdict_has_a_reason() -> None:
    assert describe_verdict(log_diagnosis(episode("collapse"))) == "collapse from step 100 to the end"
    recovered = dataclasses.replace(episode("collapse", until=300, severity=0.4), recovered=True, count=2)
    assert describe_verdict(log_diagnosis(recovered, verdict="healthy")) == ""
    assert describe_period(recovered, "epoch") == "from epoch 100 to 300, recovered, 2 times"
    diverged = log_diagnosis(episode("collapse"), episode("divergence", 50, 60, 1.0), verdict="diverged")
    assert describe_verdict(diverged) == "divergence from step 50 to 60"
    assert describe_verdict(log_diagnosis(episode("plateau", severity=0.2), verdict="healthy")) == ""


def test_dictionary_of_one_game() -> None:
    result = diagnoses_to_dict([log_diagnosis(episode("collapse"))])
    (finding,) = result["findings"]
    assert "games" not in result
    assert result["best"] == {"fid": {"step": 40_000, "value": 27.4}}
    assert {"symptom", "severity", "since", "until", "times", "unit", "confidence", "evidence"} < set(finding)
    assert {"meaning", "cause", "advice", "loop_advice"} < set(finding)
    action, code = finding["loop_advice"][0].values()
    assert action.startswith("Use the checkpoint nearest to step 40,000, where fid was best (27.4)")
    compile(code, "code", "exec")
    assert "checkpoint_40000.pt" in code


def test_dictionary_of_several_games_has_the_worst_verdict() -> None:
    first = log_diagnosis(verdict="healthy", game="A")
    second = log_diagnosis(episode("collapse"), game="B")
    third = log_diagnosis(verdict="unknown", game="C")
    result = diagnoses_to_dict([first, second, third])
    assert result["verdict"] == "unhealthy"
    assert [(finding["game"], finding["symptom"]) for finding in result["findings"]] == [("B", "collapse")]
    assert [(game["game"], game["verdict"]) for game in result["games"]] == [
        ("A", "healthy"),
        ("B", "unhealthy"),
        ("C", "unknown"),
    ]
    assert diagnoses_to_dict([first, third])["verdict"] == "unknown"


def test_text_shows_each_change_once_with_its_code() -> None:
    text = format_diagnoses([log_diagnosis(episode("collapse"), episode("discriminator_overpowering"))])
    assert text.count("Add the R1 gradient penalty") == 1
    assert text.count('group["lr"] *= 0.25') == 1
    numbers = re.findall(r"what to change: (.*)", text)
    assert numbers[0].startswith("[1] [2]")
    assert all(f"  [{number}] " in text for number in re.findall(r"\[(\d)\]", " ".join(numbers)))
    assert "best fid: 27.4 at step 40,000" in text


def test_hints_have_one_change_and_information_none() -> None:
    text = format_diagnoses([log_diagnosis(episode("collapse", severity=0.3), episode("equilibrium", severity=0))])
    assert re.findall(r"what to change: (.*)", text) == ["[1]"]
    assert "for information, not a problem" in text


@pytest.mark.parametrize("width", [40, 80, 300])
def test_text_fits_the_terminal_except_code(width: int) -> None:
    text = format_diagnoses([log_diagnosis(episode("collapse"), notes=("A note " * 60,))], width)
    lines = [line for line in text.splitlines() if not line.startswith("      ")]
    assert max(map(len, lines)) <= max(50, min(width, 110))
    assert "      loss_d = loss_d + 10.0 / 2 * gradient.square().flatten(1).sum(1).mean()" in text


def test_names_of_a_log_cannot_control_a_terminal() -> None:
    entry = log_diagnosis(
        episode("collapse"), form=EVIL, notes=(EVIL,), game=EVIL, columns={"signals": ("loss_d",), "not used": (EVIL,)}
    )
    entry = dataclasses.replace(entry, sources={"loss_d": (EVIL, EVIL)})
    for text in (format_diagnoses([entry]), format_diagnoses_as_markdown([entry])):
        assert "\x1b" not in text
        assert "\\x1b" in text
        assert not [line for line in text.splitlines() if line.startswith("# head")]


def test_findings_are_short() -> None:
    text = format_diagnoses([log_diagnosis(episode("collapse"))], 100)
    block = text.split("\n\n")[1]
    assert block.startswith("collapse")
    assert len(block.splitlines()) <= 12


def test_columns_are_counted_beyond_the_first() -> None:
    entry = log_diagnosis(columns={"not used": tuple(f"c{number}" for number in range(200))})
    assert "not used: c0, c1" in format_diagnoses([entry])
    assert "and 188 more" in format_diagnoses([entry])
    assert "and 188 more" in format_diagnoses_as_markdown([entry])


def test_markdown_has_a_table_and_code_blocks() -> None:
    text = format_diagnoses_as_markdown([log_diagnosis(episode("collapse"))])
    assert text.startswith("### Diagnosis of `train.log`: unhealthy")
    assert "| `collapse` | from step 100 to the end | serious, severity 0.80, confidence 90% | loss_g = 46.3 |" in text
    assert text.count("```python") == text.count("   ```\n") + text.endswith("```")
    assert "1. Use the checkpoint nearest to step 40,000" in text


def test_markdown_of_games() -> None:
    text = format_diagnoses_as_markdown(
        [log_diagnosis(verdict="healthy", game="A"), log_diagnosis(episode("collapse"), game="B")]
    )
    assert "#### Game `A`: healthy" in text
    assert "#### Game `B`: unhealthy" in text
    assert "No symptoms detected." in text


def test_markdown_escapes_what_formats_text() -> None:
    assert escape("a|b <i> *x* `y` [z](u)") == r"a\|b \<i\> \*x\* \`y\` \[z\](u)"
    assert escape("loss_d of _x_") == r"loss_d of \_x\_"
    assert escape("@user #12 http://a") == "@<!-- -->user #<!-- -->12 http:<!-- -->//a"
    assert code_span("a`b") == "`` a`b ``"
    assert code_span("a|b\n") == r"`a|b\n`"


@pytest.mark.parametrize("text", [EVIL, "``a` `", "&lt; ~~s~~ __u__ ![i](j) \\", "- a", "1. a"])
def test_markdown_shows_names_unchanged(text: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    page = parser.render(f"| {escape(text)} | b |\n| --- | --- |\n\n- x: {escape(text)}\n- {code_span(text)}\n")
    tags = set(re.findall(r"</?(\w+)", page))
    assert tags <= {"table", "thead", "tr", "th", "ul", "li", "code"}
    shown = html.unescape(re.sub("<!-- -->|</?(?:li|ul|code|th|tr|thead|table)>", "", page))
    assert shown.count(printable(text).strip()) >= 2


def test_a_run_of_equipoise_is_changed_by_its_knobs() -> None:
    entry = log_diagnosis(episode("collapse"), form=RUN_FORM)
    text = format_diagnoses([entry])
    assert "  what to change: return to the best checkpoint" in text
    assert "PyTorch" not in text
    assert "PyTorch" not in format_diagnoses_as_markdown([entry])


def test_what_has_recovered_needs_no_change() -> None:
    recovered = dataclasses.replace(episode("oscillation", until=300, severity=0.4), recovered=True)
    entry = log_diagnosis(recovered, verdict="healthy")
    text = format_diagnoses([entry])
    assert "oscillation  from step 100 to 300, recovered  (mild" in text
    assert "evidence: loss_g = 46.3" in text
    assert "what to change" not in text
    assert "| `oscillation` |" in format_diagnoses_as_markdown([entry])
    assert "- `oscillation`" not in format_diagnoses_as_markdown([entry])
