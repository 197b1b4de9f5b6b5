//! An installation where people must agree: an author, approvers, what they push and sign.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use sealwright_gate::client::ClientError;
use sealwright_gate::config::CeremonyConfig;
use sealwright_identity::{Clock, Digest, SystemClock};
use sealwright_proto::gate::{
    PolicyState, PolicyStatement, PolicyTaken, PolicyUpload, PolicyVerdict, policy_statement::Action,
    policy_upload::Kind,
};
use sealwright_statement::policy::{
    Entry, Limits, Mode, Person, Revision, Revocation, Role, Roster, Scope, Set, WIT_WORLD, deployment_id,
};
use sealwright_statement::{FileSigner, KeyKind, Sealed, Signed, Signer, Statement};

use crate::world::{Order, Running, World, far};

pub const REPORT: &[u8] = b"admitted";

/// Everybody, by first name.
pub struct People {
    pub author: FileSigner,
    pub anna: FileSigner,
    /// Anna's other key.
    pub anna_too: FileSigner,
    pub bert: FileSigner,
    pub stranger: FileSigner,
    pub roster: Sealed<Roster>,
}

impl People {
    /// Two of three approvers must agree; the author is one of them.
    pub fn new(threshold: u64) -> Self {
        let [author, anna, anna_too, bert, stranger] = [
            KeyKind::Ed25519,
            KeyKind::P256,
            KeyKind::Ed25519,
            KeyKind::P384,
            KeyKind::Ed25519,
        ]
        .map(|kind| FileSigner::generate(kind).unwrap().0);
        let person = |name: &str, roles: &[Role], keys: &[&FileSigner]| Person {
            name: name.parse().unwrap(),
            roles: roles.to_vec(),
            keys: keys.iter().map(|key| key.public_key().clone()).collect(),
        };
        let roster = Roster {
            number: 1,
            previous: None,
            threshold,
            people: vec![
                person("anna", &[Role::Approver], &[&anna, &anna_too]),
                person("author", &[Role::Author, Role::Approver], &[&author]),
                person("bert", &[Role::Approver], &[&bert]),
            ],
        };
        Self {
            roster: Sealed::new(roster).unwrap(),
            author,
            anna,
            anna_too,
            bert,
            stranger,
        }
    }

    /// Has a world's configuration name the roster, and no policies.
    pub fn settle(&self, world: &mut World) {
        let path = world.folder.join("roster.stmt");
        fs::write(&path, Signed::unsigned(self.roster.clone()).to_string()).unwrap();
        world.file.policy_sets.roster = Some(path);
        world.file.policies.clear();
        for issuer in &mut world.file.issuers {
            issuer.rehearsal = false;
            issuer.ceremony = Some(CeremonyConfig::None);
            issuer.policies.clear();
        }
        world.file.validate().unwrap();
    }
}

pub fn revision(policy: &str, module: &[u8]) -> Revision {
    Revision {
        policy: policy.parse().unwrap(),
        module: Digest::of(module),
        source: None,
        settings: "{}".to_owned(),
        scope: Scope::all_of("cluster.local".parse().unwrap()),
        wit: WIT_WORLD.to_owned(),
        limits: Limits {
            fuel: 10_000_000,
            memory: 0,
        },
    }
}

pub fn digest_of(revision: &Revision) -> Digest {
    Sealed::new(revision.clone()).unwrap().digest()
}

pub fn entry(revision: &Revision, mode: Mode) -> Entry {
    Entry {
        revision: digest_of(revision),
        mode,
        report: Some(Digest::of(REPORT)),
    }
}

/// What a front passes on.
pub struct Front<'a> {
    pub running: &'a Running,
    pub people: &'a People,
    pub deployment: Digest,
}

impl<'a> Front<'a> {
    pub fn new(world: &World, running: &'a Running, people: &'a People) -> Self {
        Self {
            running,
            people,
            deployment: deployment_id([("default", world.issuer().chain.key_digest())]),
        }
    }

