"""At which layer the answer can be read: every layer's state goes through the final norm and the head at once.

nostalgebraist 2020, "interpreting GPT: the logit lens". The states are those after each block; after the last one the
lens is the model itself. The norm computes its scale anew for every state. We differ in telling, for each pair, from
which layer on the answer is first among all outputs and stays first, and from which on it stays ahead of the other; and
in reading two more outputs beside it as the control: the counterfactual's answer and one drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int

from dimscope.activations.prompt_states import prompt_states
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network
from dimscope.models.readout import Readout
from dimscope.numerics.resampling import mean_interval, wilson_interval
from dimscope.scoring.known import Taken, taken
from dimscope.scoring.metrics import log_probability, rank

_OUTPUTS = ("answer", "other", "random")
_STATES_AT_ONCE = 256


class LogitLens(Method):
    """The answer's log-probability, rank and logit difference after each layer, and from where on it is first."""

    sources = ("nostalgebraist 2020, interpreting GPT: the logit lens, lesswrong.com",)

    tokens: tuple[str, ...] = ("end",)
    """The named tokens whose states are read, such as end and S2; the answer looked for is that at the end."""
    taken: Taken = "known"
    """Which pairs are looked at: those whose prompt the model has right, or all."""

    def run(self, bench: Bench) -> Result:
        """Read the states after all layers.

        Raises:
            UnknownName: the prompts have no such token.
            UserError: the model is no decoder, or has none of the prompts right.
        """
        network: Network = bench.network
        readout = Readout.of(network)
        pairs, of_known = taken(network, bench.pairs, self.taken)
        drawn = seeds.stream(bench.seed, "random output").integers(1, network.num_labels, len(pairs))
        outputs = np.stack([pairs.answers, pairs.others, (pairs.answers + drawn) % network.num_labels], axis=1)
        log_probabilities, ranks = lens(network, readout, pairs, outputs, self.tokens)
        ticks = {"token": self.tokens, "output": _OUTPUTS}
        axes = ("layer", "token", "output")
        # The softmax takes the same off all logits, so that differences are those of the logits.
        difference = log_probabilities[..., 0] - log_probabilities[..., 1]
        settled = settled_layer(ranks == 1)
        ahead = settled_layer(np.stack([difference > 0, difference < 0], axis=-1))
        arrays = {
            "log_probability": Array(log_probabilities.mean(axis=0), axes, ticks=ticks),
            "median_rank": Array(np.median(ranks, axis=0), axes, ticks=ticks),
            "first_fraction": Array((ranks == 1).mean(axis=0), axes, ticks=ticks),
            "logit_difference": Array(
                difference.mean(axis=0), axes[:2], unit="logits", ticks={"token": ticks["token"]}
            ),
            "settled_layer": Array(settled, ("pair", "token", "output"), ticks=ticks),
        }
        numbers = [
            *of_known,
            *self._numbers("settled", settled),
            *self._numbers("ahead", ahead),
        ]
        return Result(numbers=numbers, arrays=arrays, notes=pairs.notes)

    def _numbers(self, name: str, layers: Float[np.ndarray, "pairs tokens outputs"]) -> Iterator[Number]:
        for token, output in np.ndindex(layers.shape[1:]):
            where = {"token": self.tokens[token], "output": _OUTPUTS[output]}
            own = layers[:, token, output]
            told = own[~np.isnan(own)]
            interval = wilson_interval(len(told), len(own))
            yield Number(name=f"{name}_fraction", value=len(told) / len(own), interval=interval, where=where)
            if len(told):
                value, interval = float(told.mean()), mean_interval(told)
                yield Number(name=f"mean_{name}_layer", value=value, interval=interval, where=where)


def lens(
    network: Network,
    readout: Readout,
    pairs: PromptPairs,
    outputs: Int[np.ndarray, "pairs outputs"],
    tokens: tuple[str, ...],
) -> tuple[Float32[np.ndarray, "pairs layers tokens outputs"], Float32[np.ndarray, "pairs layers tokens outputs"]]:
    """Give the log-probabilities and the ranks, from 1, that some outputs of every pair have after each layer.

    Raises:
        UnknownName: the prompts have no token of that name.
    """
    sites = [f"layers.{layer}.out" for layer in range(network.num_layers)]
    by_site = prompt_states(network, pairs, sites, tokens)
    states = np.stack([by_site[site] for site in sites], axis=1)
    shape = (*states.shape[:-1], outputs.shape[1])
    flat = torch.from_numpy(states).flatten(0, 2)
    asked = np.broadcast_to(outputs[:, None, None], shape).reshape(len(flat), -1)
    found = np.empty((2, *asked.shape), np.float32)
    with work("states", len(flat)) as done, torch.inference_mode():
        for start in range(0, len(flat), _STATES_AT_ONCE):
            rows = slice(start, start + _STATES_AT_ONCE)
            logits = readout.logits(flat[rows]).float()
            for number, output in enumerate(asked[rows].T):
                for of, metric in enumerate((log_probability, rank)):
                    found[of, rows, number] = metric(logits, output, output).cpu()
            done(len(logits))
    return found[0].reshape(shape), found[1].reshape(shape)


def settled_layer(is_first: Bool[np.ndarray, "pairs layers *places"]) -> Float[np.ndarray, "pairs *places"]:
    """Give the layer after which an output is first and stays first after all that follow, nan where it ends otherwise.

    >>> settled_layer(np.array([[True, False, True, True], [True, True, True, False]]))
    array([ 2., nan])
    """
    num_last = np.logical_and.accumulate(is_first[:, ::-1], axis=1).sum(axis=1)
    return np.where(num_last > 0, is_first.shape[1] - num_last, np.nan)
