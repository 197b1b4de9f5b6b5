//! SoftHSM's own files, destroyed and put back.

use std::{fs, path::PathBuf};

use sealwright_hsm::{Error, softhsm::Restoration};
use sealwright_identity::KeyType;

use crate::support::{Home, Signer, block_on, generate, selector};

fn file_of_token(home: &Home, name: &str) -> PathBuf {
    let token = fs::read_dir(home.folder().tokens()).unwrap().next().unwrap();
    token.unwrap().path().join(name)
}

isolated! {
    fn a_token_object_cut_short_by_a_kill_is_put_back(home) {
        home.make_token();
        let token = home.open().unwrap();
        let key = generate(&token, "issuing", 1, KeyType::P256);
        drop(token);
        home.folder().keep_copy().unwrap();
        assert_eq!(home.folder().restore_if_destroyed().unwrap(), Restoration::Intact);

        // A login changes the file, and that is no damage.
        drop(home.open().unwrap());
        assert_eq!(home.folder().restore_if_destroyed().unwrap(), Restoration::Intact);

        let object = file_of_token(&home, "token.object");
        let whole = fs::read(&object).unwrap();
        for length in [0, 8, 40, whole.len() / 2, whole.len() - 1] {
            fs::write(&object, &whole[..length]).unwrap();
            assert_eq!(
                home.folder().restore_if_destroyed().unwrap(),
                Restoration::PutBack(vec![object.clone()])
            );
        }
        let token = home.open().unwrap();
        let again = token.find_key(key.selector()).unwrap();
        assert_eq!(again.spki_der(), key.spki_der());
        let signer = Signer::start(token, again, Default::default(), 1, 8, crate::support::AMPLE);
        block_on(signer.sign()).unwrap();
        signer.close();
    }

    fn without_its_object_file_the_token_is_absent(home) {
        home.make_token();
        fs::write(file_of_token(&home, "token.object"), b"").unwrap();
        assert_eq!(home.folder().restore_if_destroyed().unwrap(), Restoration::NoCopy);
        assert!(matches!(home.open(), Err(Error::TokenAbsent { .. })));
        assert!(selector("pkcs11:id=%01").to_string().ends_with("%01"));
    }
}
