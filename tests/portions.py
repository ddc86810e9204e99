"""How the tests are dealt out to several processes.

A portion is a test file. The longest come first, so that no process is left with one when the others have ended; unit
tests come last. What asks the shared fleet goes to the same few processes, because each process starts its own.
"""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

PROCESSES_PER_CORE = 2.5  # tests wait for servers and processes more than they work
FLEETS = 2  # processes that take what asks the shared fleet
KINDS = ("tests/acceptance/", "tests/integration/", "tests/property/", "tests/unit/")
APART = (  # acceptance tests that do not ask it, the longest first
    "tests/acceptance/bus/test_bus_away.py",
    "tests/acceptance/fleet/test_beats.py",
    "tests/acceptance/fleet/test_up.py",
    "tests/acceptance/commands/test_output.py",
    "tests/acceptance/commands/test_schedules.py",
    "tests/acceptance/commands/test_queries.py",
)


def processes(cores: int, arguments: list[str]) -> int:
    """How many processes run the tests of these arguments: 0, this one alone, for single files and tests."""
    if arguments and all(argument.partition("::")[0].endswith(".py") for argument in arguments):
        return 0
    return max(2, int(PROCESSES_PER_CORE * cores))


def rank(portion: str, *, with_fleet: bool) -> tuple[int, int]:
    """What a process takes first has the lowest rank. `with_fleet`: it is one of those for the shared fleet."""
    if portion in APART:
        return (1, APART.index(portion))
    kind = next((number for number, path in enumerate(KINDS) if portion.startswith(path)), len(KINDS))
    if kind == 0:
        return (0 if with_fleet else len(KINDS) + 2, 0)
    return (1 + kind, 0)


class Portions(LoadScopeScheduling):  # type: ignore[misc]  # it comes without types
    """Gives each process the portion that it should take next."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        with_fleet = node in self.nodes[:FLEETS]
        # The first of equals: in the order of collection.
        following = min(self.workqueue, key=lambda portion: rank(portion, with_fleet=with_fleet))
        self.workqueue.move_to_end(following, last=False)
        super()._assign_work_unit(node)
