//! Faults of TLS in words.

use std::io;
use std::time::Duration;

use evenkeel_health::ask::certificate;
use evenkeel_health::{Fault, FaultLabel, Found};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

use super::super::socket;

/// Most names of a certificate that are told.
const NAMES: usize = 3;

/// Meaning of an error in the handshake.
pub(in super::super) fn handshake(error: &io::Error) -> Found {
    if let Some(fault) = fault(error) {
        return fault.into();
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Fault::new(FaultLabel::Closed, "connection closed within the TLS handshake").into();
    }
    socket::failed(error)
}

/// The fault of TLS that an error is; none where it is not TLS's.
pub(in super::super) fn fault(error: &io::Error) -> Option<Fault> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(error) => Fault::new(FaultLabel::Certificate, certificate(error)),
        rustls::Error::NoCertificatesPresented => {
            Fault::new(FaultLabel::Certificate, "the server has no certificate")
        }
        rustls::Error::AlertReceived(alert) => Fault::new(FaultLabel::Tls, said(*alert)),
        rustls::Error::InvalidMessage(_) => Fault::new(FaultLabel::Tls, "the answer is not TLS"),
        rustls::Error::PeerIncompatible(why) => {
            Fault::new(FaultLabel::Tls, format!("the server's TLS is not ours: {why:?}"))
        }
        rustls::Error::PeerMisbehaved(why) => {
            Fault::new(FaultLabel::Tls, format!("the server's TLS is wrong: {why:?}"))
        }
        other => Fault::new(FaultLabel::Tls, format!("TLS: {other}")),
    })
}

/// Fault of a server's certificate.
fn certificate(error: &CertificateError) -> String {
    let between =
        |from: &UnixTime, to: &UnixTime| Duration::from_secs(to.as_secs().saturating_sub(from.as_secs()));
    match error {
        CertificateError::ExpiredContext { time, not_after } => {
            certificate::expired(between(not_after, time))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("certificate is valid only in {}", certificate::span(between(time, not_before)))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().take(NAMES).map(|name| bare(name)).collect();
            let more = if presented.len() > NAMES { " and others" } else { "" };
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!("certificate is for {names}{more}, not {}", expected.to_str())
        }
        CertificateError::UnknownIssuer => "certificate signed by an unknown authority".to_owned(),
        CertificateError::BadSignature => "certificate not signed by the authority that it names".to_owned(),
        CertificateError::BadEncoding => "certificate cannot be read".to_owned(),
        CertificateError::Revoked => "certificate is revoked".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate is not for servers".to_owned()
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "certificate is that of an authority".to_owned()
        }
        other => format!("certificate: {other}"),
    }
}

/// A name as the library writes it, `DnsName("a.example")`, without what is around it.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(name, |inner| inner.trim_matches('"'))
}

/// Alert of a server that closes (RFC 8446 §6.2).
fn said(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "the server wants a certificate".to_owned(),
        AlertDescription::HandshakeFailure => {
            "the server refuses the handshake: no common parameters, or it wants a certificate".to_owned()
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => format!("the server does not take our certificate: {alert:?}"),
        AlertDescription::UnrecognisedName => "the server does not know the server name".to_owned(),
        AlertDescription::ProtocolVersion => "the server speaks no TLS 1.2 or 1.3".to_owned(),
        AlertDescription::NoApplicationProtocol => "the server does not offer HTTP/2 by TLS".to_owned(),
        other => format!("the server says {other:?}"),
    }
}
