//! The list that Python's standard library keeps in shared memory: its layout read, written and laid out anew.
//!
//! Who may be in it is the standard library itself, so not a byte is ours to choose: see README.md, with the one
//! liberty taken. Called by the fronts of both languages; it takes no lock and trusts nothing that it reads.

use crate::sys::memory::Mapping;

/// An item of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Python's `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// A signed integer of 64 bits.
    Int(i64),
    /// A double.
    Float(f64),
    /// A text, of as many bytes as the item had room for when the list was made.
    Str(String),
    /// Some bytes, as a text.
    Bytes(Vec<u8>),
}

/// Why a list cannot be read or written so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// There is no item with this number.
    #[error("the list has {len} items and none with the number {index}")]
    OutOfRange {
        /// What was asked for.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// The value is longer than the item it is to replace was when the list was made.
    #[error(
        "a bytes/str item exceeds available storage: {len} bytes, and this item has room for {room}"
    )]
    TooLong {
        /// The bytes of the value.
        len: usize,
        /// The bytes of the item.
        room: usize,
    },
    /// Lengths are written down with seven digits.
    #[error("a bytes/str item of {len} bytes exceeds what a list can describe: 9999991 bytes")]
    TooLongForAny {
        /// The bytes of the value.
        len: usize,
    },
    /// A value that ends in NUL needs its exact length noted, for which there are six digits.
    #[error(
        "a bytes/str item that ends in a NUL can have 999999 bytes at most, and this one has {len}"
    )]
    EndsInNul {
        /// The bytes of the value.
        len: usize,
    },
    /// What is in the memory is no list, or was overwritten.
    #[error("the shared memory holds no list, or something else was written over it")]
    Overwritten,
}

use ListError::Overwritten;

const WORD: usize = 8;
/// The largest number of bytes that format and room, a multiple of 8, can name with seven digits.
const LONGEST: usize = 9_999_991;
const LONGEST_EXACT: usize = 999_999;

const INT: &str = "q";
const FLOAT: &str = "d";
const BOOL: &str = "xxxxxxx?";
const NONE: &str = "xxxxxx?x";

/// An item as it lies in memory.
struct Encoded<'a> {
    data: Data<'a>,
    format: String,
    code: u8,
}

enum Data<'a> {
    Word([u8; WORD]),
    Text(&'a [u8]),
}

impl Data<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Data::Word(word) => word,
            Data::Text(text) => text,
        }
    }
}

impl Item {
    /// How many bytes of data it gets in a new list.
    fn room(&self) -> usize {
        match self {
            // The standard library counts characters; then a text of others than ASCII may not fit into what it gets.
            Item::Str(text) => {
                room_for(text.chars().count()).max(text.len().next_multiple_of(WORD))
            }
            Item::Bytes(bytes) => room_for(bytes.len()),
            _ => WORD,
        }
    }

    fn encode(&self, room: usize) -> Result<Encoded<'_>, ListError> {
        let word = |word, format: &str, code| Encoded {
            data: Data::Word(word),
            format: format.to_owned(),
            code,
        };
        Ok(match self {
            Item::None => word([0; WORD], NONE, 3),
            Item::Bool(value) => word([0, 0, 0, 0, 0, 0, 0, u8::from(*value)], BOOL, 0),
            Item::Int(value) => word(value.to_ne_bytes(), INT, 0),
            Item::Float(value) => word(value.to_ne_bytes(), FLOAT, 0),
            Item::Str(text) => encode_text(text.as_bytes(), room, 1)?,
            Item::Bytes(bytes) => encode_text(bytes, room, 2)?,
        })
    }
}

fn encode_text(text: &[u8], room: usize, code: u8) -> Result<Encoded<'_>, ListError> {
    let len = text.len();
    if len > LONGEST {
        return Err(ListError::TooLongForAny { len });
    }
    if len > room {
        return Err(ListError::TooLong { len, room });
    }
    let format = match text.last() {
        Some(0) if len > LONGEST_EXACT => return Err(ListError::EndsInNul { len }),
        Some(0) => format!("{len}s "),
        // The room of a list that was not made by us or the standard library may be larger than a format can say.
        _ => format!("{}s", room.min(room_for(LONGEST))),
    };
    Ok(Encoded { data: Data::Text(text), format, code })
}

/// As the standard library: the next multiple of 8 above the length.
fn room_for(len: usize) -> usize {
    (len / WORD).saturating_add(1).saturating_mul(WORD)
}

/// The bytes of a new list.
pub(crate) fn image(items: &[Item]) -> Result<Vec<u8>, ListError> {
    let mut ends = Vec::with_capacity(items.len());
    let (mut data, mut formats, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        let encoded = item.encode(item.room())?;
        let start = data.len();
        data.extend(encoded.data.bytes());
        data.resize(start + item.room(), 0);
        ends.push(data.len());
        formats.extend(padded(&encoded.format));
        codes.push(encoded.code);
    }
    let head = [items.len(), 0].into_iter().chain(ends);
    let mut image: Vec<u8> = head.flat_map(|number| (number as u64).to_ne_bytes()).collect();
    for part in [data, formats, codes] {
        image.extend(part);
    }
    Ok(image)
}

