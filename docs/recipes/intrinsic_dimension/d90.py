"""Write table and figure of the search that `make d90` ran, beside this file: python d90.py FOLDER."""

import sys
from pathlib import Path

from dimscope.methods.measure.intrinsic_dimension import IntrinsicDimension
from dimscope.report.intrinsic_dimension import bracket_table, curve_table, curves
from dimscope.report.tables import to_csv, to_markdown
from dimscope.report.theme import to_png, to_svg
from dimscope.store.files import write_bytes, write_text
from dimscope.store.layout import Store

HERE = Path(__file__).parent
runs = [run for run in Store(Path(sys.argv[1])).runs() if run.method == IntrinsicDimension.name()]
(result,) = runs
where = result.numbers[0].where
results = {f"{where['model']}, {where['task']}": result}
write_text(HERE / "d90.csv", to_csv(curve_table(result)))
write_text(HERE / "d90.md", f"{to_markdown(bracket_table(results))}\n\n{to_markdown(curve_table(result))}\n")
write_text(HERE / "d90.svg", to_svg(curves(results)))
write_bytes(HERE / "d90.png", to_png(curves(results)))
