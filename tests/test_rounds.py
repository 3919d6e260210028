"""benchmarks/rounds.py: every step has its turn in every round."""

from rounds import interleaved_seconds, ratio

from vxlab.experiments.costs import step as step_cost


def test_steps_are_timed_in_turn_every_other_round_backwards():
    ran: list[str] = []
    steps = {name: (lambda name=name: ran.append(name)) for name in "abc"}
    seconds = interleaved_seconds(steps, rounds=3, warm_ups=2)
    assert "".join(ran) == "aabbcc" + "abc" + "cba" + "abc"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_seconds_are_those_of_the_step_in_round_order(monkeypatch):
    clock = iter([0.0, 1.0, 10.0, 12.0, 20.0, 23.0, 30.0, 34.0])
    monkeypatch.setattr(step_cost.time, "perf_counter", lambda: next(clock))
    seconds = interleaved_seconds({"a": int, "b": int}, rounds=2)
    assert seconds == {"a": [1.0, 4.0], "b": [2.0, 3.0]}


def test_ratios_are_taken_round_by_round():
    # In each round ours takes twice as long, whatever the machine does meanwhile.
    assert ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) == (2.0, 2.0, 2.0)
    assert ratio([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5) == (3.0, 2.0, 4.0)
