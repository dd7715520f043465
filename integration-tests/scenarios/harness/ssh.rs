//! Servers and keys of a scenario's own for SSH.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use integration_tests::command::run;
use integration_tests::lab::{Lab, PATIENCE};
use integration_tests::process::Process;

/// Lets whoever is root on the first node log in on these others, each of which has a server then, for as long as what is
/// returned is kept. All of them get an empty home.
pub(crate) fn let_in(lab: &Lab, to: &[usize]) -> Vec<Process> {
    let keys = lab.directory().join("ssh");
    fs::create_dir(&keys).unwrap();
    let file = |name: &str| keys.join(name).display().to_string();
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &file("id_ed25519")]));
    run(Command::new("dropbearkey").args(["-t", "ed25519", "-f", &file("host")]));
    let public = run(Command::new("dropbearkey").args(["-y", "-f", &file("host")]));
    let public = public.lines().find(|line| line.starts_with("ssh-ed25519 ")).unwrap();
    let known = to.iter().fold(String::new(), |mut known, node| {
        writeln!(known, "{} {public}", lab.node(*node).addr()).unwrap();
        known
    });
    fs::write(keys.join("known_hosts"), known).unwrap();
    fs::copy(keys.join("id_ed25519.pub"), keys.join("authorized_keys")).unwrap();
    let home = format!(
        "mount -t tmpfs -o mode=700 tmpfs /root && mkdir -m 700 /root/.ssh && cd {} && \
         cp id_ed25519 known_hosts authorized_keys /root/.ssh/",
        keys.display()
    );
    for node in [1].iter().chain(to) {
        run(lab.node(*node).engine.namespaces().command("sh").args(["-c", &home]));
    }
    let serve = |node: &usize| {
        let (name, addr) = (format!("dropbear-{node}"), SocketAddr::from((lab.node(*node).addr(), 22)));
        let mut command = lab.node(*node).engine.namespaces().command("dropbear");
        command.args(["-F", "-E", "-s", "-r", &file("host"), "-p", &addr.to_string(), "-P", &file(&name)]);
        let mut server = Process::start(&name, command, lab.directory()).unwrap();
        server.until(PATIENCE, || TcpStream::connect(addr).is_ok()).unwrap();
        server
    };
    to.iter().map(serve).collect()
}
