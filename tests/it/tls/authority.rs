//! Certificates of a test, in a folder: an authority with certificates, and another authority without any.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), Issuer::new(params, key))
}

impl Authority {
    /// An authority, with `server.pem` for 127.0.0.1 and localhost, `client.pem` for a client, their keys,
    /// both in one file as Kafka has them, and `stranger.pem`, another authority.
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (ca, issuer) = authority("an authority of a test");
        let (stranger, _) = authority("another authority of a test");
        let made = Self { folder, issuer };
        made.write("ca.pem", &ca);
        made.write("stranger.pem", &stranger);
        made.issue("server", &["localhost", "127.0.0.1"]);
        made.issue("client", &[]);
        // Only for the name.
        made.issue("named", &["localhost"]);
        made
    }

    /// Creates a certificate for these hosts, in place of the previous one of that name.
    pub fn issue(&self, name: &str, hosts: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        self.write(&format!("{name}.pem"), &certificate);
        self.write(&format!("{name}-key.pem"), &key);
        self.write(&format!("{name}-both.pem"), &format!("{key}{certificate}"));
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text, for settings.
    pub fn named(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}
