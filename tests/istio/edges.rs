//! Certificates at the edges, judged by Go and by zlint. `tests/integration/edges.rs` has them judged
//! by OpenSSL.

use sealwright_tests::{Issued, edges};
use serde_json::Value;

use crate::{lint, program};

/// What Go's verification says of a certificate, for both sides of a connection.
pub(crate) fn verified(issued: &Issued, id: &str) -> Value {
    let folder = issued.folder().to_str().unwrap();
    program::run("peer", ["verify", "-folder", folder, "-id", id]).json()
}

#[tokio::test]
#[ignore = "needs programs that make test-istio builds"]
async fn go_and_zlint_take_every_edge() {
    let mut unexplained = Vec::new();
    for edge in edges::all().await {
        verified(&edge.issued, &edge.id);
        let kind = match edge.end {
            Some(_) => lint::Kind::LongLived,
            None => lint::Kind::Workload,
        };
        for finding in lint::findings(&edge.issued.leaf()) {
            if !lint::explained(kind, &finding) {
                unexplained.push(format!("{}: {finding}", edge.name));
            }
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}
