//! nginx in front of Node.
//!
//! Owns: its configuration, as its manual advises for this job: one of its processes per worker, the app on unix
//! sockets with a pool of kept connections (`proxy_http_version 1.1`, empty `Connection`), no access log. Called by
//! `peers`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Running, node};
use crate::Outcome;
use crate::family::family_of;
use crate::place::{Layout, spawn_on};
use crate::process::{Folder, Owned, free_port};
use crate::scenarios::Scenario;

/// Starts the app on sockets and nginx before it.
pub(super) fn start(scenario: &Scenario, layout: Layout) -> Outcome<Running> {
    let folder = Folder::new()?;
    let port = free_port()?;
    let (mut processes, sockets) = node::spawn_on_sockets(scenario, layout, &folder)?;
    let workers = processes.iter().map(Owned::pid).collect();
    let text = Config {
        folder: folder.path(),
        sockets: &sockets,
        port,
        processes: layout.front_threads(),
        is_websocket: scenario.is_websocket(),
    }
    .text();
    let config = folder.write("nginx.conf", &text)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(config);
    command.arg("-e").arg(folder.path().join("error.log"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    processes.insert(0, Owned::new(spawn_on(layout.front(), &mut command)?));
    Ok(Running::new(port, layout, folder, processes).with(Vec::new(), workers))
}

/// The master and its workers.
pub(super) fn processes(master: u32) -> Vec<u32> {
    family_of(master)
}

struct Config<'a> {
    folder: &'a Path,
    sockets: &'a [PathBuf],
    port: u16,
    processes: u32,
    is_websocket: bool,
}

impl Config<'_> {
    fn text(&self) -> String {
        let Self { folder, sockets, port, processes, is_websocket } = self;
        let folder = folder.display();
        // The folder belongs to whoever runs the test; as root, nginx would switch to a user that cannot enter it.
        let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
        let servers: String = sockets
            .iter()
            .map(|socket| format!("    server unix:{};\n", socket.display()))
            .collect();
        // An upgrade needs its two fields (which no other request should have); the rest is the manual's kept pool.
        let connection = if *is_websocket {
            "proxy_set_header Upgrade $http_upgrade;\n      proxy_set_header Connection \"upgrade\";"
        } else {
            "proxy_set_header Connection \"\";"
        };
        format!(
            "{user}
daemon off;
worker_processes {processes};
error_log {folder}/error.log crit;
pid {folder}/nginx.pid;
worker_rlimit_nofile 65536;
events {{ worker_connections 65536; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  upstream app {{
{servers}    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      {connection}
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_is_a_server_and_only_upgrades_ask_for_them() {
        let sockets = [PathBuf::from("/tmp/a.sock"), PathBuf::from("/tmp/b.sock")];
        let folder = Path::new("/tmp/x");
        let config = |is_websocket| {
            Config { folder, sockets: &sockets, port: 8080, processes: 2, is_websocket }.text()
        };
        let text = config(false);
        assert!(
            text.contains(
                "    server unix:/tmp/a.sock;\n    server unix:/tmp/b.sock;\n    keepalive"
            )
        );
        assert!(text.contains("worker_processes 2;") && !text.contains("Upgrade"));
        assert!(config(true).contains("proxy_set_header Upgrade $http_upgrade;"));
    }
}
