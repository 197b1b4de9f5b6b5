//! Makes a SoftHSM token with an issuing and a health key; `softhsm/provision.sh`
//! runs it. Not part of the product: `sealwright dev` calls the same functions.
//!
//! `provision HOME LABEL KEY-TYPE`: PINs are read from `HOME/pin` and
//! `HOME/so-pin`, so that no argument ever holds one.

use std::{
    env,
    error::Error,
    io::{self, Write},
    path::Path,
};

use sealwright_hsm::{PinSource, Token, TokenConfig, TokenSelector, provision, softhsm::TokenFolder};
use sealwright_identity::KeyType;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [home, label, key_type] = arguments.as_slice() else {
        return Err("usage: provision HOME LABEL KEY-TYPE".into());
    };
    let key_type: KeyType = key_type.parse()?;
    let home = Path::new(home);
    let module =
        env::var("SEALWRIGHT_PKCS11_MODULE").unwrap_or_else(|_| "/usr/lib/softhsm/libsofthsm2.so".into());
    let folder = TokenFolder::from_environment().ok_or("SOFTHSM2_CONF names no token folder")?;

    let user_pin = PinSource::File(home.join("pin"));
    let so_pin = PinSource::File(home.join("so-pin")).read(label)?;
    provision::init_token(Path::new(&module), label, &so_pin, &user_pin.read(label)?)?;
    let config = TokenConfig::new(module, TokenSelector::Label(label.clone()), user_pin);
    let token = Token::open(&config, home)?;
    provision::generate_key_pair(&token, "issuing", &[1], key_type)?;
    provision::generate_key_pair(&token, "health", &[2], KeyType::P256)?;
    let info = token.info().clone();
    drop(token);
    folder.keep_copy()?;
    writeln!(
        io::stdout(),
        "pkcs11:token={label};serial={}: keys `issuing` ({key_type}) and `health`",
        info.serial
    )?;
    Ok(())
}
