"""`daytwo reconcile`"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from daytwo.broker import Broker
from daytwo.cli import journal, show
from daytwo.cli.options import DurationType
from daytwo.cli.site import Site
from daytwo.config_file.units import money_text
from daytwo.money.bill import Bill, BillError, read_bill
from daytwo.money.correcting import correction
from daytwo.money.reconciling import CLASSES, Verdict, reconcile

BILL_S = 60.0
SHOWN = 20


@click.command()
@click.option("--bill", required=True, metavar="FILE|URL", help="The provider's bill: JSON as of the mock provider's GET /bill, or CSV.")
@click.option("--deployment", "deployments", multiple=True, help="The bill is of this deployment (may be repeated); else of all.")
@click.option("--since", "since_ms", type=DurationType(), help="Judge attempts of the last 24h, 7d, ...; else all that Kafka keeps.")
@click.option("--record", is_flag=True, help="Write a correction (cost-corrected) for each attempt that was billed otherwise.")
@show.json_option
@click.pass_obj
def command(site: Site, bill: str, deployments: tuple[str, ...], since_ms: int | None, record: bool, as_json: bool) -> None:
    """Hold a provider's own bill against the log, attempt by attempt: equal, missing, different, unknown.

    Unknown is what the log does not know the end or the usage of: it was booked in full, so never at less than was billed. CSV
    needs the column attempt_id (the provider got it in the header x-daytwo-attempt) and tokens, amount (dollars), or both. What
    is booked stays as it was: --record adds corrections, and whoever sums up adds them. The exit code is 1 where anything is
    missing or different, or booked at less than billed.
    """
    since = None if since_ms is None else site.clock.now_ms() - since_ms
    read = _bill(site, bill)
    verdicts = site.run(_verdicts(site.broker, read, deployments, since))
    recorded = site.run(_record(site, verdicts, bill)) if record else 0
    summary = _summary(verdicts)
    if as_json:
        told = [_document(verdict) for verdict in verdicts if verdict.kind != "equal"]
        show.document({"bill": bill, "whole_bill": read.whole, "recorded": recorded, **summary, "attempts": told})
    else:
        _tell(verdicts, summary, read)
        if record:
            show.note(f"{recorded} corrections recorded")
    if summary["missing"] or summary["different"] or summary["under_booked"]:
        raise click.exceptions.Exit(1)


def _bill(site: Site, bill: str) -> Bill:
    text = site.run(_fetched(bill)) if bill.startswith(("http://", "https://")) else Path(bill).read_text("utf-8-sig")
    try:
        return read_bill(text)
    except BillError as error:
        raise click.ClickException(f"{bill}: {error}") from error


async def _fetched(url: str) -> str:
    import aiohttp

    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=BILL_S)) as session, session.get(url) as answer:
            if answer.status != 200:
                raise click.ClickException(f"{url} answers {answer.status}")
            return await answer.text()
    except aiohttp.ClientError as error:
        raise click.ClickException(f"{url}: {error}") from error


async def _verdicts(broker: Broker, bill: Bill, deployments: tuple[str, ...], since_ms: int | None) -> list[Verdict]:
    attempts = [
        attempt
        for attempt in (await journal.journal(broker, since_ms=since_ms)).attempts()
        if not deployments or attempt.deployment in deployments
    ]
    quotes = await journal.quotes(broker)
    corrected = (await journal.corrections(broker)).by_attempt()
    lines = [line for line in bill.lines if since_ms is None or not line.at_ms or line.at_ms >= since_ms]
    return list(reconcile(attempts, lines, quotes, corrected=corrected, whole_bill=bill.whole))


async def _record(site: Site, verdicts: Sequence[Verdict], bill: str) -> int:
    """Only what belongs to an attempt and can be priced."""
    corrected = [
        correction(
            verdict.attempt,
            verdict.billed_nano - verdict.booked_nano,
            reason="reconcile",
            # A bill that is read again later says more; what it corrects then is in addition.
            source=f"{journal.source_name(bill)}@{site.clock.now_ms()}",
            by=site.who,
            at_ms=site.clock.now_ms(),
        )
        for verdict in verdicts
        if verdict.attempt is not None and verdict.billed_nano is not None and verdict.billed_nano != verdict.booked_nano
    ]
    if corrected:
        await journal.record(site.broker, corrected)
    return len(corrected)


def _summary(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Counts by class; nano-dollars booked and billed; how many were booked at less than billed."""
    counts = Counter(verdict.kind for verdict in verdicts)
    return {
        **{kind: counts[kind] for kind in CLASSES},
        "under_booked": sum(verdict.under_booked for verdict in verdicts),
        "booked_nano": sum(verdict.booked_nano for verdict in verdicts),
        "billed_nano": sum(verdict.billed_nano or 0 for verdict in verdicts),
    }


def _tell(verdicts: Sequence[Verdict], summary: dict[str, int], bill: Bill) -> None:
    wrong = [verdict for verdict in verdicts if verdict.kind != "equal"]
    rows = [
        (v.kind, v.attempt_id, v.attempt.deployment if v.attempt else "", money_text(v.booked_nano), _money(v.billed_nano), v.detail)
        for v in wrong[:SHOWN]
    ]
    if rows:
        show.table(("", "attempt", "deployment", "booked", "billed", "what"), rows, right=("booked", "billed"))
    if len(wrong) > SHOWN:
        show.note(f"and {len(wrong) - SHOWN} more: --json shows all")
    show.table(("attempts", ""), [(kind, summary[kind]) for kind in (*CLASSES, "under_booked")], right=("",))
    show.note(f"booked {money_text(summary['booked_nano'])}, billed {money_text(summary['billed_nano'])}")
    if not bill.whole:
        show.note("the bill says that calls are missing on it: what is not on it was not judged")


def _money(nano: int | None) -> str:
    return "?" if nano is None else money_text(nano)


def _document(verdict: Verdict) -> dict[str, Any]:
    fields = asdict(verdict)
    return {**fields, "under_booked": verdict.under_booked}
