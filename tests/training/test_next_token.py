import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from dimscope.data.prompts.lessons import Examples, Lessons
from dimscope.training.loop import DivergedError
from dimscope.training.next_token import NextTokenSettings, loss_of, teach

SETTINGS = {"steps": 400, "batch_size": 32, "learning_rate": 1e-2}


def decoder(family="llama"):
    config = AutoConfig.for_model(
        family, vocab_size=12, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=16,
        intermediate_size=32, pad_token_id=0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()


def texts(rng, number):
    """Texts of 2 to 6 tokens; what follows is the first token again."""
    lengths = rng.integers(2, 7, size=number)
    ids = rng.integers(1, 12, size=(number, 6))
    return Examples(np.where(np.arange(6) < lengths[:, None], ids, 0), lengths, ids[:, 0])


@pytest.fixture
def copying():
    return Lessons("first token", None, lambda number: texts(np.random.default_rng(number), 256))


def test_the_loss_is_that_of_each_text_alone():
    model, some = decoder(), texts(np.random.default_rng(0), 20)
    losses = []
    with torch.no_grad():
        for ids, length, answer in zip(some.ids, some.lengths, some.answers, strict=True):
            row = torch.from_numpy(ids[None, :length])
            shares = model(input_ids=row).logits[0].log_softmax(-1)
            losses.append(-shares[-1, answer].item())
        assert loss_of(model, some).item() == pytest.approx(np.mean(losses), abs=1e-6)


def test_a_rule_is_learned(copying):
    model = decoder()
    losses = teach(model, [copying], NextTokenSettings(**SETTINGS), seed=1)
    assert losses[0, 0] == pytest.approx(np.log(12), abs=0.3)
    unseen = texts(np.random.default_rng(10**6), 200)
    with torch.no_grad():
        assert loss_of(model, unseen).item() < np.log(12) / 2
    assert not model.training


def test_noise_leaves_a_loss_that_no_model_goes_below(copying):
    """Half of the answers are one of ten others: the entropy is ln 2 + ln(10) / 2."""
    losses = teach(decoder(), [copying], NextTokenSettings(**SETTINGS, label_noise=0.5), seed=1)
    assert np.log(2) + np.log(10) / 2 - 0.1 < losses[-30:].mean() < np.log(12)


def test_the_seed_makes_the_noise(copying):
    def trained(seed):
        model = decoder()
        teach(model, [copying], NextTokenSettings(**{**SETTINGS, "steps": 3, "label_noise": 0.5}), seed)
        return model.state_dict()

    first, again, other = trained(1), trained(1), trained(2)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_every_set_has_its_own_loss(copying):
    constant = Lessons(
        "constant", None, lambda number: Examples(np.full((256, 3), 5), np.full(256, 3), np.full(256, 7))
    )
    losses = teach(decoder(), [copying, constant], NextTokenSettings(**SETTINGS), seed=1)
    assert losses.shape == (400, 2)
    assert losses[-1, 1] < 0.05 < losses[-1, 0]


def test_a_training_that_diverges_is_stopped(copying):
    with pytest.raises(DivergedError, match="training loss became nan"):
        teach(decoder(), [copying], NextTokenSettings(**{**SETTINGS, "learning_rate": 1e30}), seed=1)
