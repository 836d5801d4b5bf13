//! Times in shared memory, counted by their size to within 1.6 %: what percentiles are read from.

use std::sync::atomic::{AtomicU64, Ordering};

/// Each doubling is cut into this many parts; below twice that, every nanosecond has its own place.
const PARTS: u64 = 1 << PART_BITS;
const PART_BITS: u32 = 6;
const PLACES: usize = ((64 - PART_BITS) as usize + 1) * PARTS as usize;

/// All places begin at zero, so that fresh shared memory is an empty histogram.
#[repr(C)]
pub struct Histogram {
    counts: [AtomicU64; PLACES],
}

impl Histogram {
    pub fn record(&self, nanoseconds: u64) {
        self.counts[place(nanoseconds)].fetch_add(1, Ordering::Relaxed);
    }

    /// Nanoseconds and how often, in ascending order; a place is named by its middle.
    pub fn counts(&self) -> Vec<(u64, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        counts.enumerate().filter(|&(_, n)| n != 0).map(|(at, n)| (middle(at), n)).collect()
    }
}

fn place(value: u64) -> usize {
    if value < 2 * PARTS {
        return value as usize;
    }
    // How far to the right until only the leading one and PART_BITS behind it are left.
    let shift = value.ilog2() - PART_BITS;
    ((u64::from(shift) << PART_BITS) + (value >> shift)) as usize
}

fn middle(place: usize) -> u64 {
    let place = place as u64;
    if place < 2 * PARTS {
        return place;
    }
    let shift = (place >> PART_BITS) - 1;
    let first = (place - (shift << PART_BITS)) << shift;
    first + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_at_most_a_64th_away_and_places_ascend() {
        let mut before = 0;
        for power in 0..64 {
            for value in [1_u64 << power, (1 << power) + (1 << power) / 3, u64::MAX >> (63 - power)]
            {
                let at = place(value);
                assert!(at >= before && at < PLACES);
                before = at;
                assert!(
                    middle(at).abs_diff(value) <= value / 64,
                    "{value} at {at}: {}",
                    middle(at)
                );
            }
        }
    }
}
