//! What a configuration's values, which are those of v1, mean to v2.

use super::{BlockIo, Cpu, Limit, Memory};

impl Cpu {
    /// [`shares`](Cpu::shares) on the scale of v2's `cpu.weight`, 1 to 10000: a curve through both ends of the two scales and
    /// both defaults (1024 and 100), as github.com/opencontainers/cgroups has it since 0.0.6, and with it runc.
    #[must_use]
    pub fn weight(&self) -> Option<u64> {
        self.shares.map(weight_of_shares)
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "1 to 10000"
)]
fn weight_of_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil() as u64
}

impl BlockIo {
    /// A share of 10 to 1000 on the scale of v2's `io.weight`, 1 to 10000. What is less than 10 is 1.
    #[must_use]
    pub fn io_weight(share: u16) -> u64 {
        1 + u64::from(share).saturating_sub(10) * 9999 / 990
    }
}

/// A swap limit that says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// Swap is what is left of the limit of both, and that of memory is not known.
    #[error("unable to set swap limit without memory limit")]
    NoMemoryLimit,
    /// The limit of both is less than that of one.
    #[error("memory+swap limit should be >= memory limit")]
    LessThanMemory,
}

impl Memory {
    /// v2's limit of swap alone.
    ///
    /// As on v1, where memory without limit cannot be in a limited sum, [`limit`](Memory::limit) without one and
    /// [`swap`](Memory::swap) not set mean swap without limit.
    ///
    /// # Errors
    /// [`SwapError`] where there is no such limit.
    pub fn swap_alone(&self) -> Result<Option<Limit>, SwapError> {
        match (self.limit, self.swap) {
            (Some(Limit::Max), None) | (_, Some(Limit::Max)) => Ok(Some(Limit::Max)),
            (_, None) => Ok(None),
            (Some(Limit::Max), Some(swap)) => Ok(Some(swap)),
            (None, Some(Limit::At(_))) => Err(SwapError::NoMemoryLimit),
            (Some(Limit::At(memory)), Some(Limit::At(both))) => {
                both.checked_sub(memory).map(|swap| Some(Limit::At(swap))).ok_or(SwapError::LessThanMemory)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_as_in_runc() {
        // What the function of github.com/opencontainers/cgroups gives, and its tests expect.
        for (shares, weight) in [
            (0, 1),
            (1, 1),
            (2, 1),
            (3, 2),
            (100, 17),
            (1024, 100),
            (2048, 174),
            (65_536, 3023),
            (262_143, 10_000),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }

    #[test]
    fn more_shares_are_never_less_weight() {
        let mut last = 0;
        for shares in (0..=262_144).step_by(7) {
            let weight = weight_of_shares(shares);
            assert!((1..=10_000).contains(&weight) && weight >= last, "{shares}");
            last = weight;
        }
    }

    #[test]
    fn block_weights_fill_the_scale() {
        assert_eq!([0, 10, 500, 1000].map(BlockIo::io_weight), [1, 1, 4950, 10_000]);
    }

    #[test]
    fn swap_is_what_is_left_of_both() {
        let swap = |limit, swap| Memory { limit, swap, ..Memory::default() }.swap_alone();
        let at = |number| Some(Limit::At(number));
        assert_eq!(swap(at(100), at(300)), Ok(at(200)));
        assert_eq!(swap(at(100), at(100)), Ok(at(0)), "no swap");
        assert_eq!(swap(at(100), Some(Limit::Max)), Ok(Some(Limit::Max)));
        assert_eq!(swap(None, Some(Limit::Max)), Ok(Some(Limit::Max)));
        assert_eq!(swap(Some(Limit::Max), None), Ok(Some(Limit::Max)));
        assert_eq!(swap(Some(Limit::Max), at(300)), Ok(at(300)));
        assert_eq!(swap(at(100), None), Ok(None));
        assert_eq!(swap(None, None), Ok(None));
        assert_eq!(swap(None, at(300)), Err(SwapError::NoMemoryLimit));
        assert_eq!(swap(at(300), at(299)), Err(SwapError::LessThanMemory));
    }
}
