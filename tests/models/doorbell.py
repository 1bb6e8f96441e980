"""Model of sleeping and waking: the mask of sleepers, a bell word per consumer, and the store
buffer.

A writer's publishing stores may stay in its store buffer (`burst` entries) while its next load,
that of the sleepers, is already done; a locked operation of its own or the barrier of a sleeper
(membarrier) empties the buffer. Everything else is sequentially consistent. Taking a message is
one step here (hands.py has that part), and so is handling it; a handler may run for ever, so a
message that waits for a busy consumer while another one sleeps counts as a lost wake-up.

A bell word is modelled as whether it was rung since its consumer read it: that is all the
kernel compares.

With `bound` a sleeper may wake by itself (the 50 ms) whenever a message lies there, and `naps`
times for nothing.
"""
from explorer import Fault, Places, changed

PCS = """
GONE SCAN BELL ANNOUNCE BARRIER RESCAN WAIT BACK ASLEEP RISE REMAINS MASK PICK RING WAKE
HANDLING PUBLISH WRITER_MASK WRITER_PICK WRITER_RING WRITER_WAKE LATE_PUBLISH
""".split()
(GONE, SCAN, BELL, ANNOUNCE, BARRIER, RESCAN, WAIT, BACK, ASLEEP, RISE, REMAINS, MASK, PICK,
 RING, WAKE, HANDLING, PUBLISH, WRITER_MASK, WRITER_PICK, WRITER_RING, WRITER_WAKE,
 LATE_PUBLISH) = range(len(PCS))

MISTAKES = {
    "no_rescan": "a sleeper does not look again after it announced itself",
    "no_barrier": "a sleeper does not empty the writers' store buffers before it looks again",
    "wake_before_publish": "a writer looks for sleepers before it publishes",
    "no_passing_on": "who leaves messages behind does not wake the next",
    "bell_read_late": "a sleeper reads its bell after it announced itself",
    "bell_not_rung": "a waker does not change the bell word before it wakes",
    "gives_up_the_awake+bit_left_when_found":
        "a sleeper that finds a message leaves its bit in the mask, and a waker who meets nobody "
        "there is content",
    "gives_up_the_awake+bit_left_after_sleep":
        "a sleeper that returns from the kernel leaves its bit in the mask (a late wake, meant for "
        "its last sleep, finds it set), and a waker who meets nobody there is content",
    "passes_on_after_handling":
        "who leaves messages behind wakes the next only when its handler has returned",
    "gives_up_the_lost_bit":
        "a waker that finds the bit cleared by another one does not look for the next",
    "no_bound": "a sleeper trusts the wakes of others alone although they may die",
}
HARMLESS = {
    "gives_up_the_awake": "a waker that finds nobody asleep on the bell does not look for the next",
    "bit_left_after_sleep": "a sleeper that was woken leaves its bit in the mask if it is there",
}


