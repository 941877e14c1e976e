"""`python -m services.local_model`: serve SmolLM2 until SIGTERM or SIGINT."""

import logging
import os
import signal
import sys
from importlib.util import find_spec

from services.local_model.model_file import MissingPackage, find_weights, require_engine
from services.local_model.service import MODEL_NAME, start_server
from services.local_model.settings import SettingsError, read_settings

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def main() -> int:
    """Exit code 0 after a signal, 1 with one line on stderr when the server cannot start."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="local model: %(message)s")
    log = logging.getLogger(__name__)
    # Blocked before the engine starts its threads, so that they inherit it and no signal kills the process
    # behind our back; sigwait() below is then the only place where one arrives.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        settings = read_settings(os.environ)
        require_engine(find_spec)
        server = start_server(settings, find_weights(find_spec))
    except (SettingsError, MissingPackage) as error:
        log.error("%s", error)
        return 1
    except RuntimeError:
        log.error("cannot start on %s:%d; is the port taken?", settings.host, settings.port)
        return 1
    log.info("%s listens on %s, %d slots, %d threads", MODEL_NAME, server.listening_address, settings.slots, settings.threads)
    signal.sigwait(_STOP_SIGNALS)
    del server  # ends running requests and waits for the engine's threads
    return 0


if __name__ == "__main__":
    sys.exit(main())
