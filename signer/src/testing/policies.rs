//! What a gate in memory has of policy sets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sealwright_identity::{Digest, Timestamp, TrustDomain};
use sealwright_policy_wasm::WIT_VERSION;
use sealwright_proto::gate::{PolicyFetch, PolicyFetched, PolicyState};
use sealwright_statement::policy::{Entry, Limits, Mode, Revision, Scope, Set, canonical_settings};
use sealwright_statement::{Sealed, Signed};
use serde_json::Value;

/// Small, so that several are needed for one module.
const PIECE: usize = 16 << 10;

/// One policy of a set.
#[derive(Clone, Debug)]
pub(crate) struct FakeEntry {
    pub(crate) name: String,
    pub(crate) module: PathBuf,
    pub(crate) settings: Value,
    pub(crate) mode: Mode,
    /// The issuers' names; empty for all.
    pub(crate) issuers: Vec<String>,
}

/// Statements and modules by their digest.
#[derive(Debug, Default)]
pub(crate) struct FakePolicies {
    things: BTreeMap<String, Vec<u8>>,
    set: Option<Sealed<Set>>,
}

impl FakePolicies {
    pub(crate) fn number(&self) -> u64 {
        self.set.as_ref().map_or(0, |set| set.number)
    }

    pub(crate) fn put_in_force(&mut self, entries: &[FakeEntry]) {
        let nobody = Digest::of(b"nobody");
        let entries = entries.iter().map(|entry| self.push(entry)).collect();
        let set = Set {
            deployment: nobody,
            number: self.number() + 1,
            previous: self.set.as_ref().map(Sealed::digest),
            not_before: Timestamp::from_unix_seconds(0),
            not_after: Timestamp::from_unix_seconds(60),
            roster: nobody,
            entries,
            stop: None,
            restores: None,
        };
        let set = Sealed::new(set).unwrap();
        self.keep(&set);
        self.set = Some(set);
    }

    fn push(&mut self, entry: &FakeEntry) -> Entry {
        let module = std::fs::read(&entry.module).unwrap();
        let domain: TrustDomain = "cluster.local".parse().unwrap();
        let revision = Sealed::new(Revision {
            policy: entry.name.parse().unwrap(),
            module: Digest::of(&module),
            source: None,
            settings: canonical_settings(&entry.settings).unwrap(),
            scope: Scope {
                issuers: entry.issuers.clone(),
                ..Scope::all_of(domain)
            }
            .sorted(),
            wit: WIT_VERSION.to_owned(),
            limits: Limits {
                fuel: 10_000_000,
                memory: 0,
            },
        })
        .unwrap();
        self.things.insert(revision.module.to_string(), module);
        self.keep(&revision);
        Entry {
            revision: revision.digest(),
            mode: entry.mode.clone(),
            report: None,
        }
    }

    fn keep<T: sealwright_statement::Statement + Clone>(&mut self, statement: &Sealed<T>) {
        let text = Signed::unsigned(statement.clone()).to_string();
        self.things
            .insert(statement.digest().to_string(), text.into_bytes());
    }

    pub(crate) fn state(&self) -> PolicyState {
        PolicyState {
            number: self.number(),
            set: self
                .set
                .as_ref()
                .map(|set| set.digest().to_string())
                .unwrap_or_default(),
            rehearsal: true,
            ..PolicyState::default()
        }
    }

    pub(crate) fn fetch(&self, fetch: &PolicyFetch) -> Option<PolicyFetched> {
        let thing = self.things.get(&fetch.digest)?;
        let rest = thing.get(usize::try_from(fetch.offset).ok()?..)?;
        Some(PolicyFetched {
            size: thing.len() as u64,
            data: rest.iter().copied().take(PIECE).collect::<Vec<u8>>().into(),
        })
    }
}
