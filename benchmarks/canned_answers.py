"""A server that answers with fixed bytes: what a client itself takes for a request."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping


class CannedServer:
    """Answers each POST with the JSON of its path, from a thread of this process."""

    def __init__(self, bodies: Mapping[str, bytes]) -> None:
        self.bodies = {path.encode(): body for path, body in bodies.items()}
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = connection.makefile("rb")
        while head := stream.readline():
            path, length = head.split()[1], 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            stream.read(length)
            body = self.bodies[path]
            fields = b"content-type: application/json\r\ncontent-length: %d" % len(body)
            connection.sendall(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (fields, body))
        connection.close()
