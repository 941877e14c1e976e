"""`daytwo documents add` and `remove`"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from daytwo.cli import show
from daytwo.cli.options import tenant_options, timeout_option
from daytwo.cli.site import Site
from daytwo.client import Client, ClientError, DocumentFinished, SigningKey

AT_ONCE = 32
MEDIA_TYPES = {".txt": "text/plain", ".rst": "text/plain", ".md": "text/markdown", ".html": "text/html", ".htm": "text/html"}

Work = Callable[[Client], Coroutine[Any, Any, DocumentFinished]]


@click.group()
def command() -> None:
    """Add or remove the documents answers are grounded in."""


@command.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@tenant_options
@click.option("--collection", required=True, help="Collection of the tenant they go to.")
@click.option("--source", help="Lasting name of a single file; else its path as typed. A new version of a source replaces the old.")
@click.option("--category", default="", help="For filters.")
@click.option("--media-type", type=click.Choice(["text/plain", "text/markdown", "text/html"]), help="Else by the file's ending.")
@timeout_option("5m")
@show.json_option
@click.pass_obj
def add(
    site: Site,
    paths: tuple[Path, ...],
    tenant: str,
    key: SigningKey | None,
    collection: str,
    source: str | None,
    category: str,
    media_type: str | None,
    timeout_ms: int,
    as_json: bool,
) -> None:
    """Add files, and the .txt, .rst, .md and .html files in folders, and wait until they are found.

    With --json one object a line, as they end. The exit code is 1 where one was refused or failed.
    """
    files = list(_files(paths))
    if source and len(files) != 1:
        raise click.UsageError("--source is for a single file")

    def work(path: Path) -> Work:
        fields: Any = {"category": category, "media_type": media_type or MEDIA_TYPES.get(path.suffix.lower(), "text/plain")}
        name = source or str(path)
        return lambda daytwo: daytwo.add_document(name, path.read_bytes(), collection, check=False, title=path.stem, **fields)

    _finish(site, {str(path): work(path) for path in files}, tenant, key, timeout_ms, as_json)


@command.command()
@click.argument("sources", nargs=-1, required=True)
@tenant_options
@click.option("--collection", required=True, help="Collection of the tenant they are in.")
@timeout_option("5m")
@show.json_option
@click.pass_obj
def remove(
    site: Site, sources: tuple[str, ...], tenant: str, key: SigningKey | None, collection: str, timeout_ms: int, as_json: bool
) -> None:
    """Remove sources, by the names they were added with. One that is not there is removed already."""

    def work(source: str) -> Work:
        return lambda daytwo: daytwo.remove_document(source, collection, check=False)

    _finish(site, {source: work(source) for source in sources}, tenant, key, timeout_ms, as_json)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in MEDIA_TYPES and file.is_file())
        else:
            yield path


def _finish(site: Site, works: dict[str, Work], tenant: str, key: SigningKey | None, timeout_ms: int, as_json: bool) -> None:
    done, errors = site.run(_all(site, works, tenant, key, timeout_ms / 1000, as_json))
    if not as_json and done:
        rows = [(result.outcome, result.source, result.chunks, _why(result)) for result in done]
        show.table(("outcome", "source", "chunks", "reason"), rows, right=("chunks",))
    bad = [result for result in done if result.outcome in ("refused", "failed")]
    show.note(f"{len(done) - len(bad)} done, {len(bad)} refused or failed, {len(errors)} without a result")
    for error in errors:
        show.note(error)
    if bad or errors:
        raise click.exceptions.Exit(1)


def _why(result: DocumentFinished) -> str:
    return "" if result.reason == "ok" else f"{result.reason}: {result.detail}"


async def _all(
    site: Site, works: dict[str, Work], tenant: str, key: SigningKey | None, timeout: float, as_json: bool
) -> tuple[list[DocumentFinished], list[str]]:
    room = asyncio.Semaphore(AT_ONCE)
    done: list[DocumentFinished] = []
    errors: list[str] = []
    with show.progress("documents", len(works), quiet=as_json) as advance:
        async with site.client(tenant, key, timeout) as daytwo:

            async def one(name: str, work: Work) -> None:
                async with room:
                    try:
                        result = await work(daytwo)
                    except (ClientError, OSError) as error:
                        errors.append(f"{name}: {error}")
                        return
                done.append(result)
                advance()
                if as_json:
                    show.line(result)

            await asyncio.gather(*[one(name, work) for name, work in works.items()])
    return sorted(done, key=lambda result: result.source), errors
