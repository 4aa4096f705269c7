"""The official `stripe` package for Node speaks to the gateway with only the address changed (DESIGN §5)."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent / "node"
INSTALL_S, RUN_S = 240, 120


@pytest.fixture(scope="session")
def node_project(node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contract's folder with the locked packages installed; a copy, so that runs side by side do not meet."""
    folder = tmp_path_factory.mktemp("node")
    for name in (".npmrc", "package.json", "package-lock.json", "happy_path.mjs"):
        shutil.copy(HERE / name, folder / name)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--prefer-offline"], cwd=folder, check=True, timeout=INSTALL_S)
    return folder


def test_the_lock_holds_no_addresses() -> None:
    """Whoever installs uses the registry that their own npm is set to."""
    lock = (HERE / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert "://" not in lock
    assert "integrity" in lock


@pytest.mark.node
def test_the_happy_path(node: str, node_project: Path, gateway: Any) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "TALLYSTICK_GATEWAY_URL": gateway.url,
        "TALLYSTICK_SECRET_KEY": gateway.test.secret_key,
        "TALLYSTICK_WEBHOOK_URL": "http://127.0.0.1:9/webhooks",
    }
    ran = subprocess.run(
        [node, "happy_path.mjs"], cwd=node_project, env=environment, capture_output=True, text=True, timeout=RUN_S
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["intents"] == 3
