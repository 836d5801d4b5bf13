//! Where a queue's chunks, blocks and tables lie: computed from the segment's shape, which is checked and never
//! changes.
//!
//! ```text
//! core        header | roster | head | tasks | near tables of chunks and blocks | chunks | blocks
//! each octave [2^e, 1.5 * 2^e) chunks | [1.5 * 2^e, 2^(e+1)) blocks                           both pieces of the segment
//!             but the far tables of a long segment, for many chunks and blocks, in two of the places for blocks
//! ```
//! So the file is about twice as long as what is in it, whether that is small messages or large ones, and a process
//! maps the pieces it gets to. Chunks have numbers; blocks lie in *areas*, in which nobody else's things are.

use std::ops::Range;

use super::entries::{BlockEntry, CHUNK, CLASSES, ChunkEntry, SMALLEST, TaskRow};
use crate::error::Error;
use crate::segment::{Segment, pieces};
use crate::sys::memory::PAGE;

/// The first octave beyond the core.
const FIRST: u32 = pieces::CORE.ilog2();
/// The octave of a long segment where the block tables have the place of the blocks: those of any segment fit.
const TABLES: u32 = 25;
const TABLES_AT: usize = 3 << (TABLES - 1);
/// The same for the chunk table, but the entries of the first chunks, with which most queues have enough.
const CHUNK_TABLE_AT: usize = TABLES_AT / 2;
const NEAR: usize = PAGE / size_of::<ChunkEntry>();
/// And but those of the first blocks of each class.
const NEAR_BLOCKS: u32 = 32;
/// A segment that can become this long is long.
const LONG: usize = 4 << TABLES;
/// How many areas for blocks there can be.
pub(super) const AREAS: usize = 1 + (pieces::LONGEST.ilog2() - FIRST) as usize;
/// How many chunks the first octave has.
const FIRST_CHUNKS: usize = pieces::CORE / 2 / CHUNK;
/// How many blocks of one size there can be.
const MOST: usize = 1 << 16;

/// See the file's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Where the table of tasks begins.
    pub(super) tasks: usize,
    near_chunk_table: usize,
    near_chunks: usize,
    near_block_tables: usize,
    block_tables: usize,
    /// The number of the first entry of each class of blocks, and of the one after the last.
    first_entries: [u32; CLASSES + 1],
    /// The chunks of the core.
    first_chunk: usize,
    core_chunks: usize,
    most_chunks: usize,
    /// The blocks of the core.
    blocks: usize,
    core_end: usize,
    capacity: usize,
}

impl Geometry {
    pub(super) fn new(segment: &Segment) -> Result<Geometry, Error> {
        let capacity = segment.capacity();
        let is_long = capacity >= LONG;
        let tasks = segment.payload() + PAGE;
        let tasks_end = tasks + segment.rows() * size_of::<TaskRow>();
        let room = if capacity > pieces::CORE { capacity / 2 } else { capacity };
        let mut first_entries = [0; CLASSES + 1];
        for class in 0..CLASSES {
            let entries = (room / (SMALLEST << class)).min(MOST) as u32;
            first_entries[class + 1] = first_entries[class] + entries;
        }
        let tables_len = first_entries[CLASSES] as usize * size_of::<BlockEntry>();
        let near_chunks = if is_long { NEAR } else { (room / CHUNK).next_multiple_of(NEAR) };
        let near_chunk_table = tasks_end.next_multiple_of(PAGE);
        let near_end = near_chunk_table + near_chunks * size_of::<ChunkEntry>();
        // A short segment has all of its tables in the core.
        let (block_tables, near_len) = if is_long {
            (TABLES_AT, CLASSES * NEAR_BLOCKS as usize * size_of::<BlockEntry>())
        } else {
            (near_end, tables_len)
        };
        let core_used = near_end + near_len;
        let core_end = capacity.min(pieces::CORE);
        let first_chunk = core_used.next_multiple_of(CHUNK);
        // Where there is nothing but a core, large messages need most of it.
        let share = if capacity > pieces::CORE { 2 } else { 4 };
        let core_chunks = (core_end.saturating_sub(first_chunk) / CHUNK / share).max(1);
        let blocks = first_chunk + core_chunks * CHUNK;
        if blocks > core_end {
            return Err(Error::Limit(format!(
                "a queue of {capacity} bytes is too small: it lies in a file in memory, and files must be allowed to have \
                 1 MiB (RLIMIT_FSIZE, `ulimit -f`)"
            )));
        }
        let most_chunks = match capacity.checked_ilog2() {
            Some(order) if capacity > pieces::CORE => {
                let whole = core_chunks + FIRST_CHUNKS * ((1 << (order - FIRST)) - 1);
                whole + ((capacity - (1 << order)) / CHUNK).min(1 << (order - 1) >> CHUNK.ilog2())
            }
            _ => core_chunks,
        };
        Ok(Geometry {
            tasks,
            near_chunk_table,
            near_chunks,
            near_block_tables: near_end,
            block_tables,
            first_entries,
            first_chunk,
            core_chunks,
            most_chunks,
            blocks,
            core_end,
            capacity,
        })
    }

