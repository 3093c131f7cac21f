"""The nearest neighbors of every state, of those that differ, among all states or among some.

Distances are exact ones between all pairs, by scikit-learn, in float64 and from the mean: where two states differ by
more than `EQUAL` of their length, cancellation leaves their distance right to five digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors, radius_neighbors_graph

from dimscope.numerics.finite import require_finite

EQUAL = 1e-5
"""States that differ by less than this part of their length are equal: rounding tells equal sentences apart by less."""

States = Float[np.ndarray, "states dims"]


@dataclass(frozen=True)
class Neighbors:
    """The nearest other states of every state, nearest first: how far they are, and which."""

    distances: Float[np.ndarray, "states neighbors"]
    places: Int[np.ndarray, "states neighbors"]

    @classmethod
    def of(cls, states: States, num_neighbors: int) -> Neighbors:
        """Find that many neighbors of every state, or all others if there are fewer.

        >>> Neighbors.of(np.array([[0.0], [1.0], [4.0]]), 2).distances
        array([[1., 4.],
               [1., 3.],
               [3., 4.]])
        """
        deviations = states - states.mean(axis=0, dtype=np.float64)
        search = NearestNeighbors(n_neighbors=min(num_neighbors, len(states) - 1), algorithm="brute")
        return cls(*search.fit(deviations).kneighbors())

    def among(
        self, chosen: Int[np.ndarray, " chosen"], num_neighbors: int
    ) -> Float[np.ndarray, "having_them {num_neighbors}"]:
        """Give the distances of the chosen states to their nearest chosen ones.

        States with fewer neighbors among those that were found are left out. No distance is computed again, so that
        an interval costs little more than the estimate.

        >>> Neighbors.of(np.array([[0.0], [1.0], [4.0]]), 2).among(np.array([0, 2]), 1)
        array([[4.], [4.]])
        """
        is_chosen = np.zeros(len(self.places), bool)
        is_chosen[chosen] = True
        present = is_chosen[self.places[chosen]]
        having_them = present.sum(axis=1) >= num_neighbors
        nearest_first = np.argsort(~present[having_them], axis=1, kind="stable")[:, :num_neighbors]
        return np.take_along_axis(self.distances[chosen][having_them], nearest_first, axis=1)


def distinct(states: States) -> States:
    """Leave out states that equal an earlier one, by chains of states that are nearer than `EQUAL` of their length.

    Raises:
        UserError: a state is not finite.

    >>> distinct(np.array([[1.0, 2.0], [5.0, 5.0], [1.0, 2.0000001]]))
    array([[1., 2.], [5., 5.]])
    """
    require_finite(states, "states")
    # What is equal to the last bit goes first, or a thousand equal states would have a million near pairs.
    different = states[np.sort(np.unique(states, axis=0, return_index=True)[1])].astype(np.float64)
    length = np.sqrt(np.square(different).sum(axis=1).mean())
    near = radius_neighbors_graph(different - different.mean(axis=0), EQUAL * length)
    _, group = connected_components(near, directed=False)
    return different[np.sort(np.unique(group, return_index=True)[1])]
