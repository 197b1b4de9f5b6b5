//! What a key that was just made must say of itself, one table for each custody. The tables are those of the template
//! that it is made by ([`KeyOrder`]).
//!
//! Every attribute of the table is read back. What the token says otherwise is a deviation; what it does not tell is
//! *not reported*, and accepted only where the plan names it. Nothing is assumed.

use sealwright_hsm::ceremony::{self, Expected, KeyOrder, Reported};
use sealwright_identity::KeyType;
use sealwright_x509::spki::ML_DSA_65_KEY;
use serde::{Deserialize, Serialize};

use crate::plan::Custody;

/// Both halves of a key, as the token reports them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PairReport {
    pub(crate) private: Reported,
    pub(crate) public: Reported,
}

/// What was ordered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordered<'a> {
    pub(crate) label: &'a str,
    pub(crate) id: &'a [u8],
    pub(crate) key_type: KeyType,
    pub(crate) custody: Custody,
    /// Whether the token took `CKA_ALLOWED_MECHANISMS`.
    pub(crate) restricted: bool,
    /// The public key that certificates will hold.
    pub(crate) spki: &'a [u8],
    pub(crate) accept_not_reported: &'a [String],
}

impl Ordered<'_> {
    fn order(&self) -> KeyOrder {
        KeyOrder {
            label: self.label.to_owned(),
            id: self.id.to_vec(),
            key_type: self.key_type,
            restrict: self.restricted,
        }
    }
}

/// Compares; gives the accepted attributes that were not reported, as `private CKA_…`.
///
/// # Errors
/// With everything that deviates.
pub(crate) fn check(report: &PairReport, ordered: &Ordered<'_>) -> Result<Vec<String>, Vec<String>> {
    let mut deviations = Vec::new();
    let mut silent = Vec::new();
    let halves = [
        ("private", &report.private, private(ordered)),
        ("public", &report.public, public(ordered)),
    ];
    for (half, reported, table) in halves {
        deviations.extend(ceremony::deviations(half, reported, table, |name| {
            let mut accepted = ordered.accept_not_reported.iter();
            if accepted.any(|accepted| accepted == name) {
                silent.push(format!("{half} {name}"));
                return None;
            }
            Some(format!(
                "{half} {name} is not reported (a plan accepts that by `accept_not_reported`)"
            ))
        }));
    }
    if !holds(&report.public, ordered) {
        deviations.push("the public attributes are not those of the public key".to_owned());
    }
    if deviations.is_empty() {
        Ok(silent)
    } else {
        Err(deviations)
    }
}

fn private(ordered: &Ordered<'_>) -> Expected {
    match ordered.custody {
        // A vendor's clone goes from token to token by the vendor's means: the key stays one that cannot be extracted.
        Custody::HsmOnly | Custody::VendorClone | Custody::Wrapped => ordered.order().expected_private(),
    }
}

fn public(ordered: &Ordered<'_>) -> Expected {
    ordered.order().expected_public()
}

