//! User instructions of what every request passes: the codec's calls and a pick, each [`TIMES`] over. The fields and the
//! buffers were used before, as a worker's are.
//!
//! Counted by callgrind, so it is as good as the same in every run; `just micro` prints the change since the last one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot do its work is to say so and end")]
#![expect(missing_docs, unused_qualifications, reason = "of what gungraun makes of its benchmarks")]

mod gateway;

use std::hint::black_box;
use std::net::Ipv4Addr;

use evenkeel::balancer::{Balancer, Tried};
use evenkeel::proxy::http1::chunked::Decoder;
use evenkeel::proxy::http1::client::ClientAddr;
use evenkeel::proxy::http1::framing::{self, RequestBody, ResponseBody};
use evenkeel::proxy::http1::rewrite::{Answer, Onward, write_request, write_response};
use evenkeel::proxy::http1::target::{self, Target};
use evenkeel::proxy::http1::via::Pseudonym;
use evenkeel::proxy::http1::{
    Fields, Limits, Parsed, RequestHead, RequestScan, ResponseHead, ResponseScan, Version, parse_request,
    parse_response,
};
use evenkeel::service::Policy;
use gungraun::Callgrind;
use gungraun::prelude::*;
use integration_tests::samples::{ANSWER, BROWSER, CURL};

use crate::gateway::Gateway;

/// How often a case does its work.
const TIMES: usize = 1000;

/// A request, with what a worker and a connection have to write it.
struct Request {
    text: &'static [u8],
    head: RequestHead,
    target: Target,
    fields: Fields,
    out: Vec<u8>,
    client: ClientAddr,
    pseudonym: Pseudonym,
}

impl Request {
    fn new(text: &'static str) -> Self {
        let (text, mut fields) = (text.as_bytes(), Fields::default());
        let head = parse_one(text, &mut fields);
        let target = target::read(text, &head, &fields).unwrap();
        assert_eq!(framing::request_body(text, &head, &fields, &Limits::default()), Ok(RequestBody::None));
        let client = ClientAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), &[]);
        let mut request =
            Self { text, head, target, fields, out: Vec::new(), client, pseudonym: Pseudonym::new(0x5eed) };
        request.write();
        request
    }

    fn write(&mut self) {
        let onward = Onward {
            target: &self.target,
            default_host: b"gateway",
            body: RequestBody::None,
            client: &self.client,
            trusted: &[],
            pseudonym: &self.pseudonym,
            upgrade: None,
            rules: None,
            is_from_peer: false,
            greeting: None,
        };
        self.out.clear();
        write_request(&mut self.out, black_box(self.text), &self.head, &self.fields, &onward);
    }
}

fn parse_one(text: &[u8], fields: &mut Fields) -> RequestHead {
    match parse_request(black_box(text), &mut RequestScan::default(), &Limits::default(), fields) {
        Parsed::Complete { head, length } if length == text.len() => head,
        other => panic!("{other:?}"),
    }
}

/// An answer, with what a worker has to write it.
struct Response {
    head: ResponseHead,
    fields: Fields,
    out: Vec<u8>,
}

impl Response {
    fn new() -> Self {
        let mut fields = Fields::default();
        let head = parse_answer(&mut fields);
        let mut response = Self { head, fields, out: Vec::new() };
        response.write();
        response
    }

    fn write(&mut self) {
        let answer = Answer {
            body: ResponseBody::Length(1024),
            announced: None,
            client: Version::Http11,
            keeps_alive: true,
            served_by: b"gateway-3",
            host: b"",
            is_peers: false,
            date: b"Thu, 01 Jan 1970 00:00:00 GMT",
            rules: None,
        };
        self.out.clear();
        write_response(&mut self.out, black_box(ANSWER.as_bytes()), &self.head, &self.fields, &answer);
    }
}

fn parse_answer(fields: &mut Fields) -> ResponseHead {
    let text = ANSWER.as_bytes();
    match parse_response(black_box(text), &mut ResponseScan::default(), &Limits::default(), fields) {
        Parsed::Complete { head, length } if length == text.len() => head,
        other => panic!("{other:?}"),
    }
}