class Doorbell:
    """The protocol for one size; deaths without `bound` are the mistake no_bound."""

    def __init__(self, messages=(2,), consumers=2, deaths=0, bound=False, naps=0, burst=1,
                 mistake=""):
        self.messages, self.deaths, self.burst = messages, deaths, burst
        self.mistakes = mistake.split("+")
        self.bound, self.naps = bound and not self.does("no_bound"), naps
        places = Places()
        self.shared = places.take("deaths naps mask")
        self.lanes = [places.take("tail head buffer") for _ in messages]
        self.consumers = [places.take("pc lane rung target tried") for _ in range(consumers)]
        self.writers = [places.take("pc target tried") for _ in messages]
        start = bytearray(places.size)
        for consumer in self.consumers:
            start[consumer.pc] = SCAN
        for writer in self.writers:
            start[writer.pc] = self.writer_begins()
        self.start = bytes(start)

    def does(self, mistake):
        return mistake in self.mistakes

    def writer_begins(self):
        return WRITER_MASK if self.does("wake_before_publish") else PUBLISH

    def describe(self, before, who, after):
        for number, consumer in enumerate(self.consumers):
            if who == f"consumer {number}":
                old, new = PCS[before[consumer.pc]].lower(), PCS[after[consumer.pc]].lower()
                return f"{who}: {old} -> {new}"
        return who

    def waits(self, s):
        """Is there a message that everybody can see and nobody has taken?"""
        return any(s[lane.head] < s[lane.tail] for lane in self.lanes)

    def end_fault(self, s):
        asleep = any(s[consumer.pc] == ASLEEP for consumer in self.consumers)
        if self.waits(s) and asleep:
            return "a message lies there and a consumer sleeps"
        return None

    # ---- the walk

    def steps(self, s):
        out = []
        for number, consumer in enumerate(self.consumers):
            self.consume(s, number, consumer, out)
            self.kill(s, f"death of consumer {number}", consumer, out)
        for number, writer in enumerate(self.writers):
            self.write(s, number, writer, self.lanes[number], out)
            if s[self.lanes[number].buffer]:
                lane = self.lanes[number]
                out.append((f"store buffer {number} lets one out", changed(s, [
                    (lane.tail, s[lane.tail] + 1), (lane.buffer, s[lane.buffer] - 1)])))
            self.kill(s, f"death of writer {number}", writer, out)
        return out

    def kill(self, s, who, actor, out):
        if s[self.shared.deaths] < self.deaths and s[actor.pc] != GONE:
            others = [c for c in self.consumers if c is not actor and s[c.pc] != GONE]
            if others:
                changes = [(actor.pc, GONE), (actor.target, 0), (actor.tried, 0),
                           (self.shared.deaths, s[self.shared.deaths] + 1)]
                if actor in self.consumers:
                    changes += [(actor.lane, 0), (actor.rung, 0)]
                out.append((who, changed(s, changes)))

    def drained(self, s, number):
        lane = self.lanes[number]
        return [(lane.tail, s[lane.tail] + s[lane.buffer]), (lane.buffer, 0)]

    # ---- waking, the same four steps for writers and for who leaves messages behind

    def wake_steps(self, s, who, actor, pcs, after, out, also=()):
        """Each sleeper is tried once at most: one that is in the mask again has looked round."""
        mask, pick, ring, wake = pcs
        pc, everybody, bit = s[actor.pc], s[self.shared.mask], 1 << s[actor.target]

        def go(pc, *changes):
            out.append((who, changed(s, [(actor.pc, pc), *changes])))

        over = ((actor.target, 0), (actor.tried, 0))
        if pc == mask:
            untried = everybody & ~s[actor.tried]
            for number in range(len(self.consumers)):
                if untried >> number & 1:
                    go(pick, (actor.target, number), (actor.tried, s[actor.tried] | 1 << number))
            if not untried:
                go(after, *over)
        elif pc == pick and everybody & bit:
            go(ring, (self.shared.mask, everybody & ~bit), *also)
        elif pc == pick:
            go(*((after, *over) if self.does("gives_up_the_lost_bit") else (mask,)), *also)
        elif pc == ring:
            target = self.consumers[s[actor.target]]
            compares = ANNOUNCE <= s[target.pc] <= WAIT and not self.does("bell_not_rung")
            go(wake, *([(target.rung, 1)] if compares else []))
        else:
            target = self.consumers[s[actor.target]]
            if s[target.pc] == ASLEEP:
                go(after, *over, (target.pc, self.after_sleep()))
            else:
                go(*((after, *over) if self.does("gives_up_the_awake") else (mask,)))

    def write(self, s, number, writer, lane, out):
        pc, who = s[writer.pc], f"writer {number}"
        early = self.does("wake_before_publish")
        if pc in (PUBLISH, LATE_PUBLISH):
            written = s[lane.tail] + s[lane.buffer]
            if written < self.messages[number] and s[lane.buffer] < self.burst:
                out.append((f"{who} publishes", changed(s, [(lane.buffer, s[lane.buffer] + 1),
                                                            (writer.pc, WRITER_MASK)])))
                if self.burst > 1 and written + 1 < self.messages[number]:
                    out.append((f"{who} publishes, more to come",
                                changed(s, [(lane.buffer, s[lane.buffer] + 1)])))
        elif pc != GONE:
            if early and s[lane.tail] + s[lane.buffer] == self.messages[number]:
                return
            # A locked operation of the writer empties its store buffer: the pick is one.
            also = self.drained(s, number) if pc == WRITER_PICK else ()
            self.wake_steps(s, f"{who} wakes", writer, (WRITER_MASK, WRITER_PICK, WRITER_RING,
                                                        WRITER_WAKE),
                            LATE_PUBLISH if early else PUBLISH, out, also)

    # ---- a consumer

    def consume(self, s, number, me, out):
        pc, who, bit = s[me.pc], f"consumer {number}", 1 << number

        def go(pc, *changes):
            out.append((who, changed(s, [(me.pc, pc), *changes])))

        mask = self.shared.mask
        if pc == SCAN:
            lane = self.lanes[s[me.lane]]
            if s[lane.head] < s[lane.tail]:
                later = self.does("no_passing_on") or self.does("passes_on_after_handling")
                go(HANDLING if later else REMAINS, (lane.head, s[lane.head] + 1), (me.lane, 0))
            elif s[me.lane] + 1 < len(self.lanes):
                go(SCAN, (me.lane, s[me.lane] + 1))
            else:
                go(ANNOUNCE if self.does("bell_read_late") else BELL, (me.lane, 0))
        elif pc == BELL:
            late = self.does("bell_read_late")
            go(BARRIER if late else ANNOUNCE, (me.rung, 0))
        elif pc == ANNOUNCE:
            late = self.does("bell_read_late")
            go(BELL if late else self.after_announce(), (mask, s[mask] | bit))
        elif pc == BARRIER:
            more = s[me.lane] + 1 < len(self.lanes)
            go(BARRIER if more else self.after_barrier(), (me.lane, s[me.lane] + 1 if more else 0),
               *self.drained(s, s[me.lane]))
        elif pc == RESCAN:
            lane = self.lanes[s[me.lane]]
            if s[lane.head] < s[lane.tail]:
                go(SCAN if self.does("bit_left_when_found") else BACK, (me.lane, 0), (me.rung, 0))
            elif s[me.lane] + 1 < len(self.lanes):
                go(RESCAN, (me.lane, s[me.lane] + 1))
            else:
                go(WAIT, (me.lane, 0))
        elif pc == BACK:
            go(SCAN, (mask, s[mask] & ~bit))
        elif pc == WAIT:
            go(self.after_sleep() if s[me.rung] else ASLEEP, (me.rung, 0))
        elif pc == ASLEEP:
            self.nap_ends(s, me, go)
        elif pc == RISE:
            go(SCAN, (mask, s[mask] & ~bit))
        elif pc == REMAINS:
            lane = self.lanes[s[me.lane]]
            if s[lane.head] < s[lane.tail]:
                go(MASK, (me.lane, 0))
            elif s[me.lane] + 1 < len(self.lanes):
                go(REMAINS, (me.lane, s[me.lane] + 1))
            else:
                go(self.after_passing_on(), (me.lane, 0))
        elif pc in (MASK, PICK, RING, WAKE):
            self.wake_steps(s, who, me, (MASK, PICK, RING, WAKE), self.after_passing_on(), out)
        elif pc == HANDLING:
            late = self.does("passes_on_after_handling")
            out.append((f"may finish, consumer {number}", changed(s, [(me.pc,
                REMAINS if late else SCAN)])))

    def after_passing_on(self):
        return SCAN if self.does("passes_on_after_handling") else HANDLING

    def after_sleep(self):
        return SCAN if self.does("bit_left_after_sleep") else RISE

    def after_announce(self):
        return self.after_barrier() if self.does("no_barrier") else BARRIER

    def after_barrier(self):
        return WAIT if self.does("no_rescan") else RESCAN

    def nap_ends(self, s, me, go):
        if not self.bound or not (self.waits(s) or s[self.shared.naps] < self.naps):
            return
        spent = 0 if self.waits(s) else 1
        go(self.after_sleep(), (self.shared.naps, s[self.shared.naps] + spent))
