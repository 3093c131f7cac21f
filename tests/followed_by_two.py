"""What each of two processes runs in `test_two_processes_follow_one_training`: the Trainer's training, shared out."""

import os
import sys
from pathlib import Path

from transformers import Trainer, TrainingArguments

from dimscope.callback import OutlierCallback
from dimscope.models.catalogue import ModelSource
from dimscope.models.load import load

TEXTS = ["a good film", "bad", "so very very bad a film", "good good", "not bad", "the film is good and sad"] * 4
LABELS = [1, 0, 0, 1, 1, 0] * 4


def main(out: Path, folder: Path) -> None:
    network = load(ModelSource("bert", "folder", str(folder)), num_labels=2, seed=3)
    rows = [{**network.tokenizer(text), "labels": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    arguments = TrainingArguments(
        output_dir=str(out / "trainer"),
        per_device_train_batch_size=4,
        max_steps=5,
        learning_rate=3e-3,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=5,
    )
    callback = OutlierCallback(TEXTS, LABELS, every=2, out=out / f"process{os.environ['RANK']}")
    trainer = Trainer(
        network.model, arguments, train_dataset=rows, processing_class=network.tokenizer, callbacks=[callback]
    )
    trainer.train()
    trainer.save_model(str(out / "saved"))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