/// Whether the public key in certificates is the one that the token reports.
fn holds(public: &Reported, ordered: &Ordered<'_>) -> bool {
    let told = |name: &str| public.get(name).cloned().flatten().unwrap_or_default();
    let spki = hex::encode(ordered.spki);
    match ordered.key_type {
        // Wrapped in an octet string, or bare.
        KeyType::P256 | KeyType::P384 | KeyType::Ed25519 => {
            let octets = match ordered.key_type {
                KeyType::P256 => 65,
                KeyType::P384 => 97,
                _ => 32,
            };
            let point = told("CKA_EC_POINT");
            let start = point.len().saturating_sub(2 * octets);
            let point = point.get(start..).unwrap_or_default();
            point.len() == 2 * octets && spki.ends_with(point)
        }
        KeyType::Rsa(bits) => {
            let modulus = told("CKA_MODULUS");
            let modulus = modulus.trim_start_matches("00");
            u64::try_from(modulus.len()) == Ok(u64::from(bits) / 4) && spki.contains(modulus)
        }
        KeyType::MlDsa65 => {
            let value = told("CKA_VALUE");
            value.len() == 2 * ML_DSA_65_KEY && spki.ends_with(&value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered<'a>(spki: &'a [u8], accept: &'a [String]) -> Ordered<'a> {
        Ordered {
            label: "root",
            id: &[1, 2],
            key_type: KeyType::P256,
            custody: Custody::HsmOnly,
            restricted: true,
            spki,
            accept_not_reported: accept,
        }
    }

    fn good(ordered: &Ordered<'_>) -> PairReport {
        let told = |table: Expected| -> Reported {
            let told = table.into_iter();
            told.map(|(name, value)| (name.to_owned(), Some(value))).collect()
        };
        let mut report = PairReport {
            private: told(private(ordered)),
            public: told(public(ordered)),
        };
        let point = hex::encode([4; 65]);
        report
            .public
            .insert("CKA_EC_POINT".to_owned(), Some(format!("0441{point}")));
        report
    }

    /// Each attribute of the table alone, told otherwise and not told.
    #[test]
    fn every_attribute_counts() {
        let spki = [4; 65];
        let order = ordered(&spki, &[]);
        let report = good(&order);
        assert_eq!(check(&report, &order), Ok(vec![]));
        let names: Vec<_> = report.private.keys().cloned().collect();
        assert!(names.len() >= 18);
        for name in names {
            for told in [Some("odd".to_owned()), None] {
                let mut other = report.clone();
                other.private.insert(name.clone(), told);
                let deviations = check(&other, &order).unwrap_err();
                assert!(deviations[0].contains(&name), "{deviations:?}");
            }
        }
        for name in report.public.keys() {
            let mut other = report.clone();
            other.public.insert(name.clone(), None);
            check(&other, &order).unwrap_err();
        }
        let another = [5; 65];
        check(&report, &ordered(&another, &[])).unwrap_err();
    }

    /// The parameter set of both halves, and the key itself.
    #[test]
    fn an_ml_dsa_key_is_of_its_parameter_set() {
        let spki = [9; 22 + 1952];
        let order = Ordered {
            key_type: KeyType::MlDsa65,
            ..ordered(&spki, &[])
        };
        let mut report = good(&order);
        report
            .public
            .insert("CKA_VALUE".to_owned(), Some(hex::encode([9; 1952])));
        assert_eq!(check(&report, &order), Ok(vec![]));
        assert_eq!(report.private["CKA_KEY_TYPE"].as_deref(), Some("CKK_ML_DSA"));
        for told in [Some("CKP_ML_DSA_44".to_owned()), None] {
            for private in [true, false] {
                let mut other = report.clone();
                let half = if private {
                    &mut other.private
                } else {
                    &mut other.public
                };
                half.insert("CKA_PARAMETER_SET".to_owned(), told.clone());
                let deviations = check(&other, &order).unwrap_err();
                assert!(deviations[0].contains("CKA_PARAMETER_SET"), "{deviations:?}");
            }
        }
        for value in [hex::encode([9; 1951]), hex::encode([8; 1952])] {
            let mut other = report.clone();
            other.public.insert("CKA_VALUE".to_owned(), Some(value));
            check(&other, &order).unwrap_err();
        }
    }

    #[test]
    fn what_is_not_reported_is_accepted_only_where_the_plan_says_so() {
        let accept = ["CKA_LOCAL".to_owned()];
        let spki = [4; 65];
        let order = ordered(&spki, &accept);
        let mut report = good(&order);
        report.private.insert("CKA_LOCAL".to_owned(), None);
        assert_eq!(check(&report, &order), Ok(vec!["private CKA_LOCAL".to_owned()]));
        report
            .private
            .insert("CKA_LOCAL".to_owned(), Some("false".to_owned()));
        check(&report, &order).unwrap_err();
    }
}
