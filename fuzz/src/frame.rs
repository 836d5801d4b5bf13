//! Bytes that claim to be a stream of messages, in pieces of any size: what comes out does not depend on the pieces,
//! and no more memory is taken than what came deserves.

use tasuki::protocol::frame::{FrameError, FrameReader, header};

/// What a stream gave: its messages, and how it went on.
type Outcome = (Vec<Vec<u8>>, Result<bool, FrameError>);

/// The first byte chooses the limit, the next four the pieces, the rest are the stream.
///
/// # Panics
///
/// When a promise is broken.
pub fn read_in_pieces(data: &[u8]) {
    let Some(([choice, pieces @ ..], stream)) = data.split_first_chunk::<5>() else { return };
    let limit = match choice % 4 {
        0 => u64::MAX,
        1 => 0,
        2 => u64::from(*choice),
        _ => 1 << 20,
    };
    let whole = read(stream, &[usize::MAX], limit);
    let sizes = pieces.map(|size| usize::from(size) + 1);
    assert_eq!(read(stream, &sizes, limit), whole);
    // What was read is what a sender would have sent, but for lengths in their long form.
    let written: Vec<u8> = whole.0.iter().flat_map(|body| framed(body)).collect();
    assert_eq!(read(&written, &sizes, limit), (whole.0, Ok(false)));
}

fn framed(body: &[u8]) -> Vec<u8> {
    [header(body.len() as u64).as_bytes(), body].concat()
}

/// Whether the stream ends inside a message, or why it cannot go on.
fn read(stream: &[u8], sizes: &[usize], limit: u64) -> Outcome {
    let mut reader = FrameReader::new();
    let mut messages = Vec::new();
    let mut sizes = sizes.iter().cycle();
    let mut at = 0;
    while at < stream.len() {
        let end = at.saturating_add(*sizes.next().expect("a cycle")).min(stream.len());
        while at < end {
            match reader.feed(&stream[at..end], limit) {
                Ok(taken) => {
                    assert!(taken > 0, "it goes on or says why not");
                    at += taken;
                }
                Err(why) => {
                    assert_eq!(reader.feed(&stream[at..end], limit), Err(why.clone()));
                    return (messages, Err(why));
                }
            }
            if let Some(message) = reader.take() {
                assert!(message.len() as u64 <= limit);
                assert!(message.capacity() <= 2 * message.len() + (64 << 10));
                messages.push(message);
            }
        }
    }
    (messages, Ok(reader.is_inside()))
}
