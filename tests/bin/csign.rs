//! The raw rate of C_Sign: the physical limit that `sealwright bench` is held against.
//!
//! Makes a scratch token, one throwaway key in it, and signs on some threads for some seconds with
//! nothing around it: no request, no policy, no record. Not part of the product, whose code signs no
//! bare digest; it is started by `sealwright bench` as a process of its own, with `SOFTHSM2_CONF`
//! naming an empty token folder, and prints one line of JSON.
//!
//! `csign MODULE p256|p384|rsa3072 THREADS SECONDS`

use std::{
    env,
    process::ExitCode,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism,
    object::{Attribute, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "csign MODULE p256|p384|rsa3072 THREADS SECONDS";
const PIN: &str = "scratch";

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            #[expect(clippy::print_stdout, reason = "the answer")]
            {
                println!("{line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the reason")]
            {
                eprintln!("csign: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Failure> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or(USAGE);
    let (module, algorithm) = (next()?, next()?);
    let (threads, seconds): (usize, u64) = (next()?.parse()?, next()?.parse()?);
    let curve: &[u8] = match algorithm.as_str() {
        "p256" => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        "p384" => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
        "rsa3072" => &[],
        _ => return Err(USAGE.into()),
    };

    let pkcs11 = Pkcs11::new(module)?;
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slot = scratch_token(&pkcs11)?;
    let anchor = pkcs11.open_rw_session(slot)?;
    anchor.login(UserType::User, Some(&AuthPin::new(PIN.into())))?;
    let key = throwaway_key(&anchor, curve)?;

    // The digest's length, or PKCS#1's DigestInfo.
    let input = match algorithm.as_str() {
        "p256" => vec![0x5a; 32],
        "p384" => vec![0x5a; 48],
        _ => vec![0x5a; 51],
    };
    let rsa = curve.is_empty();
    let barrier = Arc::new(Barrier::new(threads + 1));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let session = pkcs11.open_ro_session(slot)?;
            let (barrier, input) = (Arc::clone(&barrier), input.clone());
            Ok(thread::spawn(move || {
                let mechanism = if rsa { Mechanism::RsaPkcs } else { Mechanism::Ecdsa };
                barrier.wait();
                sign_for(&session, &mechanism, key, &input, Duration::from_secs(seconds))
            }))
        })
        .collect::<Result<_, Failure>>()?;
    let before = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    barrier.wait();
    let mut signatures = 0_u64;
    for worker in workers {
        signatures += worker.join().map_err(|_| "a signing thread panicked")??;
    }
    let after = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let micros = (after.tv_sec - before.tv_sec) * 1_000_000 + (after.tv_nsec - before.tv_nsec) / 1000;
    Ok(serde_json::json!({
        "algorithm": algorithm,
        "threads": threads,
        "signatures": signatures,
        "signatures_per_second": signatures / seconds.max(1),
        "cpu_micros_per_signature": u64::try_from(micros)? / signatures.max(1),
    })
    .to_string())
}

fn scratch_token(pkcs11: &Pkcs11) -> Result<Slot, Failure> {
    let so_pin = AuthPin::new("scratch-so".into());
    let empty = *pkcs11
        .get_slots_with_token()?
        .first()
        .ok_or("the module has no slot")?;
    pkcs11.init_token(empty, &so_pin, "scratch")?;
    // SoftHSM gives a token another slot once it is initialised.
    let slot = *pkcs11
        .get_slots_with_initialized_token()?
        .first()
        .ok_or("the token is not there")?;
    let session = pkcs11.open_rw_session(slot)?;
    session.login(UserType::So, Some(&so_pin))?;
    session.init_pin(&AuthPin::new(PIN.into()))?;
    session.logout()?;
    Ok(slot)
}

/// A key as the product's own are: in the token, sensitive, not extractable. An empty curve means RSA.
fn throwaway_key(session: &Session, curve: &[u8]) -> Result<ObjectHandle, Failure> {
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ];
    let (mechanism, public) = if curve.is_empty() {
        let size = Attribute::ModulusBits(3072.into());
        let exponent = Attribute::PublicExponent(vec![1, 0, 1]);
        (
            Mechanism::RsaPkcsKeyPairGen,
            vec![Attribute::Token(true), size, exponent],
        )
    } else {
        let curve = Attribute::EcParams(curve.to_vec());
        (Mechanism::EccKeyPairGen, vec![Attribute::Token(true), curve])
    };
    Ok(session.generate_key_pair(&mechanism, &public, &private)?.1)
}

fn sign_for(
    session: &Session,
    mechanism: &Mechanism<'_>,
    key: ObjectHandle,
    input: &[u8],
    duration: Duration,
) -> Result<u64, Failure> {
    let clock = || rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let start = clock();
    let mut count = 0;
    loop {
        session.sign(mechanism, key, input)?;
        count += 1;
        let now = clock();
        let elapsed = (now.tv_sec - start.tv_sec) * 1_000_000_000 + (now.tv_nsec - start.tv_nsec);
        if u128::try_from(elapsed)? >= duration.as_nanos() {
            return Ok(count);
        }
    }
}
