"""What a demo leaves in its folder for others to find."""

import subprocess
import sys
from pathlib import Path

from tallystick.cli.postgres import Dsns
from tallystick.demo.folder import Addresses, Folder, Known


def a_demo(**other: object) -> Known:
    known = {
        "addresses": Addresses("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"),
        "dsns": Dsns("", ""),
        "ca_file": None,
        "account_id": "acct_1",
        "secret_key": "sk_test_1",
        "publishable_key": "pk_test_1",
        "merchant_id": "mer_1",
        "merchant_api_key": "tsk_1",
        "connection_id": "con_1",
        "webhook_url": "http://127.0.0.1:2/webhooks/con_1",
        "operator_keys": {"gateway": "opk_1", "merchant": "opk_2"},
    }
    return Known(**{**known, **other})  # type: ignore[arg-type]


def test_a_shell_that_reads_the_environment_finds_the_demo(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "it's here")
    folder.write(a_demo(ca_file="/a folder/ca.pem"))
    wanted = (
        "TALLYSTICK_GATEWAY_URL TALLYSTICK_GATEWAY_OPERATOR_KEY TALLYSTICK_MERCHANT_OPERATOR_KEY TALLYSTICK_CA_FILE"
    )
    script = '. "$1"; printf "%s|" ' + " ".join(f'"${name}"' for name in wanted.split())
    said = subprocess.run(
        ["bash", "-c", script, "bash", str(folder.environment_file)], capture_output=True, text=True, check=True
    )
    assert said.stdout == "http://127.0.0.1:1|opk_1|opk_2|/a folder/ca.pem|"


def test_a_shell_that_reads_the_environment_finds_the_commands(tmp_path: Path) -> None:
    """In a second terminal nobody has put `.venv/bin` on the path, and the README goes on with `tallystick …`."""
    folder = Folder(tmp_path / "it's here")
    folder.write(a_demo())
    script = 'source "$1"; command -v tallystick; command -v python'
    said = subprocess.run(
        ["bash", "-c", script, "bash", str(folder.environment_file)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    ).stdout
    here = Path(sys.executable).parent
    assert said.split() == [str(here / "tallystick"), str(here / "python")]


def test_nobody_else_may_read_its_keys(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(a_demo())
    assert folder.environment_file.stat().st_mode & 0o777 == 0o600
