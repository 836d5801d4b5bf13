//! Both ends agree when the keys do, old and new, and nobody else gets in.

use proptest::prelude::*;

use super::*;

const RANDOM: [u8; RANDOM_BYTES] = [7; RANDOM_BYTES];

fn side(side: Side, key: &[u8]) -> Handshake {
    Handshake::new(side, key, RANDOM)
}

fn framed(message: &[u8]) -> Vec<u8> {
    [frame::header(message.len() as u64).as_bytes(), message].concat()
}

/// Takes what an end wants to send, at most `most` bytes.
fn spoken(of: &mut Handshake, most: usize) -> Vec<u8> {
    let bytes = of.outgoing();
    let bytes = bytes[..bytes.len().min(most)].to_vec();
    of.sent(bytes.len());
    bytes
}

/// The one message that an end says next.
fn says(of: &mut Handshake) -> Vec<u8> {
    let bytes = spoken(of, usize::MAX);
    let mut reader = FrameReader::new();
    assert_eq!(reader.feed(&bytes, u64::MAX), Ok(bytes.len()));
    reader.take().expect("a whole message")
}

fn hears(to: &mut Handshake, message: &[u8]) -> Result<(), HandshakeError> {
    let bytes = framed(message);
    to.feed(&bytes).map(|taken| assert_eq!(taken, bytes.len()))
}

/// Passes bytes to and fro, `most` at a time, until nobody says anything any more.
fn talk(a: &mut Handshake, b: &mut Handshake, most: usize) -> [Result<(), HandshakeError>; 2] {
    let mut ended = [Ok(()), Ok(())];
    loop {
        let (from_a, from_b) = (spoken(a, most), spoken(b, most));
        if from_a.is_empty() && from_b.is_empty() {
            return ended;
        }
        for (end, to, bytes) in [(0, &mut *a, from_b), (1, &mut *b, from_a)] {
            match to.feed(&bytes) {
                Ok(taken) => assert_eq!(taken, bytes.len(), "nobody says more than it is asked"),
                Err(why) => ended[end] = Err(why),
            }
        }
    }
}

#[test]
fn ends_with_the_same_key_agree_in_pieces_of_any_size() {
    for key in [&b""[..], b"k", &[3; 1000]] {
        for most in [1, 2, 3, 7, 1000] {
            let (mut listener, mut client) = (side(Side::Listener, key), side(Side::Client, key));
            assert_eq!(talk(&mut listener, &mut client, most), [Ok(()), Ok(())]);
            assert!(listener.is_done() && client.is_done());
            assert_eq!((listener.wanted(), client.wanted()), (0, 0));
        }
    }
}

#[test]
fn a_wrong_key_is_told_to_both() {
    let (mut listener, mut client) = (side(Side::Listener, b"one"), side(Side::Client, b"two"));
    let [of_listener, of_client] = talk(&mut listener, &mut client, 5);
    assert!(matches!(of_listener, Err(HandshakeError::WrongKey(_))));
    assert_eq!(of_client, Err(HandshakeError::Refused));
    assert!(!listener.is_done() && !client.is_done());
    assert!(hears(&mut listener, b"#WELCOME#").is_err(), "there is no second try");
}

#[test]
fn a_listener_that_only_says_welcome_is_found_out() {
    let mut client = side(Side::Client, b"key");
    let question = [&b"#CHALLENGE#{sha256}"[..], &[1; 40]].concat();
    hears(&mut client, &question).unwrap();
    says(&mut client);
    hears(&mut client, b"#WELCOME#").unwrap();
    says(&mut client);
    assert!(matches!(hears(&mut client, &[0; 16]), Err(HandshakeError::WrongKey(_))));
    assert_eq!(says(&mut client), b"#FAILURE#");
}

#[test]
fn what_an_old_listener_asks_is_answered_with_a_bare_md5() {
    let mut client = side(Side::Client, b"key");
    hears(&mut client, &[&b"#CHALLENGE#"[..], &[9; 20]].concat()).unwrap();
    assert_eq!(says(&mut client), Digest::Md5.mac(b"key", &[9; 20]));
}

#[test]
fn every_digest_that_a_listener_asks_for_is_used() {
    for name in ["md5", "sha256", "sha384", "sha3_256", "sha3_384"] {
        let mut client = side(Side::Client, b"key");
        let question = [format!("{{{name}}}").as_bytes(), &[9; 40]].concat();
        hears(&mut client, &[&b"#CHALLENGE#"[..], &question].concat()).unwrap();
        let proof = says(&mut client);
        let (digest, mac) = Digest::named_by(&proof).unwrap();
        assert!(proof.starts_with(format!("{{{name}}}").as_bytes()));
        assert!(digest.is_mac(b"key", &question, mac));
    }
}

