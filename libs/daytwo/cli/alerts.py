"""`daytwo alerts`"""

from __future__ import annotations

import click

from daytwo.broker import Broker
from daytwo.cli import journal, show
from daytwo.cli.site import Site
from daytwo.records import AlertRaised
from daytwo.topics import ALERT_RAISED


@click.command()
@click.option("--tenant", help="Only of this tenant.")
@click.option("--all", "whole", is_flag=True, help="Also what is over, as far back as Kafka keeps it (92 days).")
@show.json_option
@click.pass_obj
def command(site: Site, tenant: str | None, whole: bool, as_json: bool) -> None:
    """Alerts about money: caps that are used up, runaway workflows, unusual weeks, providers that billed too much.

    Shown are those that are not over. The exit code is 1 where one of them is critical.
    """
    alerts = [alert for alert in site.run(_latest(site.broker)) if tenant in (None, alert.tenant) and (whole or alert.state == "raised")]
    if as_json:
        show.document([show.plain(alert) for alert in alerts])
    else:
        rows = [(show.at(a.raised_at_ms), a.severity, a.kind, a.detail, show.at(a.at_ms) if a.state == "resolved" else "") for a in alerts]
        show.table(("since", "", "kind", "what", "over"), rows)
    if any(alert.severity == "critical" and alert.state == "raised" for alert in alerts):
        raise click.exceptions.Exit(1)


async def _latest(broker: Broker) -> list[AlertRaised]:
    """Of each alert the latest record; oldest first."""
    found: dict[str, AlertRaised] = {}
    async for record in journal.records(broker, ALERT_RAISED):
        found[record.alert_id] = record
    return sorted(found.values(), key=lambda alert: alert.raised_at_ms)
