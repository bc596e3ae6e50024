//! The role of the proxy: speaks the control protocol on fd 3 and does what its scenario says.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::FromRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use hostler_protocol::control::{
    FromProxy, IoChoice, ProgramFacts, ProxyStatus, ToProxy, encode_line,
};

/// Runs until it is drained or killed.
pub(crate) fn main(scenario: &str) {
    if scenario == "crash" {
        eprintln!("proxy: panicked at 'no ring'");
        std::process::exit(3);
    }
    let fds = inherited_fds();
    // SAFETY: the supervisor's contract is that fd 3 is the control socket, and nobody else here
    // uses it.
    let control = unsafe { UnixStream::from_raw_fd(3) };
    let mut answers = control.try_clone().expect("dup");
    let mut tell = |message: FromProxy| answers.write_all(&encode_line(&message)).expect("sent");
    for line in BufReader::new(control).lines() {
        let line = line.expect("a line");
        match serde_json::from_str(&line).expect("a message") {
            ToProxy::Setup(_) if scenario == "fails" => {
                tell(FromProxy::Failed { why: "io_uring is disabled".to_owned() });
                std::process::exit(1);
            }
            ToProxy::Setup(setup) => {
                // Two more are the keeper's. What lies behind them is not from our parent.
                let count = (setup.listeners.len() + 1) * setup.shards as usize;
                println!("proxy: fds {}", fds[..count].join(" "));
                println!("proxy: serves {}", setup.listeners.join(" "));
                let io_reason = "a fake".to_owned();
                tell(FromProxy::Serving {
                    io: IoChoice::Epoll,
                    io_reason,
                    program: ProgramFacts::own(),
                });
            }
            ToProxy::WorkerReady(address) => {
                println!("proxy: worker {} in slot {}", address.worker.0, address.slot);
                println!("proxy: plain {}", address.plain);
                tell(FromProxy::WorkerServing { worker: address.worker });
            }
            ToProxy::WorkerGone { worker } => println!("proxy: worker {} gone", worker.0),
            ToProxy::Drain { .. } if scenario == "deaf" => println!("proxy: drain? never"),
            ToProxy::Drain { .. } => {
                println!("proxy: draining");
                tell(FromProxy::ListenersClosed);
                tell(FromProxy::Drained { cut: 0 });
                return;
            }
            ToProxy::Status { .. } if scenario == "deaf" => {}
            ToProxy::Status { request } => tell(FromProxy::Status { request, status: status() }),
            ToProxy::WorkerDrain { worker, drain } => {
                println!("proxy: worker {} drains", worker.0);
                tell(FromProxy::WorkerDrained { worker, drain });
            }
            ToProxy::WorkerResume { worker } => println!("proxy: worker {} is back", worker.0),
            // Upgrades are tested end to end.
            ToProxy::MoveWorkers { .. } | ToProxy::Retire { .. } => {}
            ToProxy::Asleep | ToProxy::WorkersStarting | ToProxy::StartFailed { .. } => {
                println!("proxy: nobody waits here");
            }
            ToProxy::CloseUpgraded { worker, .. } => {
                println!("proxy: upgraded of {}", worker.0);
            }
        }
    }
}

/// Number and inode of the inherited listeners.
fn inherited_fds() -> Vec<String> {
    let mut found = Vec::new();
    for fd in 4.. {
        let Ok(facts) = std::fs::metadata(format!("/proc/self/fd/{fd}")) else {
            break;
        };
        found.push(format!("{fd}:{}", facts.ino()));
    }
    found
}

fn status() -> ProxyStatus {
    ProxyStatus {
        io: IoChoice::Epoll,
        io_reason: "a fake".to_owned(),
        shards: Vec::new(),
        workers: Vec::new(),
    }
}
