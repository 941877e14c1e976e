"""Starts llama.cpp's own HTTP server inside this process, configured for SmolLM2."""

from importlib import import_module
from pathlib import Path
from typing import Protocol

from services.local_model.settings import Settings

MODEL_NAME = "smollm2-135m-instruct"
HTTP_THREADS = 256

# ChatML, as the model was trained, but without the default system message that the file's own template adds.
# That message would be 21 prompt tokens nobody wrote: more than daytwo's bound of 16 a message allows for, so a
# short question would cost more than was reserved for it. The answers are better without it, too.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + (message['content'] or '') + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class RunningServer(Protocol):
    """A server that listens until its last reference is dropped; dropping it ends running requests and joins."""

    listening_address: str


def start_server(settings: Settings, weights: Path) -> RunningServer:
    """Load `weights` and listen. Returns when requests are answered (about a second).

    Raises RuntimeError when the port is taken or the file is not a model; llama.cpp writes the reason to stderr.
    """
    engine = import_module("xllamacpp")
    params = engine.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {MODEL_NAME}
    params.chat_template = CHAT_TEMPLATE
    params.hostnames = [settings.host]
    params.port = settings.port
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.context
    params.cpuparams.n_threads = settings.threads
    params.cpuparams_batch.n_threads = settings.threads
    # llama.cpp keeps the prompts of past requests in up to 8 GB of memory unless told otherwise.
    params.cache_ram_mib = 0
    # Every open connection occupies a thread, waiting requests too: with fewer, /health queues behind them.
    params.n_threads_http = HTTP_THREADS
    params.ui = False
    params.verbosity = 1  # errors only
    server: RunningServer = engine.Server(params)
    return server
