"""schemathesis on the merchant's OpenAPI as it is served: whatever it thinks of, no 500 and no answer that is not
described.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

Stage = Any

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
EXAMPLES_MAX = 20  # for each route and phase
DEADLINE_S = 240


async def test_schemathesis_finds_nothing(stage: Stage, tmp_path: Path) -> None:
    """The run is seeded, so that it finds the same every time."""
    arguments = [
        "run",
        f"{stage.url}/openapi.json",
        f"--url={stage.url}",
        f"--header=Authorization: Bearer {stage.api_key}",
        f"--checks={','.join(CHECKS)}",
        "--phases=examples,coverage,fuzzing,stateful",
        f"--max-examples={EXAMPLES_MAX}",
        "--seed=1",
        "--continue-on-failure",
        "--suppress-health-check=all",
        "--generation-database=none",
        "--no-color",
    ]
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        *arguments,
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(DEADLINE_S):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-20_000:]
    assert await stage.count("orders") > 0, "valid orders were among what it sent"
