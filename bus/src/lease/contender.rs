//! The decisions of one contender. Pure: no I/O, no clock; moments come from outside, and only grow.
//!
//! ```text
//!             look: released, or unchanged for a whole term        answer in time
//!  watching ────────────────────────────────────────────► claim ─────────────────► holding
//!     ▲ ▲       (an own claim whose answer was lost is claimed again)                │  │
//!     │ └──────────────── refused: another revision is there ◄───────────────────────┘  │ renew: claim again
//!     └────────────── not renewed by `until`, or another's name is there ◄──────────────┘
//! ```
//!
//! Three rules keep two contenders from acting at one time:
//!
//! 1. A claim names the revision that it replaces; of two claims on one revision the store takes one.
//! 2. A contender claims a key only after it has seen the same revision, or no key, for a whole term by its own
//!    clock, counted from the *end* of the first look. It need not wait when it saw the holder, over this
//!    connection, and then that it gave the lease up; nor for a claim of its own, sent over this connection.
//! 3. A holder acts for a term less a margin, by its own clock, counted from the *beginning* of the claim that was
//!    answered.
//!
//! No clock is compared with another, and none of the store's is used: only the rates of two clocks matter, which
//! may each be off by a seventh. A store that lost acknowledged data, or came back with older data, lost its
//! connections too: what was seen over an earlier one counts for nothing, and rule 2 begins anew.

use std::time::Duration;

/// A point in time by one contender's own clock.
pub type Moment = Duration;

/// The times of a lease, all derived from its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long a claim counts for others.
    pub term: Duration,
    /// How much earlier its holder stops.
    pub margin: Duration,
    /// Pause between a claim and its renewal.
    pub renew: Duration,
    /// Pause between two looks, and after a failure.
    pub poll: Duration,
    /// How long the store may take to answer.
    pub answer: Duration,
}

/// The longest pause between two looks: a lease that is given up is taken within a second.
const LONGEST_POLL: Duration = Duration::from_millis(500);

impl Times {
    /// The times for this term.
    pub fn of(term: Duration) -> Self {
        Self {
            term,
            margin: term / 4,
            renew: term / 4,
            poll: (term / 16).min(LONGEST_POLL),
            answer: term / 8,
        }
    }
}

/// What a look at the key shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// There is no such key.
    Absent,
    /// Its last holder has given it up.
    Released {
        /// Revision of the mark that says so.
        revision: u64,
    },
    /// It is held.
    Held {
        /// Revision of the claim.
        revision: u64,
        /// By whom.
        by: String,
    },
}

impl Entry {
    /// The revision that a claim replaces; 0 where there is none.
    fn revision(&self) -> u64 {
        match self {
            Self::Absent => 0,
            Self::Released { revision } | Self::Held { revision, .. } => *revision,
        }
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until this moment.
    Wait(Moment),
    /// Read the key.
    Look,
    /// Write our name in place of this revision.
    Claim {
        /// The revision; 0 when there must be none.
        replaces: u64,
    },
}

/// One contender.
#[derive(Debug, Clone)]
pub struct Contender {
    id: String,
    times: Times,
    state: State,
    /// Nothing is asked of the store before this moment.
    not_before: Moment,
    /// Whether a holder was seen over this connection.
    seen_held: bool,
    /// Whether a claim was sent over this connection.
    sent_claim: bool,
}

#[derive(Debug, Clone)]
enum State {
    /// Nothing is known.
    Blind,
    /// The entry has been like this since this moment at least.
    Watching { entry: Entry, since: Moment },
    /// We hold the lease.
    Holding(Hold),
}

#[derive(Debug, Clone, Copy)]
struct Hold {
    revision: u64,
    until: Moment,
    renew_at: Moment,
    /// Whether a renewal went unanswered: it may have been written or not.
    unsure: bool,
}

impl Contender {
    /// A contender with an id that no other has, nor had.
    pub fn new(id: String, times: Times) -> Self {
        Self { id, times, state: State::Blind, not_before: Moment::ZERO, seen_held: false, sent_claim: false }
    }

    /// Until when we may act; none when we do not hold the lease.
    pub fn until(&self) -> Option<Moment> {
        match &self.state {
            State::Holding(hold) => Some(hold.until),
            _ => None,
        }
    }

