"""What supervisord says about the programs it runs: XML-RPC over its unix socket. supervisor itself need not be installed."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 5.0
PREFIX = "unix://"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.close()
            raise


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        # Where the parent class keeps it, and closes it.
        self._connection = host, _UnixConnection(self._path)
        return self._connection[1]


def processes(address: str) -> Mapping[str, Mapping[str, Any]]:
    """Each program by name, with statename and pid; empty where no supervisord answers at `unix://PATH`."""
    path = address.removeprefix(PREFIX)
    if not address.startswith(PREFIX) or not Path(path).exists():
        return {}
    try:
        with xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(path)) as proxy:
            found: Any = proxy.supervisor.getAllProcessInfo()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return {}
    return {process["name"]: process for process in found}
