"""The report of a comparison: the page, its figures, the Markdown tables, and one JSON line per run."""

import base64
import dataclasses
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from equipoise.comparison import aggregate, figures, measurements, page, plan_runs, results
from equipoise.comparison.folder import ComparisonFolder
from equipoise.comparison.plan import Arm, ComparisonPlan
from equipoise.comparison.results import RunResult
from equipoise.comparison.summary import complete_blocks, summarise
from equipoise.errors import RunError
from equipoise.runs.run import Run


@pytest.fixture(scope="module")
def reported(compared: ComparisonFolder, tmp_path_factory: pytest.TempPathFactory) -> ComparisonFolder:
    """A copy of the finished comparison with its report."""
    folder = ComparisonFolder(Path(shutil.copytree(compared.path, tmp_path_factory.mktemp("reported") / "tiny")))
    assert page.write_report(folder) == folder.path / "report.html"
    return folder


def test_page_is_self_contained(reported: ComparisonFolder) -> None:
    text = (reported.path / "report.html").read_text()
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text), "nothing is loaded from other files"
    for question in ("Quality.", "Efficiency.", "Stability."):
        assert f"<strong>{question}</strong>" in text
    assert text.index("<strong>Quality.") < text.index("<img"), "text comes first"
    images = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert len(images) == 2 * (4 + 2), "four figures and the samples of two settings, each for desktop and phone"
    for image, width in zip(images, [533, 1600] * 6, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(image))) as picture:
            assert picture.width == width
            assert len(picture.convert("RGB").getcolors(100_000) or ()) > 10


def test_every_run_is_in_the_page_and_in_the_lines(reported: ComparisonFolder) -> None:
    text = (reported.path / "report.html").read_text()
    lines = [json.loads(line) for line in (reported.path / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    for line in lines:
        assert line["name"] in text
        assert line["state"] == "ended"
        assert len(line["experiment"]) == len(line["weights"]) == 64
        assert len(line["looks"]) == 4
        assert 0 <= line["score"] <= 1
        assert line["score"] == line["last"] == line["looks"][-1][1] <= line["best"]
    pairs = {(line["regime"], line["seed"]): [] for line in lines}
    for line in lines:
        pairs[line["regime"], line["seed"]].append(line["weights"])
    assert all(len(set(weights)) == 2 for weights in pairs.values()), "arms have different weights"


def test_page_shows_plan_versions_and_digests(reported: ComparisonFolder) -> None:
    text = (reported.path / "report.html").read_text()
    record = json.loads((reported.path / "plan.json").read_text())
    assert record["digest"] in text
    assert all(version in text for version in record["versions"].values())
    assert "seeds = [0, 1]" in text, "the plan as written"
    markdown = (reported.path / "results.md").read_text()
    assert markdown.startswith("# tiny\n\n2 arms, 4 runs each")
    assert "| ring.mis_set.annealed.seed1 | ended |" in markdown


def test_report_of_an_unfinished_comparison(compared: ComparisonFolder, tmp_path: Path) -> None:
    folder = ComparisonFolder(Path(shutil.copytree(compared.path, tmp_path / "part")))
    for run in (folder.path / "runs").glob("*annealed*"):
        shutil.rmtree(run)
    folder.failed("ring.annealed.seed0").parent.mkdir()
    folder.failed("ring.annealed.seed0").write_text("Traceback\nValueError: <b>no</b>\n")
    text = page.write_report(folder).read_text()
    assert "2 of 8 runs count so far." in text
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;" in text, "text is escaped"
    folder.failed("ring.annealed.seed0").unlink()
    assert "nothing can be compared" in page.write_report(folder).read_text()
    with pytest.raises(RunError, match="is not a comparison"):
        page.write_report(ComparisonFolder(tmp_path))


def test_score_follows_the_snapshot_of_the_plan(
    compared: ComparisonFolder, tiny: ComparisonPlan, tmp_path: Path
) -> None:
    """The same run with snapshot `best`, by the live metric, and `last_fifth`."""
    run = plan_runs.compared_runs(tiny)[1]
    live = {line["step"]: line["value"] for line in Run(compared.run(run)).lines("evaluated")}
    best = max(sorted(live), key=lambda step: live[step])
    by_best = results.load_result(dataclasses.replace(tiny, snapshot="best"), compared, run)
    assert by_best.score == {step: score for step, score, _ in by_best.curve}[best]
    by_fifth = results.load_result(dataclasses.replace(tiny, snapshot="last_fifth"), compared, run)
    assert by_fifth.score == by_fifth.curve[-1][1], "only the last of four measurements is in the last fifth"


def test_last_fifth_averages_metric_and_score(compared: ComparisonFolder, tiny: ComparisonPlan, tmp_path: Path) -> None:
    """Of 12 steps the last fifth are those from step 9.6 on: 10, 11 and 12."""
    folder, run = (
        ComparisonFolder(Path(shutil.copytree(compared.path, tmp_path / "fifth"))),
        plan_runs.compared_runs(tiny)[0],
    )
    last = measurements.read_measurements(folder.measurements(run))[-1]
    for step, value in ((9, 0.9), (10, 0.1), (11, 0.3), (12, 0.2)):
        measurements.append_measurement(folder.measurements(run), dataclasses.replace(last, step=step, value=value))
    result = results.load_result(dataclasses.replace(tiny, snapshot="last_fifth"), folder, run)
    assert result.value == pytest.approx(0.2)
    assert result.score == result.last_fifth == pytest.approx(sum(score for _, score, _ in result.curve[-3:]) / 3)
    assert results.load_result(tiny, folder, run).value == 0.2


def test_comparison_without_finished_runs_has_a_page(compared: ComparisonFolder, tmp_path: Path) -> None:
    folder = ComparisonFolder(Path(shutil.copytree(compared.path, tmp_path / "nothing")))
    folder.failed("x").parent.mkdir()
    for run in (folder.path / "runs").iterdir():
        shutil.rmtree(run)
        folder.failed(run.name).write_text("ValueError: no\n")
    text = page.write_report(folder).read_text()
    assert "8 of 8" not in text.partition("<main>")[0]
    assert "<h2>Failed runs</h2>" in text


def test_figures_of_a_dozen_arms(
    tiny: ComparisonPlan, row: Callable[..., RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregate, "DRAWS", 100)
    names = [f"way_of_control_{number}" for number in range(12)]
    plan = dataclasses.replace(tiny, arms={name: Arm() for name in names}, baseline=names[0])
    rows = [
        row(
            name, seed, 0.0 if number == 3 else number / 12, task, state="diverged" if number == 3 else "ended", **extra
        )
        for task in ("a", "b")
        for seed in range(3)
        for number, name in enumerate(names)
        for extra in [{"curve": ()} if number == 3 else {}]
    ]
    result, blocks = summarise(plan, rows), complete_blocks(plan, rows)
    assert result is not None
    sizes = []
    for png in (
        *(draw(result, blocks) for draw in (figures.plot_quality, figures.plot_settings, figures.plot_curves)),
        figures.plot_stability(result),
    ):
        with Image.open(io.BytesIO(png)) as picture:
            sizes.append(picture.size)
    assert {width for width, _ in sizes} == {1600}
    assert all(300 < height < 2400 for _, height in sizes)
