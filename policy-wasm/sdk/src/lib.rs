//! The guest side of `sealwright:policy@1.0.0`: what a policy author uses.
//!
//! Implement [`Policy`] and hand the type to [`export!`]. The crate reads the
//! settings into the author's own type, turns every settings error into a
//! problem that names the key, and gives the verdict short constructors.
//!
//! What it is not: a way to reach out. A policy sees its settings and one
//! [`Input`], and may write log lines; nothing else exists in its world.
//!
//! ```ignore
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings { namespace: String }
//!
//! struct OneNamespace;
//!
//! impl Policy for OneNamespace {
//!     type Settings = Settings;
//!     const NAME: &'static str = "one-namespace";
//!     const VERSION: &'static str = "1.0.0";
//!     const SETTINGS_SCHEMA: &'static str = r#"{"type":"object"}"#;
//!
//!     fn decide(settings: &Settings, input: &Input) -> Verdict {
//!         match &input.caller.kubernetes {
//!             Some(pod) if pod.namespace == settings.namespace => allow(),
//!             _ => deny("WRONG_NAMESPACE", "only one namespace is served here").into(),
//!         }
//!     }
//! }
//!
//! sealwright_policy_sdk::export!(OneNamespace);
//! ```

#[doc(hidden)]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
mod bump;
mod problem;
mod verdict;

pub use bindings::sealwright::policy::types::{
    Attribute, Caller, Ceiling, Csr, Denial, Description, Input, Issuer, Kubernetes, Level, Narrowing,
    Request, SettingsProblem, Usage, Verdict,
};
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use bump::Bump;
pub use problem::problem;
pub use verdict::{Deny, Narrow, allow, deny, narrow};

use serde::de::DeserializeOwned;

impl Caller {
    /// What Sealwright says of the caller under this name, by its configuration or by itself.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|attribute| attribute.name == name)?;
        Some(&found.value)
    }

    /// The serial of the certificate that the caller renews, if it is one of this installation.
    pub fn previous_serial(&self) -> Option<&str> {
        self.attribute("previous_serial")
    }

    /// When somebody was last known by another credential than a certificate of this
    /// installation, in seconds since the Unix epoch; `None` where there was no renewal.
    pub fn first_authenticated_at(&self) -> Option<i64> {
        self.attribute("first_authenticated_at")?.parse().ok()
    }
}

/// A policy: a pure function of its settings and one input.
pub trait Policy {
    /// The settings, as they stand in Sealwright's configuration. Put
    /// `#[serde(deny_unknown_fields)]` on every struct of it, so that a
    /// misspelled key is refused when the policy is loaded.
    type Settings: DeserializeOwned;

    /// A short name, such as `baseline`.
    const NAME: &'static str;
    /// The version of the policy itself.
    const VERSION: &'static str;
    /// A JSON Schema of [`Self::Settings`].
    const SETTINGS_SCHEMA: &'static str;

    /// Checks what the type of the settings cannot say. Called once, when the
    /// policy is loaded.
    fn validate(_settings: &Self::Settings) -> Vec<SettingsProblem> {
        Vec::new()
    }

    /// Decides one request.
    fn decide(settings: &Self::Settings, input: &Input) -> Verdict;
}

/// Writes a line into the log of the decision.
pub fn log(level: Level, message: &str) {
    bindings::log(level, message);
}

/// Makes `$policy` the policy of this component, with an allocator that never
/// frees: an instance lives for one decision.
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[global_allocator]
        static SEALWRIGHT_POLICY_ALLOCATOR: $crate::Bump = $crate::Bump::new();

        struct SealwrightPolicyExports;

        impl $crate::bindings::Guest for SealwrightPolicyExports {
            fn describe() -> $crate::Description {
                $crate::glue::describe::<$policy>()
            }

            fn validate_settings(
                settings: ::std::string::String,
            ) -> ::core::result::Result<(), ::std::vec::Vec<$crate::SettingsProblem>> {
                $crate::glue::validate_settings::<$policy>(&settings)
            }

            fn decide(settings: ::std::string::String, input: $crate::Input) -> $crate::Verdict {
                $crate::glue::decide::<$policy>(settings, input)
            }
        }

        $crate::bindings::export!(SealwrightPolicyExports with_types_in $crate::bindings);
    };
}

#[doc(hidden)]
pub mod glue {
    //! What [`crate::export!`] expands to calls of.

    use core::mem::ManuallyDrop;

    use crate::{Description, Input, Level, Policy, SettingsProblem, Verdict, deny, problem};

    /// Writes the text of a panic into the log of the decision; the host sees
    /// only that something trapped.
    pub fn log_panics() {
        std::panic::set_hook(Box::new(|panic| {
            crate::log(Level::Error, &panic.to_string());
        }));
    }

    pub fn describe<P: Policy>() -> Description {
        Description {
            name: P::NAME.to_owned(),
            version: P::VERSION.to_owned(),
            settings_schema: P::SETTINGS_SCHEMA.to_owned(),
        }
    }

    pub fn validate_settings<P: Policy>(text: &str) -> Result<(), Vec<SettingsProblem>> {
        // The canonical text of an object begins with nothing else; serde would
        // take an array of the values too.
        if !text.starts_with('{') {
            return Err(vec![problem("", "the settings are not a JSON object")]);
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let settings: P::Settings = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| vec![problem(error.path().to_string(), error.inner().to_string())])?;
        let problems = P::validate(&settings);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    pub fn decide<P: Policy>(text: String, input: Input) -> Verdict {
        log_panics();
        // The instance ends with this call; taking these apart would be fuel
        // for nothing.
        let (text, input) = (ManuallyDrop::new(text), ManuallyDrop::new(input));
        match serde_json::from_str::<P::Settings>(&text) {
            Ok(settings) => P::decide(&ManuallyDrop::new(settings), &input),
            // Settings are accepted before a policy decides anything, so this
            // means that somebody decided without loading.
            Err(error) => deny("SETTINGS_UNREADABLE", error.to_string()).into(),
        }
    }
}
