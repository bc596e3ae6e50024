//! No operation of the ring may need a kernel worker thread: that would cost more than a plain
//! system call, and under load become a storm of threads. A program of its own, so that all threads
//! in sight are its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use hostler_driver::uring::UringDriver;
use hostler_driver::{
    Buffer, Completion, Driver, DriverConfig, Key, PoolClass, PoolSizes, ReceiveMode,
};

#[test]
fn nothing_is_left_to_kernel_workers() {
    let config = DriverConfig { sockets_max: 100, pools: PoolSizes::default() };
    let mut driver = match UringDriver::new(&config) {
        Ok(driver) => driver,
        Err(error) => {
            let line = format!("\n!!! NOT TESTED: io_uring cannot be had here: {error} !!!\n");
            let _printed = std::io::stderr().write_all(line.as_bytes());
            return;
        }
    };
    pairs(&mut driver);
    connections(&mut driver);
    connects(&mut driver);
    driver.waker().wake();
    turns(&mut driver);
    assert_eq!(kernel_workers(), 0);
    drop(driver);
    assert_eq!(kernel_workers(), 0);
}

/// Receives of both kinds, changes between them, sends that finish and that stall, closes of both.
fn pairs(driver: &mut UringDriver) {
    let mut peers = Vec::new();
    for _ in 0..20 {
        let (ours, theirs) = UnixStream::pair().expect("pair");
        let socket = driver.adopt(ours.into(), Key(1)).expect("room");
        driver.receive(socket, ReceiveMode::Stream);
        turns(driver);
        driver.receive(socket, ReceiveMode::Once(PoolClass::Body));
        turns(driver);
        (&theirs).write_all(b"bytes").expect("write");
        driver.send(socket, Buffer::from_vec(vec![1; 1_000_000]).into());
        turns(driver);
        peers.push((socket, theirs));
    }
    for (number, (socket, mut peer)) in peers.into_iter().enumerate() {
        if number % 2 == 0 {
            peer.set_read_timeout(Some(Duration::from_millis(1))).expect("timeout");
            let mut bytes = vec![0; 65536];
            while peer.read(&mut bytes).is_ok_and(|count| count > 0) {
                turns(driver);
            }
            driver.shutdown_write(socket);
        }
        driver.close(socket);
        turns(driver);
    }
}

/// Accepting, on and off.
fn connections(driver: &mut UringDriver) {
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = socket.local_addr().expect("address");
    let listener = driver.listen(socket.into(), Key(2)).expect("listen");
    for _ in 0..10 {
        let _client = TcpStream::connect(address).expect("connect");
        for completion in turns(driver) {
            if let Completion::Accepted { fd, .. } = completion {
                let socket = driver.adopt(fd, Key(3)).expect("room");
                driver.receive(socket, ReceiveMode::Stream);
                driver.close(socket);
            }
        }
        driver.accept(listener, false);
        turns(driver);
        driver.accept(listener, true);
    }
    driver.unlisten(listener);
    turns(driver);
}

fn connects(driver: &mut UringDriver) {
    let name = format!("hostler-driver-workers-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = UnixListener::bind(&path).expect("bind");
    let socket = driver.connect(path.as_path().into(), Key(4)).expect("socket");
    turns(driver);
    driver.close(socket);
    turns(driver);
    drop(listener);
    std::fs::remove_file(&path).expect("remove");
}

fn turns(driver: &mut UringDriver) -> Vec<Completion> {
    let mut happened = Vec::new();
    for _ in 0..3 {
        driver.turn(Some(Duration::from_millis(1)), &mut happened).expect("turn");
    }
    happened
}

/// Threads of this process that the kernel made for a ring.
fn kernel_workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let names = tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("comm")));
    names.flatten().filter(|name| name.starts_with("iou-wrk")).count()
}
