"""What a server may do to whoever asks it: be busy, fail, be slow, cut its words off, babble, be gone."""

import socket
import sys
import time
import traceback

import pytest
from stub_judge import Answer, stub_judge

from vxlab import VxlabError
from vxlab.experiments.judges.asking import asking
from vxlab.experiments.judges.judge import Judge

ASKED = [{"role": "user", "content": "How good is it?"}]
KEY = "sk-test-" + 6 * "a1B2c3"


def _judge(url, **changed):
    return Judge(**{"url": url, "model": "stub", "attempts": 2, "timeout": 5.0} | changed)


def _ask(url, **changed):
    with asking(_judge(url, **changed)) as ask:
        return ask(ASKED)


def test_a_good_reply_is_taken_with_the_name_that_answered():
    with stub_judge() as stub:
        assert _ask(stub.url) == ("Rating: [[7]]", "stop", "stub-0613")
    assert stub.asked == [{"model": "stub", "messages": ASKED, "temperature": 0.0, "max_tokens": 2048}]


def test_what_is_left_to_the_server_is_not_sent():
    with stub_judge() as stub:
        _ask(stub.url, temperature=None, max_tokens=None)
    assert stub.asked == [{"model": "stub", "messages": ASKED}]


@pytest.mark.parametrize(
    "bad",
    [
        Answer(status=429, headers={"Retry-After": "0.1"}, body='{"error": {"message": "slow down"}}'),
        Answer(status=500, body='{"error": {"message": "oops"}}'),
        Answer(status=503, body="<html>gone</html>"),
        Answer(cut=True),
        Answer(body='{"choices": [{"mess'),
        Answer(body='{"choices": []}'),
        Answer(body='{"hello": 1}'),
        Answer(body="Rating: [[7]]", headers={"Content-Type": "text/plain"}),
        Answer(body="[]"),
        Answer(after=1.5),
    ],
    ids=["429", "500", "503", "cut off", "half JSON", "no choice", "other JSON", "text", "list", "slow"],
)
def test_a_bad_reply_is_asked_for_again(bad):
    with stub_judge(lambda number, asked: bad if number == 0 else Answer()) as stub:
        assert _ask(stub.url, timeout=0.5).text == "Rating: [[7]]"
        assert len(stub.asked) == 2


def test_it_waits_as_long_as_a_busy_server_says():
    busy = Answer(status=429, headers={"Retry-After": "1.2"}, body="{}")
    with stub_judge(lambda number, asked: busy if number == 0 else Answer()) as stub:
        started = time.monotonic()
        _ask(stub.url)
    assert time.monotonic() - started >= 1.2


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (Answer(status=429, headers={"Retry-After": "0.1"}, body='{"error": {"message": "one too many"}}'),
         r"takes no more requests now \(429, 2 attempts\): one too many"),
        (Answer(status=500, body="{}"), r"fails \(500, 2 attempts\); try later"),
        (Answer(cut=True), "cannot be reached"),
        (Answer(body="{"), r"no reply of a chat \(2 attempts\)"),
        (Answer(after=1.5), r"did not answer within 0.3 s \(2 attempts\)"),
    ],
    ids=["429", "500", "cut off", "half JSON", "slow"],
)  # fmt: skip
def test_attempts_are_bounded(bad, told):
    with stub_judge(lambda number, asked: bad) as stub:
        with pytest.raises(VxlabError, match=told):
            _ask(stub.url, timeout=0.3)
        assert len(stub.asked) == 2


@pytest.mark.parametrize(
    ("status", "told"),
    [(400, r"refuses what is asked \(400\): too long"), (401, "refuses the key"), (404, "is the url right, with /v1")],
)
def test_what_is_refused_is_not_repeated(status, told):
    refused = Answer(status=status, body='{"error": {"message": "too long"}}')
    with stub_judge(lambda number, asked: refused) as stub:
        with pytest.raises(VxlabError, match=told):
            _ask(stub.url)
        assert len(stub.asked) == 1


def test_a_dead_port_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(VxlabError, match=r"cannot be reached \(2 attempts\); is it running"):
        _ask(url)


def test_a_reply_without_words_is_an_empty_one():
    with stub_judge(lambda number, asked: Answer(None, ended="content_filter")) as stub:
        assert _ask(stub.url) == ("", "content_filter", "stub-0613")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with stub_judge() as stub:
        assert _ask(stub.url).ended == "stop"


def test_the_key_is_sent_where_its_variable_is_named_and_nowhere_else(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("MY_JUDGE", KEY)
    with stub_judge() as stub:
        _ask(stub.url)
        assert stub.keys == {"Bearer none"}
        _ask(stub.url, key_variable="MY_JUDGE")
        assert stub.keys == {"Bearer none", f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "told",
    [
        Answer(status=401, body=f'{{"error": {{"message": "Incorrect API key provided: {KEY}."}}}}'),
        Answer(status=500, body=f'{{"error": {{"message": "while {KEY} was looked up"}}}}'),
        Answer(status=400, body=KEY),
        Answer(body=f'{{"Authorization": "{KEY}"'),
    ],
    ids=["401", "500", "400", "half JSON"],
)
def test_a_server_that_shows_the_key_is_not_quoted(told, monkeypatch):
    monkeypatch.setenv("MY_JUDGE", KEY)
    with stub_judge(lambda number, asked: told) as stub, pytest.raises(VxlabError) as caught:
        _ask(stub.url, key_variable="MY_JUDGE")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert KEY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


def test_a_reply_that_holds_the_key_is_taken_without_it(monkeypatch):
    monkeypatch.setenv("MY_JUDGE", KEY)
    with stub_judge(lambda number, asked: Answer(f"You sent {KEY}. [[4]]", model=KEY)) as stub:
        assert _ask(stub.url, key_variable="MY_JUDGE") == ("You sent ***. [[4]]", "stop", "***")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(VxlabError, match=r"pip install 'vxlab\[judge\]'"):
        _ask("http://127.0.0.1:9/v1")
