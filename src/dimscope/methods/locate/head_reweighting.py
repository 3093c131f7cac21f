"""How every MLP reweights what earlier heads wrote: its output as a weighted sum of theirs, and a vector of its own.

Lv et al. 2024 (2403.19521): heads move the argument ("France") to the last token, an MLP erases or amplifies what
single heads wrote there, and a deeper one adds a vector that turns the argument into the answer. Their regression was
recovered as an idea only; here it is MLP_l(x_i) ≈ Σ_h α_h o_h(x_i) + β at the last token, one scalar for each head and
a vector β for each MLP, by least squares over prompts. α near −1 erases, above 0 amplifies; β is the same for all. What
is told of the fit is told of subjects that were left out of it, beside the same fit with the heads' outputs of other
prompts, and of other subjects in the same sentence: where these fit as well, it is the sentence that is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from pydantic import Field, field_validator

from dimscope.activations.contributions import contributions, written_by_heads
from dimscope.activations.patterns import attention_patterns
from dimscope.activations.prompt_states import prompt_states
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.data.batching import prompt_batches
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network
from dimscope.models.readout import Readout
from dimscope.numerics.resampling import bootstrap_interval, mean_interval
from dimscope.numerics.reweighting import (
    HeldOut,
    Reweighting,
    cosines,
    hold_out,
    jackknife_margin,
    r2_score,
    squared_errors,
)
from dimscope.scoring.classification import accuracy
from dimscope.scoring.known import Taken, taken
from dimscope.scoring.metrics import rank

Head = tuple[int, int]
Vectors = Float[np.ndarray, "pairs dims"]
_HEAD = re.compile(r"\d+\.\d+")
_SUBJECT = "subject"
_NUM_RESAMPLES = 499


class HeadReweighting(Method):
    """The weight that every MLP gives to what each of some heads wrote, and how much of the MLP that explains."""

    sources = ("Lv, Chen, Zhang, Wang, Liu, Wen, Xie & Yan 2024 (2403.19521); the regression is written out by us",)

    heads: tuple[str, ...] = ()
    """Heads as layer.head, such as 23.3; none: those that write most to the logits directly, either way."""
    num_heads: int = Field(5, ge=1)
    """So many heads, where none are named."""
    ridge: float = Field(1e-6, gt=0)
    """What is added to each head's own size, as a share of it: collinear heads then share their weight out."""
    num_scrambled: int = Field(5, ge=2)
    """Draws of scrambled prompts, for each of the two controls."""
    taken: Taken = "known"
    """Which pairs are looked at: those whose prompt the model has right, or all."""

    @field_validator("heads")
    @classmethod
    def _well_formed(cls, heads: tuple[str, ...]) -> tuple[str, ...]:
        if all(map(_HEAD.fullmatch, heads)) and len(set(heads)) == len(heads):
            return heads
        raise ValueError(f"wanted different heads such as '23.3', got {heads}")

    def run(self, bench: Bench) -> Result:
        """Fit every MLP from the first head's layer on.

        Raises:
            UserError: the model is no decoder or has no such head; there are fewer than three subjects, or no prompt is
                right.
        """
        network: Network = bench.network
        readout = Readout.of(network)
        pairs, of_known = taken(network, bench.pairs, self.taken)
        heads = self._chosen(network, readout, pairs)
        layers = range(min(heads)[0], network.num_layers)
        said = _Said.by(network, pairs, heads, layers)
        numbers = [*of_known, *said.subjects()]
        unembedded = _Unembedded(readout, pairs, _subjects(pairs))
        numbers += [*unembedded.heads(said), *_attention(network, pairs, heads)]
        weights = np.full((network.num_layers, len(heads)), np.nan)
        with work("MLPs", len(layers)) as done:
            for layer in layers:
                own = said.before(layer)
                fitted = Reweighting.of(said.mlps[layer], said.of(own), self.ridge)
                held_out = hold_out(said.mlps[layer], said.of(own), said.groups, self.ridge)
                weights[layer, : len(own)] = fitted.weights
                numbers += _weights(layer, own, fitted, held_out)
                numbers += self._fits(layer, said, own, held_out, bench.seed)
                numbers += unembedded.intercept(layer, said.of(own).sum(axis=1), held_out.intercepts, bench.seed)
                done(1)
        ticks = {"head": [_name(head) for head in heads]}
        return Result(
            numbers=numbers, arrays={"weight": Array(weights, ("layer", "head"), ticks=ticks)}, notes=pairs.notes
        )

    def _chosen(self, network: Network, readout: Readout, pairs: PromptPairs) -> list[Head]:
        """Give the named heads or those that write most to the logits, by layer and head."""
        if not self.heads:
            written = np.abs(contributions(network, readout, pairs)["heads"].mean(axis=0))
            most = np.argsort(-written, axis=None, kind="stable")[: self.num_heads].tolist()
            return sorted(divmod(place, network.num_heads) for place in most)
        heads = sorted((int(layer), int(head)) for layer, head in (name.split(".") for name in self.heads))
        for layer, head in heads:
            if layer >= network.num_layers or head >= network.num_heads:
                raise UserError(
                    f"{network.name!r} has no head {layer}.{head}: layers are 0 to {network.num_layers - 1}, heads 0 "
                    f"to {network.num_heads - 1}"
                )
        return heads

    def _fits(self, layer: int, said: _Said, own: Sequence[Head], held_out: HeldOut, seed: int) -> Iterator[Number]:
        """Tell how much of the left-out subjects' outputs is explained, and the same of scrambled prompts."""
        outputs, rng = said.mlps[layer], seeds.stream(seed, f"subjects/{layer}")
        errors = squared_errors(outputs, held_out.predicted, held_out.means, said.groups)
        interval = bootstrap_interval(errors, r2_score, rng, _NUM_RESAMPLES)
        where: dict[str, str | int] = {"layer": layer, "fit": "heads"}
        yield Number(name="r2_score", value=r2_score(errors), better="higher", interval=interval, where=where)
        yield _cosine(outputs, held_out.predicted, where)
        yield _cosine(outputs, held_out.means, {**where, "fit": "intercept alone"})
        for control, shuffled in {"scrambled prompts": _anywhere, "scrambled subjects": said.within_sentences}.items():
            draws = []
            for _ in range(self.num_scrambled):
                again = hold_out(outputs, said.of(own)[shuffled(rng, len(outputs))], said.groups, self.ridge)
                draws.append(r2_score(squared_errors(outputs, again.predicted, again.means, said.groups)))
            ends = float(min(draws)), float(max(draws))
            where = {"layer": layer, "fit": control}
            yield Number(name="r2_score", value=float(np.mean(draws)), better="higher", interval=ends, where=where)


