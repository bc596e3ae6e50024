//! Running out of descriptors. The limit belongs to the process, so each test runs in a process of
//! its own: this program again, with the one test named.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use hostler_driver::epoll::EpollDriver;
use hostler_driver::uring::UringDriver;
use hostler_driver::{Completion, Driver, DriverConfig, Key, PoolSizes};
use rustix::process::{Resource, Rlimit, setrlimit};

/// Set in the processes that may lower their limits.
const CHILD: &str = "HOSTLER_DRIVER_TEST_CHILD";

#[test]
fn io_uring_survives_emfile() {
    in_a_child("io_uring_survives_emfile", || match UringDriver::new(&config()) {
        Ok(driver) => survives_emfile(driver),
        Err(error) => {
            let line = format!("\n!!! NOT TESTED: io_uring cannot be had here: {error} !!!\n");
            let _printed = std::io::stderr().write_all(line.as_bytes());
        }
    });
}

#[test]
fn epoll_survives_emfile() {
    in_a_child("epoll_survives_emfile", || {
        survives_emfile(EpollDriver::new(&config()).expect("epoll"));
    });
}

fn in_a_child(name: &str, test: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        test();
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program);
    child.args(["--exact", name, "--nocapture"]).env(CHILD, "1");
    assert!(child.status().expect("runs").success(), "{name}");
}

fn config() -> DriverConfig {
    DriverConfig { sockets_max: 100, pools: PoolSizes::default() }
}

fn survives_emfile(mut driver: impl Driver) {
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = socket.local_addr().expect("address");
    let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).expect("connect")).collect();
    let used_up = use_up_descriptors();
    let listener = driver.listen(socket.into(), Key(1)).expect("listen");
    match &turns(&mut driver)[..] {
        [Completion::AcceptFailed { id, error, .. }] => {
            assert_eq!((*id, error.raw_os_error()), (listener, Some(libc::EMFILE)));
        }
        other => panic!("expected a failure: {other:?}"),
    }
    assert!(turns(&mut driver).is_empty(), "accepting is off, not tried in a loop");
    drop(used_up);
    driver.accept(listener, true);
    let accepted = turns(&mut driver);
    assert_eq!(accepted.len(), clients.len(), "{accepted:?}");
    driver.unlisten(listener);
}

/// What happens in some turns.
fn turns(driver: &mut impl Driver) -> Vec<Completion> {
    let mut happened = Vec::new();
    for _ in 0..5 {
        driver.turn(Some(Duration::from_millis(20)), &mut happened).expect("turn");
    }
    happened
}

/// Opens files until there are no more descriptors to be had.
fn use_up_descriptors() -> Vec<File> {
    let limit = Rlimit { current: Some(64), maximum: Some(64) };
    setrlimit(Resource::Nofile, limit).expect("limit");
    let mut files = Vec::with_capacity(64);
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    files
}