/// A body of so many chunks of so many bytes.
fn chunks(count: usize, size: usize) -> Vec<u8> {
    let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
    format!("{}0\r\n\r\n", chunk.repeat(count)).into_bytes()
}

/// A balancer in front of so many ready replicas. They are not probed any more, and stay ready.
fn balancer(policy: Policy, count: u32) -> Balancer {
    Balancer::new(Gateway::start(count).registry.clone(), policy, 1)
}

#[library_benchmark(setup = Request::new)]
#[bench::curl(CURL)]
#[bench::browser(BROWSER)]
fn request_parse(mut request: Request) -> Request {
    for _ in 0..TIMES {
        black_box(parse_one(request.text, &mut request.fields));
    }
    request
}

#[library_benchmark(setup = Request::new)]
#[bench::curl(CURL)]
#[bench::browser(BROWSER)]
fn request_write(mut request: Request) -> Request {
    for _ in 0..TIMES {
        request.write();
        black_box(&request.out);
    }
    request
}

#[library_benchmark(setup = Response::new)]
#[bench::eight_fields()]
fn response_parse(mut response: Response) -> Response {
    for _ in 0..TIMES {
        black_box(parse_answer(&mut response.fields));
    }
    response
}

#[library_benchmark(setup = Response::new)]
#[bench::eight_fields()]
fn response_write(mut response: Response) -> Response {
    for _ in 0..TIMES {
        response.write();
        black_box(&response.out);
    }
    response
}

#[library_benchmark(setup = chunks)]
#[bench::of_16_bytes(16, 16)]
#[bench::of_4_kib(16, 4096)]
fn sixteen_chunks(body: Vec<u8>) -> Vec<u8> {
    for _ in 0..TIMES {
        let (mut decoder, mut at) = (Decoder::default(), 0);
        while !decoder.is_done() {
            let rest = black_box(&body).get(at..).unwrap_or_default();
            at += decoder.decode(rest).unwrap().consumed;
        }
        assert_eq!(at, body.len());
    }
    body
}

#[library_benchmark(setup = balancer)]
#[bench::p2c_of_2(Policy::P2c, 2)]
#[bench::p2c_of_8(Policy::P2c, 8)]
#[bench::p2c_of_64(Policy::P2c, 64)]
#[bench::p2c_of_1000(Policy::P2c, 1000)]
#[bench::p2c_of_10000(Policy::P2c, 10_000)]
#[bench::round_robin_of_2(Policy::RoundRobin, 2)]
#[bench::round_robin_of_8(Policy::RoundRobin, 8)]
#[bench::round_robin_of_64(Policy::RoundRobin, 64)]
#[bench::round_robin_of_1000(Policy::RoundRobin, 1000)]
#[bench::round_robin_of_10000(Policy::RoundRobin, 10_000)]
#[bench::least_requests_of_2(Policy::LeastRequests, 2)]
#[bench::least_requests_of_8(Policy::LeastRequests, 8)]
#[bench::least_requests_of_64(Policy::LeastRequests, 64)]
#[bench::least_requests_of_1000(Policy::LeastRequests, 1000)]
#[bench::least_requests_of_10000(Policy::LeastRequests, 10_000)]
#[bench::random_of_2(Policy::Random, 2)]
#[bench::random_of_8(Policy::Random, 8)]
#[bench::random_of_64(Policy::Random, 64)]
#[bench::random_of_1000(Policy::Random, 1000)]
#[bench::random_of_10000(Policy::Random, 10_000)]
#[bench::ewma_of_2(Policy::Ewma, 2)]
#[bench::ewma_of_8(Policy::Ewma, 8)]
#[bench::ewma_of_64(Policy::Ewma, 64)]
#[bench::ewma_of_1000(Policy::Ewma, 1000)]
#[bench::ewma_of_10000(Policy::Ewma, 10_000)]
fn pick(balancer: Balancer) -> Balancer {
    let tried = Tried::default();
    for _ in 0..TIMES {
        drop(black_box(balancer.pick("gateway", &tried).unwrap()));
    }
    balancer
}

library_benchmark_group!(
    name = codec,
    benchmarks = [request_parse, request_write, response_parse, response_write, sixteen_chunks]
);
library_benchmark_group!(name = picks, benchmarks = [pick]);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [codec, picks]
);
