use std::collections::BTreeMap;

use proptest::prelude::*;
use prost_types::ListValue;

use super::super::context::RequestId;
use super::*;

fn context() -> RequestContext {
    RequestContext {
        id: RequestId::random(),
        method: "test",
        deadline: tokio::time::Instant::now(),
        claimed_cluster: None,
    }
}

fn metadata<const N: usize>(members: [(&str, Kind); N]) -> Struct {
    let fields = members
        .into_iter()
        .map(|(name, kind)| (name.to_owned(), Value { kind: Some(kind) }))
        .collect();
    Struct { fields }
}

fn text(text: &str) -> Kind {
    Kind::StringValue(text.to_owned())
}

fn order(seconds: i64, metadata: Option<&Struct>) -> Result<CertificateOrder, RequestError> {
    CertificateOrder::new(b"csr".to_vec(), seconds, metadata, context())
}

#[test]
fn lifetimes_are_seconds_and_never_negative() {
    for (seconds, expected) in [(0, 0), (1, 1), (86_400, 86_400), (i64::MAX, i64::MAX as u64)] {
        assert_eq!(order(seconds, None).unwrap().requested_seconds(), expected);
    }
    for seconds in [-1, i64::MIN] {
        let error = order(seconds, None).unwrap_err();
        let RequestError::Order(OrderError::NegativeLifetime { seconds: told }) = error else {
            panic!("{error:?}");
        };
        assert_eq!(told, seconds);
    }
}

#[test]
fn the_signer_is_a_string_or_nothing() {
    let empty = Struct::default();
    assert_eq!(order(0, None).unwrap().cert_signer(), "");
    assert_eq!(order(0, Some(&empty)).unwrap().cert_signer(), "");
    for (kind, expected) in [(text(""), ""), (text("east"), "east"), (Kind::NullValue(0), "")] {
        let order = order(0, Some(&metadata([(CERT_SIGNER, kind)]))).unwrap();
        assert_eq!(order.cert_signer(), expected);
    }
    let number = metadata([(CERT_SIGNER, Kind::NumberValue(1.0))]);
    let error = order(0, Some(&number)).unwrap_err();
    assert!(matches!(error, RequestError::Order(OrderError::SignerNotString)));
}

#[test]
fn to_act_for_another_is_to_name_it() {
    let asked = |kind| {
        let sent = metadata([(IMPERSONATED_IDENTITY, kind)]);
        let order = order(0, Some(&sent)).unwrap();
        order.impersonated().map(str::to_owned)
    };
    for kind in [text(""), Kind::NullValue(0), Kind::BoolValue(true)] {
        assert_eq!(asked(kind), None);
    }
    let other = "spiffe://cluster.local/ns/a/sa/b";
    assert_eq!(asked(text(other)).as_deref(), Some(other));
}

#[test]
fn unknown_metadata_becomes_claims_and_canonical_json() {
    let list = Kind::ListValue(ListValue {
        values: vec![Value {
            kind: Some(text("x")),
        }],
    });
    let sent = metadata([
        ("b", text("two")),
        ("a", list),
        (CERT_SIGNER, text("")),
        ("n", Kind::NumberValue(5.0)),
    ]);
    let order = order(0, Some(&sent)).unwrap();
    let expected: BTreeMap<String, String> = [("a", "[\"x\"]"), ("b", "two"), ("n", "5")]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();
    assert_eq!(order.claims(), &expected);
    assert_eq!(order.metadata(), r#"{"CertSigner":"","a":["x"],"b":"two","n":5}"#);
}

#[test]
fn the_claimed_cluster_is_a_claim_that_metadata_cannot_lose() {
    let context = RequestContext {
        claimed_cluster: Some("east".to_owned()),
        ..context()
    };
    let order = CertificateOrder::new(Vec::new(), 0, None, context).unwrap();
    assert_eq!(order.claims().get("clusterid").map(String::as_str), Some("east"));
}

#[test]
fn metadata_is_bounded() {
    let sent = metadata([("a", text(&"x".repeat(MAX_METADATA_BYTES)))]);
    let error = order(0, Some(&sent)).unwrap_err();
    assert!(matches!(error, RequestError::Order(OrderError::MetadataTooLarge)));
    let sent = metadata([("a", Kind::NumberValue(f64::NAN))]);
    let error = order(0, Some(&sent)).unwrap_err();
    assert!(matches!(error, RequestError::Order(OrderError::MetadataNotJson)));
}

#[test]
fn a_request_that_was_not_admitted_is_no_order() {
    let request = tonic::Request::new(IstioCertificateRequest::default());
    let error = CertificateOrder::try_from(request).unwrap_err();
    assert!(matches!(error, RequestError::NotAdmitted));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(None),
        Just(Some(Kind::NullValue(0))),
        any::<bool>().prop_map(|value| Some(Kind::BoolValue(value))),
        any::<f64>().prop_map(|value| Some(Kind::NumberValue(value))),
        ".{0,12}".prop_map(|value| Some(Kind::StringValue(value))),
    ]
    .prop_map(|kind| Value { kind });
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| Value {
                kind: Some(Kind::ListValue(ListValue { values })),
            }),
            prop::collection::btree_map(".{0,6}", inner, 0..4).prop_map(|fields| Value {
                kind: Some(Kind::StructValue(Struct { fields })),
            }),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_metadata_never_panics(
        mut fields in prop::collection::btree_map(".{0,8}", any_value(), 0..6),
        signer in proptest::option::of(any_value()),
        impersonated in proptest::option::of(any_value()),
        seconds in any::<i64>(),
    ) {
        fields.extend(signer.map(|value| (CERT_SIGNER.to_owned(), value)));
        fields.extend(impersonated.map(|value| (IMPERSONATED_IDENTITY.to_owned(), value)));
        if let Ok(order) = order(seconds, Some(&Struct { fields })) {
            prop_assert!(order.metadata().len() <= MAX_METADATA_BYTES);
            let json: serde_json::Value = serde_json::from_str(order.metadata()).unwrap();
            prop_assert!(json.is_object());
        }
    }
}
