"""442 people with diabetes: eight measurements, and how far the disease went in the year after.

Dimensions: N = 442 people.
"""

from typing import Any

import numpy as np

# our name: the bundle's name
COLUMNS = {
    "age": "age",
    "bmi": "bmi",
    "pressure": "bp",
    "cholesterol": "s1",
    "ldl": "s2",
    "hdl": "s3",
    "triglycerides": "s5",
    "glucose": "s6",
}


def patients() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The clean table, and the outcome that a model is to foresee.

    → (columns, progression): columns maps eight names to float64 arrays (N,); progression (N,) float64, 25 to 346,
    a measure of how far the disease went within one year, without a unit.

    age in years; bmi in kg/m²; pressure, the mean arterial one, in mm Hg; the others in mg/dl of blood serum.
    The bundle carries the natural logarithm of the triglycerides, rounded to four digits; here it is undone, to whole mg/dl.
    Left out: the sex, coded 1 and 2 without a word on which is which, and the ratio of two columns that are here.

    Source: B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, Least Angle Regression, Annals of Statistics 32 (2004);
    bundled with scikit-learn (BSD licence), whose documentation names the columns and not their units; mg/dl is read off
    their size.
    """
    from sklearn.datasets import load_diabetes  # here, so that importing course_lib.data stays cheap

    bunch: Any = load_diabetes(scaled=False)
    columns = {name: np.array(bunch.data[:, bunch.feature_names.index(theirs)], dtype=np.float64) for name, theirs in COLUMNS.items()}
    columns["triglycerides"] = np.rint(np.exp(columns["triglycerides"])).astype(np.float64)
    return columns, np.array(bunch.target, dtype=np.float64)
