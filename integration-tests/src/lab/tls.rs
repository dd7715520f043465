//! Certificates for engines that listen on TCP: an authority of the lab's own, by `openssl`.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::run;

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// Who signs; there is one client.
pub(super) struct Authority {
    directory: PathBuf,
    client: PathBuf,
}

impl Authority {
    pub(super) fn new(directory: &Path) -> Self {
        fs::create_dir(directory).expect("a directory");
        let authority = Self { directory: directory.to_owned(), client: directory.join("client") };
        let mut command = authority.openssl(&["req", "-x509", "-days", "2", "-subj", "/CN=lab"]);
        run(command.args(KEY).args(["-keyout", "ca-key.pem", "-out", "ca.pem"]));
        authority.issue("client", "extendedKeyUsage=clientAuth\n");
        authority
    }

    /// The directory of the client's `ca.pem`, `cert.pem` and `key.pem`, for everybody to read.
    pub(super) fn client(&self) -> &Path {
        &self.client
    }

    /// That of a server's.
    pub(super) fn server(&self, name: &str, addr: Ipv4Addr) -> PathBuf {
        self.issue(name, &format!("extendedKeyUsage=serverAuth\nsubjectAltName=DNS:{name},IP:{addr}\n"))
    }

    fn issue(&self, name: &str, extensions: &str) -> PathBuf {
        let directory = self.directory.join(name);
        fs::create_dir(&directory).expect("a directory");
        fs::write(directory.join("extensions"), extensions).expect("a file");
        let file = |file: &str| format!("{name}/{file}");
        let mut request = self.openssl(&["req", "-new", "-subj", &format!("/CN={name}")]);
        run(request.args(KEY).args(["-keyout", &file("key.pem"), "-out", &file("request")]));
        let mut sign = self.openssl(&["x509", "-req", "-days", "2", "-CA", "ca.pem", "-CAkey", "ca-key.pem"]);
        sign.args(["-CAcreateserial", "-extfile", &file("extensions"), "-in", &file("request")]);
        run(sign.args(["-out", &file("cert.pem")]));
        fs::copy(self.directory.join("ca.pem"), directory.join("ca.pem")).expect("a copy");
        // For the user of our image.
        fs::set_permissions(directory.join("key.pem"), fs::Permissions::from_mode(0o644)).expect("chmod");
        directory
    }

    fn openssl(&self, args: &[&str]) -> Command {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(&self.directory);
        command
    }
}
