"""The figure of a diagnosis: any numbers, names and periods give a picture."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from equipoise.report import diagnosis_figure
from equipoise.report.diagnosis_figure import CurvePanel, FindingSpan, GameCurves, MetricPanel, render_diagnosis
from equipoise.report.series import CurveSeries

NAN, INF = math.nan, math.inf


def panel(*values: float, name: str = "loss_d") -> CurvePanel:
    return CurvePanel("Losses", "loss", {name: CurveSeries.of([float(i) for i in range(len(values))], values)})


def game(**changes: object) -> GameCurves:
    defaults = {"title": "a.log: unhealthy", "subtitle": "table", "unit": "step", "steps": (0.0, 3.0)}
    return GameCurves(**{**defaults, **changes})  # type: ignore[arg-type]


def picture(*games: GameCurves) -> "np.ndarray":
    with Image.open(io.BytesIO(render_diagnosis(games))) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "values",
    [
        (1.0,),
        (1, 1, 1, 1),
        (0, 0, 0, 0),
        (1, NAN, INF, -INF),
        (NAN, NAN, NAN),
        (1e-30, 1e30, 1e300, -1e300),
        (1e-4, 1, 100, 1000),
        (0, 1e-3, 1, 100),
        (-1e5, -1, 0, 1e5),
        (5e-324, 1, 2, 3),
    ],
)
def test_any_values_are_drawn(values: tuple[float, ...]) -> None:
    image = picture(game(panels=[panel(*values)], non_finite=[1.0, 2.0]))
    assert image.shape[1] == 1600
    assert image.std() > 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["$x_{", "$\\frac{1}{2}$", "\x1b[31m\n", "_hidden", "", "a" * 500, "\u202e\ud800"])
def test_names_are_text(name: str) -> None:
    metric = MetricPanel(name, "lower", [0, 1], [2.0, 1.0], (1, 1.0))
    span = FindingSpan(name, 1, 2, 0.5)
    picture(
        game(title=name, subtitle=name, unit="step", panels=[panel(1, 2, name=name)], metrics=[metric], spans=[span])
    )


def test_periods_are_shaded_behind_the_curves() -> None:
    plain = game(panels=[panel(1, 2, 3, 4)])
    spans = [FindingSpan("collapse", 1, 3, 1.0), FindingSpan("equilibrium", 0, 1, 0.0)]
    image, shaded = picture(plain), picture(game(panels=[panel(1, 2, 3, 4)], spans=spans))
    assert shaded.shape[0] > image.shape[0], "a strip with a row for each symptom"
    rows = slice(150, 300)
    right, left = shaded[rows, 1000:1500].mean(), shaded[rows, 200:500].mean()
    assert right < left - 2, "only the period of the problem is darker"


@pytest.mark.parametrize("span", [(0, 0), (3, 3), (-5, 99), (2, 1)])
def test_periods_at_the_edges_are_visible(span: tuple[float, float]) -> None:
    spans = [FindingSpan("collapse", *span, 1.0)]
    image = picture(game(panels=[panel(1, 2, 3, 4)], spans=spans))
    reddish = (image[..., 0].astype(int) - image[..., 2] > 60).sum()
    assert reddish > 100


def test_the_best_measurement_is_marked() -> None:
    def metric(best: tuple[float, float] | None) -> MetricPanel:
        return MetricPanel("fid", "lower", [0, 1, 2, 3], [60.0, 20.0, 30.0, NAN], best)

    with_star, without = (picture(game(metrics=[metric(best)])) for best in ((1.0, 20.0), None))
    assert (with_star != without).any()


def test_many_readings_are_reduced() -> None:
    values = np.exp(np.random.default_rng(0).normal(size=2000)).tolist()
    few, many = (len(render_diagnosis([game(steps=(0.0, n), panels=[panel(*values[:n])])])) for n in (500, 2000))
    assert many < 3 * few


def test_games_are_below_each_other_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis_figure, "MAX_GAMES", 3)
    heights = [picture(*[game(panels=[panel(1, 2)])] * count).shape[0] for count in (1, 3, 8)]
    assert 2.5 * heights[0] < heights[1] == heights[2]


def test_a_game_without_values() -> None:
    assert picture(game()).shape[1] == 1600


def test_values_beyond_any_scale_are_crosses() -> None:
    figure = diagnosis_figure._figure([game(panels=[panel(1, 10, 1e31, 1e40)])])
    (crosses,) = [line for line in figure.axes[0].lines if line.get_label() == "above 1e30"]
    assert list(crosses.get_xdata()) == [2, 3]


def test_labels_of_a_long_scale_do_not_overlap() -> None:
    figure = diagnosis_figure._figure([game(panels=[panel(0, 1, 1e12, 1e29)])])
    assert len(figure.axes[0].get_yticks()) <= 9
