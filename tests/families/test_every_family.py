"""Every family goes the whole way offline: fine-tuning, states, padding, checkpoint, ablation, and its own check."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dimscope.activations import capture
from dimscope.bench import Bench
from dimscope.cli.check import check
from dimscope.core.result import Result
from dimscope.models.families import FAMILIES
from dimscope.running import run

Studied = Callable[[str], tuple[Bench, Result]]
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def studied(tiny_folder, reviews, tmp_path_factory) -> Studied:
    """Give the bench on a family's fine-tuned model, and how its training went."""

    @cache
    def study(family: str) -> tuple[Bench, Result]:
        bench = Bench(str(tiny_folder(family)), reviews, device="cpu", out=tmp_path_factory.mktemp("study"))
        trained = run("finetune/full", bench, learning_rate=1e-3, epochs=8, batch_size=16, precision="float32")
        return bench.finetuned(str(trained.checkpoint)), trained

    return study


@every_family
def test_training_moves_the_weights_and_lowers_the_loss(family: str, studied: Studied):
    tuned, trained = studied(family)
    losses = trained.arrays["step_loss"].values.reshape(8, -1).mean(axis=1)
    assert losses[-1] < 0.9 * losses[0]
    before, after = (bench.network.model.state_dict() for bench in (tuned.pretrained, tuned))
    assert not torch.equal(before[name := next(iter(before))], after[name])


@every_family
def test_transformers_alone_opens_the_checkpoint_and_agrees_on_states_and_logits(family: str, studied: Studied):
    tuned, _ = studied(family)
    folder = tuned.store.checkpoint(str(tuned.checkpoint))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    states, logits = tuned.states("validation"), tuned.logits("validation")
    token = -1 if tuned.network.is_decoder else 0
    for row, text in enumerate(tuned.task.validation.texts[:8]):
        batch = tokenizer(text, return_tensors="pt")
        batch = {name: ids for name, ids in batch.items() if name in tuned.network.accepts}
        with torch.inference_mode():
            theirs = model(**batch, output_hidden_states=True)
        assert_close(states[row], theirs.hidden_states[-1][0, token])
        assert_close(logits[row], theirs.logits[0])


@every_family
def test_a_state_is_the_same_alone_and_in_any_batch(family: str, studied: Studied):
    tuned, _ = studied(family)
    network, texts = tuned.network, list(tuned.task.validation.texts[:8])

    def states(sentences: list[str], side: str) -> np.ndarray:
        batch = network.tokenizer(sentences, padding=True, padding_side=side, return_tensors="pt")
        return capture.states(network, [(np.arange(len(sentences)), batch)])["final"]

    alone = [states([text], "right")[0] for text in texts]
    for side in ("right", "left"):
        for one, beside in zip(alone, states(texts, side), strict=True):
            assert_close(beside, one)


@every_family
def test_ablation_is_undone_bit_for_bit(family: str, studied: Studied):
    tuned, _ = studied(family)
    model = tuned.network.model
    logits = tuned.logits_of(tuned.network, "validation")
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ablated = run("intervene/ablate_dimensions", tuned, num_draws=1, num_layer_draws=1, fills=("zero",))
    changed = {each.value for each in ablated.numbers if each.where["ablated"].startswith("all but")}
    assert changed != {ablated.value("accuracy", ablated="nothing", place="final")}
    np.testing.assert_array_equal(tuned.logits_of(tuned.network, "validation"), logits)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


@every_family
def test_the_check_holds(family: str, tiny_folder, capsys):
    check(str(tiny_folder(family)), device="cpu")
    printed = capsys.readouterr().out
    assert printed.count(" yes ") == 9
    assert " NO " not in printed


def assert_close(ours, theirs) -> None:
    one, other = np.asarray(ours), np.asarray(theirs)
    assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()
