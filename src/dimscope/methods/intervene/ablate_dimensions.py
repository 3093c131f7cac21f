"""What is left of the task when dimensions of the states lose what they say about the sentence.

Chosen dimensions are set to zero, to their mean over the training sentences, or to their value in another sentence drawn at
random, at the final state or after every layer. Ablated are ρ alone, all outlier dimensions, all dimensions but ρ, and,
as the control, as many random dimensions (many draws). Zero moves a state off the data where a dimension's mean is far
from 0; the mean and another sentence's value do not, and should be read first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from dimscope.activations.edits import Constant, Donors, Edit, Value, Zero, edit
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.numerics.moments import Moments
from dimscope.numerics.outliers import outlier_dims, principal_dim
from dimscope.scoring.classification import accuracy

Fill = Literal["zero", "mean", "resample"]
Place = Literal["final", "every layer"]
