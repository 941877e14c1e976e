"""cost-meter: reserves the worst case of every accepted request before it may cost anything, and settles it when it has ended."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol

from daytwo.clock import Clock
from daytwo.codec import decode
from daytwo.errors import DaytwoError, TerminalError
from daytwo.flow import Context, Input, Output, Service
from daytwo.records import (
    Admission,
    RequestAccepted,
    RequestAdmitted,
    RequestFinished,
    RequestSubmitted,
    RequestWaiting,
    StepTime,
    TenantConfigured,
)
from daytwo.results import ended_by, finished, outcome_of
from daytwo.road import goes_straight
from daytwo.topics import REQUEST_ACCEPTED, REQUEST_FINISHED, REQUEST_WAITING
from services.cost_meter import at_limit
from services.cost_meter.admission import propose, standing
from services.cost_meter.budget import LARGEST, subjects_of
from services.cost_meter.decisions import AtLimit, Decision, IdReusedError, Refusal
from services.cost_meter.ledger_view import ledger_view
from services.cost_meter.overbilling import Overbilling
from services.cost_meter.ports import Closed, Ledger, LogReader, Reservation, Reused, Settlement, Unsettled
from services.cost_meter.quoting import Quoting
from services.cost_meter.restoring import unreserved
from services.cost_meter.settings import Settings
from services.cost_meter.tenants import Tenants
from services.cost_meter.throttles import Throttles, closed

log = logging.getLogger(__name__)

HELD_S: Final = 2.0
"""How long a waiting request is held in memory before it is written again at the end of its topic."""


class Keeper(Protocol):
    """Opens the ledger's gate once it is as the log has it, and keeps watch over it."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def service(*, ledger: Ledger, log: LogReader, clock: Clock, settings: Settings, keeper: Keeper | None = None) -> Service:
    """cost-meter over its ports."""
    meter = CostMeter(ledger, log, clock, settings)

    async def start() -> None:
        await ledger.start()
        await log.start()
        if keeper is not None:
            await keeper.start()

    async def stop() -> None:
        if keeper is not None:
            await keeper.stop()
        await log.stop()
        await ledger.stop()

    return Service(
        name="cost-meter",
        inputs=(
            Input(topic=REQUEST_ACCEPTED, handle=meter.admit, ending=meter.ended, deadline_ms=lambda a: a.request.deadline_ms),
            Input(topic=REQUEST_WAITING, handle=meter.go_on, ending=meter.ended, deadline_ms=lambda w: w.request.deadline_ms),
            # Until it is settled a request holds its worst case: patience costs room under the cap, never money.
            Input(topic=REQUEST_FINISHED, handle=meter.settle, ending=lambda _record, _context, _error: (), patience_ms=100),
        ),
        followers=(meter.tenants, meter.deployments, meter.prices, meter.throttles, meter.overbilling),
        start=start,
        stop=stop,
        views={"/ledger": meter.view},
    )


class Question(NamedTuple):
    """A request, as it is put to the ledger in one round."""

    request: RequestSubmitted
    fingerprint: str
    steps: tuple[StepTime, ...]
    at_ms: int
    round: int
    then: tuple[str, ...] | None
    """What may be tried at a limit; None: what the tenant says."""


