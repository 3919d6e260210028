"""Ask a judge, as often as it takes within bounds; what goes wrong ends in a line that holds no key."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_exponential

from vxlab.errors import VxlabError
from vxlab.experiments.judges.judge import USUAL_KEY, Judge
from vxlab.redact import HIDDEN, redact
from vxlab.words import number_of

Messages = list[dict[str, str]]
_NO_KEY = "none"
"""What the client sends where a server wants no key; it must send something."""
_SHOWN = 200
"""Characters of a server's own words in an error."""
_LONGEST_WAIT = 8.0


class Reply(NamedTuple):
    """What a judge said."""

    text: str
    ended: str
    """``stop``, or why else it ended there, such as ``length``"""
    model: str
    """the name that the server answered under"""


class JudgeError(VxlabError):
    """Report that a judge cannot be asked."""


@contextlib.contextmanager
def asking(judge: Judge) -> Iterator[Callable[[Messages], Reply]]:
    """Give a function that asks a judge and returns its reply; it may be called from several threads.

    The client repeats by itself what timed out, was refused for being one too many (429, as long after as the server
    says), or failed in the server or on the way; what arrived and is no reply is asked for again here.

    Args:
        judge: whom to ask.

    Raises:
        VxlabError: the extra ``judge`` is not installed, or the key is not in the environment.
        JudgeError: of the function: all attempts failed, or the server refuses what is asked. It has no cause and no
            context, which could hold a key.
    """
    openai, key = _library(), judge.key()
    client = openai.OpenAI(
        base_url=judge.url,
        api_key=key or _NO_KEY,
        timeout=judge.timeout,
        max_retries=judge.attempts - 1,
        # A proxy of the environment has no way to this machine's own ports.
        http_client=openai.DefaultHttpx2Client(trust_env=False) if judge.on_this_machine else None,
    )
    with client:

        def ask(messages: Messages) -> Reply:
            reply, told = _ask(client, judge, messages)
            if reply is None:
                raise JudgeError(_without_key(f"the judge {judge.model} at {judge.url} {told}", key))
            return Reply(_without_key(reply.text, key), reply.ended, _without_key(reply.model, key))

        yield ask


def _library() -> Any:
    try:
        import openai
    except ModuleNotFoundError:
        raise VxlabError("a judge is asked through the library openai; run: pip install 'vxlab[judge]'") from None
    return openai


def _ask(client: Any, judge: Judge, messages: Messages) -> tuple[Reply | None, str]:
    """Return a reply, or None and what went wrong: what is raised here would carry the client's own errors along."""
    openai = _library()
    again = Retrying(
        retry=retry_if_result(lambda reply: reply is None),
        stop=stop_after_attempt(judge.attempts),
        wait=wait_exponential(multiplier=0.25, max=_LONGEST_WAIT),
        retry_error_callback=_give_up,
    )
    try:
        reply = again(_ask_once, client, judge, messages)
    except openai.OpenAIError as error:
        return None, _explain(error, judge)
    return reply, f"sends what is no reply of a chat ({number_of(judge.attempts, 'attempt')})"


def _give_up(state: RetryCallState) -> None:
    return None


def _ask_once(client: Any, judge: Judge, messages: Messages) -> Reply | None:
    """Return a reply, None where what came is none: no JSON, or JSON of something else."""
    settings = {"temperature": judge.temperature, "max_tokens": judge.max_tokens}
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    try:
        answer = client.chat.completions.create(model=judge.model, messages=messages, **given)
        choice = answer.choices[0]
        text, ended, model = choice.message.content, choice.finish_reason, answer.model
    except (ValueError, TypeError, AttributeError, IndexError):
        return None
    if not (text is None or isinstance(text, str)):
        return None
    return Reply(text or "", str(ended or "stop"), str(model or judge.model))


def _explain(error: Any, judge: Judge) -> str:
    """Say what went wrong and what to do, after the judge's name."""
    openai, tries = _library(), number_of(judge.attempts, "attempt")
    if isinstance(error, openai.APITimeoutError):
        return f"did not answer within {judge.timeout:g} s ({tries}); is it overloaded? Give it a longer timeout"
    if isinstance(error, openai.APIConnectionError):
        return f"cannot be reached ({tries}); is it running, and is the url right?"
    if not isinstance(error, openai.APIStatusError):
        return f"cannot be asked ({type(error).__name__})"
    code, said = error.status_code, _own_words(error)
    if code in (401, 403):
        return f"refuses the key ({code}){said}; is {judge.key_variable or USUAL_KEY} the key of this server?"
    if code == 404:
        return f"is not found there (404){said}; is the url right, with /v1, and the model's name?"
    if code == 429:
        return f"takes no more requests now (429, {tries}){said}; try later, or with a smaller at_once"
    if code >= 500:
        return f"fails ({code}, {tries}){said}; try later"
    return f"refuses what is asked ({code}){said}"


def _own_words(error: Any) -> str:
    said = error.body.get("message") if isinstance(error.body, dict) else error.body
    text = " ".join(said.split()) if isinstance(said, str) else ""
    return f": {text[:_SHOWN]}" if text else ""


def _without_key(text: str, key: str) -> str:
    return redact(text.replace(key, HIDDEN) if key else text)
