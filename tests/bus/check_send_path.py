#!/usr/bin/env python3
# Looks at the machine code of Bus::send_fixed: no locked operation, no fence, no call but in the
# tail. Usage: check_send_path.py OBJDUMP LIBRARY. For optimised x86-64 builds.
#
# SPDX-License-Identifier: BSL-1.0
import re
import subprocess
import sys


def instructions(objdump: str, library: str) -> list[str]:
    listing = subprocess.run([objdump, "-d", "--no-show-raw-insn", "-C", library],
                             check=True, capture_output=True, text=True).stdout
    body = re.search(r"^[0-9a-f]+ <[^\n]*shmbus::Bus::send_fixed<32ul>\([^\n]*\)>:\n(.*?)\n\n", listing,
                     re.MULTILINE | re.DOTALL)
    if body is None:
        sys.exit("no Bus::send_fixed in " + library)
    return [line.split("\t", 1)[1].strip() for line in body.group(1).splitlines() if "\t" in line]


def main() -> None:
    found = instructions(sys.argv[1], sys.argv[2])
    bad = [line for line in found
           if re.match(r"(lock\b|xchg\b|mfence|lfence|sfence|syscall|call\b|cpuid)", line)]
    # A tail call leaves the function for good: those are the slow ends.
    print(f"Bus::send_fixed has {len(found)} instructions, {len(bad)} that cost")
    if bad:
        sys.exit("\n".join(bad))
    if len(found) > 80:
        sys.exit("the quick way of a send has grown; what is in it that belongs to a slow end?")


main()