    /// How many chunks there can be.
    pub(super) fn chunks(&self) -> usize {
        self.most_chunks
    }

    /// Where the entry of a chunk lies.
    #[inline]
    pub(super) fn chunk_entry(&self, chunk: usize) -> usize {
        let table = if chunk < self.near_chunks { self.near_chunk_table } else { CHUNK_TABLE_AT };
        table + chunk * size_of::<ChunkEntry>()
    }

    /// Where a chunk begins.
    #[inline]
    pub(super) fn chunk_start(&self, chunk: usize) -> usize {
        if chunk < self.core_chunks {
            return self.first_chunk + chunk * CHUNK;
        }
        let beyond = chunk - self.core_chunks + FIRST_CHUNKS;
        let octave = (beyond / FIRST_CHUNKS).ilog2();
        (pieces::CORE << octave) + (beyond - (FIRST_CHUNKS << octave)) * CHUNK
    }

    /// Where the chunks of the core are, whole ones side by side.
    #[inline]
    pub(super) fn near_chunks(&self) -> Range<usize> {
        self.first_chunk..self.blocks
    }

    /// The chunk that an offset from shared memory lies in, if it lies in one.
    #[inline]
    pub(super) fn chunk_at(&self, offset: usize) -> Option<usize> {
        if offset < pieces::CORE {
            let chunk = offset.checked_sub(self.first_chunk)? / CHUNK;
            return (chunk < self.core_chunks).then_some(chunk);
        }
        let order = offset.ilog2();
        let within = (offset - (1 << order)) / CHUNK;
        let many = FIRST_CHUNKS << (order - FIRST);
        let chunk = self.core_chunks + (many - FIRST_CHUNKS) + within;
        (within < many && chunk < self.most_chunks).then_some(chunk)
    }

    /// How many entries for blocks a class has.
    pub(super) fn entries(&self, class: u32) -> u32 {
        let class = class as usize;
        self.first_entries[class + 1] - self.first_entries[class]
    }

    /// Where the entry of a block lies.
    pub(super) fn entry(&self, class: u32, index: u32) -> usize {
        if index < NEAR_BLOCKS && self.block_tables != self.near_block_tables {
            return self.near_block_tables
                + (class * NEAR_BLOCKS + index) as usize * size_of::<BlockEntry>();
        }
        self.block_tables
            + (self.first_entries[class as usize] + index) as usize * size_of::<BlockEntry>()
    }

    /// The page of the entry of a block, if none of the same class before it has its entry there.
    pub(super) fn page_begun_by(&self, class: u32, index: u32) -> Option<usize> {
        let entry = self.entry(class, index);
        let begins = matches!(index, 0 | NEAR_BLOCKS) || entry.is_multiple_of(PAGE);
        begins.then_some(entry / PAGE * PAGE)
    }

    fn has_table(&self, area_start: usize) -> bool {
        self.capacity >= LONG && matches!(area_start, TABLES_AT | CHUNK_TABLE_AT)
    }

