import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dimscope.core.errors import UserError
from dimscope.models.catalogue import ModelSource
from dimscope.models.load import load
from dimscope.training import adapters
from dimscope.training.adapters import load_adapter, merge, read_adapter, save_adapter
from dimscope.training.checkpoints import is_intact
from dimscope.training.subspace import Subspace, SubspaceSettings, weights_digest

KINDS = ["one_hot", "fastfood_whole", "dense", "sparse"]


@pytest.fixture
def fresh(tiny_folder):
    def build(family="bert", num_labels=3, seed=5):
        return load(ModelSource(family, "folder", str(tiny_folder(family))), num_labels, seed=seed)

    return build


@pytest.fixture
def make(fresh, tmp_path):
    """Write an adapter with numbers drawn at random, and give it with the network that it made."""

    def build(name="adapter", **changed):
        network = fresh()
        subspace = Subspace(network, SubspaceSettings(**{"num_trained": 60, **changed}), seed=5)
        generator = torch.Generator().manual_seed(0)
        state = {
            name: tensor + torch.randn(tensor.shape, generator=generator) for name, tensor in subspace.state().items()
        }
        subspace.set_state(state)
        file = tmp_path / f"{name}.safetensors"
        save_adapter(file, subspace, ["a", "b", "c"])
        return file, network

    return build


@pytest.mark.parametrize(
    "changed", [{"projection": kind} for kind in KINDS] + [{"structure_aware": True}, {"head": "apart"}]
)
def test_load_gives_the_same_bits(make, fresh, changed):
    file, network = make(**changed)
    base = fresh()
    assert weights_digest(base.model) != weights_digest(network.model)
    adapter = load_adapter(base, file)
    expected = network.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in base.model.state_dict().items())
    assert adapter.label_names == ("a", "b", "c")


def test_load_gives_the_same_bits_on_another_kind_of_processor(make, tiny_folder):
    """Other instructions and another number of threads: sums would come in another order, were there any."""
    made = [make(kind, projection=kind) for kind in KINDS]
    program = (
        "import sys; from dimscope.models.catalogue import ModelSource; from dimscope.models.load import load; "
        "from dimscope.training.adapters import load_adapter; from dimscope.training.subspace import weights_digest\n"
        "for file in sys.argv[2:]:\n"
        "    network = load(ModelSource('bert', 'folder', sys.argv[1]), 3, seed=5)\n"
        "    load_adapter(network, file); print(weights_digest(network.model))"
    )
    command = [sys.executable, "-c", program, tiny_folder("bert"), *(file for file, _ in made)]
    other = {
        "OMP_NUM_THREADS": "2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "NUMBA_CPU_NAME": "generic",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **other})
    assert done.stdout.split() == [weights_digest(network.model) for _, network in made]


def test_the_file_is_small_and_tells_what_it_is(make):
    file, _ = make()
    assert file.stat().st_size < 4 * 60 + 2000
    adapter = read_adapter(file)
    assert (adapter.seed, adapter.settings.projection, adapter.settings.num_trained) == (5, "one_hot", 60)


def test_merge_writes_a_checkpoint_that_needs_no_adapter(make, fresh, tiny_folder, tmp_path):
    file, network = make()
    merge(file, tmp_path / "merged", str(tiny_folder("bert")))
    assert is_intact(tmp_path / "merged")
    opened = load(str(tmp_path / "merged"), num_labels=3, seed=99)
    assert weights_digest(opened.model) == weights_digest(network.model)
    assert opened.model.config.id2label == {0: "a", 1: "b", 2: "c"}


@pytest.mark.parametrize("other", [{"family": "roberta"}, {"num_labels": 2}, {"seed": 6}])
def test_another_base_is_refused_and_left_alone(make, fresh, other):
    file, _ = make()
    base = fresh(**other)
    before = weights_digest(base.model)
    with pytest.raises(UserError, match=r"with 3 classes and seed 5.*Load that base"):
        load_adapter(base, file)
    assert weights_digest(base.model) == before
    assert all(parameter.requires_grad for parameter in base.model.parameters())


def test_every_byte_counts(make, fresh):
    file, _ = make()
    whole = file.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in (0, 9, start, start + 101, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            load_adapter(fresh(), file)
    file.write_bytes(whole[:-3])
    with pytest.raises(UserError, match="damaged"):
        load_adapter(fresh(), file)


def test_what_is_no_adapter_is_refused(make, tmp_path):
    with pytest.raises(UserError, match="there is no adapter"):
        read_adapter(tmp_path / "nowhere")
    save_file({"z": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no adapter of ours"):
        read_adapter(tmp_path / "other.safetensors")


def test_another_version_of_the_projection_is_refused(make, fresh, monkeypatch):
    file, _ = make(projection="fastfood_whole")
    monkeypatch.setitem(adapters.VERSIONS, "fastfood_whole", 3)
    with pytest.raises(UserError, match=r"version 2 of the projection fastfood_whole, and this library has version 3"):
        load_adapter(fresh(), file)


def test_a_map_that_is_drawn_otherwise_is_refused(make, fresh, monkeypatch):
    file, _ = make()
    monkeypatch.setattr("dimscope.numerics.one_hot.TILE", 2**10)
    base = fresh()
    before = weights_digest(base.model)
    with pytest.raises(UserError, match="cannot be drawn again"):
        load_adapter(base, file)
    assert weights_digest(base.model) == before


def test_what_the_file_tells_counts_too(make):
    file, _ = make()
    with safe_open(file, framework="pt") as opened:
        about = json.loads(opened.metadata()["dimscope"])
    about["label_names"] = ["c", "b", "a"]
    save_file(load_file(file), file, {"dimscope": json.dumps(about)})
    with pytest.raises(UserError, match="damaged"):
        read_adapter(file)
