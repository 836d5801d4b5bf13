//! The secret that both ends of a connection have, kept out of texts for people.

use std::fmt;

/// A key; its bytes show nowhere.
#[derive(Clone)]
pub struct AuthKey(Box<[u8]>);

impl AuthKey {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<K: AsRef<[u8]>> From<K> for AuthKey {
    fn from(key: K) -> AuthKey {
        AuthKey(key.as_ref().into())
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey(..)")
    }
}
