//! Whether the process can do its work, and if not, why.
//!
//! A component holds a [`Condition`] for as long as it matters and states its side; the process
//! is ready when no condition has a reason against it. Before the first condition it is not.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

/// Shared by all who have a say or who ask.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<BTreeMap<String, Say>>>);

/// What one side has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Say {
    /// What speaks against.
    reason: Option<String>,
    /// What does not, and is to be known.
    notices: Vec<String>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}

impl Readiness {
    /// No condition yet: not ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that is not met, for the given reason. It is taken back when dropped.
    #[must_use]
    pub fn condition(&self, name: &str, reason: impl Into<String>) -> Condition {
        let condition = Condition {
            name: name.to_owned(),
            all: self.clone(),
        };
        condition.not_ready(reason);
        condition
    }

    /// The reasons against, as `name: reason`, in the order of the names. Empty: ready.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let all = self.0.borrow();
        if all.is_empty() {
            return vec!["starting".to_owned()];
        }
        all.iter()
            .filter_map(|(name, say)| say.reason.as_ref().map(|reason| format!("{name}: {reason}")))
            .collect()
    }

    /// What is to be known although it does not speak against, as `name: notice`.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let all = self.0.borrow();
        all.iter()
            .flat_map(|(name, say)| say.notices.iter().map(move |notice| format!("{name}: {notice}")))
            .collect()
    }

    /// Whether nothing speaks against.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// Tells of each change; ask [`Self::reasons`] then.
    #[must_use]
    pub fn watch(&self) -> Changes {
        Changes {
            inner: self.0.subscribe(),
            all: self.clone(),
        }
    }
}

/// Follows the changes of a [`Readiness`].
#[derive(Debug)]
pub struct Changes {
    inner: watch::Receiver<BTreeMap<String, Say>>,
    all: Readiness,
}

impl Changes {
    /// Waits for a change and returns the reasons then. Cancel-safe.
    pub async fn changed(&mut self) -> Vec<String> {
        // `all` holds the sender, so there is always one.
        let _alive = self.inner.changed().await;
        self.all.reasons()
    }
}

/// One side's say. Dropping it takes the say back.
#[derive(Debug)]
pub struct Condition {
    name: String,
    all: Readiness,
}

impl Condition {
    /// Nothing speaks against from this side.
    pub fn ready(&self) {
        self.set(None);
    }

    /// Something does.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    /// What is to be known although it does not speak against.
    pub fn notice(&self, notices: Vec<String>) {
        self.change(|say| say.notices = notices);
    }

    fn set(&self, reason: Option<String>) {
        self.change(|say| say.reason = reason);
    }

    fn change(&self, change: impl FnOnce(&mut Say)) {
        self.all.0.send_if_modified(|all| {
            let new = !all.contains_key(&self.name);
            let say = all.entry(self.name.clone()).or_default();
            let before = say.clone();
            change(say);
            new || before != *say
        });
    }
}

impl Drop for Condition {
    fn drop(&mut self) {
        self.all.0.send_modify(|all| {
            all.remove(&self.name);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_ready_when_nobody_objects() {
        let readiness = Readiness::new();
        assert!(!readiness.is_ready());
        let gate = readiness.condition("gate", "not connected");
        let serving = readiness.condition("serving", "no certificate");
        assert_eq!(
            readiness.reasons(),
            ["gate: not connected", "serving: no certificate"]
        );
        let mut changes = readiness.watch();
        gate.ready();
        assert_eq!(changes.changed().await, ["serving: no certificate"]);
        gate.notice(vec!["practice".to_owned()]);
        assert_eq!(readiness.notices(), ["gate: practice"]);
        assert_eq!(changes.changed().await, ["serving: no certificate"]);
        serving.ready();
        assert!(readiness.is_ready());
        gate.not_ready("gone");
        assert!(!readiness.is_ready());
        drop(gate);
        assert!(readiness.is_ready());
    }
}
