"""Runs the models: each must hold, and each planted mistake must be found. Exit code 0 if all is
so.

usage: run.py [--large] [--only WORD] [--show]
  --large       also the large sizes (about ten minutes and 4 GB on an idle core)
  --only WORD   only what has WORD in its name
  --show        print the way to each fault, planted ones included
"""
import argparse
import sys

import directory
import doorbell
import hands
import subscribe
from explorer import explore, print_path

# Sizes that must hold: name, class, arguments.
HOLDS = [
    ("hands: 2 processes, all kinds of scans", hands.Hands,
     dict(messages=(2,), capacity=2, glances=1, writer_scans=1)),
    ("hands: 3 messages in a lane of 2, batches of 2", hands.Hands,
     dict(messages=(3,), capacity=2, batch=2, glances=1)),
    ("hands: two lanes", hands.Hands, dict(messages=(2, 2))),
    ("hands: 3 processes", hands.Hands, dict(messages=(2,), processes=3, capacity=2)),
    ("hands: 2 deaths, one place given out again", hands.Hands,
     dict(messages=(2,), deaths=2, births=1, capacity=2, glances=1)),
    ("hands: places given out before burial", hands.Hands,
     dict(messages=(1,), deaths=2, births=2, births_early=True, glances=1)),
    ("hands: 2 processes with 2 hands each", hands.Hands,
     dict(messages=(1,), threads=2, capacity=1, glances=1)),
    ("hands: only the writer counts the room", hands.Hands,
     dict(messages=(3,), capacity=2, gives_room=False, writer_scans=1)),
    ("hands: filled ahead of the message", hands.Hands,
     dict(messages=(3,), capacity=2, ahead=2, glances=1)),
    ("hands: filled ahead, two lanes", hands.Hands, dict(messages=(2, 2), ahead=2)),
    ("doorbell: 2 consumers", doorbell.Doorbell, dict(messages=(3,))),
    ("doorbell: 2 consumers, bursts of 3", doorbell.Doorbell, dict(messages=(3,), burst=3)),
    ("doorbell: a death, the time limit covers it", doorbell.Doorbell,
     dict(messages=(2,), burst=2, deaths=1, bound=True, naps=1)),
    ("directory: 4 changes, 2 deaths", directory.Directory, dict(changes=4, deaths=2)),
    ("subscribe: 2 publishers, 2 deaths", subscribe.Subscribe, dict(deaths=2)),
]
LARGE = [
    ("hands: 3 messages, 3 processes, 2 deaths", hands.Hands,
     dict(messages=(3,), processes=3, deaths=2, capacity=3)),
    ("hands: 3 messages, 3 processes, batches of 2", hands.Hands,
     dict(messages=(3,), processes=3, capacity=2, batch=2)),
    ("hands: 2 messages, 3 processes, 2 deaths", hands.Hands,
     dict(messages=(2,), processes=3, deaths=2, capacity=2)),
    ("hands: 2 deaths, 3 processes, one place given out again", hands.Hands,
     dict(messages=(1,), processes=3, deaths=2, births=1, glances=1)),
    ("hands: filled ahead, 3 processes", hands.Hands,
     dict(messages=(3,), processes=3, capacity=2, ahead=1)),
    ("hands: 2 processes with 2 and 1 hands", hands.Hands,
     dict(messages=(2,), threads=(2, 1), capacity=2)),
    ("doorbell: 2 writers", doorbell.Doorbell, dict(messages=(1, 1))),
    ("doorbell: 3 consumers", doorbell.Doorbell, dict(messages=(2,), consumers=3)),
    ("doorbell: 3 messages and a death", doorbell.Doorbell,
     dict(messages=(3,), burst=2, deaths=1, bound=True, naps=1)),
    ("subscribe: 3 publishers, 2 deaths", subscribe.Subscribe, dict(known=2, late=1, deaths=2)),
]

# The size in which a mistake shows; the first one of its model where nothing else is said.
USUAL = {
    hands: (hands.Hands, dict(messages=(2,), capacity=2, glances=1)),
    doorbell: (doorbell.Doorbell, dict(messages=(2,))),
    directory: (directory.Directory, {}),
    subscribe: (subscribe.Subscribe, {}),
}
SHOWN_BY = {
    "help_ignores_lane": dict(messages=(2, 2)),
    "adopter_keeps_room": dict(messages=(2,), processes=3, capacity=2),
    "adopter_keeps_word": dict(messages=(1,), deaths=2, births=2, births_early=True, glances=1),
    "stale_proof": dict(messages=(1,), processes=3, births=1, glances=1),
    "ahead_unpublished": dict(messages=(2,), capacity=2, ahead=2),
    "cursor_kept": dict(messages=(3,), capacity=2, batch=2),
    "listed_too_early": dict(messages=(2,), processes=3, deaths=2, capacity=2, batch=2),
    "list_forgets_tries": dict(messages=(1,), processes=3, deaths=2, capacity=1),
    "no_passing_on": dict(messages=(2,), burst=2),
    "passes_on_after_handling": dict(messages=(2,), burst=2),
    "gives_up_the_awake+bit_left_after_sleep": dict(messages=(3,)),
    "no_bound": dict(messages=(2,), deaths=1, bound=True),
}


class Report:
    """Prints one line per model and mistake, and remembers whether all went as it must."""

    def __init__(self, only, show):
        self.only, self.show, self.failed, self.states, self.seconds = only, show, 0, 0, 0.0

    def run(self, name, make, arguments, mistake, must_fail):
        if self.only not in name:
            return
        model = make(mistake=mistake, **arguments)
        outcome = explore(model)
        good = bool(outcome.fault) == must_fail
        self.failed += not good
        self.states += outcome.states
        self.seconds += outcome.seconds
        found = outcome.fault or ("nothing found" if must_fail else f"{outcome.ends} ends")
        print(f"{'ok' if good else 'not ok'} {name}: {found} "
              f"[{outcome.states} states, {outcome.seconds:.1f} s]", flush=True)
        if outcome.fault and (self.show or not must_fail):
            print_path(model, outcome)


def main():
    parser = argparse.ArgumentParser(description="runs the models of the protocols")
    parser.add_argument("--large", action="store_true", help="also the large sizes")
    parser.add_argument("--only", default="", metavar="WORD", help="only names with this word")
    parser.add_argument("--show", action="store_true", help="print the way to each fault")
    asked = parser.parse_args()
    report = Report(asked.only, asked.show)
    for name, make, arguments in HOLDS + (LARGE if asked.large else []):
        report.run(name, make, arguments, "", False)
    for module, (make, usual) in USUAL.items():
        for mistake in module.MISTAKES:
            report.run(f"{module.__name__} finds {mistake}", make, SHOWN_BY.get(mistake, usual),
                       mistake, True)
        for change in module.HARMLESS:
            report.run(f"{module.__name__} holds with {change}", make, usual, change, False)
    print(f"{report.states} states, {report.seconds:.0f} s, {report.failed} not as they must be")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
