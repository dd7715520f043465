//! An engine at the other end of SSH, as Docker's own client does it: the system's `ssh` logs in and runs `docker system
//! dial-stdio` there, whose input and output are the connection.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::time::timeout;

use super::transport::{Connection, Dial};

/// The most that is read of what `ssh` complains about, in bytes.
const COMPLAINT: u64 = 4096;
/// How long the reason may come after the fact.
const A_MOMENT: Duration = Duration::from_millis(300);
/// It never asks anything, since nobody is there, and gives up on a host that does not answer.
const OPTIONS: [&str; 5] = ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=8"];

/// An engine at `ssh://[user@]host[:port]`.
pub(super) struct Ssh {
    program: String,
    destination: String,
    complaint: Complaint,
}

/// What an `ssh` that ended had to say.
#[derive(Clone, Debug, Default)]
pub(super) struct Complaint(Arc<watch::Sender<String>>);

impl Complaint {
    /// The last line of it, if there is any.
    pub(super) fn last_line(&self) -> Option<String> {
        let text = self.0.borrow();
        text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
    }

    /// Waits a moment for it: that a connection broke is known before its reason.
    pub(super) async fn wait(&self) {
        let mut text = self.0.subscribe();
        let _ = timeout(A_MOMENT, text.wait_for(|text| !text.is_empty())).await;
    }

    async fn follow(self, stderr: Receiver) {
        let mut text = Vec::new();
        let _ = stderr.take(COMPLAINT).read_to_end(&mut text).await;
        self.0.send_replace(String::from_utf8_lossy(&text).into_owned());
    }
}

impl Ssh {
    /// The system's, wherever `PATH` has it.
    pub(super) const PROGRAM: &str = "ssh";

    /// For this URL, by this program.
    pub(super) fn new(program: &str, url: &str, complaint: Complaint) -> Self {
        Self { program: program.to_owned(), destination: url.to_owned(), complaint }
    }

    fn spawn(&self) -> io::Result<Session> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (stdin, stdout) = (OwnedFd::from(theirs.try_clone()?), OwnedFd::from(theirs));
        let mut command = Command::new(&self.program);
        command.args(OPTIONS).args(["--", &self.destination, "docker", "system", "dial-stdio"]);
        let mut child = command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take();
        // From here on it ends with this value, whatever goes wrong.
        let child = Killed(child);
        ours.set_nonblocking(true)?;
        let stream = UnixStream::from_std(ours)?;
        if let Some(stderr) = stderr {
            tokio::spawn(self.complaint.clone().follow(Receiver::from_owned_fd(stderr.into())?));
        }
        Ok(Session { stream, _child: child })
    }
}

impl Dial for Ssh {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async { Ok(Box::new(self.spawn()?) as Box<dyn Connection>) })
    }
}

/// A connection through a running `ssh`, which ends with it.
struct Session {
    stream: UnixStream,
    _child: Killed,
}

/// A program that is killed, and buried, with this value.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself. A killed program takes no time to wait for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl AsyncRead for Session {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Session {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use hyper::Request;
    use tempfile::tempdir;

    use super::super::transport::{Transport, TransportError};
    use super::*;

    /// A program that does this in place of `ssh`.
    fn program(directory: &Path, does: &str) -> String {
        let path = directory.join("ssh");
        fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn ping(program: String) -> (Result<u16, TransportError>, Option<String>) {
        let complaint = Complaint::default();
        let ssh = Ssh::new(&program, "ssh://me@box:2222", complaint.clone());
        let request = Request::get("http://docker/_ping").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let answer = Transport::new(ssh).send(request).await.map(|response| response.status().as_u16());
        if answer.is_err() {
            complaint.wait().await;
        }
        (answer, complaint.last_line())
    }

    #[tokio::test]
    async fn what_it_writes_is_the_answer_and_what_it_complains_of_the_reason() {
        let dir = tempdir().unwrap();
        let answer =
            "echo \"$*\" > \"$0.args\"; read line; printf 'HTTP/1.1 204 No Content\\r\\n\\r\\n'; cat > /dev/null";
        let (answer, complaint) = ping(program(dir.path(), answer)).await;
        assert_eq!((answer.unwrap(), complaint), (204, None));
        let args = fs::read_to_string(dir.path().join("ssh.args")).unwrap();
        assert_eq!(args, "-T -o BatchMode=yes -o ConnectTimeout=8 -- ssh://me@box:2222 docker system dial-stdio\n");

        let refusal = "echo 'Warning: something' >&2; echo 'me@box: Permission denied (publickey).' >&2; exit 255";
        let (answer, complaint) = ping(program(dir.path(), refusal)).await;
        assert!(matches!(answer, Err(TransportError::Http(_))), "{answer:?}");
        assert_eq!(complaint.as_deref(), Some("me@box: Permission denied (publickey)."));

        let (answer, _) = ping("/nowhere/ssh".to_owned()).await;
        assert!(matches!(answer, Err(TransportError::Dial(error)) if error.kind() == io::ErrorKind::NotFound));
    }
}
