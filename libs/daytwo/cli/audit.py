"""`daytwo audit`"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import click

from daytwo.audit import RULES, Bill, Charge, LedgerView, Report, audit
from daytwo.cli import show
from daytwo.cli.options import DurationType
from daytwo.cli.site import Site
from daytwo.config_file.units import money_text
from daytwo.errors import RetryableError

SHOWN_PER_RULE = 20
LEDGER_S = 30.0


@click.command()
@click.option("--since", "since_ms", type=DurationType(), help="Judge requests of the last 15m, 24h, 7d, ...; else all that Kafka keeps.")
@click.option(
    "--grace", "grace_ms", type=DurationType(), default="60s", show_default=True, help="A request may end so long after its deadline."
)
@click.option("--settle", "settle_ms", type=DurationType(), default="10s", show_default=True, help="Longest wait for what is under way.")
@click.option("--clocks", "clocks_ms", type=DurationType(), default=0, help="The services' clocks may differ by so much; else not at all.")
@click.option("--bill", "bill_url", metavar="URL", help="Hold the journal against a provider's bill, as the mock provider's GET /bill.")
@click.option("--ledger", "ledger_url", metavar="URL", help="cost-meter's /ledger. Else that of the stack that runs here.")
@click.option("--no-ledger", is_flag=True, help="Judge the log alone.")
@show.json_option
@click.pass_obj
def command(
    site: Site,
    since_ms: int | None,
    grace_ms: int,
    settle_ms: int,
    clocks_ms: int,
    bill_url: str | None,
    ledger_url: str | None,
    no_ledger: bool,
    as_json: bool,
) -> None:
    """Read the log and check conservation: nothing lost, nothing paid twice, no tenant mixed, the ledger equal to the log.

    A request that is open and not past its deadline is in order; the ledger is compared once nothing is open.
    The exit code is 1 where anything is violated, and each violation names the ids.
    """
    ledger = None if no_ledger else _ledger(ledger_url or _ledger_here(site))
    start_ms = None if since_ms is None else site.clock.now_ms() - since_ms
    times = {"grace_s": grace_ms / 1000, "settle_s": settle_ms / 1000, "clocks_s": clocks_ms / 1000}
    report = site.run(_audit(site, ledger, _bill(bill_url) if bill_url else None, start_ms, times))
    if as_json:
        show.document(report.as_json())
    else:
        _tell(report)
    if not report.clean:
        raise click.exceptions.Exit(1)


async def _audit(site: Site, ledger: LedgerView | None, bill: Bill | None, since_ms: int | None, times: Mapping[str, float]) -> Report:
    reader = site.broker.reader()
    await reader.start()
    try:
        return await audit(reader, site.clock, ledger=ledger, bill=bill, since_ms=since_ms, **times)
    finally:
        await reader.stop()


def _ledger_here(site: Site) -> str:
    """The address of the ledger's view in this stack, where services run one by one or in one process."""
    for program in site.stack.get("programs", []):
        if program["name"] in ("cost-meter-0", "services") and program.get("http"):
            return f"{program['http']}/ledger"
    raise click.UsageError("no cost-meter runs here: give its view with --ledger URL, or judge the log alone with --no-ledger")


def _ledger(url: str) -> LedgerView:
    async def view() -> Mapping[str, Any]:
        return await _get(url, f"the ledger at {url}", "--no-ledger judges the log alone")

    return view


def _bill(url: str) -> Bill:
    """The calls that carry an attempt id; others are not daytwo's."""

    async def charges() -> list[Charge]:
        found = await _get(url, f"the bill at {url}", "without --bill the journal is taken at its word")
        return [
            Charge(call["attempt_id"], call["prompt_tokens"], call["completion_tokens"]) for call in found["calls"] if call["attempt_id"]
        ]

    return charges


async def _get(url: str, what: str, otherwise: str) -> Mapping[str, Any]:
    import aiohttp

    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LEDGER_S)) as session,
            session.get(url) as answer,
        ):
            answer.raise_for_status()
            found: Mapping[str, Any] = await answer.json()
            return found
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise RetryableError("store_unavailable", f"{what}: {error!r} ({otherwise})") from error


def _tell(report: Report) -> None:
    show.table(("count", "records"), [(name.replace("_", " "), count) for name, count in report.counts.items()], right=("records",))
    if report.money:
        columns = ("tenant", "reserved", "settled", "released", "held")
        rows = [(tenant, *map(money_text, sums.values())) for tenant, sums in sorted(report.money.items())]
        show.table(columns, rows, right=columns[1:])
    if report.dead_letters:
        show.table(("dead letters", "records"), report.dead_letters.items(), right=("records",))
    if report.violations:
        show.table(("violated", "promise", "ids", "detail"), _violations(report))
    for note in report.notes:
        show.note(note)
    show.note("clean: every promise is kept" if report.clean else f"{len(report.violations)} violations")


def _violations(report: Report) -> list[tuple[str, str, str, str]]:
    """Some of each rule; --json has all."""
    rows, seen = [], Counter[str]()
    for violation in report.violations:
        seen[violation.rule] += 1
        if seen[violation.rule] <= SHOWN_PER_RULE:
            rows.append((violation.rule, RULES[violation.rule], " ".join(violation.ids), violation.detail))
    more = [(rule, "", "", f"and {count - SHOWN_PER_RULE} more") for rule, count in seen.items() if count > SHOWN_PER_RULE]
    return [*rows, *more]
