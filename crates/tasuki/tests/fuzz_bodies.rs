//! The bodies of the fuzz targets with random input: they compile and hold without a fuzzer.

#[path = "../../../fuzz/src/codec.rs"]
mod codec;
#[path = "../../../fuzz/src/frame.rs"]
mod frame;
#[path = "../../../fuzz/src/handshake.rs"]
mod handshake;
#[path = "../../../fuzz/src/ring.rs"]
mod ring;
#[path = "../../../fuzz/src/segment.rs"]
mod segment;
#[path = "../../../fuzz/src/stream.rs"]
mod stream;

use proptest::prelude::*;

type Body = fn(&[u8]);

/// What the fuzzer found to reach all of a target.
#[test]
fn the_corpus_holds() {
    let targets: [(&str, Body); 3] = [
        ("frame", frame::read_in_pieces),
        ("handshake", handshake::meddle),
        ("stream", stream::feed),
    ];
    for (name, body) in targets {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
        let files: Vec<_> = std::fs::read_dir(format!("{folder}/{name}")).unwrap().collect();
        assert!(files.len() > 5, "{name} has a corpus");
        for file in files {
            body(&std::fs::read(file.unwrap().path()).unwrap());
        }
    }
}

proptest! {
    #[test]
    fn bytes_read_as_every_type_are_errors_at_worst(data: Vec<u8>) {
        codec::read_as_everything(&data);
    }

    #[test]
    fn nonsense_in_a_queues_memory_is_an_error_or_garbage(data in prop::collection::vec(any::<u8>(), 0..600)) {
        segment::corrupt(&data);
    }

    #[test]
    fn a_queue_full_of_nonsense_is_attached_and_used_or_refused(
        data in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        ring::attach_and_use(&data);
    }

    /// Random bytes are seldom MessagePack for long: these begin with a container that could be.
    #[test]
    fn messagepack_read_as_every_type_is_an_error_at_worst(
        container in prop::sample::select(vec![0x81u8, 0x82, 0x86, 0x91, 0x92, 0x93, 0xd5]),
        rest in prop::collection::vec(
            prop_oneof![0u8..8, 0x80u8..0x84, 0x90u8..0x94, 0xa0u8..0xa3, 0xc0u8..=0xff],
            0..40,
        ),
    ) {
        codec::read_as_everything(&[&[8, container], &rest[..]].concat());
    }

    #[test]
    fn a_stream_means_the_same_in_pieces_of_any_size(data in streams()) {
        frame::read_in_pieces(&data);
    }

    #[test]
    fn a_peer_that_sends_anything_is_understood_or_refused(data in streams()) {
        stream::feed(&data);
    }

    #[test]
    fn who_stands_in_the_middle_of_a_handshake_gets_nobody_through(data in prop::collection::vec(any::<u8>(), 0..300)) {
        handshake::meddle(&data);
    }
}

/// Random bytes are one absurd length: these are mostly short messages.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let message = (0u32..40, prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(length, body)| [&length.to_be_bytes()[..], &body].concat());
    let honest = prop::collection::vec(any::<u8>(), 0..400)
        .prop_map(|body| [&(body.len() as u32).to_be_bytes()[..], &body].concat());
    let long = (0u64..20).prop_map(|length| [&[0xff; 4][..], &length.to_be_bytes()].concat());
    let piece = prop_oneof![6 => honest, 2 => message, 1 => long, 1 => any::<Vec<u8>>()];
    (any::<[u8; 5]>(), prop::collection::vec(piece, 0..8))
        .prop_map(|(choices, pieces)| [&choices[..], &pieces.concat()].concat())
}
