"""What one dimension of MiniLM knows of a film review, before and after fine-tuning."""

import dimscope as ds

MODEL, TASK, OUT = "minilm", "movie_reviews", "quickstart"

# A bench is what is studied. The limit keeps this to a minute or two; leave it out for all sentences.
bench = ds.Bench(MODEL, TASK, seed=1, limit=1000, out=OUT)

# Which dimensions vary at least 5 times as much as the average one?
before = ds.run("measure/outlier_dimensions", bench, factor=5.0)
print(f"before: {before.value('num_outlier_dims'):.0f} outlier dimensions")

# What is finished is kept in OUT: run the script again, and this line takes no time.
trained = ds.run("finetune/full", bench, epochs=1)
print(f"fine-tuned: {trained.value('accuracy'):.3f} of the held-out sentences are classified rightly")

# The same bench, standing on the checkpoint.
tuned = bench.finetuned(trained.checkpoint)
after = ds.run("measure/outlier_dimensions", tuned)
print(f"after: {after.value('num_outlier_dims'):.0f}; dimension {after.value('principal_dim'):.0f} varies most")

# How much of the task does one dimension do? The controls are rows of the same table.
table = ds.run("measure/one_dimension", tuned).to_pandas()
columns = ["classifier", "rule", "value", "low", "high"]
print(table.loc[table["name"] == "accuracy", columns].round(3).fillna("").to_string(index=False))

# States are NumPy arrays, and the 1-D classifier is scikit-learn's kind, so that the next question is yours.
states, labels = ({split: take(split) for split in ("train", "validation")} for take in (tuned.states, tuned.labels))
classifier = ds.OneDimensionClassifier(dim="max_variance").fit(states["train"], labels["train"])
print(f"dimension {classifier.dim_} alone: {classifier.score(states['validation'], labels['validation']):.3f}")
