"""The page of a training that was followed: ρ's variance, the number of outliers and the accuracies, step by step."""

from __future__ import annotations

import altair as alt

from dimscope.core.result import Result
from dimscope.report.page import Figure, Page, Section
from dimscope.report.tables import cell
from dimscope.report.theme import PALETTE, Chart, themed

_QUESTION = (
    "Which dimensions of the sentence state come to stand out while the model learns, and how much of the task does "
    "the one that varies most, ρ, do alone?"
)
_CAVEATS = (
    "The accuracies are those on one half of a small fixed sample of sentences; their intervals are Wilson's.",
    "ρ is chosen anew at every step. Other single dimensions, principal components and random directions are not "
    "followed: measure/one_dimension on a checkpoint has them.",
)
_PANELS = {"principal_variance_ratio": "variance of ρ / mean variance", "num_outlier_dims": "number of outliers"}
_STEP = alt.X("step:Q", title="training step", scale=alt.Scale(nice=False))


def page(result: Result) -> Page:
    """Lay a followed training out: what changed from the first step to the last, two figures, how it was measured."""
    steps = result.arrays["step"].values
    ends = dict.fromkeys([int(steps[0]), int(steps[-1])])
    spectrum = Figure("variance_by_step", outstanding(result), "Hovering over a point names the dimension that is ρ.")
    learned = Figure("accuracy_by_step", accuracies(result), "Band: 95 % interval over the held-out half.")
    return Page(
        title="Outlier dimensions during training",
        question=_QUESTION,
        answers={f"Step {step:,}": _answers(result, step) for step in ends},
        sections=[Section("What stands out", figures=[spectrum]), Section("What ρ alone can do", figures=[learned])],
        caveats=[*result.notes, *_CAVEATS],
        settings=result.settings,
        provenance={**result.bench, **result.provenance},
        sources=result.sources,
    )


def outstanding(result: Result) -> Chart:
    """Give the variance of ρ over the mean variance, and the number of outliers, by step: a panel each."""
    by_name = result.to_pandas().query("name != 'accuracy'").pivot(index="step", columns="name", values="value")
    rows = by_name.rename(columns=_PANELS).reset_index()
    rows = rows.melt(["step", "principal_dim"], list(_PANELS.values()), var_name="panel")
    place = alt.Chart(rows, height=130).encode(
        x=_STEP,
        y=alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=5, tickMinStep=1)),
        tooltip=["step:Q", alt.Tooltip("value:Q", format=".4~g"), "principal_dim:N"],
    )
    line = place.mark_line(strokeWidth=1.5, color=PALETTE[0])
    panel = line + place.mark_point(filled=True, size=40, opacity=1, color=PALETTE[0])
    panels = panel.facet(row=alt.Row("panel:N", sort=list(_PANELS.values()), title=None))
    description = f"{' and '.join(_PANELS.values())} at {len(by_name)} steps."
    return themed(panels.resolve_scale(y="independent"), "What stands out, step by step", description)


def accuracies(result: Result) -> Chart:
    """Give the accuracies of ρ alone, of the full model and of the majority class, with their intervals, by step."""
    rows = result.to_pandas().query("name == 'accuracy'")[["step", "classifier", "value", "low", "high"]]
    place = alt.Chart(rows, height=260).encode(
        x=_STEP,
        tooltip=[
            "classifier:N",
            "step:Q",
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("value", "low", "high")),
        ],
    )
    height = alt.Y("value:Q", title="accuracy", scale=alt.Scale(zero=False))
    band = place.mark_area(opacity=0.12).encode(
        y=alt.Y("low:Q", title="accuracy"), y2="high:Q", fill=alt.Fill("classifier:N", sort=None, legend=None)
    )
    line = place.mark_line(strokeWidth=1.5).encode(y=height, stroke=alt.Stroke("classifier:N", sort=None, legend=None))
    legend = alt.Legend(title=None)
    points = place.mark_point(filled=True, size=40, opacity=1).encode(
        y=height,
        color=alt.Color("classifier:N", sort=None, legend=legend),
        shape=alt.Shape("classifier:N", sort=None, legend=legend),
    )
    description = f"Accuracy of {', '.join(rows['classifier'].unique())} at {rows['step'].nunique()} steps."
    return themed(band + line + points, "Accuracy, step by step", description)


def _answers(result: Result, step: int) -> list[str]:
    num_outliers, rho, ratio = (
        result.value(name, step=step) for name in ("num_outlier_dims", "principal_dim", "principal_variance_ratio")
    )
    alone, full_model, majority = (
        cell(number.value, number.interval)
        for number in (
            result.number("accuracy", step=step, classifier=classifier)
            for classifier in ("principal dimension", "full model", "majority class")
        )
    )
    return [
        f"Outliers: {num_outliers:.0f}. ρ is dimension {rho:.0f}, whose variance is {ratio:.1f} times the mean.",
        f"ρ alone classifies {alone} of the held-out sentences rightly, the full model {full_model}, always answering "
        f"the majority class {majority}.",
    ]
