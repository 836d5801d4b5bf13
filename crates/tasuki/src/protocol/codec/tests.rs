//! What the codec promises, one test a promise.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::protocol::limited::{FREE_ELEMENTS, MAX_DEPTH};

const ALL: [StructuredCodec; 3] =
    [StructuredCodec::MessagePack, StructuredCodec::Postcard, StructuredCodec::Pickle];

fn encoded<T: Message>(value: &T) -> (Codec, Vec<u8>) {
    let mut out = Vec::new();
    let codec = encode(value, StructuredCodec::MessagePack, &mut out).unwrap();
    (codec, out)
}

/// What a `U` reads from the message of a `T`.
fn sent<T: Message, U: Message>(value: T) -> Result<U, DecodeError> {
    let (codec, bytes) = encoded(&value);
    decode(codec.tag(), &bytes)
}

/// Through every codec and every way in and out.
#[track_caller]
fn comes_back<T: Message + Debug + PartialEq>(value: T) {
    for structured in ALL {
        let mut out = b"before".to_vec();
        let codec = encode(&value, structured, &mut out).unwrap();
        let bytes = out.strip_prefix(b"before").expect("encode appends").to_vec();
        assert_eq!(decode::<T>(codec.tag(), &bytes).unwrap(), value, "{structured:?}");
        let mut scratch = b"an older message".to_vec();
        let borrowed = encode_borrowed(&value, structured, &mut scratch).unwrap();
        assert_eq!(borrowed, (codec, &bytes[..]));
        assert_eq!(decode_owned::<T>(codec.tag(), bytes).unwrap(), value, "{structured:?}");
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Job {
    name: String,
    size: Option<u64>,
    parts: Vec<(i32, f64)>,
    kind: Kind,
    #[serde(with = "serde_bytes")]
    data: Vec<u8>,
    labels: BTreeMap<String, bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Wrapped(Box<Job>),
    Pair(u8, String),
    Named { wide: i128 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Id(u64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Empty;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Null,
    Bool(bool),
    Int(i64),
    Big(u64),
    Float(f64),
    Text(String),
    List(Vec<Any>),
    Map(BTreeMap<String, Any>),
}

/// A list that nests one enum and one box a level: the shape that serde's formats do not count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Chain {
    More(Box<Chain>),
    End,
}

impl Chain {
    fn of(levels: u16) -> Chain {
        (0..levels).fold(Chain::End, |chain, _| Chain::More(Box::new(chain)))
    }
}

/// Has a level without a byte of its own in any format.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Peano(Option<Box<Peano>>);

fn job() -> Job {
    Job {
        name: "räum auf".into(),
        size: Some(u64::MAX),
        parts: vec![(-1, 0.5), (i32::MAX, f64::INFINITY)],
        kind: Kind::Wrapped(Box::new(Job {
            name: String::new(),
            size: None,
            parts: vec![],
            kind: Kind::Pair(7, "x".into()),
            data: vec![],
            labels: BTreeMap::new(),
        })),
        data: vec![0, 255, 1],
        labels: [("a".to_owned(), true)].into(),
    }
}

#[test]
fn every_kind_of_value_comes_back() {
    comes_back(vec![1u8, 0, 255]);
    comes_back(Box::<[u8]>::from(&b"abc"[..]));
    comes_back(ByteBuf::from(b"abc"));
    comes_back("räum auf".to_owned());
    comes_back(());
    comes_back(true);
    comes_back('ß');
    comes_back(u64::MAX);
    comes_back(i64::MIN);
    comes_back(u128::from(u64::MAX));
    comes_back(-1i128);
    comes_back(f32::MIN_POSITIVE);
    comes_back(-0.0f64);
    comes_back(Some(5u64));
    comes_back(None::<u64>);
    comes_back((1u8, "two".to_owned(), [3.0f32; 3]));
    comes_back(vec![Some(1i8), None]);
    comes_back(HashMap::from([(1u32, Kind::Plain), (2, Kind::Named { wide: i128::MIN })]));
    comes_back(Id(3));
    comes_back(Empty);
    comes_back(job());
    comes_back(vec![job(), job()]);
    comes_back(Chain::of(20));
}

#[test]
fn plain_values_have_a_frame_of_their_own() {
    assert_eq!(encoded(&b"ab".to_vec()), (Codec::Bytes, b"ab".to_vec()));
    assert_eq!(encoded(&"ß".to_owned()), (Codec::Str, vec![0xc3, 0x9f]));
    assert_eq!(encoded(&()), (Codec::Unit, vec![]));
    assert_eq!(encoded(&true), (Codec::Bool, vec![1]));
    assert_eq!(encoded(&-2i8), (Codec::I64, (-2i64).to_le_bytes().to_vec()));
    assert_eq!(encoded(&2u64), (Codec::I64, 2i64.to_le_bytes().to_vec()));
    assert_eq!(encoded(&u64::MAX), (Codec::U64, u64::MAX.to_le_bytes().to_vec()));
    assert_eq!(encoded(&(1u128 << 63)), (Codec::U64, (1u64 << 63).to_le_bytes().to_vec()));
    assert_eq!(encoded(&1.5f32), (Codec::F64, 1.5f64.to_le_bytes().to_vec()));
}

#[test]
fn what_send_bytes_sent_is_read_as_bytes_are() {
    let raw = Codec::Raw.tag();
    assert_eq!(decode::<Vec<u8>>(raw, b"ab").unwrap(), b"ab");
    assert_eq!(decode_owned::<Box<[u8]>>(raw, b"ab".to_vec()).unwrap(), b"ab".to_vec().into());
    assert_eq!(decode::<Option<ByteBuf>>(raw, b"ab").unwrap(), Some(ByteBuf::from(*b"ab")));
    let error = decode::<String>(raw, b"ab").unwrap_err();
    assert_eq!(error.to_string(), decode::<String>(1, b"ab").unwrap_err().to_string());
}

#[test]
fn structs_are_maps_with_names_so_that_python_sees_dicts() {
    #[derive(Serialize, Deserialize)]
    struct Point {
        x: u8,
        y: u8,
    }
    let (codec, bytes) = encoded(&Point { x: 1, y: 2 });
    assert_eq!((codec, &bytes[..]), (Codec::MessagePack, &b"\x82\xa1x\x01\xa1y\x02"[..]));
    // The compact form, a list in the order of the fields, is read as well.
    let compact: Point = decode(8, b"\x92\x01\x02").unwrap();
    assert_eq!((compact.x, compact.y), (1, 2));
}

#[test]
fn rust_writes_messagepack_into_a_queue_of_pickles() {
    let mut out = Vec::new();
    assert_eq!(encode(&Some(1), StructuredCodec::Pickle, &mut out).unwrap(), Codec::MessagePack);
}

#[test]
fn the_tags_are_the_ones_both_languages_know() {
    for tag in 0..=u16::MAX {
        assert!(Codec::from_tag(tag).is_none_or(|codec| codec.tag() == tag));
    }
    assert!(Codec::from_tag(0).is_none());
    assert_eq!(Codec::from_tag(10), Some(Codec::Pickle));
    assert_eq!(Codec::from_tag(11), Some(Codec::PickleBuffers));
    assert_eq!(Codec::from_tag(12), Some(Codec::Raw));
    for structured in ALL {
        assert_eq!(StructuredCodec::from_tag(structured.codec().tag()), Some(structured));
    }
    assert_eq!(StructuredCodec::from_tag(5), None);
}

#[test]
fn an_integer_is_read_as_any_integer_type_that_holds_it() {
    assert_eq!(sent::<u8, i128>(200).unwrap(), 200);
    assert_eq!(sent::<i64, u8>(200).unwrap(), 200);
    assert_eq!(sent::<u64, u128>(u64::MAX).unwrap(), u128::from(u64::MAX));
    let error = sent::<i64, u8>(-1).unwrap_err();
    assert!(error.is_wrong_type());
    assert_eq!(error.to_string(), "the integer -1 in this message does not fit into u8");
    assert!(sent::<u64, i64>(u64::MAX).unwrap_err().to_string().contains("18446744073709551615"));
}

#[test]
fn an_integer_too_wide_for_a_message_is_refused_unless_postcard_writes_it() {
    let mut out = b"before".to_vec();
    let error = encode(&i128::MAX, StructuredCodec::MessagePack, &mut out).unwrap_err();
    assert!(error.is_too_large());
    assert!(error.to_string().contains(&i128::MAX.to_string()), "{error}");
    assert!(encode(&i128::MIN, StructuredCodec::Pickle, &mut out).is_err());
    assert_eq!(out, b"before");
    out.clear();
    let codec = encode(&u128::MAX, StructuredCodec::Postcard, &mut out).unwrap();
    assert_eq!(codec, Codec::Postcard);
    assert_eq!(decode::<u128>(codec.tag(), &out).unwrap(), u128::MAX);
}

#[test]
fn an_integer_is_read_as_a_float_only_if_that_is_exact() {
    assert_eq!(sent::<u8, f32>(5).unwrap(), 5.0);
    assert_eq!(sent::<u64, f64>(1 << 63).unwrap(), (1u64 << 63) as f64);
    let error = sent::<i64, f64>((1 << 53) + 1).unwrap_err();
    assert!(error.to_string().contains("9007199254740993 in this message has no exact f64"));
    assert!(sent::<i64, f32>((1 << 24) + 1).is_err());
    assert!(sent::<u64, f64>(u64::MAX).is_err());
    assert!(sent::<f64, u64>(5.0).unwrap_err().is_wrong_type());
}

#[test]
fn floats_keep_their_bits() {
    let bits = 0x7ff8_0000_dead_beef;
    assert_eq!(sent::<f64, f64>(f64::from_bits(bits)).unwrap().to_bits(), bits);
    assert_eq!(sent::<f64, f64>(-0.0).unwrap().to_bits(), (-0.0f64).to_bits());
    assert_eq!(sent::<f64, f32>(0.1).unwrap(), 0.1f32);
}

#[test]
fn a_plain_value_reaches_a_structured_type_that_is_one() {
    assert_eq!(sent::<u64, Option<u64>>(5).unwrap(), Some(5));
    assert_eq!(sent::<u64, Option<Option<Id>>>(5).unwrap(), Some(Some(Id(5))));
    assert_eq!(sent::<(), Option<u64>>(()).unwrap(), None);
    assert_eq!(sent::<u64, Any>(u64::MAX).unwrap(), Any::Big(u64::MAX));
    assert_eq!(sent::<f64, Any>(0.5).unwrap(), Any::Float(0.5));
    assert_eq!(sent::<bool, Any>(true).unwrap(), Any::Bool(true));
    assert_eq!(sent::<(), Any>(()).unwrap(), Any::Null);
    assert_eq!(sent::<String, Any>("a".into()).unwrap(), Any::Text("a".into()));
    assert_eq!(sent::<String, Option<char>>("a".into()).unwrap(), Some('a'));
    assert_eq!(sent::<String, Kind>("Plain".into()).unwrap(), Kind::Plain);
    assert_eq!(sent::<Vec<u8>, Option<ByteBuf>>(vec![1]).unwrap(), Some(ByteBuf::from([1])));
    assert_eq!(sent::<Vec<u8>, Vec<u16>>(vec![1, 2]).unwrap(), [1, 2]);
    assert_eq!(sent::<Vec<u8>, [u8; 2]>(vec![1, 2]).unwrap(), [1, 2]);
}

#[test]
fn an_integer_is_not_the_number_of_a_variant() {
    assert!(sent::<u64, Kind>(0).unwrap_err().is_wrong_type());
    assert!(sent::<u64, Option<Kind>>(0).is_err());
}

#[test]
fn a_bare_value_in_messagepack_reaches_a_plain_type() {
    assert_eq!(decode::<u64>(8, b"\xcd\x01\x00").unwrap(), 256);
    assert_eq!(decode::<i8>(8, b"\xff").unwrap(), -1);
    assert_eq!(decode::<u128>(8, b"\x05").unwrap(), 5);
    assert_eq!(decode::<i128>(8, b"\xff").unwrap(), -1);
    assert_eq!(decode::<f64>(8, b"\x05").unwrap(), 5.0);
    assert_eq!(decode::<String>(8, b"\xa1a").unwrap(), "a");
    assert_eq!(decode::<Vec<u8>>(8, b"\xc4\x02\x01\x02").unwrap(), [1, 2]);
    assert_eq!(decode::<Vec<u8>>(8, b"\x92\x01\x02").unwrap(), [1, 2]);
    assert!(decode::<bool>(8, b"\xc3").unwrap());
    decode::<()>(8, b"\xc0").unwrap();
    assert!(decode::<u8>(8, b"\xcd\x01\x00").unwrap_err().is_wrong_type());
}

#[test]
fn a_negative_number_in_messagepack_is_not_a_huge_unsigned_one() {
    assert!(decode::<u128>(8, b"\xff").is_err());
    assert!(decode::<(u128,)>(8, b"\x91\xff").is_err());
    comes_back((u128::MAX, i128::MIN));
}

#[test]
fn a_wrong_type_is_answered_with_what_came_and_what_was_expected() {
    let texts = [
        (sent::<String, u64>("abc".into()).unwrap_err(), r#"the string "abc", but u64 was"#),
        (sent::<String, bool>("a".repeat(50)).unwrap_err(), r#"a" and more, but bool was"#),
        (sent::<Vec<u8>, String>(vec![1, 2]).unwrap_err(), "2 raw bytes, but alloc::string::St"),
        (sent::<bool, u8>(true).unwrap_err(), "the boolean true, but u8 was expected"),
        (sent::<f64, u8>(1.0).unwrap_err(), "the float 1.0, but u8 was expected"),
        (sent::<(), String>(()).unwrap_err(), "None, but alloc::string::String was expected"),
        (
            sent::<i64, Job>(5).unwrap_err(),
            "the integer 5, but tasuki::protocol::codec::tests::Job",
        ),
        (sent::<Job, u64>(job()).unwrap_err(), "MessagePack with a map, but u64 was expected"),
        (sent::<Id, Job>(Id(5)).unwrap_err(), "MessagePack with an integer, but"),
    ];
    for (error, expected) in texts {
        assert!(error.is_wrong_type());
        assert!(error.to_string().contains(expected), "{error}");
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Other {
        missing: u8,
    }
    let error = sent::<Job, Other>(job()).unwrap_err();
    assert!(error.to_string().contains("missing field `missing`"), "{error}");
}

#[test]
fn a_pickle_is_answered_with_what_to_do() {
    for error in [
        decode::<u64>(10, b"\x80\x05K\x05.").unwrap_err(),
        decode_owned::<Vec<u8>>(10, vec![]).unwrap_err(),
        decode::<u64>(11, &[0; 8]).unwrap_err(),
        decode_owned::<Vec<u8>>(11, vec![]).unwrap_err(),
    ] {
        assert!(error.is_pickle() && !error.is_malformed());
        assert!(error.to_string().contains(r#"codec="msgpack""#), "{error}");
    }
}

#[test]
fn an_unknown_codec_is_an_error() {
    for tag in [0, 13, u16::MAX] {
        assert!(decode::<u64>(tag, &[0; 8]).unwrap_err().is_malformed());
        assert!(decode_owned::<Job>(tag, vec![]).unwrap_err().is_malformed());
    }
}

#[test]
fn damaged_plain_frames_are_errors() {
    assert!(decode::<u64>(5, &[0; 7]).unwrap_err().is_malformed());
    assert!(decode::<u64>(6, &[0; 9]).unwrap_err().is_malformed());
    assert!(decode::<f64>(7, &[]).unwrap_err().is_malformed());
    assert!(decode::<bool>(4, &[2]).unwrap_err().is_malformed());
    assert!(decode::<()>(3, &[0]).unwrap_err().is_malformed());
    assert!(decode::<String>(2, &[0xff]).unwrap_err().is_malformed());
    assert!(decode_owned::<String>(2, vec![0xff]).unwrap_err().is_malformed());
    // Also when the type asked for is another one.
    assert!(decode::<String>(5, &[0; 7]).unwrap_err().is_malformed());
    assert!(decode::<Option<u64>>(5, &[0; 7]).unwrap_err().is_malformed());
}

#[test]
fn bytes_after_the_value_are_an_error() {
    assert!(decode::<Vec<u64>>(8, b"\x91\x01\x02").unwrap_err().is_malformed());
    assert!(decode::<Option<u64>>(8, b"\xc0\xc0").unwrap_err().is_malformed());
    assert!(decode::<Kind>(8, b"\xa5Plain\xc1").unwrap_err().is_malformed());
    assert!(decode::<Vec<u64>>(9, &[1, 1, 2]).unwrap_err().is_malformed());
}

#[test]
fn a_message_cut_anywhere_is_an_error() {
    for structured in ALL {
        let mut out = Vec::new();
        let codec = encode(&job(), structured, &mut out).unwrap();
        for length in 0..out.len() {
            assert!(decode::<Job>(codec.tag(), &out[..length]).is_err());
        }
    }
}

#[test]
fn a_value_may_be_nested_as_deeply_as_promised_and_no_deeper() {
    comes_back(Chain::of(MAX_DEPTH));
    for structured in ALL {
        let mut out = b"before".to_vec();
        let error = encode(&Chain::of(MAX_DEPTH + 1), structured, &mut out).unwrap_err();
        assert!(error.to_string().contains("nested deeper than 256 levels"), "{error}");
        assert_eq!(out, b"before");
    }
}

#[test]
fn garbage_that_nests_is_an_error_and_not_a_stack_overflow() {
    let mut chain = b"\x81\xa4More".repeat(1 << 18);
    chain.extend(b"\xa3End");
    let error = decode::<Chain>(8, &chain).unwrap_err();
    assert!(error.to_string().contains("nested deeper"), "{error}");
    assert!(decode::<Chain>(9, &[0; 1 << 20]).unwrap_err().to_string().contains("nested deeper"));
    for lists in [&b"\x91"[..], b"\xdc\x00\x01", b"\x81\xa1a"] {
        assert!(decode::<Any>(8, &lists.repeat(1 << 18)).is_err());
    }
    // A level that takes no byte: the bytes never end it.
    for tag in [5, 8, 9] {
        assert!(decode::<Peano>(tag, &[1; 8]).is_err());
    }
}

#[test]
fn garbage_that_claims_a_length_reserves_no_memory_for_it() {
    #[derive(Debug)]
    struct Greedy;
    impl Serialize for Greedy {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }
    /// Believes the size hint, as some collections do.
    struct Believer;
    impl<'de> serde::de::Visitor<'de> for Believer {
        type Value = Greedy;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a sequence or map")
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Greedy, A::Error> {
            assert!(seq.size_hint().unwrap_or(0) <= FREE_ELEMENTS + 5);
            Err(serde::de::Error::custom("seen"))
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Greedy, A::Error> {
            assert!(map.size_hint().unwrap_or(0) <= FREE_ELEMENTS + 5);
            Err(serde::de::Error::custom("seen"))
        }
    }
    impl<'de> Deserialize<'de> for Greedy {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Greedy, D::Error> {
            deserializer.deserialize_any(Believer)
        }
    }
    for claim in [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"] {
        assert!(decode::<Greedy>(8, claim).unwrap_err().is_malformed());
    }
    for claim in [b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff"] {
        assert!(decode::<String>(8, claim).is_err());
        assert!(decode::<Any>(8, claim).is_err());
    }
}

#[test]
fn garbage_that_claims_elements_without_bytes_comes_to_an_end() {
    let claim = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let error = decode::<Vec<()>>(9, &claim).unwrap_err();
    assert!(error.to_string().contains("more elements than"), "{error}");
    comes_back(vec![(); 1000]);
}

#[test]
fn the_callers_buffer_is_enough_for_plain_values() {
    let mut out = Vec::with_capacity(8);
    let place = out.as_ptr();
    for n in [0, 1, u64::MAX] {
        out.clear();
        encode(&n, StructuredCodec::MessagePack, &mut out).unwrap();
        assert_eq!((out.as_ptr(), out.capacity()), (place, 8));
    }
}

#[test]
fn bytes_and_strings_are_not_copied_where_that_is_possible() {
    let value = vec![7u8; 100];
    let mut scratch = Vec::new();
    let (_, bytes) = encode_borrowed(&value, StructuredCodec::MessagePack, &mut scratch).unwrap();
    assert_eq!(bytes.as_ptr(), value.as_ptr());
    let place = value.as_ptr();
    let value: Vec<u8> = decode_owned(1, value).unwrap();
    assert_eq!(value.as_ptr(), place);
    let text = "a".repeat(100);
    let place = text.as_ptr();
    let text: String = decode_owned(2, text.into_bytes()).unwrap();
    assert_eq!(text.as_ptr(), place);
}

#[test]
fn a_type_that_postcard_cannot_carry_is_told_so() {
    let mut out = Vec::new();
    encode(&Any::Int(5), StructuredCodec::Postcard, &mut out).unwrap();
    let error = decode::<Any>(9, &out).unwrap_err();
    assert!(error.to_string().contains("use MessagePack"), "{error}");
}

#[test]
fn a_type_says_why_it_refuses_in_its_own_words_in_every_codec() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(into = "u8", try_from = "u8")]
    struct Even(u8);
    impl From<Even> for u8 {
        fn from(even: Even) -> u8 {
            even.0
        }
    }
    impl TryFrom<u8> for Even {
        type Error = String;
        fn try_from(n: u8) -> Result<Even, String> {
            if n % 2 == 0 { Ok(Even(n)) } else { Err(format!("{n} is odd")) }
        }
    }
    impl Clone for Even {
        fn clone(&self) -> Even {
            Even(self.0)
        }
    }
    #[derive(Debug)]
    struct Unwilling;
    impl Serialize for Unwilling {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    impl<'de> Deserialize<'de> for Unwilling {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Unwilling, D::Error> {
            Err(serde::de::Error::custom("not today"))
        }
    }
    for structured in ALL {
        let mut out = Vec::new();
        let codec = encode(&vec![(1, Even(3))], structured, &mut out).unwrap();
        let error = decode::<Vec<(u8, Even)>>(codec.tag(), &out).unwrap_err();
        assert!(error.to_string().ends_with(": 3 is odd"), "{error}");
        let error = encode(&vec![Some(Unwilling)], structured, &mut out).unwrap_err();
        assert!(error.to_string().ends_with(": not today"), "{error}");
    }
    assert!(sent::<u8, Even>(3).unwrap_err().to_string().ends_with(": 3 is odd"));
}

#[test]
fn handles_are_looked_for_only_where_they_can_be() {
    assert!(!may_carry_handles::<u64>());
    assert!(!may_carry_handles::<Vec<u8>>());
    assert!(!may_carry_handles::<()>());
    assert!(may_carry_handles::<Job>());
    assert!(may_carry_handles::<Option<u64>>());
}

#[test]
fn errors_are_no_larger_than_a_pointer() {
    assert_eq!(size_of::<DecodeError>(), size_of::<usize>());
    assert_eq!(size_of::<EncodeError>(), size_of::<usize>());
    assert_eq!(size_of::<Result<u64, DecodeError>>(), 16);
}

fn any_value() -> impl Strategy<Value = Any> {
    let leaf = prop_oneof![
        Just(Any::Null),
        any::<bool>().prop_map(Any::Bool),
        any::<i64>().prop_map(Any::Int),
        ((1 << 63)..=u64::MAX).prop_map(Any::Big),
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |f| !f.is_nan())
            .prop_map(Any::Float),
        any::<String>().prop_map(Any::Text),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Any::List),
            prop::collection::btree_map(any::<String>(), inner, 0..8).prop_map(Any::Map),
        ]
    })
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Plain),
        any::<(u8, String)>().prop_map(|(n, text)| Kind::Pair(n, text)),
        any::<i128>().prop_map(|wide| Kind::Named { wide }),
    ]
}

proptest! {
    #[test]
    fn integers_come_back(a: u64, b: i64, c: u8, d: i16, e: u32, f: isize) {
        comes_back(a);
        comes_back(b);
        comes_back(c);
        comes_back(d);
        comes_back(e);
        comes_back(f);
        comes_back(i128::from(b));
        comes_back(u128::from(a));
    }

    #[test]
    fn integers_cross_types_exactly_or_not_at_all(n: i128, shift in 0u32..128) {
        let n = n >> shift;
        let mut out = Vec::new();
        match encode(&n, StructuredCodec::MessagePack, &mut out) {
            Ok(codec) => {
                prop_assert_eq!(decode::<i8>(codec.tag(), &out).ok(), n.try_into().ok());
                prop_assert_eq!(decode::<u16>(codec.tag(), &out).ok(), n.try_into().ok());
                prop_assert_eq!(decode::<i32>(codec.tag(), &out).ok(), n.try_into().ok());
                prop_assert_eq!(decode::<u64>(codec.tag(), &out).ok(), n.try_into().ok());
                prop_assert_eq!(decode::<u128>(codec.tag(), &out).ok(), n.try_into().ok());
            }
            Err(_) => prop_assert!(i64::try_from(n).is_err() && u64::try_from(n).is_err()),
        }
    }

    #[test]
    fn bytes_and_text_come_back(bytes: Vec<u8>, text: String) {
        comes_back(bytes);
        comes_back(text);
    }

    #[test]
    fn floats_come_back(a: f64, b: f32) {
        prop_assert_eq!(sent::<f64, f64>(a).unwrap().to_bits(), a.to_bits());
        prop_assert_eq!(sent::<f32, f32>(b).unwrap().is_nan(), b.is_nan());
        prop_assert!(b.is_nan() || sent::<f32, f32>(b).unwrap().to_bits() == b.to_bits());
    }

    #[test]
    fn structured_values_come_back(
        name: String,
        size: Option<u64>,
        parts in prop::collection::vec((any::<i32>(), -1e9..1e9), 0..5),
        kind in any_kind(),
        data: Vec<u8>,
        labels: BTreeMap<String, bool>,
    ) {
        comes_back(Job { name, size, parts, kind, data, labels });
    }

    #[test]
    fn values_without_a_schema_come_back(value in any_value()) {
        prop_assert_eq!(sent::<Any, Any>(value.clone()).unwrap(), value);
    }

    #[test]
    fn a_message_read_as_another_type_never_panics(value in any_value(), kind in any_kind()) {
        let (codec, bytes) = encoded(&value);
        read_as_everything(codec.tag(), &bytes);
        let mut out = Vec::new();
        let codec = encode(&kind, StructuredCodec::Postcard, &mut out).unwrap();
        read_as_everything(codec.tag(), &out);
    }

    #[test]
    fn a_damaged_message_never_panics(
        value in any_value(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (codec, mut bytes) = encoded(&value);
        for (place, byte) in damage {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
        }
        read_as_everything(codec.tag(), &bytes);
    }

    #[test]
    fn random_bytes_never_panic(tag in 0u16..12, bytes: Vec<u8>) {
        read_as_everything(tag, &bytes);
    }
}

/// Reads as many different shapes as possible; none may panic, and both ways of reading agree.
fn read_as_everything(tag: u16, bytes: &[u8]) {
    fn read<T: Message>(tag: u16, bytes: &[u8]) {
        let (kept, given) = (decode::<T>(tag, bytes), decode_owned::<T>(tag, bytes.to_vec()));
        assert_eq!(kept.is_ok(), given.is_ok());
        if let Err(error) = kept {
            assert!(!error.to_string().is_empty());
        }
    }
    read::<u8>(tag, bytes);
    read::<u64>(tag, bytes);
    read::<i128>(tag, bytes);
    read::<f32>(tag, bytes);
    read::<bool>(tag, bytes);
    read::<()>(tag, bytes);
    read::<char>(tag, bytes);
    read::<String>(tag, bytes);
    read::<Vec<u8>>(tag, bytes);
    read::<Vec<()>>(tag, bytes);
    read::<Option<Id>>(tag, bytes);
    read::<Vec<Option<String>>>(tag, bytes);
    read::<HashMap<String, Vec<i32>>>(tag, bytes);
    read::<(u8, f64, String)>(tag, bytes);
    read::<Job>(tag, bytes);
    read::<Kind>(tag, bytes);
    read::<Chain>(tag, bytes);
    read::<Any>(tag, bytes);
    read::<Empty>(tag, bytes);
    read::<Peano>(tag, bytes);
}
