"""Cross-validated sweeps over the settings of several families of models, and an honest estimate for each winner.

Of each data set a quarter is held out and touched once, at the end. On the rest every candidate is scored by twenty
folds (five, repeated four times); the candidate with the best mean wins its family, is fitted on all of the rest and
scored on the held-out quarter, with a bootstrap interval. Scores are accuracy (classes) or R² (a quantity); more is
better.

All data come with scikit-learn: measured flowers, cells, digits and patients, nothing generated. Every function is a
function of its arguments: seeds are fixed, sums go in a fixed order, and each fit uses one thread. So the answer does
not depend on which process ran what, or how often.
"""

import functools
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import sklearn.datasets
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from threadpoolctl import threadpool_limits

SEED = 20_240_229
FOLDS, REPEATS = 5, 4
HELD_OUT = 0.25
RESAMPLES = 1_000
TREES = 80

Setting = float | int | str
Indices = NDArray[np.int64]


class Kind(StrEnum):
    """What is predicted."""

    CLASSES = "classes"
    QUANTITY = "quantity"


class Family(StrEnum):
    """Models of one make; its candidates differ in their settings."""

    SVM = "support vectors"
    NEIGHBOURS = "nearest neighbours"
    LINEAR = "logistic regression"
    KERNEL = "kernel ridge"
    TREES = "extra trees"


DATA_SETS = {
    "breast_cancer": Kind.CLASSES,
    "wine": Kind.CLASSES,
    "digits": Kind.CLASSES,
    "diabetes": Kind.QUANTITY,
}


