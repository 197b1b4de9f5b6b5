//! A gate that verifies callers' tokens itself, and a front that names others.

use std::fs;

use sealwright_proto::gate::{Credential, IssueRequest};
use serde_json::{Value, json};

use crate::hostile::refused;
use crate::tokens::{ISSUER, TokenIssuer, claims, header, parts};
use crate::world::{Order, Running, WEB, World, alone};

const ADMIN: &str = "spiffe://cluster.local/ns/kube-system/sa/admin";
const ZTUNNEL: &str = "spiffe://cluster.local/ns/istio-system/sa/ztunnel";

/// Pins the issuer's keys for the authenticator `kubernetes`; the other two are named as well.
pub fn pin(world: &mut World, issuer: &TokenIssuer) {
    let jwks = world.folder.join("pinned.json");
    fs::write(&jwks, issuer.jwks()).unwrap();
    let pins = json!([
        {
            "authenticator": "kubernetes", "issuer": ISSUER, "audiences": ["istio-ca"],
            "jwks_file": jwks, "algorithms": ["ES256"],
            "trusted_node_accounts": ["istio-system/ztunnel"],
        },
        {"authenticator": "mtls", "kind": "client-certificate"},
        {"authenticator": "legacy", "kind": "unverified"},
    ]);
    world.file.gate.verify_caller = serde_json::from_value(pins).unwrap();
    world.file.validate().unwrap();
}

/// What an honest front makes of a token.
fn order(world: &World, token: &str) -> Order {
    let mut order = world.order();
    let (header, claims) = parts(token);
    order.caller().token_header = header;
    order.caller().token_claims = claims;
    order
}

fn with_token(order: &Order, token: &str) -> IssueRequest {
    IssueRequest {
        credential: Some(Credential {
            token: token.to_owned().into(),
        }),
        ..order.request()
    }
}

/// The certificate and the evidence name this identity.
fn rename(order: &mut Order, identity: &str) {
    order.fields.sans = vec![format!("URI:{identity}").parse().unwrap()];
    order.caller().identities = vec![identity.into()];
    order.tell_policies(json!({}));
}

/// As the front records it when a node proxy acts for another.
fn impersonating(world: &World, token: &str, own: &str) -> Order {
    let mut order = order(world, token);
    order.caller().presented = own.into();
    order.tell_policies(json!({"attributes": {"impersonator": own}}));
    order
}

async fn with_bad_tokens(world: &World, running: &Running, issuer: &TokenIssuer) {
    let good = claims("default", "web");
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        issuer.sign(&header(), &claims)
    };
    let now = good["iat"].as_u64().unwrap();
    let token = issuer.token("default", "web");
    let (signed, _) = token.rsplit_once('.').unwrap();
    let other = TokenIssuer::new().token("default", "web");
    let (_, other_signature) = other.rsplit_once('.').unwrap();
    let table = [
        ("garbage", "garbage".to_owned()),
        ("another issuer's signature", other.clone()),
        ("a swapped signature", format!("{signed}.{other_signature}")),
        ("a wrong issuer", with("iss", json!("https://other"))),
        ("a wrong audience", with("aud", json!("other"))),
        ("an expired token", with("exp", json!(now - 1))),
        ("a token of tomorrow", with("nbf", json!(now + 86_400))),
        ("a person's token", with("sub", json!("alice"))),
        (
            "an algorithm that is not allowed",
            issuer.sign(&json!({"alg": "ES384", "kid": "first"}), &good),
        ),
        (
            "no algorithm",
            issuer.sign(&json!({"alg": "none", "kid": "first"}), &good),
        ),
        (
            "an unknown key",
            issuer.sign(&json!({"alg": "ES256", "kid": "second"}), &good),
        ),
    ];
    for (what, bad) in table {
        refused(
            running,
            what,
            with_token(&order(world, &token), &bad),
            "caller_token",
        )
        .await;
    }
    let order = order(world, &token);
    refused(running, "no token", order.request(), "caller_token_missing").await;
    refused(
        running,
        "an empty token",
        with_token(&order, ""),
        "caller_token_missing",
    )
    .await;
}

