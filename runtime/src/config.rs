//! Layered configuration: a TOML file, then the environment, then flags.
//!
//! Structs are the caller's and use `deny_unknown_fields`; an error names the key, where it was
//! set, and what would do instead.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use ::config::{Config, Environment, File, FileFormat};
use serde::de::DeserializeOwned;

/// The largest configuration file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads `file`, then variables `PREFIX__SECTION__KEY`, then `overrides` (dotted key, value).
///
/// # Errors
/// When the file cannot be read or parsed, or a key is unknown, missing or of another type.
pub fn load<T: DeserializeOwned>(
    file: &Path,
    env_prefix: &str,
    overrides: &[(&str, String)],
) -> Result<T, ConfigError> {
    let unreadable = |source| ConfigError::Read {
        file: file.to_owned(),
        source,
    };
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge {
            file: file.to_owned(),
            size,
        });
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let environment = environment(env_prefix, std::env::vars_os())?;
    load_text(&text, file, env_prefix, environment, overrides)
}

/// [`load`] without the file system and the process's environment.
///
/// # Errors
/// As [`load`].
pub fn load_text<T: DeserializeOwned>(
    text: &str,
    file: &Path,
    env_prefix: &str,
    environment: HashMap<String, String>,
    overrides: &[(&str, String)],
) -> Result<T, ConfigError> {
    let refused = |source: &::config::ConfigError| refusal::<T>(text, file, env_prefix, source);
    let source = Environment::with_prefix(env_prefix)
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true)
        .source(Some(environment.into_iter().collect()));
    let mut builder = Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .add_source(source);
    for (key, value) in overrides {
        builder = builder
            .set_override(*key, value.as_str())
            .map_err(|source| refused(&source))?;
    }
    builder
        .build()
        .and_then(Config::try_deserialize)
        .map_err(|source| refused(&source))
}

/// The variables that begin with the prefix. A value that is not Unicode is an error.
fn environment(
    prefix: &str,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<HashMap<String, String>, ConfigError> {
    let prefix = format!("{prefix}__");
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(&prefix))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(ConfigError::NotUnicode { variable: name }),
        })
        .collect()
}

/// Builds the error: the key from the layered view, the place from the file when it is at fault.
fn refusal<T: DeserializeOwned>(
    text: &str,
    file: &Path,
    env_prefix: &str,
    layered: &::config::ConfigError,
) -> ConfigError {
    let file = file.to_owned();
    match toml::from_str::<T>(text) {
        Err(error) => ConfigError::Refused {
            file,
            line: error.span().map(|span| line_of(text, span.start)),
            detail: key_and_fault(layered, error.message()),
        },
        // The file alone is good: a variable or a flag is at fault.
        Ok(_) => ConfigError::Overridden {
            file,
            prefix: env_prefix.to_owned(),
            detail: layered.to_string(),
        },
    }
}

