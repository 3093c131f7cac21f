"""What many tests stand on: tiny networks of every family, and a bench whose truth is planted."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from torch import nn

from dimscope.core.errors import UserError
from dimscope.data.packaged import MOVIE_REVIEWS
from dimscope.data.task import Split, Task
from dimscope.models.catalogue import ModelSource
from dimscope.models.load import Network, load
from dimscope.models.tiny import write_tiny
from dimscope.store.packages import fetch
from dimscope.training.settings import TrainingSettings
from dimscope.training.subspace import Subspace, SubspaceSettings


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("registry") and not registry_is_reached():
        pytest.skip("no package registry is reached, and the packages are not in the cache")


@cache
def registry_is_reached() -> bool:
    try:
        fetch(MOVIE_REVIEWS)
    except UserError:
        return False
    return True


_ANSWERS = {
    "silent": None,
    "closes": b"",
    "error": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "page": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>",
    "stalls": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000\r\n\r\n<html>",
}


@pytest.fixture(scope="session")
def faulty_server() -> Iterator[Callable[[str], str]]:
    """Serve on this machine in a way that a registry or hub should not; give the address."""
    with ExitStack() as opened:

        def answer(listening: socket.socket, fault: str) -> None:
            while True:
                try:
                    connection = opened.enter_context(listening.accept()[0])
                except OSError:  # the test is over
                    return
                if _ANSWERS[fault]:
                    connection.recv(65536)
                    connection.sendall(_ANSWERS[fault])
                if fault not in ("silent", "stalls"):
                    connection.close()

        @cache
        def serve(fault: str) -> str:
            listening = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=16))
            Thread(target=answer, args=(listening, fault), daemon=True).start()
            return f"http://127.0.0.1:{listening.getsockname()[1]}"

        yield serve


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def write(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        write_tiny(family, folder)
        return folder

    return write


@pytest.fixture(scope="session")
def tiny_network(tiny_folder: Callable[[str], Path]) -> Callable[[str], Network]:
    @cache
    def make(family: str) -> Network:
        return load(ModelSource(family, "folder", str(tiny_folder(family))), num_labels=3, seed=1)

    return make


class PlantedBench:
    """A bench that hands out given states and labels, so that what a measure must find is known."""

    seed = 1
    label_names = ("no", "yes")

    def __init__(self, states, labels, logits=None, before=None):
        self._states, self._labels, self._logits, self._before = states, labels, logits, before
        self.checkpoint = "planted" if logits is not None else None
        self.spec = {"seed": 1}
        self.where = {"model": "planted", "task": "planted", "seed": 1, "weights": "fine-tuned"}

    @property
    def pretrained(self):
        return self if self._before is None else PlantedBench(self._before, self._labels)

    @property
    def network(self):
        class Planted:
            class sites:  # noqa: N801
                names = ("embed", "layers.0.out", "final")

        return Planted

    def labels(self, split):
        return self._labels[split]

    def states(self, split, site="final", pooling="auto"):
        return self._states[split]

    def states_at(self, split, sites, pooling="auto"):
        return dict.fromkeys(sites, self._states[split])

    def logits(self, split):
        return self._logits[split]


@pytest.fixture
def planted():
    """Give a bench with 60 dimensions: 3, 17 and 40 vary 25 times as much as the others, and the label is the sign of 17."""

    def make(label_dim=17, loud=(3, 17, 40), noise=0.0, num_train=3000, num_held_out=2000, seed=0, tuned=True):
        rng = np.random.default_rng(seed)

        def split(num):
            states = rng.normal(size=(num, 60)).astype(np.float32)
            states[:, list(loud)] *= 5
            score = states[:, label_dim] / states[:, label_dim].std() + noise * rng.normal(size=num)
            return states, (score > 0).astype(np.int64)

        parts = {"train": split(num_train), "validation": split(num_held_out)}
        labels = {name: label for name, (_, label) in parts.items()}
        logits = {name: np.eye(2, dtype=np.float32)[label] for name, label in labels.items()} if tuned else None
        return PlantedBench({name: states for name, (states, _) in parts.items()}, labels, logits)

    return make


@pytest.fixture(scope="session")
def reviews() -> Task:
    """A task that a tiny network learns: a sentence is good if it says 'good'; sentences of 3 to 12 words."""
    rng = np.random.default_rng(0)
    filler = ["the", "film", "is", "a", "story", "and", "with", "of"]

    def split(num_sentences: int) -> Split:
        labels = rng.integers(2, size=num_sentences)
        texts = []
        for label in labels:
            words = rng.choice(filler, size=rng.integers(2, 12)).tolist()
            words.insert(rng.integers(len(words) + 1), "good" if label else "sad")
            texts.append(" ".join(words))
        return Split(tuple(texts), labels.astype(np.int64))

    return Task("reviews", ("bad", "good"), split(64), split(40))


@pytest.fixture(scope="session")
def ten_constraints() -> Callable[[SubspaceSettings, int], float]:
    """Train some numbers to move 1,000 so that ten sums are met (Li et al. 2018, section 2); give exp(-loss), 1 at best."""

    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta = nn.Parameter(torch.zeros(1000))
            self.base_model = nn.Module()

    class Toy:
        device = torch.device("cpu")

        def __init__(self) -> None:
            self.model = Sums()

    def performance(settings: SubspaceSettings, num_steps: int) -> float:
        toy = Toy()
        optimizer = Subspace(toy, settings, seed=1).optimizer(
            toy, TrainingSettings(learning_rate=0.1, weight_decay=0.0)
        )
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
        for _ in range(num_steps):
            loss = (toy.model.theta.view(10, 100).sum(1) - 1).square().sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            decay.step()
        return np.exp(-loss.item())

    return performance
