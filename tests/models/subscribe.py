"""Model of subscribing while others publish: lanes first, then the version, then the answer.

The daemon may die at every step and is started again. What lasts: the files of lanes and the
directory, whose change is one step here (directory.py has that part). A publisher becomes known
by a request to the daemon, then reads the list of subscribers, and from then on looks at the
version alone. Known publishers find the lane ready; the one whose list names a subscriber
without a lane cannot reach it.

A subscriber whose request was cut off asks again. A new daemon removes lane files that no row
names, because its predecessor may have died between making the file and committing the row.
"""
from explorer import Fault, Places, changed

MISTAKES = {
    "version_before_lane": "the directory names the subscriber before the lanes to it exist",
    "answer_before_version": "the subscriber is answered before the directory names it",
    "list_before_version": "a publisher loads the version after the list that it keeps with it",
    "version_not_compared": "a publisher never looks at the version again",
    "answer_from_files":
        "a new daemon leaves lane files that no row names and takes them for a subscription",
    "late_gets_no_lane":
        "a publisher that becomes known is not given lanes to those who subscribed before",
    "sweep_keeps_nothing": "a new daemon removes all lanes that no publisher has opened yet",
}
HARMLESS = {
    "leftovers_stay": "a new daemon leaves lane files that no row names",
    "known_after_list": "a publisher reads its first list before the daemon knows it",
}

GONE, IDLE, LANES, COMMIT, ANSWER, KNOWN_LANES, KNOWN_COMMIT, KNOWN_ANSWER, SWEEP = range(9)
ASKING, SUBSCRIBED = range(2)
UNKNOWN, WAITS, READ_VERSION, READ_LIST, BEGIN, COMPARE, WRITE, FINISHED = range(8)


