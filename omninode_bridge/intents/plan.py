"""In which order intents are carried out, and which of them together. Pure; client and worker both go by it."""

from collections.abc import Sequence

from omninode_bridge.contract.enums import EnumIntentType
from omninode_bridge.intents.intents import intent_type_of, priority_of

FAIL_FAST_ABOVE = 1  # the priority above which a failed intent stops those behind it, where that is asked for


def plan(intents: Sequence[object], fail_fast: bool = False) -> list[list[int]]:
    """The steps, one after the other: each the positions of the intents that are carried out together.

    By priority, highest first, else as given. A recovery is a step of its own, so that it sees what stood before it and
    nothing later; with `fail_fast` so is each intent that may stop the others (see `must_succeed`).
    """
    steps: list[list[int]] = []
    joins = False  # whether the last step takes more
    for position in sorted(range(len(intents)), key=lambda n: -priority_of(intents[n])):
        alone = _is_alone(intents[position], fail_fast)
        if joins and not alone:
            steps[-1].append(position)
        else:
            steps.append([position])
        joins = not alone
    return steps


def must_succeed(intent: object, fail_fast: bool) -> bool:
    """Whether nothing behind this intent may be carried out when it fails."""
    return fail_fast and priority_of(intent) > FAIL_FAST_ABOVE


def _is_alone(intent: object, fail_fast: bool) -> bool:
    return intent_type_of(intent) is EnumIntentType.RECOVER_FSM_STATES or must_succeed(intent, fail_fast)
