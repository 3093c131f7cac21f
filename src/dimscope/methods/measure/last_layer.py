"""Does the last layer lower the right answer? Its probability before and after that layer, and which part moves it.

Lv et al. 2024 (2403.19521) find that the last layer makes models less sure of the right answer ("anti-overconfidence").
Before and after are read through the final norm and the head (the logit lens, nostalgebraist 2020). The layer's parts
are taken apart with the norm's scale held at what it is after the layer: direct logit attribution (Elhage et al. 2021)
of the answer's logit less the mean logit, and the change of the log-probability, shared out exactly along the straight
line between the two states' logits (Sundararajan et al. 2017, 1703.01365, equation 1); what the norm's own change does
stands beside as a part. Their formula was not recovered; this one is ours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field

from dimscope.activations.contributions import written_by_heads
from dimscope.activations.prompt_states import prompt_states
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.blocks import bias
from dimscope.models.load import Network
from dimscope.models.readout import Readout
from dimscope.numerics.log_probability import above_mean, log_probability, shared_out
from dimscope.numerics.resampling import bootstrap_interval
from dimscope.scoring import metrics
from dimscope.scoring.classification import accuracy
from dimscope.scoring.known import Taken, taken

States = Float[torch.Tensor, "pairs dims"]
Values = Float[np.ndarray, "pairs *places"]
_STATES_AT_ONCE = 256
_LARGEST_ERROR = 1e-3  # of the largest state; a part that is not known is of its order


class LastLayer(Method):
    """The answer's probability after every layer, and what each part of the last one does to it."""

    sources = (
        "the claim: Lv, Chen, Zhang, Wang, Liu, Wen, Xie & Yan 2024 (2403.19521)",
        "the logit lens: nostalgebraist 2020, interpreting GPT: the logit lens, lesswrong.com",
        "shares of the log-probability: Sundararajan, Taly & Yan 2017 (1703.01365), equation 1",
    )

    taken: Taken = "known"
    """Which pairs are looked at: those whose prompt the model has right, or all."""
    num_resamples: int = Field(999, ge=99)
    """Draws of the bootstrap over prompts."""

    def run(self, bench: Bench) -> Result:
        """Read the states before and after the last layer, and take what lies between them apart.

        Raises:
            UserError: the model is no decoder, its last layer is not the sum of its parts, or it has no prompt right.
        """
        network: Network = bench.network
        readout = Readout.of(network)
        pairs, of_known = taken(network, bench.pairs, self.taken)
        states, parts = _states_and_parts(network, pairs)
        before, after = states[-2:]
        error = float((before + parts.sum(dim=1) - after).abs().max() / after.abs().max())
        _require_small(error, network)
        told = _Told(seeds.stream(bench.seed, "bootstrap"), self.num_resamples)
        by_layer = np.stack([_read(readout, each, pairs.answers) for each in states], axis=1)
        numbers = [*of_known, *told.by_layer(by_layer)]
        first = readout.logits(before).argmax(dim=1).cpu().numpy()
        for name, output in {"answer": pairs.answers, "other": pairs.others, "first before": first}.items():
            read = [_read(readout, each, output) for each in (before, after)]
            numbers += told.changes(*read, output=name)
        shares = _shares(readout, parts, before, after, pairs.answers)
        numbers += told.parts(shares, network)
        numbers.append(Number(name="largest_sum_error", value=error, better="lower"))
        ticks = {"state": ["embedding", *(f"after layer {layer}" for layer in range(network.num_layers))]}
        arrays = {"log_probability": Array(by_layer, ("pair", "state"), unit="nats", ticks=ticks)}
        for measure, values in shares.items():
            arrays[f"{measure}_of_part"] = Array(values, ("pair", "part"), ticks={"part": _part_names(network)})
        return Result(numbers=numbers, arrays=arrays, notes=pairs.notes)


