//! Frames come out as they went in, however they are cut, and what is no frame is refused.

use proptest::prelude::*;

use super::*;

const NO_LIMIT: u64 = u64::MAX;

fn framed(body: &[u8]) -> Vec<u8> {
    [header(body.len() as u64).as_bytes(), body].concat()
}

fn long_form(length: u64) -> Vec<u8> {
    [&[0xff; 4][..], &length.to_be_bytes()].concat()
}

/// All messages of a stream whose bytes come in pieces of the given sizes, again and again.
fn read(mut stream: &[u8], pieces: &[usize]) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut reader = FrameReader::new();
    let mut messages = Vec::new();
    let mut sizes = pieces.iter().cycle();
    while !stream.is_empty() {
        let size = stream.len().min(*sizes.next().unwrap());
        let (mut piece, rest) = stream.split_at(size);
        while !piece.is_empty() {
            let taken = reader.feed(piece, NO_LIMIT)?;
            piece = &piece[taken..];
            assert!(piece.is_empty() || reader.is_whole(), "it stopped before the end");
            messages.extend(reader.take());
        }
        stream = rest;
    }
    assert!(!reader.is_inside());
    Ok(messages)
}

#[test]
fn headers_are_those_of_the_standard_library() {
    assert_eq!(header(0).as_bytes(), [0, 0, 0, 0]);
    assert_eq!(header(258).as_bytes(), [0, 0, 1, 2]);
    assert_eq!(header(0x7fff_ffff).as_bytes(), [0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(header(0x8000_0000).as_bytes(), long_form(0x8000_0000));
    assert_eq!(header(u64::MAX).as_bytes(), [0xff; 12]);
}

#[test]
fn the_long_form_of_a_short_length_is_accepted() {
    let mut stream = long_form(3);
    stream.extend(b"abc");
    stream.extend(long_form(0));
    assert_eq!(read(&stream, &[1]).unwrap(), [&b"abc"[..], b""]);
}

#[test]
fn a_message_beyond_the_limit_is_refused_before_its_body() {
    let mut reader = FrameReader::new();
    assert_eq!(reader.feed(&framed(&[7; 10]), 10), Ok(14));
    assert_eq!(reader.take().unwrap(), [7; 10]);
    let refused = Err(FrameError::TooLong { length: 11, limit: 10 });
    assert_eq!(reader.feed(header(11).as_bytes(), 10), refused);
    assert_eq!(reader.feed(&[8; 11], 10), refused, "none of its body is taken");
    assert_eq!(reader.take(), None);
    // A receiver that accepts more can have it.
    assert_eq!(reader.feed(&[8; 11], 11), Ok(11));
    assert_eq!(reader.take().unwrap(), [8; 11]);
}

#[test]
fn a_message_that_has_begun_can_be_held_to_another_limit() {
    let mut reader = FrameReader::new();
    reader.feed(&framed(b"0123456789")[..6], NO_LIMIT).unwrap();
    assert_eq!(reader.check(10), Ok(()));
    let refused = Err(FrameError::TooLong { length: 10, limit: 9 });
    assert_eq!(reader.check(9), refused);
    assert_eq!(reader.feed(b"2345", 9).map(drop), refused);
    assert_eq!(reader.feed(b"23456789", 10), Ok(8));
    assert_eq!(reader.take().unwrap(), b"0123456789");
}

#[test]
fn a_negative_length_is_none() {
    for first in [0x8000_0000u32, 0xffff_fffe, 0xdead_beef] {
        let mut reader = FrameReader::new();
        assert_eq!(
            reader.feed(&first.to_be_bytes(), NO_LIMIT),
            Err(FrameError::Malformed(first)),
            "{first:#x}"
        );
        // What comes then may look like a message; nobody knows.
        assert_eq!(reader.feed(&framed(b"x"), NO_LIMIT), Err(FrameError::Malformed(first)));
    }
}

#[test]
fn a_forged_length_takes_no_memory() {
    for length in [1 << 40, isize::MAX as u64] {
        let mut reader = FrameReader::new();
        let stream = [&long_form(length)[..], b"only these"].concat();
        assert_eq!(reader.feed(&stream, NO_LIMIT), Ok(stream.len()));
        assert!(reader.body.capacity() <= FIRST_ROOM, "{}", reader.body.capacity());
        assert!(reader.is_inside());
    }
    let mut reader = FrameReader::new();
    let more_than_memory = isize::MAX as u64 + 1;
    assert!(matches!(
        reader.feed(&long_form(more_than_memory), NO_LIMIT),
        Err(FrameError::TooLong { .. })
    ));
}

#[test]
fn room_never_reaches_into_the_next_message() {
    let mut reader = FrameReader::new();
    let stream = framed(&[1; 100_000]);
    let mut at = 0;
    let mut rooms = Vec::new();
    while let Some(room) = reader.room().unwrap() {
        let count = match room {
            Room::Header(place) => {
                place.copy_from_slice(&stream[at..at + place.len()]);
                place.len()
            }
            Room::Body(body, most) => {
                assert!(body.capacity() >= body.len() + most);
                body.extend_from_slice(&stream[at..at + most]);
                most
            }
        };
        reader.filled(count, NO_LIMIT).unwrap();
        rooms.push(count);
        at += count;
    }
    assert_eq!(rooms, [4, 65_536, 34_464]);
    assert_eq!(reader.take().unwrap(), [1; 100_000]);
}

#[test]
fn memory_is_used_again() {
    let mut reader = FrameReader::new();
    let mut buffer = Vec::with_capacity(500_000);
    let memory = buffer.as_ptr();
    reader.feed(&framed(b"first"), NO_LIMIT).unwrap();
    assert!(reader.swap(&mut buffer));
    assert_eq!(buffer, b"first");
    assert!(!reader.swap(&mut buffer), "there is none");
    reader.feed(&framed(b"second"), NO_LIMIT).unwrap();
    assert!(reader.swap(&mut buffer));
    assert_eq!((&buffer[..], buffer.as_ptr()), (&b"second"[..], memory));
}

#[test]
fn the_inside_of_a_message_is_known() {
    let mut reader = FrameReader::new();
    let stream = framed(b"ab");
    let inside: Vec<bool> = stream
        .iter()
        .map(|byte| {
            assert_eq!(reader.feed(&[*byte], NO_LIMIT), Ok(1));
            reader.is_inside()
        })
        .collect();
    assert_eq!(inside, [true, true, true, true, true, false]);
    assert!(reader.is_whole());
    assert_eq!(reader.feed(b"\0", NO_LIMIT), Ok(0), "it belongs to the next one");
}

proptest! {
    #[test]
    fn messages_arrive_as_they_left_in_pieces_of_any_size(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
        pieces in prop::collection::vec(1usize..40, 1..6),
    ) {
        let stream: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
        prop_assert_eq!(read(&stream, &pieces).unwrap(), bodies);
    }

    #[test]
    fn garbage_is_read_the_same_in_pieces_of_any_size(
        stream in prop::collection::vec(prop_oneof![3 => 0u8..3, 1 => Just(0xff), 1 => any::<u8>()], 0..100),
        pieces in prop::collection::vec(1usize..9, 1..6),
    ) {
        let outcome = |pieces: &[usize]| {
            let mut reader = FrameReader::new();
            let (mut at, mut messages, mut sizes) = (0, Vec::new(), pieces.iter().cycle());
            while at < stream.len() {
                let end = stream.len().min(at + sizes.next().unwrap());
                while at < end {
                    match reader.feed(&stream[at..end], 1 << 20) {
                        Ok(taken) => at += taken,
                        Err(why) => return (messages, Some(why), false),
                    }
                    messages.extend(reader.take());
                }
            }
            (messages, None, reader.is_inside())
        };
        prop_assert_eq!(outcome(&pieces), outcome(&[usize::MAX >> 1]));
    }
}
