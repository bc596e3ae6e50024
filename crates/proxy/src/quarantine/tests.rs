//! Who is suspected, refused and acquitted.

use hostler_protocol::http1::{HeadLimits, Parsed};

use super::*;

const REFUSE_MS: u32 = 5_000;

fn list() -> Quarantine {
    Quarantine::new(REFUSE_MS)
}

fn key(list: &Quarantine, text: &str) -> Option<RequestKey> {
    let text = format!("{text}Host: a\r\n\r\n");
    let mut head = RequestHead::new();
    assert_eq!(head.parse(text.as_bytes(), &HeadLimits::default()), Ok(Parsed::Complete));
    list.key(text.as_bytes(), &head)
}

fn number(number: u64) -> RequestKey {
    RequestKey::new(number).expect("not zero")
}

fn standing(list: &Quarantine, key: RequestKey, now_ms: u64) -> Standing {
    let mut view = View::default();
    view.has_any(list, now_ms);
    view.standing(key, now_ms)
}

#[test]
fn method_target_and_length_make_a_request() {
    let list = list();
    let one = key(&list, "POST /g?a=1 HTTP/1.1\r\nContent-Length: 7\r\n");
    assert!(one.is_some());
    assert_eq!(one, key(&list, "POST /g?a=1 HTTP/1.1\r\nX: y\r\nContent-Length: 07\r\n"));
    for other in [
        "PUT /g?a=1 HTTP/1.1\r\nContent-Length: 7\r\n",
        "POST /g?a=2 HTTP/1.1\r\nContent-Length: 7\r\n",
        "POST /g HTTP/1.1\r\nContent-Length: 7\r\n",
        "POST /g?a=1 HTTP/1.1\r\nContent-Length: 8\r\n",
        "POST /g?a=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
        "GET /g?a=1 HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
    ] {
        assert_ne!(key(&list, other), one, "{other}");
    }
    assert_eq!(key(&list, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"), None);
    assert_eq!(key(&list, "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"), None);
    assert_eq!(
        key(&list, "GET / HTTP/1.1\r\n"),
        key(&list, "GET / HTTP/1.1\r\nContent-Length: 0\r\n")
    );
}

#[test]
fn the_second_worker_makes_a_suspect_poison_for_a_while() {
    let list = list();
    assert_eq!(standing(&list, number(1), 0), Standing::Unknown);
    assert!(!list.report(number(1), 7, 0));
    assert_eq!(standing(&list, number(1), 0), Standing::Suspect);
    assert!(!list.report(number(1), 7, 10), "another shard saw the same death");
    assert!(!list.report(number(2), 8, 20));
    assert!(list.report(number(1), 8, 20), "said once");
    assert!(!list.report(number(1), 9, 30));
    assert_eq!(standing(&list, number(1), 1_020), Standing::Poison { left_ms: 4_000 });
    assert_eq!(standing(&list, number(2), 1_020), Standing::Suspect);
    assert_eq!(standing(&list, number(1), 5_020), Standing::Unknown, "allowed again");
    assert!(!list.report(number(1), 10, 5_020), "and judged anew");
}

#[test]
fn two_deaths_far_apart_are_chance() {
    let list = list();
    list.report(number(1), 7, 0);
    assert_eq!(standing(&list, number(1), SUSPICION_MS), Standing::Unknown);
    assert!(!list.report(number(1), 8, SUSPICION_MS));
}

#[test]
fn who_is_answered_is_acquitted_and_poison_is_not() {
    let list = list();
    list.report(number(1), 7, 0);
    list.report(number(2), 7, 0);
    list.acquit(number(1));
    assert!(!list.report(number(1), 8, 0));
    assert!(list.report(number(2), 8, 0));
    list.acquit(number(2));
    assert!(matches!(standing(&list, number(2), 0), Standing::Poison { .. }));
}

#[test]
fn a_view_catches_up_with_every_change() {
    let list = list();
    let mut view = View::default();
    assert!(!view.has_any(&list, 0));
    list.report(number(1), 7, 0);
    assert!(view.has_any(&list, 0));
    list.acquit(number(1));
    assert!(!view.has_any(&list, 0));
    list.report(number(1), 7, 0);
    assert!(view.has_any(&list, 0) && !view.has_any(&list, SUSPICION_MS), "nothing is for ever");
}

/// Whatever happens: the list is bounded, nobody is refused for longer than said, nor without two workers.
#[test]
fn properties_of_random_histories() {
    for seed in 1..200_u64 {
        let mut state = seed;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let (list, mut now_ms) = (list(), 0);
        let mut went: Vec<(u64, u32)> = Vec::new();
        for _ in 0..400 {
            let (request, worker) = (1 + random(100), random(20) as u32);
            match random(10) {
                0 => {
                    now_ms += random(SUSPICION_MS / 8);
                }
                1 => {
                    list.acquit(number(request));
                    let poison =
                        matches!(standing(&list, number(request), now_ms), Standing::Poison { .. });
                    if !poison {
                        went.retain(|(of, _)| *of != request);
                    }
                }
                _ => {
                    let poison = list.report(number(request), worker, now_ms);
                    went.push((request, worker));
                    let others = |(of, by): &&(u64, u32)| *of == request && *by != worker;
                    assert!(!poison || went.iter().any(|entry| others(&entry)), "seed {seed}");
                }
            }
            assert!(list.entries.lock().expect("sound").len() <= ENTRIES_MAX);
            for request in 1..=100 {
                if let Standing::Poison { left_ms } = standing(&list, number(request), now_ms) {
                    assert!((1..=u64::from(REFUSE_MS)).contains(&left_ms));
                }
            }
        }
    }
}
