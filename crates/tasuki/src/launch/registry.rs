//! The table of tasks: which functions a process can be asked to run, by name. `#[tasuki::task]`
//! adds to it, the parent looks up what it may send, the child looks up what it was sent.
//!
//! A function's name is what `std::any::type_name` says of it. Parent and child are the same binary
//! and agree on it, so the compiler's freedom to choose the text does not matter. Both sides
//! compare their whole tables by a [`Fingerprint`]: a child that was compiled from something else
//! must not decode arguments that were written for another function of the same name.

use std::any::{type_name, type_name_of_val};

use super::call::Call;
use super::message::{Fingerprint, Line};
use crate::ending::Exit;

/// One function that a process can run; made by `#[tasuki::task]`.
#[doc(hidden)]
pub struct Entry {
    /// The function's name: `type_name` of its own type.
    pub name: fn() -> &'static str,
    /// Its argument tuple and result, so that a changed signature changes the table.
    pub signature: fn() -> [&'static str; 2],
    /// Reads the arguments, runs the function, writes the result.
    pub run: fn(Call) -> Exit,
}

inventory::collect!(Entry);

/// The name under which a function is registered, if it is.
pub fn name_of<F>(function: &F) -> &'static str {
    type_name_of_val(function)
}

/// Arguments and result as the table compares them.
pub fn signature_of<Args, Output>() -> [&'static str; 2] {
    [type_name::<Args>(), type_name::<Output>()]
}

/// What looking for a name can find.
pub(super) enum Found {
    /// The one function of that name.
    One(&'static Entry),
    /// No function has the name.
    None,
    /// Several functions have it: two blocks of one function each hold a function of one name.
    Several,
}

/// Looks a task up.
pub(super) fn find(name: &str) -> Found {
    let mut entries = inventory::iter::<Entry>.into_iter().filter(|entry| (entry.name)() == name);
    match (entries.next(), entries.next()) {
        (Some(entry), None) => Found::One(entry),
        (None, _) => Found::None,
        (Some(_), Some(_)) => Found::Several,
    }
}

/// All tasks of this program, sorted.
pub(super) fn table() -> Vec<Line> {
    let mut lines: Vec<Line> = inventory::iter::<Entry>
        .into_iter()
        .map(|entry| {
            let [arguments, result] = (entry.signature)();
            Line {
                name: (entry.name)().to_owned(),
                arguments: arguments.to_owned(),
                result: result.to_owned(),
            }
        })
        .collect();
    lines.sort();
    lines
}

/// The fingerprint of this program's table. The order of registration does not matter.
pub(super) fn fingerprint() -> Fingerprint {
    fingerprint_of(inventory::iter::<Entry>.into_iter().map(|entry| {
        let [arguments, result] = (entry.signature)();
        [(entry.name)(), arguments, result]
    }))
}

fn fingerprint_of<'a>(lines: impl Iterator<Item = [&'a str; 3]>) -> Fingerprint {
    // A sum of hashes is the same in any order; FNV-1a is enough against accidents, and both sides
    // are ours.
    let sum = lines.fold(0_u64, |sum, line| {
        let bytes = line.iter().flat_map(|part| part.bytes().chain([0]));
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        sum.wrapping_add(hash)
    });
    Fingerprint(sum)
}

/// What only one of two tables has.
pub(super) fn difference(ours: &[Line], theirs: &[Line]) -> (Vec<String>, Vec<String>) {
    let only = |these: &[Line], those: &[Line]| {
        these.iter().filter(|line| !those.contains(line)).map(Line::to_string).collect()
    };
    (only(ours, theirs), only(theirs, ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_ignore_the_order_and_see_every_part() {
        let a = ["f", "(u8,)", "()"];
        let b = ["g", "()", "u8"];
        let of = |lines: &[[&'static str; 3]]| fingerprint_of(lines.iter().copied());
        assert_eq!(of(&[a, b]), of(&[b, a]));
        assert_ne!(of(&[a]), of(&[a, b]));
        assert_ne!(of(&[a]), of(&[["f", "(u16,)", "()"]]));
        assert_ne!(of(&[["ab", "", ""]]), of(&[["a", "b", ""]]));
    }

    #[test]
    fn a_difference_names_what_each_side_lacks() {
        let line = |name: &str, result: &str| Line {
            name: name.into(),
            arguments: "()".into(),
            result: result.into(),
        };
        let (ours, theirs) = difference(
            &[line("a", "u8"), line("b", "u8")],
            &[line("a", "u8"), line("b", "u16"), line("c", "()")],
        );
        assert_eq!(ours, ["b() -> u8"]);
        assert_eq!(theirs, ["b() -> u16", "c() -> ()"]);
    }
}
