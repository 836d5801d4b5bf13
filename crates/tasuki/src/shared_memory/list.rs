//! A list of small things in shared memory with a name: Python's `ShareableList`, from Rust.

use super::{Item, ListError, RawSharedMemory, SharedMemory, with_new_name};
use crate::error::Error;
use crate::raw::shared_memory::list_image;

/// A list of a fixed number of items in [`SharedMemory`], which Python's `ShareableList` opens by its name, and the
/// other way round.
///
/// Items are [`Item`]s: integers, floats, truth values, texts, bytes and nothing. Each can be replaced by any other
/// that needs no more room than it was made with: 8 bytes, or for texts and bytes about the next multiple of 8 above
/// their length.
///
/// Nobody takes a lock: a reader may meet an item that is half replaced. Have a [`Lock`](crate::Lock) when there are
/// writers.
///
/// ```
/// use tasuki::shared_memory::Item;
/// use tasuki::ShareableList;
///
/// let runners = ShareableList::new([Item::from("Kenji"), Item::from(42), Item::None])?;
/// let same = ShareableList::open(runners.memory().name())?;
/// same.set(2, 9.58)?;
/// assert_eq!(runners.get(0)?, Item::from("Kenji"));
/// assert_eq!(runners.get(2)?, Item::Float(9.58));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ShareableList {
    memory: SharedMemory,
}

impl ShareableList {
    /// Makes a list with a new name.
    ///
    /// # Errors
    /// As [`SharedMemory::new`], and when an item is larger than a list can describe.
    pub fn new<I: Into<Item>>(items: impl IntoIterator<Item = I>) -> Result<ShareableList, Error> {
        let image = image(items)?;
        with_new_name(|name| ShareableList::create_from(name, &image))
    }

    /// Makes a list with a name of your choice.
    ///
    /// # Errors
    /// As [`SharedMemory::create`], and when an item is larger than a list can describe.
    pub fn create<I: Into<Item>>(
        name: &str,
        items: impl IntoIterator<Item = I>,
    ) -> Result<ShareableList, Error> {
        ShareableList::create_from(name, &image(items)?)
    }

    fn create_from(name: &str, image: &[u8]) -> Result<ShareableList, Error> {
        Ok(ShareableList { memory: SharedMemory::create_filled(name, image.len(), image)? })
    }

    /// Opens the list that has this name.
    ///
    /// # Errors
    /// As [`SharedMemory::open`], and when the memory holds no list.
    pub fn open(name: &str) -> Result<ShareableList, Error> {
        let list = ShareableList { memory: SharedMemory::open(name)? };
        list.raw().list_len().map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(list)
    }

    /// The memory, with its name and [`unlink`](SharedMemory::unlink).
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// How many items there are.
    ///
    /// # Errors
    /// When the memory was overwritten; so for the other methods.
    #[allow(clippy::len_without_is_empty)] // a list is made with its items, and has them for good
    pub fn len(&self) -> Result<usize, ListError> {
        self.raw().list_len()
    }

    /// A copy of an item.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn get(&self, index: usize) -> Result<Item, ListError> {
        self.raw().list_get(index)
    }

    /// Replaces an item.
    ///
    /// # Errors
    /// When there is none with this number, or the new one needs more room; then nothing changes.
    pub fn set(&self, index: usize, item: impl Into<Item>) -> Result<(), ListError> {
        self.raw().list_set(index, &item.into())
    }

    /// Copies of all items.
    ///
    /// # Errors
    /// As [`get`](ShareableList::get).
    pub fn to_vec(&self) -> Result<Vec<Item>, ListError> {
        (0..self.len()?).map(|index| self.get(index)).collect()
    }

    fn raw(&self) -> &RawSharedMemory {
        &self.memory.raw
    }
}

fn image<I: Into<Item>>(items: impl IntoIterator<Item = I>) -> Result<Vec<u8>, Error> {
    let items: Vec<Item> = items.into_iter().map(Into::into).collect();
    list_image(&items).map_err(|error| Error::Limit(error.to_string()))
}

macro_rules! item_from {
    ($($from:ty => $value:ident $item:expr;)*) => { $(
        impl From<$from> for Item {
            fn from($value: $from) -> Item {
                $item
            }
        }
    )* };
}
item_from! {
    i64 => value Item::Int(value);
    i32 => value Item::Int(value.into());
    u32 => value Item::Int(value.into());
    f64 => value Item::Float(value);
    bool => value Item::Bool(value);
    &str => text Item::Str(text.to_owned());
    String => text Item::Str(text);
    &[u8] => bytes Item::Bytes(bytes.to_owned());
    Vec<u8> => bytes Item::Bytes(bytes);
}

impl<T: Into<Item>> From<Option<T>> for Item {
    fn from(value: Option<T>) -> Item {
        value.map_or(Item::None, Into::into)
    }
}
