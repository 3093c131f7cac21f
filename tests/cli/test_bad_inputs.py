"""Mistakes of all kinds: each ends with exit code 2 and one message that says what was wanted, what came, what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

MEASURE = "run measure/outlier_dimensions --out out"
RUN = f"{MEASURE} --model tiny/bert"
TASK = f"{RUN} --task"
OK = f"{TASK} reviews.csv"
STUDY = "reproduce outlier_dimensions --models tiny/bert --tasks reviews.csv"
TUNE = "run finetune/full --model tiny/bert --task reviews.csv --out out"
STATES = "states take --model tiny/bert --task reviews.csv --out out"
ONE = "run measure/one_dimension --model tiny/bert --task reviews.csv --out out"
ABLATE = "run intervene/ablate_dimensions --model tiny/bert --task reviews.csv --out out"

FILES = {
    "empty.csv": "",
    "blank.csv": "\n\n\n",
    "header.csv": "text,label\n",
    "empty.jsonl": "",
    "empty.tsv": "",
    "no_label.csv": "text,stars\na,1\nb,2\n",
    "no_text.csv": "words,label\na,1\nb,2\n",
    "two_texts.csv": "text,review,label\na,b,1\nc,d,2\n",
    "two_labels.csv": "text,label,class\na,0,1\nb,1,0\n",
    "missing_label.csv": "text,label\na,0\nb,\nc,1\n",
    "null_label.jsonl": '{"text": "a", "label": 0}\n{"text": "b", "label": null}\n',
    "nan_label.jsonl": '{"text": "a", "label": 0}\n{"text": "b", "label": NaN}\n',
    "no_key.jsonl": '{"text": "a", "label": 0}\n{"label": 1}\n',
    "one_class.csv": "text,label\na,1\nb,1\nc,1\n",
    "single.csv": "text,label\na,0\nb,0\nc,1\n",
    "real.csv": "text,label\na,0.25\nb,1.5\n",
    "twice.csv": "text,text,label\na,b,0\nc,d,1\n",
    "ragged.csv": "text,label\na,0\nb,1,2\n",
    "quote.csv": 'text,label\n"a,0\nb,1\n',
    "broken.jsonl": '{"text": "a", "label": 0}\n{"text": \n',
    "list.jsonl": "[1, 2]\n",
    "object_text.jsonl": '{"text": {"a": 1}, "label": 0}\n{"text": "b", "label": 1}\n',
    "broken.parquet": "PAR1 and then nothing",
    "notes.txt": "text,label\na,0\nb,1\n",
    "new_class.csv": "text,label\nunseen,excellent\n",
    "same.csv": "text,label\nthe film,bad\ngood,good\n",
    "no_texts.csv": "label\nbad\ngood\n",
    "only_same.csv": "text,label\n" + "same text,0\nsame text,1\n" * 5,
    "in_the_way": "a file",
    "glue/sst2/train.tsv": "sentence\tlabel\na film\t0\na story\t1\n",
    "bad_glue/sst2/train.tsv": "sentence\tlabel\na\t0\nb\t1\n",
    "bad_glue/sst2/dev.tsv": "sentence\tlabel\nc\t0\nd\t7\n",
    "no_glue/rte/train.tsv": "sentence\tlabel\na\t0\nb\t1\n",
    "no_glue/rte/dev.tsv": "sentence\tlabel\nc\t0\nd\t1\n",
    "plain_folder/readme.txt": "nothing of interest",
    "other_study/study.json": '{"schema": 1, "recipe": "something_else", "settings": {}}',
    "broken_study/study.json": '{"schema": 1, "rec',
    "old_study/study.json": '{"schema": 1, "recipe": "outlier_dimensions", "settings": {"modles": ["x"]}}',
    "asked_study/study.json": '{"schema": 1, "recipe": "outlier_dimensions", "settings": {}}',
    "bad_states/manifest.json": '{"schema"',
    "model_without_weights/config.json": '{"model_type": "bert"}',
    "model_no_json/config.json": "{",
}
"""What lies in the folder besides reviews.csv, by name."""

CASES = [
    # words of the command
    ("runn", "Unknown command", "Did you mean", "run"),
    ("run measure/outlier_dimension", "unknown method", "Did you mean 'measure/outlier_dimensions'?"),
    ("run outlier_dimensions", "unknown method", "Did you mean 'measure/outlier_dimensions'?"),
    ("run ''", "unknown method", "Known: build/pretrain, build/prompt_model, finetune/full"),
    ("run ../../etc", "unknown method"),
    ("reproduce outlier-dimensions --out o", "unknown recipe", "Did you mean 'outlier_dimensions'?"),
    ("list model", "KIND", 'Did you mean "models"?'),
    ("states tak", "Unknown command", "take"),
    ("get minlm", "unknown model or task 'minlm'", "Did you mean 'minilm'?"),
    ("get movie_review", "Did you mean 'movie_reviews'?"),
    ("get", "at least one name", "dimscope list"),
    # flags
    ("run measure/outlier_dimensions", "--model requires an argument"),
    (f"{RUN}", "--task requires an argument"),
    ("run measure/outlier_dimensions --model tiny/bert --task reviews.csv", "--out requires an argument"),
    ("reproduce outlier_dimensions", "--out requires an argument"),
    (f"{OK} --sed 2", "Unknown option", "--sed", "Did you mean --seed?"),
    (f"{OK} --seed", "--seed", "requires an argument"),
    (f"{OK} --seed one", "seed: wanted a whole number, got 'one'"),
    (f"{OK} --seed 1.5", "seed: wanted a whole number, got '1.5'"),
    (f"{OK} --seed -1", "seed", "greater than or equal to 0", "-1"),
    (f"{OK} --seed 1 --seed 2", "--seed", "multiple times"),
    (f"{OK} --limit 0", "limit", "greater than or equal to 1", "0"),
    (f"{OK} --limit 1", "a limit of 1 is too small for 2 classes"),
    (f"{OK} --limit -5", "limit", "-5"),
    (f"{OK} --max-length 3", "max_length", "greater than or equal to 4"),
    (f"{OK} --validation-fraction 0", "validation_fraction", "greater than 0"),
    (f"{OK} --validation-fraction 0.9", "validation_fraction", "less than or equal to 0.5"),
    (f"{OK} --neutral-band 0.5", "takes no neutral_band"),
    (f"{OK} surplus", "Unused Tokens", "surplus"),
    (f"{OK} --checkpoint ''", "checkpoint: wanted a name"),
    # settings
    (f"{OK} --factor 1", "factor", "greater than 1"),
    (f"{OK} --factor nan", "factor", "finite number", "got 'nan'"),
    (f"{OK} --factor inf", "factor", "finite number", "got 'inf'"),
    (f"{OK} --factor much", "factor: wanted a number, got 'much'"),
    (f"{OK} --mean-sigmas 0", "mean_sigmas", "greater than 0"),
    (f"{OK} --split test", "split", "'train' or 'validation', got 'test'"),
    (f"{OK} --pooling max", "pooling", "'first', 'last' or 'mean', got 'max'"),
    (f"{OK} --tokens some", "tokens", "'pooled' or 'all', got 'some'"),
    (f"{OK} --sites finl", "unknown site 'finl'", "Did you mean 'final'?"),
    (f"{OK} --sites layers.9.out", "unknown site", "layers.1.out"),
    (f"{ONE} --site finl", "unknown site 'finl'", "Did you mean 'final'?"),
    (f"{ONE} --num-permutations 5", "num_permutations", "greater than or equal to 99"),
    (f"{TUNE} --learning-rate 0", "learning_rate", "greater than 0"),
    (f"{TUNE} --learning-rate -1", "learning_rate", "-1"),
    (f"{TUNE} --learning-rate inf", "learning_rate", "finite"),
    (f"{TUNE} --epochs 0", "epochs", "greater than or equal to 1"),
    (f"{TUNE} --batch-size 0", "batch_size", "greater than or equal to 1"),
    (f"{TUNE} --warmup-fraction 1", "warmup_fraction", "less than 1"),
    (f"{TUNE} --clip-norm 0", "clip_norm", "greater than 0"),
    (f"{TUNE} --schedule step", "schedule", "'linear' or 'cosine', got 'step'"),
    (f"{TUNE} --precision float16", "precision", "'float32' or 'bfloat16', got 'float16'"),
    (f"{TUNE} --learning-rate 1e30 --precision float32", "loss became", "at step", "smaller learning rate"),
    (f"{ABLATE} --fills one", "fills", "'mean' or 'resample', got 'one'"),
    (f"{ABLATE}", "has no checkpoint: give one"),
    (f"{OK} --device gpu", "wanted the device 'auto', 'cpu' or 'cuda', got 'gpu'"),
    (f"{OK} --device cuda", "torch sees no GPU here", "'cpu' or 'auto'"),
    ("run measure/persistence --model tiny/bert --task reviews.csv --out out", "checkpoint"),
    # models
    (f"{MEASURE} --task reviews.csv --model minlm", "unknown model 'minlm'", "Did you mean 'minilm'?"),
    (f"{MEASURE} --task reviews.csv --model ''", "unknown model ''"),
    (f"{MEASURE} --task reviews.csv --model tiny/brt", "Did you mean 'tiny/bert'?"),
    (f"{MEASURE} --task reviews.csv --model reviews.csv", "unknown model 'reviews.csv'", "local folder"),
    (f"{MEASURE} --task reviews.csv --model ./nowhere/at/all", "unknown model"),
    (f"{MEASURE} --task reviews.csv --model plain_folder", "holds no config.json"),
    (f"{MEASURE} --task reviews.csv --model model_without_weights", "no *.safetensors", "Pickled weights"),
    (f"{MEASURE} --task reviews.csv --model model_no_json", "model_no_json"),
    (f"{MEASURE} --task reviews.csv --model unknown_type", "no_such_family"),
    (f"{MEASURE} --task reviews.csv --model pickle_only", "no *.safetensors", "Pickled weights can run code"),
    (f"{MEASURE} --task reviews.csv --model truncated", "truncated"),
    (f"{MEASURE} --task reviews.csv --model no_tokenizer", "holds no tokenizer"),
    (f"{MEASURE} --task reviews.csv --model other_config", "other_config", "belong together"),
    ("check minlm", "unknown model 'minlm'", "Did you mean 'minilm'?"),
    ("check plain_folder", "holds no config.json"),
    # data
    (f"{TASK} movie_review", "unknown task 'movie_review'", "Did you mean 'movie_reviews'?"),
    (f"{TASK} ''", "unknown task ''"),
    (f"{TASK} glue/sst", "Did you mean 'glue/sst2'?"),
    (f"{TASK} nowhere.csv", "there is no file nowhere.csv"),
    (f"{TASK} empty.csv", "empty.csv holds nothing"),
    (f"{TASK} blank.csv", "blank.csv holds nothing"),
    (f"{TASK} empty.jsonl", "empty.jsonl holds nothing"),
    (f"{TASK} empty.tsv", "empty.tsv holds nothing"),
    (f"{TASK} header.csv", "header.csv holds a header and no rows"),
    (f"{TASK} no_label.csv", "known to hold the class", "'stars'", "--label-column"),
    (f"{TASK} no_text.csv", "known to hold the text", "'words'", "--text-column"),
    (f"{TASK} two_texts.csv", "found 2", "--text-column"),
    (f"{TASK} two_labels.csv", "found 2", "--label-column"),
    (f"{TASK} reviews.csv --label-column lable", "unknown column 'lable'", "Did you mean 'label'?"),
    (f"{TASK} reviews.csv --text-column txt", "unknown column 'txt'", "Did you mean 'text'?"),
    (f"{TASK} reviews.csv --label-column ''", "label_column: wanted a name"),
    (f"{TASK} reviews.csv --pair-column text", "a pair needs both columns", "--text-column"),
    (f"{TASK} reviews.csv --text-column text --pair-column other", "unknown column 'other'"),
    (f"{TASK} reviews.csv --text-column label --label-column label", "both text and class", "two columns"),
    (f"{TASK} missing_label.csv", "1 of 3 rows have no value", "row 2"),
    (f"{TASK} null_label.jsonl", "1 of 2 rows have no value", "'label'"),
    (f"{TASK} nan_label.jsonl", "1 of 2 rows have no value", "'label'"),
    (f"{TASK} no_key.jsonl", "1 of 2 rows have no value", "'text'"),
    (f"{TASK} one_class.csv", "all training sentences are of one class", "nothing to tell apart"),
    (f"{TASK} single.csv", "1 of 2 classes have a single sentence", "validation file"),
    (f"{TASK} real.csv", "real numbers such as 0.25", "--label-column"),
    (f"{TASK} twice.csv", "several columns named 'text'", "rename"),
    (f"{TASK} ragged.csv", "row 2", "has 3 cells", "header has 2"),
    (f"{TASK} quote.csv", "no proper CSV", "every quote is closed"),
    (f"{TASK} garbage.csv", "garbage.csv"),
    (f"{TASK} garbage.parquet", "no proper Parquet"),
    (f"{TASK} broken.parquet", "no proper Parquet"),
    (f"{TASK} broken.jsonl", "line 2 of broken.jsonl is no JSON"),
    (f"{TASK} list.jsonl", "line 1 of list.jsonl is no JSON object"),
    (f"{TASK} object_text.jsonl", "wanted a text in row 1"),
    (f"{TASK} notes.txt", "notes.txt is of no known kind", ".csv"),
    (f"{TASK} folder.csv", "folder.csv"),
    (f"{TASK} plain_folder", "is not named like a task of GLUE", "glue/NAME@plain_folder"),
    (f"{TASK} only_same.csv", "also stand in its training data"),
    (f"{TASK} reviews.csv --validation-file nowhere.csv", "there is no file nowhere.csv"),
    (f"{TASK} reviews.csv --validation-file new_class.csv", "classes that the training data lack: 'excellent'"),
    (f"{TASK} reviews.csv --validation-file no_texts.csv", "unknown column 'text'"),
    (f"{TASK} reviews.csv --validation-file reviews.csv", "also stand in its training data"),
    (f"{TASK} reviews.csv --validation-file same.csv --validation-fraction 0.3", "takes no validation_fraction"),
    (f"{TASK} glue/sst2@glue/sst2", "wanted one file validation or dev", "found none"),
    (f"{TASK} glue/sst2@nowhere", "wanted one file train"),
    (f"{TASK} bad_glue/sst2", "wanted labels among 0, negative, 1, positive", "got '7'"),
    (f"{TASK} no_glue/rte", "wanted the columns sentence1, sentence2, label"),
    (f"{TASK} bad_glue/sst2 --label-column label", "takes no label_column"),
    # checkpoints
    (f"{OK} --checkpoint nowhere", "unknown checkpoint 'nowhere'", "local folder"),
    (f"{OK} --checkpoint pretrained", "brings no classifier", "finetune/full"),
    (f"{OK} --checkpoint three_classes", "tells 3 classes apart, but the task has 2"),
    (f"{OK} --checkpoint pickle_only", "Pickled weights can run code"),
    (f"{OK} --checkpoint cut_classifier", "cut_classifier is damaged", "run the same fine-tuning again"),
    (f"{OK} --checkpoint foreign_classifier", "foreign_classifier", "SafetensorError"),
    (
        f"{MEASURE} --model tiny/gpt2 --task reviews.csv --checkpoint classifier",
        "was made from tiny/bert, not from tiny",
    ),
    (f"{OK} --checkpoint plain_folder", "holds no config.json"),
    # folders
    (f"{MEASURE[:-3]} in_the_way --model tiny/bert --task reviews.csv", "in_the_way", "a file stands where a folder"),
    (f"{MEASURE[:-3]} in_the_way/out --model tiny/bert --task reviews.csv", "in_the_way", "a file stands where"),
    (f"{STUDY} --out in_the_way", "in_the_way", "choose another folder"),
    (f"{STUDY} --out plain_folder", "is not empty and not a study", "--out"),
    (f"{STUDY} --out other_study", "is a study of 'something_else'", "--out"),
    (f"{STUDY} --out broken_study", "study.json is damaged"),
    (f"{STUDY} --out s --seeds", "seeds: wanted at least one"),
    (f"{STUDY} --out s --seeds 1 1", "tiny/bert/reviews, seed 1 would be there twice"),
    (f"{STUDY} --out s --seeds -1", "seeds", "greater than or equal to 0"),
    (f"{STUDY} --out s --seeds one", "seeds.0: wanted a whole number, got 'one'"),
    ("reproduce outlier_dimensions --out s --models", "models: wanted at least one"),
    (
        "reproduce outlier_dimensions --out s --models tiny/bert tiny/bert --tasks reviews.csv",
        "tiny/bert/reviews, seed 1 would be there twice",
    ),
    (
        "reproduce outlier_dimensions --out s --models tiny/bert --tasks reviews.csv reviews.csv",
        "there twice",
        "different names",
    ),
    ("reproduce outlier_dimensions --out s --models minlm --tasks reviews.csv", "Did you mean 'minilm'?"),
    ("reproduce outlier_dimensions --out s --models tiny/bert --tasks no.csv", "there is no file no.csv"),
    (f"{STUDY} --out s --outliers.factor 0", "outliers.factor", "greater than 1"),
    (f"{STUDY} --out s --finetune.learning-rat 1", "Did you mean --finetune.learning-rate?"),
    (f"{STUDY} --out s --device cuda", "torch sees no GPU here"),
    ("report nowhere", "wanted the folder of a study", "nowhere"),
    ("report plain_folder", "wanted the folder of a study"),
    ("report in_the_way", "wanted the folder of a study"),
    ("report broken_study", "study.json is damaged"),
    ("report other_study", "unknown recipe 'something_else'"),
    ("report old_study", "modles: there is no such setting"),
    ("report asked_study", "is not finished", "same words"),
    ("query nowhere 'SELECT 1'", "finished runs", "nowhere"),
    ("query plain_folder 'SELECT 1'", "finished runs"),
    ("query done 'SELEC 1'", "could not be answered", "syntax error"),
    ("query done 'SELECT nothing FROM numbers'", "nothing", "not found"),
    ("query done 'SELECT * FROM tables_of_old'", "does not exist"),
    ("query done \"COPY numbers TO 'stolen.csv'\"", "could not be answered"),
    ("query done \"SELECT * FROM read_csv('reviews.csv')\"", "could not be answered"),
    ("query done ''", "wanted a question that has an answer"),
    ("query done", "SQL requires an argument"),
    ("export nowhere --by seed", "finished runs"),
    ("export done --by modle", "unknown column 'modle'", "Did you mean 'model'?"),
    ("export done", "--by requires an argument"),
    ("export done --by seed --format xls", "--format", "xls", "xlsx"),
    ("export done --by seed --to in_the_way", "in_the_way", "a file stands where a folder"),
    (f"{STATES} --split test", "--split", "test", "validation"),
    (f"{STATES} --site last", "unknown site 'last'"),
    (f"{STATES} --pooling sum", "--pooling", "sum"),
    ("states show nowhere", "wanted a folder of states"),
    ("states show plain_folder", "wanted a folder of states"),
    ("states show bad_states", "is damaged", "take the states again"),
    ("states average --to mean", "at least one folder of states"),
    ("states average plain_folder --to mean", "wanted a folder of states"),
    ("states average states short --to mean", "only states of the same sentences"),
    ("states average states damaged --to mean", "missing or damaged", "damaged"),
    ("states average states --to plain_folder", "plain_folder", "holds something else"),
    ("states average states --to in_the_way", "in_the_way"),
]


@pytest.fixture(scope="module")
def place(dimscope, write_reviews, tmp_path_factory) -> Path:
    """Give a folder with all that the commands name."""
    folder = tmp_path_factory.mktemp("bad")
    write_reviews(folder / "reviews.csv")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "garbage.csv").write_bytes(bytes(range(256)) * 20)
    (folder / "garbage.parquet").write_bytes(bytes(range(256)) * 20)
    (folder / "folder.csv").mkdir()
    _write_models(folder, dimscope)
    _write_classifiers(folder, dimscope)
    _write_states(folder, dimscope)
    return folder


def _write_models(folder: Path, dimscope) -> None:
    """Write models that lack something."""
    printed = dimscope("get tiny/bert", folder).err
    sound = Path(printed.partition(": ")[2].strip())
    names = ("pretrained", "pickle_only", "truncated", "no_tokenizer", "other_config", "unknown_type")
    for name in names:
        shutil.copytree(sound, folder / name)
    weights = folder / "pickle_only" / "model.safetensors"
    torch.save(load_file(weights), folder / "pickle_only" / "pytorch_model.bin")
    weights.unlink()
    _cut(folder / "truncated" / "model.safetensors")
    for path in (folder / "no_tokenizer").glob("*token*"):
        path.unlink()
    _set_config(folder / "other_config", num_hidden_layers=5)
    _set_config(folder / "unknown_type", model_type="no_such_family")


def _write_classifiers(folder: Path, dimscope) -> None:
    """Write classifiers that do not fit, or are damaged."""
    (folder / "three.csv").write_text("text,label\n" + "".join(f"film {n},{n % 3}\n" for n in range(30)))
    for task, name in {"three": "three_classes", "reviews": "classifier"}.items():
        words = f"run finetune/full --model tiny/bert --task {task}.csv --epochs 1 --out tuned"
        checkpoint = dimscope(words, folder).out.split("Checkpoint: ")[1].strip()
        shutil.copytree(folder / "tuned" / "checkpoints" / checkpoint, folder / name)
    for name in ("cut_classifier", "foreign_classifier"):
        shutil.copytree(folder / "classifier", folder / name)
        _cut(folder / name / "model.safetensors")
    (folder / "foreign_classifier" / "dimscope.json").unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _set_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _write_states(folder: Path, dimscope) -> None:
    dimscope("run measure/outlier_dimensions --model tiny/bert --task reviews.csv --out done", folder)
    for name, flags in {"states": "", "short": "--limit 4"}.items():
        taken = dimscope(f"states take --model tiny/bert --task reviews.csv --out taken {flags}", folder)
        shutil.copytree(folder / taken.out.strip(), folder / name)
    shutil.copytree(folder / "states", folder / "damaged")
    (shard,) = (folder / "damaged").glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("words", "parts"), [(words, parts) for words, *parts in CASES], ids=lambda each: str(each)[:70]
)
def test_the_mistake_is_told(dimscope, place, words, parts):
    ran = dimscope(words, place)
    assert ran.code == 2, ran.err
    assert [part for part in parts if part not in ran.err] == [], ran.err
    assert not any(jargon in ran.err for jargon in ("Traceback", "pydantic", "defect", "validation error"))
    assert ran.out == ""


def test_at_least_a_hundred_mistakes_are_tried():
    assert len({words for words, *_ in CASES}) >= 100


TEXTS = {
    "empty texts": [("", "bad"), ("", "good"), ("a film", "bad"), ("good", "good")] * 5,
    "blanks": [("   ", "bad"), ("good", "good")] * 5,
    "one word": [("sad", "bad"), ("good", "good")],
    "longer than the model": [("sad " * 500, "bad"), ("good " * 500, "good")],
    "no known letter": [("電影", "bad"), ("🎬🎬", "good")],
    "line breaks and quotes": [('a "film"\nis', "bad"), ("it's, good", "good")],
}


@pytest.mark.parametrize("model", ["tiny/bert", "tiny/gpt2"])
@pytest.mark.parametrize("texts", TEXTS, ids=str)
def test_what_is_odd_but_right_works(dimscope, tmp_path, model, texts):
    rows = [
        {"text": f"{text}{number}" if text.strip() else text, "label": label}
        for number, (text, label) in enumerate(TEXTS[texts] * 6)
    ]
    (tmp_path / "odd.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ran = dimscope(f"run finetune/full --model {model} --task odd.jsonl --out out", tmp_path)
    assert ran.code == 0, ran.err
    assert "accuracy" in ran.out
