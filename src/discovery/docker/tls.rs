//! TLS to an engine, with the files that Docker's own client takes: `ca.pem`, `cert.pem` and `key.pem` in one directory.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::transport::{Connection, Dial};

/// An engine at `host:port` that shows a certificate of a known authority, and to which we show ours.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    addr: String,
}

impl Tls {
    /// For `host:port`. The files are read now, so that a new connection to the engine uses new certificates. Without a
    /// `cert.pem` we show none. The machine's own authorities do not count.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(super) fn new(addr: &str, directory: &Path) -> Result<Self, String> {
        let file = |name: &str| directory.join(name);
        let told = |path: &Path, error: pem::Error| match error {
            pem::Error::Io(cause) => format!("cannot read {}: {cause}", path.display()),
            _ => format!("{} is not what it should be: {error}", path.display()),
        };
        let certificates = |path: &Path| {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            match read.map_err(|error| told(path, error))? {
                none if none.is_empty() => Err(format!("there is no certificate in {}", path.display())),
                some => Ok(some),
            }
        };
        let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
        let mut authorities = RootCertStore::empty();
        for authority in certificates(&ca)? {
            authorities.add(authority).map_err(|error| format!("{}: {error}", ca.display()))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(authorities);
        let config = if cert.exists() {
            let key_of = PrivateKeyDer::from_pem_file(&key).map_err(|error| told(&key, error))?;
            let config = builder.with_client_auth_cert(certificates(&cert)?, key_of);
            config.map_err(|error| format!("{} and {}: {error}", cert.display(), key.display()))?
        } else {
            builder.with_no_client_auth()
        };
        let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host).trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name, addr: addr.to_owned() })
    }
}

impl Dial for Tls {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async {
            let stream = TcpStream::connect(&self.addr).await?;
            stream.set_nodelay(true)?;
            let stream = self.connector.connect(self.name.clone(), stream).await?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use integration_tests::{ContainerSpec, FakeEngine};

    use super::super::client::{Client, DockerError};
    use super::super::fixtures::ways::{certificates, tls_before};
    use super::*;

    #[tokio::test]
    async fn an_engine_with_tls_is_for_who_has_its_certificates_and_can_check_its_own() {
        let (ours, others) = (certificates(), certificates());
        let engine = FakeEngine::start();
        engine.run(ContainerSpec::plain("one"));
        let url = tls_before(&engine, ours.path()).await;
        let client = Client::connect(&url, Some(ours.path())).await.unwrap();
        assert_eq!(client.list().await.unwrap().len(), 1);
        client.ping().await.unwrap();

        let told = async |url: &str, directory: &Path| match Client::connect(url, Some(directory)).await {
            Err(DockerError::Tls { cause, .. }) => cause,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("there is a connection"),
        };
        let unknown = told(&url, others.path()).await;
        assert!(unknown.contains("UnknownIssuer") || unknown.contains("BadSignature"), "{unknown}");
        let misnamed = told(&url.replace("127.0.0.1", "localhost"), ours.path()).await;
        assert!(misnamed.contains("not valid for name"), "{misnamed}");
        let missing = told(&url, Path::new("/nowhere")).await;
        assert!(missing.starts_with("cannot read /nowhere/ca.pem: No such file"), "{missing}");
        // It wants to see one of ours.
        fs::remove_file(ours.path().join("cert.pem")).unwrap();
        let refused = told(&url, ours.path()).await;
        assert!(refused.contains("CertificateRequired"), "{refused}");
        fs::write(ours.path().join("ca.pem"), "nothing").unwrap();
        assert!(told(&url, ours.path()).await.starts_with("there is no certificate in"));
    }
}
