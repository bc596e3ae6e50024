//! nginx in front of Node.
//!
//! Owns: its configuration, as its manual advises for this job: one worker process, the app on a unix socket with a
//! pool of kept connections (`proxy_http_version 1.1`, empty `Connection`), no access log.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Running, node};
use crate::Outcome;
use crate::place::{Cores, spawn_on};
use crate::process::{Folder, Owned, children_of, free_port};
use crate::scenarios::Scenario;

/// Starts the app on a socket and nginx before it.
pub(super) fn start(scenario: &Scenario, cores: Cores) -> Outcome<Running> {
    let folder = Folder::new()?;
    let port = free_port()?;
    let socket = folder.path().join("app.sock");
    let app = node::spawn_app(scenario, cores, &folder, &socket.to_string_lossy())?;
    let config = folder
        .write("nginx.conf", &config(folder.path(), &socket, port, scenario.is_websocket()))?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(config);
    command.arg("-e").arg(folder.path().join("error.log"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let front = Owned::new(spawn_on(cores.front, &mut command)?);
    Ok(Running {
        address: ([127, 0, 0, 1], port).into(),
        front: vec![front.pid()],
        workers: vec![app.pid()],
        processes: vec![front, app],
        _folder: folder,
    })
}

/// The master and its workers.
pub(super) fn processes(master: u32) -> Vec<u32> {
    std::iter::once(master).chain(children_of(master)).collect()
}

fn config(folder: &Path, socket: &Path, port: u16, is_websocket: bool) -> String {
    let (folder, socket) = (folder.display(), socket.display());
    // The folder belongs to whoever runs the test; as root, nginx would switch to a user that cannot enter it.
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    // An upgrade needs its two fields (which no other request should have); the rest is the manual's kept pool.
    let connection = if is_websocket {
        "proxy_set_header Upgrade $http_upgrade;\n      proxy_set_header Connection \"upgrade\";"
    } else {
        "proxy_set_header Connection \"\";"
    };
    format!(
        "{user}
daemon off;
worker_processes 1;
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
    server unix:{socket};
    keepalive 256;
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
