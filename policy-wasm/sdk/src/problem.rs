//! Settings problems.

use crate::SettingsProblem;

/// A problem with the settings key at `path`, such as `lifetimes[2].max`.
pub fn problem(path: impl Into<String>, message: impl Into<String>) -> SettingsProblem {
    let path = path.into();
    SettingsProblem {
        // The path library writes a lone dot for the whole document.
        path: if path == "." { String::new() } else { path },
        message: message.into(),
    }
}
