from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner, Result

from daytwo.broker import outgoing
from daytwo.cli import main
from daytwo.cli.site import Site
from daytwo.clock import SystemClock
from daytwo.memory import MemoryBroker
from tests.audit.builders import Log, accepted, account, attempt_id, ledger


def audited(log: Log, *arguments: str, env: dict[str, str] | None = None) -> Result:
    broker = MemoryBroker(SystemClock())
    for record, _ in log.records:
        broker.append(outgoing(record))
    site = Site(env=env or {"DAYTWO_STATE": "nowhere"}, connect=lambda _: broker)
    return CliRunner().invoke(main, ["audit", "--settle", "1ms", *arguments], obj=site)


def lost() -> Log:
    """One request that was answered, one that is long past its deadline."""
    log = Log()
    log.answered("r1")
    log.write(accepted("gone-1"))
    return log


def test_a_clean_log_has_exit_code_0_and_says_so() -> None:
    log = Log()
    log.answered("r1")
    result = audited(log, "--no-ledger")

    assert result.exit_code == 0
    assert "clean" in result.stderr


def test_a_violation_has_exit_code_1_and_names_the_id() -> None:
    result = audited(lost(), "--no-ledger")

    assert result.exit_code == 1
    assert "gone-1" in result.stdout


def test_programs_get_json() -> None:
    found = json.loads(audited(lost(), "--no-ledger", "--json").stdout)

    assert (found["clean"], found["counts"]["accepted"], found["counts"]["lost"]) == (False, 2, 1)
    assert found["violations"][0]["ids"] == ["gone-1", "acme"]


def test_without_a_ledger_to_ask_it_says_what_to_do() -> None:
    result = audited(Log())

    assert result.exit_code == 2
    assert "--no-ledger" in result.stderr


def test_a_ledger_that_does_not_answer_is_one_line_and_no_verdict() -> None:
    result = audited(Log(), "--ledger", "http://127.0.0.1:1/ledger")

    assert result.exit_code == 1
    assert "--no-ledger" in result.stderr
    assert "clean" not in result.output


async def test_the_ledger_is_found_in_the_stack_that_runs_here(tmp_path: Path) -> None:
    log = Log()
    log.answered("r1", cost=30)

    async def view(_: web.Request) -> web.Response:
        return web.json_response(ledger(acme=account(29)))

    result = await _beside(view, log, tmp_path)

    assert result.exit_code == 1
    assert "ledger_differs" in result.stdout


async def test_a_bill_that_the_journal_does_not_cover_is_told(tmp_path: Path) -> None:
    log = Log()
    log.answered("r1", cost=30)
    call = {"attempt_id": attempt_id("r1", 1), "prompt_tokens": 1, "completion_tokens": 99}

    async def bill(_: web.Request) -> web.Response:
        return web.json_response({"calls": [call, {**call, "attempt_id": None}]})

    result = await _beside(bill, log, tmp_path, path="/bill")

    assert result.exit_code == 1
    assert "below_bill" in result.stdout


async def _beside(view: Any, log: Log, folder: Path, *, path: str = "/ledger") -> Result:
    """The command in a thread, with a server that answers it."""
    import asyncio

    app = web.Application()
    app.router.add_get(path, view)
    async with TestServer(app) as server:
        address = f"http://127.0.0.1:{server.port}"
        programs = [{"name": "cost-meter-0", "http": address}]
        arguments = () if path == "/ledger" else ("--no-ledger", "--bill", f"{address}{path}")
        (folder / "stack.json").write_text(json.dumps({"programs": programs}))
        return await asyncio.to_thread(audited, log, *arguments, env={"DAYTWO_STATE": str(folder)})