class _Told:
    """Numbers that are means over prompts, each with its interval by the bootstrap."""

    def __init__(self, rng: np.random.Generator, num_resamples: int) -> None:
        self._rng, self._num_resamples = rng, num_resamples

    def by_layer(self, log_probabilities: Float[np.ndarray, "pairs states"]) -> Iterator[Number]:
        """Tell what the lens reads after every layer; −1 is what enters the first one."""
        for state, values in enumerate(log_probabilities.T):
            yield self._mean("mean_probability", np.exp(values), layer=state - 1)
            yield self._mean("mean_log_probability", values, "nats", layer=state - 1)

    def changes(self, before: Values, after: Values, *, output: str) -> Iterator[Number]:
        """Tell what the last layer changes about an output."""
        yield self._mean("probability_change", np.exp(after) - np.exp(before), output=output)
        yield self._mean("log_probability_change", after - before, "nats", output=output)
        yield accuracy(after < before, "lowered_fraction", output=output)

    def parts(self, shares: dict[str, Float[np.ndarray, "pairs parts"]], network: Network) -> Iterator[Number]:
        """Tell what every part does, and all heads together."""
        units = {"log_probability": "nats", "logit": "logits"}
        for measure, values in shares.items():
            for name, of_part in zip(_part_names(network), values.T, strict=True):
                yield self._mean(f"mean_{measure}_share", of_part, units[measure], part=name)
            together = values[:, : network.num_heads].sum(axis=1)
            yield self._mean(f"mean_{measure}_share", together, units[measure], part="all heads")

    def _mean(self, name: str, values: Values, unit: str = "", **where: str | int) -> Number:
        interval = bootstrap_interval(values, np.mean, self._rng, self._num_resamples)
        return Number(name=name, value=float(values.mean()), unit=unit, interval=interval, where=where)


@torch.inference_mode()
def _read(readout: Readout, states: States, outputs: Int[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """Give the log-probability that the lens reads for an output of each pair."""
    found = []
    for start in range(0, len(states), _STATES_AT_ONCE):
        rows = slice(start, start + _STATES_AT_ONCE)
        logits = readout.logits(states[rows]).float()
        found.append(metrics.log_probability(logits, outputs[rows], outputs[rows]).cpu().numpy())
    return np.concatenate(found).astype(np.float64)


def _states_and_parts(
    network: Network, pairs: PromptPairs
) -> tuple[list[States], Float[torch.Tensor, "pairs parts dims"]]:
    """Give the embedding and the state after every layer, and what heads, bias and MLP of the last write."""
    last = f"layers.{network.num_layers - 1}"
    between = ["embed", *(f"layers.{layer}.out" for layer in range(network.num_layers))]
    found = {
        site: torch.from_numpy(values[:, 0]).to(network.device)
        for site, values in prompt_states(network, pairs, [*between, f"{last}.attn.heads", f"{last}.mlp.out"]).items()
    }
    heads = written_by_heads(network, network.num_layers - 1, found[f"{last}.attn.heads"])
    of_bias = bias(network.sites[f"{last}.attn.out"].module).detach().to(heads).expand(len(heads), 1, -1)
    parts = torch.cat([heads, of_bias, found[f"{last}.mlp.out"].unsqueeze(1)], dim=1)
    return [found[site] for site in between], parts


def _shares(
    readout: Readout,
    parts: Float[torch.Tensor, "pairs parts dims"],
    before: States,
    after: States,
    answers: Int[np.ndarray, " pairs"],
) -> dict[str, Float[np.ndarray, "pairs parts"]]:
    """Give each part's share in the change of the answer's log-probability and logit; the norm's scale is the last."""
    found: dict[str, list[np.ndarray]] = {"log_probability": [], "logit": []}
    with work("prompts", len(answers)) as done:
        for pair, answer in enumerate(answers.tolist()):
            one = slice(pair, pair + 1)
            moves = readout.added(parts[one], after[one])[0].float().cpu().numpy()
            ends = readout.logits(torch.cat([before[one], after[one]])).float().cpu().numpy()
            # Where the stream stood before the layer, seen through the norm's later scale.
            start = ends[1].astype(np.float64) - moves.sum(axis=0, dtype=np.float64)
            scale = log_probability(start, answer) - log_probability(ends[0], answer)
            found["log_probability"].append(np.append(shared_out(start, moves, answer), scale))
            rescaled = above_mean((start - ends[0])[None], answer)
            found["logit"].append(np.append(above_mean(moves, answer), rescaled))
            done(1)
    return {measure: np.stack(rows) for measure, rows in found.items()}


def _part_names(network: Network) -> list[str]:
    return [*(f"head {head}" for head in range(network.num_heads)), "attention bias", "MLP", "norm's scale"]


def _require_small(error: float, network: Network) -> None:
    if not error <= _LARGEST_ERROR:
        raise UserError(
            f"{network.name!r}: the parts of its last layer miss what it adds by {error:.2g} of the largest value: "
            "what they give is changed on the way, such as by a norm after attention or MLP. Take another family"
        )