@dataclass(frozen=True, eq=False)
class _Said:
    """What heads and MLPs write at the last token of every prompt."""

    heads: Mapping[Head, Vectors]
    mlps: Mapping[int, Vectors]
    groups: Int[np.ndarray, " pairs"]
    sentences: Int[np.ndarray, " pairs"]

    @classmethod
    def by(cls, network: Network, pairs: PromptPairs, heads: Sequence[Head], layers: range) -> _Said:
        """Run the prompts."""
        inside = [f"layers.{layer}.attn.heads" for layer in dict.fromkeys(layer for layer, _ in heads)]
        found = prompt_states(network, pairs, [*inside, *(f"layers.{layer}.mlp.out" for layer in layers)])
        written = {}
        for layer, head in heads:
            given = torch.from_numpy(found[f"layers.{layer}.attn.heads"][:, 0]).to(network.device)
            written[layer, head] = written_by_heads(network, layer, given)[:, head].cpu().numpy()
        mlps = {layer: found[f"layers.{layer}.mlp.out"][:, 0] for layer in layers}
        return cls(written, mlps, _subjects(pairs), _sentences(pairs))

    def subjects(self) -> Iterator[Number]:
        """Tell how many there are, and in how many prompts another one stands in the same sentence."""
        yield Number(name="num_subjects", value=len(np.unique(self.groups)))
        num_others = [len(np.unique(self.groups[self.sentences == each])) - 1 for each in self.sentences]
        yield Number(name="exchangeable_fraction", value=float(np.mean(np.array(num_others) > 0)))

    def before(self, layer: int) -> list[Head]:
        """Give the heads of this layer and those before."""
        return [head for head in self.heads if head[0] <= layer]

    def of(self, heads: Sequence[Head]) -> Float32[np.ndarray, "pairs heads dims"]:
        """Give what these heads write."""
        return np.stack([self.heads[head] for head in heads], axis=1)

    def within_sentences(self, rng: np.random.Generator, num_pairs: int) -> Int[np.ndarray, " pairs"]:
        """Give an order of the prompts that leaves every sentence where it is."""
        order = np.arange(num_pairs)
        for sentence in np.unique(self.sentences):
            own = rng.permutation(np.flatnonzero(self.sentences == sentence))
            order[own] = np.roll(own, 1)  # nobody stays in place where there is another
        return order


