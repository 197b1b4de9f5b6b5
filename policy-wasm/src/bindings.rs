//! The host side of `sealwright:policy@1.0.0`, written by wasmtime from
//! `policy-wasm/wit`.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated code"
)]

wasmtime::component::bindgen!({
    path: "wit",
    world: "policy",
    imports: { default: trappable },
});
