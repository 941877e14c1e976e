"""Every command, as a person and as a program uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from daytwo.broker import Outgoing, Partition, outgoing
from daytwo.cli import COMMANDS, main
from daytwo.clock import SystemClock
from daytwo.codec import decode
from daytwo.memory import MemoryBroker
from daytwo.records import DeadLetter, DocumentSubmitted, Message, RequestFinished, RequestSubmitted, TenantConfigured, Usage
from daytwo.results import document_ended, finished
from daytwo.topics import REQUEST_SUBMITTED, TENANT_CONFIGURED, TOPICS
from tests.cli.conftest import Daytwo
from tests.client.services import AnsweringBroker, answered, sent

ROOT = Path(__file__).parents[2]
HOUR_MS = 3_600_000


def ended(request_id: str, tenant: str = "acme", **rest: object) -> RequestFinished:
    request = RequestSubmitted(request_id=request_id, tenant=tenant, user="ann", messages=(Message(role="user", content="?"),))
    usage = Usage(input_tokens=10, output_tokens=5)
    return replace(answered(request, "an answer", usage=usage, cost_nano=1_500_000, model="m"), **{"finished_at_ms": 1, **rest})  # type: ignore[arg-type]


# the command as such


def test_help_names_every_command_and_imports_none() -> None:
    heavy = "{'aiokafka', 'rich', 'pydantic', 'fastavro'} & set(sys.modules)"
    code = f"import sys; from daytwo.cli import main; main(['--help'], standalone_mode=False); sys.exit(len({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "libs")}, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in main.list_commands(None))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "audit"])
def test_every_command_teaches_and_its_short_help_says_the_same(daytwo: Daytwo, name: str) -> None:
    said = daytwo(name, "--help")
    assert said.code == 0
    assert len(said.out) > 200


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "--tenant", "a", "?"],
        ["usage"],
        ["results"],
        ["results", "--follow"],
        ["apply", ROOT / "examples" / "daytwo.yaml"],
        ["topics"],
        ["dead-letters", "list"],
        ["documents", "remove", "--tenant", "a", "--collection", "c", "x"],
    ],
)
def test_a_broker_that_is_away_is_one_line_and_no_traceback(daytwo: Daytwo, arguments: list[str]) -> None:
    daytwo.broker.down = True
    said = daytwo(*arguments)
    assert said.code == 1
    (line,) = [line for line in said.err.splitlines() if not line.startswith("warning")]
    assert line.startswith("Error: ")
    assert "down" in line


def test_kafka_is_found_by_option_environment_and_stack_file_in_this_order(daytwo: Daytwo) -> None:
    daytwo("usage")
    (daytwo.state / "stack.json").write_text('{"kafka": "from-stack:1"}')
    daytwo("usage")
    daytwo.env["DAYTWO_KAFKA"] = "from-env:1"
    daytwo("usage")
    daytwo("--kafka", "given:1", "usage")
    assert daytwo.connected == ["127.0.0.1:9092", "from-stack:1", "from-env:1", "given:1"]


@pytest.mark.parametrize("address", ["nonsense", "host:", "host:http", ":9092", "a:1,b", "host:99999"])
def test_an_address_that_is_none_is_one_line(daytwo: Daytwo, address: str) -> None:
    said = daytwo("--kafka", address, "usage")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "HOST:PORT" in said.err


def test_a_broken_stack_file_is_one_line(daytwo: Daytwo) -> None:
    (daytwo.state / "stack.json").write_text("{")
    said = daytwo("usage")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "cannot be read" in said.err


# apply

ONE = "tenants: {acme: {caps: [{scope: tenant, period: day, limit: $5}]}, old: {}}\nprices: []\n"
TWO = "tenants: {acme: {caps: [{scope: tenant, period: day, limit: $6}]}, new: {}}\n"


def changes(said: object) -> dict[str, str]:
    return {change["key"]: change["change"] for change in said.json["changes"]}  # type: ignore[attr-defined]


def test_apply_publishes_what_changed_and_only_that(daytwo: Daytwo, written: Callable[[str], Path]) -> None:
    assert changes(daytwo("apply", written(ONE), "--json")) == {"acme": "added", "old": "added"}
    before = len(daytwo.broker.records("tenant-configured"))

    assert changes(daytwo("apply", written(ONE), "--json")) == {"acme": "unchanged", "old": "unchanged"}
    assert len(daytwo.broker.records("tenant-configured")) == before

    assert changes(daytwo("apply", written(TWO), "--json")) == {"acme": "changed", "old": "removed", "new": "added"}
    latest = {raw.key: raw.value for raw in daytwo.broker.records("tenant-configured")}
    assert latest[b"old"] is None
    assert decode(TENANT_CONFIGURED, latest[b"acme"] or b"").caps[0].limit_nano == 6_000_000_000


def test_a_dry_run_publishes_nothing(daytwo: Daytwo, written: Callable[[str], Path]) -> None:
    said = daytwo("apply", written(ONE), "--dry-run")
    assert "nothing was published" in said.err
    assert "acme" in said.out
    assert daytwo.broker.records("tenant-configured") == []


def test_a_wrong_file_names_all_problems_and_publishes_nothing(daytwo: Daytwo, written: Callable[[str], Path]) -> None:
    said = daytwo("apply", written("tenants:\n  acme: {activ: true}\n  b: {max_timeout: 5}\n"))
    assert said.code == 1
    assert [line.split(":")[1:3] for line in said.err.splitlines()] == [["2", "10"], ["3", "20"]]
    assert daytwo.broker.records("tenant-configured") == []
    assert [problem["line"] for problem in daytwo("apply", written("a: 1\nb: 2"), "--json").json["problems"]] == [1, 2]


def test_the_difference_never_shows_a_secret(daytwo: Daytwo, written: Callable[[str], Path]) -> None:
    daytwo("apply", written("tenants: {a: {keys: [{id: k, secret: first-secret-of-all}]}}"))
    said = daytwo("apply", written("tenants: {a: {keys: [{id: k, secret: second-secret-of-all}]}}"))
    assert "keys" in said.out
    assert "secret-of-all" not in said.out + said.err


def test_a_configuration_that_cannot_be_read_any_more_is_replaced(daytwo: Daytwo, written: Callable[[str], Path]) -> None:
    daytwo.broker.append(Outgoing(topic="tenant-configured", key=b"acme", value=b"garbage"))
    assert changes(daytwo("apply", written(ONE), "--json"))["acme"] == "changed"


def test_apply_keeps_what_the_file_does_not_speak_of(daytwo: Daytwo, written: Callable[[str], Path]) -> None:
    daytwo.broker.append(outgoing(TenantConfigured(tenant="acme")))
    daytwo("apply", written("prices: []"))
    assert len(daytwo.broker.records("tenant-configured")) == 1


# ask and send


def test_ask_prints_the_answer_and_says_beside_it_what_it_cost(daytwo: Daytwo) -> None:
    said = daytwo("ask", "--tenant", "acme", "--session", "s", "hello")
    assert (said.code, said.out) == (0, "echo: hello\n")
    assert "answered" in said.err
    assert "$0.00" in said.err
    assert daytwo("ask", "--tenant", "acme", "-", "--json", stdin="from a pipe").json["message"]["content"] == "echo: from a pipe"


def test_ask_signs_with_the_key_of_the_environment(daytwo: Daytwo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYTWO_KEY", "k1:s3cret")
    daytwo("ask", "--tenant", "acme", "hello")
    (raw,) = daytwo.broker.records("request-submitted")
    assert raw.headers["daytwo-key"] == b"k1"


def test_a_refused_question_is_exit_code_one_with_the_reason(daytwo: Daytwo) -> None:
    def refuse(request: RequestSubmitted) -> Sequence[RequestFinished]:
        return [finished(request, now_ms=0, outcome="refused", reason="budget_exceeded", retry_after_ms=60_000)]

    daytwo.broker = AnsweringBroker(SystemClock(), refuse)
    said = daytwo("ask", "--tenant", "acme", "hello")
    assert said.code == 1
    assert "refused, budget_exceeded" in said.err
    assert "try again after 60 s" in said.err


def test_nobody_there_to_answer_is_one_line(daytwo: Daytwo) -> None:
    daytwo.broker = MemoryBroker(SystemClock())
    said = daytwo("ask", "--tenant", "acme", "--timeout", "100ms", "hello")
    assert said.code == 1
    assert said.err.startswith("Error: no result in time")
    assert said.err.count("\n") == 1


def test_send_submits_every_line_or_none(daytwo: Daytwo, tmp_path: Path) -> None:
    good = '{"text": "a", "request_id": "r1"}\n\n{"messages": [{"role": "user", "content": "b"}], "max_tokens": 7}\n'
    said = daytwo("send", "--tenant", "acme", stdin=good)
    assert said.code == 0
    assert said.out.splitlines()[0] == "r1"
    assert "submitted 2 requests" in said.err
    sizes = {decode(REQUEST_SUBMITTED, raw.value or b"").max_tokens for raw in daytwo.broker.records("request-submitted")}
    assert sizes == {256, 7}

    bad = tmp_path / "bad.jsonl"
    bad.write_text(good + 'not json\n{"text": "a", "colour": 1}\n{"text": ""}\n[]\n{"text": "x", "tenant": "other"}\n' + "[" * 100_000)
    said = daytwo("send", "--tenant", "acme", bad)
    assert said.code == 1
    assert [line.split(":")[1] for line in said.err.splitlines()[1:]] == ["4", "5", "6", "7", "8", "9"]
    assert len(daytwo.broker.records("request-submitted")) == 2


def test_send_can_wait_for_the_results(daytwo: Daytwo) -> None:
    said = daytwo("send", "--tenant", "acme", "--wait", stdin='{"text": "a"}\n{"text": "b"}')
    assert sorted(result["message"]["content"] for result in said.lines) == ["echo: a", "echo: b"]


# results and usage


def with_results(daytwo: Daytwo) -> None:
    for result in (
        ended("r1"),
        ended("r2", finished_at_ms=2, outcome="failed", reason="internal_error", message=None, served_by=""),
        ended("r2", finished_at_ms=3),
        ended("r3", tenant="umbrella", finished_at_ms=4, served_by="cache", cost_nano=0, saved_nano=2_000_000_000),
    ):
        daytwo.broker.append(sent(result))
    daytwo.broker.append(Outgoing(topic="request-finished", key=b"acme/x", value=b"garbage"))


def test_results_are_the_first_of_each_request_oldest_first(daytwo: Daytwo) -> None:
    with_results(daytwo)
    assert [(r["request_id"], r["outcome"]) for r in daytwo("results", "--json").lines] == [
        ("r1", "answered"),
        ("r2", "failed"),
        ("r3", "answered"),
    ]
    assert [r["request_id"] for r in daytwo("results", "--last", "1", "--json").lines] == ["r3"]
    assert [r["request_id"] for r in daytwo("results", "--tenant", "umbrella", "--json").lines] == ["r3"]
    assert "an answer" in daytwo("results", "--request", "r1").out
    assert daytwo("results", "--request", "nobody").code == 1


def test_text_of_a_model_cannot_steer_the_terminal(daytwo: Daytwo) -> None:
    daytwo.broker.append(sent(ended("r1", message=Message(role="assistant", content="\x1b[2Jgone"))))
    assert "\x1b" not in daytwo("results").out


def test_usage_counts_each_request_once(daytwo: Daytwo) -> None:
    with_results(daytwo)
    told = daytwo("usage", "--json").json
    acme, umbrella = told["groups"]
    assert (acme["tenant"], acme["requests"], acme["outcomes"], acme["cost_nano"]) == (
        "acme",
        2,
        {"answered": 1, "failed": 1},
        3_000_000,
    )
    assert (umbrella["from_cache"], umbrella["saved_nano"]) == (1, 2_000_000_000)
    assert told["total"]["requests"] == 3
    assert {(g["user"], g["model"]) for g in daytwo("usage", "--by", "user,model", "--json").json["groups"]} == {("ann", "m")}
    assert daytwo("usage", "--tenant", "umbrella", "--json").json["total"]["requests"] == 1
    assert "$0.003" in daytwo("usage").out
    assert daytwo("usage", "--by", "colour").code == 2


class At(SystemClock):
    """A clock that can be set; it sleeps as the real one does."""

    def __init__(self, now_ms: int) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms


def test_usage_since_does_not_count_a_repeat_of_what_ended_before(daytwo: Daytwo) -> None:
    now = SystemClock().now_ms()
    clock = At(now - 40 * 60_000)
    daytwo.broker = MemoryBroker(clock)
    daytwo.broker.append(sent(ended("before")))
    clock.ms = now - 5 * 60_000
    daytwo.broker.append(sent(ended("before")))
    daytwo.broker.append(sent(ended("after")))
    assert daytwo("usage", "--since", "15m", "--json").json["total"]["requests"] == 1
    assert daytwo("usage", "--since", "1h", "--json").json["total"]["requests"] == 2


# documents


def test_documents_of_a_folder_are_added_and_removed(daytwo: Daytwo, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# A")
    (folder / "b.HTML").write_text("<p>b")
    (folder / "c.png").write_bytes(b"\x89")
    said = daytwo("documents", "add", folder, "--tenant", "acme", "--collection", "manual", "--json")
    assert said.code == 0
    assert sorted(line["source"] for line in said.lines) == [str(folder / "a.md"), str(folder / "b.HTML")]
    said = daytwo("documents", "remove", str(folder / "a.md"), "--tenant", "acme", "--collection", "manual")
    assert "removed" in said.out


def test_a_refused_document_is_exit_code_one(daytwo: Daytwo, tmp_path: Path) -> None:
    def refuse(document: DocumentSubmitted) -> object:
        return document_ended(document, now_ms=0, outcome="refused", reason="invalid_document", detail="no text")

    daytwo.broker = AnsweringBroker(SystemClock(), document=refuse)  # type: ignore[arg-type]
    (tmp_path / "a.txt").write_bytes(b"\xff")
    said = daytwo("documents", "add", tmp_path / "a.txt", "--tenant", "acme", "--collection", "manual")
    assert said.code == 1
    assert "invalid_document: no text" in said.out
    assert daytwo("documents", "add", tmp_path, tmp_path, "--source", "x", "--tenant", "a", "--collection", "c").code == 2


# topics, dead letters, status


def test_topics_that_are_missing_or_differ_are_named(daytwo: Daytwo) -> None:
    assert daytwo("topics").code == 0
    daytwo.broker.append(sent(ended("r1")))
    del daytwo.cluster.existing["dead-letter"]
    daytwo.cluster.existing |= {"request-missed": 1, "somebody-elses": 2}
    said = daytwo("topics", "--json")
    rows = {row["topic"]: row for row in said.json}
    assert said.code == 1
    assert [rows[name]["state"] for name in ("dead-letter", "request-missed", "somebody-elses", "request-finished")] == [
        "missing",
        "differs",
        "not declared",
        "ok",
    ]
    assert rows["request-finished"]["records"] == 1
    assert len(rows) == len(TOPICS) + 1


def letter(offset: int, reason: str = "unreadable", **rest: object) -> DeadLetter:
    fields = {"key": b"acme/s", "value": b"\x00garbage\x1b[2J", "headers": {"request-id": b"r1"}, "failed_at_ms": offset, **rest}
    return DeadLetter(
        service="ingest", topic="request-submitted", partition=1, offset=offset, timestamp_ms=0, reason=reason, **fields  # type: ignore[arg-type]
    )  # fmt: skip


def test_dead_letters_are_listed_once_and_shown_without_control_characters(daytwo: Daytwo) -> None:
    for item in (letter(1), letter(1), letter(2, "too_large")):
        daytwo.broker.append(outgoing(item))
    assert [line["id"] for line in daytwo("dead-letters", "list", "--json").lines] == ["request-submitted/1/1", "request-submitted/1/2"]
    assert [line["offset"] for line in daytwo("dead-letters", "list", "--reason", "too_large", "--json").lines] == [2]
    said = daytwo("dead-letters", "show", "request-submitted/1/1")
    assert "garbage" in said.out
    assert "\x1b" not in said.out
    assert daytwo("dead-letters", "show", "request-submitted/1/1", "--json").json["value"] == "AGdhcmJhZ2UbWzJK"
    assert "no such dead letter" in daytwo("dead-letters", "show", "x").err


def test_a_dead_letter_without_bytes_is_not_sent_as_a_deletion(daytwo: Daytwo) -> None:
    daytwo.broker.append(outgoing(replace(letter(1), key=None, value=None)))
    said = daytwo("dead-letters", "replay", "request-submitted/1/1")
    assert "have no bytes to send: request-submitted/1/1" in said.err
    assert daytwo.broker.records("request-submitted") == []


def test_an_answer_is_told_without_what_a_terminal_obeys_and_with_its_lines(daytwo: Daytwo) -> None:
    daytwo.broker = AnsweringBroker(SystemClock(), lambda request: [answered(request, "one\n\ttwo\x1b]0;owned\x07 \u00e4\u202e")])
    assert daytwo("ask", "What?", "--tenant", "acme").out == "one\n\ttwo\u00b7]0;owned\u00b7 \u00e4\u00b7\n"


def test_a_replay_sends_the_original_bytes_to_the_original_topic(daytwo: Daytwo) -> None:
    daytwo.broker = MemoryBroker(SystemClock())
    for item in (letter(1), letter(2, "too_large"), letter(3, "too_large")):
        daytwo.broker.append(outgoing(item))
    daytwo("dead-letters", "replay", "request-submitted/1/1", "--dry-run")
    assert daytwo.broker.records("request-submitted") == []
    daytwo("dead-letters", "replay", "request-submitted/1/1")
    (raw,) = daytwo.broker.records("request-submitted")
    assert (raw.key, raw.value, raw.headers) == (b"acme/s", b"\x00garbage\x1b[2J", {"request-id": b"r1"})
    assert len(daytwo("dead-letters", "replay", "--reason", "too_large", "--json").json["replayed"]) == 2
    assert daytwo("dead-letters", "replay").code == 2
    assert daytwo("dead-letters", "replay", "a", "--reason", "b").code == 2


def test_lag_counts_what_a_group_has_not_committed(daytwo: Daytwo) -> None:
    for n in range(20):
        MemoryBroker.append(daytwo.broker, outgoing(RequestSubmitted(request_id=f"r{n}", tenant="acme", messages=())))
    busy = next(p for p, log in daytwo.broker.logs.items() if p.topic == "request-submitted" and log)
    done = len(daytwo.broker.logs[busy])
    daytwo.cluster.offsets["ingest"] = {busy: done}
    told = daytwo("status", "--json").json
    assert told["services"]["ingest"] == {"lag": 20 - done, "topics": {"request-submitted": 20 - done}}
    assert "ingest" in daytwo("status").out


def test_status_says_what_is_not_well(daytwo: Daytwo) -> None:
    programs = [{"name": "ingest-0", "kind": "service", "http": "http://127.0.0.1:9", "log": "x.log"}, {"name": "kafka", "kind": "part"}]
    stack = {"kafka": "k:1", "supervisor": f"unix://{daytwo.state}/none.sock", "programs": programs}
    (daytwo.state / "stack.json").write_text(json.dumps(stack))
    said = daytwo("status", "--json")
    ingest, kafka = said.json["programs"]
    assert said.code == 1
    assert ingest["health"].startswith("no answer")
    assert (kafka["health"], kafka["state"]) == (None, None)
    daytwo.broker.down = True
    daytwo.cluster.offsets["ingest"] = {Partition("request-submitted", 0): 0}
    assert "down" in daytwo("status", "--json").json["kafka"]
