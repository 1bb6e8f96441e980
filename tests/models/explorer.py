"""Walks every reachable state of a model, depth first; the models in this directory share it.

A model is an object with `start` (a hashable state), `steps(state)` (a list of (who, next
state)) and `end_fault(state)` (asked where nobody can move; None when it is a good end). It
raises Fault where a promise is broken. A `who` that begins with "death" or "may" need never
happen, so a state with no other way out is an end and is judged as one. A circle of states is a
fault too: somebody could go round for ever. With no circle and no bad end, every run arrives;
that is how "never stuck" is shown.

Depth first means that the path to the fault is the stack itself, so that nothing but the set of
seen states is kept in memory. The path printed is therefore not the shortest one.
"""
import time


class Fault(Exception):
    """A promise of the protocol does not hold in this state."""


class Group:
    """Offsets of things that belong together."""


class Places:
    """Gives out offsets into the bytes of a state, as attributes of a Group."""

    def __init__(self):
        self.size = 0

    def take(self, names):
        group = Group()
        for name in names.split():
            setattr(group, name, self.size)
            self.size += 1
        return group


def changed(state, changes):
    """The state with some bytes replaced: `changes` are pairs of offset and value."""
    after = bytearray(state)
    for place, value in changes:
        after[place] = value
    return bytes(after)


class Outcome:
    """What a walk found: how many states, how many good ends, and the fault with the way to it."""

    def __init__(self, states, ends, seconds, fault=None, path=()):
        self.states, self.ends, self.seconds = states, ends, seconds
        self.fault, self.path = fault, path


def ways_out(model, state):
    """The successors of a state, after judging it as an end if only deaths can happen in it."""
    found = [(who, after) for who, after in model.steps(state) if after != state]
    if all(who.startswith(("death", "may")) for who, after in found):
        fault = model.end_fault(state)
        if fault:
            raise Fault(fault)
        return found, 1
    return found, 0


def explore(model, limit=None):
    """Visits all states, or stops at the first fault. More than `limit` states is an error."""
    began = time.monotonic()
    seen, on_path, ends = {model.start}, {model.start}, 0
    stack = []
    current = ("start", model.start)

    def outcome(fault=None):
        path = [entry[0] for entry in stack] + [current] if fault else ()
        return Outcome(len(seen), ends, time.monotonic() - began, fault, path)

    try:
        found, good = ways_out(model, model.start)
        ends += good
        stack.append((current, iter(found)))
        while stack:
            for current in stack[-1][1]:
                after = current[1]
                if after in on_path:
                    raise Fault("a circle: somebody could go round for ever")
                if after not in seen:
                    break
            else:
                on_path.discard(stack.pop()[0][1])
                continue
            seen.add(after)
            if limit and len(seen) > limit:
                raise MemoryError(f"more than {limit} states")
            found, good = ways_out(model, after)
            ends += good
            on_path.add(after)
            stack.append((current, iter(found)))
    except Fault as fault:
        return outcome(str(fault))
    return outcome()


def print_path(model, outcome):
    """Prints who moved in which order, up to the fault."""
    before = model.start
    for who, state in outcome.path[1:]:
        print("   ", model.describe(before, who, state))
        before = state
