//! The host with real components. The guests are built from source, by
//! `guests/build.sh`, the first time a test asks for one.

mod admission;
mod baseline;
mod determinism;
mod hostile;
mod hosting;
mod loading;
mod measure;
mod precompiled;
mod support;
