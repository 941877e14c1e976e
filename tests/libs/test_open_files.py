from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import resource
from daytwo.open_files import allow_many
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
allow_many()
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most))
"""


def test_a_process_may_have_more_calls_under_way_than_a_shell_allows_files() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)

    assert result.stdout == "True\n"
