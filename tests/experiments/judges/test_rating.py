"""Ratings asked for: each once, kept as it comes, asked for again where there is none in what was said."""

import itertools
import subprocess
import sys
import time

import pytest
from places import ROOT
from stub_judge import Answer, stub_judge

from vxlab import VxlabError
from vxlab.experiments.judges.judge import Judge
from vxlab.experiments.judges.rating import TRIES, Wanted, rate
from vxlab.experiments.store import Store


def _wanted(count, repeats=1):
    return [
        Wanted([{"role": "user", "content": f"How good is {number}?"}], repeat, number, 1)
        for number in range(count)
        for repeat in range(repeats)
    ]


def _judge(url, **changed):
    return Judge(**{"url": url, "model": "stub", "attempts": 1, "timeout": 5.0} | changed)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        yield store


def test_nothing_is_asked_twice(store):
    done = []
    with stub_judge(lambda number, asked: Answer(f"[[{1 + number % 9}]]")) as stub:
        first = rate(_wanted(6, 2), _judge(stub.url), store, done.append)
        assert (len(stub.asked), sum(done)) == (12, 12)
        assert rate(_wanted(6, 2), _judge(stub.url), store) == first
        more = rate(_wanted(6, 3), _judge(stub.url), store)
        assert len(stub.asked) == 18
    assert [each for each in more if each in first] == first
    with stub_judge() as elsewhere:
        assert rate(_wanted(6, 2), _judge(elsewhere.url), store) == first
        assert elsewhere.asked == []


@pytest.mark.parametrize("change", [{"model": "other"}, {"temperature": 0.7}, {"max_tokens": 64}])
def test_another_judge_is_asked_anew(store, change):
    with stub_judge() as stub:
        rate(_wanted(2), _judge(stub.url), store)
        rate(_wanted(2), _judge(stub.url, **change), store)
        assert len(stub.asked) == 4


def test_what_asks_the_same_is_asked_once(store):
    with stub_judge(lambda number, asked: Answer(f"[[{1 + number}]]")) as stub:
        assert [each.rating for each in rate(_wanted(1) * 3, _judge(stub.url), store)] == [1.0] * 3
        assert len(stub.asked) == 1


def test_a_reply_without_a_rating_is_asked_for_again(store):
    said = itertools.cycle([Answer("Hm."), Answer("It is", ended="length"), Answer("[[6]]")])
    with stub_judge(lambda number, asked: next(said)) as stub:
        (found,) = rate(_wanted(1), _judge(stub.url), store)
        assert (found.rating, found.unparsable, len(stub.asked)) == (6.0, 2, 3)
        assert rate(_wanted(1), _judge(stub.url), store) == [found]
        assert len(stub.asked) == 3


def test_a_judge_that_babbles_is_asked_no_more_than_so_often(store):
    with stub_judge(lambda number, asked: Answer("Lovely weather.")) as stub:
        found = rate(_wanted(3), _judge(stub.url), store)
        assert [(each.rating, each.unparsable) for each in found] == [(None, TRIES)] * 3
        rate(_wanted(3), _judge(stub.url), store)
        assert len(stub.asked) == 3 * TRIES


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_judge_that_fails_in_the_midst_is_told_and_what_it_said_is_kept(store, at_once):
    failing = [True]

    def say(number, asked):
        return Answer(status=500, body="{}") if failing[0] and number >= 5 else Answer("[[8]]")

    with stub_judge(say) as stub:
        with pytest.raises(VxlabError, match=r"fails \(500, 1 attempt\)[^\n]*\n5 of 12 ratings are kept in .*runs\.db"):
            rate(_wanted(12), _judge(stub.url, at_once=at_once), store)
        assert len(stub.asked) <= 5 + 2 * at_once
        failing[0], before = False, len(stub.asked)
        assert [each.rating for each in rate(_wanted(12), _judge(stub.url), store)] == [8.0] * 12
        assert len(stub.asked) == before + 7


def test_as_many_wait_at_once_as_are_allowed(store):
    waiting, most = [], []

    def say(number, asked):
        waiting.append(number)
        most.append(len(waiting))
        time.sleep(0.05)
        waiting.remove(number)
        return Answer()

    with stub_judge(say) as stub:
        rate(_wanted(12), _judge(stub.url, at_once=3), store)
    assert max(most) == 3


_KILLED = """
import sys
from vxlab.experiments.judges.judge import Judge
from vxlab.experiments.judges.rating import Wanted, rate
from vxlab.experiments.store import Store
wanted = [Wanted([{"role": "user", "content": f"How good is {number}?"}], 0, number, 1) for number in range(10)]
rate(wanted, Judge(url=sys.argv[1], model="stub", attempts=1, at_once=1), Store(sys.argv[2]))
"""


def test_killed_and_resumed_nothing_is_asked_twice(tmp_path):
    """The seventh request waits without end, so that six replies are kept when the process is killed."""
    held = [True]
    with stub_judge(lambda number, asked: Answer(after=20.0 * (held[0] and number == 6))) as stub:
        process = subprocess.Popen([sys.executable, "-c", _KILLED, stub.url, str(tmp_path / "runs.db")], cwd=ROOT)
        end = time.monotonic() + 60
        while len(stub.asked) < 7:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
        held[0] = False
        with Store(tmp_path / "runs.db") as store:
            found = rate(_wanted(10), _judge(stub.url), store)
        assert [each.rating for each in found] == [7.0] * 10
        assert len(stub.asked) == 7 + 4
        asked = [each["messages"][0]["content"] for each in stub.asked]
        assert {each for each in asked if asked.count(each) > 1} == {asked[6]}  # which never had a reply
