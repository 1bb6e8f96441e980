"""Model of the directory's snapshots: two copies and a version word that says which one counts.

One daemon writes, one at a time, and may die at every step; a new one takes the file up again.
A change sets two neighbouring fields to its number, so a half made change, one made on a wrong
base, and a mix of two copies all look different. The daemon brings the other copy up to date
when the next change is made: it stores the fields of the last change again, then those of the
new one, then the version. Each field is a load or store of its own. Two snapshots in a row are
read by one reader; readers only read, so more of them would show nothing new.
"""
from explorer import Fault, Places, changed

MISTAKES = {
    "write_into_active": "a change is written into the copy that readers are told to read",
    "accept_after_one": "a reader accepts what it read when the version has moved by one meanwhile",
    "accept_unseen": "a reader does not look at the version again",
    "version_first": "the version is stored before the copy is complete",
    "trust_inactive": "a new daemon does not overwrite the inactive copy before its first change",
    "last_change_forgotten": "a change is made on a copy that lacks the change before",
}
HARMLESS = {}

GONE, TAKE_UP, COPY, READY, AGAIN, FILL, COMMIT, FINISH = range(8)
READ_VERSION, READ_FIELD, COMPARE, SATISFIED = range(4)


class Directory:
    """`fields` per copy, `changes` to commit, `deaths` of the daemon, `snapshots` to be read."""

    def __init__(self, fields=3, changes=3, deaths=1, snapshots=2, mistake=""):
        self.fields, self.changes, self.deaths = fields, changes, deaths
        self.snapshots, self.mistake = snapshots, mistake
        places = Places()
        self.shared = places.take("version")
        # `number` is given to each attempt at a change; `last` is what the daemon remembers of the
        # last one.
        self.daemon = places.take("pc index number last deaths")
        self.reader = places.take("pc index version count newest")
        self.copies = [self.block(places, fields), self.block(places, fields)]
        self.kept = self.block(places, fields)
        # Only for judging: what each version was committed as.
        self.versions = [self.block(places, fields) for _ in range(changes + 1)]
        start = bytearray(places.size)
        start[self.daemon.pc] = READY
        self.start = bytes(start)

    @staticmethod
    def block(places, fields):
        return [places.take("field").field for _ in range(fields)]

    def values(self, s, block):
        return tuple(s[place] for place in block)

    def touched(self, number):
        return [number % self.fields, (number + 1) % self.fields] if number else []

    def describe(self, before, who, after):
        version, pcs = before[self.shared.version], (before[self.daemon.pc], before[self.reader.pc])
        copies = [self.values(before, copy) for copy in self.copies]
        return f"{who}, version {version}, copies {copies}, steps of daemon and reader {pcs}"

    def end_fault(self, s):
        if s[self.reader.pc] != SATISFIED:
            return "a reader waits for ever"
        return None

    def steps(self, s):
        out = []
        self.write(s, out)
        self.read(s, out)
        d = self.daemon
        if s[d.pc] != GONE and s[d.deaths] < self.deaths:
            out.append(("death of the daemon", changed(s, [(d.pc, GONE), (d.index, 0), (d.last, 0),
                                                           (d.deaths, s[d.deaths] + 1)])))
        return out

    def write(self, s, out):
        d, version = self.daemon, s[self.shared.version]
        active, other = self.copies[version & 1], self.copies[version & 1 ^ 1]
        into = active if self.mistake == "write_into_active" else other
        pc, index = s[d.pc], s[d.index]

        def go(*changes):
            out.append(("daemon", changed(s, changes)))

        if pc == GONE:
            # Whether somebody starts it again is not up to the readers: they must do without.
            out.append(("may start a new daemon", changed(s, [(d.pc, TAKE_UP)])))
        elif pc == TAKE_UP:
            go((d.pc, READY if self.mistake == "trust_inactive" else COPY))
        elif pc == COPY:
            more = index + 1 < self.fields
            go((other[index], s[active[index]]), (d.index, index + 1 if more else 0), (d.pc,
                COPY if more else READY))
        elif pc == READY and version < self.changes:
            repeats = s[d.last] and self.mistake != "last_change_forgotten"
            first = COMMIT if self.mistake == "version_first" else FILL
            go((d.number, s[d.number] + 1), (d.pc, AGAIN if repeats else first))
        elif pc == AGAIN:
            place = self.touched(s[d.last])[index]
            first = COMMIT if self.mistake == "version_first" else FILL
            go((into[place], s[active[place]]), (d.index, 1 - index), (d.pc,
                AGAIN if index == 0 else first))
        elif pc in (FILL, FINISH):
            if pc == FINISH:
                into = active
            place = self.touched(s[d.number])[index]
            done = (READY if pc == FINISH else COMMIT) if index else pc
            last = [(d.last, s[d.number])] if index and pc == FINISH else []
            go((into[place], s[d.number]), (d.index, 1 - index), (d.pc, done), *last)
        elif pc == COMMIT:
            self.commit(s, out, into)

    def commit(self, s, out, into):
        d, version, early = self.daemon, s[self.shared.version], self.mistake == "version_first"
        expected = list(self.values(s, self.versions[version]))
        for place in self.touched(s[d.number]):
            expected[place] = s[d.number]
        wrong = tuple(expected) != self.values(s, into)
        if wrong and not early and self.mistake != "write_into_active":
            raise Fault("what is committed is not the state before plus one change")
        out.append(("daemon", changed(s, [
            (self.shared.version, version + 1), *zip(self.versions[version + 1], expected),
            (d.pc, FINISH if early else READY), (d.last, 0 if early else s[d.number])])))

    def read(self, s, out):
        r, version = self.reader, s[self.shared.version]
        pc, index = s[r.pc], s[r.index]

        def go(*changes):
            out.append(("reader", changed(s, changes)))

        if pc == READ_VERSION:
            go((r.version, version), (r.pc, READ_FIELD))
        elif pc == READ_FIELD:
            last = index + 1 == self.fields
            go((self.kept[index], s[self.copies[s[r.version] & 1][index]]), (r.index,
                0 if last else index + 1),
               (r.pc, COMPARE if last else READ_FIELD))
        elif pc == COMPARE:
            moved = version - s[r.version]
            accepts = moved == 0 or self.mistake == "accept_unseen" or (
                moved == 1 and self.mistake == "accept_after_one")
            forget = [(place, 0) for place in self.kept] + [(r.version, 0)]
            if not accepts:
                return go((r.pc, READ_VERSION), *forget)
            if self.values(s, self.kept) != self.values(s, self.versions[s[r.version]]):
                raise Fault("a reader accepts what was never committed")
            if s[r.version] < s[r.newest]:
                raise Fault("a reader goes back to an older state")
            enough = s[r.count] + 1 == self.snapshots
            go((r.pc, SATISFIED if enough else READ_VERSION), (r.count, s[r.count] + 1),
               (r.newest, s[r.version]), *forget)
