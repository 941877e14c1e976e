"""The shared store of the cache on Redis. No persistence needed; `maxmemory` with an LRU policy is welcome.

    answer:{tenant}/<answer id>    the answer, Avro, until it expires
    draft:{tenant}/<request id>    what a request that went on leaves to learn, Avro, a minute longer than its deadline; empty once ended
    flight:{tenant}/<question>     "<since ms>:<leader's request id>", until the leader's deadline

The braces are part of the keys: a tenant's keys lie in one slot of a Redis Cluster, so that a script may touch several.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from daytwo.batching import Batcher
from daytwo.clock import Clock
from daytwo.codec import decode, encode
from daytwo.errors import RetryableError, UnreadableError
from daytwo.records import AnswerLearned
from daytwo.topics import ANSWER_LEARNED
from services.cache.learning import answer_id
from services.cache.ports import Flight, Recalled, Watched

log = logging.getLogger(__name__)

_DRAFT_MARGIN_MS: Final = 60_000
_AWAY_S: Final = 1.0
"""After a failure nobody tries for so long: requests must not queue before a store that does not answer."""

# A script sent whole costs 1 µs more than its hash and cannot be unknown to a Redis that was restarted.
_ENTER: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local request, now, follow_ms, follow = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local since, leader = now, ''
local flight = redis.call('GET', KEYS[2])
if flight then
  since, leader = string.match(flight, '^(%d+):(.*)$')
  since = tonumber(since)
end
local overdue = now >= since + follow_ms
if follow and not overdue and leader ~= '' and leader ~= request then return flight end
redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[6])
if leader == '' and not overdue then
  redis.call('SET', KEYS[2], string.format('%.0f:%s', since, request), 'PX', ARGV[7])
end
return false
"""
_END: Final = """
redis.call('SET', KEYS[1], '', 'XX', 'KEEPTTL')
local flight = redis.call('GET', KEYS[2])
if not flight then return end
local since, leader = string.match(flight, '^(%d+):(.*)$')
if leader == ARGV[1] then
  if ARGV[2] == '0' then since = '0' end
  redis.call('SET', KEYS[2], since .. ':', 'KEEPTTL')
end
"""
_KEEP: Final = """
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[2], '', 'XX', 'KEEPTTL')
local flight = redis.call('GET', KEYS[3])
if flight and string.match(flight, '^%d+:(.*)$') == ARGV[1] then redis.call('DEL', KEYS[3]) end
"""


