"""`python -m deploy.demo [--keep]`: the whole road on real parts. Exit code 0 only if all went as it should."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time

import click
from rich.console import Console

from daytwo.client import ClientError
from deploy.demo.board import Board
from deploy.demo.report import tell
from deploy.demo.stage import CommandError, Stage
from deploy.demo.tour import Tour
from deploy.demo.verdict import Evidence, last_line, problems
from deploy.local.errors import SetupError

LONGEST_S = 480.0
"""The whole tour, without the start; on a quiet machine of two cores it takes a minute or two."""


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running, and say where.")
def main(keep: bool) -> None:
    """Watch questions of three tenants travel through Kafka, the cache, Milvus and a local model."""
    # What aiokafka logs about a broker that goes away is no news to a person.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    logging.getLogger("aiokafka").propagate = False
    # Also where it was started in the background with SIGINT ignored: either signal ends the demo and its stack.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    board = Board(console, time.monotonic)
    stage = Stage(os.environ, sys.stdout)
    try:
        evidence = _played(stage, board, keep=keep)
    except SetupError as error:
        sys.exit(f"daytwo: {error}")
    except OSError as error:
        sys.exit(f"daytwo: {error.strerror}: {error.filename}")
    except KeyboardInterrupt:
        sys.exit(130)
    click.echo(last_line(evidence))
    sys.exit(1 if problems(evidence) else 0)


def _played(stage: Stage, board: Board, *, keep: bool) -> Evidence:
    """Whatever happens, only `keep` leaves a stack behind, and only success removes the logs."""
    evidence: Evidence | None = None
    try:
        stage.up()
        evidence = play(stage, board)
        tell(board, evidence)
    finally:
        if keep and evidence is not None:
            board.say(f"everything runs on: Kafka is at {stage.kafka}; DAYTWO_STATE={stage.settings.state} make status")
        else:
            board.say("stopping ...")
            stage.down(forget=evidence is not None and not problems(evidence))
    if problems(evidence):
        board.say(f"the logs are in {stage.settings.logs}")
    return evidence


def play(stage: Stage, board: Board) -> Evidence:
    """The tour, and what was seen of it when it ended, however it ended."""
    evidence = Evidence()
    try:
        asyncio.run(asyncio.wait_for(Tour(stage, board, evidence).run(), LONGEST_S))
    except TimeoutError:
        evidence.broken_off = f"it took longer than {LONGEST_S:.0f} s"
    except (CommandError, ClientError) as error:
        evidence.broken_off = str(error)
    return evidence


if __name__ == "__main__":
    main()
