#!/usr/bin/env bash
# The threads of one bus under the thread sanitizer. A script of its own, for its build takes as
# long as that of the other sanitizers.
#
# SPDX-License-Identifier: BSL-1.0
exec "$(dirname "$0")/sanitizers.sh" threads
