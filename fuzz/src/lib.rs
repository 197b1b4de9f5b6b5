//! What the fuzz targets share: keys that are the same in every run, and a reader of DER that shares no code
//! with the product's.
//!
//! Not a test of anything by itself. A target is one file of `fuzz_targets/`; what it claims stands at its top.
//! The keys sign nothing but inputs of these targets; fixed seeds make a corpus mean the same tomorrow.

pub mod changes;
pub mod keys;
pub mod seeds;
pub mod tlv;
pub mod world;
