"""Model of taking, giving back and adopting messages of a lane: the hands protocol.

Every load, store, CAS and exchange on shared memory is a step of its own, and the acting
process may die before each of them. A state is a string of bytes; the offsets are given out in
Hands.__init__.

Not modelled: the outcome of a handler (unit of work), the waiting (doorbell.py), memory orders.
How far the records of a hand are stands in its cursor; who adopts it, or whom something delays,
lists the progress of each first, and the list tells from then on.
One reduction: while a thread is at a step that nobody else can see (progress of its own hand,
which is read only by an adopter after its death), only that step and the death of its process are
explored; the steps of others commute with both.
As often as `ahead` says, a thread that was the last to take fills its hand for the next message
before that is published: it waits with the word still IDLE, or gives up.
"""
from explorer import Fault, Places, changed

IDLE, TAKING, TAKEN = 0, 1, 2
LISTED = 255  # what the cursor says when the list tells
ALIVE, DEAD, BURIED = 0, 1, 2
NOTHING = 255

PCS = """
GONE LOOK SCAN HELP_WORD HELP_LANE HELP_END HELP_CAS STORE_LANE STORE_FROM STORE_END STORE_ZERO
STORE_WORD CAS_HEAD LOST WON ZERO_LATE TRY HANDLE DONE NEXT NOTE LIST LIST_END CLEAR ROOM_HEAD ROOM_WORD ROOM_LANE
ROOM_END ROOM_FROM ROOM_CHECK ROOM_RAISE BURY PROVE ADOPT_LANE ADOPT_END ADOPT_HEAD ADOPT_CAS
GLANCE_WORD
""".split()
(GONE, LOOK, SCAN, HELP_WORD, HELP_LANE, HELP_END, HELP_CAS, STORE_LANE, STORE_FROM, STORE_END,
 STORE_ZERO, STORE_WORD, CAS_HEAD, LOST, WON, ZERO_LATE, TRY, HANDLE, DONE, NEXT, NOTE, LIST,
 LIST_END, CLEAR, ROOM_HEAD,
 ROOM_WORD, ROOM_LANE, ROOM_END, ROOM_FROM, ROOM_CHECK, ROOM_RAISE, BURY, PROVE, ADOPT_LANE,
 ADOPT_END, ADOPT_HEAD, ADOPT_CAS, GLANCE_WORD) = range(len(PCS))
UNSEEN = {STORE_ZERO, TRY, HANDLE, LIST, LIST_END}

# Which hand a thread has read the word of and will compare or believe later, per step.
KEEPER = {pc: lambda b, a: b[a.named] - 1 for pc in (HELP_LANE, HELP_END, HELP_CAS)}
KEEPER |= {pc: lambda b, a: b[a.hand] for pc in (ROOM_LANE, ROOM_END, ROOM_FROM, ROOM_CHECK)}
KEEPER |= {pc: lambda b, a: b[a.slot] for pc in (PROVE, ADOPT_LANE, ADOPT_END, ADOPT_HEAD,
                                                 ADOPT_CAS)}
FORGETTING = {LOOK, STORE_LANE, STORE_FROM, ROOM_HEAD, ROOM_WORD, ROOM_RAISE, TRY, CLEAR}

MISTAKES = {
    "hands_before_head": "the room scan reads the hands first and the head last",
    "no_helping": "the next taker does not mark the former taker's hand TAKEN",
    "nameless_head": "the head word holds a position only: a take is judged by the position",
    "help_without_sequence": "the helper's CAS does not compare the sequence",
    "help_ignores_lane": "the helper does not look at the lane that the hand is filled for",
    "taking_never_counted": "the room scan passes over every hand that says TAKING",
    "taking_always_counted": "the room scan counts every hand that says TAKING",
    "adopter_trusts_taking": "an adopter believes a TAKING hand without asking the head",
    "adopter_drops_taking": "an adopter clears every TAKING hand",
    "adopter_skips_cas": "an adopter stores its name instead of comparing the whole word first",
    "adopter_keeps_room": "an adopter does not count the room after it cleared the hand",
    "no_burial_recount": "the burial of a dead one does not count the room",
    "room_before_clear": "the room is counted before the hand is cleared",
    "zero_after_word": "the cursor is zeroed after the word says TAKING",
    "ahead_unpublished": "who filled its hand ahead does not wait for the message",
    "filling_kept": "a take uses what the hand was filled with for another one",
    "head_stored": "a taker stores the head instead of comparing it",
    "cursor_kept": "the cursor stays as the filling before left it",
    "listed_too_early": "the cursor says that the list tells before the list is complete",
    "list_forgets_tries": "who lists the progress leaves out that a message was begun",
    "tries_after_handler": "a try is counted after the handler has run",
    "done_before_handler": "a message is marked done before the handler has run",
    "adopter_keeps_word":
        "a new process in a dead one's place adopts the hands there and leaves their words as they "
        "were (harmful where places are given out again before burial)",
    "stale_proof": "the proof of death is from before the word was read, generation not compared",
}
HARMLESS = {
    "room_without_recheck": "the room scan does not read the word again after the fields",
    "recount_after_lost": "who lost the head counts the room",
    "no_recount_after_drop":
        "an adopter that drops a take that never happened does not count the room",
}


