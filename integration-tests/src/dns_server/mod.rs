//! A DNS server that changes its answers, lies, keeps silent and comes back, over UDP and TCP at one port.
//!
//! It knows the records that it was given, is the authority for whatever name, and follows aliases among them. It shares
//! nothing with the library that asks it.

mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

use self::wire::Question;

/// More than this goes by TCP.
const LONGEST_DATAGRAM: usize = 512;
/// Longer chains of aliases are cut off.
const LONGEST_CHAIN: usize = 8;
/// The TTL of records for which nothing else is said, in seconds.
pub const TTL: u32 = 600;

/// One record of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its TTL in seconds.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name.
    Cname(String),
    /// A host of a service.
    Srv {
        /// The lowest goes first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// Where to dial.
        port: u16,
        /// The host's name.
        target: String,
    },
}

impl From<IpAddr> for Record {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Data::A(ip).into(),
            IpAddr::V6(ip) => Data::Aaaa(ip).into(),
        }
    }
}

impl From<Data> for Record {
    fn from(data: Data) -> Self {
        Self { ttl: TTL, data }
    }
}

impl Record {
    /// A host of a service.
    pub fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Self {
        Data::Srv { priority, weight, port, target: target.to_owned() }.into()
    }

    /// Another name.
    pub fn cname(target: &str) -> Self {
        Data::Cname(target.to_owned()).into()
    }

    /// The same with another TTL, in seconds.
    pub fn ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }
}

/// What is wrong with every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is none.
    Silent,
    /// SERVFAIL.
    ServFail,
    /// REFUSED.
    Refused,
    /// NOERROR without any record.
    Empty,
    /// It has another id, and one wrong address.
    WrongId,
    /// It is about another name, with one wrong address.
    WrongQuestion,
    /// It repeats the question and has one wrong address for another name.
    WrongName,
    /// It is no DNS message.
    Garbage,
    /// It says that it goes on, and breaks off in a record.
    BrokenOff,
    /// It is cut short, and TCP is refused.
    OnlyTruncated,
    /// None for IPv6 addresses, and the others as they should be.
    SilentOnV6,
}

/// A running server; dropping it ends it.
pub struct DnsServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    zone: Mutex<Zone>,
    queries: AtomicU64,
    tcp_queries: AtomicU64,
}

#[derive(Default)]
struct Zone {
    /// By name in small letters, without the last dot.
    records: BTreeMap<String, Vec<Record>>,
    fault: Option<Fault>,
    /// By name, before the other.
    faults: BTreeMap<String, Fault>,
    keeps_hosts_to_itself: bool,
}

impl DnsServer {
    /// Starts one without any record, at any port of this machine's own.
    pub async fn start() -> Self {
        for _ in 0..100 {
            // Somebody else may have the same port for UDP.
            if let Ok(server) = Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await {
                return server;
            }
        }
        panic!("no port is free");
    }

