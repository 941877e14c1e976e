"""`python -m services.mock_provider`: serve until SIGTERM or SIGINT."""

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

import click
import orjson
import uvloop
from aiohttp import web

from daytwo.open_files import allow_many
from services.mock_provider.bill import Bill
from services.mock_provider.bill_file import BillFile, BillFileError
from services.mock_provider.chat import Provider
from services.mock_provider.errors import InvalidSettingError
from services.mock_provider.faults import Faults
from services.mock_provider.service import create_app
from services.mock_provider.settings import AT_ONCE, changed

_DISTRIBUTION = 'a number, {"fixed": …} or {"median": …, "p99": …}'


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.option("--host", envvar="DAYTWO_HOST", default="127.0.0.1", show_envvar=True)
@click.option("--port", envvar="DAYTWO_HTTP_PORT", default=8091, type=click.IntRange(0, 65_535), show_envvar=True)
@click.option("--latency-ms", envvar="DAYTWO_MOCK_LATENCY_MS", default="0", help=_DISTRIBUTION, show_envvar=True)
@click.option("--output-tokens", envvar="DAYTWO_MOCK_OUTPUT_TOKENS", default="16", help=_DISTRIBUTION, show_envvar=True)
@click.option("--seed", envvar="DAYTWO_MOCK_SEED", default=0, show_envvar=True)
@click.option("--bill-entries", envvar="DAYTWO_BILL_ENTRIES", default=1_000_000, type=click.IntRange(0), show_envvar=True)
@click.option("--bill-file", envvar="DAYTWO_BILL_FILE", type=click.Path(path_type=Path), show_envvar=True)
def main(host: str, port: int, latency_ms: str, output_tokens: str, seed: int, bill_entries: int, bill_file: Path | None) -> None:
    """A fast OpenAI-compatible model provider that fails on demand and keeps a bill."""
    allow_many()
    try:
        config = {
            "latency_ms": _json(latency_ms, "--latency-ms"),
            "output_tokens": _json(output_tokens, "--output-tokens"),
            "seed": seed,
        }
        behaviour = changed(AT_ONCE, config)
        bill = Bill(capacity=bill_entries)
        with ExitStack() as stack:
            if bill_file is not None:
                bill.journal = stack.enter_context(BillFile(bill_file))
                bill.journal.restore(bill)
            provider = Provider(behaviour=behaviour, faults=Faults(), bill=bill, rng=Random(seed), clock=time.time)
            _serve(provider, host, port)
    except (InvalidSettingError, BillFileError, OSError) as error:
        sys.exit(f"mock provider: {error}")


def _serve(provider: Provider, host: str, port: int) -> None:
    web.run_app(
        create_app(provider),
        host=host,
        port=port,
        loop=uvloop.new_event_loop(),
        access_log=None,
        print=None,
        shutdown_timeout=1.0,  # for hanging calls
    )


def _json(text: str, option: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidSettingError(f"{option} {text!r}: needs {_DISTRIBUTION}") from None


if __name__ == "__main__":
    main()
