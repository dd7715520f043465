//! Try it without Docker: the real program in front of replicas on loopback addresses, which a fake Docker engine
//! tells it about. Scale, kill and pause them from the keyboard and watch the answers change.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Duration;

use evenkeel::app::App;
use evenkeel::config::settings::{DockerSettings, ProxySettings, Settings};
use integration_tests::{ContainerId, ContainerSpec, FakeEngine, TestReplica, client};
use tokio::sync::mpsc;
use tokio::time::sleep;

const PROJECT: &str = "demo";
const SERVICE: &str = "gateway";
const NETWORK: &str = "demo_default";
/// What a well-behaved service takes to stop after SIGTERM.
const TIME_TO_STOP: Duration = Duration::from_millis(300);

const HELP: &str = "\
scale N        as `docker compose up -d --scale gateway=N`
kill NAME      as `docker kill`: the process is gone without a word
pause NAME     as `docker pause`
unpause NAME   as `docker unpause`
list           what evenkeel knows
quit           stops evenkeel in order";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut demo = Demo { engine: FakeEngine::start(), running: Vec::new() };
    demo.scale(2).await;
    let app = App::start(settings(&demo.engine)).map_err(|error| error.to_string())?;
    println!("evenkeel balances over two replicas. In another terminal:\n");
    println!("  curl -i http://{}/", app.proxy_addr());
    println!("  curl http://{}/debug/replicas\n\n{HELP}\n", app.admin_addr());

    let mut lines = read_lines();
    prompt();
    while let Some(line) = lines.recv().await {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["scale", count] => match count.parse() {
                Ok(count) => demo.scale(count).await,
                Err(_) => eprintln!("how many? a number from 0 to 255"),
            },
            ["kill", name] => demo.kill(name).await,
            ["pause", name] => demo.with(name, |engine, one| engine.pause(&one.id)),
            ["unpause", name] => demo.with(name, |engine, one| engine.unpause(&one.id)),
            ["list"] => println!("{}", client::get(app.admin_addr(), "/debug/replicas").await?.text()),
            ["quit" | "exit"] => break,
            [] => {}
            _ => println!("{HELP}"),
        }
        prompt();
    }
    app.shutdown().await;
    Ok(())
}

/// The keyboard is read on a thread of its own, since a read of it cannot be cancelled.
fn read_lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut lines = std::io::stdin().lock().lines().map_while(Result::ok);
        while lines.next().is_some_and(|line| sender.send(line).is_ok()) {}
    });
    receiver
}

fn prompt() {
    print!("> ");
    let _ = std::io::stdout().flush();
}

/// The engine, and the replicas that its running containers stand for.
struct Demo {
    engine: FakeEngine,
    running: Vec<Running>,
}

struct Running {
    id: ContainerId,
    replica: TestReplica,
    /// Compose's container number.
    number: u32,
}

impl Demo {
    async fn scale(&mut self, count: u8) {
        let count = usize::from(count);
        let mut number = 0;
        while self.running.len() < count {
            number += 1;
            self.start_unless_running(number);
        }
        self.running.sort_by_key(|one| one.number);
        for Running { id, replica, .. } in self.running.split_off(count) {
            self.engine.kill(&id, 15);
            sleep(TIME_TO_STOP).await;
            replica.crash().await;
            self.engine.die(&id);
            self.engine.destroy(&id);
        }
    }

    fn start_unless_running(&mut self, number: u32) {
        if self.running.iter().all(|one| one.number != number) {
            let replica = TestReplica::start(&format!("{SERVICE}-{number}"));
            let spec = ContainerSpec::compose(PROJECT, SERVICE, number);
            let id = self.engine.run(spec.network(NETWORK, replica.ip()).expose(replica.addr().port()));
            self.running.push(Running { id, replica, number });
        }
    }

    async fn kill(&mut self, name: &str) {
        match self.running.iter().position(|one| one.replica.name() == name) {
            Some(place) => {
                let Running { id, replica, .. } = self.running.remove(place);
                replica.crash().await;
                self.engine.kill_at_once(&id);
                self.engine.destroy(&id);
            }
            None => self.complain(name),
        }
    }

    fn with(&self, name: &str, act: impl FnOnce(&FakeEngine, &Running)) {
        match self.running.iter().find(|one| one.replica.name() == name) {
            Some(one) => act(&self.engine, one),
            None => self.complain(name),
        }
    }

    fn complain(&self, name: &str) {
        let names: Vec<_> = self.running.iter().map(|one| one.replica.name()).collect();
        eprintln!("{name} does not run; these do: {}", names.join(" "));
    }
}

fn settings(engine: &FakeEngine) -> Settings {
    Settings {
        proxy: ProxySettings { listen: ([127, 0, 0, 1], 8080).into(), ..ProxySettings::default() },
        admin_listen: ([127, 0, 0, 1], 9900).into(),
        docker: vec![DockerSettings {
            host: engine.host(),
            project: Some(PROJECT.to_owned()),
            network: Some(NETWORK.to_owned()),
            ..DockerSettings::default()
        }],
        ..Settings::default()
    }
}
