//! Gathers faults, but no more than somebody reads, so that what holds a million of them costs no more to refuse.

use std::ops::Deref;

use crate::Fault;

/// So many faults of one thing are listed at most.
pub const MAX_FAULTS: usize = 100;

/// Faults as they are found: as many as are asked for, and one more that shows that there are others. Beyond that,
/// none is kept or even worded.
#[derive(Debug, PartialEq, Eq)]
pub struct Faults {
    found: Vec<Fault>,
    most: usize,
}

impl Default for Faults {
    fn default() -> Self {
        Self::up_to(MAX_FAULTS)
    }
}

impl Faults {
    /// No faults yet, and room for `most` and one more.
    pub const fn up_to(most: usize) -> Self {
        Self { found: Vec::new(), most }
    }

    /// Adds a fault, if there is room.
    pub fn push(&mut self, fault: Fault) {
        self.extend([fault]);
    }

    /// Whether there are more faults than are asked for, so that no others need be looked for.
    pub fn is_full(&self) -> bool {
        self.found.len() > self.most
    }

    /// How many more faults are asked for.
    pub fn left(&self) -> usize {
        self.most.saturating_sub(self.found.len())
    }

    /// The same faults with `prefix` before each pointer, as they are seen from further out.
    pub fn under(self, prefix: &str) -> Self {
        let found = self.found.into_iter().map(|fault| fault.under(prefix)).collect();
        Self { found, ..self }
    }

    /// The faults found: one more than was asked for if there are more.
    pub fn into_vec(self) -> Vec<Fault> {
        self.found
    }
}

impl Deref for Faults {
    type Target = [Fault];

    fn deref(&self) -> &[Fault] {
        &self.found
    }
}

impl Extend<Fault> for Faults {
    /// Takes no more from the iterator than there is room for.
    fn extend<I: IntoIterator<Item = Fault>>(&mut self, faults: I) {
        let room = (self.most + 1).saturating_sub(self.found.len());
        self.found.extend(faults.into_iter().take(room));
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn no_fault_is_worded_beyond_one_that_tells_of_more() {
        let worded = Cell::new(0);
        let fault = |_| {
            worded.set(worded.get() + 1);
            Fault::new("", "invalid", "…")
        };
        let mut faults = Faults::up_to(3);
        faults.extend((0..2).map(fault));
        assert_eq!((faults.is_full(), faults.left()), (false, 1));
        faults.extend((0..1000).map(fault));
        faults.extend((0..1000).map(fault));
        assert_eq!((faults.is_full(), faults.left()), (true, 0));
        assert_eq!((faults.into_vec().len(), worded.get()), (4, 4));
    }
}
