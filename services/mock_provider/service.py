"""The mock provider as an aiohttp application: which route leads where."""

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web

from services.mock_provider import control
from services.mock_provider.chat import Provider, complete_chat

LARGEST_BODY = 32 * 1024 * 1024

Handler = Callable[[Provider, web.Request], Awaitable[web.StreamResponse]]


def create_app(provider: Provider) -> web.Application:
    """An application that serves `provider`. It opens nothing before it is run."""
    app = web.Application(client_max_size=LARGEST_BODY)
    routes: list[tuple[str, str, Handler]] = [
        ("POST", "/v1/chat/completions", complete_chat),
        ("GET", "/v1/models", control.models),
        ("GET", "/health", control.health),
        ("GET", "/config", control.show_config),
        ("PUT", "/config", control.change_config),
        ("GET", "/faults", control.show_faults),
        ("PUT", "/faults", control.replace_faults),
        ("DELETE", "/faults", control.clear_faults),
        ("GET", "/bill", control.show_bill),
        ("DELETE", "/bill", control.clear_bill),
    ]
    for method, path, handler in routes:
        app.router.add_route(method, path, partial(handler, provider))
    return app
