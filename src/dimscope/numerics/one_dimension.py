"""A scikit-learn classifier that looks at one dimension: the 1-D classifier as an estimator.

Rudman, Chen & Eickhoff 2023 (2310.17715, equation 1); the rules are those of `dimscope.numerics.thresholds`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from dimscope.core.errors import UnknownName, UserError
from dimscope.numerics.moments import Moments
from dimscope.numerics.outliers import principal_dim
from dimscope.numerics.thresholds import Rules, exact_thresholds, grid_thresholds


class OneDimensionClassifier(ClassifierMixin, BaseEstimator):
    """Classify by thresholds on a single dimension.

    `dim` is the dimension, or 'max_variance' for the principal one, or 'best' for the one with the highest
    training accuracy (the first of several). `rule` is 'exact' for the best thresholds that there are, for
    any number of classes, or 'grid' for the paper's search with absolute steps, for two.

    Fitting gives `dim_`, `thresholds_` [cuts] ascending, `interval_classes_` [cuts + 1] (what a value between
    two thresholds means; a value equal to a threshold lies below it), `classes_` and `n_features_in_`.

    >>> X, y = np.array([[0.1, 5.0], [0.2, -5.0], [0.3, 5.0], [0.4, -5.0]]), ["no", "no", "yes", "yes"]
    >>> OneDimensionClassifier(dim="best").fit(X, y).predict([[0.9, 0.0]])
    array(['yes'], dtype='<U3')
    """

    def __init__(
        self,
        dim: int | Literal["max_variance", "best"] = "max_variance",
        *,
        rule: Literal["exact", "grid"] = "exact",
    ) -> None:
        self.dim = dim
        self.rule = rule

    def fit(self, X: Any, y: Any) -> OneDimensionClassifier:
        """Choose the dimension and learn its thresholds from states [sentences, dims] and labels [sentences].

        Raises:
            UserError: the dimension or the rule does not exist, or the grid rule meets more than two classes.
        """
        X, y = validate_data(self, X, y, dtype=[np.float32, np.float64])
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        candidates = self._candidates(X)
        rules = self._learn(X[:, candidates], labels)
        best = int(rules.train_accuracy.argmax())
        self.dim_ = int(candidates[best])
        self.thresholds_ = rules.thresholds[best]
        self.interval_classes_ = self.classes_[rules.classes[best]]
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Give the class of each state."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        return self.interval_classes_[np.searchsorted(self.thresholds_, X[:, self.dim_])]

    def _candidates(self, X: np.ndarray) -> np.ndarray:
        num_dims = X.shape[1]
        if self.dim == "best":
            return np.arange(num_dims)
        if self.dim == "max_variance":
            return np.array([principal_dim(Moments.of(X).variance)])
        if isinstance(self.dim, str):
            raise UnknownName("dim", self.dim, ["max_variance", "best"], hint="Or give the number of a dimension.")
        if not 0 <= self.dim < num_dims:
            raise UserError(f"dim {self.dim} does not exist: the states have {num_dims} dimensions, 0 … {num_dims - 1}")
        return np.array([self.dim])

    def _learn(self, X: np.ndarray, labels: np.ndarray) -> Rules:
        if self.rule == "exact":
            return exact_thresholds(X, labels, len(self.classes_))
        if self.rule == "grid":
            return grid_thresholds(X, labels)
        raise UnknownName("rule", str(self.rule), ["exact", "grid"])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # One dimension need not suffice for the data sets on which scikit-learn asks for a high accuracy.
        tags.classifier_tags.poor_score = True
        return tags
