//! Files of TLS: authorities, certificates and keys in PEM. What is made of them is in the file above.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::client::VerifierBuilderError;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinError;

use crate::system::files::{self, FileError, Trust};

/// Most bytes of a file, 1 MiB: the authorities of a Debian are 220 KB.
const MOST: u64 = 1 << 20;

/// A file as it was: inode, size and time of change (seconds and nanoseconds).
pub(super) type Stamp = (u64, u64, i64, i64);

/// Why a configuration cannot be made.
#[derive(Debug)]
pub(super) enum Unusable {
    /// A file cannot be read.
    File(String, FileError),
    /// A file has no certificate.
    NoCertificate(String, Option<pem::Error>),
    /// A file has no key.
    NoKey(String, pem::Error),
    /// A certificate of a file is no authority.
    NoAuthority(String, rustls::Error),
    /// A certificate and a key are not of one another, or of a kind that is not known.
    Unfit { certificate: String, key: String, error: rustls::Error },
    /// Nothing can be verified by the authorities.
    Authorities(VerifierBuilderError),
    /// No version of TLS is left.
    Protocol(rustls::Error),
    /// The thread that read the files has ended.
    Lost(JoinError),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, error) => write!(f, "{file} cannot be read: {error}"),
            Self::NoCertificate(file, None) => write!(f, "{file} has no certificate"),
            Self::NoCertificate(file, Some(error)) => write!(f, "{file} has no certificate: {error}"),
            Self::NoKey(file, error) => write!(f, "{file} has no key: {error}"),
            Self::NoAuthority(file, error) => write!(f, "{file} has no usable authority: {error}"),
            Self::Unfit { certificate, key, error } => {
                write!(f, "{certificate} and {key} cannot be used: {error}")
            }
            Self::Authorities(error) => write!(f, "no authorities: {error}"),
            Self::Protocol(error) => error.fmt(f),
            Self::Lost(error) => error.fmt(f),
        }
    }
}

/// A file as it is now.
pub(super) fn stamp(file: &str) -> Result<Stamp, Unusable> {
    let metadata =
        std::fs::metadata(file).map_err(|error| Unusable::File(file.to_owned(), FileError::Io(error)))?;
    Ok((metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec()))
}

/// All certificates of a file; at least one.
pub(super) fn certificates(file: &str, trust: Trust) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let bytes = read(file, trust)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(Unusable::NoCertificate(file.to_owned(), None)),
        Err(error) => Err(Unusable::NoCertificate(file.to_owned(), Some(error))),
    }
}

/// The first private key of a file.
pub(super) fn key(file: &str, trust: Trust) -> Result<PrivateKeyDer<'static>, Unusable> {
    PrivateKeyDer::from_pem_slice(&read(file, trust)?)
        .map_err(|error| Unusable::NoKey(file.to_owned(), error))
}

/// The authorities of a file.
pub(super) fn store(file: &str, trust: Trust) -> Result<RootCertStore, Unusable> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file, trust)? {
        store.add(certificate).map_err(|error| Unusable::NoAuthority(file.to_owned(), error))?;
    }
    Ok(store)
}

fn read(file: &str, trust: Trust) -> Result<Vec<u8>, Unusable> {
    files::read(Path::new(file), MOST, trust).map_err(|error| Unusable::File(file.to_owned(), error))
}
