//! Digests as words, to be read aloud and compared over a telephone (the PGP word list).
//!
//! Even and odd places have lists of their own, so that a word left out, said twice, or two that
//! changed places are heard at once.

mod list;

use sealwright_identity::Digest;

/// The 32 words of a digest, in order.
pub fn words(digest: &Digest) -> impl Iterator<Item = &'static str> {
    spell(digest.as_bytes())
}

fn spell(bytes: &[u8]) -> impl Iterator<Item = &'static str> {
    bytes.iter().enumerate().filter_map(|(place, byte)| {
        let list = if place % 2 == 0 { &list::EVEN } else { &list::ODD };
        list.get(usize::from(*byte)).copied()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The example that PGP's own documentation has.
    #[test]
    fn spells_the_known_example() {
        let bytes = hex::decode("E58294F2E9A227486E8B061B31CC528FD7FA3F19").unwrap();
        let spelled: Vec<_> = spell(&bytes).collect();
        assert_eq!(
            spelled.join(" "),
            "topmost istanbul pluto vagabond treadmill pacific brackish dictator goldfish medusa afflict \
             bravado chatter revolver dupont midsummer stopwatch whimsical cowbell bottomless"
        );
    }

    #[test]
    fn each_word_stands_for_one_byte() {
        let all: BTreeSet<_> = list::EVEN.iter().chain(&list::ODD).collect();
        assert_eq!(all.len(), 512);
        assert_eq!(words(&Digest::of(b"")).count(), 32);
    }
}
