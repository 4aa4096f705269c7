"""Where data lie that no --data-dir names."""

import os
from pathlib import Path


def default_folder(purpose: str) -> Path:
    """A folder in the user's data folder (XDG), which no other user reads: `~/.local/share/tallystick/demo`."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "tallystick" / purpose
