//! Prints an error with all its causes on one line.

use std::{error::Error, fmt};

/// Displays `error: cause: cause of the cause`.
///
/// The errors of this workspace say only what their own layer knows; this puts the layers together.
/// A cause whose text its parent has already said is not repeated.
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner {0}")]
    struct Inner(u8);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Through(#[from] Outer);

    #[test]
    fn prints_each_layer_once() {
        assert_eq!(Chain(&Outer(Inner(3))).to_string(), "outer: inner 3");
        assert_eq!(Chain(&Through(Outer(Inner(3)))).to_string(), "outer: inner 3");
    }
}