    pub async fn upload(&self, kind: Kind, bytes: &[u8], offset: u64) -> Result<(u64, bool), ClientError> {
        let from = usize::try_from(offset).unwrap();
        let upload = PolicyUpload {
            kind: kind.into(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
            offset,
            data: bytes[from..].to_vec().into(),
        };
        let answer = self.running.client.policy_upload(upload, far()).await?;
        Ok((answer.received, answer.complete))
    }

    /// The author pushes a revision of this component.
    pub async fn push(&self, revision: &Revision, module: &[u8]) {
        self.upload(Kind::Module, module, 0).await.unwrap();
        self.upload(Kind::Report, REPORT, 0).await.unwrap();
        let signed = signed(revision.clone(), &[&self.people.author]);
        self.keep(&signed).await.unwrap();
    }

    pub async fn keep<T: Statement>(&self, signed: &Signed<T>) -> Result<PolicyTaken, ClientError> {
        self.say(Action::Keep, signed.to_string(), String::new()).await
    }

    /// Sends the file and has it take effect.
    pub async fn enact<T: Statement>(&self, signed: &Signed<T>) -> Result<PolicyTaken, ClientError> {
        self.say(Action::Enact, signed.to_string(), String::new()).await
    }

    /// Has what was kept take effect.
    pub async fn enact_kept(&self, digest: Digest) -> Result<PolicyTaken, ClientError> {
        self.say(Action::Enact, String::new(), digest.to_string()).await
    }

    async fn say(
        &self,
        action: Action,
        armoured: String,
        digest: String,
    ) -> Result<PolicyTaken, ClientError> {
        let statement = PolicyStatement {
            action: action.into(),
            armoured,
            digest,
        };
        self.running.client.policy_statement(statement, far()).await
    }

    pub async fn state(&self) -> PolicyState {
        self.running.client.policy_state(far()).await.unwrap()
    }

    /// The set after the one in force.
    pub async fn next(&self, entries: Vec<Entry>) -> Set {
        let state = self.state().await;
        let now = SystemClock.now().truncated_to_seconds();
        Set {
            deployment: self.deployment,
            number: state.number + 1,
            previous: state.set.parse().ok(),
            not_before: now.saturating_sub(Duration::from_secs(60)),
            not_after: now.saturating_add(Duration::from_secs(3600)),
            roster: state.roster.parse().unwrap(),
            entries,
            stop: None,
            restores: None,
        }
    }

    /// Anna and Bert agree.
    pub fn agreed(&self, set: Set) -> Signed<Set> {
        signed(set, &[&self.people.anna, &self.people.bert])
    }

    /// The set after the one in force, agreed on and in force.
    pub async fn activate(&self, entries: Vec<Entry>) -> Signed<Set> {
        let set = self.agreed(self.next(entries).await);
        self.enact(&set).await.unwrap();
        set
    }

    pub async fn revocation(&self, revision: &Revision) -> Revocation {
        Revocation {
            deployment: self.deployment,
            revision: digest_of(revision),
            reason: "a test".to_owned(),
            number: self.state().await.number,
        }
    }
}

pub fn signed<T: Statement>(statement: T, by: &[&FileSigner]) -> Signed<T> {
    let mut signed = Signed::unsigned(Sealed::new(statement).unwrap());
    by.iter().for_each(|key| signed.sign(*key).unwrap());
    signed
}

/// An honest request whose policies were these, under that set.
pub fn decided(world: &World, set: u64, by: &[&Revision]) -> Order {
    let mut order = world.order();
    order.decision().set_number = set;
    order.decision().policies = by.iter().map(|revision| allowed(revision)).collect();
    order
}

pub fn allowed(revision: &Revision) -> PolicyVerdict {
    PolicyVerdict {
        name: revision.policy.to_string(),
        module: revision.module.to_string(),
        settings: revision.settings_digest().to_string(),
        verdict: "allow".into(),
        fuel: 1234,
        revision: digest_of(revision).to_string(),
        ..PolicyVerdict::default()
    }
}

/// What waits, by type.
pub fn waiting(state: &PolicyState) -> BTreeSet<&str> {
    state.staged.iter().map(|staged| staged.r#type.as_str()).collect()
}
