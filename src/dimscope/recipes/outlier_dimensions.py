"""Outlier dimensions encode task-specific knowledge: does the widest dimension of a fine-tuned model do the task alone?

The claims of Rudman, Chen & Eickhoff 2023 (EMNLP, 2310.17715): outlier dimensions persist through fine-tuning; one of
them, with one threshold, does the task with little loss; variance goes with 1-D accuracy. Their tables were not recovered, so
the qualitative claims are what the page compares with, and every number has its controls beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from dimscope.bench import Bench
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.provenance import provenance
from dimscope.core.recipe import Recipe
from dimscope.core.result import Array, Number, Result
from dimscope.data.catalogue import load_task
from dimscope.data.options import TaskOptions
from dimscope.methods.finetune.full import FullFineTuning
from dimscope.methods.intervene.ablate_dimensions import AblateDimensions
from dimscope.methods.measure.activation_profile import ActivationProfile, as_array, profile
from dimscope.methods.measure.one_dimension import OneDimension
from dimscope.methods.measure.outlier_dimensions import OutlierDimensions
from dimscope.methods.measure.persistence import Persistence, compare
from dimscope.report.outlier_dimensions import write_report
from dimscope.running import run
from dimscope.scoring.over_seeds import over_seeds
from dimscope.store.layout import Store
from dimscope.training.processes import is_main
