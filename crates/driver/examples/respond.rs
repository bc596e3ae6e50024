//! Answers every read with a fixed HTTP response: the smallest user of a driver, for measuring one
//! backend against the other.
//!
//! `cargo run --release -p hostler-driver --example respond -- uring 8080`, then `wrk -c64
//! http://127.0.0.1:8080/`. With a third argument `close` it closes every connection after one
//! answer.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hostler_driver::epoll::EpollDriver;
use hostler_driver::uring::UringDriver;
use hostler_driver::{
    Completion, Driver, DriverConfig, Key, Part, Parts, PoolClass, PoolSizes, ReceiveMode,
};
use socket2::{Domain, Socket, Type};

const KEEP: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\nHello, world!\n";
const CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nHello, world!\n";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let backend = arguments.next().ok_or("say uring or epoll")?;
    let port = arguments.next().ok_or("say a port")?.parse()?;
    let closes = arguments.next().is_some_and(|word| word == "close");
    let config = DriverConfig { sockets_max: 4096, pools: PoolSizes::default() };
    match backend.as_str() {
        "uring" => serve(UringDriver::new(&config)?, port, closes),
        "epoll" => serve(EpollDriver::new(&config)?, port, closes),
        _ => Err("say uring or epoll".into()),
    }
}

fn serve(mut driver: impl Driver, port: u16, closes: bool) -> Result<(), Box<dyn Error>> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    listener.set_tcp_nodelay(true)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    listener.listen(1024)?;
    driver.listen(listener.into(), Key(0))?;
    let mut happened = Vec::with_capacity(512);
    loop {
        driver.turn(Some(Duration::from_secs(1)), &mut happened)?;
        for completion in happened.drain(..) {
            match completion {
                Completion::Accepted { fd, .. } => {
                    if let Ok(socket) = driver.adopt(fd, Key(1)) {
                        driver.receive(socket, ReceiveMode::Stream);
                    }
                }
                Completion::Received { socket, .. } => {
                    let Some(mut buffer) = driver.pool().take(PoolClass::Send) else {
                        driver.close(socket);
                        continue;
                    };
                    buffer.extend_from_slice(if closes { CLOSE } else { KEEP });
                    driver.send(socket, Parts::from(Part::whole(buffer.freeze())));
                }
                Completion::Sent { socket, .. } if closes => driver.close(socket),
                Completion::ReceiveEnded { socket, .. } | Completion::Failed { socket, .. } => {
                    driver.close(socket);
                }
                _ => {}
            }
        }
    }
}