class Subscribe:
    """`publishers` known from the start or becoming so, each with `publishes`; one subscriber."""

    def __init__(self, known=1, late=1, publishes=2, deaths=1, mistake=""):
        self.publishes, self.deaths, self.mistake = publishes, deaths, mistake
        places = Places()
        self.shared = places.take("version listed")
        self.daemon = places.take("pc index client deaths")
        self.subscriber = places.take("pc received")
        # `list` is what the publisher believes: whether the subscriber is named.
        self.publishers = [places.take("pc known lane begun list cached owed done opened")
                           for _ in range(known + late)]
        start = bytearray(places.size)
        start[self.daemon.pc] = IDLE
        for number, publisher in enumerate(self.publishers):
            start[publisher.known] = number < known
            start[publisher.pc] = READ_VERSION if number < known else self.late_begins()
        self.start = bytes(start)

    def late_begins(self):
        return READ_VERSION if self.mistake == "known_after_list" else UNKNOWN

    def describe(self, before, who, after):
        state = (before[self.shared.version], before[self.shared.listed])
        publishers = [(before[p.pc], before[p.lane], before[p.cached],
                       before[p.list]) for p in self.publishers]
        daemon = before[self.daemon.pc]
        return f"{who}: version, listed {state}; daemon {daemon}; publishers {publishers}"

    def end_fault(self, s):
        if s[self.subscriber.pc] != SUBSCRIBED:
            return "the subscriber waits for ever"
        if any(s[p.pc] != FINISHED for p in self.publishers):
            return "a publisher waits for ever"
        return None

    def steps(self, s):
        out = []
        self.serve(s, out)
        for number, publisher in enumerate(self.publishers):
            self.publish(s, f"publisher {number}", publisher, out)
        d = self.daemon
        if s[d.pc] != GONE and s[d.deaths] < self.deaths:
            out.append(("death of the daemon", changed(s, [(d.pc, GONE), (d.index, 0), (d.client,
                0),
                                                           (d.deaths, s[d.deaths] + 1)])))
        return out

    # ---- the daemon: one request at a time

    def serve(self, s, out):
        d, pc, index = self.daemon, s[self.daemon.pc], s[self.daemon.index]

        def go(pc, *changes):
            out.append(("daemon", changed(s, [(d.pc, pc), *changes])))

        if pc == GONE:
            go(IDLE if self.mistake in ("leftovers_stay", "answer_from_files") else SWEEP)
        elif pc == SWEEP:
            self.sweep(s, go, index)
        elif pc == IDLE:
            if s[self.subscriber.pc] == ASKING:
                go(self.subscribe_begins(s))
            for number, publisher in enumerate(self.publishers):
                if s[publisher.pc] == WAITS:
                    go(KNOWN_LANES, (d.client, number))
        elif pc == LANES:
            # The file of one publisher's lane per step; those who are not known get theirs later.
            publisher = self.publishers[index]
            more = index + 1 < len(self.publishers)
            early = self.mistake in ("version_before_lane", "answer_before_version")
            after = ANSWER if early else COMMIT
            go(LANES if more else after, (d.index, index + 1 if more else 0),
               (publisher.lane, s[publisher.lane] or s[publisher.known]))
        elif pc == COMMIT:
            after = {"version_before_lane": LANES, "answer_before_version": IDLE}.get(self.mistake,
                ANSWER)
            go(after, (self.shared.version, s[self.shared.version] + 1), (self.shared.listed, 1))
        elif pc == ANSWER:
            after = COMMIT if self.mistake == "answer_before_version" else IDLE
            go(after, (self.subscriber.pc, SUBSCRIBED))
        else:
            self.make_known(s, go, self.publishers[s[d.client]], pc)

    def subscribe_begins(self, s):
        if s[self.shared.listed]:
            return ANSWER
        made = all(s[p.lane] for p in self.publishers if s[p.known])
        some = any(s[p.known] for p in self.publishers)
        if self.mistake == "answer_from_files" and made and some:
            return ANSWER
        return COMMIT if self.mistake == "version_before_lane" else LANES

    def sweep(self, s, go, index):
        publisher = self.publishers[index]
        more = index + 1 < len(self.publishers)
        stays = s[self.shared.listed] and s[publisher.known]
        if self.mistake == "sweep_keeps_nothing":
            stays = s[publisher.opened]
        go(SWEEP if more else IDLE, (self.daemon.index, index + 1 if more else 0),
           (publisher.lane, s[publisher.lane] if stays else 0))

    def make_known(self, s, go, publisher, pc):
        if pc == KNOWN_LANES:
            makes = s[self.shared.listed] and self.mistake != "late_gets_no_lane"
            go(KNOWN_COMMIT, (publisher.lane, s[publisher.lane] or makes))
        elif pc == KNOWN_COMMIT:
            go(KNOWN_ANSWER, (publisher.known, 1))
        elif pc == KNOWN_ANSWER:
            has_list = self.mistake == "known_after_list"
            go(IDLE, (self.daemon.client, 0), (publisher.pc, BEGIN if has_list else READ_VERSION))

    # ---- a publisher

    def publish(self, s, who, me, out):
        pc, version = s[me.pc], s[self.shared.version]

        def go(pc, *changes):
            out.append((who, changed(s, [(me.pc, pc), *changes])))

        late = self.mistake == "list_before_version"
        if pc == UNKNOWN:
            go(WAITS)
        elif pc == READ_VERSION:
            go(self.after_list(s, me) if late else READ_LIST, (me.cached, version))
        elif pc == READ_LIST:
            go(READ_VERSION if late else self.after_list(s, me), (me.list, s[self.shared.listed]))
        elif pc == BEGIN:
            if s[me.done] == self.publishes:
                return go(FINISHED)
            # A publish begins: it is owed to the subscriber if subscribe has returned.
            go(COMPARE, (me.begun, 1), (me.owed, s[self.subscriber.pc] == SUBSCRIBED))
        elif pc == COMPARE:
            same = version == s[me.cached] or self.mistake == "version_not_compared"
            go(WRITE if same else (READ_LIST if late else READ_VERSION))
        elif pc == WRITE:
            self.write(s, me, go)

    def after_list(self, s, me):
        """Into a publish that has begun, or to the first one."""
        if self.mistake == "known_after_list" and not s[me.known]:
            return WAITS
        return COMPARE if s[me.begun] else BEGIN

    def write(self, s, me, go):
        if s[me.list] and not s[me.lane]:
            raise Fault("the list names a subscriber to whom there is no lane")
        if s[me.owed] and not s[me.list]:
            raise Fault("a publish after subscribe returned does not reach the subscriber")
        go(BEGIN, (me.done, s[me.done] + 1), (me.owed, 0), (me.begun, 0), (me.opened, s[me.list]))