class Hands:
    """The protocol for one size; `mistake` plants a deviation from MISTAKES or HARMLESS."""

    def __init__(self, messages=(2,), processes=2, threads=1, batch=1, deaths=1, births=0,
                 capacity=1,
                 glances=0, writer_scans=0, gives_room=True, births_early=False, ahead=0,
                 mistake=""):
        self.messages, self.batch, self.deaths, self.births = messages, batch, deaths, births
        self.capacity, self.glances, self.writer_scans = capacity, glances, writer_scans
        self.gives_room, self.births_early, self.mistake = gives_room, births_early, mistake
        self.ahead = ahead
        threads = (threads,) * processes if isinstance(threads, int) else threads
        homes = [process for process in range(processes) for thread in range(threads[process])]
        self.reduced = len(homes) == processes
        places = Places()
        self.budget = places.take("deaths births glances ahead")
        self.lanes = [places.take("tail position named reclaim limit scans") for _ in messages]
        self.log = [[places.take("handled done") for _ in range(count)] for count in messages]
        self.processes = [places.take("state generation") for _ in range(processes)]
        self.hands = [places.take("sequence owner state lane begin end cursor begun") for _ in homes]
        for hand in self.hands:
            progress = [places.take("tries done") for _ in range(batch)]
            hand.tries, hand.done = [p.tries for p in progress], [p.done for p in progress]
        local = ("pc lane position named count slot index marked w0 w1 w2 end low hand buried "
                 "generation")
        self.actors = []
        for number, process in enumerate(homes):
            actor = places.take(local)
            actor.process, actor.hand_number, actor.writer = process, number, False
            actor.name = f"process {process} hand {number}"
            self.actors.append(actor)
        for number in range(len(messages) if writer_scans else 0):
            actor = places.take(local)
            actor.process, actor.hand_number, actor.writer, actor.on = -1, -1, True, number
            actor.name = f"writer {number}"
            self.actors.append(actor)
        for actor in self.actors:
            actor.first, actor.last = actor.pc, actor.generation + 1
        start = bytearray(places.size)
        for actor in self.actors:
            start[actor.pc] = LOOK
        self.start = bytes(start)
        names = [{"TRY": "try_"}.get(name, name.lower()) for name in PCS]
        self.table = [getattr(self, name, None) for name in names]

    # ---- the walk

    def steps(self, s):
        if self.reduced:
            for actor in self.actors:
                if s[actor.pc] in UNSEEN:
                    out = []
                    self.table[s[actor.pc]](s, actor, out)
                    self.death(s, actor.process, out)
                    return out
        out = []
        for number, lane in enumerate(self.lanes):
            self.write(s, number, lane, out)
        for actor in self.actors:
            if s[actor.pc] != GONE:
                self.table[s[actor.pc]](s, actor, out)
        for process in range(len(self.processes)):
            self.death(s, process, out)
            waits = (DEAD, BURIED) if self.births_early else (BURIED,)
            if s[self.processes[process].state] in waits and s[self.budget.births] < self.births:
                self.birth(s, process, out)
        return out

    def describe(self, before, who, after):
        for actor in self.actors:
            if actor.name == who:
                fields = [n for n in ("position", "named", "count", "slot", "end", "low", "hand",
                                      "marked")
                          if before[getattr(actor, n)]]
                shown = ", ".join(f"{n} {before[getattr(actor, n)]}" for n in fields)
                old, new = PCS[before[actor.pc]].lower(), PCS[after[actor.pc]].lower()
                return f"{who}: {old} -> {new} ({shown})"
        return who

    def end_fault(self, s):
        for number, lane in enumerate(self.lanes):
            if s[lane.tail] != self.messages[number]:
                return "the writer is stuck"
            if not all(s[entry.done] for entry in self.log[number]):
                return "a message is lost"
            if self.gives_room and not self.births_early and s[lane.reclaim] != s[lane.tail]:
                return "room is not given back"
        if any(s[hand.state] != IDLE for hand in self.hands):
            return "a hand is left over"
        if any(s[process.state] == DEAD for process in self.processes):
            return "a dead one is not buried"
        return None

    # ---- writer, death, birth

    def write(self, s, number, lane, out):
        tail = s[lane.tail]
        if tail == self.messages[number]:
            return
        if tail - s[lane.limit] < self.capacity:
            if tail >= self.capacity and not s[self.log[number][tail - self.capacity].done]:
                raise Fault("the writer overwrites a message that is not done")
            b = bytearray(s)
            b[lane.tail] += 1
            out.append((f"writer {number} publishes", bytes(b)))
        elif s[lane.reclaim] > s[lane.limit]:
            b = bytearray(s)
            b[lane.limit] = s[lane.reclaim]
            out.append((f"writer {number} loads reclaim", bytes(b)))

    def death(self, s, process, out):
        states = [s[p.state] for p in self.processes]
        if states[process] != ALIVE or states.count(ALIVE) == 1:
            return
        if s[self.budget.deaths] == self.deaths:
            return
        b = bytearray(s)
        b[self.budget.deaths] += 1
        b[self.processes[process].state] = DEAD
        for actor in self.actors:
            if actor.process == process:
                b[actor.first:actor.last] = bytes(actor.last - actor.first)
        self.forget(b)
        out.append((f"death of process {process}", bytes(b)))

    def birth(self, s, process, out):
        b = bytearray(s)
        b[self.budget.births] += 1
        b[self.processes[process].state] = ALIVE
        b[self.processes[process].generation] += 1
        for actor in self.actors:
            if actor.process == process:
                b[actor.pc] = LOOK
        out.append((f"birth of process {process}", bytes(b)))

    # ---- small things all steps use

    def go(self, s, a, out, pc, *changes):
        b = bytearray(s)
        for place, value in changes:
            b[place] = value
        if pc == LOOK:
            b[a.first:a.last] = bytes(a.last - a.first)
        b[a.pc] = pc
        if pc in FORGETTING:
            self.forget(b)
        out.append((a.name, bytes(b)))

    def forget(self, b):
        """Makes states equal that differ only in what nobody can ever look at again.

        Sequences are only compared for equality with kept copies, so without a copy the count may
        start again at 0. The fields of an IDLE hand are all stored again before its word is.
        """
        held = {KEEPER[b[a.pc]](b, a) for a in self.actors if b[a.pc] in KEEPER}
        for number, hand in enumerate(self.hands):
            if number in held:
                continue
            b[hand.sequence] = 0
            if b[hand.state] == IDLE and not STORE_LANE <= b[self.actors[number].pc] <= STORE_WORD:
                b[hand.owner] = 0
                b[hand.lane:hand.end + 1] = bytes(3)
                if self.mistake not in ("zero_after_word", "cursor_kept"):
                    b[hand.cursor:hand.begun + 1] = bytes(2)
            # Nobody looks at the list of a hand whose cursor tells, until it is written anew.
            if b[hand.cursor] != LISTED and b[self.actors[number].pc] != LIST:
                lister = any(b[a.pc] in (LIST, LIST_END) and b[a.slot] == number
                             for a in self.actors)
                if not lister:
                    b[hand.tries[0]:hand.done[-1] + 1] = bytes(2 * self.batch)

    def word(self, s, number):
        place = self.hands[number].sequence
        return s[place:place + 3]

    def set_word(self, number, sequence, owner, state):
        hand = self.hands[number]
        return (hand.sequence, sequence), (hand.owner, owner), (hand.state, state)

    def keep_word(self, a, word):
        return (a.w0, word[0]), (a.w1, word[1]), (a.w2, word[2])

    def kept(self, s, a):
        return s[a.w0:a.w0 + 3]

    # ---- what an idle thread may begin

    def look(self, s, a, out):
        if a.writer:
            return self.look_writer(s, a, out)
        if self.births_early and self.look_own(s, a, out):
            return
        for number, lane in enumerate(self.lanes):
            if s[lane.position] < s[lane.tail]:
                kept = self.mistake == "filling_kept"
                self.go(s, a, out, STORE_WORD if kept else SCAN, (a.lane, number),
                        (a.position, s[lane.position]), (a.named, s[lane.named]), (a.count, kept))
            elif s[self.budget.ahead] < self.ahead and self.was_last(s, a, number):
                self.go(s, a, out, self.first_store(), (a.lane, number),
                        (self.budget.ahead, s[self.budget.ahead] + 1), (a.position, s[lane.position]), (a.named, s[lane.named]), (a.count, 1))
        for number, hand in enumerate(self.hands):
            owner = s[hand.owner] - 1
            if s[hand.state] == IDLE or owner == a.process:
                continue
            dead = s[self.processes[owner].state] != ALIVE
            may_glance = s[self.budget.glances] < self.glances
            if dead or (may_glance and s[self.budget.deaths] < self.deaths):
                self.go(s, a, out, PROVE, (a.slot, number), *self.keep_word(a, self.word(s,
                    number)),
                        (self.budget.glances, s[self.budget.glances] + (not dead)))
        for number, process in enumerate(self.processes):
            if s[process.state] == DEAD:
                self.look_dead(s, a, out, number, process)

    def was_last(self, s, a, number):
        """Nothing was taken behind this thread's last hand, and more will be written."""
        lane = self.lanes[number]
        return (s[lane.named] == a.hand_number + 1 and s[lane.tail] < self.messages[number] and
                s[self.hands[a.hand_number].state] == IDLE)

    def look_own(self, s, a, out):
        """What an earlier process of this place left in hands that carry its number."""
        found = False
        for number, hand in enumerate(self.hands):
            if s[hand.state] != IDLE and s[hand.owner] == a.process + 1:
                word, found = self.word(s, number), True
                self.go(s, a, out, self.after_proof(word), (a.slot, number), *self.keep_word(a,
                    word))
        return found

    def look_dead(self, s, a, out, number, process):
        if self.mistake == "stale_proof":
            for slot in range(len(self.hands)):
                if self.actors[slot].process == number and s[self.budget.glances] < 1:
                    self.go(s, a, out, GLANCE_WORD, (a.slot, slot), (a.buried, number + 1),
                            (self.budget.glances, 1))
        # No hand can come to name a dead one, so reading all words one by one is the same as at
        # once.
        if not any(s[hand.state] != IDLE and s[hand.owner] == number + 1 for hand in self.hands):
            self.go(s, a, out, BURY if self.mistake == "no_burial_recount" else ROOM_HEAD,
                    (a.buried, number + 1), (a.generation, s[process.generation]), (a.lane, 0))

    def look_writer(self, s, a, out):
        lane = self.lanes[a.on]
        tail, limit = s[lane.tail], s[lane.limit]
        blocked = tail < self.messages[a.on] and tail - limit >= self.capacity
        may_scan = s[lane.scans] < self.writer_scans or self.room_now(s, a.on) > limit
        if blocked and may_scan:
            self.go(s, a, out, ROOM_HEAD, (a.lane, a.on))

    def room_now(self, s, number):
        """What a scan would find if nobody moved; decides only whether a scan may begin."""
        lane = self.lanes[number]
        low = s[lane.position]
        for slot, hand in enumerate(self.hands):
            named = (slot + 1, s[hand.end]) == (s[lane.named], s[lane.position])
            held = s[hand.state] == TAKEN or (s[hand.state] == TAKING and named)
            if held and s[hand.lane] == number:
                low = min(low, s[hand.begin])
        return low

    # ---- taking

    def scan(self, s, a, out):
        lane, position = self.lanes[s[a.lane]], s[a.position]
        for count in range(1, self.batch + 1):
            if s[lane.tail] - self.capacity <= position and position + count <= s[lane.tail]:
                named = s[a.named]
                helps = named and named - 1 != a.hand_number and self.mistake != "no_helping"
                self.go(s, a, out, HELP_WORD if helps else self.first_store(), (a.count, count))
        if not s[lane.tail] - self.capacity <= position < s[lane.tail]:
            self.go(s, a, out, LOOK)

    def first_store(self):
        return STORE_LANE if len(self.lanes) > 1 else STORE_FROM

    def help_word(self, s, a, out):
        word = self.word(s, s[a.named] - 1)
        if word[2] != TAKING:
            return self.go(s, a, out, self.first_store())
        checks_lane = len(self.lanes) > 1 and self.mistake != "help_ignores_lane"
        self.go(s, a, out, HELP_LANE if checks_lane else HELP_END, *self.keep_word(a, word))

    def help_lane(self, s, a, out):
        same = s[self.hands[s[a.named] - 1].lane] == s[a.lane]
        self.go(s, a, out, HELP_END if same else self.first_store())

    def help_end(self, s, a, out):
        same = s[self.hands[s[a.named] - 1].end] == s[a.position]
        self.go(s, a, out, HELP_CAS if same else self.first_store())

    def help_cas(self, s, a, out):
        number = s[a.named] - 1
        word, kept = self.word(s, number), self.kept(s, a)
        same = word[1:] == kept[1:] if self.mistake == "help_without_sequence" else word == kept
        change = self.set_word(number, word[0], word[1], TAKEN) if same else ()
        self.go(s, a, out, self.first_store(), *change, *self.keep_word(a, bytes(3)))

    def store_lane(self, s, a, out):
        self.go(s, a, out, STORE_FROM, (self.hands[a.hand_number].lane, s[a.lane]))

    def store_from(self, s, a, out):
        self.go(s, a, out, STORE_END, (self.hands[a.hand_number].begin, s[a.position]))

    def store_end(self, s, a, out):
        late = self.mistake == "zero_after_word"
        self.go(s, a, out, STORE_WORD if late else STORE_ZERO,
                (self.hands[a.hand_number].end, s[a.position] + s[a.count]))

    def zeroes(self, a):
        hand = self.hands[a.hand_number]
        return [] if self.mistake == "cursor_kept" else [(hand.cursor, 0), (hand.begun, 0)]

    def store_zero(self, s, a, out):
        self.go(s, a, out, STORE_WORD, *self.zeroes(a))

    def store_word(self, s, a, out):
        hand = self.hands[a.hand_number]
        if s[hand.state] != IDLE:
            raise Fault("a thread fills its own hand while it is in use")
        is_there = s[a.position] + s[a.count] <= s[self.lanes[s[a.lane]].tail]
        if not is_there and self.mistake != "ahead_unpublished":
            return self.go(s, a, out, LOOK)
        self.go(s, a, out, CAS_HEAD, *self.set_word(a.hand_number, s[hand.sequence] + 1,
                                                    a.process + 1, TAKING))

    def cas_head(self, s, a, out):
        lane = self.lanes[s[a.lane]]
        same = (s[lane.position], s[lane.named]) == (s[a.position], s[a.named])
        if same or self.mistake == "head_stored":
            self.go(s, a, out, WON, (lane.position, s[a.position] + s[a.count]),
                    (lane.named, a.hand_number + 1))
        else:
            self.go(s, a, out, LOST)

    def lost(self, s, a, out):
        hand = self.hands[a.hand_number]
        change = self.set_word(a.hand_number, s[hand.sequence], a.process + 1, IDLE)
        if self.mistake == "recount_after_lost":
            self.go(s, a, out, ROOM_HEAD, *change)
        else:
            self.go(s, a, out, LOOK, *change)

    def won(self, s, a, out):
        hand = self.hands[a.hand_number]
        if s[hand.owner] != a.process + 1:
            raise Fault("a hand was taken from a living one")
        self.go(s, a, out, ZERO_LATE if self.mistake == "zero_after_word" else TRY, (a.slot,
            a.hand_number),
                (a.position, 0), (a.named, 0), (a.count, 0),
                *self.set_word(a.hand_number, s[hand.sequence], a.process + 1, TAKEN))

    def zero_late(self, s, a, out):
        self.go(s, a, out, TRY, *self.zeroes(a))

    # ---- handling what a hand holds; `try_` is spelled through the table because try is a keyword
    # of Python

    def entry(self, s, a):
        hand = self.hands[s[a.slot]]
        return hand, s[a.index], self.log[s[hand.lane]][s[hand.begin] + s[a.index]]

    def progress(self, s, hand, index):
        """Tries and done of a record: by the list, or by the cursor."""
        if s[hand.cursor] == LISTED:
            return s[hand.tries[index]], s[hand.done[index]]
        return (s[hand.begun], 0) if index == s[hand.cursor] else (0, index < s[hand.cursor])

    def next_entry(self, s, a, index):
        """Where the thread goes after `index` entries: adopters pass over what is done."""
        hand = self.hands[s[a.slot]]
        while (index < s[hand.end] - s[hand.begin] and s[a.marked] and
               self.progress(s, hand, index)[1]):
            index += 1
        if index < s[hand.end] - s[hand.begin]:
            return TRY, index
        return (ROOM_HEAD if self.mistake == "room_before_clear" else CLEAR), 0

    def handle(self, s, a, out):
        hand, index, entry = self.entry(s, a)
        lane = self.lanes[s[hand.lane]]
        if s[entry.done]:
            raise Fault("a message is handled again after it was done")
        if s[entry.handled] and not s[a.marked]:
            raise Fault("a second delivery is not marked")
        if not s[lane.tail] - self.capacity <= s[hand.begin] + index < s[lane.tail]:
            raise Fault("a message is handled whose place was overwritten")
        late = self.mistake == "tries_after_handler"
        changes = [(entry.handled, s[entry.handled] + 1)]
        if not (late or self.mistake == "done_before_handler"):
            if self.progress(s, hand, index)[0] <= s[entry.handled]:
                raise Fault("tries tells fewer than were begun")
        if self.mistake == "done_before_handler":
            changes.append((entry.done, 1))
            pc, index = self.next_entry(s, a, index + 1)
            return self.go(s, a, out, pc, (a.index, index), *changes)
        if s[hand.cursor] == LISTED:
            return self.go(s, a, out, DONE, *changes)
        if index + 1 < s[hand.end] - s[hand.begin]:
            self.go(s, a, out, NEXT, *changes)
        self.go(s, a, out, NOTE, *changes)

    def try_(self, s, a, out):
        hand, index, entry = self.entry(s, a)
        listed = s[hand.cursor] == LISTED
        if s[a.marked] and not listed:
            return self.begin_list(s, a, out)
        if self.mistake == "tries_after_handler":
            if self.progress(s, hand, index)[0] < s[entry.handled]:
                raise Fault("tries tells fewer than were begun")
            return self.go(s, a, out, HANDLE)
        if listed:
            changes = [(hand.tries[index], s[hand.tries[index]] + 1)]
            if self.mistake == "done_before_handler":
                changes.append((hand.done[index], 1))
        elif self.mistake == "done_before_handler":
            changes = [(hand.cursor, index + 1)]
        else:
            changes = [(hand.cursor, index), (hand.begun, 1)]
        self.go(s, a, out, HANDLE, *changes)

    def done(self, s, a, out):
        hand, index, entry = self.entry(s, a)
        changes = [(hand.done[index], 1), (entry.done, 1)]
        if self.mistake == "tries_after_handler":
            changes.append((hand.tries[index], s[hand.tries[index]] + 1))
        pc, following = self.next_entry(s, a, index + 1)
        self.go(s, a, out, pc, (a.index, following), *changes)

    # One store tells that a record is done and the next one begun.
    def next(self, s, a, out):
        hand, index, entry = self.entry(s, a)
        self.go(s, a, out, HANDLE, (entry.done, 1), (hand.cursor, index + 1), (hand.begun, 1),
                (a.index, index + 1))

    # The same, and none is begun: behind the last one, or when what follows goes another way.
    def note(self, s, a, out):
        hand, index, entry = self.entry(s, a)
        pc, following = self.next_entry(s, a, index + 1)
        changes = [(entry.done, 1), (hand.cursor, index + 1), (hand.begun, 0),
                   (a.index, following)]
        if pc == TRY:
            self.begin_list(s, a, out, *changes)
        else:
            self.go(s, a, out, pc, *changes)

    # ---- the list: written record by record, then the cursor says that it tells

    def begin_list(self, s, a, out, *changes):
        early = self.mistake == "listed_too_early"
        self.go(s, a, out, LIST_END if early else LIST, *changes, (a.low, 0))

    def list(self, s, a, out):
        hand, index = self.hands[s[a.slot]], s[a.low]
        tries, done = self.progress(s, hand, index)
        if self.mistake == "listed_too_early":
            cursor = s[a.end]
            tries, done = (s[a.position], 0) if index == cursor else (0, index < cursor)
        if self.mistake == "list_forgets_tries":
            tries = 0
        changes = [(hand.tries[index], tries), (hand.done[index], done), (a.low, index + 1)]
        if index + 1 < s[hand.end] - s[hand.begin]:
            return self.go(s, a, out, LIST, *changes)
        if self.mistake != "listed_too_early":
            return self.go(s, a, out, LIST_END, *changes)
        self.go(s, a, out, TRY, *changes, (a.low, 0), (a.end, 0), (a.position, 0))

    def list_end(self, s, a, out):
        hand = self.hands[s[a.slot]]
        changes = [(hand.cursor, LISTED), (hand.begun, 0), (a.low, 0)]
        if self.mistake == "listed_too_early":
            return self.go(s, a, out, LIST, *changes, (a.end, s[hand.cursor]),
                           (a.position, s[hand.begun]))
        self.go(s, a, out, TRY, *changes)

    def clear(self, s, a, out):
        slot = s[a.slot]
        hand = self.hands[slot]
        if s[hand.owner] != a.process + 1:
            raise Fault("a hand was taken from a living one")
        change = self.set_word(slot, s[hand.sequence], a.process + 1, IDLE)
        keeps = self.mistake == "adopter_keeps_room" and s[a.marked]
        if not self.gives_room or keeps or self.mistake == "room_before_clear":
            return self.go(s, a, out, LOOK, *change)
        self.go(s, a, out, ROOM_HEAD, *change, (a.lane, s[hand.lane]), (a.slot, 0), (a.marked, 0))

    # ---- room

    def room_head(self, s, a, out):
        lane = self.lanes[s[a.lane]]
        low = NOTHING if self.mistake == "hands_before_head" else s[lane.position]
        self.go(s, a, out, ROOM_WORD, (a.position, s[lane.position]), (a.named, s[lane.named]),
                (a.low, low),
                (a.hand, 0))

    def next_hand(self, s, a, out, low, *changes):
        more = s[a.hand] + 1 < len(self.hands)
        self.go(s, a, out, ROOM_WORD if more else ROOM_RAISE, *changes, (a.low, low), (a.end, 0),
                (a.hand, s[a.hand] + 1 if more else 0), *self.keep_word(a, bytes(3)))

    def room_word(self, s, a, out):
        word, number = self.word(s, s[a.hand]), s[a.hand]
        judged = word[2] == TAKEN
        if word[2] == TAKING:
            judged = s[a.named] == number + 1
            if self.mistake == "taking_always_counted":
                judged = True
            if self.mistake == "taking_never_counted":
                judged = False
        if not judged:
            return self.next_hand(s, a, out, s[a.low])
        pc = ROOM_LANE if len(self.lanes) > 1 else self.room_after_lane(word)
        self.go(s, a, out, pc, *self.keep_word(a, word))

    def room_after_lane(self, word):
        asks_end = word[2] == TAKING and self.mistake != "taking_always_counted"
        return ROOM_END if asks_end else ROOM_FROM

    def room_lane(self, s, a, out):
        if s[self.hands[s[a.hand]].lane] == s[a.lane]:
            return self.go(s, a, out, self.room_after_lane(self.kept(s, a)))
        self.room_judged(s, a, out, NOTHING)

    def room_end(self, s, a, out):
        if s[self.hands[s[a.hand]].end] == s[a.position]:
            return self.go(s, a, out, ROOM_FROM)
        self.room_judged(s, a, out, NOTHING)

    def room_from(self, s, a, out):
        self.room_judged(s, a, out, s[self.hands[s[a.hand]].begin])

    def room_judged(self, s, a, out, found):
        if self.mistake == "room_without_recheck":
            return self.next_hand(s, a, out, min(s[a.low], found))
        self.go(s, a, out, ROOM_CHECK, (a.end, found))

    def room_check(self, s, a, out):
        if self.word(s, s[a.hand]) == self.kept(s, a):
            self.next_hand(s, a, out, min(s[a.low], s[a.end]))
        else:
            self.go(s, a, out, ROOM_WORD, (a.end, 0), *self.keep_word(a, bytes(3)))

    def room_raise(self, s, a, out):
        lane, low = self.lanes[s[a.lane]], s[a.low]
        if self.mistake == "hands_before_head":
            low = min(low, s[lane.position])
        if not all(s[entry.done] for entry in self.log[s[a.lane]][:low]):
            raise Fault("room is given away below which a message is not done")
        if a.writer:
            gained = low > s[lane.limit]
            return self.go(s, a, out, LOOK, (lane.limit, max(low, s[lane.limit])),
                           (lane.scans, s[lane.scans] if gained else min(s[lane.scans] + 1,
                               self.writer_scans)))
        raised = (lane.reclaim, max(low, s[lane.reclaim]))
        if s[a.buried] and s[a.lane] + 1 < len(self.lanes):
            self.go(s, a, out, ROOM_HEAD, raised, (a.lane, s[a.lane] + 1), (a.position, 0),
                    (a.named, 0), (a.low, 0))
        elif s[a.buried]:
            self.go(s, a, out, BURY, raised, (a.lane, 0), (a.position, 0), (a.named, 0), (a.low, 0))
        elif self.mistake == "room_before_clear":
            self.go(s, a, out, CLEAR, raised)
        else:
            self.go(s, a, out, LOOK, raised)

    def bury(self, s, a, out):
        process = self.processes[s[a.buried] - 1]
        same = s[process.state] == DEAD and s[process.generation] == s[a.generation]
        self.go(s, a, out, LOOK, *([(process.state, BURIED)] if same else []))

    # ---- adopting

    def glance_word(self, s, a, out):
        """Only for stale_proof: the owner was dead once, the word is read afterwards."""
        word = self.word(s, s[a.slot])
        if word[2] == IDLE or word[1] != s[a.buried]:
            return self.go(s, a, out, LOOK)
        self.go(s, a, out, self.after_proof(word), (a.buried, 0), *self.keep_word(a, word))

    def after_proof(self, word):
        if word[2] == TAKEN or self.mistake in ("adopter_trusts_taking", "adopter_drops_taking"):
            return ADOPT_CAS
        return ADOPT_LANE if len(self.lanes) > 1 else ADOPT_END

    def prove(self, s, a, out):
        if s[self.processes[s[a.w1] - 1].state] == ALIVE:
            return self.go(s, a, out, LOOK)
        self.go(s, a, out, self.after_proof(self.kept(s, a)))

    def adopt_lane(self, s, a, out):
        self.go(s, a, out, ADOPT_END, (a.lane, s[self.hands[s[a.slot]].lane]))

    def adopt_end(self, s, a, out):
        self.go(s, a, out, ADOPT_HEAD, (a.end, s[self.hands[s[a.slot]].end]))

    def adopt_head(self, s, a, out):
        lane = self.lanes[s[a.lane]]
        happened = (s[lane.position], s[lane.named]) == (s[a.end], s[a.slot] + 1)
        if self.mistake == "nameless_head":
            happened = s[lane.position] >= s[a.end]
        self.go(s, a, out, ADOPT_CAS, (a.marked, happened), (a.end, 0))

    def adopt_cas(self, s, a, out):
        slot, word, kept = s[a.slot], self.word(s, s[a.slot]), self.kept(s, a)
        if word != kept and self.mistake != "adopter_skips_cas":
            return self.go(s, a, out, LOOK)
        happened = kept[2] == TAKEN or s[a.marked] or self.mistake == "adopter_trusts_taking"
        forget = self.keep_word(a, bytes(3))
        if happened:
            s = changed(s, [(a.marked, 1)])
            pc, index = self.next_entry(s, a, 0)
            # With places that are given out early the new name may equal the old one, so the
            # sequence
            # has to tell the slower of two adopters that it is too late.
            moves = self.births_early and self.mistake != "adopter_keeps_word"
            return self.go(s, a, out, pc, *self.set_word(slot, kept[0] + moves, a.process + 1,
                                                         TAKEN), *forget,
                           (a.index, index), (a.lane, 0))
        drops = self.gives_room and self.mistake != "no_recount_after_drop"
        self.go(s, a, out, ROOM_HEAD if drops else LOOK, *self.set_word(slot, kept[0],
            a.process + 1, IDLE),
                *forget, (a.lane, s[self.hands[slot].lane]), (a.slot, 0), (a.marked, 0))
