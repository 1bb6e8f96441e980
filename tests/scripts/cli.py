#!/usr/bin/env python3
"""The shmbus command as a user types it: every verb, and every way to get it wrong.

Prints "ok NAME", "not ok NAME" with the reason, or "skip NAME: reason", one line a check.
The checks stand in cli_checks/, a file for each noun.
SPDX-License-Identifier: BSL-1.0
"""
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time
import unittest

# Nothing is written beside the sources.
sys.dont_write_bytecode = True

from cli_checks import (endpoints, ends, failed, following, formats, health, journal, sending, taking,
                        words)

CHECKS = [
    ("looking at no bus says so, and makes none", words.without_a_bus),
    ("words that are not understood end with 64", words.wrong_words),
    ("what is not there, or not for it, is refused by every verb", words.wrong_names),
    ("numbers are whole, and never the nearest that there is", words.wrong_numbers),
    ("a value that is empty is refused, and means nothing else", words.empty_values),
    ("a command that is a program of its own is found in the PATH", words.plugins),
    ("every error code is explained", words.every_code_is_explained),
    ("every verb and every status stands in the manual page and in the completion",
     words.every_verb_is_documented),
    ("every option stands in the manual page of its program, and of its verb",
     words.every_option_is_documented),
    ("bash completes commands, options and names", words.completion_in_bash),
    ("manual pages are well formed", words.manual_pages),
    ("at a terminal it asks, has colours and opens an editor", words.terminals),
    ("the script in the manual page runs as it stands there", words.manual_examples),
    ("the script in README.md runs as it stands there", words.readme),
    ("the daemon says in its status why it did not begin", ends.daemon_statuses),
    ("a daemon that is stopped is waited for in vain, and not for ever", ends.stopped_daemon),
    ("who may not is told so by every command", ends.without_permission),
    ("a copy that cannot be made there is no missing bus", ends.places_for_copies),
    ("what a newcomer types first works, or says what to do", ends.first_words),
    ("every command speaks JSON, as its schema says", formats.in_json),
    ("every command speaks CSV", formats.in_csv),
    ("endpoints are made, shown, emptied and removed", endpoints.endpoints),
    ("a process that is stopped is told from one that goes on", endpoints.stopped_processes),
    ("what only looks works when the daemon is dead, and on a copy",
     endpoints.looking_needs_no_daemon),
    ("types are declared, subscriptions come and go, orphans are marked",
     endpoints.types_and_subscriptions),
    ("a script sends, and what is wrong is refused with the reason", sending.sending),
    ("messages are written and shown by their fields", sending.fields),
    ("messages are taken, copied and moved, with their ids", taking.taking),
    ("messages of a megabyte go wherever small ones go", taking.large_messages),
    ("so do large ones that nobody sees, on disk behind others", taking.large_on_disk),
    ("what could not be sent on or written is not counted as a death", taking.failure_is_no_death),
    ("what a killed get may have printed comes again, marked", taking.taken_again),
    ("output that fails loses nothing and says so; a broken pipe is silent",
     taking.output_that_fails),
    ("times are understood with their units, and nothing else is", sending.durations),
    ("a script handles as many as were wanted, and no more", sending.serving_so_many),
    ("bytes that are no text are shown as digits", sending.bytes_that_are_no_text),
    ("a script asks and a script answers", sending.serving_and_asking),
    ("a script that may not serve leaves no endpoint behind", sending.serving_that_is_refused),
    ("where nothing has failed yet there is nothing to list, and nothing to do",
     failed.nothing_failed_yet),
    ("failed messages are listed, retried, edited and archived",
     lambda stage: failed.failed_messages(stage, "job")),
    ("durable ones too, and one that fails again is there again",
     lambda stage: failed.failed_messages(stage, "deed")),
    ("what fails in the error endpoint too is told of, and retried to where it failed first",
     lambda stage: failed.failed_twice(stage, "job")),
    ("so is a durable one", lambda stage: failed.failed_twice(stage, "deed")),
    ("a failed one whose endpoint is gone holds up no other", failed.failed_without_a_way_back),
    ("messages that fail lie in the error endpoint, however long they are", failed.failed_large),
    ("an event goes back to who failed at it alone", failed.failed_event),
    ("one that is edited is another one, which leads back to it",
     lambda stage: failed.edited(stage, "job")),
    ("a durable one too", lambda stage: failed.edited(stage, "deed")),
    ("failed ones are put into a file, looked at there and put back",
     lambda stage: failed.archived(stage, "job")),
    ("so are durable ones", lambda stage: failed.archived(stage, "deed")),
    ("an event that failed at two endpoints is archived and put back for both",
     failed.archived_events),
    ("of two messages with one id the one is meant that failed at the endpoint named",
     failed.one_of_two_with_one_id),
    ("what a killed retry may have sent is marked out of an archive",
     lambda stage: failed.archived_behind_a_killed_retry(stage, "job")),
    ("so are durable ones of it",
     lambda stage: failed.archived_behind_a_killed_retry(stage, "deed")),
    ("what a killed restore had begun comes again, marked",
     lambda stage: failed.begun_restores(stage, "job")),
    ("a durable one comes once", lambda stage: failed.begun_restores(stage, "deed")),
    ("what is noted as restored is on disk", failed.restored_is_on_disk),
    ("what is no archive is not believed", failed.wrong_archives),
    ("archive and restore lose nothing when they are killed; what is twice is marked",
     lambda stage: failed.archive_and_restore_are_killed(stage, "job")),
    ("nor of durable ones, of which none is twice",
     lambda stage: failed.archive_and_restore_are_killed(stage, "deed")),
    ("two of the same command at once share the work", failed.two_at_once),
    ("failed ones that wait on disk are retried and archived as well", failed.failed_on_disk),
    ("failed ones behind more than a process can hold are reached, and no other is lost or twice",
     failed.failed_behind_thousands),
    ("what failed at an endpoint that is gone is not sent to another that has its number",
     failed.failed_at_one_that_is_gone),
    ("one behind events that failed at several endpoints is reached", failed.failed_behind_events),
    ("a move that is killed loses nothing; what is twice is marked", taking.move_that_is_killed),
    ("a move by type or id reaches what stands behind thousands, and no other is lost or twice",
     taking.move_behind_thousands),
    ("so does one by type behind what waits on disk", taking.move_behind_what_is_on_disk),
    ("following takes nothing and says how many it missed", following.following),
    ("following ends with what is followed", following.followed_to_the_end),
    ("durable messages are moved and copied by way of the journal", taking.durable_move),
    ("what waits on disk is moved as well, and told of by dry runs and by copy",
     taking.backlog_is_moved_and_copied),
    ("a journal is measured, backed up while it is written, restored and compacted",
     journal.journal),
    ("a restore that is cut off leaves nothing that is believed", journal.restore),
    ("what a journal has lost is named, and accepted as a whole or not at all", journal.losses),
    ("a journal that could not be taken up is told of", journal.not_taken_up),
    ("a journal is found wherever its daemon has it, or had it", journal.where_it_lies),
    ("why durable messages are refused is told in one line", journal.one_that_is_gone),
    ("doctor and check tell what is wrong", health.health),
    ("what doctor says helps", health.what_doctor_says_helps),
    ("what helps where memory is full does so", health.full_memory),
    ("another user is told that it may not", health.other_users),
    ("ten thousand endpoints are listed", endpoints.many_endpoints),
    ("what waits on disk is in the depth, and is purged with the rest", endpoints.backlog_on_disk),
    ("a purge that is held up ends and says what is left", endpoints.purge_that_is_held_up),
    ("totals stand by endpoint, lane and type", endpoints.totals),
]


