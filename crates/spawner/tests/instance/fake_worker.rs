//! The role of a worker: becomes a shell script that reports like the loader does.
//!
//! Called as Node would be: `PROGRAM --require LOADER SCRIPT ARGS`; SCRIPT names the scenario.

use std::os::unix::process::CommandExt;
use std::process::Command;

const LOADED: &str = r#"
report() { echo "$1" >&3; }
report '{"step":"preload","node":"20.20.2"}'
report '{"step":"self_test","ok":true,"us":5300}'
"#;

const READY: &str = r#"
report '{"step":"listen","requested":{"port":3000,"host":null,"path":null}}'
report '{"step":"ready","transport":"frames"}'
"#;

/// Sleeps for ever in one process: signals reach it.
const SLEEP: &str = "exec sleep 1000";

/// Becomes the scenario.
pub(crate) fn main(args: &[String]) {
    let script = match args[0].as_str() {
        "ready" => [LOADED, READY, SLEEP].concat(),
        "exit0" => [LOADED, "exit 0"].concat(),
        "throws" => [
            LOADED,
            "echo 'TypeError: x is not a function' >&2; echo '    at app.js:3:1' >&2\n",
            "echo >&2; echo 'Node.js v20.20.2' >&2; exit 1",
        ]
        .concat(),
        "silent" => {
            [LOADED, "report '{\"step\":\"other_listen\",\"what\":\"https\"}'\n", SLEEP].concat()
        }
        "bad-option" => "echo 'node: bad option: --x' >&2; exit 9".to_owned(),
        "dies-once-ready" => [LOADED, READY, "exit 7"].concat(),
        "ignores-term" => {
            ["trap '' TERM\nsleep 1000 &\necho child $!\n", LOADED, READY, "while :; do wait; done"]
                .concat()
        }
        "parent" => ["sleep 1000 &\necho child $!\n", LOADED, READY, "wait"].concat(),
        // Twice forked and in a session of its own: no group signal reaches it.
        "daemon" => {
            ["(setsid sh -c 'echo daemon $$; exec sleep 1000' &)\n", LOADED, READY, SLEEP].concat()
        }
        "flood" => [LOADED, READY, "head -c 30000000 /dev/zero | tr '\\0' x\nyes flood\n"].concat(),
        "prints" => [
            LOADED,
            READY,
            "echo \"out $NODE_ENV $NODE_APP_INSTANCE $PORT\"; echo err >&2; printf 'no newline'\n",
            "exec >&- 2>&-\n",
            SLEEP,
        ]
        .concat(),
        other => panic!("no scenario {other}"),
    };
    let error = Command::new("/bin/sh").arg("-c").arg(script).exec();
    panic!("sh: {error}");
}
