//! Making the segment of an arena: how many slots it gets, and whether there is memory for them.

use std::sync::Arc;

use super::geometry::{Control, PAGE_SLOT, SLOT, SLOTS, bitmaps, data};
use crate::error::Error;
use crate::segment::{Kind, Segment, Shape, payload, roster};
use crate::sync::atomic::Ordering;
use crate::sys::memory;

/// Makes the segment of an arena that nobody knows of yet. Where files may not be long, it has fewer rows and slots.
pub(in crate::segment) fn new_arena(slot_size: usize) -> Result<Arc<Segment>, Error> {
    let longest = memory::longest_file();
    let rows = roster::rows_for(longest);
    let room = usize::try_from(longest).unwrap_or(usize::MAX).saturating_sub(data(rows));
    let (label, slots) = match slot_size {
        SLOT => ("small", (room / SLOT).clamp(1, SLOTS)),
        PAGE_SLOT => ("medium", (room / PAGE_SLOT).clamp(1, SLOTS)),
        _ => ("large", 1),
    };
    let capacity = slot_size
        .checked_mul(slots)
        .and_then(|len| len.checked_add(data(rows)))
        .filter(|&len| isize::try_from(len).is_ok())
        .ok_or_else(too_large)?;
    refuse_more_than_is_free(slot_size as u64)?;
    let size = u32::try_from(slot_size / SLOT).map_err(|_| too_large())?;
    let segment = Segment::create_unlisted(Kind::Arena, label, Shape { rows, capacity })?;
    segment.commit(payload(rows), bitmaps(rows) - payload(rows))?;
    if slot_size != PAGE_SLOT {
        segment.commit(data(rows), capacity - data(rows))?;
    }
    segment.place::<Control>(payload(rows)).slot_size.store(size, Ordering::Relaxed);
    Ok(segment)
}

pub(in crate::segment) fn too_large() -> Error {
    Error::Limit("an object of that size does not fit in memory".into())
}

/// An object that is large enough to matter gets an error where the kernel would kill somebody instead.
fn refuse_more_than_is_free(len: u64) -> Result<(), Error> {
    const MATTERS: u64 = 64 << 20;
    if len < MATTERS {
        return Ok(());
    }
    let free = memory::available();
    if len <= free {
        return Ok(());
    }
    let gib = |bytes: u64| bytes as f64 / (1_u64 << 30) as f64;
    Err(Error::Limit(format!(
        "an object of {:.1} GiB does not fit in memory, of which {:.1} GiB are free",
        gib(len),
        gib(free)
    )))
}