    /// Where an area for blocks begins and ends; nowhere for one that there is not.
    pub(super) fn area(&self, area: usize) -> (usize, usize) {
        if area == 0 {
            return (self.blocks, self.core_end);
        }
        let (start, end) = (3 << (FIRST as usize + area - 2), 1 << (FIRST as usize + area));
        if start < self.capacity && !self.has_table(start) {
            (start, end.min(self.capacity))
        } else {
            (0, 0)
        }
    }

    /// Whether a range lies in an area for blocks.
    pub(super) fn is_for_blocks(&self, offset: usize, len: usize) -> bool {
        let area = match offset.checked_ilog2() {
            Some(order) if order >= FIRST => (order - FIRST + 1) as usize,
            _ => 0,
        };
        if area >= AREAS {
            return false;
        }
        let (start, end) = self.area(area);
        offset >= start && offset.checked_add(len).is_some_and(|to| to <= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::roster::rows_for;
    use crate::segment::{Kind, Shape};

    fn geometry(capacity: usize) -> Result<Geometry, Error> {
        let shape = Shape { rows: rows_for(capacity as u64), capacity };
        let segment = Segment::create(Kind::Queue, "geometry", shape)?;
        Geometry::new(&segment)
    }

    #[test]
    fn nothing_lies_on_anything_else_in_a_segment_of_any_length() {
        let sizes = (17..=36).flat_map(|order| [1 << order, (1 << order) + (5 << 15)]);
        for capacity in sizes.filter(|&size| size <= pieces::LONGEST) {
            let geometry = geometry(capacity).unwrap();
            let entries = geometry.first_entries[CLASSES] as usize;
            let tables =
                geometry.block_tables..geometry.block_tables + entries * size_of::<BlockEntry>();
            let chunk_entry = |chunk| geometry.chunk_entry(chunk);
            let last = geometry.chunks() - 1;
            let near = last.min(geometry.near_chunks - 1);
            let mut places = vec![
                (0, geometry.tasks),
                (chunk_entry(0), chunk_entry(near) + size_of::<ChunkEntry>()),
                (tables.start, tables.end),
            ];
            if geometry.near_block_tables != geometry.block_tables {
                let last = geometry.entry(CLASSES as u32 - 1, NEAR_BLOCKS - 1);
                places.push((geometry.entry(0, 0), last + size_of::<BlockEntry>()));
            }
            if last > near {
                places.push((chunk_entry(near + 1), chunk_entry(last) + size_of::<ChunkEntry>()));
            }
            for chunk in (0..geometry.chunks()).take(40_000) {
                let start = geometry.chunk_start(chunk);
                assert_eq!(geometry.chunk_at(start), Some(chunk));
                assert_eq!(geometry.chunk_at(start + CHUNK - 1), Some(chunk));
                places.push((start, start + CHUNK));
            }
            assert_eq!(geometry.chunk_at(geometry.tasks), None);
            for area in 0..AREAS {
                let (start, end) = geometry.area(area);
                if end > start {
                    assert!(geometry.is_for_blocks(start, end - start));
                    assert!(!geometry.is_for_blocks(start - 1, 1));
                    assert_eq!(geometry.chunk_at(start), None);
                    places.push((start, end));
                }
            }
            places.sort();
            for pair in places.windows(2) {
                assert!(pair[0].1 <= pair[1].0, "{pair:x?} of {capacity:#x}");
            }
            assert!(places.last().unwrap().1 <= capacity);
        }
    }

    #[test]
    fn every_entry_of_a_block_lies_in_a_page_that_was_begun() {
        for capacity in [1 << 20, 3 << 20, 1 << 30, 1 << 36] {
            let geometry = geometry(capacity).unwrap();
            for class in 0..CLASSES as u32 {
                let mut begun = std::collections::BTreeSet::new();
                for index in 0..geometry.entries(class) {
                    begun.extend(geometry.page_begun_by(class, index));
                    let entry = geometry.entry(class, index);
                    assert!(begun.contains(&(entry / PAGE * PAGE)), "{class} {index}");
                    assert!(
                        (entry + size_of::<BlockEntry>() - 1) / PAGE == entry / PAGE,
                        "in one page"
                    );
                }
            }
        }
    }

    #[test]
    fn a_segment_without_room_for_one_chunk_is_refused() {
        assert!(matches!(geometry(1 << 16), Err(Error::Limit(_))));
    }
}
