# The words for what one does here; CI says the same ones (.ci/run).

compose := `docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose`
# Compose v1 cannot wait.
wait := if compose == "docker compose" { "--wait" } else { "" }
# Not root: an arbitrary user in the socket's group.
user := "65532:" + `stat -c %g /var/run/docker.sock 2>/dev/null || echo 65532`

# List the words
default:
    @just --list --unsorted

# Install what a fresh machine lacks
setup:
    .ci/setup

# Formatting, lints and docs
check:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo clippy --locked --workspace --all-targets --features integration-tests/docker -- -D warnings
    RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps

# Every test that needs no Docker engine
test:
    cargo nextest run --locked --workspace
    cargo test --locked --workspace --doc

# The scenarios on this machine's Docker engine; `just integration pause hup` runs just those
integration *names: image
    cargo nextest run --locked -p integration-tests --features docker --test scenarios --bin swarm {{ names }}

# evenkeel:local and evenkeel-replica:local, from static binaries built here: no registry needed
image:
    deploy/image

# Start compose.yml with N replicas
up n="2": image
    EVENKEEL_USER={{ user }} {{ compose }} up -d {{ wait }} --scale gateway={{ trim_start_match(n, "N=") }}

# Change the number of replicas
scale n:
    EVENKEEL_USER={{ user }} {{ compose }} up -d --no-recreate --scale gateway={{ trim_start_match(n, "N=") }}

# Stop compose.yml and remove its containers and networks
down:
    {{ compose }} down --remove-orphans

# evenkeel without Docker, against a fake engine
demo:
    cargo run --locked --release --example demo

# 200 hosts of 50 replicas that come and go, a Swarm of 5,000 tasks, 50 peers; `just simulate --only hosts --hosts 20 --seconds 5`
simulate *options:
    cargo build --locked --profile bench --example simulate
    # Thousands of probes a second would fill the table in which this machine's firewall keeps connections.
    unshare --map-root-user --net sh -c 'ip link set lo up && exec target/release/examples/simulate {{ options }}'

# What a request costs evenkeel, HAProxy, nginx and a blind relay; `just bench --only W1,W3 --rounds 3`
bench *options:
    integration-tests/bench/setup wrk strace
    {{ if options =~ "--haproxy.*--nginx|--nginx.*--haproxy" { "" } else { "integration-tests/bench/get-others" } }}
    deploy/build
    cargo run --locked --release -p integration-tests --bin bench -- compare {{ options }}

# What deploy/build tells the compiler is likely, anew; when `just instructions` has grown, or with another compiler
profile:
    deploy/profile

# User instructions of a request, which may not grow by 5 %; of the build at PATH, or of one made here
instructions path="":
    integration-tests/bench/setup valgrind
    {{ if path == "" { "deploy/build" } else { "" } }}
    cargo run --locked -p integration-tests --bin bench -- instructions {{ if path == "" { "" } else { "--evenkeel " + path } }}

# Others' programs judge evenkeel; `just judges "scripts upgrade"` some of it, with a PATH another build than that of here
judges what="" path="":
    integration-tests/judges/setup
    {{ if path == "" { "cargo build --locked --release --bin evenkeel" } else { "" } }}
    cargo run --locked -p integration-tests --bin judges -- {{ what }} {{ if path == "" { "" } else { "--evenkeel " + path } }}

# Faults on this machine's Docker engine, under load; `just chaos --only kill,pause`, `--system nginx,haproxy`, `--minutes 60`
chaos *options: image
    integration-tests/bench/setup haproxy nginx caddy iptables
    cargo run --locked --release -p integration-tests --bin chaos -- {{ options }}

# A Swarm of three nodes under load while it changes and breaks; `just swarm --only scale,cut`, `--rounds 3`, `--system evenkeel,haproxy,caddy`
swarm *options: image
    integration-tests/bench/setup haproxy caddy
    cargo run --locked --release -p integration-tests --features docker --bin swarm -- {{ options }}

# Caddy and evenkeel by the files of deploy/examples/lb-vm, while replicas are killed and come back; a `--rounds` more or less
lb-vm *options:
    integration-tests/bench/setup caddy
    cargo build --locked --release --bin evenkeel
    cargo build --locked -p integration-tests --bin replica
    cargo run --locked -p integration-tests --bin lb-vm -- {{ options }}

# Look for inputs that break what holds of heads, chunks and exchanges; `just fuzz exchange 600`, or all for a minute each
fuzz target="request_head response_head chunked preface exchange" seconds="60":
    integration-tests/fuzz/run {{ seconds }} {{ target }}

# Instructions of the codec's calls and of a pick; picks while the registry changes
micro:
    integration-tests/bench/setup valgrind
    integration-tests/micro/setup
    GUNGRAUN_RUNNER=$PWD/target/tools/bin/gungraun-runner timeout 600 cargo bench --locked --bench micro
    timeout 300 cargo bench --locked --bench churn

# Licences, duplicates, sources and, where the database can be reached, advisories
deny:
    cargo deny --workspace --all-features check --hide-inclusion-graph bans licenses sources
    @if timeout 60 cargo deny fetch db >/dev/null 2>&1; then \
        cargo deny --workspace --all-features check --hide-inclusion-graph --disable-fetch advisories; \
    else \
        echo "advisories NOT checked: their database cannot be reached from here"; \
    fi

# All that CI does
ci:
    .ci/run
