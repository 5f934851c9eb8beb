//! Certificates and keys out of PEM, and what is wrong with one that gives none. Pure.

use openssl::{
    pkey::{PKey, Private},
    x509::X509,
};

use crate::Error;

/// All certificates in a PEM, of which there must be one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<X509>, Error> {
    let found = X509::stack_from_pem(pem)
        .map_err(|stack| Error::explained(stack, "a certificate in the PEM is damaged"))?;
    if !found.is_empty() {
        return Ok(found);
    }
    let instead = labels(pem).next().map_or_else(String::new, |label| format!(": it has a {label}"));
    Err(Error::configuration(format!("there is no certificate in the PEM{instead}")))
}

/// The private key in a PEM.
pub(crate) fn private_key(pem: &[u8]) -> Result<PKey<Private>, Error> {
    let Some(label) = labels(pem).find(|label| label.ends_with("PRIVATE KEY")) else {
        let instead = labels(pem).next().map_or_else(String::new, |label| format!(": it has a {label}"));
        return Err(Error::configuration(format!("there is no private key in the PEM{instead}")));
    };
    let encrypted = label.starts_with("ENCRYPTED") || contains(pem, b"Proc-Type: 4,ENCRYPTED");
    // OpenSSL would ask for the pass phrase at the terminal.
    PKey::private_key_from_pem_callback(pem, |_| Ok(0)).map_err(|stack| {
        let why = if encrypted {
            "the private key is encrypted: give it without a pass phrase, as `openssl pkey` writes it"
        } else {
            "the private key is damaged"
        };
        Error::explained(stack, why)
    })
}

/// What the blocks of a PEM say they are.
fn labels(pem: &[u8]) -> impl Iterator<Item = &str> {
    let lines = pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let labels = lines.filter_map(|line| line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----"));
    labels.filter_map(|label| std::str::from_utf8(label).ok())
}

fn contains(pem: &[u8], what: &[u8]) -> bool {
    pem.windows(what.len()).any(|window| window == what)
}

#[cfg(test)]
mod tests {
    use openssl::symm::Cipher;

    use super::*;
    use crate::{ErrorKind, Identity};

    fn says(error: Error) -> String {
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.to_string()
    }

    #[test]
    fn what_is_wrong_with_a_pem_is_told() {
        let one = Identity::self_signed(&["one"]).unwrap();
        let (certificate, key) = (one.certificate_pem().unwrap(), one.key_pem().unwrap());
        let damaged = |pem: &[u8]| String::from_utf8(pem.to_vec()).unwrap().replace("MI", "AA").into_bytes();
        let pkcs8 = one.key().private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
        let of_old = one.key().ec_key().unwrap();
        let of_old = of_old.private_key_to_pem_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
        let other = Identity::self_signed(&["other"]).unwrap().key_pem().unwrap();
        let cases: [(&[u8], &[u8], &str); 9] = [
            (b"", &key, "there is no certificate in the PEM"),
            (&key, &key, "there is no certificate in the PEM: it has a PRIVATE KEY"),
            (&damaged(&certificate), &key, "a certificate in the PEM is damaged"),
            (&certificate, b"no PEM at all", "there is no private key in the PEM"),
            (&certificate, &certificate, "there is no private key in the PEM: it has a CERTIFICATE"),
            (&certificate, &pkcs8, "the private key is encrypted"),
            (&certificate, &of_old, "the private key is encrypted"),
            (&certificate, &damaged(&key), "the private key is damaged"),
            (&certificate, &other, "the key is not that of the certificate"),
        ];
        for (chain, key, expected) in cases {
            let said = says(Identity::from_pem(chain, key).err().unwrap());
            let about = said.strip_prefix("the configuration is no good: ").unwrap();
            assert!(about.starts_with(expected) && !about.contains("PEM lib"), "{said}: {expected}");
        }
        assert!(
            Identity::from_pem(&[&*key, &*certificate].concat(), &[&*certificate, &*key].concat()).is_ok()
        );
    }
}
