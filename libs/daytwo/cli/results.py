"""`daytwo results`"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import click

from daytwo.cli import show
from daytwo.cli.ask import summary
from daytwo.cli.log import FirstResults, follow
from daytwo.cli.log import results as results_so_far
from daytwo.cli.options import DurationType
from daytwo.cli.site import Site
from daytwo.records import RequestFinished
from daytwo.topics import REQUEST_FINISHED

Wanted = Callable[[RequestFinished], bool]
Tell = Callable[[RequestFinished], None]


@click.command()
@click.option("--follow", "-f", "live", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--from-beginning", is_flag=True, help="All that Kafka keeps; with --follow, then what comes.")
@click.option("--since", "since_ms", type=DurationType(), help="Those of the last 15m, 24h, 7d, ...")
@click.option("--last", default=20, show_default=True, help="So many, the latest; without any of the other options.")
@click.option("--tenant", help="Only those of this tenant.")
@click.option("--request", "request_id", help="Only that of this request.")
@show.json_option
@click.pass_obj
def command(
    site: Site,
    live: bool,
    from_beginning: bool,
    since_ms: int | None,
    last: int,
    tenant: str | None,
    request_id: str | None,
    as_json: bool,
) -> None:
    """Show how requests ended, oldest first. With --json one object a line.

    Of each request the first terminal record counts; repeats are not shown. The exit code is 1 where --request names
    a request that has no result.
    """
    tell = show.line if as_json else _tell

    def wanted(result: RequestFinished) -> bool:
        return tenant in (None, result.tenant) and request_id in (None, result.request_id)

    if live:
        site.run(_follow(site, from_beginning, wanted, tell))
        return
    start_ms = None if since_ms is None else site.clock.now_ms() - since_ms
    found = sorted(site.run(_collect(results_so_far(site.broker, since_ms=start_ms), wanted)), key=lambda result: result.finished_at_ms)
    everything = from_beginning or since_ms is not None or request_id
    for result in found if everything else found[-last:]:
        tell(result)
    if request_id and not found:
        raise click.ClickException(f"request {request_id} has no result yet, or Kafka keeps it no longer")


async def _collect(stream: AsyncIterator[RequestFinished], wanted: Wanted) -> list[RequestFinished]:
    return [result async for result in stream if wanted(result)]


async def _follow(site: Site, from_beginning: bool, wanted: Wanted, tell: Tell) -> None:
    firsts = FirstResults()
    async for raw in follow(site.broker, REQUEST_FINISHED, from_beginning=from_beginning):
        result = firsts.take(raw)
        if result is not None and wanted(result):
            tell(result)


def _tell(result: RequestFinished) -> None:
    said = show.short(result.message.content if result.message else "", 100)
    identity = f"{show.at(result.finished_at_ms)}  {result.tenant}  {result.request_id}"
    click.echo(show.clean(f"{identity}  {summary(result)}{'  ' + said if said else ''}"))
