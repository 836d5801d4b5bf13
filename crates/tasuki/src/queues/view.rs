//! Large messages that are looked at where they lie, in shared memory, instead of being copied out.
#![allow(unsafe_code)] // lends the shared memory that the engine holds for this process

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Queue;
use super::error::GetError;
use crate::protocol::codec;
use crate::raw::{LargeMessage, Wait};

/// The bytes of a message where they lie. The memory is the queue's again when the last clone is dropped, or this
/// process is killed.
///
/// A message of more than 4 KiB lies in shared memory, which a program that does not keep to the protocol could write
/// into at any moment. So safe code copies what it looks at, by [`read_at`](View::read_at) and
/// [`to_vec`](View::to_vec); a caller that trusts all processes that have the queue borrows the bytes by
/// [`as_slice`](View::as_slice).
///
/// A view that is held takes room from the queue's large messages. A child that was forked while a view existed sees
/// the same memory and does not [hold](View::is_held) it: the bytes may become another message's there.
#[derive(Clone)]
pub struct View(Arc<Bytes>);

enum Bytes {
    Own(Vec<u8>),
    Shared(Box<LargeMessage>),
}

impl Queue<Vec<u8>> {
    /// Takes the oldest message without copying it, if it is a large one; waits for one.
    ///
    /// # Errors
    /// As [`get`](Queue::get).
    pub fn get_view(&self) -> Result<View, GetError> {
        self.get_view_within(&mut Wait::forever())
    }

    /// As `get_view`, if there is a message now.
    ///
    /// # Errors
    /// As `get_view`, and [`is_empty`](GetError::is_empty).
    pub fn try_get_view(&self) -> Result<View, GetError> {
        self.get_view_within(&mut Wait::now())
    }

    /// As `get_view`, waiting for a message at most for `timeout`.
    ///
    /// # Errors
    /// As `get_view`, and [`is_empty`](GetError::is_empty).
    pub fn get_view_timeout(&self, timeout: Duration) -> Result<View, GetError> {
        self.get_view_within(&mut Wait::timeout(timeout))
    }

    fn get_view_within(&self, wait: &mut Wait<'_>) -> Result<View, GetError> {
        let mut bytes = Vec::new();
        let taken = self.raw.get(&mut bytes, wait)?;
        let bytes = match taken.large {
            Some(large) if codec::is_bytes(taken.codec) => Bytes::Shared(large),
            Some(large) => Bytes::Own(codec::decode_owned(taken.codec, large.to_vec())?),
            None => Bytes::Own(codec::decode_owned(taken.codec, bytes)?),
        };
        Ok(View(Arc::new(bytes)))
    }
}

impl View {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        match &*self.0 {
            Bytes::Own(bytes) => bytes.len(),
            Bytes::Shared(large) => large.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes from `offset` on, as many as fit into `target` and there are, and says how many.
    pub fn read_at(&self, target: &mut [u8], offset: usize) -> usize {
        let count = self.len().saturating_sub(offset).min(target.len());
        match &*self.0 {
            Bytes::Own(bytes) if count > 0 => {
                target[..count].copy_from_slice(&bytes[offset..offset + count]);
            }
            Bytes::Shared(large) if count > 0 => {
                // SAFETY: the source lies inside the message, which stays mapped while `large` lives; the target is
                // private. Should somebody write there meanwhile, the copy is a mixture, which is good enough for
                // bytes.
                unsafe {
                    let from = large.as_ptr().add(offset);
                    target.as_mut_ptr().copy_from_nonoverlapping(from, count);
                }
            }
            _ => {}
        }
        count
    }

    /// All bytes, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        match &*self.0 {
            Bytes::Own(bytes) => bytes.clone(),
            Bytes::Shared(large) => large.to_vec(),
        }
    }

    /// The address of the first byte, which stays the same as long as any clone lives.
    pub fn as_ptr(&self) -> *const u8 {
        match &*self.0 {
            Bytes::Own(bytes) => bytes.as_ptr(),
            Bytes::Shared(large) => large.as_ptr(),
        }
    }

    /// The bytes, where they lie.
    ///
    /// # Safety
    /// Nobody writes into this message's memory while the slice is used. A process that keeps to the protocol does not,
    /// as long as this process [holds](View::is_held) it; a broken or hostile process that has the queue could.
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` bytes, initialised by the kernel or a writer, mapped as long as `self` lives; that they do not
        // change is what this function demands.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// Whether the bytes lie in shared memory; those of small messages were copied.
    pub fn is_shared(&self) -> bool {
        matches!(*self.0, Bytes::Shared(_))
    }

    /// Whether the memory is kept for this process: false in a child that was forked after the message was taken.
    pub fn is_held(&self) -> bool {
        match &*self.0 {
            Bytes::Own(_) => true,
            Bytes::Shared(large) => large.is_held(),
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("len", &self.len())
            .field("is_shared", &self.is_shared())
            .finish_non_exhaustive()
    }
}
