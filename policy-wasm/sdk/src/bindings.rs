//! The bindings that `wit-bindgen` writes from `policy-wasm/wit`.
#![allow(missing_docs, unreachable_pub, reason = "generated code")]

wit_bindgen::generate!({
    path: "../wit",
    world: "policy",
    pub_export_macro: true,
});
