//! Who a certificate is for. The certificate has been checked before; this only reads its names.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Longest name that is taken from a certificate, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// The name in a certificate: its URI (SPIFFE has it there), else its DNS name, else its e-mail address, else its common
/// name. `None` when it has none that can be used.
pub(crate) fn name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let find = |read: fn(&GeneralName<'_>) -> Option<String>| names.iter().find_map(read);
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(text) => Some((*text).to_owned()),
        _ => None,
    };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(text) => Some((*text).to_owned()),
        _ => None,
    };
    let mail = |name: &GeneralName<'_>| match name {
        GeneralName::RFC822Name(text) => Some((*text).to_owned()),
        _ => None,
    };
    let common = || certificate.subject().iter_common_name().next()?.as_str().ok().map(str::to_owned);
    let name = find(uri).or_else(|| find(dns)).or_else(|| find(mail)).or_else(common)?;
    (1..=NAME_BYTES_MAX).contains(&name.len()).then_some(name)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>, common: Option<&str>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_most_telling_name_counts() {
        let uri = || SanType::URI("spiffe://mesh/ns/a/sa/b".try_into().unwrap());
        let dns = || SanType::DnsName("b.mesh".try_into().unwrap());
        let mail = || SanType::Rfc822Name("b@mesh".try_into().unwrap());
        for (names, common, expected) in [
            (vec![mail(), dns(), uri()], Some("b"), Some("spiffe://mesh/ns/a/sa/b")),
            (vec![mail(), dns()], Some("b"), Some("b.mesh")),
            (vec![mail()], Some("b"), Some("b@mesh")),
            (vec![], Some("b"), Some("b")),
            (vec![], None, None),
        ] {
            assert_eq!(name(&certificate(names, common)).as_deref(), expected);
        }
        assert_eq!(name(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