class CostMeter:
    """The handlers, and the configuration they follow."""

    def __init__(self, ledger: Ledger, log: LogReader, clock: Clock, settings: Settings) -> None:
        self.tenants = Tenants()
        self._quoting = Quoting()
        self.deployments, self.prices = self._quoting.deployments, self._quoting.prices
        self.throttles = Throttles()
        self.overbilling = Overbilling()
        self._ledger = ledger
        self._log = log
        self._clock = clock
        self._settings = settings

    async def admit(self, accepted: RequestAccepted, context: Context) -> Sequence[Output]:
        """Decides a request once, by the time of its record and the configuration of now; a repeat gets the first decision."""
        return [
            await self._decided(
                Question(
                    request=accepted.request,
                    fingerprint=accepted.fingerprint,
                    steps=accepted.steps,
                    at_ms=context.timestamp_ms,
                    round=0,
                    then=None,
                ),
                context,
            )
        ]

    async def go_on(self, waiting: RequestWaiting, context: Context) -> Sequence[Output]:
        """Decides a request anew that was at a limit. One whose time has not come goes to the end of the topic again."""
        if (left_ms := waiting.until_ms - self._clock.now_ms()) > 0:
            await self._clock.sleep(min(HELD_S, left_ms / 1000))
        if waiting.until_ms > self._clock.now_ms():
            return [waiting]
        # Granted before the ledger was opened anew, and not bought on: the same question once more.
        again = waiting.limit_hit.kind == "ledger"
        question = Question(
            request=waiting.request,
            fingerprint=waiting.fingerprint,
            steps=waiting.steps,
            at_ms=max(waiting.until_ms, context.timestamp_ms),
            round=waiting.round - waiting.round % at_limit.ROUNDS if again else waiting.round,
            then=None if again else waiting.then,
        )
        return [await self._decided(question, context)]

    async def settle(self, record: RequestFinished, context: Context) -> Sequence[Output]:
        """Books what a request has cost. A refusal at the door books nothing: what its id has reserved is for a copy that was let in."""
        if not record.fingerprint or record.submission:
            return []
        attempts = tuple([(attempt.attempt_id, attempt.cost_nano, attempt.tokens) for attempt in record.attempts])
        tokens = record.usage.input_tokens + record.usage.output_tokens
        amounts = (record.cost_nano, tokens, *[amount for _, *of_attempt in attempts for amount in of_attempt])
        if min(amounts) < 0 or max(amounts) > LARGEST:
            raise TerminalError("internal_error", f"a cost of {record.cost_nano} nano-dollars, {tokens} tokens; its reservation stays")
        settlement = Settlement(
            tenant=record.tenant,
            request_id=record.request_id,
            fingerprint=record.fingerprint,
            cost_nano=record.cost_nano,
            tokens=tokens,
            partition=context.partition,
            offset=context.offset,
            attempts=attempts,
        )
        settled = await self._ledger.settle(settlement)
        if isinstance(settled, Unsettled) and not settled.known:
            await self._book_unreserved(record, settlement, context)
        return list(self.overbilling.alerts(record, self._clock.now_ms()))

    def ended(self, record: RequestAccepted | RequestWaiting, context: Context, error: DaytwoError) -> Sequence[Output]:
        """The result of a request that an error stopped; none where it would take the place of the first request's own."""
        if isinstance(error, IdReusedError) and not error.first_closed:
            return []
        steps = (*record.steps, context.step())
        return [ended_by(record.request, error, now_ms=self._clock.now_ms(), fingerprint=record.fingerprint, steps=steps)]

    async def view(self) -> Any:
        return ledger_view(await self._ledger.accounts(), self.tenants.rows)

    async def _book_unreserved(self, record: RequestFinished, settlement: Settlement, context: Context) -> None:
        """What was spent is booked, though the ledger has forgotten that it was reserved. And a reservation whose answer nobody waited for
        may come in yet: it finds that the request has ended, and holds nothing."""
        if record.cost_nano:
            log.warning("%s/%s cost %d nano-dollars and is not in the ledger", record.tenant, record.request_id, record.cost_nano)
        windows = self.tenants.windows(record.tenant, subjects_of(record), context.timestamp_ms)
        await self._ledger.restore([unreserved(settlement, windows, context.timestamp_ms)])
        await self._ledger.settle(settlement)

    async def _decided(self, question: Question, context: Context) -> Output:
        tenant = self.tenants.get(question.request.tenant)
        then = question.then if question.then is not None else at_limit.policy(tenant) if tenant else ()
        answer = await self._ledger.reserve(self._reservation(question, tenant, self._proposal(question, tenant, then), then))
        if isinstance(answer, Reused):
            raise IdReusedError(first_closed=answer.first_closed)
        if isinstance(answer, Closed):
            return await self._result_again(question, answer, context)
        decision = answer.decision
        if isinstance(decision, AtLimit):
            return await self._at_limit(question, tenant, decision, context)
        if isinstance(decision, Refusal):
            return self._refused(question, context, reason=decision.reason, detail=decision.detail)
        return _admitted(question, decision, context, answer.ledger)

    def _proposal(self, question: Question, tenant: TenantConfigured | None, then: tuple[str, ...]) -> Decision:
        request = question.request
        if refusal := standing(request, tenant, self.tenants.caps(tenant).wrong if tenant else ""):
            return refusal
        subjects = subjects_of(request)
        hit = self.throttles.hit(request.tenant, subjects, self._clock.now_ms())
        if hit := hit or (closed(tenant, subjects) if tenant is not None else None):
            return AtLimit(hit=hit, then=tuple(step for step in then if step != "cheaper_route"))
        proposal = self._worst_case(request, question.at_ms)
        return replace(proposal, round=question.round) if question.round and isinstance(proposal, Admission) else proposal

    def _worst_case(self, request: RequestSubmitted, at_ms: int) -> Admission | Refusal:
        tenant = self.tenants.get(request.tenant)
        unpriced = None if tenant is None else tenant.unpriced_bound
        return propose(
            request,
            self._quoting.offer(request.model, at_ms, lane=request.lane, bound=unpriced),
            attempts_bound=self._settings.attempts_bound,
            at_ms=at_ms,
            straight=goes_straight(request, None if tenant is None else tenant.cache),
            corrected=self.overbilling.corrected,
        )

    def _reservation(self, question: Question, tenant: TenantConfigured | None, proposal: Decision, then: tuple[str, ...]) -> Reservation:
        request = question.request
        booked = tenant is not None and isinstance(proposal, Admission)
        return Reservation(
            tenant=request.tenant,
            request_id=request.request_id,
            fingerprint=question.fingerprint,
            proposal=proposal,
            windows=self.tenants.windows(request.tenant, subjects_of(request), question.at_ms) if booked else (),
            then=then,
            round=question.round,
            at_ms=question.at_ms,
        )

    async def _at_limit(self, question: Question, tenant: TenantConfigured | None, at: AtLimit, context: Context) -> Output:
        """The first of the steps that the tenant lets be tried and that helps; else the refusal."""
        for place, step in enumerate(at.then if tenant else ()):
            output = await self._step(step, at.then[place:], question, tenant, at, context)
            if output is not None:
                return output
        wait_ms = at_limit.retry_after_ms(at.hit, self._clock.now_ms())
        return self._refused(question, context, reason=at.reason, detail=at.detail, retry_after_ms=wait_ms, limit_hit=at.hit)

    async def _step(
        self, step: str, left: tuple[str, ...], question: Question, tenant: TenantConfigured | None, at: AtLimit, context: Context
    ) -> Output | None:
        assert tenant is not None
        request = question.request
        if step == "cache_only" and at_limit.may_be_cached(request, tenant):
            admission = at_limit.cache_only(request, at, rest=left[1:], round_=question.round)
            return _admitted(question, admission, context, 0)
        if step == "wait":
            until_ms = at_limit.wait_until_ms(at.hit, round_=question.round, deadline_ms=request.deadline_ms, now_ms=self._clock.now_ms())
            return None if until_ms is None else _waiting(question, at, until_ms, left, context)
        if step == "cheaper_route" and tenant.cheaper_route:
            return await self._cheaper(question, tenant, at, context)
        return None

    async def _cheaper(self, question: Question, tenant: TenantConfigured, at: AtLimit, context: Context) -> Output | None:
        """The request with the model of the cheaper route, if that fits; asked of the ledger as the second question of its round."""
        request = replace(question.request, model=tenant.cheaper_route)
        proposal = self._worst_case(request, question.at_ms)
        if isinstance(proposal, Refusal) or request.model == question.request.model:
            return None
        second = question._replace(round=question.round + 1)
        proposal = replace(proposal, model=request.model, round=second.round, limit_hit=at.hit)
        answer = await self._ledger.reserve(self._reservation(second, tenant, proposal, at.then))
        if isinstance(answer, Closed):
            return await self._result_again(question, answer, context)
        if isinstance(answer, Reused):
            raise IdReusedError(first_closed=answer.first_closed)
        return _admitted(question, answer.decision, context, answer.ledger) if isinstance(answer.decision, Admission) else None

    async def _result_again(self, question: Question, closed: Closed, context: Context) -> RequestFinished:
        data = await self._log.read(REQUEST_FINISHED.name, closed.partition, closed.offset)
        if data is None:
            return self._refused(question, context, reason="id_reused", detail="the request has ended; its result is no longer kept")
        return decode(REQUEST_FINISHED, data)

    def _refused(self, question: Question, context: Context, *, reason: str, **rest: Any) -> RequestFinished:
        return finished(
            question.request,
            now_ms=self._clock.now_ms(),
            outcome=outcome_of(reason),
            reason=reason,
            fingerprint=question.fingerprint,
            steps=(*question.steps, context.step()),
            **rest,
        )


def _admitted(question: Question, admission: Admission, context: Context, ledger: int) -> RequestAdmitted:
    """`ledger`: number of the opening that says so, whenever it was first granted; 0: nothing is reserved."""
    request = replace(question.request, model=admission.model) if admission.model else question.request
    return RequestAdmitted(
        request=request,
        fingerprint=question.fingerprint,
        admission=replace(admission, ledger=ledger),
        steps=(*question.steps, context.step()),
    )


def _waiting(question: Question, at: AtLimit, until_ms: int, then: tuple[str, ...], context: Context) -> RequestWaiting:
    return RequestWaiting(
        request=question.request,
        fingerprint=question.fingerprint,
        round=question.round + at_limit.ROUNDS,
        until_ms=until_ms,
        then=then,
        limit_hit=at.hit,
        steps=(*question.steps, context.step()),
    )
