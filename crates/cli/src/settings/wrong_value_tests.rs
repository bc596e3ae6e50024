//! Tests of `settings`: each wrong value of a configuration file is one line with file, line and key.

use super::file_tests::Folder;

/// A file whose second line is wrong, and how the message goes on behind file and line.
const WRONG: &[(&str, &str)] = &[
    ("[server]\nlisten = \"/run/a\"", "server.listen: `/run/a` looks like a path"),
    ("[server]\nlisten = [\"x\"]", "server.listen[0]: `x` needs a host and a port"),
    (
        "[server]\nshards = 0",
        "server.shards: `0` is not usable: auto or a whole number from 1 to 256",
    ),
    ("[server]\nshards = true", "server.shards: `true` is not usable: auto or a whole"),
    ("[server]\nshards = 1.0", "server.shards: `1.0` is not usable"),
    (
        "[server]\nio = \"kqueue\"",
        "server.io: `kqueue` is not usable: auto, uring or epoll is expected",
    ),
    ("[server]\npin = \"yes\"", "server.pin: `yes` is not usable: true or false is expected"),
    ("[server]\nruntime_dir = \"\"", "server.runtime_dir: `` is not usable: a path"),
    ("[server]\naccess_log = \"\"", "server.access_log: `` is not usable: a path"),
    ("[server]\nlog_format = \"xml\"", "server.log_format: `xml` is not usable: text or json"),
    (
        "[server]\nmax_connections = 1",
        "server.max_connections: `1` is not usable: a whole number from 16",
    ),
    (
        "[server]\nmax_head_size = 16384",
        "server.max_head_size: `16384` is not usable: a size with a unit",
    ),
    (
        "[server]\nmax_head_size = \"1G\"",
        "server.max_head_size: `1G` is not usable: a size with a unit (800B, 16K, 4M, 1G) from 1K to 60K",
    ),
    (
        "[server]\nmax_body_size = \"lots\"",
        "server.max_body_size: `lots` is not usable: a size with a unit",
    ),
    (
        "[server]\nhead_timeout = 10",
        "server.head_timeout: `10` is not usable: a duration with a unit",
    ),
    (
        "[server]\nidle_timeout = \"1ms\"",
        "server.idle_timeout: `1ms` is not usable: a duration with a unit (500ms, 10s, 2m, 1h) from 100ms to 24h",
    ),
    (
        "[server]\nclient_timeout = \"${NO}\"",
        "server.client_timeout: `${NO}` is not usable: the variable NO is not set",
    ),
    ("[[app]]\nname = \"a/b\"", "app[0].name: `a/b` is not usable: a name of 1 to 32 letters"),
    ("[[app]]\nname = \"..\"", "app[0].name: `..` is not usable"),
    ("[[app]]\npath = \"no.js\"", "app[0].path: no.js: No such file or directory"),
    ("[[app]]\npath = \"x.txt\"", "app[0].path: x.txt: not a JavaScript file"),
    ("[[app]]\npath = \"bin\"", "app[0].path: no app to start in bin; looked for: - package.json"),
    ("[[app]]\npath = \"broken\"", "app[0].path: "),
    ("[[app]]\ncwd = \"no\"", "app[0].cwd: `no` is not usable: a folder that exists is expected"),
    ("[[app]]\ncwd = \"bin\"", "app[0].cwd: no app to start in .; looked for"),
    ("[[app]]\ncommand = \" \"", "app[0].command: ` ` is not usable: a text that is not empty"),
    ("[[app]]\ncommand = \"a\"\npath = \"b\"", "app[0].command: there is a path, too (b)"),
    ("[[app]]\nargs = [[]]", "app[0].args[0]: `[]` is not usable: a text is expected"),
    (
        "[[app]]\nenv.HOSTLER_WORKER = \"1\"",
        "app[0].env.HOSTLER_WORKER: Hostler sets this variable itself",
    ),
    ("[[app]]\nenv.\"a=b\" = \"1\"", "app[0].env.a=b: no variable can have such a name"),
    (
        "[[app]]\nenv.PORT = 80 # \ncommand = \"x\"",
        "app[0].env.PORT: each worker of a command gets one of its own",
    ),
    ("[[app]]\nnode = \"./no\"", "app[0].node: ./no is not an executable file; install Node.js"),
    (
        "[[app]]\nworkers = \"all\"",
        "app[0].workers: `all` is not usable: auto, a whole number from 1 to 512 or a range",
    ),
    (
        "[[app]]\nworkers = \"8..2\"",
        "app[0].workers: `8..2` is not usable: two numbers from 1 to 512 (2..8)",
    ),
    (
        "[[app]]\nworkers = { min = 2, maximum = 8 }",
        "app[0].workers.maximum: there is no such key; did you mean `max`?",
    ),
    (
        "[[app]]\nworkers = { min = 2 }",
        "app[0].workers: `max` is missing: \"auto\", a whole number or a range, \"2..8\" or { min = 2, max = 8 }, is expected",
    ),
    ("[[app]]\nworkers = {}", "app[0].workers: `min` is missing: "),
    (
        "[[app]]\nworkers = { min = 0, max = 8 }",
        "app[0].workers.min: `0` is not usable: a whole number from 1 to 512",
    ),
    (
        "[[app]]\nworkers = { min = 2, max = \"many\" }",
        "app[0].workers.max: `many` is not usable: a whole number from 1 to 512",
    ),
    (
        "[[app]]\nworkers = { min = 4, max = 2 }",
        "app[0].workers.max: `2` is not usable: a whole number from 4 (`min`) is expected",
    ),
    (
        "[[app]]\nworkers = { min = 4, max = [8] }",
        "app[0].workers.max: `[8]` is not usable: a whole number is expected",
    ),
    ("[[app]]\nworkers = { min = 1, max = { a = 1 } }", "app[0].workers.max: `{ a = 1 }` is not"),
    (
        "[[app]]\nworkers = [2, 8]",
        "app[0].workers: `[2, 8]` is not usable: \"auto\", a whole number",
    ),
    ("[[app]]\nworkers = 1979-05-27", "app[0].workers: `1979-05-27` is not usable: \"auto\""),
    ("[[app]]\nlazy = \"yes\"", "app[0].lazy: `yes` is not usable: true or false"),
    (
        "[[app]]\nidle_stop = 15",
        "app[0].idle_stop: `15` is not usable: a duration with a unit (500ms, 10s, 2m, 1h) from 1s to 24h",
    ),
    ("[[app]]\nidle_stop = \"1ms\"", "app[0].idle_stop: `1ms` is not usable: a duration"),
    ("[[app]]\ntransport = \"tcp\"", "app[0].transport: `tcp` is not usable: frames or http"),
    (
        "[[app]]\nready = \"health\"",
        "app[0].ready: `health` is not usable: listen, message, or a path",
    ),
    (
        "[[app]]\nsticky = \"ip\"",
        "app[0].sticky: `ip` is not usable: off, cookie, socket.io or both",
    ),
    (
        "[[app]]\nsticky_cookie = \"a;b\"",
        "app[0].sticky_cookie: `a;b` is not usable: a name of 1 to 32",
    ),
    ("[[app]]\nmax_surge = 0", "app[0].max_surge: `0` is not usable: all or a whole number"),
    ("[[app]]\nprobation = 3", "app[0].probation: `3` is not usable: a duration with a unit"),
    ("[[app]]\ndrain_timeout = \"2h\"", "app[0].drain_timeout: `2h` is not usable"),
    ("[[app]]\nwebsocket_drain = \"soon\"", "app[0].websocket_drain: `soon` is not usable"),
    ("[[app]]\nmax_memory = \"1M\"", "app[0].max_memory: `1M` is not usable: a size with a unit"),
    (
        "[[app]]\nmax_memory_hard = \"1G\"\nmax_memory = \"2G\"",
        "app[0].max_memory_hard: `1G` is not usable: more than max-memory",
    ),
    ("[[app]]\nmax_age = 12", "app[0].max_age: `12` is not usable: a duration with a unit"),
    ("[[app]]\nmax_requests = 0", "app[0].max_requests: `0` is not usable: none or a whole"),
    ("[[app]]\nstart_timeout = \"2h\"", "app[0].start_timeout: `2h` is not usable"),
    ("[[app]]\nstop_timeout = 1", "app[0].stop_timeout: `1` is not usable"),
    ("[[app]]\nworker_timeout = -1", "app[0].worker_timeout: `-1` is not usable"),
    (
        "[[app]]\nmax_queue = 1000000",
        "app[0].max_queue: `1000000` is not usable: a whole number from 0 to 100000",
    ),
    (
        "[[app]]\nqueue_timeout = 30",
        "app[0].queue_timeout: `30` is not usable: a duration with a unit",
    ),
    ("[[app]]\nrequest_timeout = 5", "app[0].request_timeout: `5` is not usable: a duration"),
    ("[[app]]\nhang_after = \"1s\"", "app[0].hang_after: `1s` is not usable: a duration"),
    ("[[app]]\nquarantine = \"5\"", "app[0].quarantine: `5` is not usable: a duration"),
    ("[[app]]\nhang_stack = \"yes\"", "app[0].hang_stack: `yes` is not usable: true or false"),
    ("[[app]]\nworker_requests = 0", "app[0].worker_requests: `0` is not usable"),
];

/// What is wrong in a file is so even where an option overrules it.
#[test]
fn every_wrong_value_is_one_line_with_file_line_and_key() {
    let folder = Folder::new(&[("server.js", ""), ("x.txt", ""), ("broken/package.json", "{")]);
    for (text, start) in WRONG {
        folder.write("hostler.toml", text);
        let error = folder.error(&[("PORT", "80"), ("WEB_CONCURRENCY", "2")], &[]);
        let place =
            error.strip_prefix("hostler.toml:2: ").unwrap_or_else(|| panic!("{text}: {error}"));
        assert!(place.starts_with(start), "{text}: {error}");
    }
    folder.write("hostler.toml", "[server]\nshards = 0\nlisten = \"x\"");
    let options = ["--shards", "1", "--listen", "80"];
    assert!(folder.error(&[], &options).contains("server.shards"), "overruled is not excused");
    folder.write("hostler.toml", "[server]\nlisten = []");
    assert!(folder.error(&[], &[]).starts_with("hostler.toml: server.listen: the array is empty"));
}
