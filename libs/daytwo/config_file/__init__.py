"""`daytwo.yaml`: tenants, deployments and prices, checked as a whole and turned into the records that services follow.

A section that is there is the whole truth of its kind; one that is not there is left alone. docs/configuration.md is
generated from the models: `python -m daytwo.config_file`.
"""

from daytwo.config_file.load import Config, load, parse
from daytwo.config_file.problems import ConfigError, Problem

__all__ = ["Config", "ConfigError", "Problem", "load", "parse"]
