"""A judge's settings, and keys in the wrong place: refused, and never shown."""

import pickle

import pytest

from vxlab import Judge, VxlabError

KEY = "sk-proj-" + 6 * "a1B2c3"
PLAIN = "9f3c" * 8
HERE = "http://127.0.0.1:8000/v1"


def _refused(**given):
    with pytest.raises(VxlabError) as caught:
        Judge(**{"url": HERE, "model": "judge"} | given)
    shown = str(caught.value) + repr(caught.value) + repr(caught.value.__context__)
    for secret in (KEY, PLAIN, "s3cret", KEY[:12]):
        assert secret not in shown
    return str(caught.value)


@pytest.mark.parametrize("key", [KEY, PLAIN, f"Bearer {KEY}", "gsk_" + 5 * "a1B2c3", "hf_" + 5 * "a1B2c3"])
@pytest.mark.parametrize("field", ["model", "url", "key_variable", "temperature", "timeout", "attempts", "max_tokens"])
def test_a_key_in_a_field_is_refused_and_not_shown(field, key):
    assert f"Judge {field}" in _refused(**{field: key})


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{KEY}@host/v1", "https://me:s3cret@host/v1", f"https://{KEY}@host/v1", "https://s3cret@host/v1",
        "https://host/v1?api_key=s3cret", "https://host/v1#s3cret", f"https://host/{KEY}/v1", "s3cret", "host:s3cret",
        "ftp://host/s3cret", "https:///s3cret", "https://host:s3cret/v1", "https://ho st/s3cret",
    ],
)  # fmt: skip
def test_a_key_in_the_url_is_refused_and_not_shown(url):
    assert _refused(url=url).startswith("Judge url ")


def test_a_key_of_the_environment_is_known_whatever_its_shape(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "correct horse battery")
    with pytest.raises(VxlabError, match=r"Judge model holds what looks like a key \(not shown\)"):
        Judge(url=HERE, model="correct horse battery")


@pytest.mark.parametrize(
    "model",
    ["gpt-4-0613", "claude-3-5-sonnet-20241022", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "Qwen2.5-72B-Instruct-AWQ",
     "/models/SmolLM2-135M-Instruct@main", "deepseek-r1-distill-qwen-32b", "mistral:7b-instruct-v0.3-q4_K_M",
     f"/hub/models--org--name/snapshots/{5 * '0123abcd'}"],
)  # fmt: skip
def test_names_of_models_are_no_keys(model):
    assert Judge(url=HERE, model=model).model == model


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"model": " "}, "names nothing"),
        ({"temperature": -1}, "choose 0 or more"),
        ({"temperature": float("nan")}, "not finite"),
        ({"attempts": 0}, "choose 1 or more"),
        ({"at_once": 0}, "choose 1 or more"),
        ({"max_tokens": 0}, "choose 1 or more"),
        ({"timeout": 0}, "not a positive number"),
        ({"model": None}, "Judge model=None is a NoneType"),
    ],
)
def test_bad_settings_are_refused(given, told):
    assert told in _refused(**given)


def test_the_key_is_the_environments_when_it_is_asked_for(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    judge = Judge(url="https://judge.example/v1", model="judge")
    with pytest.raises(VxlabError, match="needs a key, and OPENAI_API_KEY is not set"):
        judge.key()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert judge.key() == KEY
    assert KEY not in repr(judge) + str(judge.__dict__) + str(pickle.dumps(judge))
    named = Judge(url="https://judge.example/v1", model="judge", key_variable="JUDGE_KEY")
    with pytest.raises(VxlabError, match="JUDGE_KEY is not set"):
        named.key()
    monkeypatch.setenv("JUDGE_KEY", f"{KEY}\n{KEY}")
    with pytest.raises(VxlabError, match="characters that no request can carry") as caught:
        named.key()
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("url", [HERE, "http://localhost:1/v1", "http://[::1]:1/v1", "http://127.1.2.3/v1"])
def test_a_server_on_this_machine_needs_no_key(url, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert Judge(url=url, model="judge").key() == ""


@pytest.mark.parametrize("url", ["http://localhost.example/v1", "http://10.example/v1", "https://host/v1"])
def test_other_machines_are_other_machines(url):
    assert not Judge(url=url, model="judge").on_this_machine
