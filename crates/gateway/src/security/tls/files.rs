//! Certificates and keys in PEM files.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject as _},
};

/// Largest file, in bytes.
pub(crate) const BYTES_MAX: usize = 1024 * 1024;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("`{path}` cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds nothing that we look for.
    #[error("`{path}` holds no {what} in PEM form")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
}

/// A whole file.
///
/// # Errors
/// It cannot be read, or is larger than `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut content)?;
    if content.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {bytes_max} bytes")));
    }
    Ok(content)
}

/// A file with PEM in it.
pub(crate) fn pem(path: &Path) -> Result<Vec<u8>, FileError> {
    read(path, BYTES_MAX).map_err(|source| FileError::Read { path: path.to_owned(), source })
}

/// The certificates in a text.
pub(crate) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(FileError::Content { path: path.to_owned(), what: "certificate" }),
    }
}

/// The lists of revoked certificates in a text.
pub(crate) fn revoked(path: &Path, pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, FileError> {
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    match found {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        _ => Err(FileError::Content { path: path.to_owned(), what: "list of revoked certificates" }),
    }
}

/// The private key in a text.
pub(crate) fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, FileError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| FileError::Content { path: path.to_owned(), what: "private key" })
}

/// The roots in a file.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, FileError> {
    roots_of(path, &pem(path)?)
}

/// The roots in a text.
pub(crate) fn roots_of(path: &Path, pem: &[u8]) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(path, pem)?);
    if added == 0 {
        return Err(FileError::Content { path: path.to_owned(), what: "root certificate that can be used" });
    }
    Ok(roots)
}
