//! How many faults are found: as many as somebody reads. What holds more is no less wrong, and
//! costs no more to refuse.

use std::ops::Deref;

use crate::Fault;

/// Faults of one thing that are listed at most.
pub const MAX_FAULTS: usize = 100;

/// Faults as they are found. Beyond as many as are asked for, and one that tells of more, none is
/// kept or even worded.
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
    /// None yet, and room for `most` and one more.
    pub const fn up_to(most: usize) -> Self {
        Self { found: Vec::new(), most }
    }

    /// Notes a fault.
    pub fn push(&mut self, fault: Fault) {
        self.extend([fault]);
    }

    /// Whether there are more than are asked for, so that looking for others is of no use.
    pub fn is_full(&self) -> bool {
        self.found.len() > self.most
    }

    /// How many more are asked for.
    pub fn left(&self) -> usize {
        self.most.saturating_sub(self.found.len())
    }

    /// The same faults seen from further out: `prefix` is put before each pointer.
    pub fn under(self, prefix: &str) -> Self {
        let found = self.found.into_iter().map(|fault| fault.under(prefix)).collect();
        Self { found, ..self }
    }

    /// What was found; one more than was asked for if there is more.
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
    /// Takes no more out of the iterator than there is room for.
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