    /// Whether we may act now.
    pub fn holds(&self, now: Moment) -> bool {
        self.until().is_some_and(|until| now < until)
    }

    /// The revision of our claim, while we hold the lease.
    pub fn held_revision(&self) -> Option<u64> {
        match &self.state {
            State::Holding(hold) => Some(hold.revision),
            _ => None,
        }
    }

    /// Who else holds the lease, as far as we know.
    pub fn other(&self) -> Option<&str> {
        match &self.state {
            State::Watching { entry: Entry::Held { by, .. }, .. } if *by != self.id => Some(by),
            _ => None,
        }
    }

    /// What is to be done now.
    pub fn step(&mut self, now: Moment) -> Step {
        if let State::Holding(hold) = &self.state
            && now >= hold.until
        {
            self.state = State::Blind;
        }
        let due = match &self.state {
            State::Blind => (Moment::ZERO, Step::Look),
            State::Holding(hold) if hold.unsure => (Moment::ZERO, Step::Look),
            State::Holding(hold) => (hold.renew_at, Step::Claim { replaces: hold.revision }),
            State::Watching { entry, since } => {
                let replaces = entry.revision();
                match self.free_at(entry, *since) {
                    free if now >= free => (Moment::ZERO, Step::Claim { replaces }),
                    _ => (Moment::ZERO, Step::Look),
                }
            }
        };
        let (at, step) = (due.0.max(self.not_before), due.1);
        if now >= at {
            self.sent_claim |= matches!(step, Step::Claim { .. });
            return step;
        }
        // The moment at which we stop acting is looked at when it comes.
        Step::Wait(self.until().map_or(at, |until| at.min(until)))
    }

    /// From when on an entry may be claimed.
    fn free_at(&self, entry: &Entry, since: Moment) -> Moment {
        match entry {
            Entry::Released { .. } if self.seen_held => Moment::ZERO,
            Entry::Held { by, .. } if *by == self.id && self.sent_claim => Moment::ZERO,
            _ => since + self.times.term,
        }
    }

    /// A look has shown this; `now` is when its answer came.
    pub fn looked(&mut self, entry: Entry, now: Moment) {
        self.not_before = now + self.times.poll;
        self.seen_held |= matches!(entry, Entry::Held { .. });
        match (&mut self.state, entry) {
            (State::Holding(hold), Entry::Held { revision, by }) if by == self.id => {
                // What went unanswered is answered: it is renewed at once, since when it was written is not known.
                *hold = Hold { revision, unsure: false, renew_at: now, ..*hold };
                self.not_before = now;
            }
            (State::Watching { entry, .. }, seen) if *entry == seen => {}
            (_, entry) => {
                if self.free_at(&entry, now) <= now {
                    self.not_before = now;
                }
                self.state = State::Watching { entry, since: now };
            }
        }
    }

    /// The store is reached over another connection than before: it may be another store.
    pub fn reconnected(&mut self, now: Moment) {
        (self.seen_held, self.sent_claim) = (false, false);
        if let State::Watching { .. } = self.state {
            self.state = State::Blind;
            self.not_before = now;
        }
    }

    /// A claim was written as `revision`; it was sent at `sent`.
    pub fn claimed(&mut self, revision: u64, sent: Moment, now: Moment) {
        let until = (sent + self.times.term).saturating_sub(self.times.margin);
        self.not_before = now;
        self.state = if now < until {
            State::Holding(Hold { revision, until, renew_at: sent + self.times.renew, unsure: false })
        } else {
            // The answer came too late to be of use. What is there is ours, and is claimed again.
            let entry = Entry::Held { revision, by: self.id.clone() };
            State::Watching { entry, since: now }
        };
    }

    /// A claim was refused: another revision is there.
    pub fn refused(&mut self, now: Moment) {
        self.state = State::Blind;
        self.not_before = now;
    }

    /// The store did not answer; a claim may have been written or not. What was seen still counts: a revision that is
    /// there when it is claimed was there all the time.
    pub fn unanswered(&mut self, now: Moment) {
        self.not_before = now + self.times.poll;
        if let State::Holding(hold) = &mut self.state {
            hold.unsure = true;
        }
    }

    /// We give the lease up, at once.
    pub fn give_up(&mut self) {
        self.state = State::Blind;
    }
}
