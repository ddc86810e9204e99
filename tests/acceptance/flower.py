"""What Flower tells of a fleet."""

import base64
import json
import urllib.request
from typing import Any

from tests.conftest import Stack


def flower(stack: Stack, path: str) -> Any:
    """The JSON under a path of Flower's API."""
    login = f"{stack.env['OMNINODE_FLOWER_USER']}:{stack.env['OMNINODE_FLOWER_PASSWORD']}"
    request = urllib.request.Request(stack.env["OMNINODE_FLOWER_URL"] + path)
    request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def done_in_flower(stack: Stack, task_id: str) -> dict[str, Any]:
    """The task; empty until it has succeeded."""
    task: dict[str, Any] = flower(stack, "/api/tasks").get(task_id, {})
    return task if task.get("state") == "SUCCESS" else {}
