"""cost-meter: reserves the worst case of every accepted request before it may cost anything, and settles it when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daytwo.clock import Clock
from daytwo.codec import decode
from daytwo.errors import DaytwoError, TerminalError
from daytwo.flow import Context, Input, Output, Service, Table
from daytwo.records import Admission, RequestAccepted, RequestAdmitted, RequestFinished
from daytwo.results import ended_by, finished, outcome_of
from daytwo.topics import DEPLOYMENT_CONFIGURED, REQUEST_ACCEPTED, REQUEST_FINISHED, TENANT_CONFIGURED
from services.cost_meter.admission import propose
from services.cost_meter.bound import input_tokens_bound
from services.cost_meter.budget import LARGEST_NANO, windows
from services.cost_meter.decisions import IdReusedError, OverCap, Refusal
from services.cost_meter.ledger_view import ledger_view
from services.cost_meter.ports import Closed, Ledger, LogReader, Reservation, Reused, Settlement
from services.cost_meter.pricing import PriceBook
from services.cost_meter.settings import Settings


def service(*, ledger: Ledger, log: LogReader, clock: Clock, settings: Settings) -> Service:
    """cost-meter over its ports."""
    meter = CostMeter(ledger, log, clock, settings)

    async def start() -> None:
        await ledger.start()
        await log.start()

    async def stop() -> None:
        await log.stop()
        await ledger.stop()

    return Service(
        name="cost-meter",
        inputs=(
            Input(topic=REQUEST_ACCEPTED, handle=meter.admit, ending=meter.ended, deadline_ms=lambda a: a.request.deadline_ms),
            # Until it is settled a request holds its worst case: patience costs room under the cap, never money.
            Input(topic=REQUEST_FINISHED, handle=meter.settle, ending=lambda _record, _context, _error: (), patience_ms=100),
        ),
        followers=(meter.tenants, meter.deployments, meter.prices),
        start=start,
        stop=stop,
        views={"/ledger": meter.view},
    )


class CostMeter:
    """The handlers, and the configuration they follow."""

    def __init__(self, ledger: Ledger, log: LogReader, clock: Clock, settings: Settings) -> None:
        self.tenants = Table(TENANT_CONFIGURED)
        self.deployments = Table(DEPLOYMENT_CONFIGURED)
        self.prices = PriceBook()
        self._ledger = ledger
        self._log = log
        self._clock = clock
        self._settings = settings

    async def admit(self, accepted: RequestAccepted, context: Context) -> Sequence[Output]:
        """Decides a request once, by the time of its record and the configuration of now; a repeat gets the first decision."""
        answer = await self._ledger.reserve(self._reservation(accepted, context.timestamp_ms))
        if isinstance(answer, Reused):
            raise IdReusedError(first_closed=answer.first_closed)
        if isinstance(answer, Closed):
            return [await self._result_again(accepted, answer, context)]
        decision = answer.decision
        if isinstance(decision, Refusal):
            return [self._refused(accepted, context, reason=decision.reason, detail=decision.detail)]
        if isinstance(decision, OverCap) and not decision.cache_only:
            wait_ms = None if decision.retry_at_ms is None else max(0, decision.retry_at_ms - self._clock.now_ms())
            return [self._refused(accepted, context, reason="budget_exceeded", detail=decision.detail, retry_after_ms=wait_ms)]
        admission = _cache_only(accepted, decision) if isinstance(decision, OverCap) else decision
        return [
            RequestAdmitted(
                request=accepted.request,
                fingerprint=accepted.fingerprint,
                admission=admission,
                steps=(*accepted.steps, context.step()),
            )
        ]

    async def settle(self, record: RequestFinished, context: Context) -> Sequence[Output]:
        """Books what a request has cost. One that was never accepted has no fingerprint, and nothing reserved."""
        if not record.fingerprint:
            return []
        attempts = tuple((attempt.attempt_id, attempt.cost_nano) for attempt in record.attempts)
        if not all(0 <= cost_nano <= LARGEST_NANO for cost_nano in (record.cost_nano, *(cost for _, cost in attempts))):
            raise TerminalError("internal_error", f"a cost of {record.cost_nano} nano-dollars; its reservation stays")
        await self._ledger.settle(
            Settlement(
                tenant=record.tenant,
                request_id=record.request_id,
                fingerprint=record.fingerprint,
                cost_nano=record.cost_nano,
                partition=context.partition,
                offset=context.offset,
                attempts=attempts,
            )
        )
        return []

    def ended(self, accepted: RequestAccepted, context: Context, error: DaytwoError) -> Sequence[Output]:
        """The result of a request that an error stopped; none where it would take the place of the first request's own."""
        if isinstance(error, IdReusedError) and not error.first_closed:
            return []
        steps = (*accepted.steps, context.step())
        return [ended_by(accepted.request, error, now_ms=self._clock.now_ms(), fingerprint=accepted.fingerprint, steps=steps)]

    async def view(self) -> Any:
        return ledger_view(await self._ledger.accounts(), self.tenants.rows)

    def _reservation(self, accepted: RequestAccepted, at_ms: int) -> Reservation:
        request = accepted.request
        tenant = self.tenants.get(request.tenant)
        proposal = propose(
            request,
            tenant,
            self.deployments.rows.values(),
            self.prices,
            attempts_bound=self._settings.attempts_bound,
            at_ms=at_ms,
        )
        booked = tenant is not None and isinstance(proposal, Admission)
        return Reservation(
            tenant=request.tenant,
            request_id=request.request_id,
            fingerprint=accepted.fingerprint,
            proposal=proposal,
            windows=windows(tenant.caps, user=request.user, workflow=request.workflow, at_ms=at_ms) if tenant and booked else (),
            cache_only=tenant is not None and tenant.over_budget == "cache_only",
            at_ms=at_ms,
        )

    async def _result_again(self, accepted: RequestAccepted, closed: Closed, context: Context) -> RequestFinished:
        data = await self._log.read(REQUEST_FINISHED.name, closed.partition, closed.offset)
        if data is None:
            return self._refused(accepted, context, reason="id_reused", detail="the request has ended; its result is no longer kept")
        return decode(REQUEST_FINISHED, data)

    def _refused(self, accepted: RequestAccepted, context: Context, *, reason: str, **rest: Any) -> RequestFinished:
        return finished(
            accepted.request,
            now_ms=self._clock.now_ms(),
            outcome=outcome_of(reason),
            reason=reason,
            fingerprint=accepted.fingerprint,
            steps=(*accepted.steps, context.step()),
            **rest,
        )


def _cache_only(accepted: RequestAccepted, over: OverCap) -> Admission:
    return Admission(
        cache_only=True,
        reserved_nano=0,
        input_tokens_bound=input_tokens_bound(accepted.request),
        attempts_bound=0,
        reason="budget_exceeded",
        retry_at_ms=over.retry_at_ms,
    )
