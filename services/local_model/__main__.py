"""`python -m services.local_model`: serve SmolLM2 until SIGTERM or SIGINT."""

import logging
import os
import signal
import sys
from importlib.util import find_spec
from typing import NoReturn

from services.local_model.model_file import MissingPackageError, find_weights, require_engine
from services.local_model.service import MODEL_NAME, start_server
from services.local_model.settings import SettingsError, read_settings

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def main() -> NoReturn:
    """Exit code 0 after a signal, 1 with one line on stderr when the server cannot start."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="local model: %(message)s")
    log = logging.getLogger(__name__)
    # Blocked before the engine starts its threads, so that they inherit it and no signal ends the process
    # behind our back; sigwait() below is then the only place where one arrives.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        settings = read_settings(os.environ)
        require_engine(find_spec)
        server = start_server(settings, find_weights(find_spec))
    except (SettingsError, MissingPackageError) as error:
        sys.exit(f"local model: {error}")
    except RuntimeError:
        sys.exit(f"local model: cannot start on {settings.host}:{settings.port}; is the port taken?")
    log.info("%s listens on %s with %d slots", MODEL_NAME, server.listening_address, settings.slots)
    signal.sigwait(_STOP_SIGNALS)
    log.info("stopped")
    # The engine's destructor waits for ever when a request is running (seen with xllamacpp 2026.10: the HTTP
    # thread waits for a result the stopped queue never gives). There is nothing to save, so do not run it.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
