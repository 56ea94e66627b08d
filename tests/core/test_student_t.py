"""Student's t distribution, compared with SciPy's."""

import pytest
from scipy import stats

from equipoise.core.student_t import student_t_quantile


@pytest.mark.parametrize("degrees_of_freedom", [1, 2, 3, 4, 7, 8, 30, 151])
@pytest.mark.parametrize("probability", [0.5, 0.6, 0.95, 0.975, 0.9999])
def test_quantile_equals_that_of_scipy(probability: float, degrees_of_freedom: int) -> None:
    expected = stats.t.ppf(probability, degrees_of_freedom)
    assert student_t_quantile(probability, degrees_of_freedom) == pytest.approx(expected, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize(("probability", "degrees_of_freedom"), [(0.975, 0), (0.4, 3), (1.0, 3)])
def test_invalid_arguments_are_an_error(probability: float, degrees_of_freedom: int) -> None:
    with pytest.raises(ValueError, match="probability = "):
        student_t_quantile(probability, degrees_of_freedom)
