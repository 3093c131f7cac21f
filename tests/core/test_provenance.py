from dimscope.core.provenance import digest, provenance, run_key


def test_a_digest_sees_values_and_not_the_order_of_keys():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest([1, 2]) != digest([2, 1])


def test_a_run_key_changes_with_everything_that_changes_numbers():
    base = ("measure/x", 1, {"factor": 5.0}, {"seed": 1})
    changed = [
        ("measure/y", *base[1:]),
        ("measure/x", 2, *base[2:]),
        (*base[:2], {"factor": 6.0}, base[3]),
        (*base[:3], {"seed": 2}),
    ]
    assert len({run_key(*each) for each in [base, *changed]}) == 5


def test_provenance_names_versions_and_duration():
    told = provenance(1.23456)
    assert told["seconds"] == 1.235
    assert told["versions"]["torch"]
