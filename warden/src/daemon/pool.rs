//! Pools of numbers: networks, uid ranges, ports.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// Numbers `0..count`, each given out once at a time. The search goes round, so that a number that was given back is
/// the last to be given out again.
#[derive(Debug)]
pub(crate) struct Pool {
    count: u32,
    next: u32,
    used: BTreeSet<u32>,
}

impl Pool {
    /// A pool of `count` free numbers.
    pub(crate) fn new(count: u32) -> Self {
        Pool { count, next: 0, used: BTreeSet::new() }
    }

    /// Takes any free number.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let number =
            (self.next..self.count).chain(0..self.next).find(|number| !self.used.contains(number))?;
        self.next = (number + 1) % self.count;
        self.used.insert(number);
        Some(number)
    }

    /// Takes a given number; `false` when it is not of this pool or not free.
    pub(crate) fn take_exactly(&mut self, number: u32) -> bool {
        number < self.count && self.used.insert(number)
    }

    /// Whether a number is taken.
    pub(crate) fn has(&self, number: u32) -> bool {
        self.used.contains(&number)
    }

    /// Gives a number back. One that is not taken is no error.
    pub(crate) fn give_back(&mut self, number: u32) {
        self.used.remove(&number);
    }
}

/// A pool whose numbers rest for a while after they were given back. One that still rests is given out only when there
/// is no other.
#[derive(Debug)]
pub(crate) struct Resting {
    pool: Pool,
    rest: Duration,
    /// Numbers that rest, the one that has rested longest first; the pool thinks that they are taken.
    resting: VecDeque<(Instant, u32)>,
}

impl Resting {
    /// The numbers of a pool.
    pub(crate) fn new(pool: Pool, rest: Duration) -> Self {
        Resting { pool, rest, resting: VecDeque::new() }
    }

    /// Takes a number.
    pub(crate) fn take(&mut self, now: Instant) -> Option<u32> {
        while let Some((since, number)) = self.resting.front()
            && now.saturating_duration_since(*since) >= self.rest
        {
            self.pool.give_back(*number);
            self.resting.pop_front();
        }
        self.pool.take().or_else(|| self.resting.pop_front().map(|(_, number)| number))
    }

    /// Takes a given number; `false` when it is not of this pool or taken.
    pub(crate) fn take_exactly(&mut self, number: u32) -> bool {
        match self.resting.iter().position(|(_, resting)| *resting == number) {
            Some(at) => self.resting.remove(at).is_some(),
            None => self.pool.take_exactly(number),
        }
    }

    /// Gives a number back. One that is not taken is no error.
    pub(crate) fn give_back(&mut self, number: u32, now: Instant) {
        if self.pool.has(number) && !self.resting.iter().any(|(_, resting)| *resting == number) {
            self.resting.push_back((now, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_that_was_given_back_comes_last() {
        let mut pool = Pool::new(3);
        assert_eq!(pool.take(), Some(0));
        pool.give_back(0);
        assert_eq!([pool.take(), pool.take(), pool.take(), pool.take()], [Some(1), Some(2), Some(0), None]);
        pool.give_back(7);
        assert!(!pool.take_exactly(7), "foreign numbers are refused");
        assert!(!pool.take_exactly(1), "taken numbers are refused");
    }

    #[test]
    fn a_number_rests_unless_there_is_no_other() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pool = Resting::new(Pool::new(2), Duration::from_secs(5));
        assert_eq!((pool.take(at(0)), pool.take(at(0)), pool.take(at(0))), (Some(0), Some(1), None));
        pool.give_back(0, at(0));
        pool.give_back(0, at(1));
        assert_eq!(pool.take(at(1)), Some(0), "there is no other");
        pool.give_back(0, at(1));
        pool.give_back(1, at(2));
        assert!(pool.take_exactly(1), "whoever names it gets it");
        assert!(!pool.take_exactly(1) && !pool.take_exactly(7));
        pool.give_back(1, at(2));
        assert_eq!((pool.take(at(7)), pool.take(at(7)), pool.take(at(7))), (Some(0), Some(1), None));
        pool.give_back(7, at(8));
        assert_eq!(pool.take(at(20)), None, "foreign numbers are ignored");
    }

    proptest! {
        #[test]
        fn no_number_is_given_twice(steps in prop::collection::vec(any::<Option<u32>>(), 0..200)) {
            let (mut pool, mut held) = (Pool::new(8), BTreeSet::new());
            for step in steps {
                match step {
                    None => match pool.take() {
                        Some(number) => prop_assert!(held.insert(number) && number < 8),
                        None => prop_assert_eq!(held.len(), 8),
                    },
                    Some(number) => {
                        held.remove(&(number % 8));
                        pool.give_back(number % 8);
                    }
                }
            }
        }
    }
}