def run_check(name, check, stage, lines):
    begin = time.monotonic()
    try:
        check(stage)
        lines.append(f"ok {name}")
    except unittest.SkipTest as reason:
        lines.append(f"skip {name}: {reason}")
    except FileNotFoundError as missing:
        lines.append(f"skip {name}: there is no {missing.filename}")
    except Exception as error:  # whatever it is, it is this check's
        text = "\n".join("    " + line for line in f"{type(error).__name__}: {error}".splitlines())
        lines.append(f"not ok {name}\n{text[:4000]}")
    if os.environ.get("SHMBUS_CHECK_TIMES"):
        lines.append(f"    {time.monotonic() - begin:.2f} s")


def main():
    wanted = os.environ.get("SHMBUS_CHECKS", "")
    stage = pathlib.Path(tempfile.mkdtemp(prefix="shmbus-cli-"))
    failed = False
    try:
        chosen = [one for one in CHECKS if wanted in one[0]]
        results = [[] for _ in chosen]
        waiting = list(range(len(chosen)))
        lock = threading.Lock()

        def work():
            while True:
                with lock:
                    if not waiting:
                        return
                    place = waiting.pop(0)
                run_check(*chosen[place], stage, results[place])

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for lines in results:
            for line in lines:
                print(line)
                failed = failed or line.startswith("not ok")
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
