"""moto's DynamoDB, one request at a time: run as a script, with the port.

moto is not safe for threads (of 400 concurrent appends about 290 were kept); behind one lock it is exact. Its own
server closes every connection after one request, which costs more than the request; this one keeps them.
"""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import Any


def main() -> None:
    """Serve 127.0.0.1 on the given port until killed."""
    from moto.moto_server.werkzeug_app import create_backend_app

    application: Callable[..., Any] = create_backend_app("dynamodb")
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept
        disable_nagle_algorithm = True
        wbufsize = -1  # head and body go together

        def do_GET(self) -> None:
            """Carry out one request, as a WSGI server does."""
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                with lock:
                    content = b"".join(application(self._environment(body), self._begin))
            except Exception as error:  # noqa: BLE001 -- moto has faults of its own; a server goes on
                self._begin("500 Internal Server Error", [("Content-Type", "text/plain")])
                content = repr(error).encode()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()

        do_POST = do_GET  # noqa: N815 -- the name that http.server looks for

        def _environment(self, body: bytes) -> dict[str, Any]:
            headers = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in self.headers.items()}
            return {
                **headers,
                "REQUEST_METHOD": self.command,
                "PATH_INFO": self.path,
                "QUERY_STRING": "",
                "SERVER_NAME": "127.0.0.1",
                "SERVER_PORT": sys.argv[1],
                "SERVER_PROTOCOL": self.request_version,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "wsgi.version": (1, 0),
                "wsgi.url_scheme": "http",
                "wsgi.input": BytesIO(body),
                "wsgi.errors": sys.stderr,
                "wsgi.multithread": True,
                "wsgi.multiprocess": False,
                "wsgi.run_once": False,
            }

        def _begin(self, status: str, headers: list[tuple[str, str]], _error: object = None) -> Callable[[bytes], None]:
            code, _, words = status.partition(" ")
            self.send_response_only(int(code), words)
            for name, text in headers:
                if name.lower() not in ("content-length", "connection"):
                    self.send_header(name, text)
            return lambda _content: None

        def log_message(self, *_: Any) -> None:
            """Leave no line for each request."""

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
