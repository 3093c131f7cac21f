import numpy as np
import pytest
import torch

from dimscope.activations.heads import classify_states
from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.methods.intervene.ablate_dimensions import AblateDimensions
from dimscope.running import run

FAST = {"num_draws": 2, "num_layer_draws": 1, "max_layer_sentences": 8}


@pytest.fixture
def tuned(tiny_folder, reviews, tmp_path):
    """Give a fine-tuned bench of one family."""

    def make(family):
        bench = Bench(str(tiny_folder(family)), reviews, out=tmp_path / family)
        return bench.finetuned(run("finetune/full", bench, epochs=1, precision="float32").checkpoint)

    return make


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert", "gpt2", "pythia-70m"])
def test_the_head_alone_gives_the_networks_logits(tuned, family):
    bench = tuned(family)
    logits = classify_states(bench.network, bench.states("validation"))
    np.testing.assert_allclose(logits, bench.logits("validation"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("place", ["final", "every layer"])
def test_a_dimension_set_to_zero_equals_plain_hooks(tuned, family, place):
    bench = tuned(family)
    result = AblateDimensions(dims=(3, 5), fills=("zero",), places=(place,), num_draws=1, num_layer_draws=1).run(bench)

    # The oracle: hooks of torch's own on transformers' own modules, one sentence at a time.
    model = bench.load().model
    blocks = model.bert.encoder.layer if family == "bert" else model.transformer.h
    last = blocks[-1] if family == "bert" else model.transformer.ln_f

    def zero(module, args, output):
        changed = (output[0] if isinstance(output, tuple) else output).clone()
        changed[..., [3, 5]] = 0
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    for module in [last] if place == "final" else blocks:
        module.register_forward_hook(zero)
    texts, labels = bench.task.validation.texts[:256], bench.labels("validation")[:256]
    with torch.no_grad():
        predicted = [
            model(**bench.network.tokenizer(text, return_tensors="pt")).logits.argmax().item() for text in texts
        ]
    expected = (np.array(predicted) == labels).mean()
    assert result.value("accuracy", ablated="chosen dimensions", fill="zero", place=place) == pytest.approx(expected)


def test_the_network_is_left_as_it_was(tuned):
    bench = tuned("bert")
    before = bench.logits("validation").copy()
    weights = {name: tensor.clone() for name, tensor in bench.network.model.state_dict().items()}
    AblateDimensions(**FAST).run(bench)
    np.testing.assert_array_equal(bench.logits_of(bench.network, "validation"), before)
    for name, tensor in bench.network.model.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in bench.network.model.modules())


def test_all_but_one_taken_out_leaves_the_constant_answer(tuned):
    bench = tuned("gpt2")
    result = AblateDimensions(dims=tuple(range(bench.network.hidden_size)), fills=("mean",), places=("final",)).run(
        bench
    )
    one_answer = {(bench.labels("validation") == label).mean() for label in (0, 1)}
    assert result.value("accuracy", ablated="chosen dimensions") in one_answer


def test_every_group_has_its_random_control_and_the_whole_model_its_number(tuned):
    bench = tuned("bert")
    result = AblateDimensions(**FAST).run(bench)
    frame = result.to_pandas()
    intact = frame[(frame.ablated == "nothing") & (frame.place == "final")].value.item()
    assert intact == pytest.approx((bench.logits("validation").argmax(1) == bench.labels("validation")).mean())
    named = set(frame.ablated) - {"nothing"}
    controls = {name for name in named if name.startswith("random, as many as ")}
    assert {f"random, as many as {name}" for name in named - controls} == controls


def test_mistakes_are_told(tuned):
    bench = tuned("bert")
    with pytest.raises(UserError, match="checkpoint"):
        AblateDimensions().run(bench.pretrained)
    with pytest.raises(UserError, match="0 to 31"):
        AblateDimensions(dims=(99,)).run(bench)
