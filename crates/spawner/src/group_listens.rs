//! What the processes of a group listen on: a look into `/proc`, for one error message.
//!
//! Owns: reading the kernel's tables of listening sockets and the descriptors of processes. Must never know: why it is
//! asked. A best effort: what cannot be read is left out. Called by the loop when a command does not accept where it should.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Enough to tell a person.
const ADDRESSES_MAX: usize = 8;

/// Where the processes of this group listen: `127.0.0.1:8000`, `unix:/tmp/x.sock`.
pub(crate) fn find(group: u32) -> Vec<String> {
    let listening = listening_sockets();
    let mut found: Vec<String> = members(group)
        .iter()
        .flat_map(|pid| socket_inodes(*pid))
        .filter_map(|inode| listening.get(&inode).cloned())
        .collect();
    found.sort();
    found.dedup();
    found.truncate(ADDRESSES_MAX);
    found
}

/// The living processes of a group.
pub(crate) fn members(group: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let member = |process: fs::DirEntry| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        lives_in(&stat, group).then_some(pid)
    };
    processes.flatten().filter_map(member).collect()
}

/// From the text of `/proc/PID/stat`: state, parent and group follow the name, which may contain anything.
fn lives_in(stat: &str, group: u32) -> bool {
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut fields = fields.split_whitespace();
    let state = fields.next().unwrap_or("Z");
    let of_group = fields.nth(1).and_then(|text| text.parse().ok()) == Some(group);
    of_group && !matches!(state, "Z" | "X")
}

fn socket_inodes(pid: u32) -> Vec<u64> {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let inode = |fd: fs::DirEntry| {
        let target = fs::read_link(fd.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    fds.flatten().filter_map(inode).collect()
}

/// All listening sockets by their inode.
fn listening_sockets() -> HashMap<u64, String> {
    let mut sockets = HashMap::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = fs::read_to_string(file).unwrap_or_default();
        sockets.extend(table.lines().skip(1).filter_map(tcp_line));
    }
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    sockets.extend(table.lines().skip(1).filter_map(unix_line));
    sockets
}

/// `0: 0100007F:0BB8 00000000:0000 0A ... inode`
fn tcp_line(line: &str) -> Option<(u64, String)> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let address = SocketAddr::new(ip(address)?, port);
    Some((fields.get(9)?.parse().ok()?, address.to_string()))
}

/// The kernel prints addresses as words of 32 bits in the order of this machine's memory.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for index in 0..4 {
                bytes[index * 4..index * 4 + 4].copy_from_slice(&word(index * 8)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// `address: references protocol flags type state inode path`
fn unix_line(line: &str) -> Option<(u64, String)> {
    /// `__SO_ACCEPTCON` of the kernel.
    const LISTENS: u32 = 0x1_0000;
    let mut fields = line.split_whitespace();
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    let inode = fields.nth(2)?.parse().ok()?;
    let path = fields.next().unwrap_or("(no name)");
    (flags & LISTENS != 0).then(|| (inode, format!("unix:{path}")))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn lines_of_the_kernel_s_tables() {
        let line = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0";
        if cfg!(target_endian = "little") {
            assert_eq!(tcp_line(line), Some((4711, "127.0.0.1:8000".into())));
            let line = line.replace("0100007F", "00000000000000000000000001000000");
            assert_eq!(tcp_line(&line), Some((4711, "[::1]:8000".into())));
        }
        assert_eq!(tcp_line(&line.replace(" 0A ", " 01 ")), None, "not listening");
        let line = "ffff8a00: 00000002 00000000 00010000 0001 01 4712 /run/a.sock";
        assert_eq!(unix_line(line), Some((4712, "unix:/run/a.sock".into())));
        assert_eq!(unix_line(&line.replace("00010000", "00000000")), None);
    }

    #[test]
    fn zombies_and_strangers_are_no_members() {
        assert!(lives_in("12 (a) b) S 1 7 7 0", 7));
        assert!(!lives_in("12 (a) b) S 1 8 7 0", 7));
        assert!(!lives_in("12 (a) b) Z 1 7 7 0", 7));
        assert!(!lives_in("", 7));
    }

    #[test]
    fn our_own_group_listens_where_we_do() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
        let path = std::env::temp_dir().join(format!("hostler-listens-{}", std::process::id()));
        let _unix = UnixListener::bind(&path).expect("bound");
        let group = rustix::process::getpgrp().as_raw_nonzero().get().unsigned_abs();
        assert!(members(group).contains(&std::process::id()));
        // The group of a test run may listen on more than fits into a report.
        let listening = listening_sockets();
        let ours: Vec<_> = socket_inodes(std::process::id())
            .iter()
            .filter_map(|inode| listening.get(inode).cloned())
            .collect();
        std::fs::remove_file(&path).expect("removed");
        assert!(ours.contains(&tcp.local_addr().expect("bound").to_string()), "{ours:?}");
        assert!(ours.contains(&format!("unix:{}", path.display())), "{ours:?}");
        assert!(find(group).len() <= ADDRESSES_MAX);
    }
}
