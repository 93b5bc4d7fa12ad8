"""The tools of `mcp_server` by HTTP, at an address that is printed once it can be connected to."""

from __future__ import annotations

import uvicorn
from mcp.server.mcpserver import MCPServer

from pinxit.serve.connections import bind_socket


def serve_http(server: MCPServer, host: str, port: int) -> None:
    """Serve until a signal; port 0: a free one. Raises PinxitError for a port in use."""
    listener = bind_socket(host, port)
    app = server.streamable_http_app(host=host)
    listener.listen(2048)
    shown_host = f"[{host}]" if ":" in host else host
    print(f"http://{shown_host}:{listener.getsockname()[1]}/mcp", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