#[test]
fn the_name_is_the_tokens() {
    alone("callers::the_name_is_the_tokens", async |mut world| {
        let issuer = TokenIssuer::new();
        pin(&mut world, &issuer);
        let running = world.start().await;
        let token = issuer.token("default", "web");
        running
            .issue(with_token(&order(&world, &token), &token))
            .await
            .unwrap();
        // Again, which is known by now.
        running
            .issue(with_token(&order(&world, &token), &token))
            .await
            .unwrap();
        with_bad_tokens(&world, &running, &issuer).await;

        let mut another = order(&world, &token);
        rename(&mut another, ADMIN);
        refused(
            &running,
            "another's name",
            with_token(&another, &token),
            "caller_mismatch",
        )
        .await;
        let mut two = order(&world, &token);
        two.caller().identities.push(ADMIN.into());
        two.tell_policies(json!({}));
        refused(
            &running,
            "one name more",
            with_token(&two, &token),
            "caller_mismatch",
        )
        .await;
        let mut forged = order(&world, &token);
        forged.caller().token_claims = claims("kube-system", "admin").to_string();
        let forged = with_token(&forged, &token);
        refused(
            &running,
            "other claims in the record",
            forged,
            "caller_token_evidence",
        )
        .await;
        let mut told = order(&world, &token);
        told.tell_policies(json!({"identities": [ADMIN]}));
        refused(
            &running,
            "another input",
            with_token(&told, &token),
            "caller_input",
        )
        .await;

        running
            .issue(with_token(&order(&world, &token), &token))
            .await
            .unwrap();
        let shown = running.newest().await.to_string();
        running.end().await;
        let signature = token.rsplit('.').next().unwrap();
        assert!(!shown.contains(signature));
        for file in fs::read_dir(world.folder.join("gate")).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let found = bytes
                .windows(signature.len())
                .any(|window| window == signature.as_bytes());
            assert!(!found, "the token is in the ledger");
        }
    });
}

#[test]
fn another_authenticator_is_no_way_around() {
    alone(
        "callers::another_authenticator_is_no_way_around",
        async |mut world| {
            let issuer = TokenIssuer::new();
            pin(&mut world, &issuer);
            let running = world.start().await;
            running.issue_honestly(&world, &issuer).await;
            let table = [
                ("kubernetes", "client-certificate", "caller_source"),
                ("kubernetes", "magic", "caller_source"),
                ("mtls", "jwt", "caller_source"),
                ("mtls", "client-certificate", "client_certificate_missing"),
                ("legacy", "client-certificate", "caller_source"),
                ("other", "jwt", "caller_not_verifiable"),
                ("other", "client-certificate", "caller_not_verifiable"),
                ("", "jwt", "caller_not_verifiable"),
            ];
            let token = issuer.token("default", "web");
            for (authenticator, source, code) in table {
                let mut order = order(&world, &token);
                rename(&mut order, ADMIN);
                order.caller().authenticator = authenticator.into();
                order.caller().source = source.into();
                order.tell_policies(json!({}));
                let what = format!("{authenticator} by {source}");
                refused(&running, &what, with_token(&order, &token), code).await;
            }
            // The operator said so.
            let mut believed = world.order();
            believed.caller().authenticator = "legacy".into();
            believed.tell_policies(json!({}));
            running.issue(believed.request()).await.unwrap();
            running.issue_honestly(&world, &issuer).await;
            running.end().await;
        },
    );
}

#[test]
fn only_trusted_node_accounts_act_for_others() {
    alone(
        "callers::only_trusted_node_accounts_act_for_others",
        async |mut world| {
            let issuer = TokenIssuer::new();
            pin(&mut world, &issuer);
            let running = world.start().await;
            running.issue_honestly(&world, &issuer).await;
            let node = issuer.token("istio-system", "ztunnel");
            running
                .issue(with_token(&impersonating(&world, &node, ZTUNNEL), &node))
                .await
                .unwrap();

            let admin = issuer.token("kube-system", "admin");
            let untrusted = with_token(&impersonating(&world, &admin, ADMIN), &admin);
            refused(
                &running,
                "an account of no node",
                untrusted,
                "caller_impersonation",
            )
            .await;
            let silent = with_token(&order(&world, &node), &node);
            refused(
                &running,
                "a record that does not say so",
                silent,
                "caller_mismatch",
            )
            .await;
            let mut half = order(&world, &node);
            half.caller().presented = ZTUNNEL.into();
            half.tell_policies(json!({}));
            refused(
                &running,
                "policies that were not told",
                with_token(&half, &node),
                "caller_mismatch",
            )
            .await;
            let web = issuer.token("default", "web");
            let other = with_token(&impersonating(&world, &web, ZTUNNEL), &web);
            refused(&running, "in the name of a node", other, "caller_mismatch").await;
            assert_ne!(WEB, ZTUNNEL);
            running.end().await;
        },
    );
}

#[test]
fn pinned_keys_are_read_again() {
    alone("callers::pinned_keys_are_read_again", async |mut world| {
        let (first, second) = (TokenIssuer::new(), TokenIssuer::new());
        pin(&mut world, &first);
        let running = world.start().await;
        running.issue_honestly(&world, &first).await;
        let token = first.token("default", "web");
        let request = with_token(&order(&world, &token), &token);
        fs::write(world.folder.join("pinned.json"), second.jwks()).unwrap();
        running
            .commands
            .send(sealwright_gate::server::Command::Reload)
            .await
            .unwrap();
        // The reload is on its way: until it is through, the old keys hold.
        loop {
            let token = second.token("default", "web");
            let request = with_token(&order(&world, &token), &token);
            if running.issue(request).await.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        refused(&running, "a token of keys that are gone", request, "caller_token").await;
        running.end().await;
    });
}

impl Running {
    async fn issue_honestly(&self, world: &World, issuer: &TokenIssuer) {
        let token = issuer.token("default", "web");
        let request = with_token(&order(world, &token), &token);
        self.issue(request).await.unwrap();
    }
}
