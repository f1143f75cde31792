"""What the dispatcher knows of one *stored* channel of one database: its next few ready jobs.

The queue itself stays in the database; a head is a small window on its beginning, read when something
changed. Between a read, the grants that are out and the notifications nothing is ordered, so the window is
never quite the truth. The argument why it is good enough:

*Terms.* Q is what is ready in the database. A grant makes a worker start the least job of Q. ``granted``
counts the grants without an answer. An answer is a claim (with the job's id) or a return (nothing was
started).

*Grants that are out.* A read may have seen the queue before or after such a grant took its job. Before: the job is
still in ``ready`` and will be taken from its beginning, so the next grant would start ``ready[granted]``. After: the
job is not in ``ready`` any more, ``ready[granted]`` is the job behind the right one, and the right one waits until
the answer. The answer repairs both cases: ``claimed`` lowers ``granted`` and removes the job if it is there. So
``ready`` may promise too few jobs while grants are out, never for long, since every grant is answered.

*Jobs that are back before their answer.* A job may end, and be ready again, before the answer says that it was
claimed. Then the answer would take it out of ``ready`` for the second time it is there, and raise the bound over it.
So a job that was noticed while grants were out makes the head dirty when it is claimed, unless the grant came
after the notification.

*Slices.* A worker whose grant is for several jobs claims the next ones by itself, and reports each claim. Until its
report such a job is like one that left Q unreported, except that it may be back before the report, as above.

*Reads that take time.* Other answers and notifications may come while the query runs. ``asking`` marks its
beginning: a job claimed since then is taken out of the result (the query may have seen it as ready); after
a notification the result counts, but the head stays dirty, since the query may not have seen the new job;
after a return the result is thrown away, since it may repeat what the return has just disproved. When
nothing else can happen between question and answer, ``asking`` need not be called.

*Never idle for ever.* A job enters Q with a notification, which makes the head dirty (or lies behind the
window, and the window's end makes it dirty). A job leaves Q by a claim of ours, which is answered, or by
anyone else, unreported (cancelled, purged): then a grant for it comes back, or starts another job, and
a return empties the window and makes the head dirty. So after any event the head is dirty or right, and a
dirty head is read again. A notification does not put its key into ``ready``: it may arrive later than the
claim of its own job, and a channel must not get its turn for a job that is gone. A job that was read from the database
after its notification (``seen``) may be put there.

*No spinning.* A row that an application's transaction holds locked is ready for the read and not there for
the claim. The second return in a row makes the head rest, for twice as long each time, until something
else happens.

*Sequential channels* name the job to start, so they accept only a head that is right: not dirty, no grant
out. What a job of theirs leaves behind (failed, delayed) is not notified: ``ended`` must be called when
one ends.

*The bound.* No ready job has a key below ``bound``, except those whose notification is still on its way;
None if nothing is known. A read and a claim may start there, over the dead index entries of jobs that are
long done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from queuejobs.shared.job_key import Key

WINDOW = 8  # keys to read beyond the grants that are out
SLICED = 56  # further ones while slices are under way, whose workers claim without asking
REMEMBERED = 1000  # jobs noticed while grants are out: only those of the last moment matter
FIRST_REST = 0.05  # seconds
LONGEST_REST = 5.0


@dataclass
class _Read:
    """A read under way, and what happened since its query was sent."""

    bound: Key | None
    claimed: set[int] = field(default_factory=set)
    least_noticed: Key | None = None
    look_again: bool = False
    changed: bool = False
    disproved: bool = False


class Head:
    """The beginning of the queue of one stored channel in one database, as far as it is known."""

    def __init__(self) -> None:
        self.ready: list[Key] = []  # ascending, as last read, without those claimed since
        self.more = False  # there may be further ones behind
        self.delayed: Key | None = None  # the least key with an eta to come; for sequential channels
        self.failed = False  # a failed job is there; for sequential channels
        self.granted = 0  # grants without an answer
        self.slices = 0  # grants under way that are for several jobs
        self.dirty = True  # to be read again
        self.bound: Key | None = None
        self.rest_until = 0.0  # no candidate before this time, on the clock of came_back()
        self._returns = 0  # in a row
        self._drained = False  # a read without a bound found nothing, and nothing was noticed since
        self._reading: _Read | None = None
        self._renewed: dict[int, None] = {}  # jobs noticed while grants were out, unless granted since

    @property
    def rows_to_read(self) -> int:
        """How many keys a read must ask for, so that a key remains behind the grants that are out."""
        return self.granted + WINDOW + (SLICED if self.slices else 0)

    def asking(self) -> None:
        """A read (from ``bound`` on) begins now; :meth:`read` takes its result. One at a time."""
        self._reading = _Read(self.bound)

    def unanswered(self) -> None:
        """The read that ``asking`` began has failed."""
        self._reading = None
        self.dirty = True

    def read(self, ready: Sequence[Key], more: bool, delayed: Key | None, failed: bool) -> None:
        """The result of a read from ``bound`` on: keys ascending, and whether more may be behind them."""
        reading, self._reading = self._reading or _Read(self.bound), None
        if reading.disproved:
            self.dirty = True
            return
        self.ready = [key for key in ready if key[2] not in reading.claimed]
        self.more, self.delayed, self.failed = more, delayed, failed
        self.dirty = reading.changed
        self._drained = False
        if ready and not reading.look_again:
            self.bound = min(ready[0], reading.least_noticed or ready[0])
        elif ready or reading.bound is not None:
            # Nothing from the bound on: the bound may be wrong, look at everything.
            self.bound = None
            self.dirty = True
        else:
            self.bound = None if reading.look_again else reading.least_noticed
            self._drained = not reading.changed
        if more and not self.ready:
            self.dirty = True

    def noticed(self, key: Key | None) -> None:
        """Jobs became ready, the least of them with this key; None: anything may have changed, look again."""
        self._rested()
        if key is not None and (self.granted or self.slices):
            self._remember(key[2])
        if key is None:
            self.bound = None
        elif self._drained:
            self.bound = key
        elif self.bound is not None:
            self.bound = min(self.bound, key)
        self._drained = False
        if self._reading is not None:
            self._reading.changed = True
            if key is None:
                self._reading.look_again = True
            else:
                self._reading.least_noticed = min(key, self._reading.least_noticed or key)
            self.dirty = True
        elif key is None or self._blocked() or not self._behind(key):
            self.dirty = True

    def seen(self, key: Key) -> None:
        """A job was just read as ready, outside of a read of this head; as :meth:`noticed`, and it may start at once.

        Where nothing is known to be ready, it is taken for the first job. The head is read again all the same; if the
        job is gone by then its grant comes back.
        """
        first = not (self._reading or self.dirty or self.ready or self.more or self.granted)
        self.noticed(key)
        if first:
            self.ready = [key]

    def grant(self, sliced: bool = False) -> None:
        """A grant goes out. ``sliced``: for several jobs, until :meth:`slice_ended`."""
        self.slices += sliced
        if self.granted < len(self.ready):
            self._renewed.pop(self.ready[self.granted][2], None)
        self.granted += 1
        self._look_behind_the_window()

    def claimed(self, job_id: int) -> None:
        """A grant was answered: it started this job."""
        self.granted = max(self.granted - 1, 0)
        self.taken(job_id)

    def taken(self, job_id: int) -> None:
        """A slice went on with this job."""
        self._rested()
        if job_id in self._renewed:
            self._look_again_for(job_id)
        if not self.granted and not self.slices:
            self._renewed.clear()
        if self._reading is not None:
            self._reading.claimed.add(job_id)
        self.ready = [key for key in self.ready if key[2] != job_id]
        if self.ready and not self.dirty and self.bound is not None:
            self.bound = self.ready[0]
        self._look_behind_the_window()

    def slice_ended(self) -> None:
        """The worker of a slice starts nothing more by itself."""
        self.slices = max(self.slices - 1, 0)

    def came_back(self, now: float | None = None) -> None:
        """A grant started nothing, or its worker is gone. With a time, the second one in a row makes the head rest."""
        self.granted = max(self.granted - 1, 0)
        self.ready = []
        self.dirty = True
        if self._reading is not None:
            self._reading.disproved = True
        self._returns += 1
        if now is not None and self._returns > 1:
            self.rest_until = now + min(FIRST_REST * 2.0 ** min(self._returns - 2, 16), LONGEST_REST)

    def ended(self) -> None:
        """A job of this channel ended, well or not. Needed for sequential channels: a failed job blocks them."""
        self._rested()
        self.dirty = True
        if self._reading is not None:
            self._reading.changed = True

    def candidate(self, sequential: bool, now: float | None = None, behind: int = 0) -> Key | None:
        """The key of the job that the next grant would start, None when there is none or it is not known.

        ``behind``: instead, the key that stands so many places behind that one; not for sequential channels.
        """
        if now is not None and now < self.rest_until:
            return None
        if not sequential:
            place = self.granted + behind
            return self.ready[place] if place < len(self.ready) else None
        if self.dirty or self.granted or self.failed or not self.ready:
            return None
        if self.delayed is not None and self.delayed < self.ready[0]:
            return None
        return self.ready[0]

    def is_empty(self) -> bool:
        """Whether it was read and nothing is there: it can be forgotten, and read again when a job comes."""
        known = self.dirty or self._reading is not None or self.ready or self.more
        return not (known or self.granted or self.slices or self.failed or self.delayed is not None)

    def _remember(self, job_id: int) -> None:
        self._renewed[job_id] = None
        if len(self._renewed) > REMEMBERED:
            del self._renewed[next(iter(self._renewed))]

    def _look_again_for(self, job_id: int) -> None:
        del self._renewed[job_id]
        if self._reading is None and all(key[2] != job_id for key in self.ready):
            return  # nothing is taken out of ``ready``, which is right, or dirty already
        self.dirty = True
        if self._reading is not None:
            self._reading.changed = True

    def _behind(self, key: Key) -> bool:
        """Whether the key lies behind the window."""
        return self.more and bool(self.ready) and key > self.ready[-1]

    def _blocked(self) -> bool:
        """Whether a job that becomes ready, wherever it stands, may be the one that blocked the others."""
        return self.failed or self.delayed is not None

    def _look_behind_the_window(self) -> None:
        # slices take without a grant: while the head is read there should be something left to choose from
        if self.more and len(self.ready) <= self.granted + (WINDOW // 2 if self.slices else 0):
            self.dirty = True

    def _rested(self) -> None:
        self._returns = 0
        self.rest_until = 0.0
