"""Student's t, against SciPy's."""

import pytest
from scipy import stats

from equipoise.core.student_t import quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 8, 30, 151])
@pytest.mark.parametrize("level", [0.5, 0.6, 0.95, 0.975, 0.9999])
def test_the_quantile_is_that_of_the_law(level: float, freedom: int) -> None:
    assert quantile(level, freedom) == pytest.approx(stats.t.ppf(level, freedom), rel=1e-11, abs=1e-12)


@pytest.mark.parametrize(("level", "freedom"), [(0.975, 0), (0.4, 3), (1.0, 3)])
def test_what_has_no_quantile_is_an_error(level: float, freedom: int) -> None:
    with pytest.raises(ValueError, match="level = "):
        quantile(level, freedom)
