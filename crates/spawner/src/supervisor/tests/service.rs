//! What a service manager is told: in the right order, and in every life.

use super::*;

#[test]
fn ready_comes_with_the_ready_notice() {
    let mut bench = Bench::new(2);
    bench.send(Event::ProxySpawned { pid: 100 });
    bench.ready(1);
    assert_eq!(bench.machine.service_state(), ServiceState::Starting, "the proxy does not serve");
    assert_eq!(bench.machine.service_text(), "starting; 1 of 2 workers ready");
    bench.serving();
    assert_eq!(bench.machine.service_state(), ServiceState::Ready);
    assert_eq!(bench.machine.service_text(), "serving; 1 of 2 workers ready");
    bench.send(Event::Signal(TERM));
    assert_eq!(bench.machine.service_state(), ServiceState::Stopping);
    assert_eq!(bench.machine.service_text(), "stopping: requests in flight finish");
}

/// `Type=notify-reload` waits for both words, whatever becomes of the reload.
#[test]
fn a_reload_is_over_with_its_outcome() {
    let mut bench = Bench::running(2);
    bench.ask(7, false);
    assert_eq!(bench.machine.service_state(), ServiceState::Reloading, "it is read");
    bench.send(Event::ReleaseRead(Err("no such key".to_owned())));
    assert_eq!(bench.machine.service_state(), ServiceState::Ready);
    bench.reload(8);
    assert_eq!(bench.machine.service_text(), "reloading to generation 2; 2 of 2 workers ready");
    bench.exit(3, HowDied::Exit(1));
    assert_eq!(bench.machine.service_state(), ServiceState::Ready, "it was taken back");
    assert_eq!(bench.machine.service_text(), "serving; 2 of 2 workers ready");
}

#[test]
fn what_is_wrong_is_said() {
    let mut bench = Bench::running(2);
    bench.exit(1, HowDied::Exit(3));
    bench.exit(3, HowDied::Exit(3));
    let text = bench.machine.service_text();
    assert!(text.starts_with("serving; 1 of 2 workers ready; web.0 "), "{text}");
    bench.proxy_exit();
    let text = bench.machine.service_text();
    assert_eq!(text, "the proxy is started again; 1 of 2 workers ready");
}
