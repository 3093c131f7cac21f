import numpy as np
import pytest

from dimscope.core.errors import UserError
from dimscope.store import states as module
from dimscope.store.layout import Store
from dimscope.store.states import average, open_states, save_states

ABOUT = {"task": {"name": "t"}, "split": "validation", "site": "final", "pooling": "first"}


@pytest.fixture
def matrix(monkeypatch):
    monkeypatch.setattr(module, "SENTENCES_PER_SHARD", 4)
    return np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)


def test_states_come_back_whole_and_in_parts(tmp_path, matrix):
    save_states(tmp_path / "s", matrix, ABOUT)
    states = open_states(tmp_path / "s")
    assert states.shape == (10, 3)
    np.testing.assert_array_equal(states.numpy(), matrix)
    np.testing.assert_array_equal(states.torch().numpy(), matrix)
    for rows in (slice(3, 9), slice(-2, None), slice(5, 5), slice(0, 4)):
        np.testing.assert_array_equal(states[rows], matrix[rows])


def test_a_part_reads_only_its_shards(tmp_path, matrix):
    save_states(tmp_path / "s", matrix, ABOUT)
    (tmp_path / "s" / "states-00002.safetensors").unlink()
    np.testing.assert_array_equal(open_states(tmp_path / "s")[2:7], matrix[2:7])


def test_a_damaged_shard_is_seen_and_not_handed_out(tmp_path, matrix):
    store = Store(tmp_path)
    assert store.load_states(ABOUT) is None
    store.save_states(ABOUT, matrix)
    np.testing.assert_array_equal(store.load_states(ABOUT).numpy(), matrix)
    shard = store.states(ABOUT) / "states-00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert store.load_states(ABOUT) is None


def test_the_average_is_sentence_by_sentence(tmp_path, matrix):
    for seed in (0, 1):
        save_states(tmp_path / str(seed), matrix + 2 * seed, {**ABOUT, "checkpoint": str(seed)})
    several = [open_states(tmp_path / str(seed)) for seed in (0, 1)]
    np.testing.assert_allclose(average(several), matrix + 1, rtol=1e-6)


def test_states_of_other_sentences_are_not_averaged(tmp_path, matrix):
    save_states(tmp_path / "a", matrix, ABOUT)
    save_states(tmp_path / "b", matrix, {**ABOUT, "split": "train"})
    with pytest.raises(UserError, match="same sentences"):
        average([open_states(tmp_path / "a"), open_states(tmp_path / "b")])
    with pytest.raises(UserError, match="at least one"):
        average([])


def test_a_folder_without_states_is_told(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json"):
        open_states(tmp_path)
