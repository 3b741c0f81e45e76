//! Random numbers: all of them are made here.

/// `N` bytes from the operating system's generator, fit for keys.
///
/// # Panics
/// If the operating system has no random numbers to give, which leaves nothing safe to do.
#[expect(clippy::disallowed_methods, reason = "this is where random numbers are made")]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides random numbers");
    bytes
}

/// A number from 0 (inclusive) to 1 (exclusive), for spreading waits out.
pub fn fraction() -> f64 {
    let bits = u64::from_le_bytes(bytes()) >> 11;
    bits as f64 / (1u64 << 53) as f64
}
