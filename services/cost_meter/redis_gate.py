"""The gate of the ledger: while it is shut, no script of the ledger does anything.

ledger/open        the run id of the Redis process that the ledger was held against the log on; no such key: the gate is shut
ledger/rebuilding  whose turn it is to do so, and on which process; expires
ledger/number      of the opening, as it was announced on the log (daytwo.openings)
ledger/mark        epoch milliseconds: whatever was admitted on the log before is in this state of Redis

Every connection looks before its first command: where the first two are of another process, Redis has restarted, may have lost its
tail or be a copy from earlier, and they are deleted. So no command meets an open gate on a Redis that was not checked. A
flushed Redis has no such key in the first place.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from daytwo.errors import RetryableError

GATE: Final = "ledger/open"
LOCK: Final = "ledger/rebuilding"
MARK: Final = "ledger/mark"
NUMBER: Final = "ledger/number"
LOCK_MS: Final = 6_000
RENEW_S: Final = 1.0

_CLOSE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then redis.call('DEL', KEYS[1]) end
local turn = redis.call('GET', KEYS[2])
if turn and string.sub(turn, -#ARGV[1]) ~= ARGV[1] then redis.call('DEL', KEYS[2]) end
"""
_OPEN: Final = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('SET', KEYS[3], ARGV[3])
redis.call('SET', KEYS[4], ARGV[4])
redis.call('DEL', KEYS[2])
return 1
"""
_RENEW: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
_GIVE_UP: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"
_SET_MARK: Final = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('SET', KEYS[2], ARGV[1]) end"


class ShutError(RetryableError):
    """A call met a shut gate, and had no effect."""

    def __init__(self) -> None:
        super().__init__("store_unavailable", "the ledger is being held against the log")


class Gate:
    def __init__(self, redis: Redis) -> None:
        self.closed = asyncio.Event()
        """Set when a call met a shut gate."""
        self._opened = asyncio.Event()
        self._redis = redis
        self.token = uuid.uuid4().hex

    @staticmethod
    async def greet(connection: Any) -> None:
        """Shuts the gate of a Redis that is not the process it was opened on. For each new connection."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        run_id = _run_id(await connection.read_response())
        await connection.send_command("EVAL", _CLOSE, 2, GATE, LOCK, run_id)
        await connection.read_response()

    def shut(self) -> None:
        self._opened.clear()
        self.closed.set()

    async def opens(self, within_s: float) -> bool:
        """Waits until somebody, who was told that it is shut, finds it open; False: not `within_s` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._opened.wait(), within_s)
        return self._opened.is_set()

    async def is_open(self) -> bool:
        found = await self._redis.exists(GATE) == 1
        if found:
            self._opened.set()
        return found

    async def run_id(self) -> str:
        info: Any = await self._redis.info("server")
        return str(info["run_id"])

    async def take_turn(self, run_id: str) -> bool:
        """True: it is ours to rebuild, for LOCK_MS or until `renew` says otherwise. `LOCK` then is a gate for us alone."""
        return bool(await self._redis.set(LOCK, self.token + run_id, nx=True, px=LOCK_MS))

    async def renew(self, run_id: str) -> bool:
        """False: the turn was lost."""
        return bool(await self._redis.eval(_RENEW, 1, LOCK, self.token + run_id, LOCK_MS))

    async def keep_turn(self, run_id: str, done: asyncio.Event) -> None:
        """Renews it until it is `done`, or lost. No command is cancelled: its reply would be left in the connection."""
        with contextlib.suppress(RedisError, OSError):
            while not done.is_set() and await self.renew(run_id):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), RENEW_S)

    async def give_up(self, run_id: str) -> None:
        await self._redis.eval(_GIVE_UP, 1, LOCK, self.token + run_id)

    async def open(self, run_id: str, mark_ms: int, number: int) -> bool:
        """Opens it for the process `run_id`; False: the turn was lost, as it is when Redis has restarted since."""
        opened = bool(await self._redis.eval(_OPEN, 4, GATE, LOCK, MARK, NUMBER, self.token + run_id, run_id, mark_ms, number))
        if opened:
            self.closed.clear()
            self._opened.set()
        return opened

    async def close(self) -> None:
        """For all: whoever asks is told that it is shut, until it is opened anew."""
        await self._redis.delete(GATE)
        self.shut()

    async def number(self) -> int:
        """Of the latest opening; 0: it has none."""
        return int(await self._redis.get(NUMBER) or 0)

    async def mark(self, at_ms: int) -> None:
        """Says that what was admitted on the log before `at_ms` is in this state."""
        await self._redis.eval(_SET_MARK, 2, GATE, MARK, at_ms)

    async def marked(self) -> int | None:
        """Epoch milliseconds; None: the ledger was emptied, or is new."""
        value = await self._redis.get(MARK)
        return None if value is None else int(value)


def _run_id(info: bytes | str) -> str:
    text = info.decode() if isinstance(info, bytes) else info
    for line in text.splitlines():
        if line.startswith("run_id:"):
            return line.removeprefix("run_id:").strip()
    raise RedisError("INFO server names no run_id")
