"""Passwords and tokens in texts: found, taken out, refused where a text is kept or seen by others."""

import os
import re

from vxlab.errors import VxlabError

HIDDEN = "***"
_NAMES = r"(?:password|passwd|pwd|sslpassword|passphrase|secret|token|access_token|api_key|apikey)"
_WORD = r"[^\s'\"<>]"
_PATTERNS = (
    re.compile(rf"([A-Za-z][\w+.-]*://[^\s:/@'\"<>]*:)(?!{re.escape(HIDDEN)}@){_WORD}+(?=@)"),  # user:password@host
    re.compile(
        rf"([A-Za-z][\w+.-]*://{_WORD}*?[?&;]{_NAMES}=)(?!{re.escape(HIDDEN)})[^\s&;'\"<>]+", re.IGNORECASE
    ),  # ?password=…
    re.compile(r"(\b)hf_[A-Za-z0-9]{16,}"),  # a token of the model hub
    re.compile(
        r"(\b)(?:(?:sk|gsk|xai|nvapi|pplx|csk)[-_](?=[\w-]*\d)[\w-]{20,}|AIza[\w-]{30,})"
    ),  # keys of models' services
)
_WHOLE = (
    re.compile(
        rf"(?:^|=)\s*[A-Za-z][\w+.-]*://[^:/@]*:(?!{re.escape(HIDDEN)}@)[^@]+@"
    ),  # with a blank in the password, too
    re.compile(rf"(?:^|\s){_NAMES}\s*=\s*\S", re.IGNORECASE),  # host=… password=…
)
_HELD = re.compile(r"(?:PASSWORD|PASSWD|TOKEN|SECRET|API_KEY)$")
_SHORTEST = 6
"""Characters of a secret of the environment that is looked for: a shorter one would be found by chance."""


def redact(text: str) -> str:
    r"""Return a text with ``***`` for passwords of URLs, tokens of the hub, keys of services, and the environment's.

    >>> redact("store postgresql://me:pa%40ss@host/db?sslpassword=x is away")
    'store postgresql://me:***@host/db?sslpassword=*** is away'
    """
    for pattern in _PATTERNS:
        while (shown := pattern.sub(rf"\1{HIDDEN}", text)) != text:  # several in one query
            text = shown
    for secret in _held():
        if secret in text:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)
    return text


def holds_secret(text: str) -> bool:
    """Say whether a text is, or holds, a URL with a password, a connection string with one, a token or a key.

    >>> holds_secret("postgresql://me@host/db"), holds_secret("postgresql://me:s3cret@host/db")
    (False, True)
    """
    return any(pattern.search(text) for pattern in (*_PATTERNS, *_WHOLE))


def refuse_secret(what: str, text: str) -> None:
    """Refuse a text with a password or a token.

    Args:
        what: is given, for the message, which does not show the text.
        text: as it was given.

    Raises:
        VxlabError: it holds one.
    """
    if holds_secret(text):
        raise VxlabError(
            f"{what} holds a password or a token, which others could read; leave it out of the URL "
            "(postgresql+psycopg://user@host/database) and give it by PGPASSWORD or ~/.pgpass, a hub's by HF_TOKEN, a "
            "judge's by OPENAI_API_KEY"
        )


def _held() -> set[str]:
    """Return the secrets that the environment holds, such as PGPASSWORD's and HF_TOKEN's."""
    return {value for name, value in os.environ.items() if _HELD.search(name) and len(value) >= _SHORTEST}