class RedisAnswers:
    """`follow_ms`: how long after it began a flight is waited for. Connects by itself, again and again."""

    def __init__(self, url: str, clock: Clock, *, follow_ms: int, timeout_ms: int) -> None:
        self._clock = clock
        self._follow_ms = follow_ms
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout_ms / 1000,
            socket_connect_timeout=timeout_ms / 1000,
            # One more try for a connection that Redis closed meanwhile, none for one that hangs. Every command here may be repeated.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        self._command: Batcher[tuple[Any, ...], Any] = Batcher(self._pipeline, concurrency=2)
        self._away_until = 0.0
        self._away = False

    async def close(self) -> None:
        await self._redis.aclose()

    async def recall(self, tenant: str, answer_id: str, request_id: str) -> Recalled:
        body, draft = await self._command(("MGET", _answer(tenant, answer_id), _draft(tenant, request_id)))
        return Recalled(answer=_decoded(body), went_on=draft is not None)

    async def enter(self, draft: AnswerLearned, *, follow: bool, until_ms: int) -> Flight | None:
        now_ms = self._clock.now_ms()
        left_ms = max(1, until_ms - now_ms)
        keys = (_draft(draft.tenant, draft.request_id), _flight(draft.tenant, draft.question))
        arguments = (
            draft.request_id,
            now_ms,
            self._follow_ms,
            int(follow),
            encode(ANSWER_LEARNED, draft),
            left_ms + _DRAFT_MARGIN_MS,
            left_ms,
        )
        return _flight_of(await self._command(("EVAL", _ENTER, 2, *keys, *arguments)))

    async def watch(self, tenant: str, question: str, leader: str) -> Watched:
        of_leader = _answer(tenant, answer_id(tenant, question, leader))
        body, flight = await self._command(("MGET", of_leader, _flight(tenant, question)))
        return Watched(answer=_decoded(body), flight=_flight_of(flight))

    async def draft(self, tenant: str, request_id: str) -> AnswerLearned | None:
        return _decoded(await self._command(("GET", _draft(tenant, request_id))))

    async def end(self, draft: AnswerLearned, *, another: bool) -> None:
        keys = (_draft(draft.tenant, draft.request_id), _flight(draft.tenant, draft.question))
        await self._command(("EVAL", _END, 2, *keys, draft.request_id, int(another)))

    async def keep(self, answers: Sequence[AnswerLearned], gone: Sequence[tuple[str, str]] = ()) -> None:
        # Every replica keeps every answer, and all of them at its start: most are there already, and asking is cheaper than encoding.
        there = await self._all([("EXISTS", _answer(answer.tenant, answer.answer_id)) for answer in answers])
        missing = [answer for answer, found in zip(answers, there, strict=True) if not found]
        now_ms = self._clock.now_ms()
        await self._all([_keep(answer, now_ms) for answer in missing if answer.expires_at_ms > now_ms])
        await self._all([("DEL", _answer(tenant, each)) for tenant, each in gone])

    async def _all(self, commands: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        results: list[Any] = []
        for start in range(0, len(commands), 256):
            results += await self._pipeline(commands[start : start + 256])
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results

    async def _pipeline(self, commands: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """The result of each command; an error of one command is its result. Raises RetryableError where none has any."""
        if not commands:
            return []
        if self._clock.monotonic() < self._away_until:
            raise RetryableError("store_unavailable", "the cache's Redis is away")
        if self._away:
            self._away_until = self._clock.monotonic() + _AWAY_S  # while these few try again, the others do not wait for it
        pipe = self._redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        try:
            results = await cast("Awaitable[list[Any]]", pipe.execute(raise_on_error=False))
        except (RedisError, OSError) as error:
            raise self._is_away(error) from error
        refused = next((result for result in results if isinstance(result, RedisError)), None)
        if refused is None and self._away:
            log.info("the cache's Redis is back")
            self._away, self._away_until = False, 0.0
        return [self._is_away(result) if isinstance(result, RedisError) else result for result in results]

    def _is_away(self, error: Exception) -> RetryableError:
        self._away_until = self._clock.monotonic() + _AWAY_S
        if not self._away:
            log.warning("the cache's Redis is away, requests go on as misses: %s: %s", type(error).__name__, error)
            self._away = True
        return RetryableError("store_unavailable", f"the cache's Redis: {error}")


def _keep(answer: AnswerLearned, now_ms: int) -> tuple[Any, ...]:
    keys = (
        _answer(answer.tenant, answer.answer_id),
        _draft(answer.tenant, answer.request_id),
        _flight(answer.tenant, answer.question),
    )
    body = encode(ANSWER_LEARNED, replace(answer, vector=None))
    return ("EVAL", _KEEP, 3, *keys, answer.request_id, body, answer.expires_at_ms - now_ms)


def _answer(tenant: str, answer_id: str) -> str:
    return f"answer:{{{tenant}}}/{answer_id}"


def _draft(tenant: str, request_id: str) -> str:
    return f"draft:{{{tenant}}}/{request_id}"


def _flight(tenant: str, question: str) -> str:
    return f"flight:{{{tenant}}}/{question}"


def _decoded(body: bytes | None) -> AnswerLearned | None:
    """What was kept; None where it is not there, emptied, or of a version this one does not know."""
    if not body:
        return None
    try:
        return decode(ANSWER_LEARNED, body)
    except UnreadableError:
        return None


def _flight_of(value: bytes | None) -> Flight | None:
    if value is None:
        return None
    since, _, leader = value.decode().partition(":")
    return Flight(leader=leader, since_ms=int(since))
