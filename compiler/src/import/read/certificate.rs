//! `SSL`: the certificate that checks by TLS show.

use serde_json::{Map, Value, json};

use super::super::keywords::SSL;
use super::super::notes::{Fate, Owner};
use super::super::tree::Statement;
use super::Reader;

/// Certificate and key, each with the note of its line.
#[derive(Debug, Default)]
pub(super) struct Certificate {
    certificate: Option<(String, usize)>,
    key: Option<(String, usize)>,
    /// Whether a check shows it.
    used: bool,
}

impl Reader<'_> {
    /// keepalived takes the last block alone.
    pub(super) fn ssl(&mut self, block: &Statement) {
        let mut found = Certificate::default();
        for statement in block.inside() {
            if self.known(&SSL, statement, Owner::Cluster).is_none() {
                continue;
            }
            match statement.keyword() {
                "certificate" => {
                    found.certificate = self.word(statement).map(|file| (file, self.note));
                    self.says("certificate");
                }
                "key" => {
                    found.key = self.word(statement).map(|file| (file, self.note));
                    self.says("key");
                }
                "password" => {
                    let why = "the daemon reads no key that has a password: write it to a file without one";
                    self.instead(Fate::Decide, why);
                }
                _ => {}
            }
        }
        self.certificate = found;
    }

    /// Puts the certificate into a check by TLS.
    pub(super) fn settle_certificate(&mut self, check: &mut Map<String, Value>) {
        let Certificate { certificate: Some((certificate, _)), key: Some((key, _)), used } =
            &mut self.certificate
        else {
            return;
        };
        *used = true;
        check.insert("certificate".to_owned(), json!(certificate));
        check.insert("certificate_key".to_owned(), json!(key));
    }

    /// Says of a certificate that nobody shows that it is not carried.
    pub(super) fn unused_certificate(&mut self) {
        let Certificate { certificate, key, used } = std::mem::take(&mut self.certificate);
        if used {
            return;
        }
        let whole = certificate.is_some() && key.is_some();
        let why = if whole { "there is no SSL_GET" } else { "a certificate and its key go together" };
        for (_, note) in certificate.into_iter().chain(key) {
            self.notes.instead_at(note, Fate::NotCarried, why);
        }
    }
}
