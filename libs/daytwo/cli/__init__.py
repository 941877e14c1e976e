"""The `daytwo` command. One module a command, imported only when it is called, so that `--help` is there at once."""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

from daytwo.errors import DaytwoError

COMMANDS = {
    "apply": "Check daytwo.yaml and publish what changed.",
    "changes": "Who changed which cap, price or deployment, and when.",
    "ask": "Ask one question and print the answer.",
    "send": "Submit many requests, one JSON object a line.",
    "results": "Show results, or follow them live.",
    "documents": "Add or remove the documents answers are grounded in.",
    "topics": "Compare the topics that are declared with those that exist.",
    "dead-letters": "List, show and replay what could not be processed.",
    "usage": "Requests, tokens and money by tenant, user, step or model.",
    "trends": "This week against the last eight, and when budgets run out.",
    "alerts": "What people should see about money, and is not over.",
    "prices": "What models cost, and which have no price.",
    "reprice": "What the same traffic would have cost at other prices.",
    "reconcile": "Hold a provider's own bill against the log.",
    "audit": "Read the log and check that nothing was lost or paid twice.",
    "status": "What runs, how it is, and how far behind it is.",
}


class LazyGroup(click.Group):
    """Its commands are the modules of this package that export `command`. What goes wrong is one line, not a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if find_spec(_module(name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(_module(cmd_name)).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except DaytwoError as error:
            raise click.ClickException(_advice(error)) from error
        except OSError as error:
            raise click.ClickException(" ".join(str(error).split()) or repr(error)) from error


def _module(name: str) -> str:
    return f"daytwo.cli.{name.replace('-', '_')}"


def _advice(error: DaytwoError) -> str:
    detail = " ".join(error.detail.split())
    if error.reason == "store_unavailable":
        return f"{detail}; does it run there, with its topics? (`daytwo status`, `daytwo topics`)"
    return f"{error.reason}: {detail}"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--kafka", metavar="HOST:PORT", help="Kafka's address. Else DAYTWO_KAFKA, else that of the stack that runs here.")
@click.version_option(package_name="daytwo")
@click.pass_context
def main(ctx: click.Context, kafka: str | None) -> None:
    """Infrastructure for LLM agents in production, on Kafka.

    \b
    A first walk:
      daytwo apply examples/daytwo.yaml        tenants, models and prices
      daytwo ask --tenant acme "What is Kafka?"
      daytwo usage                             what it cost
      daytwo status                            what runs

    Every command prints tables for people, and JSON for programs with --json. The exit code says whether it went well.
    """
    from daytwo.cli.site import Site

    # What aiokafka logs about a broker that is away is said in one line at the end.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    logging.getLogger("aiokafka").propagate = False
    ctx.obj = (ctx.obj or Site()).at(kafka)
