use super::*;

const SAMPLE: &str = r#"
listen = "127.0.0.1:15012"
state = "front"
handshake_timeout = "10s"
request_timeout = "10s"
max_connections = 10000
max_in_work = 128
max_streams_per_connection = 1000
max_message_bytes = 4194304
max_buffered_bytes = 67108864
max_csr_bytes = 16384
legacy_csr_service = false
reflection = true
drain_timeout = "10s"
[tls]
min_version = "1.2"
"#;

#[test]
fn the_sample_says_the_defaults() {
    let sample: ServerConfig = toml::from_str(SAMPLE).unwrap();
    let default = ServerConfig::default();
    assert_eq!(format!("{sample:?}"), format!("{default:?}"));
    sample.validate().unwrap();
    PolicyHostConfig::default().validate().unwrap();
}

#[test]
fn unknown_keys_and_versions_are_refused() {
    for text in [
        "max_conections = 1",
        "[tls]\nmin_version = \"1.1\"",
        "request_timeout = \"0s\"",
    ] {
        toml::from_str::<ServerConfig>(text).unwrap_err();
    }
    toml::from_str::<PolicyHostConfig>("threds = 1").unwrap_err();
}

#[test]
fn what_could_not_work_is_refused_by_its_key() {
    let with = |text: &str| toml::from_str::<ServerConfig>(text).unwrap().validate();
    for key in [
        "max_connections",
        "max_in_work",
        "max_streams_per_connection",
        "max_message_bytes",
        "max_buffered_bytes",
        "max_csr_bytes",
    ] {
        assert_eq!(with(&format!("{key} = 0")), Err(ConfigError::Zero { key }));
    }
    assert_eq!(
        with("max_buffered_bytes = 1048576"),
        Err(ConfigError::BufferBelowMessage {
            buffered: 1 << 20,
            message: 4 << 20
        })
    );
    assert!(matches!(
        with("max_message_bytes = 1024\nmax_buffered_bytes = 65535"),
        Err(ConfigError::TooSmall { .. })
    ));
    assert!(matches!(
        with("max_message_bytes = 4294967295"),
        Err(ConfigError::TooLarge { .. })
    ));
    let rate = |text: &str| with(&format!("[identity_rate]\n{text}"));
    rate("certificates_per_second = 5\nburst = 20").unwrap();
    rate("certificates_per_second = 0.5\nburst = 1").unwrap();
    assert_eq!(
        rate("certificates_per_second = 1\nburst = 0"),
        Err(ConfigError::Burst)
    );
    for value in ["0.0", "-1.0", "0.001", "nan", "inf", "1e7"] {
        let error = rate(&format!("certificates_per_second = {value}\nburst = 1")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("server.identity_rate.certificates_per_second"),
            "{text}"
        );
    }
    toml::from_str::<ServerConfig>("[identity_rate]\ncertificates_per_second = 5.0").unwrap_err();
    let host: PolicyHostConfig = toml::from_str("threads = 2\nepoch_deadline = \"1s\"").unwrap();
    host.validate().unwrap();
    let shadows: PolicyHostConfig = toml::from_str("front_shadows = 17").unwrap();
    assert_eq!(shadows.validate(), Err(ConfigError::FrontShadows { asked: 17 }));
}