fn padded(format: &str) -> [u8; WORD] {
    let mut field = [0; WORD];
    for (byte, &letter) in field.iter_mut().zip(format.as_bytes()) {
        *byte = letter;
    }
    field
}

/// A list in somebody's shared memory.
pub(crate) struct ListView<'a>(pub(crate) &'a Mapping);

/// Where the parts of a list are, all inside the mapping.
struct Parts {
    len: usize,
    data: usize,
    formats: usize,
    codes: usize,
}

/// Where one item is.
struct Place {
    data: usize,
    room: usize,
    format: usize,
    code: usize,
}

impl ListView<'_> {
    pub(crate) fn len(&self) -> Result<usize, ListError> {
        Ok(self.parts()?.len)
    }

    pub(crate) fn get(&self, index: usize) -> Result<Item, ListError> {
        let place = self.place(index)?;
        let (format, code) = (self.format_at(&place)?, self.code_at(&place)?);
        match (format.as_str(), code) {
            (_, 3) => Ok(Item::None),
            (INT, 0) => Ok(Item::Int(i64::from_ne_bytes(self.word(place.data)?))),
            (FLOAT, 0) => Ok(Item::Float(f64::from_ne_bytes(self.word(place.data)?))),
            (BOOL, 0) => Ok(Item::Bool(self.word(place.data)?[7] != 0)),
            (text, 1) => {
                String::from_utf8(self.text(&place, text)?).map(Item::Str).map_err(|_| Overwritten)
            }
            (text, 2) => Ok(Item::Bytes(self.text(&place, text)?)),
            _ => Err(Overwritten),
        }
    }

    pub(crate) fn set(&self, index: usize, item: &Item) -> Result<(), ListError> {
        let place = self.place(index)?;
        let encoded = item.encode(place.room)?;
        let bytes = encoded.data.bytes();
        if bytes.len() > place.room {
            return Err(Overwritten);
        }
        let mut written = self.0.write(place.data, bytes);
        if matches!(encoded.data, Data::Text(_)) {
            let rest = vec![0; place.room - bytes.len()];
            written &= self.0.write(place.data + bytes.len(), &rest);
        }
        // A number over a number changes nothing but its 8 bytes, so that a reader sees one or the other.
        if self.format_at(&place).as_deref() != Ok(&encoded.format) {
            written &= self.0.write(place.format, &padded(&encoded.format));
        }
        if self.code_at(&place) != Ok(encoded.code) {
            written &= self.0.write(place.code, &[encoded.code]);
        }
        if written { Ok(()) } else { Err(Overwritten) }
    }

    /// The format of an item, as the standard library spells it.
    pub(crate) fn format(&self, index: usize) -> Result<String, ListError> {
        self.format_at(&self.place(index)?)
    }

    fn parts(&self) -> Result<Parts, ListError> {
        let parts = || {
            let len = self.number(0)?;
            let data = len.checked_add(2)?.checked_mul(WORD)?;
            let end = self.number(data.checked_sub(WORD)?)?;
            let formats = data.checked_add(end)?;
            let codes = formats.checked_add(len.checked_mul(WORD)?)?;
            (codes.checked_add(len)? <= self.0.len()).then_some(Parts { len, data, formats, codes })
        };
        parts().ok_or(Overwritten)
    }

    fn place(&self, index: usize) -> Result<Place, ListError> {
        let Parts { len, data, formats, codes } = self.parts()?;
        if index >= len {
            return Err(ListError::OutOfRange { index, len });
        }
        let edge = |number: usize| self.number(WORD * (1 + number)).ok_or(Overwritten);
        let (start, end) = (edge(index)?, edge(index + 1)?);
        if start > end || end > formats - data {
            return Err(Overwritten);
        }
        Ok(Place {
            data: data + start,
            room: end - start,
            format: formats + WORD * index,
            code: codes + index,
        })
    }

    fn number(&self, offset: usize) -> Option<usize> {
        let number = i64::from_ne_bytes(self.word(offset).ok()?);
        usize::try_from(number).ok()
    }

    fn word(&self, offset: usize) -> Result<[u8; WORD], ListError> {
        let mut word = [0; WORD];
        if self.0.read(offset, &mut word) { Ok(word) } else { Err(Overwritten) }
    }

    fn format_at(&self, place: &Place) -> Result<String, ListError> {
        let field = self.word(place.format)?;
        let format = std::str::from_utf8(&field).map_err(|_| Overwritten)?;
        Ok(format.trim_end_matches('\0').to_owned())
    }

    fn code_at(&self, place: &Place) -> Result<u8, ListError> {
        let mut code = [0];
        if self.0.read(place.code, &mut code) { Ok(code[0]) } else { Err(Overwritten) }
    }

    /// The bytes of a text: all that an exact format names, else those before the NULs at the end.
    fn text(&self, place: &Place, format: &str) -> Result<Vec<u8>, ListError> {
        let spelled = format.trim_end_matches(' ');
        let len = spelled.strip_suffix('s').and_then(|digits| digits.parse::<usize>().ok());
        let len = len.filter(|&len| len <= place.room).ok_or(Overwritten)?;
        let mut text = vec![0; len];
        if !self.0.read(place.data, &mut text) {
            return Err(Overwritten);
        }
        if spelled == format {
            let end = text.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            text.truncate(end);
        }
        Ok(text)
    }
}
