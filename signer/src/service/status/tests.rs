use sealwright_policy_wasm::AbortReason;

use super::*;

fn id() -> RequestId {
    RequestId::random()
}

fn denial() -> Denial {
    Denial {
        policy: "baseline".to_owned(),
        code: "NAMESPACE".to_owned(),
        message: "the namespace is not allowed".to_owned(),
        field: "caller.kubernetes.namespace".to_owned(),
        hint: "ask the owner".to_owned(),
    }
}

fn unavailable() -> ClientError {
    ClientError::Unavailable {
        reason: "the token is away".to_owned(),
    }
}

/// The rows of Istio's own table that apply, and ours; `true` in the middle where Istio differs.
#[test]
fn every_error_has_its_code() {
    let message = || "m".to_owned();
    let rows: Vec<(RequestError, bool, Code, Option<&str>)> = vec![
        (RequestError::NotAdmitted, false, Code::Unauthenticated, None),
        (
            AuthorizationError::Impersonation(denial().into()).into(),
            false,
            Code::Unauthenticated,
            None,
        ),
        (
            RequestError::MessageTooLarge { bytes: 2, limit: 1 },
            false,
            Code::ResourceExhausted,
            None,
        ),
        (RequestError::MessageMalformed, true, Code::InvalidArgument, None),
        (RequestError::Overloaded, true, Code::ResourceExhausted, None),
        (
            RequestError::QueueFull {
                retry_after: Duration::from_millis(100),
            },
            true,
            Code::ResourceExhausted,
            None,
        ),
        (
            RequestError::RateLimited {
                retry_after: Duration::from_nanos(1_500_000_001),
            },
            true,
            Code::ResourceExhausted,
            None,
        ),
        (RequestError::DeadlineExceeded, true, Code::DeadlineExceeded, None),
        (
            OrderError::NegativeLifetime { seconds: -1 }.into(),
            true,
            Code::InvalidArgument,
            Some("TTL_ERROR"),
        ),
        (
            OrderError::TooLarge { bytes: 2, limit: 1 }.into(),
            true,
            Code::InvalidArgument,
            Some("CSR_ERROR"),
        ),
        (
            OrderError::SignerNotString.into(),
            true,
            Code::InvalidArgument,
            Some("CSR_ERROR"),
        ),
        (
            CsrError::Empty.into(),
            false,
            Code::InvalidArgument,
            Some("CSR_ERROR"),
        ),
        (
            CsrError::Signature.into(),
            false,
            Code::InvalidArgument,
            Some("CSR_ERROR"),
        ),
        (
            AuthorizationError::LifetimeTooLong {
                requested: 3,
                maximum: 2,
            }
            .into(),
            false,
            Code::InvalidArgument,
            Some("TTL_ERROR"),
        ),
        (
            AuthorizationError::UnknownIssuer { name: message() }.into(),
            true,
            Code::InvalidArgument,
            Some("CERT_GEN_ERROR"),
        ),
        (
            AuthorizationError::Denied(denial().into()).into(),
            true,
            Code::PermissionDenied,
            Some("CERT_GEN_ERROR"),
        ),
        (
            AuthorizationError::Aborted {
                policy: None,
                reason: AbortReason::QueueFull,
            }
            .into(),
            true,
            Code::ResourceExhausted,
            Some("CERT_GEN_ERROR"),
        ),
        (
            AuthorizationError::Gate(unavailable()).into(),
            true,
            Code::Unavailable,
            Some("CA_NOT_READY"),
        ),
        (
            unavailable().into(),
            true,
            Code::Unavailable,
            Some("CA_NOT_READY"),
        ),
        (
            ClientError::Deadline.into(),
            true,
            Code::Unavailable,
            Some("CERT_GEN_ERROR"),
        ),
        (
            ClientError::Overloaded { retry_after: None }.into(),
            true,
            Code::ResourceExhausted,
            Some("CERT_GEN_ERROR"),
        ),
        (
            ClientError::Denied { message: message() }.into(),
            true,
            Code::PermissionDenied,
            Some("CERT_GEN_ERROR"),
        ),
        (
            ClientError::Internal { message: message() }.into(),
            false,
            Code::Internal,
            Some("CERT_GEN_ERROR"),
        ),
        (
            ClientError::Invalid { message: message() }.into(),
            false,
            Code::Internal,
            Some("CERT_GEN_ERROR"),
        ),
        (
            PrepareError::Lint(Vec::new()).into(),
            false,
            Code::Internal,
            Some("CERT_GEN_ERROR"),
        ),
    ];
    for (error, _differs, code, label) in rows {
        let status = error.to_status(&id());
        assert_eq!(status.code(), code, "{error:?}");
        assert_eq!(error.sign_error(), label, "{error:?}");
    }
}

