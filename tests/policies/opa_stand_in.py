"""A server that speaks OPA's documented `POST /v1/data/…` over HTTP and answers through OPA's own engine.

A process of its own, as OPA is: the engine is one per process and must not be loaded before a fork. Prints its port.

    python opa_stand_in.py FOLDER
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from opa_bindings import OpaEngine
from opa_bindings.engine import OpaUndefinedError


class Handler(BaseHTTPRequestHandler):
    """https://www.openpolicyagent.org/docs/rest-api, as much as asks for a decision."""

    protocol_version = "HTTP/1.1"
    engine: OpaEngine

    def do_GET(self) -> None:
        self._answer(200, {}) if self.path == "/health" else self._answer(404, {"code": "resource_not_found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        root, _, decision = self.path.lstrip("/").partition("/data/")
        if root != "v1" or not decision:
            self._answer(404, {"code": "resource_not_found", "message": "no such thing"})
            return
        try:
            question = json.loads(body)["input"] if body else None
        except (ValueError, KeyError, TypeError):
            self._answer(400, {"code": "invalid_parameter", "message": "body contains malformed input document"})
            return
        try:
            result = self.engine.eval_document(decision.replace("/", "."), question)
        except OpaUndefinedError:
            self._answer(200, {})  # an undefined decision has no `result`
        else:
            self._answer(200, {"result": result})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main(folder: Path) -> None:
    with OpaEngine() as engine:
        for path in sorted(folder.glob("*.rego")):
            engine.add_policy(path.name, path.read_text(encoding="utf-8"))
        Handler.engine = engine
        server = HTTPServer(("127.0.0.1", 0), Handler)
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
