"""Everything in one process, in virtual time, from one seed: the services as they are, what is around them as twins.

`python -m tests.simulation --help`; how it works is in docs/adr/0010-simulation.md.
"""
