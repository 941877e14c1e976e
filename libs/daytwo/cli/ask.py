"""`daytwo ask TEXT`"""

from __future__ import annotations

from typing import Any

import click

from daytwo.cli import show
from daytwo.cli.options import tenant_options, timeout_option
from daytwo.cli.site import Site
from daytwo.client import RequestFinished, SigningKey
from daytwo.config_file.units import money_text


@click.command()
@click.argument("text")
@tenant_options
@click.option("--user", default="", help="End user of the tenant.")
@click.option("--session", default="", help="Conversation: its requests enter in their order.")
@click.option("--model", default="default", show_default=True, help="Model or alias.")
@click.option("--max-tokens", default=256, show_default=True, help="Most output tokens.")
@click.option("--temperature", type=float, help="Sampling temperature, 0 to 2.")
@click.option("--collection", "grounding", help="Ground the answer in the documents of this collection.")
@click.option("--cache", type=click.Choice(["use", "refresh", "off"]), default="use", show_default=True, help="How the cache may be used.")
@timeout_option()
@show.json_option
@click.pass_obj
def command(site: Site, /, text: str, tenant: str, key: SigningKey | None, timeout_ms: int, as_json: bool, **fields: Any) -> None:
    """Ask TEXT (- reads standard input) and print the answer.

    How it was served and what it cost is said on standard error. The exit code is 1 where there is no answer.
    """
    question = click.get_text_stream("stdin").read() if text == "-" else text
    result = site.run(_ask(site, question, tenant, key, timeout_ms / 1000, **fields))
    if as_json:
        show.document(result)
    else:
        _tell(result)
    if result.outcome in ("refused", "expired", "failed"):
        raise click.exceptions.Exit(1)


async def _ask(site: Site, question: str, tenant: str, key: SigningKey | None, timeout: float, **fields: Any) -> RequestFinished:
    async with site.client(tenant, key, timeout) as daytwo:
        return await daytwo.ask(question, check=False, **fields)


def _tell(result: RequestFinished) -> None:
    if result.message is not None:
        show.say(result.message.content or "")
        for call in result.message.tool_calls:
            show.say(f"{call.name}({call.arguments})")
    for citation in result.citations:
        show.note(f"[{citation.number}] {citation.source} {citation.title}".rstrip())
    show.note(summary(result))


def summary(result: RequestFinished) -> str:
    """How a request ended, in one line."""
    parts: list[str] = [result.outcome]
    if result.reason != "ok":
        parts.append(f"{result.reason}: {result.detail}" if result.detail else result.reason)
    if result.served_by:
        parts.append(f"by {result.deployment or result.served_by}" if result.served_by == "deployment" else f"from the {result.served_by}")
        parts.append(f"{result.usage.input_tokens} + {result.usage.output_tokens} tokens")
    parts.append(money_text(result.cost_nano))
    if result.saved_nano:
        parts.append(f"saved {money_text(result.saved_nano)}")
    if result.retry_after_ms is not None:
        parts.append(f"try again after {result.retry_after_ms / 1000:g} s")
    return ", ".join(parts)
