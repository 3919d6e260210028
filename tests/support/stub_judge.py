"""A judge's server on loopback, which says what a test tells it to and counts what it was asked."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Say = Callable[[int, dict[str, Any]], "Answer"]


class Answer:
    """What the server sends.

    Args:
        text: of the reply.
        status: of HTTP.
        headers: further ones.
        body: sent in place of a reply.
        ended: why the reply ended.
        after: seconds to wait.
        cut: announce more bytes than are sent.
        model: the name to answer under.
    """

    def __init__(
        self,
        text: str | None = "Rating: [[7]]",
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        body: str | None = None,
        ended: str = "stop",
        after: float = 0.0,
        cut: bool = False,
        model: str = "stub-0613",
    ) -> None:
        self.status, self.headers, self.after, self.cut = status, headers or {}, after, cut
        message = {"role": "assistant", "content": text}
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": model,
                 "choices": [{"index": 0, "message": message, "finish_reason": ended}]}  # fmt: skip
        self.body = json.dumps(reply) if body is None else body


class Stub:
    """Count requests and answer them.

    Args:
        say: of a request's number, from 0, and its content, what is sent.
    """

    def __init__(self, say: Say) -> None:
        self.say, self.asked, self.keys = say, list[dict[str, Any]](), set[str]()
        self._lock = threading.Lock()
        self.url = ""

    def answer(self, asked: dict[str, Any], key: str) -> Answer:
        with self._lock:
            number = len(self.asked)
            self.asked.append(asked)
            self.keys.add(key)
        return self.say(number, asked)


@contextmanager
def stub_judge(say: Say = lambda number, asked: Answer()) -> Iterator[Stub]:
    """Serve a stub on a free port of loopback."""
    stub = Stub(say)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = stub.answer(asked, self.headers.get("Authorization", ""))
            time.sleep(found.after)
            body = found.body.encode()
            try:
                self.send_response(found.status)
                for name, value in {"Content-Type": "application/json", **found.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body) + 50 * found.cut))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # who asked has gone
                self.close_connection = True
            if found.cut:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
