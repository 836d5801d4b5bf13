//! Bytes that claim to be a message, read as every shape of type that serde knows.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tasuki::protocol::codec::{Message, decode, decode_owned, encode};
use tasuki::protocol::transfer::{
    Incoming, collect, deserialize_record, provide, serialize_record, take,
};
use tasuki::protocol::{Codec, StructuredCodec};

/// The first byte chooses the codec, the rest are the message.
///
/// # Panics
///
/// When a promise is broken: reading keeps and gives away alike, and what was read can be sent
/// again and is the same.
pub fn read_as_everything(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    // Two more than there are codecs: unknown tags are part of it.
    let tag = u16::from(choice) % (Codec::Raw.tag() + 2);
    provide(Incoming::default(), || {
        collect(|| {
            read::<u8>(tag, bytes);
            read::<i64>(tag, bytes);
            read::<u64>(tag, bytes);
            read::<u128>(tag, bytes);
            read::<f32>(tag, bytes);
            read::<f64>(tag, bytes);
            read::<bool>(tag, bytes);
            read::<()>(tag, bytes);
            read::<char>(tag, bytes);
            read::<String>(tag, bytes);
            read::<Vec<u8>>(tag, bytes);
            // A million of nothing may take no bytes: only that it ends, for its text is long.
            let _ = decode::<Vec<()>>(tag, bytes);
            read::<Option<u64>>(tag, bytes);
            read::<(i8, Option<String>, [f64; 2])>(tag, bytes);
            read::<BTreeMap<u16, Vec<bool>>>(tag, bytes);
            read::<Job>(tag, bytes);
            read::<Chain>(tag, bytes);
            read::<Tree>(tag, bytes);
            read::<Tagged>(tag, bytes);
            read::<Vec<Handle>>(tag, bytes);
        })
    });
}

fn read<T: Message + Debug>(tag: u16, bytes: &[u8]) {
    let kept = decode::<T>(tag, bytes);
    let given = decode_owned::<T>(tag, bytes.to_vec());
    // Texts, because a NaN is not equal to itself. So no type here may print in a random order.
    let (kept, text) = match (kept, given) {
        (Ok(kept), Ok(given)) => {
            let text = shown(&kept);
            assert_eq!(text, shown(&given));
            (kept, text)
        }
        (Err(kept), Err(given)) => {
            assert_eq!(kept.to_string(), given.to_string());
            return;
        }
        (kept, given) => panic!("kept {kept:?}, given away {given:?}"),
    };
    let mut out = Vec::new();
    // Refused only for what no message can hold, such as an integer of 128 bits by itself.
    if let Ok(codec) = encode(&kept, StructuredCodec::MessagePack, &mut out) {
        let again = decode::<T>(codec.tag(), &out).expect("what was sent can be read");
        assert_eq!(shown(&again), text);
    }
}

/// The text of a value, which is what is compared.
fn shown(value: &impl Debug) -> String {
    format!("{value:?}")
}

#[derive(Debug, Serialize, Deserialize)]
struct Job {
    name: String,
    size: Option<u64>,
    parts: Vec<(i32, f64)>,
    #[serde(with = "serde_bytes")]
    data: Vec<u8>,
    kind: Kind,
    labels: BTreeMap<String, bool>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Kind {
    Plain,
    Wrapped(Box<Job>),
    Pair(u8, char),
    Named { wide: i128, wider: u128 },
}

/// One enum a level, which the formats do not count by themselves.
#[derive(Debug, Serialize, Deserialize)]
enum Chain {
    More(Box<Chain>),
    End,
}

/// Any MessagePack, which serde reads into a buffer first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Tree {
    Null,
    Bool(bool),
    Int(i64),
    Big(u64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Point { x: f32, y: Option<f32> },
    Handles { all: Vec<Handle> },
    Nothing,
}

/// Takes a descriptor if the record says so; none came, so that it is an error.
#[derive(Debug)]
struct Handle(Vec<u8>);

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_record(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Handle, D::Error> {
        let record = deserialize_record(deserializer)?;
        if let Some(&index) = record.first() {
            take(index.into()).map_err(serde::de::Error::custom)?;
        }
        Ok(Handle(record))
    }
}
