"""What one dimension of MiniLM knows of a film review, before and after fine-tuning."""

import dimscope as ds

MODEL, TASK, OUT = "minilm", "movie_reviews", "quickstart"

# A bench is what is studied. Leave out the limit to study all sentences.
bench = ds.Bench(MODEL, TASK, seed=1, limit=1000, out=OUT)

# Which dimensions vary at least 5 times as much as the average one?
before = ds.run("measure/outlier_dimensions", bench, factor=5.0)
print("outlier dimensions before:", before.value("num_outlier_dims"))

# What is finished is kept in OUT: run the script again, and this line takes no time.
trained = ds.run("finetune/full", bench, epochs=1)
print("accuracy on held-out sentences:", trained.value("accuracy"))

# The same bench, standing on the checkpoint.
tuned = bench.finetuned(trained.checkpoint)
after = ds.run("measure/outlier_dimensions", tuned)
print("outlier dimensions after:", after.value("num_outlier_dims"))
print("the widest dimension:", after.value("principal_dim"))

# How much of the task does one dimension do? The controls are rows of the same table.
table = ds.run("measure/one_dimension", tuned).to_pandas().query("name == 'accuracy'")
print(table[["classifier", "rule", "value", "low", "high"]].round(3).to_string(index=False))

# States are NumPy arrays and the classifier is scikit-learn's kind: the next question is yours.
classifier = ds.OneDimensionClassifier(dim="max_variance")
classifier.fit(tuned.states("train"), tuned.labels("train"))
accuracy = classifier.score(tuned.states("validation"), tuned.labels("validation"))
print(f"dimension {classifier.dim_} alone: {accuracy:.3f}")
