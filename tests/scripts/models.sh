#!/usr/bin/env bash
# The explicit-state models of the protocols, and that each planted mistake is found.
#
# SPDX-License-Identifier: BSL-1.0
exec python3 -B "$(dirname "${BASH_SOURCE[0]}")/../models/run.py"
