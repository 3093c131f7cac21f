import pytest

from dimscope.core.errors import UserError
from dimscope.store.study import open_study, write_study


def test_a_study_is_opened_as_it_was_asked(tmp_path):
    write_study(tmp_path / "s", "outlier_dimensions", {"seeds": [1, 2]})
    assert open_study(tmp_path / "s") == ("outlier_dimensions", {"seeds": [1, 2]})
    write_study(tmp_path / "s", "outlier_dimensions", {"seeds": [3]})
    assert open_study(tmp_path / "s")[1] == {"seeds": [3]}


def test_another_recipes_folder_is_refused(tmp_path):
    write_study(tmp_path, "outlier_dimensions", {})
    with pytest.raises(UserError, match="a study of 'outlier_dimensions'"):
        write_study(tmp_path, "intrinsic_dimension", {})


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(UserError, match="not empty"):
        write_study(tmp_path, "outlier_dimensions", {})


def test_no_study_is_told(tmp_path):
    with pytest.raises(UserError, match="wanted the folder of a study"):
        open_study(tmp_path)
