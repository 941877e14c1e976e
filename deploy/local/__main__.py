"""The command behind the Makefile: `python -m deploy.local {install,up,down,status,clean}`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from deploy.local import stack
from deploy.local.errors import SetupError
from deploy.local.progress import Steps
from deploy.local.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]


def settings_from_machine(only: str = "") -> Settings:
    return read_settings(os.environ, ROOT, Path(sys.executable), only)


@click.group()
def cli() -> None:
    """Runs daytwo's parts and services on this machine. Settings are DAYTWO_* variables, see deploy/local/README.md."""


@cli.command()
def install() -> None:
    """Install Java, Maven, Redis and Kafka, as far as they are missing."""
    stack.install(settings_from_machine(), Steps(stack.INSTALL_STEPS))


@cli.command()
@click.option("--only", default="", help="Comma-separated programs to start, e.g. kafka,topics,ledger-redis,ingest.")
def up(only: str) -> None:
    """Start everything, wait until it answers, and return."""
    started = stack.up(settings_from_machine(only), os.environ, Steps(stack.UP_STEPS))
    click.echo(f"daytwo is up: Kafka at {started['kafka']}, schemas at {started['registry']}")


@cli.command()
def down() -> None:
    """Stop everything. What it knows stays in the state folder."""
    stack.down(settings_from_machine())
    click.echo("daytwo is down")


@cli.command()
def clean() -> None:
    """Stop everything and remove the state folder."""
    stack.clean(settings_from_machine())
    click.echo("daytwo is down, and its state is gone")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def status(as_json: bool) -> None:
    """Show pid, state, health and address of each program. Exit code 1 when something wanted is not ready."""
    rows = stack.status(settings_from_machine())
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        click.echo(table(rows))
    else:
        click.echo("daytwo is down: `make up` starts it")
    sys.exit(0 if rows and all(row["health"] == "ready" or row["state"] == "stopped" for row in rows) else 1)


def table(rows: list[dict[str, Any]]) -> str:
    """Columns as wide as their longest cell."""
    columns = ("name", "pid", "state", "health", "port", "http")
    cells = [list(columns), *([str(row[column] or "-") for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def main() -> None:
    try:
        cli.main(prog_name="python -m deploy.local", standalone_mode=False)
    except SetupError as error:
        click.echo(f"daytwo: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"daytwo: {error.strerror}: {error.filename}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


if __name__ == "__main__":
    main()
