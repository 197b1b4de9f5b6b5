//! The hash chain: what is hashed, and in which form.
//!
//! ```text
//! genesis = SHA-256("sealwright/ledger/genesis/v1\0" ‖ instance id (16) ‖ created_at (8))
//! hash(1) has previous = genesis; hash(n) has previous = hash(n−1), and
//! hash(n) = SHA-256("sealwright/ledger/entry/v1\0" ‖ sequence (8) ‖ kind (1) ‖ recorded_at (8) ‖ settled (8)
//!           ‖ refers: 00 or 01 ‖ value (8) ‖ serial: 00 or 01 ‖ length (4) ‖ octets ‖ SHA-256(body) (32) ‖ previous (32))
//! ```
//! Numbers are big endian; `recorded_at` is in microseconds since the Unix epoch, two's complement. Every column of a row
//! is under its hash. The body goes in through its own digest, so that a body can one day be taken out (after it was
//! exported) and the chain still be checked.

use sealwright_identity::{Digest, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::{
    body::{Body, decode},
    codec::CodecError,
    entry::EntryKind,
};

const GENESIS: &[u8] = b"sealwright/ledger/genesis/v1\0";
const ENTRY: &[u8] = b"sealwright/ledger/entry/v1\0";
const LOOKUP: &[u8] = b"sealwright/ledger/lookup/v1\0";

/// One ledger: a random id, drawn when the database was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The id.
    pub id: [u8; 16],
    /// When the database was made.
    pub created_at: Timestamp,
}

impl Instance {
    /// What the first entry's `previous` must be.
    #[must_use]
    pub fn genesis(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(GENESIS);
        hash.update(self.id);
        hash.update(self.created_at.micros().to_be_bytes());
        Digest::from_bytes(hash.finalize().into())
    }

    /// Where the chain of a ledger without an entry ends.
    #[must_use]
    pub fn genesis_head(&self) -> Head {
        Head {
            sequence: 0,
            hash: self.genesis(),
        }
    }
}

/// The end of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// Sequence of the last entry; 0 when there is none.
    pub sequence: u64,
    /// Its hash; the genesis hash when there is none.
    pub hash: Digest,
}

/// One entry exactly as it lies in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// Place in the ledger, from 1 without gaps.
    pub sequence: u64,
    /// Code of the kind ([`EntryKind::code`]).
    pub kind: u8,
    /// When the writer took the entry.
    pub recorded_at: Timestamp,
    /// The decision that this entry settles.
    pub refers: Option<u64>,
    /// Every decision before this sequence is settled, this entry counted in.
    pub settled: u64,
    /// The serial of a decision.
    pub serial: Option<Vec<u8>>,
    /// What was recorded.
    pub body: Vec<u8>,
    /// Hash of the entry before.
    pub previous: Digest,
    /// This entry's hash.
    pub hash: Digest,
}

impl RawEntry {
    /// The hash that the columns give.
    #[must_use]
    pub fn computed_hash(&self) -> Digest {
        self.hash_with(&Digest::of(&self.body))
    }

    /// As [`Self::computed_hash`], with a body digest that was computed before.
    pub(crate) fn hash_with(&self, body: &Digest) -> Digest {
        let mut hash = Sha256::new();
        hash.update(ENTRY);
        hash.update(self.sequence.to_be_bytes());
        hash.update([self.kind]);
        hash.update(self.recorded_at.micros().to_be_bytes());
        hash.update(self.settled.to_be_bytes());
        match self.refers {
            None => hash.update([0]),
            Some(sequence) => {
                hash.update([1]);
                hash.update(sequence.to_be_bytes());
            }
        }
        match &self.serial {
            None => hash.update([0]),
            Some(serial) => {
                hash.update([1]);
                hash.update(u32::try_from(serial.len()).unwrap_or(u32::MAX).to_be_bytes());
                hash.update(serial);
            }
        }
        hash.update(body.as_bytes());
        hash.update(self.previous.as_bytes());
        Digest::from_bytes(hash.finalize().into())
    }

    /// The kind.
    ///
    /// # Errors
    /// When the code stands for none.
    pub fn entry_kind(&self) -> Result<EntryKind, CodecError> {
        EntryKind::from_code(self.kind).ok_or_else(|| CodecError::Kind(i64::from(self.kind)))
    }

    /// The body, read.
    ///
    /// # Errors
    /// When this version cannot read it.
    pub fn body(&self) -> Result<Body, CodecError> {
        decode(self.entry_kind()?, self.serial.as_deref(), &self.body)
    }

    /// Where the entry ends the chain.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            sequence: self.sequence,
            hash: self.hash,
        }
    }
}

/// The number under which an identity is found in the `lookups` table.
pub(crate) fn identity_tag(identity: &str) -> i64 {
    let mut hash = Sha256::new();
    hash.update(LOOKUP);
    hash.update(b"identity\0");
    hash.update(identity.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    digest
        .first_chunk::<8>()
        .map_or(0, |first| i64::from_be_bytes(*first))
}

/// The tags of an entry's names, each once, in ascending order.
pub(crate) fn identity_tags(identities: &[String]) -> Vec<i64> {
    let mut tags: Vec<i64> = identities.iter().map(|identity| identity_tag(identity)).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> RawEntry {
        RawEntry {
            sequence: 7,
            kind: 2,
            recorded_at: Timestamp::from_micros(1_700_000_000_000_000),
            refers: None,
            settled: 7,
            serial: Some(vec![1, 2]),
            body: vec![1],
            previous: Digest::of(b"previous"),
            hash: Digest::of(b""),
        }
    }

    #[test]
    fn the_hash_has_not_changed() {
        // Golden, computed by another program: ledgers and exports of earlier versions hold such hashes.
        let instance = Instance {
            id: [7; 16],
            created_at: Timestamp::from_micros(1),
        };
        assert_eq!(instance.genesis().to_string(), GOLDEN_GENESIS);
        assert_eq!(entry().computed_hash().to_string(), GOLDEN_ENTRY);
    }
    const GOLDEN_GENESIS: &str = "sha256:6320f97027e5e675af7288fec84390703109f99a13131081c3d1511abe5184c4";
    const GOLDEN_ENTRY: &str = "sha256:fadf2623c8d9e838336d366bda5040ac04295097fb86ab069b29a47ef5d7005a";

    #[test]
    fn every_column_is_under_the_hash() {
        let changes: [fn(&mut RawEntry); 9] = [
            |e| e.sequence += 1,
            |e| e.kind = 3,
            |e| e.recorded_at = Timestamp::from_micros(2),
            |e| e.refers = Some(0),
            |e| e.settled = 8,
            |e| e.serial = None,
            |e| e.serial = Some(vec![1, 3]),
            |e| e.body.push(0),
            |e| e.previous = Digest::of(b"other"),
        ];
        for change in changes {
            let mut other = entry();
            change(&mut other);
            assert_ne!(other.computed_hash(), entry().computed_hash());
        }
    }

    #[test]
    fn tags_are_a_set() {
        let names = ["b".to_owned(), "a".to_owned(), "b".to_owned()];
        assert_eq!(identity_tags(&names).len(), 2);
        assert_ne!(identity_tag("a"), identity_tag("b"));
    }
}
