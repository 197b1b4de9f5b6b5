//! A submission on its way to the process that judges it, as JSON.
//!
//! Whoever sends it looks into nothing: an archive of source, which an author made, is first read
//! where it can do no harm.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Submission;
use crate::{Limits, Vector, VectorError, VectorFormat};

/// What the process is given.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    component: String,
    settings: Value,
    limits: Limits,
    vectors: Vec<Written>,
    source: Option<String>,
}

/// A vector as it stands in its file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    /// As a vector that leaves nothing out.
    whole: Value,
    settings: Option<Value>,
}

impl Job {
    /// A module with its settings and limits.
    #[must_use]
    pub fn new(component: &[u8], settings: Value, limits: Limits) -> Self {
        Self {
            component: STANDARD.encode(component),
            settings,
            limits,
            vectors: Vec::new(),
            source: None,
        }
    }

    /// With vectors that were read already.
    #[must_use]
    pub fn with_vectors(mut self, vectors: &[Vector]) -> Self {
        self.vectors.extend(vectors.iter().map(|vector| Written {
            name: vector.name.clone(),
            whole: Vector::whole("", &vector.input, &vector.expect),
            settings: vector.settings.clone(),
        }));
        self
    }

    /// With the archive of its source, which has the author's vectors in it.
    #[must_use]
    pub fn with_source(mut self, archive: Option<&[u8]>) -> Self {
        self.source = archive.map(|archive| STANDARD.encode(archive));
        self
    }

    /// The submission, and the archive whose vectors are to be added to it.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn open(self) -> Result<(Submission, Option<Vec<u8>>), JobError> {
        let decoded = |text: String| STANDARD.decode(text).map_err(JobError::Base64);
        let submission = Submission {
            component: decoded(self.component)?,
            settings: self.settings,
            limits: self.limits,
            vectors: self.vectors.into_iter().map(read).collect::<Result<_, _>>()?,
        };
        Ok((submission, self.source.map(decoded).transpose()?))
    }
}

fn read(written: Written) -> Result<Vector, JobError> {
    let vector = Vector::parse(&written.name, VectorFormat::Json, &written.whole.to_string());
    let vector = vector.map_err(|source| JobError::Vector {
        name: written.name,
        source: Box::new(source),
    })?;
    Ok(Vector {
        settings: written.settings,
        ..vector
    })
}

/// Why a job is none.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The module, or the archive.
    #[error("the module or its source is not Base64")]
    Base64(#[source] base64::DecodeError),
    /// One of the vectors.
    #[error("vector {name} cannot be read")]
    Vector {
        /// Its name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Box<VectorError>,
    },
}
