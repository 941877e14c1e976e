"""One request: which attempts it needs, one after another, until it is answered or cannot be in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from daytwo.clock import Clock
from daytwo.errors import DaytwoError, DisownedError, RetryableError
from daytwo.flow import Context, Output
from daytwo.records import AttemptFinished, AttemptStarted, DeploymentConfigured, Quote, RequestFinished, RequestGrounded
from daytwo.topic import Record
from services.inference_router import booking, endings
from services.inference_router.chat_answer import refusal
from services.inference_router.deployments import Deployments, Door
from services.inference_router.journal import Attempts, Journal, attempt_id
from services.inference_router.lanes import Place
from services.inference_router.ports import Provider, Reply, Silence
from services.inference_router.prompt import chat_body
from services.inference_router.retry import RetryPolicy, health, verdict
from services.inference_router.routing import Condition, choose, order

ReadAgain = Callable[[int, int], Awaitable[None]]

ELSEWHERE_S: Final = 0.5
"""How often a router looks whether what another one does has ended."""
ASK_AGAIN_S: Final = 0.2
"""Before a request is asked for again, as the ledger may be held against the log still."""
LOGGED_MS: Final = 2_000
"""A call's end is on the journal so long after the call's time-out."""


@dataclass(slots=True)
class _Course:
    """A request on its way. `rests_until`: monotonic seconds before which a deployment that failed it is not used again."""

    grounded: RequestGrounded
    context: Context
    attempts: Attempts
    route: list[DeploymentConfigured]
    tries: dict[str, int] = field(default_factory=dict)
    rests_until: dict[str, float] = field(default_factory=dict)
    learned: set[str] = field(default_factory=set)
    """Attempts whose end has been taken into account."""
    refusal: str = ""

    @property
    def deadline_ms(self) -> int:
        return self.grounded.request.deadline_ms

    def quote(self, deployment: str) -> Quote:
        return next(quote for quote in self.grounded.admission.quotes if quote.deployment == deployment)

    def left_s(self, now_ms: int) -> float:
        return (self.deadline_ms - now_ms) / 1000


class Router:
    """Handles grounded requests.

    Whatever was bought is on the log before the result is: were both sent at once, the result could be there without
    its attempt, and a request that came again would be bought again. It costs one more acknowledgement.
    """

    def __init__(
        self,
        deployments: Deployments,
        journal: Journal,
        provider: Provider,
        clock: Clock,
        rng: Random,
        policy: RetryPolicy,
        *,
        name: str = "",
        read_again: ReadAgain,
        latest_opening: Callable[[], Awaitable[int]],
    ) -> None:
        """`name`: of this process among the routers, stable over restarts. `read_again` reads a partition of the journal from a
        moment (epoch milliseconds) to its end. `latest_opening`: of the ledger (daytwo.openings).
        """
        self._latest_opening = latest_opening
        self._name = name
        self._read_again = read_again
        self._given_up: set[int] = set()
        self._starting: dict[int, set[asyncio.Future[None]]] = {}
        self._deployments = deployments
        self._journal = journal
        self._provider = provider
        self._clock = clock
        self._rng = rng
        self._policy = policy

    async def handle(self, grounded: RequestGrounded, context: Context) -> Sequence[Output]:
        request = grounded.request
        attempts = self._journal.open(context.partition, request.tenant, request.request_id)
        try:
            quoted = (quote.deployment for quote in grounded.admission.quotes)
            route = order(self._deployments.serving(request.model), quoted, self._rng)
            course = _Course(grounded, context, attempts, route)
            await self._check_ours(course)
            await self._put_in_order(course, self._clock.now_ms())
            self._learn_all(course)
            if await self._is_of_an_earlier_ledger(course):
                await self._clock.sleep(ASK_AGAIN_S)
                return [endings.asked_again(grounded, context)]
            return [await self._end(course)]
        finally:
            self._journal.close(attempts)

    def ending(self, grounded: RequestGrounded, context: Context, error: DaytwoError) -> Sequence[Output]:
        request = grounded.request
        attempts = self._journal.peek(context.partition, request.tenant, request.request_id)
        return [endings.stopped(grounded, attempts, context, error)]

    def take_over(self, partition: int) -> None:
        """The partition is ours, and its journal is read."""
        self._given_up.discard(partition)

    async def hand_over(self, partition: int, write: Callable[[Record], Awaitable[None]]) -> None:
        """The partition goes to another router. No attempt begins any more; those under way are written down once more, so that
        the other waits for their ends and does not buy them again."""
        self._given_up.add(partition)
        if starting := self._starting.get(partition):
            await asyncio.wait(starting)
        for started, until_ms in self._journal.under_way(partition):
            await write(replace(started, continues_until_ms=until_ms))

    async def _is_of_an_earlier_ledger(self, course: _Course) -> bool:
        """Whether the ledger was opened anew since this was granted, and so may not know of it: then nothing is bought on it. Where
        something was bought already the grant was on the log in time for that opening, and all of it holds."""
        granted, attempts = course.grounded.admission.ledger, course.attempts
        if not granted or attempts.started or attempts.finished or course.left_s(self._clock.now_ms()) <= 0:
            return False
        return granted < await self._latest_opening()

    async def _put_in_order(self, course: _Course, now_ms: int | None) -> None:
        """Gives every attempt of an earlier handling its end on the log; where `now_ms` is None, those too that go on elsewhere."""
        attempts = course.attempts
        for each in sorted(attempts.unlogged, key=lambda each: attempts.finished[each].number):
            await self._log(course.context, attempts, attempts.finished[each])
        ends = [booking.lost(course.grounded, started, self._clock.now_ms()) for started in attempts.lost(now_ms)]
        if not ends:
            return
        since_ms = min(attempts.started[end.attempt_id].started_at_ms for end in ends)
        for end in ends:
            await course.context.write_ahead(end)
        # What a process that died had sent may have come to the log since it was read. The first end counts, and it is before ours.
        await self._read_again(course.context.partition, since_ms)
        for end in ends:
            self._journal.finish(attempts, end)

    async def _log(self, context: Context, attempts: Attempts, finished: AttemptFinished) -> None:
        attempts.unlogged.add(finished.attempt_id)
        await context.write_ahead(finished)
        attempts.unlogged.discard(finished.attempt_id)

    async def _end(self, course: _Course) -> RequestFinished:
        """Makes attempts until one settles the matter, the deadline passes, or nothing more can be done before it."""
        grounded, context, attempts = course.grounded, course.context, course.attempts
        while True:
            if (settled := self._settled(course)) is not None:
                return settled
            if course.left_s(self._clock.now_ms()) <= 0:
                await self._put_in_order(course, None)
                return self._settled(course) or endings.unanswered(grounded, attempts, context, "deadline_exceeded")
            if await self._elsewhere(course):
                continue
            self._follow(course)
            choice = choose(course.route, lambda deployment: self._condition(course, deployment))
            may_go_on = choice is not None and attempts.spent < grounded.admission.attempts_bound
            if choice is None or not may_go_on or choice.wait_s >= course.left_s(self._clock.now_ms()):
                return self._unavailable(course)
            if choice.wait_s > 0:
                # What waits for the same door does not come back in one moment.
                await self._clock.sleep(min(choice.wait_s * (1 + self._rng.random() / 4), course.left_s(self._clock.now_ms())))
            else:
                await self._try(course, choice.deployment)

    async def _elsewhere(self, course: _Course) -> bool:
        """True after a wait for an attempt that another router still makes. Raises as `_check_ours`."""
        await self._check_ours(course)
        now_ms = self._clock.now_ms()
        going_on = course.attempts.going_on(now_ms)
        if going_on:
            await self._clock.sleep(min(ELSEWHERE_S, course.left_s(now_ms)))
            await self._read_again(course.context.partition, min(course.attempts.started[each].started_at_ms for each in going_on))
            await self._put_in_order(course, self._clock.now_ms())
            self._learn_all(course)
        return bool(going_on)

    async def _check_ours(self, course: _Course) -> None:
        """Raises DisownedError where the partition has moved, and RetryableError where it is ours and its journal not read again."""
        await course.context.still_ours()
        if course.context.partition in self._given_up and course.left_s(self._clock.now_ms()) > 0:
            raise RetryableError("store_unavailable", "the journal is not read yet", retry_after_s=ELSEWHERE_S)

    def _follow(self, course: _Course) -> None:
        """Brings the route to what is configured now."""
        serving = {deployment.deployment: deployment for deployment in self._deployments.serving(course.grounded.request.model)}
        course.route = [serving[old.deployment] for old in course.route if old.deployment in serving]

    def _settled(self, course: _Course) -> RequestFinished | None:
        """The end that an attempt has brought about, if one has."""
        grounded, context, attempts = course.grounded, course.context, course.attempts
        if grounded.admission.cache_only:
            return endings.unanswered(grounded, attempts, context, "budget_exceeded", detail=grounded.admission.reason)
        for attempt in attempts.finished.values():
            meaning = verdict(attempt)
            if meaning == "answered":
                return endings.answered(grounded, attempts, attempt, context)
            if meaning == "refused":
                detail = f"{attempt.deployment}: {attempt.reason} {course.refusal}".rstrip()
                return endings.unanswered(grounded, attempts, context, "provider_refused", detail=detail)
        return None

    def _unavailable(self, course: _Course) -> RequestFinished:
        waits = [self._deployments.door(deployment).breaker.opens_in() for deployment in course.route]
        # Where a door is open now, this request has only run out of attempts or time: a moment later another may succeed.
        soonest_ms = max(self._policy.base_ms, round(min(waits) * 1000)) if waits else None
        last = course.attempts.ended()[-1:]
        detail = f"{last[0].deployment}: {last[0].reason}" if last else "" if waits else "no deployment with a quote is active"
        return endings.unanswered(
            course.grounded, course.attempts, course.context, "providers_unavailable", detail=detail, retry_after_ms=soonest_ms
        )

    def _condition(self, course: _Course, deployment: DeploymentConfigured) -> Condition:
        door = self._deployments.door(deployment)
        name = deployment.deployment
        rests_s = course.rests_until[name] - self._clock.monotonic() if name in course.rests_until else 0.0
        return Condition(ready_in_s=max(door.breaker.opens_in(), rests_s), full=door.lanes.full, tries=course.tries.get(name, 0))

    async def _try(self, course: _Course, deployment: DeploymentConfigured) -> None:
        """One attempt; none where the door shut, or the deadline passed, while it waited for room."""
        door = self._deployments.door(deployment)
        place = await door.lanes.enter(course.grounded.request.lane, course.left_s(self._clock.now_ms()))
        if place is None:
            return
        try:
            finished = await self._attempt(course, deployment, door, place)
        finally:
            place.leave()
        if finished is not None:
            self._journal.finish(course.attempts, finished)
            self._learn(course, finished)
            await self._log(course.context, course.attempts, finished)
            course.attempts.calling.pop(finished.attempt_id, None)

    async def _attempt(self, course: _Course, deployment: DeploymentConfigured, door: Door, place: Place) -> AttemptFinished | None:
        permit = door.breaker.enter()
        if permit is None:
            return None
        finished: AttemptFinished | None = None
        try:
            await course.context.still_ours()
            # Whoever waited for room, or slept, may have slept over it.
            late = course.left_s(self._clock.now_ms()) <= 0
            started = None if late else await self._announced(course, deployment)
            if started is not None:
                finished = await self._called(course, deployment, started, place)
        finally:
            door.breaker.leave(permit, health(finished) if finished is not None else "unclear")
        if finished is not None and (cool_down_ms := self._policy.cool_down_after(finished)) is not None:
            door.breaker.cool_down(cool_down_ms / 1000)
        return finished

    async def _announced(self, course: _Course, deployment: DeploymentConfigured) -> AttemptStarted | None:
        """An attempt, once it is on the log; None where the partition went to another router while this one waited for its turn."""
        partition = course.context.partition
        if partition in self._given_up:
            return None
        started = self._started(course, deployment)
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._starting.setdefault(partition, set()).add(written)
        try:
            await course.context.write_ahead(started)
            self._journal.start(course.attempts, started)
            most_ms = min(deployment.timeout_ms, round(course.left_s(self._clock.now_ms()) * 1000))
            course.attempts.calling[started.attempt_id] = self._clock.now_ms() + max(0, most_ms) + LOGGED_MS
        finally:
            self._starting[partition].discard(written)
            written.set_result(None)
        return started

    def _started(self, course: _Course, deployment: DeploymentConfigured) -> AttemptStarted:
        request = course.grounded.request
        number = course.attempts.next_number()
        return AttemptStarted(
            attempt_id=attempt_id(request.tenant, request.request_id, number, self._name),
            request_id=request.request_id,
            tenant=request.tenant,
            session=request.session,
            number=number,
            deployment=deployment.deployment,
            model=deployment.model,
            bound_nano=booking.most_nano(course.grounded, course.quote(deployment.deployment)),
            started_at_ms=self._clock.now_ms(),
            router=self._name,
        )

    async def _called(self, course: _Course, deployment: DeploymentConfigured, started: AttemptStarted, place: Place) -> AttemptFinished:
        """The attempt's end. A router that slept between announcing and calling may have a successor who took it for dead, and has
        bought what it was about to buy: then nothing is sent, and the journal says so."""
        try:
            await course.context.still_ours()
        except (DisownedError, RetryableError):
            not_sent = booking.Booking(outcome="failed", reason="not_sent")
            return booking.finished(started, not_sent, latency_ms=0.0, now_ms=self._clock.now_ms())
        return await self._call(course, deployment, started, place)

    async def _call(self, course: _Course, deployment: DeploymentConfigured, started: AttemptStarted, place: Place) -> AttemptFinished:
        began = self._clock.monotonic()
        given_s = min(deployment.timeout_ms / 1000, course.left_s(self._clock.now_ms()))
        end: Reply | Silence = Silence(reason="not_sent", sent=False)
        if given_s > 0:
            body = chat_body(course.grounded, deployment)
            end = await self._provider.call(deployment, body, started.attempt_id, given_s, place.on_its_way)
        hurried = given_s < self._policy.patience_s(deployment.timeout_ms)
        if isinstance(end, Silence) and (end.ours or (end.reason == "timeout" and hurried)):
            end = Silence(reason="deadline" if end.sent else "not_sent", sent=end.sent)
        if isinstance(end, Reply) and end.status >= 400:
            course.refusal = refusal(end.body)
        now_ms = self._clock.now_ms()
        booked = booking.book(course.grounded, course.quote(deployment.deployment), end, now_ms)
        return booking.finished(started, booked, latency_ms=(self._clock.monotonic() - began) * 1000, now_ms=now_ms)

    def _learn_all(self, course: _Course) -> None:
        """What the journal says about the rest of the way."""
        for attempt in course.attempts.ended():
            if attempt.attempt_id not in course.learned:
                self._learn(course, attempt)

    def _learn(self, course: _Course, attempt: AttemptFinished) -> None:
        """What an attempt that failed says about the rest of the way."""
        course.learned.add(attempt.attempt_id)
        name = attempt.deployment
        tries = course.tries[name] = course.tries.get(name, 0) + 1
        if verdict(attempt) == "elsewhere":
            course.route = [deployment for deployment in course.route if deployment.deployment != name]
        elif attempt.outcome != "succeeded":
            course.rests_until[name] = self._clock.monotonic() + self._policy.back_off_s(tries, self._rng)
