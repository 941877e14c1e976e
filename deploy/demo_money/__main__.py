"""`python -m deploy.demo_money [--keep]`: money on real parts. Exit code 0 only if all is as promised."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from daytwo.client import ClientError
from deploy.demo.stage import CommandError, Stage
from deploy.demo_money.evidence import Evidence
from deploy.demo_money.tour import Say, Tour
from deploy.local.errors import SetupError

CONFIGURATION: Final = Path(__file__).with_name("daytwo.yaml")
ONLY: Final = "kafka,topics,ledger-redis,cache-redis,mock-provider,ingest,cost-meter,embedder,cache,inference-router,usage-windows,alerter"
"""No document is grounded in here, and the mock provider keeps a bill: the model and Milvus are not needed."""
LONGEST_S: Final = 600.0


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running, and say where.")
def main(keep: bool) -> None:
    """A runaway stopped by its cap, a crowd on a cap for ten, kill -9, the provider's bill, the week, the audit."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    logging.getLogger("aiokafka").propagate = False
    # Also where it was started in the background with SIGINT ignored: either signal ends the demo and its stack.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, soft_wrap=True)

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False)

    stage = Stage(os.environ, sys.stdout, name="demo-money", configuration=CONFIGURATION, only=ONLY)
    evidence = Evidence()
    try:
        _play(stage, say, evidence, keep=keep)
    except (SetupError, OSError) as error:
        sys.exit(f"daytwo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    problems = evidence.problems()
    say(f"\n{len(evidence.checks)} promises checked, {len(problems)} broken", style="red" if problems else "green")
    for problem in problems:
        say(f"  {problem}", style="red")
    sys.exit(1 if problems else 0)


def _play(stage: Stage, say: Say, evidence: Evidence, *, keep: bool) -> None:
    """Whatever happens, only `keep` leaves a stack behind, and only success removes the logs."""
    try:
        stage.up()
        asyncio.run(asyncio.wait_for(Tour(stage, say, evidence).run(), LONGEST_S))
    except TimeoutError:
        evidence.broken_off = f"it took longer than {LONGEST_S:.0f} s"
    except (CommandError, ClientError) as error:
        evidence.broken_off = str(error)
    finally:
        if keep:
            say(f"everything runs on: Kafka is at {stage.kafka}; DAYTWO_STATE={stage.settings.state} make status")
        else:
            say("stopping ...")
            stage.down(forget=not evidence.problems())


if __name__ == "__main__":
    main()