#[test]
fn every_proof_of_a_client_is_accepted() {
    for name in ["", "{md5}", "{sha256}", "{sha384}", "{sha3_256}", "{sha3_384}"] {
        let mut listener = side(Side::Listener, b"key");
        let said = says(&mut listener);
        let question = said.strip_prefix(CHALLENGE).unwrap();
        let digest = Digest::named_by(name.as_bytes()).map_or(Digest::Md5, |(digest, _)| digest);
        let proof = [name.as_bytes(), &digest.mac(b"key", question)].concat();
        hears(&mut listener, &proof).unwrap();
        assert_eq!(says(&mut listener), b"#WELCOME#", "{name}");
    }
}

#[test]
fn proofs_of_something_else_are_refused() {
    let question = [&b"{sha256}"[..], &RANDOM].concat();
    let without_its_name = Digest::Sha256.mac(b"key", &RANDOM);
    let right = Digest::Sha256.mac(b"key", &question);
    let proofs = [
        b"".to_vec(),
        b"#WELCOME#".to_vec(),
        right.clone(),
        [&b"{sha256}"[..], &right[..31]].concat(),
        [&b"{sha256}"[..], &without_its_name].concat(),
        [&b"{sha3_256}"[..], &right].concat(),
        [&b"{sha512}"[..], &[0; 64]].concat(),
        vec![0; 16],
        vec![0; 20],
        vec![0; 256],
    ];
    for proof in proofs {
        let mut listener = side(Side::Listener, b"key");
        says(&mut listener);
        assert!(matches!(hears(&mut listener, &proof), Err(HandshakeError::WrongKey(_))));
        assert_eq!(says(&mut listener), b"#FAILURE#");
        assert_eq!(listener.wanted(), 0);
    }
}

#[test]
fn questions_that_are_none_are_not_answered() {
    let questions = [
        &b"#WELCOME#"[..],
        b"hello",
        b"#CHALLENGE#",
        b"#CHALLENGE#{sha256}short",
        b"#CHALLENGE#{sha512}0123456789012345678901234567890123456789",
        b"#CHALLENGE#0123456789012345678901234567890123456789",
    ];
    for question in questions {
        let mut client = side(Side::Client, b"key");
        assert!(matches!(hears(&mut client, question), Err(HandshakeError::OutOfTurn(_))));
        assert_eq!(client.outgoing(), b"", "nothing is said to it");
    }
}

#[test]
fn a_long_message_is_refused_by_its_length() {
    let mut listener = side(Side::Listener, b"key");
    let refused = HandshakeError::NoMessage(FrameError::TooLong { length: 257, limit: 256 });
    assert_eq!(listener.feed(frame::header(257).as_bytes()), Err(refused));
    let mut listener = side(Side::Listener, b"key");
    assert!(matches!(listener.feed(b"GET / HTTP/1.1"), Err(HandshakeError::NoMessage(_))));
}

#[test]
fn what_comes_after_the_handshake_is_left_alone() {
    let (mut listener, mut client) = (side(Side::Listener, b"key"), side(Side::Client, b"key"));
    loop {
        let from_listener = spoken(&mut listener, usize::MAX);
        client.feed(&from_listener).unwrap();
        let mut from_client = spoken(&mut client, usize::MAX);
        let handshake = from_client.len();
        if client.is_done() {
            from_client.extend(framed(b"the first message"));
            assert_eq!(listener.feed(&from_client), Ok(handshake));
            assert!(listener.is_done());
            return;
        }
        listener.feed(&from_client).unwrap();
    }
}

proptest! {
    /// Nobody gets through without the key, whatever it says, and nothing is taken beyond what is wanted.
    #[test]
    fn strangers_never_get_through(
        side in prop::sample::select(vec![Side::Listener, Side::Client]),
        messages in prop::collection::vec(prop_oneof![
            Just(b"#WELCOME#".to_vec()),
            Just(b"#FAILURE#".to_vec()),
            prop::collection::vec(any::<u8>(), 20).prop_map(|q| [CHALLENGE, &q].concat()),
            prop::collection::vec(any::<u8>(), 32).prop_map(|m| [b"{sha256}", &m[..]].concat()),
            prop::collection::vec(any::<u8>(), 16),
            prop::collection::vec(any::<u8>(), 0..40),
        ], 0..6),
        piece in 1usize..50,
    ) {
        let mut end = Handshake::new(side, b"the key", RANDOM);
        let stream: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
        for bytes in stream.chunks(piece) {
            spoken(&mut end, 9);
            if end.feed(bytes).is_err() {
                break;
            }
        }
        spoken(&mut end, usize::MAX);
        prop_assert!(!end.is_done());
    }
}
