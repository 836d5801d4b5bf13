//! A MessagePack looked at without a type: whether it is one, and what it begins with. Only errors
//! ask.

/// What is said of a message that has bytes after its value.
pub(super) const GOES_ON: &str = "a MessagePack that goes on after its value";

/// Whether the bytes are exactly one MessagePack value; otherwise what is wrong with them.
///
/// It counts the values that are still to come instead of descending into them, so that nothing in
/// the bytes makes it recurse.
pub(super) fn check(bytes: &[u8]) -> Result<(), &'static str> {
    const ENDS: &str = "a MessagePack that ends in the middle";
    let mut rest = bytes;
    let mut to_come: u64 = 1;
    while to_come > 0 {
        let (&marker, after) = rest.split_first().ok_or(ENDS)?;
        let number = |size: usize| -> Result<u64, &'static str> {
            let digits = after.get(..size).ok_or(ENDS)?;
            Ok(digits.iter().fold(0u64, |number, &digit| number << 8 | u64::from(digit)))
        };
        // How many bytes follow the marker, and how many values follow those.
        let (data, inside) = match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
            0x80..=0x8f => (0, 2 * u64::from(marker & 0x0f)),
            0x90..=0x9f => (0, u64::from(marker & 0x0f)),
            0xa0..=0xbf => (u64::from(marker & 0x1f), 0),
            0xc1 => return Err("a MessagePack with a byte that means nothing"),
            0xc4 | 0xd9 => (1 + number(1)?, 0),
            0xc5 | 0xda => (2 + number(2)?, 0),
            0xc6 | 0xdb => (4 + number(4)?, 0),
            0xc7 => (1 + 1 + number(1)?, 0),
            0xc8 => (2 + 1 + number(2)?, 0),
            0xc9 => (4 + 1 + number(4)?, 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xd4..=0xd8 => (1 + (1 << (marker - 0xd4)), 0),
            0xdc => (2, number(2)?),
            0xdd => (4, number(4)?),
            0xde => (2, 2 * number(2)?),
            0xdf => (4, 2 * number(4)?),
        };
        rest = usize::try_from(data).ok().and_then(|data| after.get(data..)).ok_or(ENDS)?;
        // No overflow: each addition is below 2^33 and takes a byte of a slice.
        to_come += inside;
        to_come -= 1;
    }
    if rest.is_empty() { Ok(()) } else { Err(GOES_ON) }
}

/// What a MessagePack begins with, in words.
pub(super) fn describe(bytes: &[u8]) -> &'static str {
    match bytes.first() {
        None => "nothing in it",
        Some(0xc0) => "nil",
        Some(0xc2 | 0xc3) => "a boolean",
        Some(0x00..=0x7f | 0xe0..=0xff | 0xcc..=0xd3) => "an integer",
        Some(0xca | 0xcb) => "a float",
        Some(0xa0..=0xbf | 0xd9..=0xdb) => "a string",
        Some(0xc4..=0xc6) => "bytes",
        Some(0x90..=0x9f | 0xdc | 0xdd) => "an array",
        Some(0x80..=0x8f | 0xde | 0xdf) => "a map",
        Some(0xc7..=0xc9 | 0xd4..=0xd8) => "an extension, such as a handle",
        Some(0xc1) => "a byte that means nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_marker_is_measured() {
        for (bytes, whole) in [
            (&b"\x05"[..], true),
            (b"\xc4\x01a", true),
            (b"\xc5\x00\x01a", true),
            (b"\xc6\x00\x00\x00\x01a", true),
            (b"\xc7\x01\x54a", true),
            (b"\xc8\x00\x01\x54a", true),
            (b"\xc9\x00\x00\x00\x01\x54a", true),
            (b"\xd4\x54a", true),
            (b"\xd8\x540123456789abcdef", true),
            (b"\xca0123", true),
            (b"\xcb01234567", true),
            (b"\xdc\x00\x02\x01\x02", true),
            (b"\xdf\x00\x00\x00\x01\x01\x02", true),
            (b"\x82\x01\x90\x02\x91\xa1a", true),
            (b"", false),
            (b"\x91", false),
            (b"\x91\x01\x01", false),
            (b"\xdf\xff\xff\xff\xff\x01", false),
            (b"\xc1", false),
        ] {
            assert_eq!(check(bytes).is_ok(), whole, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_the_format_writes_is_whole_and_a_part_of_it_is_not(
            value: Vec<(String, Option<f32>, i64, u128)>,
            cut: prop::sample::Index,
        ) {
            let bytes = rmp_serde::to_vec_named(&value).unwrap();
            prop_assert_eq!(check(&bytes), Ok(()));
            prop_assert!(check(&bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = (check(&bytes), describe(&bytes));
        }
    }
}