#[test]
fn the_unauthenticated_learn_two_fixed_texts() {
    let refused = RequestError::from(AuthorizationError::Impersonation(denial().into()));
    let statuses = [
        (RequestError::NotAdmitted.to_status(&id()), UNAUTHENTICATED),
        (refused.to_status(&id()), IMPERSONATION_REFUSED),
    ];
    for (status, text) in statuses {
        assert_eq!(status.message(), text);
        assert!(status.details().is_empty() && status.metadata().is_empty());
    }
}

#[test]
fn a_credential_that_nobody_could_judge_is_worth_another_try() {
    let status = RequestError::Unauthenticated(AuthenticationFailure::away()).to_status(&id());
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), NOT_AUTHENTICATED_NOW);
    let details = status.get_error_details();
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(RETRY_DELAY));
    assert!(details.error_info().is_none());
}

#[test]
fn a_denial_says_what_and_why() {
    let id = id();
    let status = RequestError::from(AuthorizationError::Denied(denial().into())).to_status(&id);
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        ("NAMESPACE", DOMAIN)
    );
    assert_eq!(info.metadata["policy"], "baseline");
    assert_eq!(info.metadata["hint"], "ask the owner");
    assert_eq!(info.metadata["field"], "caller.kubernetes.namespace");
    assert_eq!(info.metadata["request_id"], id.as_str());
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert_eq!(violation.field, "caller.kubernetes.namespace");
    assert_eq!(status.message(), "NAMESPACE: the namespace is not allowed");
}

#[test]
fn an_overload_says_when_to_come_back() {
    let wish = Duration::from_millis(250);
    let overloaded = ClientError::Overloaded {
        retry_after: Some(wish),
    };
    for (error, delay) in [
        (RequestError::from(overloaded), wish),
        (RequestError::Overloaded, RETRY_DELAY),
        (
            AuthorizationError::Aborted {
                policy: None,
                reason: AbortReason::Epoch,
            }
            .into(),
            RETRY_DELAY,
        ),
    ] {
        let details = error.to_status(&id()).get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(delay));
    }
}

#[test]
fn our_own_faults_are_opaque_but_named() {
    let secret = "the PIN file is /secret";
    let id = id();
    let error = RequestError::from(ClientError::Internal {
        message: secret.to_owned(),
    });
    let status = error.to_status(&id);
    assert!(error.is_internal());
    assert!(!status.message().contains(secret));
    assert!(status.message().contains(id.as_str()));
    let unavailable = RequestError::from(unavailable()).to_status(&id);
    assert!(!unavailable.message().contains("token"));
}

#[test]
fn a_lifetime_above_the_maximum_names_both() {
    let error = RequestError::from(AuthorizationError::LifetimeTooLong {
        requested: 10_800,
        maximum: 7_200,
    });
    let status = error.to_status(&id());
    assert!(status.message().starts_with("CSR signing error ("));
    assert!(status.message().contains("10800 s") && status.message().contains("7200 s"));
}

/// grpc-go and others refuse trailers beyond 8 KiB: the caller would then learn nothing at all.
#[test]
fn the_longest_denial_fits_into_trailers() {
    let long = || "\u{00e9}".repeat(4096);
    let denial = Denial {
        policy: long(),
        code: long(),
        message: long(),
        field: long(),
        hint: long(),
    };
    let error = RequestError::from(AuthorizationError::Denied(denial.into()));
    let headers = error.to_status(&id()).into_http::<()>().into_parts().0.headers;
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    assert!(bytes < 8 << 10, "{bytes}");
    let text = headers["grpc-message"].to_str().unwrap();
    assert!(text.ends_with("%E2%80%A6"), "{text}");
}

#[test]
fn a_rate_says_exactly_when_and_that_it_is_one() {
    let retry_after = Duration::from_nanos(1_500_000_001);
    let status = RequestError::RateLimited { retry_after }.to_status(&id());
    let details = status.get_error_details();
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(retry_after));
    assert_eq!(details.error_info().unwrap().reason, RATE);
}
