"""A local HTTP endpoint that takes everything and keeps nothing, in a process of its own."""

import http.server
import socketserver
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["swallow"]

_ANSWER = b"{}"


@contextmanager
def swallow() -> Iterator[str]:
    """Runs the endpoint; the value is its URL, without a path."""
    command = [sys.executable, str(Path(__file__))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


class _Swallow(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Reads the whole body, however it is framed, and says that all is well."""
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            while length := int(self.rfile.readline().split(b";")[0], 16):
                self.rfile.read(length + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # An empty body is also the shortest valid answer in protobuf.
        body = _ANSWER if "json" in self.headers.get("Content-Type", "") else b""
        self.send_response(200)
        self.send_header("Content-Type", self.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815  # the name is http.server's

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    with _Server(("127.0.0.1", 0), _Swallow) as serving:
        print(serving.server_address[1], flush=True)
        serving.serve_forever()
