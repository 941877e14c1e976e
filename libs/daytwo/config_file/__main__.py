"""Writes docs/configuration.md to standard output."""

import sys

from daytwo.config_file.reference import reference

sys.stdout.write(reference())
