//! The bodies of the fuzz targets with random input: they compile and hold without a fuzzer.

#[path = "../../../fuzz/src/codec.rs"]
mod codec;
#[path = "../../../fuzz/src/ring.rs"]
mod ring;
#[path = "../../../fuzz/src/segment.rs"]
mod segment;

use proptest::prelude::*;

proptest! {
    #[test]
    fn bytes_read_as_every_type_are_errors_at_worst(data: Vec<u8>) {
        codec::read_as_everything(&data);
    }

    #[test]
    fn nonsense_in_a_queues_memory_is_an_error_or_garbage(data in prop::collection::vec(any::<u8>(), 0..600)) {
        segment::scribble(&data);
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
}
