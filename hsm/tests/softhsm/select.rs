//! One token, one key, or a clear error.

use std::fs;

use cryptoki::{mechanism::Mechanism, object::Attribute, types::AuthPin};
use sealwright_hsm::{
    Error, LoginAdvice, ModuleError, Pin, Token, TokenConfig, TokenSelector, inspect, provision,
};
use sealwright_identity::KeyType;

use crate::support::{Home, LABEL, SO_PIN, foreign_session, generate, module, pin, selector};

const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];

fn open(home: &Home, change: impl FnOnce(&mut TokenConfig)) -> Result<Token, Error> {
    let mut config = home.config();
    change(&mut config);
    Token::open(&config, home.path())
}

/// A key that this crate would not make.
fn odd_key(label: &str, id: u8, curve: &[u8], private: &[Attribute]) {
    let name = [
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(vec![id]),
    ];
    let public = [&name[..], &[Attribute::EcParams(curve.to_vec())]].concat();
    let private = [&name[..], &[Attribute::Private(true)], private].concat();
    foreign_session()
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        .unwrap();
}

isolated! {
    fn two_keys_of_one_label_are_refused(home) {
        home.make_token();
        let token = home.open().unwrap();
        generate(&token, "issuing", 1, KeyType::P256);
        odd_key("issuing", 2, P256, &[Attribute::Sign(true)]);
        assert!(matches!(
            token.find_key(&selector("pkcs11:object=issuing")),
            Err(Error::KeyAmbiguous { count: 2, .. })
        ));
        let first = token.find_key(&selector("pkcs11:object=issuing;id=%01")).unwrap();
        let second = token.find_key(&selector("pkcs11:id=%02")).unwrap();
        assert_ne!(first.spki_der(), second.spki_der());
        assert!(matches!(
            token.find_key(&selector("pkcs11:object=issuing;id=%03")),
            Err(Error::KeyAbsent { .. })
        ));
        // Even the same label and id are accepted by the token.
        odd_key("issuing", 1, P256, &[Attribute::Sign(true)]);
        assert!(matches!(
            token.find_key(&selector("pkcs11:object=issuing;id=%01")),
            Err(Error::KeyAmbiguous { .. })
        ));
    }

    fn keys_that_cannot_be_used_say_why(home) {
        home.make_token();
        let token = home.open().unwrap();
        odd_key("always", 1, P256, &[Attribute::AlwaysAuthenticate(true)]);
        odd_key("mute", 2, P256, &[Attribute::Sign(false)]);
        odd_key("large", 3, P521, &[Attribute::Sign(true)]);
        assert!(matches!(
            token.find_key(&selector("pkcs11:object=always")),
            Err(Error::KeyAlwaysAuthenticate { .. })
        ));
        assert!(matches!(
            token.find_key(&selector("pkcs11:object=mute")),
            Err(Error::KeyNotForSigning { .. })
        ));
        assert!(matches!(
            token.find_key(&selector("pkcs11:object=large")),
            Err(Error::KeyPublic { .. })
        ));
    }

    fn a_token_is_found_by_label_serial_and_uri(home) {
        home.make_token();
        let info = home.open().unwrap().info().clone();
        for selector in [
            TokenSelector::Serial(info.serial.clone()),
            TokenSelector::Uri("pkcs11:token=sealwright%20test".parse().unwrap()),
            TokenSelector::Uri(
                format!("pkcs11:serial={};slot-id={}", info.serial, info.slot).parse().unwrap(),
            ),
            TokenSelector::Uri("pkcs11:library-manufacturer=SoftHSM;library-version=2.6".parse().unwrap()),
        ] {
            let token = open(&home, |config| config.token = selector).unwrap();
            assert_eq!(token.info().label, LABEL);
        }
        for absent in ["pkcs11:token=another", "pkcs11:library-version=1", "pkcs11:slot-id=1"] {
            let error = open(&home, |config| {
                config.token = TokenSelector::Uri(absent.parse().unwrap());
            })
            .unwrap_err();
            assert!(matches!(&error, Error::TokenAbsent { seen, .. } if seen == &[LABEL]));
            assert!(!error.is_pin());
        }
    }

    fn two_tokens_of_one_label_are_refused(home) {
        home.make_token();
        assert!(matches!(
            provision::init_token(&module(), LABEL, &pin(SO_PIN), &pin("1234")),
            Err(Error::Exists { .. })
        ));
        let token = home.open().unwrap();
        let serial = token.info().serial.clone();
        let pkcs11 = cryptoki::context::Pkcs11::new(module()).unwrap();
        let free = pkcs11
            .get_slots_with_token()
            .unwrap()
            .into_iter()
            .find(|slot| !pkcs11.get_token_info(*slot).unwrap().token_initialized())
            .unwrap();
        pkcs11.init_token(free, &AuthPin::from("4321"), LABEL).unwrap();
        drop(token);
        assert!(matches!(home.open(), Err(Error::TokenAmbiguous { count: 2, .. })));
        let token = open(&home, |config| {
            config.token = TokenSelector::Serial(serial.clone());
        });
        assert_eq!(token.unwrap().info().serial, serial);
    }

    fn a_module_that_is_not_one_says_so(home) {
        home.set_pin("1234");
        let text = home.path().join("text.so");
        fs::write(&text, "no library").unwrap();
        for module in ["/nonexistent/module.so".into(), text] {
            let error = open(&home, |config| config.module = module).unwrap_err();
            assert!(matches!(error, Error::Module(ModuleError::Load { .. })));
            assert!(!error.is_pin());
        }
    }

    fn an_inspection_makes_no_login(home) {
        home.make_token();
        // No PIN is even read.
        fs::remove_file(home.path().join("pin")).unwrap();
        let inspection = inspect(&home.config(), home.path()).unwrap();
        assert_eq!(inspection.login, LoginAdvice::Once);
        assert_eq!(inspection.token.label, LABEL);
        assert!(inspection.mechanisms.iter().any(|name| name == "CKM_ECDSA"));
    }

    fn a_pin_for_a_new_token_must_be_text(home) {
        let _ = &home;
        assert!(matches!(
            provision::init_token(&module(), LABEL, &Pin::new(vec![0xff; 8]), &pin("1234")),
            Err(Error::Pin { .. })
        ));
    }
}
