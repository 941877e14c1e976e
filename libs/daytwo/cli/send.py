"""`daytwo send FILE`"""

from __future__ import annotations

import asyncio
import json
from typing import Any, TextIO

import click

from daytwo.cli import show
from daytwo.cli.options import tenant_options, timeout_option
from daytwo.cli.site import Site
from daytwo.client import Client, InvalidInputError, SigningKey, WaitTimeoutError
from daytwo.client.input import Question, RequestFields, request

AT_ONCE = 256

Parsed = tuple[Question, dict[str, Any]]


@click.command()
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@tenant_options
@timeout_option()
@click.option("--wait", is_flag=True, help="Await the results, and print them instead of the ids, one JSON object a line.")
@click.pass_obj
def command(site: Site, file: TextIO, tenant: str, key: SigningKey | None, timeout_ms: int, wait: bool) -> None:
    """Submit the requests in FILE (standard input without one), one JSON object a line.

    \b
    A line has "text" or "messages", and any field of a request:
      {"text": "What is Kafka?"}
      {"messages": [{"role": "user", "content": "Hi"}], "session": "s1", "model": "small", "max_tokens": 64}

    All lines are checked first; if one is wrong, none is sent. The same request_id again has the same effect as once.
    """
    requests = _parsed(file, tenant)
    lost = site.run(_send(site, requests, tenant, key, timeout_ms / 1000, wait))
    if lost:
        raise click.ClickException(lost)


def _parsed(file: TextIO, tenant: str) -> list[Parsed]:
    requests: list[Parsed] = []
    problems = []
    for number, text in enumerate(_lines(file), start=1):
        if text.strip():
            try:
                requests.append(parse(text, tenant))
            except ValueError as error:
                problems.append(f"{file.name}:{number}: {error}")
    if problems:
        raise click.ClickException("nothing was sent\n" + "\n".join(problems))
    return requests


def _lines(file: TextIO) -> list[str]:
    try:
        return file.read().splitlines()
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{file.name} is not UTF-8: {error}") from error


def parse(text: str, tenant: str) -> Parsed:
    """Question and fields of one line. Raises ValueError with the reason."""
    try:
        fields = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(fields, dict):
        raise ValueError('a line must be a JSON object such as {"text": "..."}')
    if ("text" in fields) == ("messages" in fields):
        raise ValueError('either "text" or "messages"')
    question: Question = fields.pop("text") if "text" in fields else fields.pop("messages")
    if not isinstance(question, str | list) or not question:
        raise ValueError('"text" must be a string, "messages" a list of messages')
    if fields.pop("tenant", tenant) != tenant:
        raise ValueError(f"of another tenant than --tenant {tenant}")
    request(question, {name: value for name, value in fields.items() if name != "timeout"}, request_id="", tenant=tenant)
    return question, fields


async def _send(site: Site, requests: list[Parsed], tenant: str, key: SigningKey | None, timeout: float, wait: bool) -> str:
    """What went wrong, or nothing."""
    room = asyncio.Semaphore(AT_ONCE)
    async with site.client(tenant, key, timeout) as daytwo:

        async def submit(question: Question, fields: RequestFields) -> None:
            async with room:
                request_id = await daytwo.submit(question, **fields)
            if not wait:
                click.echo(request_id)

        tasks = [asyncio.create_task(submit(question, fields)) for question, fields in requests]  # type: ignore[arg-type]
        refused = [error for error in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(error, BaseException)]
        if unexpected := [error for error in refused if not isinstance(error, InvalidInputError)]:
            raise unexpected[0]
        show.note(f"submitted {len(requests) - len(refused)} requests")
        late = await _print_results(daytwo) if wait else ""
        return "\n".join([*map(str, refused), *([late] if late else [])])


async def _print_results(daytwo: Client) -> str:
    try:
        async for result in daytwo.results():
            show.line(result)
    except WaitTimeoutError as error:
        return str(error)
    return ""