@dataclass(frozen=True, slots=True)
class DataSet:
    """A table of measurements, and how it is divided; indices are rows of `features` and `target`."""

    name: str
    kind: Kind
    features: NDArray[np.float64]
    target: NDArray[Any]
    rest: Indices
    held_out: Indices
    folds: tuple[tuple[Indices, Indices], ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A family with its settings, in the order of its grid."""

    family: Family
    settings: tuple[tuple[str, Setting], ...]

    def __str__(self) -> str:
        return ", ".join(
            f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in self.settings
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """What the folds say about one candidate: a score for each, in the order of the folds."""

    candidate: Candidate
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)

    @property
    def deviation(self) -> float:
        mean = self.mean
        return float((sum((score - mean) ** 2 for score in self.scores) / len(self.scores)) ** 0.5)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The winner of a family on the rows that no candidate has seen; `low` to `high` holds 95 % of the resamples."""

    data_set: str
    winner: Summary
    score: float
    low: float
    high: float


# ----------------------------------------------------------------------------------------------------- what is compared


def powers(base: float, *exponents: float) -> tuple[float, ...]:
    return tuple(base**exponent for exponent in exponents)


GRIDS: dict[Family, dict[str, Sequence[Setting]]] = {
    Family.SVM: {"C": powers(10, -1, -0.5, 0, 0.5, 1, 1.5, 2), "gamma": powers(10, -4, -3.5, -3, -2.5, -2, -1.5, -1)},
    Family.NEIGHBOURS: {"n_neighbors": (1, 2, 3, 5, 8, 13, 21), "weights": ("uniform", "distance")},
    Family.LINEAR: {"C": powers(10, -3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1)},
    Family.KERNEL: {
        "alpha": powers(10, -2, -1.5, -1, -0.5, 0, 0.5, 1),
        "gamma": powers(10, -4, -3.5, -3, -2.5, -2, -1.5, -1),
    },
    Family.TREES: {"max_features": (0.15, 0.3, 0.6), "min_samples_leaf": (1, 2, 4)},
}

FAMILIES = {
    Kind.CLASSES: (Family.SVM, Family.NEIGHBOURS, Family.LINEAR, Family.TREES),
    Kind.QUANTITY: (Family.SVM, Family.NEIGHBOURS, Family.KERNEL, Family.TREES),
}


def candidates(family: Family) -> Iterator[Candidate]:
    """Every point of the family's grid, the last setting changing fastest."""
    grid = GRIDS[family]
    for values in itertools.product(*grid.values()):
        yield Candidate(family, tuple(zip(grid, values, strict=True)))


def load(name: str) -> DataSet:
    """Read a data set that comes with scikit-learn and divide it; always in the same way."""
    kind = DATA_SETS[name]
    features, target = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    rows = np.arange(len(target))
    classes = target if kind is Kind.CLASSES else None
    rest, held_out = train_test_split(rows, test_size=HELD_OUT, random_state=SEED, stratify=classes)
    splitter = RepeatedStratifiedKFold if kind is Kind.CLASSES else RepeatedKFold
    splits = splitter(n_splits=FOLDS, n_repeats=REPEATS, random_state=SEED).split(features[rest], target[rest])
    folds = tuple((rest[fit], rest[score]) for fit, score in splits)
    return DataSet(name, kind, features, target, rest, held_out, folds)


# ------------------------------------------------------------------------------------------------------------ the tasks


def score_fold(data: DataSet, candidate: Candidate, fold: int) -> float:
    """Fit the candidate on one fold's larger part and score it on the smaller."""
    fit, score = data.folds[fold]
    return score_of(data.kind, data.target[score], fitted(data, candidate, fit).predict(data.features[score]))


def summarise(candidate: Candidate, scores: Sequence[float]) -> Summary:
    """Put the scores of a candidate's folds together, in the order of the folds."""
    return Summary(candidate, tuple(scores))


def choose(summaries: Sequence[Summary]) -> Summary:
    """The summary with the best mean; of equal ones the first in the grid, which is the simpler."""
    return max(summaries, key=lambda summary: summary.mean)


def confirm(data: DataSet, winner: Summary) -> Confirmed:
    """Fit the winner on all rows but the held-out ones, and score it on those."""
    predicted = fitted(data, winner.candidate, data.rest).predict(data.features[data.held_out])
    actual = data.target[data.held_out]
    draw = np.random.default_rng(SEED)
    resampled = []
    for _ in range(RESAMPLES):
        rows = draw.integers(0, len(actual), len(actual))
        resampled.append(score_of(data.kind, actual[rows], predicted[rows]))
    low, high = (float(bound) for bound in np.quantile(resampled, (0.025, 0.975)))
    return Confirmed(data.name, winner, score_of(data.kind, actual, predicted), low, high)


# ----------------------------------------------------------------------------------------------------------- the model


def fitted(data: DataSet, candidate: Candidate, rows: Indices) -> Pipeline:
    """A pipeline of scaling and the candidate's model, fitted on these rows."""
    one_thread()
    pipeline = make_pipeline(StandardScaler(), model(data.kind, candidate))
    with warnings.catch_warnings():  # a weak regularisation may need more steps; its score then says so
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(data.features[rows], data.target[rows])


def model(kind: Kind, candidate: Candidate) -> Any:
    settings = dict(candidate.settings)
    classes = kind is Kind.CLASSES
    match candidate.family:
        case Family.SVM:
            return SVC(**settings) if classes else SVR(**settings)
        case Family.NEIGHBOURS:
            return KNeighborsClassifier(**settings) if classes else KNeighborsRegressor(**settings)
        case Family.LINEAR:
            return LogisticRegression(max_iter=300, **settings)
        case Family.KERNEL:
            return KernelRidge(kernel="rbf", **settings)
        case Family.TREES:
            forest = ExtraTreesClassifier if classes else ExtraTreesRegressor
            return forest(TREES, random_state=SEED, **settings)


def score_of(kind: Kind, actual: NDArray[Any], predicted: NDArray[Any]) -> float:
    return float(accuracy_score(actual, predicted) if kind is Kind.CLASSES else r2_score(actual, predicted))


@functools.cache
def one_thread() -> None:
    """Keep this process's linear algebra on one core, once: there is a worker for each already."""
    threadpool_limits(1)
