from __future__ import annotations

import doctest
import json
import sys
import time

import pytest
from frame import versus
from frame.versus import MissingPeer, Row, alternate, main, peer, table


def _with_rival(quick):
    peer("a_rival_that_nobody_has")


def _twice_as_fast(quick):
    return Row.speedup("fast", 1.0 if quick else 100.0, 2.0, at_least=1.5, floor=0.5, floor_is="guessed")


def _three_times_as_much(quick):
    yield Row.cost("much", 30.0, 10.0, at_most=2, unit="MiB")


def test_the_examples_run():
    assert doctest.testmod(versus).failed == 0


def test_speed_goes_up_and_cost_goes_down():
    fast, slow = (Row.speedup("", ours, 10.0, at_least=4) for ours in (2.5, 2.6))
    cheap, dear = (Row.cost("", ours, 10.0, at_most=0.5) for ours in (5.0, 5.1))
    assert (fast.ratio, cheap.ratio) == (4.0, 0.5)
    assert [row.met for row in (fast, slow, cheap, dear)] == [True, False, True, False]
    assert [row.better for row in (fast, cheap)] == ["higher", "lower"]


def test_works_are_done_by_turns_and_the_first_time_is_not_counted(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def work(name, seconds):
        durations = iter(seconds)

        def do():
            calls.append(name)
            clock[0] += next(durations)

        return do

    medians = alternate(3, ours=work("ours", [90, 1, 5, 2]), peer=work("peer", [50, 7, 7, 8]))
    assert medians == {"ours": 2, "peer": 7}
    assert calls == ["ours", "peer"] * 4


def test_a_rival_that_is_not_there_is_named_with_the_remedy():
    with pytest.raises(MissingPeer, match=r"a_rival_that_nobody_has is not .*pip install 'dimscope\[compare\]'"):
        peer("a_rival_that_nobody_has")
    assert peer("json") is json


@pytest.fixture
def told(monkeypatch, tmp_path, capsys):
    """Run comparisons with arguments; give what is printed, what is said to be wrong, and what is kept."""

    def run(comparisons, *arguments):
        monkeypatch.setattr(sys, "argv", ["x.py", *arguments])
        main(str(tmp_path / "x.py"), comparisons)
        said = capsys.readouterr()
        kept = [json.loads(line) for line in (tmp_path / "results" / "x.jsonl").read_text().splitlines()]
        return said.out.splitlines(), said.err, kept

    return run


def test_the_last_line_is_the_contract(told):
    out, _, _ = told([_twice_as_fast, _three_times_as_much], "--quick", "--json")
    fast = {"name": "fast", "ratio": 2.0, "target": 1.5, "better": "higher", "ours": 1.0, "peer": 2.0, "unit": "s"}
    much = {"name": "much", "ratio": 3.0, "target": 2, "better": "lower", "ours": 30.0, "peer": 10.0, "unit": "MiB"}
    assert json.loads(out[-1]) == {"rows": [fast, much]}


def test_without_json_the_table_is_the_end(told):
    out, _, kept = told([_twice_as_fast], "--quick")
    assert out[-1].split("|")[1:4] == [" fast ", " 1    ", " 2    "]
    assert out == table([Row(**row) for row in kept[0]["rows"]]).splitlines()


def test_every_run_adds_a_line_that_says_where_it_was(told):
    told([_twice_as_fast])
    _, _, kept = told([_twice_as_fast], "--quick")
    assert [(line["quick"], line["rows"][0]["ours"]) for line in kept] == [(False, 100.0), (True, 1.0)]
    assert {"processor", "num_cores", "memory_gib", "instructions"} <= set(kept[0]["machine"])
    assert {"python", "numpy", "dimscope"} <= set(kept[0]["versions"])
    assert (kept[0]["rows"][0]["floor"], kept[0]["rows"][0]["floor_is"]) == (0.5, "guessed")


def test_what_needs_a_rival_is_left_out_and_the_rest_runs(told):
    out, wrong, _ = told([_with_rival, _three_times_as_much], "--json")
    assert [row["name"] for row in json.loads(out[-1])["rows"]] == ["much"]
    assert "_with_rival" in wrong
    assert "pip install 'dimscope[compare]'" in wrong


def test_the_table_says_what_is_met_and_how_far_the_floor_is():
    text = table([_twice_as_fast(True), *_three_times_as_much(True)])
    _, _, fast, much = ([cell.strip() for cell in line.split("|")] for line in text.splitlines())
    assert fast[-4:] == ["yes", "0.5 (guessed)", "2.00×", ""]
    assert much[-4:] == ["NO", "", "", ""]
    assert len({len(line) for line in text.splitlines()}) == 1
