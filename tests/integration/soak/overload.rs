//! Overload for long. Nothing yet.
