"""moto's server, one request at a time: run as a script, with the port.

moto is not safe for threads (of 400 concurrent appends about 290 were kept); behind one lock it is exact.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any


def main() -> None:
    """Serve 127.0.0.1 on the given port until killed."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, run_simple

    application, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def one_at_a_time(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with lock:
            return list(application(environment, start_response))

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept
        disable_nagle_algorithm = True  # head and body are written apart, and would wait for each other
        wbufsize = -1

        def log_request(self, *_: Any) -> None:
            """Leave no line for each request."""

    run_simple("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True, request_handler=Handler)


if __name__ == "__main__":
    main()
