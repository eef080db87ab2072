//! Pools of numbers: networks, uid ranges, ports.

use std::collections::BTreeSet;

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

    /// Gives a number back. One that is not taken is no error.
    pub(crate) fn give_back(&mut self, number: u32) {
        self.used.remove(&number);
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
