//! The wire types: Istio's CA services, our own signing and policy services, and the protocol
//! between the front and the gate.
//!
//! Generated from `protos/` and checked in, so that a build needs no compiler for them; the test
//! `regenerate` fails when the two differ. There is no logic here.

#![forbid(unsafe_code)]

pub use generated::{
    google::rpc,
    istio::v1::auth as istio,
    sealwright::{gate::v1 as gate, policy::v1 as policy, v1 as signing},
};

/// A token is shown nowhere.
impl std::fmt::Debug for gate::Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").finish_non_exhaustive()
    }
}

/// The descriptors of the public services, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/public.descriptors.bin");

/// The generated code, in the tree of its packages: that is how its parts find each other.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    clippy::all,
    clippy::use_self,
    clippy::or_fun_call,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
mod generated {
    pub mod google {
        pub mod rpc {
            include!("gen/google.rpc.rs");
        }
    }
    pub mod istio {
        pub mod v1 {
            pub mod auth {
                include!("gen/istio.v1.auth.rs");
            }
        }
    }
    pub mod sealwright {
        pub mod v1 {
            include!("gen/sealwright.v1.rs");
        }
        pub mod gate {
            pub mod v1 {
                include!("gen/sealwright.gate.v1.rs");
            }
        }
        pub mod policy {
            pub mod v1 {
                include!("gen/sealwright.policy.v1.rs");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::gate::{Credential, IssueRequest, Request, request::Body};

    #[test]
    fn no_message_shows_the_token_that_it_carries() {
        let token = "eyJhbGciOi.not-for-any-log.c2lnbmF0dXJl";
        let credential = Credential {
            token: token.as_bytes().to_vec().into(),
        };
        let issue = IssueRequest {
            credential: Some(credential.clone()),
            ..IssueRequest::default()
        };
        let request = Request {
            body: Some(Body::Issue(issue.clone())),
            ..Request::default()
        };
        let bytes = format!("{:?}", token.as_bytes());
        for shown in [
            format!("{credential:?}"),
            format!("{issue:#?}"),
            format!("{request:?}"),
        ] {
            assert!(!shown.contains("not-for-any-log"), "{shown}");
            assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
        }
    }
}
