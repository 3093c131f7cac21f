"""What each of two processes runs in `test_two_processes_train_as_one`: the same training, shared out."""

import sys
from pathlib import Path

import numpy as np
import torch

from dimscope.core.processes import is_main
from dimscope.data.batching import encode
from dimscope.data.task import Split
from dimscope.models.catalogue import ModelSource
from dimscope.models.load import load
from dimscope.training.loop import TrainingSet, train
from dimscope.training.settings import TrainingSettings


def main(out: Path, folder: Path) -> None:
    texts = ["a good film", "bad", "so very very bad a film", "good good", "not bad", "the film is good and sad"] * 4
    labels = np.array([1, 0, 0, 1, 1, 0] * 4)
    network = load(ModelSource("bert", "folder", str(folder)), num_labels=2, seed=3)
    for module in network.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    data = TrainingSet(encode(network.tokenizer, Split(tuple(texts), labels), 32), labels)
    settings = TrainingSettings(learning_rate=1e-3, epochs=1, batch_size=5, precision="float32")
    train(network, data, settings, seed=7)
    if is_main():
        torch.save(
            torch.cat([parameter.detach().flatten() for parameter in network.model.parameters()]), out / "weights.pt"
        )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
