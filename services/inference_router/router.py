"""One request: which attempts it needs, one after another, until it is answered or cannot be in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from daytwo.clock import Clock
from daytwo.errors import DaytwoError
from daytwo.flow import Context, Output
from daytwo.records import AttemptFinished, AttemptStarted, DeploymentConfigured, Quote, RequestFinished, RequestGrounded
from services.inference_router import booking, endings
from services.inference_router.chat_answer import refusal
from services.inference_router.deployments import Deployments, Door
from services.inference_router.journal import Attempts, Journal, attempt_id
from services.inference_router.ports import Provider, Reply, Silence
from services.inference_router.prompt import chat_body
from services.inference_router.retry import RetryPolicy, health, verdict
from services.inference_router.routing import Condition, choose, order


@dataclass(slots=True)
class _Course:
    """A request on its way. `rests_until`: monotonic seconds before which a deployment that failed it is not used again."""

    grounded: RequestGrounded
    context: Context
    attempts: Attempts
    route: list[DeploymentConfigured]
    tries: dict[str, int] = field(default_factory=dict)
    rests_until: dict[str, float] = field(default_factory=dict)
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
        self, deployments: Deployments, journal: Journal, provider: Provider, clock: Clock, rng: Random, policy: RetryPolicy
    ) -> None:
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
            await self._put_in_order(grounded, context, attempts)
            quoted = (quote.deployment for quote in grounded.admission.quotes)
            route = order(self._deployments.serving(request.model), quoted, self._rng)
            course = _Course(grounded, context, attempts, route)
            for attempt in attempts.ended():
                self._learn(course, attempt)
            return [await self._end(course)]
        finally:
            self._journal.close(attempts)

    def ending(self, grounded: RequestGrounded, context: Context, error: DaytwoError) -> Sequence[Output]:
        request = grounded.request
        attempts = self._journal.peek(context.partition, request.tenant, request.request_id)
        return [endings.stopped(grounded, attempts, context, error)]

    async def _put_in_order(self, grounded: RequestGrounded, context: Context, attempts: Attempts) -> None:
        """Gives every attempt of an earlier handling its end on the log."""
        for started in attempts.lost():
            self._journal.finish(attempts, booking.lost(grounded, started, self._clock.now_ms()))
            attempts.unlogged.add(started.number)
        for number in sorted(attempts.unlogged):
            await self._log(context, attempts, attempts.finished[number])

    async def _log(self, context: Context, attempts: Attempts, finished: AttemptFinished) -> None:
        attempts.unlogged.add(finished.number)
        await context.write_ahead(finished)
        attempts.unlogged.discard(finished.number)

    async def _end(self, course: _Course) -> RequestFinished:
        """Makes attempts until one settles the matter, the deadline passes, or nothing more can be done before it."""
        grounded, context, attempts = course.grounded, course.context, course.attempts
        while True:
            if (settled := self._settled(course)) is not None:
                return settled
            if course.left_s(self._clock.now_ms()) <= 0:
                return endings.unanswered(grounded, attempts, context, "deadline_exceeded")
            self._follow(course)
            choice = choose(course.route, lambda deployment: self._condition(course, deployment))
            may_go_on = choice is not None and attempts.next_number() <= grounded.admission.attempts_bound
            if choice is None or not may_go_on or choice.wait_s >= course.left_s(self._clock.now_ms()):
                return self._unavailable(course)
            if choice.wait_s > 0:
                # What waits for the same door does not come back in one moment.
                await self._clock.sleep(min(choice.wait_s * (1 + self._rng.random() / 4), course.left_s(self._clock.now_ms())))
            else:
                await self._try(course, choice.deployment)

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
        if not await door.lanes.enter(course.grounded.request.lane, course.left_s(self._clock.now_ms())):
            return
        try:
            finished = await self._attempt(course, deployment, door)
        finally:
            door.lanes.leave()
        if finished is not None:
            # Where the partition has moved, the attempt is lost, and its new owner says so: an attempt has one end.
            await course.context.still_ours()
            self._journal.finish(course.attempts, finished)
            self._learn(course, finished)
            await self._log(course.context, course.attempts, finished)

    async def _attempt(self, course: _Course, deployment: DeploymentConfigured, door: Door) -> AttemptFinished | None:
        permit = door.breaker.enter()
        if permit is None:
            return None
        finished: AttemptFinished | None = None
        try:
            await course.context.still_ours()
            started = self._started(course, deployment)
            await course.context.write_ahead(started)
            # Whoever owns the partition now may have made this very attempt, and then it would be bought twice and booked once.
            await course.context.still_ours()
            self._journal.start(course.attempts, started)
            finished = await self._call(course, deployment, started)
        finally:
            door.breaker.leave(permit, health(finished) if finished is not None else "unclear")
        if (cool_down_ms := self._policy.cool_down_after(finished)) is not None:
            door.breaker.cool_down(cool_down_ms / 1000)
        return finished

    def _started(self, course: _Course, deployment: DeploymentConfigured) -> AttemptStarted:
        request = course.grounded.request
        number = course.attempts.next_number()
        return AttemptStarted(
            attempt_id=attempt_id(request.tenant, request.request_id, number),
            request_id=request.request_id,
            tenant=request.tenant,
            session=request.session,
            number=number,
            deployment=deployment.deployment,
            model=deployment.model,
            bound_nano=booking.most_nano(course.grounded, course.quote(deployment.deployment)),
            started_at_ms=self._clock.now_ms(),
        )

    async def _call(self, course: _Course, deployment: DeploymentConfigured, started: AttemptStarted) -> AttemptFinished:
        began = self._clock.monotonic()
        given_s = min(deployment.timeout_ms / 1000, course.left_s(self._clock.now_ms()))
        end: Reply | Silence = Silence(reason="not_sent", sent=False)
        if given_s > 0:
            end = await self._provider.call(deployment, chat_body(course.grounded, deployment), started.attempt_id, given_s)
        if isinstance(end, Silence) and end.reason == "timeout" and given_s < self._policy.patience_s(deployment.timeout_ms):
            end = Silence(reason="deadline", sent=end.sent)
        if isinstance(end, Reply) and end.status >= 400:
            course.refusal = refusal(end.body)
        now_ms = self._clock.now_ms()
        booked = booking.book(course.grounded, course.quote(deployment.deployment), end, now_ms)
        return booking.finished(started, booked, latency_ms=(self._clock.monotonic() - began) * 1000, now_ms=now_ms)

    def _learn(self, course: _Course, attempt: AttemptFinished) -> None:
        """What an attempt that failed says about the rest of the way."""
        name = attempt.deployment
        tries = course.tries[name] = course.tries.get(name, 0) + 1
        if verdict(attempt) == "elsewhere":
            course.route = [deployment for deployment in course.route if deployment.deployment != name]
        elif attempt.outcome != "succeeded":
            course.rests_until[name] = self._clock.monotonic() + self._policy.back_off_s(tries, self._rng)
