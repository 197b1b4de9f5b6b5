//! Vectors and settings in files.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use sealwright_policy_wasm::{MAX_VECTOR_BYTES, MAX_VECTORS, Vector, VectorFormat, parse_settings};
use serde_json::Value;

use crate::failure::{Class, Failure, OrFail};

/// The largest file of settings.
const MAX_SETTINGS: u64 = 1 << 20;

/// The vectors of a folder, by name.
pub(super) fn read(folder: &Path) -> Result<Vec<Vector>, Failure> {
    let mut vectors: Vec<Vector> = files(folder)?
        .into_iter()
        .map(|(path, format)| one(&path, format))
        .collect::<Result<_, _>>()?;
    vectors.sort_by(|one, other| one.name.cmp(&other.name));
    let twice = vectors
        .windows(2)
        .find(|pair| matches!(pair, [one, other] if one.name == other.name));
    if let Some([one, _]) = twice {
        return Err(Failure::text(
            Class::Input,
            format!(
                "{} has two vectors called {}; rename one",
                folder.display(),
                one.name
            ),
        ));
    }
    Ok(vectors)
}

fn one(path: &Path, format: VectorFormat) -> Result<Vector, Failure> {
    let name = path
        .file_stem()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let text = text(path, MAX_VECTOR_BYTES as u64)?;
    Vector::parse(name, format, &text).or_fail_doing(Class::Input, path.display())
}

/// What is a vector by its ending. A file that is neither that nor a note is an error: a vector that is
/// left out by a slip of the pen tests nothing.
fn files(folder: &Path) -> Result<Vec<(PathBuf, VectorFormat)>, Failure> {
    let failed = || format!("cannot read the vectors in {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).or_fail_doing(Class::Usage, failed())? {
        let path = entry.or_fail_doing(Class::Usage, failed())?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden || path.extension().is_some_and(|ending| ending == "md") {
            continue;
        }
        match VectorFormat::of(&path) {
            Some(format) => files.push((path, format)),
            None => {
                return Err(Failure::text(
                    Class::Input,
                    format!("{} is no vector; the ending is .toml or .json", path.display()),
                ));
            }
        }
        if files.len() > MAX_VECTORS {
            return Err(Failure::text(
                Class::Input,
                format!("{} has more than {MAX_VECTORS} vectors", folder.display()),
            ));
        }
    }
    Ok(files)
}

/// Settings from TOML or JSON; none at all are an empty table.
pub(super) fn settings(file: Option<&Path>) -> Result<Value, Failure> {
    let Some(path) = file else {
        return Ok(Value::Object(serde_json::Map::new()));
    };
    let text = text(path, MAX_SETTINGS)?;
    let json = match VectorFormat::of(path) {
        Some(VectorFormat::Json) => text,
        Some(VectorFormat::Toml) => {
            let value: Value = toml::from_str(&text).or_fail_doing(Class::Input, path.display())?;
            value.to_string()
        }
        None => {
            return Err(Failure::text(
                Class::Usage,
                format!(
                    "{} has no ending that settings have: .toml or .json",
                    path.display()
                ),
            ));
        }
    };
    parse_settings(&json).or_fail_doing(Class::Input, path.display())
}

fn text(path: &Path, most: u64) -> Result<String, Failure> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(most + 1).read_to_string(&mut text))
        .or_fail_doing(Class::Usage, format!("cannot read {}", path.display()))?;
    if text.len() as u64 > most {
        return Err(Failure::text(
            Class::Input,
            format!("{} has more than {most} bytes", path.display()),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_by_name_and_leaves_notes_alone() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("b.toml", "expect.allow = {}");
        write("a.json", r#"{"expect":{"deny":{"code":"NO"}}}"#);
        write("README.md", "");
        write(".b.toml.swp", "");
        let names: Vec<_> = read(dir.path())
            .unwrap()
            .into_iter()
            .map(|vector| vector.name)
            .collect();
        assert_eq!(names, ["a", "b"]);

        write("b.json", r#"{"expect":{"allow":{}}}"#);
        assert!(
            read(dir.path())
                .unwrap_err()
                .to_string()
                .contains("two vectors called b")
        );
        write("c.yaml", "");
        assert!(
            read(dir.path())
                .unwrap_err()
                .to_string()
                .contains("c.yaml is no vector")
        );
    }

    #[test]
    fn settings_are_toml_or_json() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let toml = write("a.toml", "caps = [{ max = 1 }]");
        let json = write("a.json", r#"{"caps":[{"max":1}]}"#);
        assert_eq!(settings(Some(&toml)).unwrap(), settings(Some(&json)).unwrap());
        assert_eq!(settings(None).unwrap(), serde_json::json!({}));
        for (name, text) in [
            ("b.toml", "a = 1.5"),
            ("b.json", r#"{"a":1,"a":2}"#),
            ("b.json", "[]"),
        ] {
            assert_eq!(
                settings(Some(&write(name, text))).unwrap_err().class(),
                Class::Input
            );
        }
        assert_eq!(
            settings(Some(&write("b.ini", ""))).unwrap_err().class(),
            Class::Usage
        );
    }
}