/// The layered view knows the key's path, the file's parser the fault.
fn key_and_fault(layered: &::config::ConfigError, fault: &str) -> String {
    let layered = layered.to_string();
    match layered.rfind(" for key `") {
        Some(at) => match layered.get(at..) {
            Some(key) => format!("{fault}{key}"),
            None => fault.to_owned(),
        },
        None => fault.to_owned(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&b| b == b'\n').count()
}

/// Makes a relative path one of the folder `base`, commonly that of the configuration file.
pub fn resolve(base: &Path, path: &mut PathBuf) {
    if path.is_relative() {
        *path = base.join(&*path);
    }
}

/// The folder against which the paths of a configuration file are resolved, absolute.
///
/// # Errors
/// When the file does not exist or the current folder is gone.
pub fn base_folder(file: &Path) -> Result<PathBuf, ConfigError> {
    let absolute = std::path::absolute(file).map_err(|source| ConfigError::Read {
        file: file.to_owned(),
        source,
    })?;
    Ok(absolute
        .parent()
        .map_or_else(|| PathBuf::from("/"), Path::to_owned))
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}; name an existing, readable file", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no configuration.
    #[error("the configuration file {} has {size} bytes, more than {MAX_FILE_BYTES}", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The file's contents are at fault.
    #[error("{}{}: {detail}", file.display(), line.map(|l| format!(" line {l}")).unwrap_or_default())]
    Refused {
        /// The file.
        file: PathBuf,
        /// Where in it, from 1.
        line: Option<usize>,
        /// The key, what is wrong with it, and what is allowed.
        detail: String,
    },
    /// A variable or a flag is at fault.
    #[error(
        "{} is good, but a variable {prefix}__… or a flag over it is not: {detail}", file.display()
    )]
    Overridden {
        /// The file.
        file: PathBuf,
        /// The variables' prefix.
        prefix: String,
        /// The key, what is wrong with it, and what is allowed.
        detail: String,
    },
    /// A variable's value is no text.
    #[error("the value of the environment variable {variable} is not Unicode")]
    NotUnicode {
        /// The variable.
        variable: String,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Whole {
        name: String,
        gate: Gate,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Gate {
        home: PathBuf,
        sessions: u32,
        #[serde(default)]
        env: BTreeMap<String, String>,
    }

    const TEXT: &str = "name = 'a'\n[gate]\nhome = 'h'\nsessions = 3\n[gate.env]\nSOFTHSM2_CONF = 'c'\n";

    fn read(text: &str, env: &[(&str, &str)], flags: &[(&str, String)]) -> Result<Whole, ConfigError> {
        let env = env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        load_text(text, Path::new("/etc/s.toml"), "SEALWRIGHT", env, flags)
    }

    #[test]
    fn layers_file_environment_and_flags() {
        let env = [("SEALWRIGHT__GATE__SESSIONS", "7"), ("SEALWRIGHT__NAME", "12")];
        let whole = read(TEXT, &env, &[("gate.home", "elsewhere".to_owned())]).unwrap();
        assert_eq!(whole.name, "12");
        assert_eq!(whole.gate.sessions, 7);
        assert_eq!(whole.gate.home, Path::new("elsewhere"));
        assert_eq!(whole.gate.env["SOFTHSM2_CONF"], "c");
    }

    #[test]
    fn names_the_file_the_line_the_key_and_what_is_allowed() {
        let unknown = read(&TEXT.replace("home", "hoem"), &[], &[])
            .unwrap_err()
            .to_string();
        assert!(unknown.contains("/etc/s.toml line 3"), "{unknown}");
        assert!(
            unknown.contains("`hoem`") && unknown.contains("`home`"),
            "{unknown}"
        );
        assert!(unknown.contains("for key `gate`"), "{unknown}");

        let mistyped = read(&TEXT.replace("= 3", "= 'x'"), &[], &[])
            .unwrap_err()
            .to_string();
        assert!(
            mistyped.contains("line 4") && mistyped.contains("gate.sessions"),
            "{mistyped}"
        );

        let broken = read("name =", &[], &[]).unwrap_err().to_string();
        assert!(broken.contains("/etc/s.toml line 1"), "{broken}");
    }

    #[test]
    fn names_the_variable_when_the_file_is_good() {
        let error = read(TEXT, &[("SEALWRIGHT__GATE__SESSIONS", "x")], &[]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ConfigError::Overridden { .. }));
        assert!(
            text.contains("SEALWRIGHT__") && text.contains("gate.sessions"),
            "{text}"
        );
        assert!(read(TEXT, &[("SEALWRIGHT__GATE__TYPO", "1")], &[]).is_err());
    }

    #[test]
    fn resolves_relative_paths_only() {
        let mut path = PathBuf::from("roots.pem");
        resolve(Path::new("/home"), &mut path);
        assert_eq!(path, Path::new("/home/roots.pem"));
        resolve(Path::new("/else"), &mut path);
        assert_eq!(path, Path::new("/home/roots.pem"));
    }
}
