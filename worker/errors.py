"""Errors whose message alone tells an operator what to do; the command line prints them without a traceback."""


class FleetError(Exception):
    """Something the operator can put right: a setting, a port, a missing binary, a running fleet."""

    exit_code = 1