@dataclass(frozen=True, eq=False)
class _Unembedded:
    """What vectors say, read as if they were the last state: through the final norm and the head."""

    readout: Readout
    pairs: PromptPairs
    subjects: Int[np.ndarray, " pairs"]

    def heads(self, said: _Said) -> Iterator[Number]:
        """Tell where each head's output ranks the subject and the answer, and which of them it puts higher."""
        every = said.of(list(said.heads)).sum(axis=1)
        for message, vectors in [*((_name(head), each) for head, each in said.heads.items()), ("all heads", every)]:
            subject, answer = (self._ranks(vectors, output) for output in (self.subjects, self.pairs.answers))
            for output, ranks in {"subject": subject, "answer": answer}.items():
                where = {"message": message, "output": output}
                yield Number(name="median_rank", value=float(np.median(ranks)), better="lower", where=where)
            yield accuracy(subject < answer, "subject_above_answer_fraction", message=message)

    def intercept(self, layer: int, messages: Vectors, intercepts: Vectors, seed: int) -> Iterator[Number]:
        """Tell how often the intercept raises the answer if added to what heads wrote, and a random vector as long."""
        without = self._ranks(messages, self.pairs.answers)
        directions = seeds.stream(seed, f"random vectors/{layer}").normal(size=intercepts.shape)
        lengths = np.linalg.norm(intercepts, axis=1) / np.linalg.norm(directions, axis=1)
        for added, vectors in {"intercept": intercepts, "random vector": directions * lengths[:, None]}.items():
            ranks = self._ranks(messages + vectors, self.pairs.answers)
            yield accuracy(ranks < without, "raised_fraction", layer=layer, added=added)
            where: dict[str, str | int] = {"message": f"all heads and {added}", "output": "answer", "layer": layer}
            yield Number(name="median_rank", value=float(np.median(ranks)), better="lower", where=where)

    @torch.inference_mode()
    def _ranks(self, vectors: Vectors, outputs: Int[np.ndarray, " pairs"]) -> Float32[np.ndarray, " pairs"]:
        states = torch.from_numpy(vectors).float().to(self.readout.head.weight.device)
        return rank(self.readout.logits(states).float(), outputs, outputs).cpu().numpy()


def _attention(network: Network, pairs: PromptPairs, heads: Sequence[Head]) -> Iterator[Number]:
    """Tell how much the heads attend from the last token to the subject, and all other heads of their layers."""
    layers = list(dict.fromkeys(layer for layer, _ in heads))
    found = np.empty((len(pairs), len(layers), network.num_heads))
    for indices, some, batch in prompt_batches(pairs):
        patterns = attention_patterns(network, batch, layers)
        rows, ends, subjects = np.arange(len(some)), some.places["end"], _places(some)
        for place, layer in enumerate(layers):
            found[indices, place] = patterns[layer][rows, :, ends, subjects].cpu().numpy()
    chosen = [(layers.index(layer), head) for layer, head in heads]
    for head, (place, number) in zip(heads, chosen, strict=True):
        values, where = found[:, place, number], {"head": _name(head)}
        yield Number(name="attention_to_subject", value=values.mean(), interval=mean_interval(values), where=where)
        found[:, place, number] = np.nan
    if not np.isnan(found).all():
        values = np.nanmean(found, axis=(1, 2))
        where = {"head": "others of these layers"}
        yield Number(name="attention_to_subject", value=values.mean(), interval=mean_interval(values), where=where)


def _weights(layer: int, heads: Sequence[Head], fitted: Reweighting, held_out: HeldOut) -> Iterator[Number]:
    for head, weight, margin in zip(heads, fitted.weights, jackknife_margin(held_out.weights), strict=True):
        interval = float(weight - margin), float(weight + margin)
        yield Number(name="weight", value=weight, interval=interval, where={"layer": layer, "head": _name(head)})
    yield Number(name="condition_number", value=fitted.condition_number, better="lower", where={"layer": layer})
    length = float(np.linalg.norm(fitted.intercept))
    yield Number(name="intercept_length", value=length, where={"layer": layer})


def _cosine(outputs: Vectors, predicted: Vectors, where: Mapping[str, str | int]) -> Number:
    return Number(name="mean_cosine", value=cosines(outputs, predicted).mean(), better="higher", where=where)


def _anywhere(rng: np.random.Generator, num_pairs: int) -> Int[np.ndarray, " pairs"]:
    return rng.permutation(num_pairs)


def _places(pairs: PromptPairs) -> Int[np.ndarray, " pairs"]:
    """Give where every prompt's subject stands; if none is named, the first place in which the two texts differ."""
    return pairs.places.get(_SUBJECT, pairs.first_difference)


def _subjects(pairs: PromptPairs) -> Int[np.ndarray, " pairs"]:
    return pairs.ids[np.arange(len(pairs)), _places(pairs)]


def _sentences(pairs: PromptPairs) -> Int[np.ndarray, " pairs"]:
    """Number the sentences: prompts that are the same but for their subject have one number."""
    ids = pairs.ids.copy()
    ids[np.arange(len(pairs)), _places(pairs)] = -1
    return np.unique(ids, axis=0, return_inverse=True)[1].ravel()


def _name(head: Head) -> str:
    return f"{head[0]}.{head[1]}"
