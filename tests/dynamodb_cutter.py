"""A proxy before a DynamoDB server that cuts off answers, whose headers stand in the order that AWS has them in."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ORDER = ("Date", "Content-Type", "Content-Length", "x-amzn-RequestId", "x-amz-crc32")
"""The checksum comes after the length: in between an answer can be cut off that tells one and not the other."""


@dataclass
class Cutter:
    """What is cut off.

    Attributes:
        url: where the proxy is.
        keep: how many bytes of an answer are passed on, None for all.
        operation: the one whose answers are cut off, such as "GetItem"; "" for all.
        times: how many answers.
        length: of the last answer in bytes.
        head: how many of them are status line and headers.
    """

    url: str = ""
    keep: int | None = None
    operation: str = ""
    times: int = 1_000
    length: int = 0
    head: int = 0

    def passed_on(self, operation: str, answer: bytes) -> bytes:
        """What is passed on of an answer."""
        self.length, self.head = len(answer), answer.index(b"\r\n\r\n") + 4
        if self.keep is None or not operation.endswith(self.operation) or not self.times:
            return answer
        self.times -= 1
        return answer[: self.keep]

    def cut(self, keep: int | None, operation: str = "", times: int = 1_000) -> None:
        """Cut off the next answers."""
        self.keep, self.operation, self.times = keep, operation, times


@contextmanager
def cutter_before(url: str) -> Iterator[Cutter]:
    """A proxy before the server at a URL."""
    server, cutter = urlsplit(url).netloc, Cutter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            upstream = http.client.HTTPConnection(server)
            upstream.request("POST", self.path, request, dict(self.headers))
            answer = upstream.getresponse()
            body = answer.read()
            upstream.close()
            lines = [
                f"HTTP/1.1 {answer.status} {answer.reason}",
                *(f"{name}: {answer.headers[name]}" for name in ORDER),
            ]
            whole = "\r\n".join([*lines, "", ""]).encode() + body
            sent = cutter.passed_on(self.headers["X-Amz-Target"], whole)
            self.wfile.write(sent)
            self.close_connection = len(sent) < len(whole)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        cutter.url = f"http://127.0.0.1:{proxy.server_address[1]}"
        try:
            yield cutter
        finally:
            proxy.shutdown()
