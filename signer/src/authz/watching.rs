//! Those who only watch: handed a copy of what was decided on, and asked after the outcome is there.

use std::sync::Arc;

use sealwright_identity::SpiffeId;
use sealwright_policy_wasm::{Decision, Difference, Observation, PolicyInput, ShadowLane};
use tracing::{Span, info};

use super::Authorizer;
use crate::sets::Deciders;

impl Authorizer {
    /// Lets the shadows see what was decided on. They are asked later, and change nothing.
    pub(super) fn watch(&self, deciders: &Deciders, input: Arc<PolicyInput>, decision: &Decision) {
        if deciders.shadows.is_empty() {
            return;
        }
        let (metrics, span) = (self.metrics.clone(), Span::current());
        let report = move |observations: Vec<Observation>| {
            for Observation {
                evaluation,
                difference,
            } in observations
            {
                metrics.shadowed(ShadowLane::Set, &evaluation.name, difference.as_str());
                if difference != Difference::Same {
                    let (policy, verdict) = (&evaluation.name, evaluation.verdict);
                    let code = evaluation.denial.as_ref().map(|denial| denial.code.as_str());
                    span.in_scope(|| info!(policy, %verdict, code, %difference, "a shadow differs"));
                }
            }
        };
        let shadows = deciders
            .shadows
            .iter()
            .map(|asked| Arc::clone(&asked.policy))
            .collect();
        if !self
            .policies
            .watch(ShadowLane::Set, shadows, input, decision, report)
        {
            self.metrics.shadows_left_out(ShadowLane::Set);
        }
    }

    /// The same for what somebody runs in shadow at this front alone, in a lane apart.
    pub(super) fn watch_of_front(
        &self,
        issuer: &str,
        ids: &[SpiffeId],
        input: &Arc<PolicyInput>,
        decision: &Decision,
    ) {
        let Some(of_front) = &self.front_shadows else {
            return;
        };
        let shadows = of_front.about(issuer, ids);
        if shadows.is_empty() {
            return;
        }
        let policies = shadows.iter().map(|shadow| shadow.policy()).collect();
        let (told, asked, span) = (of_front.clone(), shadows.clone(), Span::current());
        let report = move |observations| told.said(&asked, observations, &span);
        if !self
            .policies
            .watch(ShadowLane::Front, policies, Arc::clone(input), decision, report)
        {
            of_front.left_out(&shadows);
        }
    }
}
