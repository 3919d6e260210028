"""Passwords and tokens: taken out of what is shown, refused in what is kept."""

import pytest

from vxlab import VxlabError
from vxlab.cli import commands as cli
from vxlab.redact import holds_secret, redact, refuse_secret

TOKEN = "hf_" + "a1B2" * 8
KEYS = ["sk-" + "a1B2" * 12, "sk-proj-" + "a1-B_2" * 8, "gsk_" + "a1B2" * 8, "xai-" + "a1B2" * 8, "AIza" + "a1B2" * 9]
SECRET_URLS = [
    "postgresql+psycopg://me:s3cret@host/db",
    "postgresql://me:s3cret@host:port/db",
    "postgresql://me:s3%40cr%2Fet@host/db",
    "postgresql://:s3cret@host/db",
    "postgresql://me:s3c@ret@host/db",
    "postgresql://me@host/db?password=s3cret",
    "postgresql://me@host/db?sslmode=require&sslpassword=s3cret&password=s3cret2",
    f"https://me:{TOKEN}@huggingface.co/me/model",
    f"https://huggingface.co/me/model?token={TOKEN}",
]
PLAIN = [
    "postgresql+psycopg://me@host/db?sslmode=require",
    "postgresql://me:***@host/db",
    "sqlite:///runs.db",
    "https://huggingface.co/a:b@c",
    "see https://example.org:80, or ask me@example.org",
    "hf_small",
    "risk-adjusted-returns-of-2024-and-2025",
    "sk-learn",
    "pad_token=[PAD]",
    "",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_a_url_is_shown_without_its_secret(url):
    shown = redact(f"store {url!r} cannot be reached")
    assert "***" in shown
    assert not any(each in shown for each in ("s3c", "cr%2Fet", "ret@", TOKEN))
    assert holds_secret(url)
    assert shown.endswith("cannot be reached")


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_a_models_service_is_known_by_its_shape(key):
    assert redact(f"model={key!r} is unknown") == "model='***' is unknown"
    assert holds_secret(f"--model={key}")
    with pytest.raises(VxlabError, match="a judge's by OPENAI_API_KEY") as said:
        refuse_secret("the command line", key)
    assert key not in str(said.value)


@pytest.mark.parametrize("text", PLAIN)
def test_what_holds_no_secret_is_left_alone(text):
    assert redact(text) == text
    assert not holds_secret(text)


@pytest.mark.parametrize("text", ["postgresql://me:my s3cret@host/db", "host=here user=me password=s3cret", TOKEN])
def test_a_secret_is_refused_by_the_name_of_what_holds_it_and_not_shown(text):
    with pytest.raises(
        VxlabError, match=r"^parameter store holds a password or a token, .* PGPASSWORD or ~/\.pgpass"
    ) as said:
        refuse_secret("parameter store", text)
    assert "s3cret" not in str(said.value)
    assert TOKEN not in str(said.value)


def test_secrets_of_the_environment_are_taken_out_whole_words_only(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "postgres")
    monkeypatch.setenv("HF_TOKEN", "tiny")
    assert redact("postgres, postgresql and tiny") == "***, postgresql and tiny"


@pytest.mark.parametrize("url", SECRET_URLS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["sweep", "wanted.yaml", "--store", "URL"],
        ["sweep", "wanted.yaml", "--store=URL"],
        ["sweep", "URL"],
        ["report", "00_start", "-p", "store", "URL"],
        ["report", "URL"],
        ["assets", "URL"],
        ["nonsense", "URL"],
    ],
)
def test_the_command_line_takes_no_secret_and_shows_none(url, arguments, capsys):
    assert cli.main([text.replace("URL", url) for text in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vxlab: the command line holds a password or a token")
    assert "s3c" not in err
    assert TOKEN not in err
