"""Runs services in a process: `main(build)` in a service's `__main__`, several builders for all in one process.

One event loop (uvloop), one producer, an HTTP port with /health, /metrics and the services' views. SIGTERM drains.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from daytwo.errors import RetryableError
from daytwo.flow import Service
from daytwo.kafka import KafkaBroker
from daytwo.loop import Loop, LoopSettings, loops_of
from daytwo.metrics import Metrics
from daytwo.open_files import allow_many
from daytwo.world import World

log = logging.getLogger(__name__)

Build = Callable[[World], Service]


def main(*builds: Build) -> None:
    """Runs the services until SIGTERM or SIGINT. Exits with 1 when one of them cannot go on; a supervisor starts it anew."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    allow_many()
    world = World()
    try:
        services = [build(world) for build in builds]
    except ValueError as error:
        sys.exit(f"daytwo: {error}")
    try:
        uvloop.run(run(services, world))
    except Exception:
        log.exception("stopped")
        sys.exit(1)


async def run(services: Sequence[Service], world: World) -> None:
    """Runs the services of one process on real Kafka until they are asked to stop or one fails."""
    broker = KafkaBroker(world.kafka)
    metrics = Metrics()
    for collector in [collector for service in services for collector in service.collectors]:
        metrics.registry.register(collector)
    sender = broker.sender()
    await sender.start()
    state = world.env.get("DAYTWO_STATE")
    settings = LoopSettings(marks=Path(state) / "in-flight" if state else None)
    loops = [loop for service in services for loop in loops_of(service, broker, world, metrics, sender=sender, settings=settings)]
    runner = await _serve(loops, metrics, world)
    # What start-up made stays; looking through it again and again for garbage costs a tenth of the processor time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    running = [asyncio.create_task(loop.run(), name=loop.service.name) for loop in loops]
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, loops)
    try:
        await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
        _stop(loops)
        await asyncio.gather(*running)
    finally:
        await asyncio.gather(*running, return_exceptions=True)
        await sender.stop()
        await runner.cleanup()


def _stop(loops: Sequence[Loop]) -> None:
    log.info("draining")
    for loop in loops:
        loop.stop()


async def _serve(loops: Sequence[Loop], metrics: Metrics, world: World) -> web.AppRunner:
    app = web.Application()

    async def health(_: web.Request) -> web.Response:
        states = {
            name: {
                "state": _state(of_service),
                "in_flight": sum(loop.in_flight() for loop in of_service),
            }
            for name, of_service in _by_service(loops).items()
        }
        ready = all(state["state"] == "ready" for state in states.values())
        body = {"status": "ready" if ready else "starting", "services": states}
        return web.Response(body=orjson.dumps(body), status=200 if ready else 503, content_type="application/json")

    async def prometheus(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/health", health)
    app.router.add_get("/metrics", prometheus)
    for path, view in {path: view for loop in loops for path, view in loop.service.views.items()}.items():
        app.router.add_get(path, _json_view(view))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, port = world.env.get("DAYTWO_HOST", "127.0.0.1"), int(world.env.get("DAYTWO_HTTP_PORT", "0"))
    await web.TCPSite(runner, host, port).start()
    return runner


def _state(of_service: Sequence[Loop]) -> str:
    found = next((loop.state for loop in of_service if loop.state != "ready"), "ready")
    return "starting" if found == "ready" and not of_service[0].service.ready() else found


def _by_service(loops: Sequence[Loop]) -> dict[str, list[Loop]]:
    found: dict[str, list[Loop]] = {}
    for loop in loops:
        found.setdefault(loop.service.name, []).append(loop)
    return found


def _json_view(view: Callable[[], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        try:
            return web.Response(body=orjson.dumps(await view()), content_type="application/json")
        except RetryableError as error:
            return web.json_response({"error": str(error)}, status=503)

    return answer
