//! Workers that are ready when they say so, not when they listen.

use crate::support::{Setup, Variant, matrix};

matrix!(all: asked_until_it_is_healthy);
matrix!(frames: never_healthy, a_command_is_asked, mistakes);

fn asked_until_it_is_healthy(variant: Variant) {
    let instance = Setup::new(variant, "warming.js").options("--ready /health").start();
    assert_eq!(instance.get("/").text(), "asked 4 times");
    instance.wait_output("what it waited for", |line| line.contains("is not ready: status 503"));
    instance.finish();
}

fn never_healthy(variant: Variant) {
    let options = "--ready /nowhere --start-timeout 2s";
    let failure = Setup::new(variant, "basic.js").options(options).spawn_and_fail();
    failure.expect(1, &["GET /nowhere was not answered with success within 2", "status 404"]);
}

fn a_command_is_asked(variant: Variant) {
    let setup = Setup::command(variant, "apps", "node --no-warnings warming.js");
    let instance = setup.options("--ready /health").start();
    assert_eq!(instance.get("/").text(), "asked 4 times");
    instance.finish();
}

fn mistakes(variant: Variant) {
    for text in ["health", "/a b", ""] {
        let setup = Setup::new(variant, "warming.js").option("--ready").option(text);
        setup.spawn_and_fail().expect(78, &["--ready", "listen, message, or a path like /health"]);
    }
}
