//! A wrong PIN is tried once in its life.

use std::{fs, process::Stdio};

use sealwright_hsm::{
    Error, LoginAdvice, Metrics, PinMarker, PinSource, PinState, Refusal, Token, inspect, reset_pin_marker,
};

use crate::support::{USER_PIN, child};

isolated! {
    fn a_wrong_pin_is_never_tried_twice(home) {
        home.make_token();
        assert_eq!(
            inspect(&home.config(), home.path()).unwrap().login,
            LoginAdvice::Once
        );

        home.set_pin("wrong-pin");
        let metrics = Metrics::default();
        let refused = home.open_with(&metrics).unwrap_err();
        assert!(refused.is_pin());
        assert!(matches!(
            refused,
            Error::PinRefused { refusal: Refusal::Incorrect, .. }
        ));
        assert_eq!(metrics.logins(), 1);

        let marker = PinMarker::read(home.path()).unwrap().unwrap();
        assert_eq!(marker.refusal, Refusal::Incorrect);
        for _ in 0..2 {
            let remembered = home.open_with(&metrics).unwrap_err();
            assert!(remembered.is_pin());
            assert!(matches!(remembered, Error::PinRemembered { .. }));
        }
        assert_eq!(metrics.logins(), 1);

        let inspection = inspect(&home.config(), home.path()).unwrap();
        assert_eq!(inspection.login, LoginAdvice::MarkerSays(Refusal::Incorrect));
        assert_eq!(inspection.token.pin, PinState::CountLow);

        // Another PIN is tried, and the marker goes with its success.
        home.set_pin(USER_PIN);
        drop(home.open_with(&metrics).unwrap());
        assert_eq!(metrics.logins(), 2);
        assert_eq!(PinMarker::read(home.path()).unwrap(), None);
    }

    fn a_refusal_that_a_kill_kept_from_the_disk_is_not_forgotten(home) {
        home.make_token();
        home.set_pin("wrong-pin");
        let metrics = Metrics::default();
        home.open_with(&metrics).unwrap_err();
        // As the disk is when the process is killed after the token's answer.
        let marker = home.path().join("pin-refused");
        let text = fs::read_to_string(&marker).unwrap();
        let attempt = text.replacen('{', r#"{"unanswered":1,"#, 1);
        fs::write(home.path().join("pin-attempt"), attempt).unwrap();
        fs::remove_file(marker).unwrap();

        let remembered = home.open_with(&metrics).unwrap_err();
        assert!(remembered.is_pin());
        assert!(matches!(
            remembered,
            Error::PinRemembered { refusal: Refusal::Unanswered, .. }
        ));
        assert_eq!(metrics.logins(), 1);

        home.set_pin(USER_PIN);
        drop(home.open_with(&metrics).unwrap());
        assert!(!home.path().join("pin-attempt").exists());
    }

    fn a_good_login_that_was_cut_off_is_made_again(home) {
        home.make_token();
        let metrics = Metrics::default();
        drop(home.open_with(&metrics).unwrap());
        home.set_pin("wrong-pin");
        home.open_with(&metrics).unwrap_err();
        let refused = fs::read_to_string(home.path().join("pin-refused")).unwrap();
        home.set_pin(USER_PIN);
        drop(home.open_with(&metrics).unwrap());
        // The token has counted no wrong PIN since.
        let attempt = refused.replacen('{', r#"{"unanswered":2,"#, 1);
        fs::write(home.path().join("pin-attempt"), attempt).unwrap();
        home.set_pin("wrong-pin");
        assert!(matches!(
            home.open_with(&metrics).unwrap_err(),
            Error::PinRefused { .. }
        ));
        assert_eq!(metrics.logins(), 4);
    }

    fn a_reset_allows_one_more_try(home) {
        home.make_token();
        home.set_pin("wrong-pin");
        let metrics = Metrics::default();
        home.open_with(&metrics).unwrap_err();
        assert!(reset_pin_marker(home.path()).unwrap());
        assert!(matches!(
            inspect(&home.config(), home.path()).unwrap().login,
            LoginAdvice::TokenSays(PinState::CountLow)
        ));
        home.open_with(&metrics).unwrap_err();
        home.open_with(&metrics).unwrap_err();
        assert_eq!(metrics.logins(), 2);
    }

    fn a_pin_that_is_not_there_is_not_a_wrong_one(home) {
        home.make_token();
        fs::remove_file(home.path().join("pin")).unwrap();
        let error = home.open().unwrap_err();
        assert!(matches!(error, Error::Pin { .. }) && !error.is_pin());
        let mut config = home.config();
        config.pin = PinSource::Fd(9999);
        assert!(Token::open(&config, home.path()).unwrap_err().is_pin());
        assert_eq!(PinMarker::read(home.path()).unwrap(), None);
    }

    fn processes_that_start_together_find_their_token(home) {
        home.make_token();
        // Each login rewrites the token's file, and hides it from the others.
        let others: Vec<_> = (0..3)
            .map(|_| child("support::opener", &home).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
            .collect();
        for other in others {
            let output = other.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }

    fn a_login_that_hides_the_pin_is_refused(home) {
        home.make_token();
        let first = home.open().unwrap();
        home.set_pin("wrong-pin");
        assert!(matches!(home.open(), Err(Error::AlreadyLoggedIn { .. })));
        drop(first);
        home.set_pin(USER_PIN);
        home.open().unwrap();
    }
}
