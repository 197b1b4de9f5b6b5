//! Requests to judge a module by, and the policies that answer them.

use std::{collections::HashMap, sync::Arc};

use super::{AdmissionError, Policies, Submission};
use crate::{
    AbortReason, Engine, Evaluation, LoadError, Policy, PolicyInput, PolicySource, Vector, settings,
    vectors::{self, load_by_schema},
};

/// The name of the request that is always asked.
pub(super) const ORDINARY: &str = "ordinary";

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// Which of the policies answers it.
    pub(super) policy: usize,
    pub(super) input: PolicyInput,
}

/// One module with each of the settings that it is judged under.
pub(super) struct Bench {
    pub(super) policies: Policies,
    /// Places in `policies`, by canonical settings.
    places: HashMap<String, usize>,
}

impl Bench {
    /// Loads the module with the submission's settings and with those of vectors.
    ///
    /// # Errors
    /// The vector whose settings are refused, if it is one, and why.
    pub(super) fn load(
        engine: &Engine,
        submission: &Submission,
    ) -> Result<Self, (Option<String>, LoadError)> {
        let mut bench = Self {
            policies: Vec::new(),
            places: HashMap::new(),
        };
        let own = submission
            .vectors
            .iter()
            .filter_map(|vector| Some((Some(vector.name.clone()), vector.settings.as_ref()?)));
        for (vector, wanted) in std::iter::once((None, &submission.settings)).chain(own) {
            let source = PolicySource {
                name: "admitted".to_owned(),
                component: submission.component.clone(),
                settings: wanted.clone(),
                limits: submission.limits,
            };
            bench.add(engine, source).map_err(|error| (vector, error))?;
        }
        Ok(bench)
    }

    fn add(&mut self, engine: &Engine, source: PolicySource) -> Result<(), LoadError> {
        let key = settings::canonical_settings(&source.settings).map_err(LoadError::Settings)?;
        if self.places.contains_key(&key) {
            return Ok(());
        }
        let policy: Arc<Policy> = Arc::new(load_by_schema(engine, source)?);
        self.places.insert(key, self.policies.len());
        self.policies.push(policy);
        Ok(())
    }

    fn place(&self, vector: &Vector) -> usize {
        let own = vector.settings.as_ref();
        let key = own.and_then(|own| settings::canonical_settings(own).ok());
        key.and_then(|key| self.places.get(&key)).copied().unwrap_or(0)
    }

    /// The answer to one request.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn evaluate(&self, case: &Case) -> Result<Evaluation, AdmissionError> {
        let aborted = |reason| AdmissionError::Aborted {
            case: case.name.clone(),
            reason,
        };
        let policy = self
            .policies
            .get(case.policy)
            .ok_or_else(|| aborted(AbortReason::Stopped))?;
        let evaluation = policy.evaluate(&case.input);
        match evaluation.aborted {
            Some(reason) => Err(aborted(reason)),
            None => Ok(evaluation),
        }
    }

    /// The answers, in order.
    ///
    /// # Errors
    /// At the first that is none.
    pub(super) fn evaluate_all(&self, cases: &[Case]) -> Result<Vec<Evaluation>, AdmissionError> {
        cases.iter().map(|case| self.evaluate(case)).collect()
    }
}

/// The ordinary request, and those of the vectors in the order of their names.
pub(super) fn authored(bench: &Bench, vectors: &[Vector]) -> Result<Vec<Case>, AdmissionError> {
    let ordinary = Case {
        name: ORDINARY.to_owned(),
        policy: 0,
        input: vectors::ordinary().map_err(AdmissionError::Corpus)?,
    };
    let of_vectors = vectors.iter().map(|vector| Case {
        name: vector.name.clone(),
        policy: bench.place(vector),
        input: vector.input.clone(),
    });
    Ok(std::iter::once(ordinary).chain(of_vectors).collect())
}
