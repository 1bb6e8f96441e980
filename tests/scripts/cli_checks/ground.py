"""Where things are, and what all checks of the shmbus command ask with.

SPDX-License-Identifier: BSL-1.0
"""
import json
import os
import pathlib
import sys
import time

ROOT = pathlib.Path(os.environ.get("SHMBUS_SOURCE_ROOT",
                                   pathlib.Path(__file__).resolve().parents[3]))
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1
                     else os.environ.get("SHMBUS_BUILD_ROOT", ROOT / "build")).resolve()
TOOL = str(BUILD / "tools/shmbus")
DAEMON = str(BUILD / "tools/shmbusd")
LIMIT = 20  # seconds that anything may take

# Debian's modules, also where another Python comes first.
sys.path.append("/usr/lib/python3/dist-packages")
validators = {}
try:
    import jsonschema
    SCHEMAS = json.loads((ROOT / "tools/cli/schemas.json").read_text())
except ImportError:
    jsonschema = None


class Failed(Exception):
    """A check that did not hold; its text says what was seen."""


def require(holds, seen):
    if not holds:
        raise Failed(str(seen))


def eventually(holds, what):
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if holds():
            return
        time.sleep(0.005)
    raise Failed(f"never came: {what() if callable(what) else what}")


def valid(thing):
    """A JSON object of the tool that is as its schema says."""
    if jsonschema:
        require(thing["schema"] in SCHEMAS["definitions"], f"no schema {thing['schema']}")
        if thing["schema"] not in validators:
            definition = dict(SCHEMAS["definitions"][thing["schema"]],
                              definitions=SCHEMAS["definitions"])
            validators[thing["schema"]] = jsonschema.Draft7Validator(definition)
        validators[thing["schema"]].validate(thing)
    return thing
