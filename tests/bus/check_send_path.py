#!/usr/bin/env python3
# Looks at the machine code of the quick ways. Usage: check_send_path.py OBJDUMP LIBRARY. For
# optimised x86-64 builds.
#
# SPDX-License-Identifier: BSL-1.0
import re
import subprocess
import sys

# No locked operation, no fence, no call but in the tail, and so short.
QUICK = {
    "shmbus::Bus::send_fixed<32ul>": 80,
    "shmbus::Bus::publish_fixed<32ul>": 110,
}


def instructions(listing: str, function: str) -> list[str]:
    body = re.search(r"^[0-9a-f]+ <[^\n]*" + re.escape(function) + r"\([^\n]*\)>:\n(.*?)\n\n",
                     listing, re.MULTILINE | re.DOTALL)
    if body is None:
        sys.exit(f"no {function} there")
    return [line.split("\t", 1)[1].strip() for line in body.group(1).splitlines() if "\t" in line]


def main() -> None:
    listing = subprocess.run([sys.argv[1], "-d", "--no-show-raw-insn", "-C", sys.argv[2]],
                             check=True, capture_output=True, text=True).stdout
    costly = r"(lock\b|xchg\b|mfence|lfence|sfence|syscall|call\b|cpuid)"
    complaints = []
    for function, most in QUICK.items():
        found = instructions(listing, function)
        bad = [line for line in found if re.match(costly, line)]
        print(f"{function} has {len(found)} instructions, {len(bad)} that cost")
        complaints += bad
        if len(found) > most:
            complaints.append(f"{function} has grown beyond {most}; what of it is a slow end's?")
    if complaints:
        sys.exit("\n".join(complaints))


main()
