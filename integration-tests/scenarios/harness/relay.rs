//! A Docker socket that can be taken away: a relay to the engine's own, in a directory to mount instead.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

const ENGINE: &str = "/var/run/docker.sock";

pub(crate) struct Relay {
    engine: PathBuf,
    directory: TempDir,
    cut: CancellationToken,
}

impl Relay {
    /// A relay to this machine's engine that is up.
    pub(crate) fn new() -> Self {
        Self::to(Path::new(ENGINE))
    }

    /// The same, to the engine behind that socket.
    pub(crate) fn to(engine: &Path) -> Self {
        let mut relay =
            Self { engine: engine.to_owned(), directory: TempDir::new().unwrap(), cut: CancellationToken::new() };
        relay.heal();
        relay
    }

    /// The directory with `docker.sock` in it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Takes the socket away and breaks every connection, as an engine that stops does.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
        std::fs::remove_file(self.directory().join("docker.sock")).unwrap();
    }

    /// Puts a new socket in the old one's place.
    pub(crate) fn heal(&mut self) {
        let listener = UnixListener::bind(self.directory().join("docker.sock")).unwrap();
        self.cut = CancellationToken::new();
        let (cut, engine) = (self.cut.clone(), self.engine.clone());
        tokio::spawn(async move {
            // Connections are broken by the same token, and the listener is closed by leaving here.
            while let Some(Ok((client, _))) = cut.run_until_cancelled(listener.accept()).await {
                let (cut, engine) = (cut.clone(), engine.clone());
                tokio::spawn(async move { cut.run_until_cancelled(relay(client, &engine)).await });
            }
        });
    }
}

async fn relay(mut client: UnixStream, engine: &Path) -> io::Result<()> {
    let mut engine = UnixStream::connect(engine).await?;
    tokio::io::copy_bidirectional(&mut client, &mut engine).await?;
    Ok(())
}
