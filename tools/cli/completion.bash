# Completion of shmbus in bash: the program prints it, so that it knows every command that there is.
# SPDX-License-Identifier: BSL-1.0
# shellcheck shell=bash
eval "$(shmbus completion bash 2>/dev/null)"
