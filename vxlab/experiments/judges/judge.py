"""The judge: which model, on which server, and how it is asked. Its key is the environment's, and is never here."""

import dataclasses
import ipaddress
import math
import os
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from vxlab.checks import require_count, require_positive, settle_fields
from vxlab.errors import VxlabError
from vxlab.redact import holds_secret

NO_JUDGE = (
    "No judge was given, so no answer was rated. Any OpenAI-compatible server will do: "
    "vxlab.Judge(url='http://127.0.0.1:8000/v1', model='its name there')."
)
"""What stands in the place of ratings where there is no judge."""
USUAL_KEY = "OPENAI_API_KEY"
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+){1,5}")
_TEXTS = ("url", "model", "key_variable")
_SHAPES = (
    re.compile(r"\b(?:sk-|eyJ)(?=[\w-]*\d)[\w-]{10,}|(?i:\bbearer\s)"),
    re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{24,}"),
)
"""Of keys, beside those that are known wherever they stand: cut short, and of random letters and digits."""
_SNAPSHOT = re.compile(r"(?<=/snapshots/)[0-9a-f]{40}(?![0-9A-Za-z])")
"""The commit in the folder of a model from the hub, which servers take for the model's name."""
_SHORTEST = 12
"""Characters of a key that is looked for inside other texts: `ollama` may be one, and a server's name."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A model that rates answers, on any server that speaks OpenAI's chat completions.

    The key is read from the environment when the judge is asked, and stands nowhere else.

    >>> Judge(url="http://127.0.0.1:8000/v1", model="my-judge").temperature
    0.0
    """

    url: str
    """of the server, mostly ending in /v1; without user, password and query"""
    model: str
    """its name there"""
    temperature: float | None = 0.0
    """0 or more; None leaves it to the server"""
    max_tokens: int | None = 2048
    """of a reply; None leaves it to the server"""
    timeout: float = 120.0
    """seconds to wait for a reply"""
    attempts: int = 5
    """tries at a reply: where the server is busy, fails, is too slow or sends what is no reply"""
    at_once: int = 4
    """requests that wait for a reply at the same time"""
    key_variable: str | None = None
    """the *name* of the environment's variable that holds the key; None: OPENAI_API_KEY, and none for a server on this
    machine"""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._refuse_key(field.name)
        settle_fields(self, "Judge ")
        _require_server(self.url)
        if not self.model.strip():
            raise VxlabError("Judge model='' names nothing; give the judge's name as its server knows it")
        if self.temperature is not None and not 0 <= self.temperature < math.inf:
            raise VxlabError(f"Judge temperature={self.temperature} is below 0; choose 0 or more, or None")
        for name in ("attempts", "at_once", "max_tokens"):
            if getattr(self, name) is not None:
                require_count(f"Judge {name}", getattr(self, name))
        require_positive("Judge timeout", self.timeout)

    def _refuse_key(self, name: str) -> None:
        """Refuse a field that may hold a key; it is not shown."""
        value = getattr(self, name)
        if name == "key_variable" and value is not None and not (isinstance(value, str) and _VARIABLE.fullmatch(value)):
            raise VxlabError(
                "Judge key_variable is not the name of an environment variable in capital letters with a _ in it, such "
                f"as {USUAL_KEY} (what was given is not shown, for it may be the key itself); put the key into the "
                "environment, and its variable's name here"
            )
        if isinstance(value, str) and name not in _TEXTS:
            raise VxlabError(f"Judge {name} is a text (not shown, for it may be a key); give a number")
        if isinstance(value, str) and looks_like_key(value):
            raise VxlabError(
                f"Judge {name} holds what looks like a key (not shown); a key is read from the environment alone: set "
                f"{USUAL_KEY}, or name its variable by key_variable"
                + ("; if it is the model's name, have its server know it by a plainer one" if name == "model" else "")
            )

    @property
    def on_this_machine(self) -> bool:
        """Whether the server is on loopback."""
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def key(self) -> str:
        """Return the key from the environment, "" where the server is on this machine and no variable was named.

        Raises:
            VxlabError: the variable is not set, or holds what no request could carry.
        """
        if self.key_variable is None and self.on_this_machine:
            return ""
        name = self.key_variable or USUAL_KEY
        key = os.environ.get(name, "").strip()
        if not key:
            raise VxlabError(
                f"the judge {self.model} at {self.url} needs a key, and {name} is not set in the environment; set it "
                "there, to any word where the server asks for none"
            )
        if not (key.isascii() and key.isprintable()):
            raise VxlabError(f"{name} holds characters that no request can carry; set it to the key alone")
        return key


def looks_like_key(text: str) -> bool:
    """Say whether a text holds one of the environment's keys, or what has the shape of one.

    >>> looks_like_key("gpt-4-0613"), looks_like_key("meta-llama/Llama-3.3-70B-Instruct-Turbo"), looks_like_key(
    ...     "sk-" + 8 * "a1B2")
    (False, False, True)
    """
    held = {value for name, value in os.environ.items() if re.search("KEY|TOKEN|SECRET|PASS", name)}
    own = any(value.strip() in text for value in held if len(value.strip()) >= _SHORTEST)
    return own or holds_secret(text) or any(shape.search(_SNAPSHOT.sub("", text)) for shape in _SHAPES)


def _require_server(url: str) -> None:
    """Refuse what is no plain address of a server, without showing more of it than is safe."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise VxlabError("Judge url is no address of a server; write http://host:port/v1 or https://host/v1")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise VxlabError(
            f"Judge url holds a user or a password (not shown); write {parts.scheme}://{parts.hostname}/v1, and put "
            f"the key into the environment as {USUAL_KEY}"
        )
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise VxlabError("Judge url holds a query (not shown, for it may be a key); write it without ? and #")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port that is none raises here
    except ValueError:
        return None
    return parts if re.fullmatch(r"[\x21-\x7e]+", url) else None
