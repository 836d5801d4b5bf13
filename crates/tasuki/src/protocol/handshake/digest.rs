//! The digests that a proof may be made with, by the names they have on the wire.

use hmac::{Hmac, KeyInit, Mac, SimpleHmac};
use md5::Md5;
use sha2::{Sha256, Sha384};
use sha3::{Sha3_256, Sha3_384};

/// What the HMAC of a proof is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digest {
    Md5,
    Sha256,
    Sha384,
    Sha3_256,
    Sha3_384,
}

impl Digest {
    /// What this end asks for.
    pub(super) const PREFERRED: Digest = Digest::Sha256;

    const ALL: [Digest; 5] =
        [Digest::Md5, Digest::Sha256, Digest::Sha384, Digest::Sha3_256, Digest::Sha3_384];

    /// The digest's name in braces, which stands in front of questions and proofs.
    pub(super) fn prefix(self) -> &'static [u8] {
        match self {
            Digest::Md5 => b"{md5}",
            Digest::Sha256 => b"{sha256}",
            Digest::Sha384 => b"{sha384}",
            Digest::Sha3_256 => b"{sha3_256}",
            Digest::Sha3_384 => b"{sha3_384}",
        }
    }

    /// The digest whose name stands in front of a message, and the rest of the message.
    pub(super) fn named_by(message: &[u8]) -> Option<(Digest, &[u8])> {
        Digest::ALL
            .into_iter()
            .find_map(|digest| Some((digest, message.strip_prefix(digest.prefix())?)))
    }

    /// How many bytes its HMAC has.
    pub(super) fn length(self) -> usize {
        match self {
            Digest::Md5 => 16,
            Digest::Sha256 | Digest::Sha3_256 => 32,
            Digest::Sha384 | Digest::Sha3_384 => 48,
        }
    }

    /// The HMAC of a message.
    pub(super) fn mac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Digest::Md5 => begun::<Hmac<Md5>>(key, message).finalize().into_bytes().to_vec(),
            Digest::Sha256 => begun::<Hmac<Sha256>>(key, message).finalize().into_bytes().to_vec(),
            Digest::Sha384 => begun::<Hmac<Sha384>>(key, message).finalize().into_bytes().to_vec(),
            Digest::Sha3_256 => {
                begun::<SimpleHmac<Sha3_256>>(key, message).finalize().into_bytes().to_vec()
            }
            Digest::Sha3_384 => {
                begun::<SimpleHmac<Sha3_384>>(key, message).finalize().into_bytes().to_vec()
            }
        }
    }

    /// Whether `mac` is the HMAC of a message, in a time that does not depend on where they differ.
    pub(super) fn is_mac(self, key: &[u8], message: &[u8], mac: &[u8]) -> bool {
        match self {
            Digest::Md5 => begun::<Hmac<Md5>>(key, message).verify_slice(mac).is_ok(),
            Digest::Sha256 => begun::<Hmac<Sha256>>(key, message).verify_slice(mac).is_ok(),
            Digest::Sha384 => begun::<Hmac<Sha384>>(key, message).verify_slice(mac).is_ok(),
            Digest::Sha3_256 => {
                begun::<SimpleHmac<Sha3_256>>(key, message).verify_slice(mac).is_ok()
            }
            Digest::Sha3_384 => {
                begun::<SimpleHmac<Sha3_384>>(key, message).verify_slice(mac).is_ok()
            }
        }
    }
}

fn begun<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> M {
    let mac = <M as KeyInit>::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.chain_update(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Each as `hmac.new(b"key", b"message", NAME).hexdigest()` prints it.
    #[test]
    fn macs_are_those_of_python() {
        let expected = [
            (Digest::Md5, "4e4748e62b463521f6775fbf921234b5"),
            (Digest::Sha256, "6e9ef29b75fffc5b7abae527d58fdadb2fe42e7219011976917343065f58ed4a"),
            (
                Digest::Sha384,
                "0fd3ae3237be98c64a075b7394989fc6789f31788fada42eada85ee6698bde2feae20b66271b67544b9062c773b2d86f",
            ),
            (Digest::Sha3_256, "0f43852a24d5597a8200312a95993991581679d63264f1b1ad4b5ccac7fe8ba4"),
            (
                Digest::Sha3_384,
                "be48b7a82bf3dda2dc743a584e7a7d6375a664e611d240a6c951f3d15e18666fc6d4b3e31f8d6c44caec98667209aa31",
            ),
        ];
        for (digest, mac) in expected {
            assert_eq!(hex(&digest.mac(b"key", b"message")), mac, "{digest:?}");
            assert_eq!(mac.len(), digest.length() * 2);
        }
    }

    #[test]
    fn only_the_whole_right_mac_is_one() {
        for digest in Digest::ALL {
            let mac = digest.mac(b"", b"message");
            assert!(digest.is_mac(b"", b"message", &mac));
            assert!(!digest.is_mac(b"other", b"message", &mac));
            assert!(!digest.is_mac(b"", b"message", &mac[1..]));
            assert!(!digest.is_mac(b"", b"message", b""));
            assert!(!digest.is_mac(b"", b"message", &[&mac[..], b"\0"].concat()));
        }
    }

    #[test]
    fn a_name_is_known_only_in_braces_and_whole() {
        for digest in Digest::ALL {
            let message = [digest.prefix(), b"rest"].concat();
            assert_eq!(Digest::named_by(&message), Some((digest, &b"rest"[..])));
        }
        for message in [&b"sha256}x"[..], b"{sha256", b"{sha512}x", b"{SHA256}x", b"{}x", b""] {
            assert_eq!(Digest::named_by(message), None);
        }
    }
}