    /// Starts one without any record, there.
    ///
    /// # Errors
    /// When the address is taken, or nobody may listen there.
    pub async fn start_at(addr: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(addr).await?;
        let addr = tcp.local_addr()?;
        let udp = UdpSocket::bind(addr).await?;
        let shared = Arc::<Shared>::default();
        let tasks =
            vec![tokio::spawn(serve_udp(udp, Arc::clone(&shared))), tokio::spawn(serve_tcp(tcp, Arc::clone(&shared)))];
        Ok(Self { addr, shared, tasks })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Gives a name these records in place of those that it had.
    pub fn set(&self, name: &str, records: impl IntoIterator<Item = impl Into<Record>>) {
        self.zone().records.insert(name.to_owned(), records.into_iter().map(Into::into).collect());
    }

    /// From here on there is no such name.
    pub fn remove(&self, name: &str) {
        self.zone().records.remove(name);
    }

    /// What is wrong with every answer from here on; `None`: nothing.
    pub fn set_fault(&self, fault: impl Into<Option<Fault>>) {
        self.zone().fault = fault.into();
    }

    /// What is wrong with every answer about this name from here on, whatever is wrong with the others; `None`: the same as
    /// with those.
    pub fn set_fault_of(&self, name: &str, fault: impl Into<Option<Fault>>) {
        let faults = &mut self.zone().faults;
        match fault.into() {
            Some(fault) => drop(faults.insert(name.to_owned(), fault)),
            None => drop(faults.remove(name)),
        }
    }

    /// Whether the addresses of a service's hosts do not come along with the answer.
    pub fn keep_hosts_to_itself(&self, on: bool) {
        self.zone().keeps_hosts_to_itself = on;
    }

    /// Questions that have come in, by TCP or not.
    pub fn queries(&self) -> u64 {
        self.shared.queries.load(Ordering::SeqCst)
    }

    /// Questions that have come in by TCP.
    pub fn tcp_queries(&self) -> u64 {
        self.shared.tcp_queries.load(Ordering::SeqCst)
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.shared.zone()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a message, if there is to be one.
    fn answer(&self, message: &[u8], is_tcp: bool) -> Option<Vec<u8>> {
        let question = wire::read(message)?;
        self.queries.fetch_add(1, Ordering::SeqCst);
        self.tcp_queries.fetch_add(u64::from(is_tcp), Ordering::SeqCst);
        let zone = self.zone();
        let whole = zone.answer(&question);
        match zone.faults.get(&question.name).copied().or(zone.fault) {
            Some(Fault::Silent) => None,
            Some(Fault::SilentOnV6) if question.kind == wire::AAAA => None,
            Some(Fault::ServFail) => Some(wire::write(&question, wire::SERVFAIL, &[], &[])),
            Some(Fault::Refused) => Some(wire::write(&question, wire::REFUSED, &[], &[])),
            Some(Fault::Empty) => Some(wire::write(&question, wire::NOERROR, &[], &[])),
            Some(Fault::WrongId) => {
                let question = Question { id: question.id.wrapping_add(1), ..question };
                Some(wire::write(&question, wire::NOERROR, &lie(&question.name), &[]))
            }
            Some(Fault::WrongQuestion) => {
                let question = Question { name: "elsewhere".to_owned(), ..question };
                Some(wire::write(&question, wire::NOERROR, &lie(&question.name), &[]))
            }
            Some(Fault::WrongName) => Some(wire::write(&question, wire::NOERROR, &lie("elsewhere"), &[])),
            Some(Fault::Garbage) => Some(b"this is no message of the DNS".to_vec()),
            Some(Fault::BrokenOff) => Some(whole[..whole.len() - 3].to_vec()),
            Some(Fault::OnlyTruncated) => (!is_tcp).then(|| wire::write_truncated(&question)),
            Some(Fault::SilentOnV6) | None if !is_tcp && whole.len() > LONGEST_DATAGRAM => {
                Some(wire::write_truncated(&question))
            }
            Some(Fault::SilentOnV6) | None => Some(whole),
        }
    }
}

/// An address where nobody is.
fn lie(name: &str) -> Vec<(String, Record)> {
    vec![(name.to_owned(), Data::A(Ipv4Addr::new(127, 66, 66, 66)).into())]
}

impl Zone {
    fn answer(&self, question: &Question) -> Vec<u8> {
        let mut name = question.name.clone();
        let (mut answers, mut hosts) = (Vec::new(), Vec::new());
        if !self.records.contains_key(&name) {
            return wire::write(question, wire::NXDOMAIN, &[], &[]);
        }
        for _ in 0..LONGEST_CHAIN {
            let Some(records) = self.records.get(&name) else { break };
            let wanted = records.iter().filter(|record| wire::kind(record) == question.kind);
            answers.extend(wanted.map(|record| (name.clone(), record.clone())));
            let alias = records.iter().find_map(|record| match &record.data {
                Data::Cname(alias) => Some((record, alias)),
                _ => None,
            });
            let Some((record, alias)) = alias else { break };
            answers.push((name.clone(), record.clone()));
            name = alias.clone();
        }
        for (_, record) in &answers {
            if let Data::Srv { target, .. } = &record.data
                && !self.keeps_hosts_to_itself
            {
                let of_host = self.records.get(target).into_iter().flatten();
                hosts.extend(of_host.map(|record| (target.clone(), record.clone())));
            }
        }
        wire::write(question, wire::NOERROR, &answers, &hosts)
    }
}

async fn serve_udp(socket: UdpSocket, shared: Arc<Shared>) {
    let mut message = [0; 4096];
    loop {
        let Ok((len, client)) = socket.recv_from(&mut message).await else { continue };
        if let Some(answer) = shared.answer(&message[..len], false) {
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve_stream(stream, Arc::clone(&shared)));
        }
    }
}

/// Answers until there is nothing to say, or the client leaves.
async fn serve_stream(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    loop {
        let mut message = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut message).await?;
        let Some(answer) = shared.answer(&message, true) else { return Ok(()) };
        stream.write_u16(u16::try_from(answer.len()).map_err(io::Error::other)?).await?;
        stream.write_all(&answer).await?;
    }
}

#[cfg(test)]
mod tests;
