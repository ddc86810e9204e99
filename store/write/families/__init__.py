"""The persist operations, one module each, in the order in which every batch writes: that keeps batches from deadlock.

A new one goes to the end. See docs/guides/add-an-operation.md.
"""

from omninode_bridge.contract.operation import Data
from omninode_bridge.contract.operation_types import OPERATION_CLASSES, data_class_of
from store.write.families import (
    bridge_state,
    event,
    fsm_transition,
    metadata_stamp,
    node_heartbeat,
    workflow_execution,
    workflow_step,
)
from store.write.family import Family, Table

FAMILIES: tuple[Family, ...] = (
    workflow_execution.FAMILY,
    workflow_step.FAMILY,
    fsm_transition.FAMILY,
    metadata_stamp.FAMILY,
    bridge_state.FAMILY,
    node_heartbeat.FAMILY,
    event.FAMILY,
)
FAMILY_OF: dict[type[Data], Family] = {  # by the class of an operation's data
    data_class_of(OPERATION_CLASSES[name]): family for family in FAMILIES for name in family.types
}
TABLES: dict[str, Table] = {table.name: table for family in FAMILIES for table in family.tables}
