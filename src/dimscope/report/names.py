"""What the numbers, settings and parts of a place are called on a page, in a reader's words."""

from __future__ import annotations

import re

NAMES = {
    "num_outlier_dims": "outlier dimensions",
    "principal_variance_ratio": "largest variance (times the mean)",
    "outlier_variance_fraction": "share of the variance in outliers",
    "participation_ratio": "participation ratio (dimensions)",
    "num_constant_mean_dims": "constant-mean dimensions",
    "variance_accuracy_correlation": "Spearman's correlation",
    "variance_accuracy_p_value": "p-value",
    "num_outliers_before": "outliers before",
    "num_outliers_after": "outliers after",
    "num_shared": "in both",
    "num_shared_by_chance": "in both by chance",
    "jaccard_score": "Jaccard index",
    "overlap_p_value": "p-value of the overlap",
    "variance_rank_correlation": "Spearman's correlation of variances",
    "variance_rank_p_value": "p-value of the correlation",
    "num_sets": "sets compared",
    "num_ever_outliers": "outliers in any set",
    "num_always_outliers": "outliers in every set",
    "mean_jaccard_score": "mean Jaccard index",
    "mean_jaccard_by_chance": "mean Jaccard index by chance",
    "mean_jaccard_p_value": "p-value of the mean",
    "num_trained": "trained numbers",
    "best_num_bits": "bits for each",
    "train_error": "training error",
    "validation_error": "held-out error",
    "best_error_bound": "bound on the error",
    "majority_error": "error of the majority class",
    "d90": "search",
    "ways": "other ways",
    "bound": "compression bound",
    "num_top_heads": "top heads",
    "num_shared_heads": "in both circuits",
    "shared_by_chance": "by chance",
    "jaccard_by_chance": "Jaccard index by chance",
    "shared_p_value": "p-value",
    "shared_by_chance_within_layers": "by chance within layers",
    "shared_p_value_within_layers": "p-value within layers",
    "path": "path patching",
    "force": "forced attention",
    "scratch": "small model",
    "finetune": "fine-tuning",
    "outliers": "outlier rule",
    "one_dimension": "one-dimensional classifiers",
    "profile": "activation diagrams",
    "ablation": "ablations",
    "editing": "editing ρ",
    "writers": "where ρ is written",
    "variance_sum": "share of the variance",
    "class_sum": "share of what tells the classes apart",
    "largest_share": "largest share",
    "turned_fraction": "decisions flipped",
    "num_cores": "processor cores",
    "seconds": "time (seconds)",
}
"""The unit of a number stands in its name here, not in each cell."""


def readable(name: str) -> str:
    """Give a name in a reader's words; one that has none of its own becomes words.

    >>> readable("num_shared"), readable("learning_rate"), readable("num_draws")
    ('in both', 'learning rate', 'number of draws')
    """
    return NAMES.get(name, re.sub("^num ", "number of ", name.replace("_", " ")))
