//! Which files hold text, what a word is, and how text is cut into pieces that travel through a queue.
//!
//! Word for word the definition in demo/python/wordcount.py, because both must come to the same table:
//! - files: regular files, links not followed, no folder named `__pycache__` or `site-packages`; what cannot be read
//!   is left out, and so is a file with a zero byte among its first 8192 (that is how `grep` tells binary from text);
//! - a word: as many bytes in a row as there are among A-Z, a-z and 128-255, with A-Z folded to a-z.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde_bytes::{ByteBuf, Bytes};

/// How often each word occurs.
pub type Table = HashMap<ByteBuf, u64>;

/// How many bytes of a file travel together; longer files are cut between words.
const PIECE: usize = 1 << 20;

/// Adds the words of `text` to `table`.
pub fn count_words(text: &[u8], table: &mut Table) {
    let text = text.to_ascii_lowercase();
    for word in text.split(|byte| !is_word_byte(*byte)).filter(|word| !word.is_empty()) {
        match table.get_mut(Bytes::new(word)) {
            Some(count) => *count += 1,
            None => {
                table.insert(ByteBuf::from(word), 1);
            }
        }
    }
}

/// Adds all counts of `part` to `table`.
pub fn add_table(table: &mut Table, part: Table) {
    for (word, count) in part {
        *table.entry(word).or_insert(0) += count;
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 128
}

/// Hands the text of all text files below `folder` to `take`: no piece is empty, none is cut inside a word.
pub fn for_each_piece(folder: &Path, take: &mut impl FnMut(Vec<u8>)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let left_out = match () {
            () if kind.is_file() => pieces_of_file(&entry.path(), take),
            () if kind.is_dir() && name != "__pycache__" && name != "site-packages" => {
                for_each_piece(&entry.path(), take)
            }
            () => Ok(()),
        };
        // What cannot be read is left out, here as in Python.
        drop(left_out);
    }
    Ok(())
}

fn pieces_of_file(path: &Path, take: &mut impl FnMut(Vec<u8>)) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut text = Vec::new();
    let mut first = true;
    loop {
        let rest = text.len();
        (&mut file).take(PIECE as u64).read_to_end(&mut text)?;
        let is_last = text.len() - rest < PIECE;
        if first && text.iter().take(8192).any(|byte| *byte == 0) {
            return Ok(());
        }
        first = false;
        let end = if is_last {
            text.len()
        } else {
            text.iter().rposition(|byte| !is_word_byte(*byte)).map_or(0, |last| last + 1)
        };
        let rest = text.split_off(end);
        if !text.is_empty() {
            take(text);
        }
        if is_last {
            return Ok(());
        }
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_run_of_letters_and_high_bytes() {
        let mut table = Table::new();
        count_words("The the na\u{ef}ve x86_64 don't".as_bytes(), &mut table);
        count_words(b"\xff THE", &mut table);
        let mut found: Vec<_> = table.into_iter().map(|(word, n)| (word.into_vec(), n)).collect();
        found.sort();
        let expected: [(&[u8], u64); 6] =
            [(b"don", 1), (b"na\xc3\xafve", 1), (b"t", 1), (b"the", 3), (b"x", 1), (b"\xff", 1)];
        assert_eq!(found, expected.map(|(word, n)| (word.to_vec(), n)));
    }

    #[test]
    fn long_files_are_cut_between_words() {
        let folder = std::env::temp_dir().join(format!("tasuki-demo-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let text = b"relay baton ".repeat(PIECE / 8);
        fs::write(folder.join("long.txt"), &text).unwrap();
        fs::write(folder.join("binary"), b"zero\0byte").unwrap();
        let mut pieces = Vec::new();
        let walked = for_each_piece(&folder, &mut |piece| pieces.push(piece));
        fs::remove_dir_all(&folder).unwrap();
        walked.unwrap();
        assert!(pieces.len() > 1);
        assert!(pieces.iter().all(|piece| piece.ends_with(b" ")));
        assert_eq!(pieces.concat(), text);
    }
}
